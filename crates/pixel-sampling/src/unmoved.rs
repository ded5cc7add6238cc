//! Images that are not resampled: each byte becomes a value at its position, or at the mirrored
//! one.

use isa::Work;

use crate::{
    finish::Finish,
    image::{Image, Planes},
};

/// An image to convert without resampling.
pub(crate) struct Job<'a> {
    pub(crate) image: Image<'a>,
    /// Whether to mirror columns and rows.
    pub(crate) mirror: [bool; 2],
    pub(crate) finish: &'a Finish,
    pub(crate) planes: Planes<'a>,
}

impl Work for Job<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        match (self.image.channels, self.image.planes) {
            (1, 1) => rows::<1, 1>(self),
            (1, _) => rows::<1, 3>(self),
            _ => rows::<3, 3>(self),
        }
    }
}

#[inline(always)]
fn rows<const CHANNELS: usize, const PLANES: usize>(mut job: Job<'_>) {
    let Image {
        bytes,
        height,
        width,
        ..
    } = job.image;
    let [mirror_columns, mirror_rows] = job.mirror;
    for (row, line) in bytes.chunks_exact(width * CHANNELS).enumerate() {
        let row = if mirror_rows { height - 1 - row } else { row };
        let pixels = line.as_chunks::<CHANNELS>().0;
        for channel in 0..PLANES {
            let to = job
                .planes
                .part(job.finish.channels[channel].plane, row, 0, width);
            let value = |pixel: &[u8; CHANNELS]| {
                job.finish
                    .apply(f32::from(pixel[channel % CHANNELS]), channel)
            };
            if mirror_columns {
                for (to, pixel) in to.iter_mut().zip(pixels.iter().rev()) {
                    to.write(value(pixel));
                }
            } else {
                for (to, pixel) in to.iter_mut().zip(pixels) {
                    to.write(value(pixel));
                }
            }
        }
    }
}
