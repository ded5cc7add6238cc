//! Converts planes to pixels: scales the components to the image's size by libjpeg's "fancy"
//! upsampling, a triangle filter over two samples in each direction, then converts YCbCr to RGB
//! (ITU-R 601 as in JFIF, 16 fractional bits).

use isa::Work;

use crate::frame::{Component, Frame};

/// Color space of the components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    YCbCr,
    Rgb,
    /// Four inks, inverted as Adobe writes them: 255 is no ink.
    Cmyk,
    /// Four inks, of which the first three are stored as YCbCr.
    Ycck,
}

/// The conversion of all rows of an image with three or four components.
pub(crate) struct Colors<'a> {
    pub(crate) frame: &'a Frame,
    pub(crate) space: Space,
    /// Red, green and blue of each pixel.
    pub(crate) pixels: &'a mut [u8],
}

impl Work for Colors<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Some(components) = self.frame.components.first_chunk::<3>() else {
            return;
        };
        let mut rows = components
            .each_ref()
            .map(|component| Row::new(component, self.frame));
        let mut black = self
            .frame
            .components
            .get(3)
            .map(|component| Row::new(component, self.frame));
        for (row, pixels) in self
            .pixels
            .chunks_exact_mut(3 * self.frame.width)
            .enumerate()
        {
            let [a, b, c] = &mut rows;
            let levels = [a.levels(row), b.levels(row), c.levels(row)];
            match self.space {
                Space::YCbCr | Space::Ycck => convert(levels, pixels),
                Space::Rgb | Space::Cmyk => interleave(levels, pixels),
            }
            if let Some(black) = &mut black {
                print(black.levels(row), self.space == Space::Cmyk, pixels);
            }
        }
    }
}

/// The rows of one component, scaled to the image's width and height.
pub(crate) struct Row<'a> {
    component: &'a Component,
    width: usize,
    /// Rows and columns of the image per sample of the component.
    ratio: [usize; 2],
    /// Whether samples are interpolated; they are repeated otherwise.
    is_smooth: bool,
    /// Samples of one row, or weighted sums of two, with one more at each end.
    sums: Vec<u16>,
    /// The scaled row.
    levels: Vec<u8>,
}

impl<'a> Row<'a> {
    pub(crate) fn new(component: &'a Component, frame: &Frame) -> Self {
        let ratio = [0, 1].map(|axis| frame.most[axis] / component.sampling[axis]);
        // libjpeg interpolates at these ratios only, and not across components of one or two
        // columns.
        let is_smooth = match ratio {
            [1 | 2, 2] => component.size[1] > 2,
            [2, 1] => true,
            _ => false,
        };
        let levels = if component.is_blank() {
            vec![128; frame.width]
        } else {
            Vec::new()
        };
        Self {
            component,
            width: frame.width,
            ratio,
            is_smooth,
            sums: Vec::new(),
            levels,
        }
    }

    /// Returns the values of the image's row `row`.
    #[inline(always)]
    pub(crate) fn levels(&mut self, row: usize) -> &[u8] {
        let component = self.component;
        if component.is_blank() {
            return &self.levels;
        }
        let near = component.row(row / self.ratio[0]);
        if self.ratio == [1, 1] {
            return &near[..self.width];
        }
        let length = component.size[1];
        self.levels.resize(length * self.ratio[1], 0);
        if !self.is_smooth {
            for (levels, level) in self.levels.chunks_exact_mut(self.ratio[1]).zip(near) {
                levels.fill(*level);
            }
            return &self.levels[..self.width];
        }
        let (row, is_upper) = (row / self.ratio[0], row.is_multiple_of(2));
        let other = if is_upper {
            row.saturating_sub(1)
        } else {
            (row + 1).min(component.size[0] - 1)
        };
        let far = component.row(other);
        match self.ratio {
            [_, 1] => {
                // As in libjpeg, halves are rounded down in one of the two rows and up in the
                // other.
                let half = if is_upper { 1 } else { 2 };
                for ((level, near), far) in self.levels.iter_mut().zip(near).zip(far) {
                    *level = ((3 * u16::from(*near) + u16::from(*far) + half) >> 2) as u8;
                }
            }
            [1, _] => {
                self.sums.resize(length + 2, 0);
                self.sums[1..]
                    .iter_mut()
                    .zip(near)
                    .for_each(|(sum, near)| *sum = u16::from(*near));
                self.widen([1, 2], 2);
            }
            _ => {
                self.sums.resize(length + 2, 0);
                let both = near.iter().zip(far);
                self.sums[1..]
                    .iter_mut()
                    .zip(both)
                    .for_each(|(sum, (near, far))| *sum = 3 * u16::from(*near) + u16::from(*far));
                self.widen([8, 7], 4);
            }
        }
        &self.levels[..self.width]
    }

    /// Writes two values per sum, each closer to the neighbor on its side. `halves` are libjpeg's
    /// constants for rounding, by which halves go down in one of the two and up in the other.
    #[inline(always)]
    fn widen(&mut self, halves: [u16; 2], shift: u32) {
        let last = self.sums.len() - 1;
        (self.sums[0], self.sums[last]) = (self.sums[1], self.sums[last - 1]);
        let neighbors = self.sums.iter().zip(&self.sums[1..]).zip(&self.sums[2..]);
        for (levels, ((before, here), after)) in
            self.levels.as_chunks_mut::<2>().0.iter_mut().zip(neighbors)
        {
            *levels = [
                ((3 * here + before + halves[0]) >> shift) as u8,
                ((3 * here + after + halves[1]) >> shift) as u8,
            ];
        }
    }
}

/// Converts a row from YCbCr to RGB.
#[inline(always)]
fn convert([luma, blue, red]: [&[u8]; 3], pixels: &mut [u8]) {
    for (((pixel, luma), blue), red) in pixels
        .as_chunks_mut::<3>()
        .0
        .iter_mut()
        .zip(luma)
        .zip(blue)
        .zip(red)
    {
        let (luma, blue, red) = (
            i32::from(*luma),
            i32::from(*blue) - 128,
            i32::from(*red) - 128,
        );
        // The factors 1.402, 0.34414, 0.71414 and 1.772 of JFIF, times 2^16.
        let level = |difference: i32| (luma + ((difference + 32768) >> 16)).clamp(0, 255) as u8;
        *pixel = [
            level(91881 * red),
            level(-22554 * blue - 46802 * red),
            level(116_130 * blue),
        ];
    }
}

/// Interleaves the rows of three planes.
#[inline(always)]
fn interleave([red, green, blue]: [&[u8]; 3], pixels: &mut [u8]) {
    for (((pixel, red), green), blue) in pixels
        .as_chunks_mut::<3>()
        .0
        .iter_mut()
        .zip(red)
        .zip(green)
        .zip(blue)
    {
        *pixel = [*red, *green, *blue];
    }
}

/// Replaces three inks by the light that they and black leave of white, as Pillow does, which takes
/// all inks for inverted ones.
#[inline(always)]
fn print(black: &[u8], is_inverted: bool, pixels: &mut [u8]) {
    for (pixel, black) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(black) {
        for level in pixel {
            let ink = u32::from(if is_inverted { 255 - *level } else { *level });
            let covered = ink * u32::from(*black) + 128;
            *level = (u32::from(*black) - ((covered + (covered >> 8)) >> 8)) as u8;
        }
    }
}
