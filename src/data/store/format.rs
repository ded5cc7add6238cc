//! One image file in, its resized bytes and what there is to say of it out.

use std::{path::Path, sync::Arc};

use crate::{
    config::{Color, Data, Interpolation, OnBadImage, Resize},
    data::pixels::{
        decode::{Pixels, Wanted},
        image_stats::{ImageStats, measure_within},
        memory,
        resize::resize,
    },
};

/// What each image becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Height and width.
    pub image_size: [usize; 2],
    /// One channel or three.
    pub color: Color,
    /// How an image gets to that size.
    pub resize: Resize,
    /// The filter of that.
    pub interpolation: Interpolation,
    /// Is a damaged one shown as far as it goes?
    pub repair: bool,
}

impl Format {
    /// Height, width and channels.
    pub fn shape(self) -> [usize; 3] {
        [self.image_size[0], self.image_size[1], self.color.channels()]
    }

    /// Bytes an image.
    pub fn num_bytes(self) -> usize {
        self.shape().iter().product()
    }

    /// The format that `[data]` asks for.
    pub fn of(data: &Data) -> Self {
        let repair = data.on_bad_image == OnBadImage::Repair;
        Self { image_size: data.image_size, color: data.color, resize: data.resize, interpolation: data.interpolation, repair }
    }

    pub(in crate::data) fn wanted(self) -> Wanted {
        Wanted { color: self.color, repair: self.repair }
    }
}

/// One image as it was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    /// Decoded, and what was found.
    Good(Arc<ImageStats>),
    /// Not decoded, and why.
    Bad(String),
}

impl Read {
    pub(in crate::data) fn facts(&self) -> Option<&Arc<ImageStats>> {
        match self {
            Self::Good(facts) => Some(facts),
            Self::Bad(_) => None,
        }
    }
}

/// A file to what is to say of the image, and its resized bytes.
pub(in crate::data) fn read_image(path: &Path, format: Format, done: &(dyn Fn(usize) + Sync)) -> Result<(ImageStats, Vec<u8>), String> {
    let read = memory::with_file(path, |bytes, room| {
        let (facts, pixels) = measure_within(bytes, format.wanted(), room)?;
        Ok((facts, resized(&pixels, format)))
    });
    done(1);
    read
}

pub(in crate::data) fn resized(pixels: &Pixels, format: Format) -> Vec<u8> {
    resize(pixels, format.image_size, format.resize, format.interpolation)
}
