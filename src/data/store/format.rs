//! Turns one image file into its resized bytes and its statistics.

use std::{path::Path, sync::Arc};

use crate::{
    config::{Color, Data, Interpolation, OnBadImage, Resize},
    data::{
        error::DataError,
        pixels::{
            decode::{Pixels, Wanted, decode_in},
            image_stats::{ImageStats, measure_within},
            memory::{self, Room, Unread},
            resize::resize,
        },
    },
};

/// What each image is turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Height and width in pixels.
    pub image_size: [usize; 2],
    /// Number of channels: gray or RGB.
    pub color: Color,
    /// How images are brought to that size.
    pub resize: Resize,
    /// The filter used for resizing.
    pub interpolation: Interpolation,
    /// Whether damaged files are decoded as far as possible.
    pub repair: bool,
}

impl Format {
    /// Returns height, width and channels.
    pub fn shape(self) -> [usize; 3] {
        [
            self.image_size[0],
            self.image_size[1],
            self.color.channels(),
        ]
    }

    /// Returns the number of bytes of an image with all of its channels.
    pub fn num_bytes(self) -> usize {
        self.shape().iter().product()
    }

    /// Returns the format that `[data]` asks for.
    pub fn of(data: &Data) -> Self {
        let repair = data.on_bad_image == OnBadImage::Repair;
        Self {
            image_size: data.image_size,
            color: data.color,
            resize: data.resize,
            interpolation: data.interpolation,
            repair,
        }
    }

    /// Returns what the decoder is asked for.
    pub(in crate::data) fn wanted(self) -> Wanted {
        Wanted {
            color: self.color,
            repair: self.repair,
        }
    }
}

/// The result of reading an image.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    /// It was decoded; its statistics.
    Good(Arc<ImageStats>),
    /// It couldn't be decoded; the reason.
    Bad(String),
}

impl Read {
    /// Returns the statistics of a decoded image.
    pub(in crate::data) fn facts(&self) -> Option<&Arc<ImageStats>> {
        match self {
            Self::Good(facts) => Some(facts),
            Self::Bad(_) => None,
        }
    }
}

/// Reads an image file and returns its statistics and its resized bytes, or the reason if it can't
/// be read. Calls `done` with 1 in any case.
///
/// # Errors
/// Returns an error if the image lies in a shard that can't be read, so that nothing is known about
/// it.
pub(in crate::data) fn read_image(
    path: &Path,
    format: Format,
    done: &(dyn Fn(usize) + Sync),
) -> Result<Result<(ImageStats, Vec<u8>), String>, DataError> {
    let read = memory::with_file(path, |bytes, room| {
        let (facts, pixels) = measure_within(bytes, format.wanted(), room)?;
        Ok((facts, resized(&pixels, format)))
    });
    done(1);
    match read {
        Ok(read) => Ok(Ok(read)),
        Err(Unread::Bad(reason)) => Ok(Err(reason)),
        Err(Unread::Lost(reason)) => Err(DataError::Lost {
            path: path.to_owned(),
            reason,
        }),
    }
}

/// Returns the resized bytes of an image file in memory, and what is wrong with the file if it is
/// damaged and could be decoded nevertheless. Waits for its share of the decoding memory.
///
/// # Errors
/// Returns the reason if the image can't be read.
pub fn read_bytes(bytes: &[u8], format: Format) -> Result<(Vec<u8>, Option<String>), String> {
    let decoded = decode_in(bytes, format.wanted(), &mut Room::open())?;
    Ok((resized(&decoded.pixels, format), decoded.damage))
}

/// Resizes decoded pixels.
pub fn resized(pixels: &Pixels, format: Format) -> Vec<u8> {
    resize(
        pixels,
        format.image_size,
        format.resize,
        format.interpolation,
    )
}
