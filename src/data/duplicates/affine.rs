//! Aligns two thumbnails by an affine map: moved, rotated, stretched and mirrored for the best fit,
//! with brightness and contrast free.

use isa::{Isa, Work};

use super::{
    affine_map::Affine,
    align::solve,
    focus::quartered,
    scales::{halved, smoothed},
};
use crate::data::pixels::thumbnail::{SIDE, Thumbnail};

/// A side divided by this is ignored along each edge, where other content may have been filled in.
const MARGIN: usize = 16;
/// Pixel values from here on are ignored, as brightness may have clipped them.
const BRIGHT: f32 = 236.0;
/// Correlations that hardly any copy falls below at a quarter of the size, at half of it and at
/// full size, each before the first step, after one step, two steps and so on.
const HOPEFUL: [&[f32]; 3] = [
    &[0.7, 0.83, 0.85, 0.87, 0.88],
    &[0.8, 0.9, 0.94, 0.945, 0.95],
    &[0.975, 0.988, 0.993, 0.995, 0.995, 0.995],
];
/// Distance in pixels over which details are measured, at full size.
const DETAIL: usize = 4;
/// Minimum fraction of the image that must be compared.
const LEFT: f32 = 0.35;
/// Change in pixels below which a step counts as none.
const STILL: f64 = 2e-3;
/// Number of partial sums. It is the same for every instruction set, so that the results are too.
const LANES: usize = 16;
/// Number of terms of a step's equations: six unknowns of the map, gain and offset, and the right
/// side.
const TERMS: usize = 9;

/// A thumbnail at a quarter of its size, 16 x 16 values.
#[derive(Clone, Debug)]
pub(in crate::data) struct Small {
    quarter: Vec<f32>,
}

impl Small {
    /// Reduces a thumbnail.
    pub(in crate::data) fn of(look: &Thumbnail) -> Self {
        Self {
            quarter: quartered(&halved(look)),
        }
    }
}

/// How well two thumbnails agree.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::data) struct Agreement {
    /// Correlation of the values.
    pub levels: f32,
    /// Correlation of the details, the differences of each pixel from those around it. Different
    /// images of one kind agree in light and shade, and not in these.
    pub details: f32,
}

/// Aligns the first thumbnail with the second, from a first guess, and returns how well they agree.
/// Returns `None` if that is too little on the way, or if the map isn't one of a copy.
pub(in crate::data) fn agreement(
    looks: [&Thumbnail; 2],
    small: [&Small; 2],
    guess: Affine,
) -> Option<Agreement> {
    let warp = Pair::<{ SIDE / 4 }> {
        looks: [&small[0].quarter, &small[1].quarter],
    }
    .laid_over(guess, HOPEFUL[0])?;
    let halves = looks.map(halved);
    let warp = Pair::<{ SIDE / 2 }> {
        looks: [&halves[0], &halves[1]],
    }
    .laid_over(warp.doubled(), HOPEFUL[1])?;
    let wholes = looks.map(smoothed);
    let pair = Pair::<SIDE> {
        looks: [&wholes[0], &wholes[1]],
    };
    let warp = pair.laid_over(warp.doubled(), HOPEFUL[2])?;
    let levels = correlation::<SIDE>(&Isa::best().run(Equations { pair, warp }));
    Some(Agreement {
        levels,
        details: details(&wholes, warp),
    })
}

/// Returns the correlation of the details of the second image and of the first one under the warp.
fn details([first, second]: &[Vec<f32>; 2], warp: Affine) -> f32 {
    let center = (SIDE as f32 - 1.0) / 2.0;
    let inside = (SIDE / MARGIN) as f32..=(SIDE - 1 - SIDE / MARGIN) as f32 - 1e-3;
    let [a, b, x, c, d, y] = warp.0;
    let under = |at: usize| {
        let (u, v) = ((at % SIDE) as f32 - center, (at / SIDE) as f32 - center);
        let place = [a * u + b * v + x + center, c * u + d * v + y + center];
        let counts = place.iter().all(|place| inside.contains(place));
        counts
            .then(|| level(first, place))
            .filter(|level| *level < BRIGHT && second[at] < BRIGHT)
    };
    let under: Vec<Option<f32>> = (0..SIDE * SIDE).map(under).collect();
    let around = |at: usize| {
        [
            at - DETAIL,
            at + DETAIL,
            at - DETAIL * SIDE,
            at + DETAIL * SIDE,
        ]
    };
    let pair = |at: usize| {
        let mean: f32 = around(at)
            .into_iter()
            .map(|at| under[at])
            .sum::<Option<f32>>()?
            / 4.0;
        let other: f32 = around(at).into_iter().map(|at| second[at]).sum::<f32>() / 4.0;
        Some([f64::from(under[at]? - mean), f64::from(second[at] - other)])
    };
    let inner = (DETAIL..SIDE - DETAIL)
        .flat_map(|row| (DETAIL..SIDE - DETAIL).map(move |column| row * SIDE + column));
    let mut sums = [0.0; 6];
    for [a, b] in inner.filter_map(pair) {
        sums.iter_mut()
            .zip([1.0, a, b, a * a, b * b, a * b])
            .for_each(|(sum, value)| *sum += value);
    }
    let [count, a, b, aa, bb, ab] = sums;
    let spread = (aa - a * a / count) * (bb - b * b / count);
    if spread > 1.0 {
        ((ab - a * b / count) / spread.sqrt()) as f32
    } else {
        0.0
    }
}

/// Interpolates between four pixels of a square image. The position must be inside.
fn level(levels: &[f32], [x, y]: [f32; 2]) -> f32 {
    let (column, row) = (x as usize, y as usize);
    let [right, below] = [x - column as f32, y - row as f32];
    let mixed = |row: usize| {
        levels[row * SIDE + column] * (1.0 - right) + levels[row * SIDE + column + 1] * right
    };
    mixed(row) * (1.0 - below) + mixed(row + 1) * below
}

/// Two square images of `SIDE * SIDE` values.
#[derive(Clone, Copy)]
struct Pair<'a, const SIDE: usize> {
    looks: [&'a [f32]; 2],
}

impl<const SIDE: usize> Pair<'_, SIDE> {
    /// Finds the map of the best agreement by Gauss-Newton steps (Lucas and Kanade, 1981). Returns
    /// `None` if the agreement is less than `hopeful` on the way, or if the map isn't one of a
    /// copy.
    fn laid_over(self, mut warp: Affine, hopeful: &[f32]) -> Option<Affine> {
        let mut best = (0.0, warp);
        for hopeful in hopeful {
            let sums = Isa::best().run(Equations { pair: self, warp });
            let found = correlation::<SIDE>(&sums);
            if found < *hopeful {
                return None;
            }
            // A step may overshoot, so the best map is kept rather than the last.
            if found > best.0 {
                best = (found, warp);
            }
            let Some(change) = solve::<TERMS, { TERMS - 1 }>(sums) else {
                break;
            };
            warp.0
                .iter_mut()
                .zip(change)
                .for_each(|(value, change)| *value += change as f32);
            let turned = [0, 1, 3, 4]
                .iter()
                .map(|at| change[*at].abs() * (SIDE / 2) as f64)
                .fold(0.0, f64::max);
            if change[2].abs().max(change[5].abs()).max(turned) < STILL {
                break;
            }
        }
        best.1.is_small().then_some(best.1)
    }
}

/// Computes the correlation from the sums of a step. The terms of gain and offset are the second
/// image and a constant.
fn correlation<const SIDE: usize>(sums: &[[f64; TERMS]; TERMS]) -> f32 {
    let (count, a, b, aa, bb, ab) = (
        sums[7][7], sums[7][8], sums[6][7], sums[8][8], sums[6][6], sums[6][8],
    );
    let spread = (aa - a * a / count) * (bb - b * b / count);
    let is_enough = count > f64::from(LEFT) * (SIDE * SIDE) as f64 && spread > 1.0;
    if is_enough {
        ((ab - a * b / count) / spread.sqrt()) as f32
    } else {
        0.0
    }
}

/// Sums of the products of the terms over the pixels that are compared.
struct Equations<'a, const SIDE: usize> {
    pair: Pair<'a, SIDE>,
    warp: Affine,
}

impl<const SIDE: usize> Work for Equations<'_, SIDE> {
    type Output = [[f64; TERMS]; TERMS];

    #[expect(
        clippy::needless_range_loop,
        reason = "the loop over lanes is the outer one, so that it is what becomes vectors"
    )]
    #[inline(always)]
    fn run(self) -> Self::Output {
        let mut sums = [[[0.0f32; LANES]; TERMS]; TERMS];
        let mut row = Row::new();
        for index in SIDE / MARGIN..SIDE - SIDE / MARGIN {
            row.read(&self, index);
            for start in (0..SIDE).step_by(LANES) {
                for lane in 0..LANES {
                    let at = (start + lane) % SIDE;
                    for left in 0..TERMS {
                        for right in left..TERMS {
                            sums[left][right][lane] += row.terms[left][at] * row.terms[right][at];
                        }
                    }
                }
            }
        }
        let mut out = [[0.0; TERMS]; TERMS];
        for left in 0..TERMS {
            for right in left..TERMS {
                let sum = sums[left][right].iter().map(|sum| f64::from(*sum)).sum();
                (out[left][right], out[right][left]) = (sum, sum);
            }
        }
        out
    }
}

/// A row of the second image, and the first image warped to it.
struct Row<const SIDE: usize> {
    /// Index of the pixel of the first image before each column's position, and the fractions
    /// beyond it.
    before: [u32; SIDE],
    right: [f32; SIDE],
    below: [f32; SIDE],
    /// 1 if the position is inside, else 0.
    inside: [f32; SIDE],
    /// The four pixels around the position: two above, two below.
    around: [[f32; SIDE]; 4],
    /// The terms; zero for pixels that aren't compared.
    terms: [[f32; SIDE]; TERMS],
}

impl<const SIDE: usize> Row<SIDE> {
    const CENTER: f32 = (SIDE as f32 - 1.0) / 2.0;

    #[inline(always)]
    fn new() -> Self {
        let zeros = [0.0; SIDE];
        Self {
            before: [0; SIDE],
            right: zeros,
            below: zeros,
            inside: zeros,
            around: [zeros; 4],
            terms: [zeros; TERMS],
        }
    }

    #[inline(always)]
    fn read(
        &mut self,
        Equations {
            pair: Pair {
                looks: [first, second],
            },
            warp,
        }: &Equations<'_, SIDE>,
        row: usize,
    ) {
        let v = row as f32 - Self::CENTER;
        self.find(*warp, v);
        pick(first, &self.before, &mut self.around);
        let others: &[f32; SIDE] = &second.as_chunks::<SIDE>().0[row];
        for (column, other) in others.iter().enumerate() {
            let u = column as f32 - Self::CENTER;
            let [upper, upper_next, lower, lower_next] =
                [0, 1, 2, 3].map(|at: usize| self.around[at][column]);
            let (edge, lower_edge, right, below) = (
                upper_next - upper,
                lower_next - lower,
                self.right[column],
                self.below[column],
            );
            let (above, under) = (upper + edge * right, lower + lower_edge * right);
            let level = above + (under - above) * below;
            let weight = if (level < BRIGHT) & (*other < BRIGHT) {
                self.inside[column]
            } else {
                0.0
            };
            let [across, down] = [
                (edge + (lower_edge - edge) * below) * weight,
                (under - above) * weight,
            ];
            // Centered, since small numbers keep more digits in a sum.
            let [level, other] = [(level - 128.0) * weight, (other - 128.0) * weight];
            let found = [
                across * u,
                across * v,
                across,
                down * u,
                down * v,
                down,
                -other,
                -weight,
                -level,
            ];
            self.terms
                .iter_mut()
                .zip(found)
                .for_each(|(terms, found)| terms[column] = found);
        }
    }

    /// Finds the positions of a row's columns in the first image.
    #[inline(always)]
    fn find(&mut self, warp: Affine, v: f32) {
        let (low, high) = ((SIDE / MARGIN) as f32, (SIDE - 1 - SIDE / MARGIN) as f32);
        let [a, b, x, c, d, y] = warp.0;
        for column in 0..SIDE {
            let u = column as f32 - Self::CENTER;
            let (x, y) = (
                a * u + b * v + x + Self::CENTER,
                c * u + d * v + y + Self::CENTER,
            );
            let (near_x, near_y) = (x.max(low).min(high - 1e-3), y.max(low).min(high - 1e-3));
            let is_inside =
                (x == near_x) & (y == near_y) & (column as f32 >= low) & (column as f32 <= high);
            let (left, top) = (near_x as i32, near_y as i32);
            (self.right[column], self.below[column]) = (near_x - left as f32, near_y - top as f32);
            self.before[column] = (top * SIDE as i32 + left) as u32;
            self.inside[column] = if is_inside { 1.0 } else { 0.0 };
        }
    }
}

/// Picks the pixels around each position. A function of its own, because inlined it becomes gather
/// instructions, which take twice as long.
#[inline(never)]
fn pick<const SIDE: usize>(levels: &[f32], before: &[u32; SIDE], around: &mut [[f32; SIDE]; 4]) {
    let levels = &levels[..SIDE * SIDE];
    for (column, before) in before.iter().enumerate() {
        // The remainder is a no-op that saves the bounds check.
        let level = |beyond: usize| levels[(*before as usize + beyond) % (SIDE * SIDE)];
        [
            around[0][column],
            around[1][column],
            around[2][column],
            around[3][column],
        ] = [level(0), level(1), level(SIDE), level(SIDE + 1)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::duplicates::focus::{Focus, Tilt, Weight};

    /// Blobs in five places, seen under a warp.
    fn look(warp: Affine, sizes: f32) -> Thumbnail {
        let [a, b, x, c, d, y] = warp.0;
        let level = |at: usize| {
            let [u, v] =
                [at % SIDE, at / SIDE].map(|place| place as f32 - (SIDE as f32 - 1.0) / 2.0);
            let (x, y) = (a * u + b * v + x, c * u + d * v + y);
            let blob = |[left, top, size, height]: [f32; 4]| {
                height * (-((x - left).powi(2) + (y - top).powi(2)) / (size * sizes).powi(2)).exp()
            };
            let blobs = [
                [-9.0, -7.0, 6.0, 90.0],
                [8.0, -4.0, 4.0, 120.0],
                [2.0, 9.0, 7.0, 80.0],
                [-6.0, 6.0, 3.0, 60.0],
                [14.0, 12.0, 5.0, 70.0],
            ];
            (40.0 + blobs.into_iter().map(blob).sum::<f32>())
                .min(230.0)
                .round() as u8
        };
        Thumbnail::from_bytes(&(0..SIDE * SIDE).map(level).collect::<Vec<_>>()).expect("all bytes")
    }

    const NONE: Affine = Affine([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);

    /// Compares a thumbnail with itself under a warp, from the guess that their windows give.
    fn found(warp: Affine, sizes: f32, tilt: Tilt) -> Option<Agreement> {
        let looks = [look(NONE, 1.0), look(warp, sizes)];
        let [one, other] = looks
            .each_ref()
            .map(|look| Focus::of(look, [Weight::Levels; 2])[0].clone());
        let [first, second] = looks.each_ref().map(Small::of);
        agreement(
            looks.each_ref(),
            [&first, &second],
            Affine::of(&one, tilt, &other),
        )
    }

    #[test]
    fn a_moved_turned_and_mirrored_image_agrees_and_another_one_does_not() {
        let turned = |degrees: f32, [across, down]: [f32; 2], mirror: f32| {
            let (sine, cosine) = degrees.to_radians().sin_cos();
            Affine([
                mirror * cosine * 1.03,
                -sine,
                across,
                mirror * sine * 1.03,
                cosine * 0.98,
                down,
            ])
        };
        let tilt = |degrees: f32, is_mirrored: bool| Tilt {
            angle: degrees.to_radians(),
            mirrored: [is_mirrored, false],
        };
        for (degrees, moved, is_mirrored) in [
            (0.0, [0.0, 0.0], false),
            (6.0, [5.0, -4.0], false),
            (-9.0, [-4.0, 6.0], true),
        ] {
            let mirror = if is_mirrored { -1.0 } else { 1.0 };
            let warp = turned(degrees, moved, mirror);
            let is_copy = |found: Option<Agreement>| {
                found.is_some_and(|found| found.levels > 0.999 && found.details > 0.995)
            };
            let guess = tilt(
                if degrees == 0.0 {
                    0.0
                } else {
                    7.0f32.copysign(degrees)
                },
                is_mirrored,
            );
            assert!(
                is_copy(found(warp, 1.0, guess)),
                "{degrees} {:?}",
                found(warp, 1.0, guess)
            );
            // The same places with other sizes.
            assert!(
                !is_copy(found(warp, 1.2, guess)),
                "{degrees} {:?}",
                found(warp, 1.2, guess)
            );
        }
        // Stretched more than a copy may be.
        assert!(
            found(
                Affine([1.4, 0.0, 0.0, 0.0, 0.7, 0.0]),
                1.0,
                tilt(0.0, false)
            )
            .is_none_or(|found| found.levels < 0.99)
        );
    }

    #[test]
    fn every_instruction_set_finds_the_same_to_the_bit() {
        let warp = Affine([0.99, -0.12, 3.0, 0.12, 1.01, -2.0]);
        let found = |isa: Isa| {
            isa.as_best(|| {
                found(
                    warp,
                    1.0,
                    Tilt {
                        angle: 0.12,
                        mirrored: [false; 2],
                    },
                )
                .map(|found| found.levels.to_bits())
            })
        };
        assert!(found(Isa::best()).is_some());
        assert!(
            Isa::available()
                .into_iter()
                .all(|isa| found(isa) == found(Isa::best()))
        );
    }
}
