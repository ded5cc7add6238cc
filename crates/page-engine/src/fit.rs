//! Brings an image to the network's size, with Pillow's levels.

use resampling::{Image, resize};

use crate::{
    Model, Pixels,
    model::{Filter, Fit},
};

/// Returns the levels of an image at the network's size, `[height, width, channels]`.
pub(crate) fn levels(image: &Pixels, model: &Model) -> Vec<u8> {
    let source = image.size();
    let scaled = |part, size| image.resized(part, size, model.filter);
    let levels = match model.fit {
        Fit::Stretch | Fit::Crop => scaled(model.fit.part(source, model.size), model.size),
        Fit::Pad => {
            let inner = inner_size(source, model.size);
            let levels = scaled(Fit::Pad.part(source, model.size), inner);
            pad(&levels, inner, model.size)
        }
    };
    if image.channels == model.channels {
        return levels;
    }
    levels.iter().flat_map(|level| [*level; 3]).collect()
}

impl Fit {
    /// Returns the part of an image that is resized: top, left, bottom and right in pixels.
    fn part(self, source: [usize; 2], size: [usize; 2]) -> [f64; 4] {
        let sides = source.map(|side| side as f64);
        if self != Self::Crop {
            return [0.0, 0.0, sides[0], sides[1]];
        }
        let ratio = (sides[0] / size[0] as f64).min(sides[1] / size[1] as f64);
        // Rounding can leave the product a bit above the side that it was computed from.
        let part = [0, 1].map(|axis| (size[axis] as f64 * ratio).min(sides[axis]));
        let start = [0, 1].map(|axis| (sides[axis] - part[axis]) / 2.0);
        [start[0], start[1], start[0] + part[0], start[1] + part[1]]
    }

    /// Returns what the network's input covers: top, left, height and width as shares of the
    /// image's sides. With padding, that is more than the image.
    pub(crate) fn view(self, source: [usize; 2], size: [usize; 2]) -> [f32; 4] {
        if self == Self::Pad {
            let inner = inner_size(source, size);
            let [top, left] =
                [0, 1].map(|axis| -(((size[axis] - inner[axis]) / 2) as f32) / inner[axis] as f32);
            let [height, width] = [0, 1].map(|axis| size[axis] as f32 / inner[axis] as f32);
            return [top, left, height, width];
        }
        let [height, width] = source.map(|side| side as f64);
        let [top, left, bottom, right] = self.part(source, size);
        [
            top / height,
            left / width,
            (bottom - top) / height,
            (right - left) / width,
        ]
        .map(|share| share as f32)
    }
}

/// Returns the size of a whole image inside the network's input.
fn inner_size(source: [usize; 2], size: [usize; 2]) -> [usize; 2] {
    let sides = source.map(|side| side as f64);
    let ratio = (sides[0] / size[0] as f64).max(sides[1] / size[1] as f64);
    [0, 1].map(|axis| ((sides[axis] / ratio).round() as usize).clamp(1, size[axis]))
}

/// Centers levels on black.
fn pad(inner: &[u8], [height, width]: [usize; 2], size: [usize; 2]) -> Vec<u8> {
    let channels = inner.len() / (height * width);
    let mut out = vec![0; size[0] * size[1] * channels];
    let (top, left) = ((size[0] - height) / 2, (size[1] - width) / 2);
    for (row, line) in inner.chunks_exact(width * channels).enumerate() {
        let start = ((top + row) * size[1] + left) * channels;
        out[start..start + line.len()].copy_from_slice(line);
    }
    out
}

impl Pixels {
    /// Resizes a part of the image.
    pub(crate) fn resized(&self, part: [f64; 4], size: [usize; 2], filter: Filter) -> Vec<u8> {
        let image = Image {
            bytes: &self.bytes,
            height: self.height,
            width: self.width,
            channels: self.channels,
        };
        let filter = match filter {
            Filter::Nearest => resampling::Filter::Nearest,
            Filter::Box => resampling::Filter::Box,
            Filter::Bilinear => resampling::Filter::Bilinear,
            Filter::Hamming => resampling::Filter::Hamming,
            Filter::Bicubic => resampling::Filter::Bicubic,
            Filter::Lanczos => resampling::Filter::Lanczos,
        };
        // Pillow takes the box in single precision, on which levels depend.
        resize(image, part.map(|edge| edge as f32), size, filter)
    }

    /// Returns the image with `side` pixels at most, `[height, width, 4]`.
    pub(crate) fn thumbnail(&self, side: usize) -> ([usize; 2], Vec<u8>) {
        let longest = self.height.max(self.width);
        let size = self.size().map(|length| {
            if longest <= side {
                length
            } else {
                (length * side / longest).max(1)
            }
        });
        let whole = Fit::Stretch.part(self.size(), size);
        let levels = self.resized(whole, size, Filter::Box);
        let pixel = |levels: &[u8]| {
            [
                levels[0],
                levels[levels.len() / 2],
                levels[levels.len() - 1],
                255,
            ]
        };
        (
            size,
            levels.chunks_exact(self.channels).flat_map(pixel).collect(),
        )
    }
}
