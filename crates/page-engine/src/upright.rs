//! Upright pixels with the wanted channels, from samples as a decoder gives them.

use tiff_pixels::exif_orientation;

/// An upright image, `[height, width, channels]`. A gray image has one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
    /// Number of channels: 1 or 3.
    pub channels: usize,
    /// The levels.
    pub bytes: Vec<u8>,
}

impl Pixels {
    /// Returns a single black pixel.
    pub(crate) fn black() -> Self {
        Self {
            height: 1,
            width: 1,
            channels: 1,
            bytes: vec![0],
        }
    }

    /// Returns height and width.
    pub(crate) fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }
}

/// Turns interleaved samples into upright pixels: alpha is blended over white, and an image that is
/// gray, or wanted with 1 channel, gets one. `orientation` is EXIF's number.
pub(crate) fn upright(
    [height, width, channels]: [usize; 3],
    samples: Vec<u8>,
    orientation: u8,
    wanted: usize,
) -> Pixels {
    let levels = match channels {
        2 => over_white::<2>(&samples),
        4 => over_white::<4>(&samples),
        _ => samples,
    };
    let channels = if channels > 2 { 3 } else { 1 };
    let (channels, bytes) = reduced(levels, channels, wanted);
    let pixels = Pixels {
        height,
        width,
        channels,
        bytes,
    };
    pixels.turned(orientation)
}

/// Blends colors over white by the last channel, and removes that channel.
fn over_white<const CHANNELS: usize>(samples: &[u8]) -> Vec<u8> {
    let pixel = |pixel: &[u8; CHANNELS]| {
        let (alpha, colors) = pixel.split_last().expect("a pixel has channels");
        let alpha = u32::from(*alpha);
        let blended: [u8; CHANNELS] = std::array::from_fn(|channel| {
            let level = colors.get(channel).copied().map_or(0, u32::from);
            ((level * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        });
        blended.into_iter().take(CHANNELS - 1)
    };
    samples.as_chunks().0.iter().flat_map(pixel).collect()
}

/// Reduces images that are gray, or are wanted with one channel, to one. The luma is ITU-R 601-2's
/// in 16-bit fixed point, as Pillow's.
fn reduced(bytes: Vec<u8>, channels: usize, wanted: usize) -> (usize, Vec<u8>) {
    if channels == 1 {
        return (1, bytes);
    }
    let pixels = bytes.as_chunks::<3>().0;
    let is_gray = pixels
        .iter()
        .all(|[red, green, blue]| red == green && green == blue);
    if wanted == 3 && !is_gray {
        return (3, bytes);
    }
    let luma = |pixel: &[u8; 3]| {
        let [red, green, blue] = pixel.map(u32::from);
        ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16) as u8
    };
    (1, pixels.iter().map(luma).collect())
}

impl Pixels {
    /// Applies an orientation.
    fn turned(self, orientation: u8) -> Self {
        if !(2..=8).contains(&orientation) {
            return self;
        }
        let Self {
            height,
            width,
            channels,
            bytes,
        } = self;
        let [high, wide] = if orientation > 4 {
            [width, height]
        } else {
            [height, width]
        };
        // The source of each pixel of the result.
        let from = |row: usize, column: usize| match orientation {
            2 => [row, width - 1 - column],
            3 => [height - 1 - row, width - 1 - column],
            4 => [height - 1 - row, column],
            5 => [column, row],
            6 => [height - 1 - column, row],
            7 => [height - 1 - column, width - 1 - row],
            _ => [column, width - 1 - row],
        };
        let mut turned = Vec::with_capacity(bytes.len());
        for (row, column) in (0..high).flat_map(|row| (0..wide).map(move |column| (row, column))) {
            let [row, column] = from(row, column);
            turned.extend_from_slice(&bytes[(row * width + column) * channels..][..channels]);
        }
        Self {
            height: high,
            width: wide,
            channels,
            bytes: turned,
        }
    }
}

/// Returns the number of the orientation in EXIF data, with or without the `Exif` prefix that JPEGs
/// have; 1 if there is none.
pub(crate) fn orientation(exif: &[u8]) -> u8 {
    exif_orientation(exif)
        .and_then(|number| u8::try_from(number).ok())
        .unwrap_or(1)
}

/// Returns the number of the orientation in the EXIF data of a WebP, which browsers don't follow; 1
/// for any other file.
pub fn webp_orientation(file: &[u8]) -> u8 {
    if !file.starts_with(b"RIFF") || file.get(8..12) != Some(b"WEBP") {
        return 1;
    }
    let mut rest = &file[12..];
    while let Some((head, behind)) = rest.split_at_checked(8) {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if head.starts_with(b"EXIF") {
            return orientation(&behind[..length.min(behind.len())]);
        }
        // Chunks have an even length.
        rest = behind
            .get(length.saturating_add(length % 2)..)
            .unwrap_or_default();
    }
    1
}
