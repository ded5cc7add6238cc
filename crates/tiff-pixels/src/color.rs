//! Converts samples to gray or RGB, followed by alpha if there is one.

use std::borrow::Cow;

use crate::{
    Error,
    directory::Directory,
    layout::{Alpha, Compression, Layout, Meaning},
    unpack::Packing,
};

/// Converts 8-bit samples. Returns the number of channels and the values.
pub(crate) fn colored(
    mut samples: Vec<u8>,
    layout: &Layout,
    directory: &Directory<'_>,
) -> Result<(usize, Vec<u8>), Error> {
    let kept = layout.kept();
    let (channels, mut levels) = match layout.meaning {
        Meaning::WhiteIsZero => {
            // Signed samples, floats and those of 32 bits are numbers rather than ink, and aren't
            // inverted.
            if layout.bits <= 16 && layout.kind == crate::layout::Kind::Unsigned {
                samples
                    .chunks_exact_mut(kept)
                    .for_each(|pixel| pixel[0] = 255 - pixel[0]);
            }
            (kept, samples)
        }
        Meaning::BlackIsZero | Meaning::Rgb => (kept, samples),
        Meaning::Palette => (kept + 2, of_palette(&samples, layout, directory)?),
        Meaning::Cmyk => (
            3,
            samples
                .as_chunks::<4>()
                .0
                .iter()
                .flat_map(printed)
                .collect(),
        ),
        Meaning::YCbCr => {
            let tables = Tables::of(layout, directory);
            samples
                .as_chunks_mut::<3>()
                .0
                .iter_mut()
                .for_each(|pixel| *pixel = tables.rgb(*pixel));
            (3, samples)
        }
    };
    if layout.alpha == Alpha::Multiplied {
        levels.chunks_exact_mut(channels).for_each(|pixel| {
            let alpha = u32::from(pixel[channels - 1]);
            // Where alpha is zero, the value can't be restored and stays as it is.
            let divided = |level: u8| {
                (u32::from(level) * 255)
                    .checked_div(alpha)
                    .map_or(level, |level| level.min(255) as u8)
            };
            pixel[..channels - 1]
                .iter_mut()
                .for_each(|level| *level = divided(*level));
        });
    }
    Ok((channels, levels))
}

/// Looks the first sample of each pixel up in the palette, of which the upper eight bits are taken.
/// Alpha stays.
fn of_palette(
    samples: &[u8],
    layout: &Layout,
    directory: &Directory<'_>,
) -> Result<Vec<u8>, Error> {
    const MISSING: Error = Error::Damaged(Cow::Borrowed("it has no palette of that many colors"));
    let colors = directory.numbers(320).ok_or(MISSING)?;
    let count = 1 << layout.bits;
    let kept = layout.kept();
    if colors.len() < 3 * count {
        return Err(MISSING);
    }
    let mut levels = Vec::with_capacity(samples.len() / kept * (kept + 2));
    for pixel in samples.chunks_exact(kept) {
        levels.extend(
            [0, 1, 2].map(|channel| (colors[channel * count + usize::from(pixel[0])] >> 8) as u8),
        );
        levels.extend_from_slice(&pixel[1..]);
    }
    Ok(levels)
}

/// Converts CMYK to RGB as Pillow does: the light that black leaves, less the part each ink covers.
fn printed([inks @ .., black]: &[u8; 4]) -> [u8; 3] {
    let light = 255 - u32::from(*black);
    inks.map(|ink| {
        let covered = u32::from(ink) * light + 128;
        (light - ((covered + (covered >> 8)) >> 8)) as u8
    })
}

/// What each value of luma and chroma adds to red, green and blue: whole pixel values for luma,
/// multiples of `2^-shift` for chroma.
struct Tables {
    luma: [i32; 256],
    red: [i32; 256],
    /// For blue-difference and red-difference chroma.
    green: [[i32; 256]; 2],
    blue: [i32; 256],
    shift: u32,
}

impl Tables {
    /// Returns the tables for an image. Pillow converts uncompressed pixels without subsampling
    /// itself and leaves all others to libtiff, which rounds differently.
    fn of(layout: &Layout, directory: &Directory<'_>) -> Self {
        if layout.compression == Compression::Other(Packing::Plain) && layout.sampling == [1, 1] {
            Self::pillow()
        } else {
            Self::libtiff(directory)
        }
    }

    /// Returns the tables of Pillow's own conversion.
    fn pillow() -> Self {
        let times = |factor: f64| {
            std::array::from_fn(|level| ((level as f64 - 128.0) * factor * 64.0 + 0.5) as i32)
        };
        let luma = std::array::from_fn(|level| level as i32);
        Self {
            luma,
            red: times(1.402),
            green: [times(-0.34414), times(-0.71414)],
            blue: times(1.772),
            shift: 6,
        }
    }

    /// Returns the tables of libtiff, which respect the file's luma coefficients and its reference
    /// black and white.
    fn libtiff(directory: &Directory<'_>) -> Self {
        let three = |tag| directory.fractions(tag);
        let [red, green, blue] = three(529)
            .and_then(|found| found.first_chunk().copied())
            .unwrap_or([0.299, 0.587, 0.114]);
        let ends = three(532)
            .and_then(|found| found.first_chunk().copied())
            .unwrap_or([0.0, 255.0, 128.0, 255.0, 128.0, 255.0]);
        let fixed = |factor: f32| (f64::from(factor.clamp(0.0, 2.0)) * 65536.0 + 0.5) as i32;
        let (by_red, by_blue) = (2.0 - 2.0 * red, 2.0 - 2.0 * blue);
        let (green_by_red, green_by_blue) =
            (-fixed(red * by_red / green), -fixed(blue * by_blue / green));
        // Stretches the interval from black to white to the whole range.
        let stretched = |level: f32, black: f32, white: f32, range: f32| {
            let (black, white) = (black as i32 as f32, white as i32 as f32);
            let width = if white == black { 1.0 } else { white - black };
            ((level - black) * range / width).clamp(-4096.0, 4096.0) as i32
        };
        let difference = |level: usize, ends: [f32; 2]| {
            stretched(
                level as f32 - 128.0,
                ends[0] - 128.0,
                ends[1] - 128.0,
                127.0,
            )
        };
        let blues: [i32; 256] = std::array::from_fn(|level| difference(level, [ends[2], ends[3]]));
        let reds: [i32; 256] = std::array::from_fn(|level| difference(level, [ends[4], ends[5]]));
        Self {
            luma: std::array::from_fn(|level| stretched(level as f32, ends[0], ends[1], 255.0)),
            red: reds.map(|red| fixed(by_red) * red + 32768),
            green: [
                blues.map(|blue| green_by_blue * blue + 32768),
                reds.map(|red| green_by_red * red),
            ],
            blue: blues.map(|blue| fixed(by_blue) * blue + 32768),
            shift: 16,
        }
    }

    /// Converts a pixel to red, green and blue.
    fn rgb(&self, [luma, blue, red]: [u8; 3]) -> [u8; 3] {
        let [luma, blue, red] = [luma, blue, red].map(usize::from);
        let level = |added: i32| (self.luma[luma] + (added >> self.shift)).clamp(0, 255) as u8;
        [
            level(self.red[red]),
            level(self.green[0][blue] + self.green[1][red]),
            level(self.blue[blue]),
        ]
    }
}
