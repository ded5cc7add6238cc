//! Aligns two thumbnails along their sides: moved and stretched for the best fit, with brightness
//! and contrast free. Doesn't rotate (`affine` does).

use std::{cell::OnceCell, ops::Range};

use isa::{Isa, Work};

use super::scales::{halved, smoothed};
use crate::data::pixels::thumbnail::{SIDE, Thumbnail, turned};

/// A side divided by this is ignored along each edge, where a crop may show other content.
const MARGIN: usize = 16;

/// Pixel values from here on are ignored, as brightness may have clipped them.
const BRIGHT: f32 = 236.0;

/// Correlations at half size that hardly any copy falls below after one step, two steps and so on.
const HOPEFUL: [f32; 4] = [0.85, 0.88, 0.9, 0.9];

/// Correlation at half size that no copy falls below in the end.
const PROMISING: f32 = 0.96;

/// Maximum number of steps at full size.
const STEPS: usize = 8;

/// Number of partial sums. It is the same for every instruction set, so that the results are too.
const LANES: usize = 16;

/// Returns the correlation of two thumbnails, the first of them turned, after alignment (Lucas and
/// Kanade, 1981, with gain and offset as unknowns). It is approximate where it is low.
pub(in crate::data) fn likeness(a: &Thumbnail, turn: usize, b: &Thumbnail) -> f32 {
    let halves = [turned(halved(a), turn), halved(b)];
    // Blurred only if the half size is promising, and once for both directions.
    let wholes = OnceCell::new();
    let laid_over = |first: usize| {
        // At half size, a step reaches twice as far and costs a quarter.
        let half = Pair::<{ SIDE / 2 }> {
            looks: [&halves[first], &halves[1 - first]],
        };
        let upright = half.step(Warp::NONE);
        let mut step = upright;
        for hopeful in HOPEFUL {
            let Some(next) = step.next else { break };
            step = half.step(next);
            if step.correlation < hopeful {
                return step.correlation;
            }
        }
        if step.correlation.max(upright.correlation) < PROMISING {
            return step.correlation;
        }
        let wholes: &[_; 2] = wholes.get_or_init(|| [turned(smoothed(a), turn), smoothed(b)]);
        let whole = Pair::<SIDE> {
            looks: [&wholes[first], &wholes[1 - first]],
        };
        let mut warp = Warp {
            shift: step.warp.shift.map(|shift| 2.0 * shift),
            ..step.warp
        };
        for _ in 0..STEPS {
            let Some(next) = whole.step(warp).next else {
                break;
            };
            warp = next;
        }
        whole.correlation(warp).max(whole.correlation(Warp::NONE))
    };
    let likeness = laid_over(0);
    // A crop is found in the whole image more reliably than the whole image in the crop.
    if (HOPEFUL[3]..PROMISING).contains(&likeness) {
        likeness.max(laid_over(1))
    } else {
        likeness
    }
}

/// Maps pixels of the second image to the first: scale and shift around the center, `[across,
/// down]`.
#[derive(Clone, Copy, Debug)]
struct Warp {
    scale: [f32; 2],
    shift: [f32; 2],
}

impl Warp {
    const NONE: Self = Self {
        scale: [1.0; 2],
        shift: [0.0; 2],
    };

    /// Returns the offset of a pixel from the center, and its position in the first image as a
    /// whole pixel and a fraction.
    #[inline(always)]
    fn place<const SIDE: usize>(self, axis: usize, at: usize) -> (f32, usize, f32) {
        let center = (SIDE as f32 - 1.0) / 2.0;
        let offset = at as f32 - center;
        let place =
            (center + self.scale[axis] * offset + self.shift[axis]).clamp(0.0, SIDE as f32 - 1.001);
        (offset, place as usize, place - (place as usize) as f32)
    }
}

/// Two square images of `SIDE * SIDE` values.
#[derive(Clone, Copy)]
struct Pair<'a, const SIDE: usize> {
    looks: [&'a [f32]; 2],
}

impl<const SIDE: usize> Pair<'_, SIDE> {
    /// Rows and columns that are compared.
    const INNER: Range<usize> = SIDE / MARGIN..SIDE - SIDE / MARGIN;

    /// Computes how well the images agree under a warp, approximately, and takes a Gauss-Newton
    /// step from there.
    fn step(self, warp: Warp) -> Step {
        let sums = Isa::best().run(Equations { pair: self, warp });
        let [_, _, _, _, [.., bb, b, ab], [.., count, a], [.., aa]] = sums;
        let correlation = correlation::<SIDE>([count, a, b, aa, bb, ab]);
        let next = solve::<7, 6>(sums)
            .map(|step| step.map(|value| value as f32))
            .filter(|step| step[..4].iter().any(|value| value.abs() >= 2e-3));
        let next = next.map(|step| {
            // The search is for copies that are moved by a sixteenth of a side and stretched by a
            // tenth at most.
            let limit = SIDE as f32 / 16.0;
            Warp {
                scale: [0, 1].map(|axis| (warp.scale[axis] + step[2 * axis]).clamp(0.9, 1.1)),
                shift: [0, 1]
                    .map(|axis| (warp.shift[axis] + step[2 * axis + 1]).clamp(-limit, limit)),
            }
        });
        Step {
            warp,
            correlation,
            next,
        }
    }

    /// Computes how well the images agree under a warp.
    fn correlation(self, warp: Warp) -> f32 {
        correlation::<SIDE>(Isa::best().run(Moments { pair: self, warp }))
    }
}

/// A warp on the way, and the next one.
#[derive(Clone, Copy)]
struct Step {
    warp: Warp,
    correlation: f32,
    /// The improved warp; `None` if the equations are singular or the step is negligible.
    next: Option<Warp>,
}

/// Computes a correlation from the number of pixels, the sums of the first and the second image, of
/// their squares, and of their products.
fn correlation<const SIDE: usize>([count, a, b, aa, bb, ab]: [f64; 6]) -> f32 {
    let spread = (aa - a * a / count) * (bb - b * b / count);
    // A quarter of the image must remain.
    let is_enough = count > (SIDE * SIDE) as f64 / 4.0 && spread > 1.0;
    if is_enough {
        ((ab - a * b / count) / spread.sqrt()) as f32
    } else {
        0.0
    }
}

/// A row of the second image, and the first image warped to it.
struct Row<'a, const SIDE: usize> {
    pair: Pair<'a, SIDE>,
    warp: Warp,
    /// Offset of each column from the center, the pixel before its position, and the fraction
    /// beyond it.
    x: [f32; SIDE],
    left: [usize; SIDE],
    right: [f32; SIDE],
    /// Offset of the row from the center.
    y: f32,
    /// 1 for pixels that are compared, else 0.
    weight: [f32; SIDE],
    /// Values and derivatives of the first image.
    level: [f32; SIDE],
    across: [f32; SIDE],
    down: [f32; SIDE],
    /// Values of the second image.
    other: [f32; SIDE],
}

impl<'a, const SIDE: usize> Row<'a, SIDE> {
    #[inline(always)]
    fn new(pair: Pair<'a, SIDE>, warp: Warp) -> Self {
        let zeros = [0.0; SIDE];
        let (x, left, right) = (zeros, [0; SIDE], zeros);
        let mut row = Self {
            pair,
            warp,
            x,
            left,
            right,
            y: 0.0,
            weight: zeros,
            level: zeros,
            across: zeros,
            down: zeros,
            other: zeros,
        };
        // Nothing rotates, so columns are found once for all rows.
        for column in 0..SIDE {
            (row.x[column], row.left[column], row.right[column]) = warp.place::<SIDE>(0, column);
        }
        row
    }

    #[inline(always)]
    fn read(&mut self, row: usize) {
        let [a, b] = self.pair.looks.map(|look| look.as_chunks::<SIDE>().0);
        let (y, above, below) = self.warp.place::<SIDE>(1, row);
        let (top, bottom) = (&a[above], &a[above + 1]);
        self.y = y;
        self.other = b[row];
        let mut line = [[0.0; 2]; SIDE];
        for column in 0..SIDE {
            let step = bottom[column] - top[column];
            line[column] = [top[column] + step * below, step];
        }
        let mut picked = [[[0.0; 2]; 2]; SIDE];
        pick(&line, &self.left, &mut picked);
        for (column, [[level, step], [next, next_step]]) in picked.iter().enumerate() {
            self.across[column] = next - level;
            self.level[column] = level + self.across[column] * self.right[column];
            self.down[column] = step + (next_step - step) * self.right[column];
            let counts = (self.level[column] < BRIGHT)
                & (self.other[column] < BRIGHT)
                & Pair::<SIDE>::INNER.contains(&column);
            self.weight[column] = if counts { 1.0 } else { 0.0 };
        }
    }
}

/// Picks two neighbors for each column. A function of its own, because inlined it becomes gather
/// instructions, which take twice as long.
#[inline(never)]
fn pick<const SIDE: usize>(
    line: &[[f32; 2]; SIDE],
    left: &[usize; SIDE],
    picked: &mut [[[f32; 2]; 2]; SIDE],
) {
    for (picked, left) in picked.iter_mut().zip(left) {
        // The remainders are no-ops that save the bounds checks.
        *picked = [line[left % SIDE], line[(left + 1) % SIDE]];
    }
}

/// Sums of the products of the terms of a step's equations. The unknowns are scale and shift
/// across, scale and shift down, gain and offset; the last term is the right side.
struct Equations<'a, const SIDE: usize> {
    pair: Pair<'a, SIDE>,
    warp: Warp,
}

impl<const SIDE: usize> Work for Equations<'_, SIDE> {
    type Output = [[f64; 7]; 7];

    #[expect(
        clippy::needless_range_loop,
        reason = "the loop over lanes is the outer one, so that it is what becomes vectors"
    )]
    #[inline(always)]
    fn run(self) -> Self::Output {
        let mut row = Row::new(self.pair, self.warp);
        let mut sums = [[[0.0f32; LANES]; 7]; 7];
        for index in Pair::<SIDE>::INNER {
            row.read(index);
            for start in (0..SIDE).step_by(LANES) {
                for lane in 0..LANES {
                    let at = (start + lane) % SIDE;
                    let (weight, across, down) = (row.weight[at], row.across[at], row.down[at]);
                    // Centered: an offset is among the unknowns, and small numbers keep more digits
                    // in a sum.
                    let [level, other] = [row.level[at], row.other[at]].map(|level| level - 128.0);
                    let terms = [
                        across * row.x[at],
                        across,
                        down * row.y,
                        down,
                        -other,
                        -1.0,
                        -level,
                    ];
                    for left in 0..7 {
                        let weighted = terms[left] * weight;
                        for right in left..7 {
                            sums[left][right][lane] += weighted * terms[right];
                        }
                    }
                }
            }
        }
        let mut equations = [[0.0; 7]; 7];
        for left in 0..7 {
            for right in left..7 {
                let sum = sums[left][right].iter().map(|sum| f64::from(*sum)).sum();
                (equations[left][right], equations[right][left]) = (sum, sum);
            }
        }
        equations
    }
}

/// Computes the input of [`correlation`] in double precision.
struct Moments<'a, const SIDE: usize> {
    pair: Pair<'a, SIDE>,
    warp: Warp,
}

impl<const SIDE: usize> Work for Moments<'_, SIDE> {
    type Output = [f64; 6];

    #[inline(always)]
    fn run(self) -> Self::Output {
        let mut row = Row::new(self.pair, self.warp);
        let mut sums = [[0.0f64; LANES]; 6];
        for index in Pair::<SIDE>::INNER {
            row.read(index);
            for start in (0..SIDE).step_by(LANES) {
                for lane in 0..LANES {
                    let at = (start + lane) % SIDE;
                    let weight = f64::from(row.weight[at]);
                    let (a, b) = (
                        f64::from(row.level[at]) * weight,
                        f64::from(row.other[at]) * weight,
                    );
                    for (sums, value) in sums.iter_mut().zip([weight, a, b, a * a, b * b, a * b]) {
                        sums[lane] += value;
                    }
                }
            }
        }
        sums.map(|lanes| lanes.iter().sum())
    }
}

/// Solves linear equations by Gaussian elimination with partial pivoting. Each of the first
/// `UNKNOWNS` rows has its right side in the last column. Returns `None` if the matrix is singular.
pub(super) fn solve<const TERMS: usize, const UNKNOWNS: usize>(
    mut matrix: [[f64; TERMS]; TERMS],
) -> Option<[f64; UNKNOWNS]> {
    for column in 0..UNKNOWNS {
        let pivot = (column..UNKNOWNS).max_by(|a, b| {
            matrix[*a][column]
                .abs()
                .total_cmp(&matrix[*b][column].abs())
        })?;
        matrix.swap(column, pivot);
        if matrix[column][column].abs() < 1e-9 {
            return None;
        }
        let line = matrix[column];
        for row in (0..UNKNOWNS).filter(|row| *row != column) {
            let factor = matrix[row][column] / line[column];
            matrix[row]
                .iter_mut()
                .zip(line)
                .for_each(|(value, other)| *value -= factor * other);
        }
    }
    Some(std::array::from_fn(|row| {
        matrix[row][UNKNOWNS] / matrix[row][row]
    }))
}
