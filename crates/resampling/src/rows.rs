//! The vertical pass: whole rows are added up as vectors, each with a weight.

use isa::Work;

use crate::{
    image::Image,
    weights::{BITS, TAPS, Weights},
};

/// The vertical pass.
pub(crate) struct Down<'a> {
    pub(crate) image: Image<'a>,
    pub(crate) weights: &'a Weights,
}

impl Work for Down<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn run(self) -> Vec<u8> {
        const RUN: usize = 64;
        let length = self.image.width * self.image.channels;
        let last = self.image.height - 1;
        let mut out = vec![0; self.weights.len() * length];
        for (line, (first, weights)) in out.chunks_exact_mut(length).zip(self.weights.iter()) {
            let mut start = 0;
            while start < length {
                // The last run of a row ends with the row and may repeat some columns.
                let from = if length < RUN {
                    0
                } else {
                    start.min(length - RUN)
                };
                let count = length.min(RUN);
                let mut sums = [HALF; RUN];
                for (index, weights) in weights.iter().enumerate() {
                    let row = |tap: usize| {
                        &self.image.bytes[(first + index * TAPS + tap).min(last) * length + from..]
                            [..count]
                    };
                    add([row(0), row(1), row(2), row(3)], *weights, &mut sums);
                }
                let levels = clipped(&sums);
                match line[from..].first_chunk_mut() {
                    Some(run) => *run = levels,
                    None => line.copy_from_slice(&levels[..count]),
                }
                start += RUN;
            }
        }
        out
    }
}

/// Initial value of each sum, for rounding.
pub(crate) const HALF: i32 = 1 << (BITS - 1);

/// Adds four rows at a time, so that sums are loaded and stored less often.
#[inline(always)]
pub(crate) fn add<const LANES: usize>(
    rows: [&[u8]; TAPS],
    weights: [i32; TAPS],
    sums: &mut [i32; LANES],
) {
    let weighted = |rows: [u8; TAPS]| {
        (0..TAPS)
            .map(|tap| i32::from(rows[tap]) * weights[tap])
            .sum::<i32>()
    };
    if let [Some(a), Some(b), Some(c), Some(d)] = rows.map(<[u8]>::first_chunk::<LANES>) {
        for lane in 0..LANES {
            sums[lane] += weighted([a[lane], b[lane], c[lane], d[lane]]);
        }
    } else {
        for (lane, sum) in sums.iter_mut().enumerate().take(rows[0].len()) {
            *sum += weighted(rows.map(|row| row[lane]));
        }
    }
}

#[inline(always)]
pub(crate) fn clipped<const LANES: usize>(sums: &[i32; LANES]) -> [u8; LANES] {
    let mut levels = [0; LANES];
    for lane in 0..LANES {
        levels[lane] = (sums[lane] >> BITS).clamp(0, 255) as u8;
    }
    levels
}
