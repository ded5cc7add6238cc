//! Resizes images with exactly the pixel values of Pillow 13's `Image.resize(size, resample, box)`,
//! on which Keras's `load_img` is built.
//!
//! Rows and columns are separate passes. Weights are computed in `f64` and rounded to 22 fractional
//! bits, sums are 32-bit integers, and each pass rounds and clips to bytes, so that the order of
//! the passes shows. The vertical pass weights all values of a row alike, so it adds whole rows as
//! vectors; for the horizontal pass, bands of rows are transposed first (`bands`) and transposed
//! back. No unsafe code.

#![forbid(unsafe_code)]

mod bands;
mod weights;

use isa::{Isa, Work};
use weights::{TAPS, Weights};

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

/// An image, row by row with interleaved channels.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// The `height * width * channels` values.
    pub bytes: &'a [u8],
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
    /// Number of values per pixel.
    pub channels: usize,
}

/// Resizes the part `[top, left, bottom, right]` of an image, in pixels, to the size
/// `[height, width]`.
///
/// # Shapes
/// The result has `height * width * channels` values, with the channels of the image.
///
/// # Panics
/// Panics if the image has another length than it says, if the part is empty or reaches beyond the
/// image, or if the size is zero.
pub fn resize(image: Image<'_>, part: [f32; 4], size: [usize; 2], filter: Filter) -> Vec<u8> {
    let Image {
        bytes,
        height,
        width,
        channels,
    } = image;
    assert!(
        bytes.len() == height * width * channels && !bytes.is_empty(),
        "an image has the length that it says"
    );
    let [top, left, bottom, right] = part;
    let is_within = |from: f32, to: f32, side: usize| from >= 0.0 && from < to && to <= side as f32;
    assert!(
        is_within(top, bottom, height) && is_within(left, right, width),
        "a part lies within its image"
    );
    assert!(size[0] > 0 && size[1] > 0, "a size has pixels");
    let (down, across) = ([top, bottom], [left, right]);
    if filter == Filter::Nearest {
        return nearest(image, [down, across], size);
    }
    let is_whole = |[from, to]: [f32; 2], side: usize, less: usize| {
        from == 0.0 && to == side as f32 && less == side
    };
    let down =
        (!is_whole(down, height, size[0])).then(|| Weights::new(height, down, size[0], filter));
    let across =
        (!is_whole(across, width, size[1])).then(|| Weights::new(width, across, size[1], filter));
    match (down, across) {
        (None, None) => bytes.to_vec(),
        (Some(down), None) => resize_down(image, &down),
        (None, Some(across)) => resize_across(image, &across),
        (Some(down), Some(across)) => resize_both(image, down, &across, size),
    }
}

/// Runs both passes, in the order that Pillow 13 chooses. Pillow up to 12 always resizes
/// horizontally first.
fn resize_both(image: Image<'_>, down: Weights, across: &Weights, size: [usize; 2]) -> Vec<u8> {
    let Image {
        bytes,
        height,
        width,
        channels,
    } = image;
    let is_down_first = size[0] < height && height - size[0] > 2 * width.saturating_sub(size[1]);
    if is_down_first {
        let bytes = resize_down(image, &down);
        let image = Image {
            bytes: &bytes,
            height: size[0],
            ..image
        };
        return resize_across(image, across);
    }
    // Only the rows that the vertical pass needs.
    let rows = down.span();
    let image = Image {
        bytes: &bytes[rows.start * width * channels..rows.end * width * channels],
        height: rows.len(),
        ..image
    };
    let bytes = resize_across(image, across);
    let image = Image {
        bytes: &bytes,
        width: size[1],
        ..image
    };
    resize_down(image, &down.counted_from(rows.start))
}

fn resize_down(image: Image<'_>, weights: &Weights) -> Vec<u8> {
    Isa::best().run(Down { image, weights })
}

fn resize_across(image: Image<'_>, weights: &Weights) -> Vec<u8> {
    Isa::best().run(bands::Across { image, weights })
}

/// Takes the pixel at each new pixel's center. Positions are accumulated, as Pillow does, rather
/// than multiplied, because rounding differs.
fn nearest(
    image: Image<'_>,
    [down, across]: [[f32; 2]; 2],
    [height, width]: [usize; 2],
) -> Vec<u8> {
    let places = |[from, to]: [f32; 2], count: usize, side: usize| {
        let step = f64::from(to - from) / count as f64;
        let mut place = f64::from(from) + step * 0.5;
        let places = (0..count).map(move |_| {
            let pixel = place as usize;
            place += step;
            pixel.min(side - 1)
        });
        places.collect::<Vec<_>>()
    };
    let columns = places(across, width, image.width);
    let mut out = Vec::with_capacity(height * width * image.channels);
    for row in places(down, height, image.height) {
        let line =
            &image.bytes[row * image.width * image.channels..][..image.width * image.channels];
        columns.iter().for_each(|column| {
            out.extend_from_slice(&line[column * image.channels..][..image.channels])
        });
    }
    out
}

/// The vertical pass.
struct Down<'a> {
    image: Image<'a>,
    weights: &'a Weights,
}

impl Work for Down<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn run(self) -> Vec<u8> {
        const RUN: usize = 64;
        let length = self.image.width * self.image.channels;
        let last = self.image.height - 1;
        let mut out = vec![0; self.weights.len() * length];
        for (line, (first, weights)) in out.chunks_exact_mut(length).zip(self.weights.iter()) {
            let mut start = 0;
            while start < length {
                // The last run of a row ends with the row and may repeat some columns.
                let from = if length < RUN {
                    0
                } else {
                    start.min(length - RUN)
                };
                let count = length.min(RUN);
                let mut sums = [HALF; RUN];
                for (index, weights) in weights.iter().enumerate() {
                    let row = |tap: usize| {
                        &self.image.bytes[(first + index * TAPS + tap).min(last) * length + from..]
                            [..count]
                    };
                    add([row(0), row(1), row(2), row(3)], *weights, &mut sums);
                }
                let levels = clipped(&sums);
                match line[from..].first_chunk_mut() {
                    Some(run) => *run = levels,
                    None => line.copy_from_slice(&levels[..count]),
                }
                start += RUN;
            }
        }
        out
    }
}

/// Initial value of each sum, for rounding.
const HALF: i32 = 1 << (weights::BITS - 1);

/// Adds four rows at a time, so that sums are loaded and stored less often.
#[inline(always)]
fn add<const LANES: usize>(rows: [&[u8]; TAPS], weights: [i32; TAPS], sums: &mut [i32; LANES]) {
    let weighted = |rows: [u8; TAPS]| {
        (0..TAPS)
            .map(|tap| i32::from(rows[tap]) * weights[tap])
            .sum::<i32>()
    };
    if let [Some(a), Some(b), Some(c), Some(d)] = rows.map(<[u8]>::first_chunk::<LANES>) {
        for lane in 0..LANES {
            sums[lane] += weighted([a[lane], b[lane], c[lane], d[lane]]);
        }
    } else {
        for (lane, sum) in sums.iter_mut().enumerate().take(rows[0].len()) {
            *sum += weighted(rows.map(|row| row[lane]));
        }
    }
}

#[inline(always)]
fn clipped<const LANES: usize>(sums: &[i32; LANES]) -> [u8; LANES] {
    let mut levels = [0; LANES];
    for lane in 0..LANES {
        levels[lane] = (sums[lane] >> weights::BITS).clamp(0, 255) as u8;
    }
    levels
}
