//! What each new pixel of a row is made of.

use std::{f64::consts::PI, ops::Range};

use crate::Filter;

/// Bits of fraction: eight are for levels, and two for what goes beyond them.
pub(crate) const BITS: u32 = 32 - 8 - 2;

/// Old pixels that are weighted together.
pub(crate) const TAPS: usize = 4;

/// For each new pixel, the first of those that it is made of, and their shares: zeros at the end, up to a multiple of [`TAPS`].
pub(crate) struct Weights {
    firsts: Vec<usize>,
    /// Where the weights of each begin, and the last end.
    starts: Vec<usize>,
    weights: Vec<[i32; TAPS]>,
    /// Behind the last old pixel that any is made of.
    end: usize,
}

impl Weights {
    /// `count` new pixels from the part `[from, to]` of `side`.
    pub(crate) fn new(side: usize, [from, to]: [f32; 2], count: usize, filter: Filter) -> Self {
        let part = Part { side, from: f64::from(from), scale: f64::from(to - from) / count as f64, count };
        match filter {
            Filter::Nearest | Filter::Box => part.weights(0.5, box_filter),
            Filter::Bilinear => part.weights(1.0, bilinear),
            Filter::Hamming => part.weights(1.0, hamming),
            Filter::Bicubic => part.weights(2.0, bicubic),
            Filter::Lanczos => part.weights(3.0, lanczos),
        }
    }

    /// New pixels.
    pub(crate) fn len(&self) -> usize {
        self.firsts.len()
    }

    /// The first old pixel of each new one, and the weights from there on.
    #[inline(always)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[[i32; TAPS]])> {
        self.firsts.iter().zip(self.starts.windows(2)).map(|(first, ends)| (*first, &self.weights[ends[0]..ends[1]]))
    }

    /// The old pixels that any is made of.
    pub(crate) fn span(&self) -> Range<usize> {
        self.firsts.first().copied().unwrap_or(0)..self.end
    }

    /// The same weights on what begins at this old pixel.
    pub(crate) fn counted_from(mut self, start: usize) -> Self {
        self.firsts.iter_mut().for_each(|first| *first -= start);
        self.end -= start;
        self
    }
}

/// Old pixels that become new ones.
struct Part {
    side: usize,
    from: f64,
    /// Old pixels to a new one.
    scale: f64,
    count: usize,
}

impl Part {
    /// With a filter that reaches so far each way.
    fn weights(&self, reach: f64, filter: impl Fn(f64) -> f64) -> Weights {
        // Never narrower than a pixel.
        let width = self.scale.max(1.0);
        let (reach, narrowing) = (reach * width, 1.0 / width);
        let mut found = Weights { firsts: Vec::with_capacity(self.count), starts: vec![0], weights: Vec::new(), end: 0 };
        let mut shares = Vec::new();
        for pixel in 0..self.count {
            let centre = self.from + (pixel as f64 + 0.5) * self.scale;
            // Below zero it is cut off as well.
            let first = (centre - reach + 0.5) as usize;
            let last = ((centre + reach + 0.5) as usize).min(self.side);
            shares.clear();
            shares.extend((first..last).map(|at| filter((at as f64 - centre + 0.5) * narrowing)));
            let sum: f64 = shares.iter().sum();
            let share = |share: &f64| if sum == 0.0 { *share } else { share / sum };
            for shares in shares.chunks(TAPS) {
                let mut weights = [0; TAPS];
                weights.iter_mut().zip(shares).for_each(|(weight, value)| *weight = whole(share(value)));
                found.weights.push(weights);
            }
            found.firsts.push(first);
            found.end = found.end.max(last);
            found.starts.push(found.weights.len());
        }
        found
    }
}

/// To the next whole number, with [`BITS`] of fraction.
fn whole(share: f64) -> i32 {
    let share = share * f64::from(1u32 << BITS);
    (if share < 0.0 { share - 0.5 } else { share + 0.5 }) as i32
}

fn box_filter(x: f64) -> f64 {
    if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }
}

fn bilinear(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

fn hamming(x: f64) -> f64 {
    // Pillow has the two numbers in single precision.
    let window = |x: f64| f64::from(0.54f32) + f64::from(0.46f32) * x.cos();
    match x.abs() {
        0.0 => 1.0,
        x if x >= 1.0 => 0.0,
        x => (x * PI).sin() / (x * PI) * window(x * PI),
    }
}

/// Keys 1981.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    match x.abs() {
        x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
    if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}
