//! The transform of [`super`] as libjpeg-turbo's vector code computes it: values between the
//! steps have 16 bits and wrap around or saturate. The result differs only for coefficients that no
//! image has, as in damaged files.

use crate::block::{Group, LANES};

/// Eight values of a row or column.
type Line = [i16; 8];

/// Transforms a group of blocks into eight rows.
#[cold]
pub(crate) fn transform_group<'a>(
    group: &Group,
    factors: &[i16; 64],
    mut next_row: impl FnMut() -> Option<&'a mut [u8; LANES * 8]>,
) {
    let blocks: [[u8; 64]; LANES] = std::array::from_fn(|lane| {
        transform(std::array::from_fn(|at| group[at * LANES + lane]), factors)
    });
    for line in 0..8 {
        if let Some(row) = next_row() {
            (0..LANES).for_each(|lane| {
                row[lane * 8..][..8].copy_from_slice(&blocks[lane][line * 8..][..8])
            });
        }
    }
}

/// Returns the samples of a block. Coefficients, factors and samples are `[row][column]`.
fn transform(coefficients: [i16; 64], factors: &[i16; 64]) -> [u8; 64] {
    let mut block: [i16; 64] = std::array::from_fn(|at| coefficients[at].wrapping_mul(factors[at]));
    if coefficients[8..]
        .iter()
        .all(|coefficient| *coefficient == 0)
    {
        // libjpeg-turbo's shortcut for blocks with a first row only wraps around where its full
        // pass saturates.
        let first: Line = std::array::from_fn(|column| block[column] << 2);
        block = std::array::from_fn(|at| first[at % 8]);
    } else {
        for column in 0..8 {
            let line = pass(std::array::from_fn(|row| block[row * 8 + column]), 11);
            (0..8).for_each(|row| block[row * 8 + column] = line[row]);
        }
    }
    for line in block.as_chunks_mut::<8>().0 {
        *line = pass(*line, 18);
    }
    block.map(|level| (level.clamp(-128, 127) + 128) as u8)
}

/// Transforms a row or a column of eight values. The result is rounded after a division by
/// `2^shift`.
fn pass(at: Line, shift: u32) -> Line {
    // The factors are rounded multiples of `2^-13`; each sum of two products is exact.
    let sum = |a: i16, factor_a: i32, b: i16, factor_b: i32| {
        (i32::from(a) * factor_a).wrapping_add(i32::from(b) * factor_b)
    };
    let (low, high) = (
        sum(at[2], 10703, at[6], 4433),
        sum(at[2], 4433, at[6], -10704),
    );
    let (total, difference) = (
        i32::from(at[0].wrapping_add(at[4])) << 13,
        i32::from(at[0].wrapping_sub(at[4])) << 13,
    );
    let even = [
        total.wrapping_add(low),
        difference.wrapping_add(high),
        difference.wrapping_sub(high),
        total.wrapping_sub(low),
    ];

    let (far, near) = (at[7].wrapping_add(at[3]), at[5].wrapping_add(at[1]));
    let (shared_far, shared_near) = (sum(far, -6436, near, 9633), sum(far, 9633, near, 6437));
    let odd = [
        sum(at[7], -7373, at[1], 4926).wrapping_add(shared_near),
        sum(at[5], -20995, at[3], 4177).wrapping_add(shared_far),
        sum(at[5], -4176, at[3], -20995).wrapping_add(shared_near),
        sum(at[7], -4927, at[1], -7373).wrapping_add(shared_far),
    ];
    let rounded =
        |value: i32| (value.wrapping_add(1 << (shift - 1)) >> shift).clamp(-32768, 32767) as i16;
    std::array::from_fn(|index| match index {
        0..4 => rounded(even[index].wrapping_add(odd[index])),
        _ => rounded(even[7 - index].wrapping_sub(odd[7 - index])),
    })
}

#[cfg(test)]
mod tests {
    use isa::Isa;

    use super::*;
    use crate::transform::Transform;

    #[test]
    fn blocks_of_images_have_the_same_levels_as_many_at_once() {
        let mut state = 7u64;
        let mut draw = |most: i64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as i64 % (2 * most + 1) - most) as i16
        };
        let factors: [i16; 64] = std::array::from_fn(|at| 1 + (at % 5) as i16);
        for kind in 0..3 {
            let mut group = [0; 64 * LANES];
            for at in 0..64 {
                // Coefficients everywhere, in the first row, or only the DC coefficient.
                let most =
                    180 / (1 + at as i64) * i64::from(at == 0 || kind == 0 || kind == 1 && at < 8);
                (0..LANES).for_each(|lane| group[at * LANES + lane] = draw(most));
            }
            let mut rows = vec![0; LANES * 64];
            Isa::best().run(Transform {
                groups: &[group],
                factors: &factors,
                rows: &mut rows,
            });
            for lane in 0..LANES {
                let found = transform(std::array::from_fn(|at| group[at * LANES + lane]), &factors);
                for (at, level) in found.iter().enumerate() {
                    assert_eq!(
                        *level,
                        rows[at / 8 * LANES * 8 + lane * 8 + at % 8],
                        "{kind} {lane} {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn many_at_once_notice_what_they_cannot_do() {
        for (most, details) in [(20000i64, 64), (9000, 64), (9000, 1), (6000, 3)] {
            let group: Group = std::array::from_fn(|at| {
                let drawn = (at as i64 * 7919 + 12345) * 104_729 % (2 * most + 1) - most;
                if at / LANES < details {
                    drawn as i16
                } else {
                    0
                }
            });
            for isa in Isa::available() {
                let mut rows = vec![0; LANES * 64];
                isa.run(Transform {
                    groups: &[group],
                    factors: &[1; 64],
                    rows: &mut rows,
                });
                for (at, level) in rows.iter().enumerate() {
                    let (row, column) = (at / (LANES * 8), at % (LANES * 8));
                    let block = transform(
                        std::array::from_fn(|at| group[at * LANES + column / 8]),
                        &[1; 64],
                    );
                    assert_eq!(
                        *level,
                        block[row * 8 + column % 8],
                        "{most} {details} {isa:?} {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_beyond_sixteen_bits_is_cut_off_or_wraps_around() {
        let mut block = [0; 64];
        block[0] = 9000;
        assert_eq!(
            transform(block, &[1; 64])[0],
            0,
            "9000 times four wraps around where there is nothing beside it"
        );
        block[8] = 1;
        assert_eq!(
            transform(block, &[1; 64])[0],
            255,
            "and is cut off where there is"
        );
    }
}
