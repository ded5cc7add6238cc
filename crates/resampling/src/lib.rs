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
mod image;
mod rows;
mod weights;

pub use image::Image;
pub use weights::Filter;

use isa::Isa;
use weights::Weights;

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
    Isa::best().run(rows::Down { image, weights })
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
