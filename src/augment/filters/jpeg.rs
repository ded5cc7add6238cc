//! JPEG artifacts.

use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use jpeg_pixels::Jpeg;

use crate::augment::{
    change::Change,
    family::{Example, Family},
    levels::to_bytes,
    ranged::Ranged,
};

/// The family.
pub(in crate::augment) static FAMILY: Family<Ranged> = Family {
    keys: &["jpeg"],
    stream: 20,
    check: |ranged, faults| ranged.check([1.0, 100.0], faults),
    draw: |ranged, mut stream, drawing| {
        if let Some(quality) = ranged.strength(&mut stream) {
            // Rounding makes all whole qualities equally likely except the two ends.
            drawing.plan.add(Compress(quality.round() as u8));
        }
    },
    examples: &[Example {
        name: "jpeg",
        settings: "jpeg = { range = [3, 30] }",
        about: "The quality of a JPEG file that the image is saved as and read from.",
    }],
    ..Family::NEW
};

/// Encodes the image as a JPEG of this quality and decodes it again.
#[derive(Debug)]
pub(in crate::augment) struct Compress(pub(in crate::augment) u8);

impl Change for Compress {
    fn apply(&self, levels: &mut [f32], [height, width, channels]: [usize; 3]) {
        let plane = height * width;
        let bytes = to_bytes(levels, [height, width, channels]);
        let kind = if channels == 3 {
            ExtendedColorType::Rgb8
        } else {
            ExtendedColorType::L8
        };
        let mut file = Vec::new();
        JpegEncoder::new_with_quality(&mut file, self.0)
            .encode(&bytes, width as u32, height as u32, kind)
            .expect("memory takes every byte, and sides are below 65536");
        let decoded = Jpeg::open(&file)
            .and_then(Jpeg::decode)
            .expect("what was just written can be read")
            .pixels;
        for (at, pixel) in decoded.bytes.chunks_exact(decoded.channels).enumerate() {
            // A gray image comes back as one channel.
            (0..channels).for_each(|channel| {
                levels[channel * plane + at] = f32::from(pixel[channel.min(decoded.channels - 1)])
            });
        }
    }
}
