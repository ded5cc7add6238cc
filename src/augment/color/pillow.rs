//! Operations of Pillow's `ImageOps` that the policies use.

use crate::augment::{
    change::Change,
    levels::{clip, range, to_byte},
};

/// Keeps this number of leading bits of each value.
#[derive(Debug)]
pub(in crate::augment) struct Posterize(pub(in crate::augment) u32);

impl Change for Posterize {
    fn apply(&self, levels: &mut [f32], _: [usize; 3]) {
        let mask = !(0xFFu32 >> self.0) as u8;
        levels
            .iter_mut()
            .for_each(|level| *level = f32::from(to_byte(*level) & mask));
    }
}

/// Inverts the values that are at least a threshold.
#[derive(Debug)]
pub(in crate::augment) struct Solarize(pub(in crate::augment) f32);

impl Change for Solarize {
    fn apply(&self, levels: &mut [f32], _: [usize; 3]) {
        levels.iter_mut().for_each(|level| {
            *level = if *level >= self.0 {
                255.0 - *level
            } else {
                *level
            }
        });
    }
}

/// Stretches each channel to 0..=255; a channel of a single value stays as it is.
#[derive(Debug)]
pub(in crate::augment) struct AutoContrast;

impl Change for AutoContrast {
    fn apply(&self, levels: &mut [f32], shape: [usize; 3]) {
        for plane in levels.chunks_exact_mut(shape[0] * shape[1]) {
            let (low, high) = range(plane);
            if high > low {
                plane
                    .iter_mut()
                    .for_each(|level| *level = clip((*level - low) * (255.0 / (high - low))));
            }
        }
    }
}

/// Equalizes each channel's histogram on whole values, as Pillow's `ImageOps.equalize`.
#[derive(Debug)]
pub(in crate::augment) struct Equalize;

impl Change for Equalize {
    fn apply(&self, levels: &mut [f32], shape: [usize; 3]) {
        for plane in levels.chunks_exact_mut(shape[0] * shape[1]) {
            let mut counts = [0u32; 256];
            plane
                .iter()
                .for_each(|level| counts[usize::from(to_byte(*level))] += 1);
            let last = counts
                .iter()
                .rev()
                .find(|count| **count > 0)
                .copied()
                .unwrap_or(0);
            let step = (plane.len() as u32 - last) / 255;
            // Pillow's integer arithmetic: a channel with fewer than 255 pixels outside its last
            // bin stays as it is.
            if step == 0 {
                continue;
            }
            let mut table = [0.0; 256];
            let mut below = step / 2;
            for (value, count) in table.iter_mut().zip(counts) {
                *value = (below / step).min(255) as f32;
                below += count;
            }
            plane
                .iter_mut()
                .for_each(|level| *level = table[usize::from(to_byte(*level))]);
        }
    }
}
