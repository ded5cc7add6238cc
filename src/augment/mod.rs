//! Random augmentation of training images: bytes `[height, width, channels]` in, values
//! `[channels, height, width]` out.
//!
//! An image's changes are drawn first, as a [`Plan`]: a single map for everything that moves
//! pixels, so that they are interpolated once, then changes of the pixel values in a fixed order.
//! Each family of changes draws from its own stream, keyed by (seed, family, epoch, image), so that
//! turning one on or off leaves the draws of the others as they were.
//!
//! A family is a file and a row in `families.rs`.

mod change;
mod color;
mod documentation;
mod families;
mod family;
mod filters;
mod geometry;
mod key;
mod levels;
mod mixing;
mod policy;
mod ranged;
mod settings;
#[cfg(test)]
mod tests;

pub use change::{Change, Plan};
pub use color::brightness::Brightness;
pub use documentation::examples_markdown;
pub use family::{Fault, Semantics};
pub use filters::{
    blur::blur,
    erasing::{ErasedName, ErasedTo, Erasing},
};
pub use geometry::{
    affine::{Affine, Shift, Zoom},
    crop::ResizedCrop,
};
pub use key::Key;
pub use levels::to_bytes;
pub use mixing::{Mixer, Mixing};
pub use policy::Policy;
pub use ranged::{Chance, Ranged};
pub use settings::{FillMode, Settings};

use pixel_sampling::{Edge, Finish, Image, sample, sample_unmoved};

/// Augments images of one shape.
#[derive(Clone, Debug)]
pub struct Augmenter {
    settings: Settings,
    shape: [usize; 3],
    seed: u64,
}

impl Augmenter {
    /// Creates an augmenter for images of `[height, width, channels]`; `seed` is that of the run.
    pub fn new(settings: &Settings, shape: [usize; 3], seed: u64) -> Self {
        Self {
            settings: settings.clone(),
            shape,
            seed,
        }
    }

    /// Draws the changes to an image.
    pub fn plan(&self, key: Key) -> Plan {
        let [height, width, _] = self.shape;
        families::draw(&self.settings, [height, width], &|number| {
            key.stream(self.seed, number)
        })
    }

    /// Augments an image and appends it to `out`, with the affine transform of `finish` applied to
    /// each value if it is given.
    ///
    /// # Shapes
    /// `[height, width, channels]` bytes to `[channels, height, width]` values.
    ///
    /// # Panics
    /// Panics if `bytes` have another shape.
    pub fn write(&self, bytes: &[u8], key: Key, finish: Option<&Finish>, out: &mut Vec<f32>) {
        self.plan(key)
            .write(bytes, self.shape, self.settings.edge(), finish, out);
    }
}

impl Settings {
    /// Returns a mixer for images of `[height, width, channels]`, or `None` if nothing is mixed;
    /// `seed` is that of the run.
    pub fn mixer(&self, shape: [usize; 3], seed: u64) -> Option<Mixer> {
        Mixer::new(self.mixup.as_ref(), self.cutmix.as_ref(), shape, seed)
    }
}

impl Plan {
    /// Applies the changes to an image and appends the result to `out`.
    ///
    /// # Shapes
    /// `[height, width, channels]` bytes to `[channels, height, width]` values.
    ///
    /// # Panics
    /// Panics if `bytes` have another shape.
    pub fn write(
        &self,
        bytes: &[u8],
        shape: [usize; 3],
        edge: Edge,
        finish: Option<&Finish>,
        out: &mut Vec<f32>,
    ) {
        let image = Image::new(bytes, shape)
            .expect("images have the shape that the augmenter was made for");
        let put = |finish: &Finish, out: &mut Vec<f32>| match geometry::mirrors(&self.map, shape) {
            // Mirroring alone needs no interpolation and copies whole rows.
            Some(mirrors) => sample_unmoved(image, mirrors, finish, out),
            None => sample(image, &self.map, edge, finish, out),
        };
        // A factor alone is part of the sampling pass, which spares a pass over the values.
        let gain = match &self.changes[..] {
            [] => Some(1.0),
            [only] => only.gain(),
            _ => None,
        };
        if let Some(gain) = gain {
            return put(
                &Finish {
                    gain,
                    ..*finish.unwrap_or(&Finish::LEVELS)
                },
                out,
            );
        }
        let start = out.len();
        put(&Finish::LEVELS, out);
        let levels = &mut out[start..];
        self.changes
            .iter()
            .for_each(|change| change.apply(levels, shape));
        if let Some(finish) = finish {
            finish.normalize(levels, shape[2]);
        }
    }
}
