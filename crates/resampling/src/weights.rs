//! The weights of the source pixels for each new pixel of a row or column.

use std::{f64::consts::PI, ops::Range};

/// Pillow's resampling filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The pixel at the position of the new pixel's center.
    Nearest,
    /// The mean of the pixels that are merged.
    Box,
    /// A triangle.
    Bilinear,
    /// A sinc under a Hamming window, sharper than the triangle.
    Hamming,
    /// A cubic spline with a = -0.5.
    Bicubic,
    /// A sinc with three lobes.
    Lanczos,
}

/// Fractional bits of a weight: of 32 bits, eight are for the pixel value and two for overshoot.
pub(crate) const BITS: u32 = 32 - 8 - 2;

/// Number of source pixels that are weighted together.
pub(crate) const TAPS: usize = 4;

/// The first source pixel of each new pixel, and the weights from there on, padded with zeros to a
/// multiple of [`TAPS`].
pub(crate) struct Weights {
    firsts: Vec<usize>,
    /// Index of each new pixel's first weight, and the end of the last one's.
    starts: Vec<usize>,
    weights: Vec<[i32; TAPS]>,
    /// One after the last source pixel that has a weight.
    end: usize,
}

impl Weights {
    /// Computes the weights of `count` new pixels from the part `[from, to]` of `side` source
    /// pixels.
    pub(crate) fn new(side: usize, [from, to]: [f32; 2], count: usize, filter: Filter) -> Self {
        let part = Part {
            side,
            from: f64::from(from),
            scale: f64::from(to - from) / count as f64,
            count,
        };
        match filter {
            Filter::Nearest | Filter::Box => part.weights(0.5, box_filter),
            Filter::Bilinear => part.weights(1.0, bilinear),
            Filter::Hamming => part.weights(1.0, hamming),
            Filter::Bicubic => part.weights(2.0, bicubic),
            Filter::Lanczos => part.weights(3.0, lanczos),
        }
    }

    /// Returns the number of new pixels.
    pub(crate) fn len(&self) -> usize {
        self.firsts.len()
    }

    /// Iterates over the new pixels: the first source pixel and the weights from there on.
    #[inline(always)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[[i32; TAPS]])> {
        self.firsts
            .iter()
            .zip(self.starts.windows(2))
            .map(|(first, ends)| (*first, &self.weights[ends[0]..ends[1]]))
    }

    /// Returns the range of source pixels that have a weight.
    pub(crate) fn span(&self) -> Range<usize> {
        self.firsts.first().copied().unwrap_or(0)..self.end
    }

    /// Returns the same weights for a source that begins at pixel `start`.
    pub(crate) fn counted_from(mut self, start: usize) -> Self {
        self.firsts.iter_mut().for_each(|first| *first -= start);
        self.end -= start;
        self
    }
}

/// Source pixels that are resampled.
struct Part {
    side: usize,
    from: f64,
    /// Source pixels per new pixel.
    scale: f64,
    count: usize,
}

impl Part {
    /// Computes the weights of a filter that is zero beyond `reach`.
    fn weights(&self, reach: f64, filter: impl Fn(f64) -> f64) -> Weights {
        // Filters widen with the scale when shrinking, and are never narrower than a pixel.
        let width = self.scale.max(1.0);
        let (reach, narrowing) = (reach * width, 1.0 / width);
        let mut found = Weights {
            firsts: Vec::with_capacity(self.count),
            starts: vec![0],
            weights: Vec::new(),
            end: 0,
        };
        let mut shares = Vec::new();
        for pixel in 0..self.count {
            let center = self.from + (pixel as f64 + 0.5) * self.scale;
            // The cast also cuts negative values off at zero.
            let first = (center - reach + 0.5) as usize;
            let last = ((center + reach + 0.5) as usize).min(self.side);
            shares.clear();
            shares.extend((first..last).map(|at| filter((at as f64 - center + 0.5) * narrowing)));
            let sum: f64 = shares.iter().sum();
            let share = |share: &f64| if sum == 0.0 { *share } else { share / sum };
            for shares in shares.chunks(TAPS) {
                let mut weights = [0; TAPS];
                weights
                    .iter_mut()
                    .zip(shares)
                    .for_each(|(weight, value)| *weight = whole(share(value)));
                found.weights.push(weights);
            }
            found.firsts.push(first);
            found.end = found.end.max(last);
            found.starts.push(found.weights.len());
        }
        found
    }
}

/// Rounds a weight to an integer with [`BITS`] fractional bits.
fn whole(share: f64) -> i32 {
    let share = share * f64::from(1u32 << BITS);
    (if share < 0.0 {
        share - 0.5
    } else {
        share + 0.5
    }) as i32
}

fn box_filter(x: f64) -> f64 {
    if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }
}

fn bilinear(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

fn hamming(x: f64) -> f64 {
    // Pillow has these constants in single precision.
    let window = |x: f64| f64::from(0.54f32) + f64::from(0.46f32) * x.cos();
    match x.abs() {
        0.0 => 1.0,
        x if x >= 1.0 => 0.0,
        x => (x * PI).sin() / (x * PI) * window(x * PI),
    }
}

/// Keys's cubic convolution (Keys 1981).
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    match x.abs() {
        x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| {
        if x == 0.0 {
            1.0
        } else {
            (x * PI).sin() / (x * PI)
        }
    };
    if (-3.0..3.0).contains(&x) {
        sinc(x) * sinc(x / 3.0)
    } else {
        0.0
    }
}
