//! Planes to pixels: components brought to the image's size ("fancy" upsampling of libjpeg: a triangle over two samples each way), then
//! from luma and colour differences to red, green and blue (ITU-R 601 as in JFIF, 16 bits of fraction).

use isa::Work;

use crate::frame::{Component, Frame};

/// How components are to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    YCbCr,
    Rgb,
    /// Ink of four colours, written as Adobe does: none is 255.
    Cmyk,
    /// The first three of these as luma and differences.
    Ycck,
}

/// All rows of an image of three components or four.
pub(crate) struct Colors<'a> {
    pub(crate) frame: &'a Frame,
    pub(crate) space: Space,
    /// Three bytes a pixel.
    pub(crate) pixels: &'a mut [u8],
}

impl Work for Colors<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Some(components) = self.frame.components.first_chunk::<3>() else { return };
        let mut rows = components.each_ref().map(|component| Row::new(component, self.frame));
        let mut black = self.frame.components.get(3).map(|component| Row::new(component, self.frame));
        for (row, pixels) in self.pixels.chunks_exact_mut(3 * self.frame.width).enumerate() {
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

/// The rows of one component at the image's width, all of them the image's height.
pub(crate) struct Row<'a> {
    component: &'a Component,
    width: usize,
    /// Image's samples to one of the component, down and across.
    ratio: [usize; 2],
    is_smooth: bool,
    /// Samples of one or two rows added up, with one more at each end.
    sums: Vec<u16>,
    levels: Vec<u8>,
}

impl<'a> Row<'a> {
    pub(crate) fn new(component: &'a Component, frame: &Frame) -> Self {
        let ratio = [0, 1].map(|axis| frame.most[axis] / component.sampling[axis]);
        let is_smooth = match ratio {
            [1 | 2, 2] => component.size[1] > 2,
            [2, 1] => true,
            _ => false,
        };
        let levels = if component.is_blank() { vec![128; frame.width] } else { Vec::new() };
        Self { component, width: frame.width, ratio, is_smooth, sums: Vec::new(), levels }
    }

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
        let other = if is_upper { row.saturating_sub(1) } else { (row + 1).min(component.size[0] - 1) };
        let far = component.row(other);
        match self.ratio {
            [_, 1] => {
                let half = if is_upper { 1 } else { 2 };
                for ((level, near), far) in self.levels.iter_mut().zip(near).zip(far) {
                    *level = ((3 * u16::from(*near) + u16::from(*far) + half) >> 2) as u8;
                }
            }
            [1, _] => {
                self.sums.resize(length + 2, 0);
                self.sums[1..].iter_mut().zip(near).for_each(|(sum, near)| *sum = u16::from(*near));
                self.widen([1, 2], 2);
            }
            _ => {
                self.sums.resize(length + 2, 0);
                let both = near.iter().zip(far);
                self.sums[1..].iter_mut().zip(both).for_each(|(sum, (near, far))| *sum = 3 * u16::from(*near) + u16::from(*far));
                self.widen([8, 7], 4);
            }
        }
        &self.levels[..self.width]
    }

    /// Two levels a sum, each leaning to its side, rounded as libjpeg does: one up and one down.
    #[inline(always)]
    fn widen(&mut self, halves: [u16; 2], shift: u32) {
        let last = self.sums.len() - 1;
        (self.sums[0], self.sums[last]) = (self.sums[1], self.sums[last - 1]);
        let neighbours = self.sums.iter().zip(&self.sums[1..]).zip(&self.sums[2..]);
        for (levels, ((before, here), after)) in self.levels.as_chunks_mut::<2>().0.iter_mut().zip(neighbours) {
            *levels = [((3 * here + before + halves[0]) >> shift) as u8, ((3 * here + after + halves[1]) >> shift) as u8];
        }
    }
}

#[inline(always)]
fn convert([luma, blue, red]: [&[u8]; 3], pixels: &mut [u8]) {
    for (((pixel, luma), blue), red) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(luma).zip(blue).zip(red) {
        let (luma, blue, red) = (i32::from(*luma), i32::from(*blue) - 128, i32::from(*red) - 128);
        // Factors are round(x * 2^16).
        let level = |difference: i32| (luma + ((difference + 32768) >> 16)).clamp(0, 255) as u8;
        *pixel = [level(91881 * red), level(-22554 * blue - 46802 * red), level(116_130 * blue)];
    }
}

#[inline(always)]
fn interleave([red, green, blue]: [&[u8]; 3], pixels: &mut [u8]) {
    for (((pixel, red), green), blue) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(red).zip(green).zip(blue) {
        *pixel = [*red, *green, *blue];
    }
}

/// What is left of white under three inks and black, as Pillow has it: it takes all inks for Adobe's.
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
