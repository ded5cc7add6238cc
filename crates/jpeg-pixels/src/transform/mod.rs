//! Transforms coefficients to samples with libjpeg's accurate integer transform ("islow": Loeffler,
//! Ligtenberg and Moschytz 1989; 13 fractional bits, 2 of them kept between the passes). Sixteen
//! blocks lie side by side, so that each step is the same for all lanes of a vector.

mod wrapped;

use std::num::Wrapping;

use isa::Work;

use crate::block::{Group, LANES};

/// One value of each block.
type Lanes = [Wrapping<i32>; LANES];

/// The transform of a row of blocks into eight rows of a plane.
pub(crate) struct Transform<'a> {
    pub(crate) groups: &'a [Group],
    /// Quantization factors, `[row][column]`.
    pub(crate) factors: &'a [i16; 64],
    /// Eight rows, each with `8 * LANES` samples per group.
    pub(crate) rows: &'a mut [u8],
}

impl Work for Transform<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let stride = self.groups.len() * LANES * 8;
        let mut halfway = [[Wrapping(0); LANES]; 64];
        for (index, group) in self.groups.iter().enumerate() {
            let mut rows = self.rows.chunks_exact_mut(stride);
            let mut next_row = || {
                rows.next()
                    .and_then(|row| row[index * LANES * 8..].first_chunk_mut::<{ LANES * 8 }>())
            };
            // Coefficients other than the first one of each block.
            if !are_zero(&group[LANES..]) {
                if columns(group, self.factors, &mut halfway) {
                    for line in halfway.as_chunks::<8>().0 {
                        if let Some(row) = next_row() {
                            put(&pass(line, 18), row);
                        }
                    }
                    continue;
                }
            } else if let Some(levels) = flat(group, self.factors[0]) {
                while let Some(row) = next_row() {
                    row.copy_from_slice(levels.as_flattened());
                }
                continue;
            }
            wrapped::transform_group(group, self.factors, next_row);
        }
    }
}

/// Whether all of these coefficients are zero.
#[inline(always)]
pub(crate) fn are_zero(coefficients: &[i16]) -> bool {
    let mut all = [0; LANES];
    for row in coefficients.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            all[lane] |= row[lane];
        }
    }
    all == [0; LANES]
}

/// Bound on the values between the passes up to which 16-bit arithmetic gives the same result.
/// Values of images are a tenth of it.
const MOST: i32 = 1 << 14;

/// Computes the first pass, over the columns. Returns false if a value exceeds 16-bit arithmetic,
/// as only damage causes.
#[inline(always)]
fn columns(group: &Group, factors: &[i16; 64], halfway: &mut [Lanes; 64]) -> bool {
    let mut bits = [0; LANES];
    for column in 0..8 {
        let mut line = [[Wrapping(0); LANES]; 8];
        for (row, line) in line.iter_mut().enumerate() {
            let at = row * 8 + column;
            for lane in 0..LANES {
                // The product wraps in 16 bits as in libjpeg-turbo's vector code. No file made of
                // an image exceeds them.
                line[lane] = Wrapping(i32::from(
                    group[at * LANES + lane].wrapping_mul(factors[at]),
                ));
            }
        }
        let line = pass(&line, 11);
        for row in 0..8 {
            halfway[row * 8 + column] = line[row];
            // A plain loop, because a closure would be compiled for the baseline instruction set.
            for lane in 0..LANES {
                bits[lane] |= (line[row][lane] + Wrapping(MOST)).0;
            }
        }
    }
    let mut all = 0;
    for bits in bits {
        all |= bits as u32;
    }
    all < 2 * MOST as u32
}

/// Transforms a row or a column of eight values per lane. The result is rounded after a division by
/// `2^shift`.
#[inline(always)]
fn pass(input: &[Lanes; 8], shift: usize) -> [Lanes; 8] {
    let mut out = [[Wrapping(0); LANES]; 8];
    for lane in 0..LANES {
        let at = |index: usize| input[index][lane];
        let times = |value: Wrapping<i32>, factor: i32| value * Wrapping(factor);
        // The factors are rounded multiples of `2^-13`.
        let turned = times(at(2) + at(6), 4433);
        let (low, high) = (turned + times(at(2), 6270), turned - times(at(6), 15137));
        let (sum, difference) = ((at(0) + at(4)) << 13, (at(0) - at(4)) << 13);
        let even = [sum + low, difference + high, difference - high, sum - low];

        let shared = times(at(7) + at(3) + at(5) + at(1), 9633);
        let far = shared - times(at(7) + at(3), 16069);
        let near = shared - times(at(5) + at(1), 3196);
        let (outer, inner) = (times(at(7) + at(1), -7373), times(at(5) + at(3), -20995));
        let odd = [
            times(at(1), 12299) + outer + near,
            times(at(3), 25172) + inner + far,
            times(at(5), 16819) + inner + near,
            times(at(7), 2446) + outer + far,
        ];
        let half = Wrapping(1 << (shift - 1));
        for index in 0..4 {
            out[index][lane] = (even[index] + odd[index] + half) >> shift;
            out[7 - index][lane] = (even[index] - odd[index] + half) >> shift;
        }
    }
    out
}

/// Writes a row of each block, from eight columns of values about zero to eight samples per block.
#[inline(always)]
fn put(columns: &[Lanes; 8], row: &mut [u8; LANES * 8]) {
    for lane in 0..LANES {
        let level = |column: usize| (columns[column][lane] + Wrapping(128)).0.clamp(0, 255) as u32;
        let four = |from: usize| {
            level(from) | level(from + 1) << 8 | level(from + 2) << 16 | level(from + 3) << 24
        };
        let eight = u64::from(four(0)) | u64::from(four(4)) << 32;
        row[lane * 8..(lane + 1) * 8].copy_from_slice(&eight.to_le_bytes());
    }
}

/// Returns the samples of blocks that have a DC coefficient only, eight equal ones per block;
/// `None` if one exceeds 16-bit arithmetic.
#[inline(always)]
fn flat(group: &Group, factor: i16) -> Option<[[u8; 8]; LANES]> {
    let (mut levels, mut is_small) = ([[0; 8]; LANES], true);
    for lane in 0..LANES {
        let mean = i32::from(group[lane].wrapping_mul(factor));
        is_small &= 4 * mean.abs() < MOST;
        levels[lane] = [(((mean + 4) >> 3) + 128).clamp(0, 255) as u8; 8];
    }
    is_small.then_some(levels)
}

#[cfg(test)]
mod tests {
    use isa::Isa;

    use super::*;

    fn transformed(isa: Isa, groups: &[Group], factors: &[i16; 64]) -> Vec<u8> {
        let mut rows = vec![9; groups.len() * LANES * 64];
        isa.run(Transform {
            groups,
            factors,
            rows: &mut rows,
        });
        rows
    }

    /// Returns coefficients like those of photographs, large at low frequencies.
    fn drawn(seed: u64) -> Group {
        let mut state = seed * 2 + 1;
        std::array::from_fn(|at| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let (row, column) = (at / LANES / 8, at / LANES % 8);
            let most = 900 / (1 + 3 * (row + column)) as i64;
            ((state >> 33) as i64 % (2 * most + 1) - most) as i16
        })
    }

    /// Computes a sample by the definition (T.81, A.3.3), in `f64`.
    fn reference(group: &Group, lane: usize, row: usize, column: usize) -> f64 {
        let mut sum = 0.0;
        for (at, coefficients) in group.chunks_exact(LANES).enumerate() {
            let wave = |frequency: usize, place: usize| {
                let weight = if frequency == 0 { 0.5f64.sqrt() } else { 1.0 };
                weight
                    * ((2 * place + 1) as f64 * frequency as f64 * std::f64::consts::PI / 16.0)
                        .cos()
            };
            sum += f64::from(coefficients[lane]) * wave(at / 8, row) * wave(at % 8, column);
        }
        (sum / 4.0 + 128.0).clamp(0.0, 255.0)
    }

    #[test]
    fn levels_are_those_of_the_definition_in_their_places_on_every_instruction_set() {
        let groups = [drawn(1), drawn(2), drawn(3)];
        let found = transformed(Isa::best(), &groups, &[1; 64]);
        for isa in Isa::available() {
            assert_eq!(transformed(isa, &groups, &[1; 64]), found, "{isa:?}");
        }
        for (at, level) in found.iter().enumerate() {
            let (row, column) = (at / (3 * LANES * 8), at % (3 * LANES * 8));
            let (group, lane) = (column / 8 / LANES, column / 8 % LANES);
            let expected = reference(&groups[group], lane, row, column % 8);
            assert!(
                (f64::from(*level) - expected).abs() < 0.6,
                "{level} {expected} at {row}, {column}"
            );
        }
    }

    #[test]
    fn a_block_of_one_level_needs_no_transform() {
        let mut group = [0; 64 * LANES];
        (0..LANES).for_each(|lane| group[lane] = lane as i16 * 160 - 1200);
        // Another coefficient in one block sends the whole group through the transform.
        let mut other = group;
        other[20 * LANES + 7] = 90;
        for factor in [1, 3, 9] {
            let factors = std::array::from_fn(|at| if at == 0 { factor } else { 1 });
            let (fast, slow) = (
                transformed(Isa::best(), &[group], &factors),
                transformed(Isa::best(), &[other], &factors),
            );
            let differs = |at: &usize| fast[*at] != slow[*at];
            assert!(
                (0..fast.len())
                    .filter(differs)
                    .all(|at| at / 8 % LANES == 7),
                "{factor}"
            );
            assert!((0..fast.len()).any(|at| differs(&at)), "{factor}");
        }
    }

    #[test]
    fn coefficients_beyond_any_image_wrap_around_and_do_not_panic() {
        let groups = [[i16::MAX; 64 * LANES], [i16::MIN; 64 * LANES]];
        assert_eq!(
            transformed(Isa::best(), &groups, &[i16::MAX; 64]).len(),
            2 * LANES * 64
        );
    }
}
