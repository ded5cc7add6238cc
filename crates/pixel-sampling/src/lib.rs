//! Samples an image through one geometric map, with gain and normalization, in a single pass:
//! interleaved bytes in, planar `f32` out.
//!
//! Coordinates are computed in `f64` and pixel values in `f32`, each operation rounded on its own,
//! so that every instruction set gives the same bits; the loops are written once and compiled for
//! each set (`isa`). Nothing is allocated but the output. Coordinates follow SciPy's
//! `affine_transform(order=1)`, `(offset + m0 * row) + m1 * column`, with bilinear interpolation,
//! and the modes of filling the outside are SciPy's of the same names.

mod edge;
mod finish;
mod image;
mod sample;
mod unmoved;

pub use edge::Edge;
pub use finish::{Channel, Finish};
pub use image::Image;
pub use isa::Isa;
pub use sample::{IDENTITY, Map};

use image::Planes;

/// Samples `image` through `map` and appends the result to `out`. `edge` gives the values outside
/// the image.
///
/// # Shapes
/// Appends `[channels, height, width]` values.
///
/// # Panics
/// Panics if the planes of `finish` are not those of the image, each once.
pub fn sample(image: Image<'_>, map: &Map, edge: Edge, finish: &Finish, out: &mut Vec<f32>) {
    append(image, finish, out, |planes| {
        Isa::best().run(sample::Job {
            image,
            map,
            edge,
            finish,
            planes,
        })
    });
}

/// Appends `image` without resampling, with its columns and rows mirrored as `mirror` says, in
/// this order.
///
/// # Shapes
/// Appends `[channels, height, width]` values.
///
/// # Panics
/// As [`sample`].
pub fn sample_unmoved(image: Image<'_>, mirror: [bool; 2], finish: &Finish, out: &mut Vec<f32>) {
    append(image, finish, out, |planes| {
        Isa::best().run(unmoved::Job {
            image,
            mirror,
            finish,
            planes,
        })
    });
}

/// Appends what `write` fills, which must be every row of every plane. The memory is not zeroed
/// first, as a batch is too large for that.
fn append(image: Image<'_>, finish: &Finish, out: &mut Vec<f32>, write: impl FnOnce(Planes<'_>)) {
    let mut planes: Vec<usize> = finish.channels[..image.planes]
        .iter()
        .map(|channel| channel.plane)
        .collect();
    planes.sort_unstable();
    assert!(
        planes.into_iter().eq(0..image.planes),
        "each channel goes to a plane of its own"
    );
    let count = image.height * image.width * image.planes;
    out.reserve(count);
    write(Planes {
        values: &mut out.spare_capacity_mut()[..count],
        height: image.height,
        width: image.width,
    });
    // SAFETY: both callers' jobs fill all rows of all channels, each row as a whole, and the
    // assertion above gives each channel a plane of its own.
    unsafe { out.set_len(out.len() + count) };
}
