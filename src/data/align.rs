//! Two looks laid over one another as well as they will go: moved and stretched along their sides, brighter or darker.

use std::cell::OnceCell;

use isa::{Isa, Work};

use super::look::{Look, SIDE, turned};

/// Of a side, at each end: a crop moved something else there, so it doesn't count.
const MARGIN: usize = 16;

/// Grey levels from here on may be cut off by brightness and don't count.
const BRIGHT: f32 = 236.0;

/// Steps of laying one look over another, at half its size and at its own.
const STEPS: [usize; 2] = [4, 8];

/// Correlation half way to that.
const HOPEFUL: f32 = 0.85;

/// Correlation at half the size that nobody's copy is below.
const PROMISING: f32 = 0.96;

/// Pixels that are summed up side by side; the same number everywhere, so that sums are too.
const LANES: usize = 16;

/// The correlation of two looks, the first of them turned, after one of them was moved and stretched along its sides for the best fit
/// (Lucas and Kanade 1981, with gain and offset as unknowns); roughly, where it is small.
pub(super) fn likeness(a: &Look, turn: usize, b: &Look) -> f32 {
    let halves = [turned(halved(a), turn), halved(b)];
    let wholes = OnceCell::new();
    let laid_over = |first: usize| {
        let half = Pair { looks: [&halves[first], &halves[1 - first]], side: SIDE / 2 };
        let half_way = half.fitted(Warp::NONE, STEPS[0] / 2);
        let likeness = half.correlation(half_way);
        if likeness < HOPEFUL {
            return likeness;
        }
        let coarse = half.fitted(half_way, STEPS[0] / 2);
        let likeness = half.correlation(coarse).max(half.correlation(Warp::NONE));
        if likeness < PROMISING {
            return likeness;
        }
        let wholes: &[_; 2] = wholes.get_or_init(|| [turned(smoothed(a), turn), smoothed(b)]);
        let whole = Pair { looks: [&wholes[first], &wholes[1 - first]], side: SIDE };
        let start = Warp { shift: coarse.shift.map(|shift| 2.0 * shift), ..coarse };
        whole.correlation(whole.fitted(start, STEPS[1])).max(whole.correlation(Warp::NONE))
    };
    let likeness = laid_over(0);
    // A crop is found in the whole picture more surely than the whole picture in the crop.
    if (HOPEFUL..PROMISING).contains(&likeness) { likeness.max(laid_over(1)) } else { likeness }
}

/// Means of two by two.
fn halved(look: &Look) -> Vec<f32> {
    let rows = look.bytes().as_chunks::<SIDE>().0.as_chunks::<2>().0;
    let mean =
        |upper: [u8; 2], lower: [u8; 2]| f32::from([upper, lower].as_flattened().iter().map(|level| u16::from(*level)).sum::<u16>()) / 4.0;
    rows.iter()
        .flat_map(|[upper, lower]| {
            let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
            pairs.map(|(upper, lower)| mean(*upper, *lower))
        })
        .collect()
}

/// Blurred a little (a Gaussian of 0.7 pixels in three places), so that moves of less than a pixel are smooth.
fn smoothed(look: &Look) -> Vec<f32> {
    const WEIGHTS: [f32; 3] = [0.21, 0.58, 0.21];
    let blur = |levels: &[f32], step: usize| -> Vec<f32> {
        let neighbour = |at: usize, offset: usize| {
            let along = at / step % SIDE;
            let moved = (along + offset).saturating_sub(1).min(SIDE - 1);
            levels[at + moved * step - along * step]
        };
        (0..levels.len()).map(|at| (0..3).map(|offset| WEIGHTS[offset] * neighbour(at, offset)).sum()).collect()
    };
    let levels: Vec<f32> = look.bytes().iter().map(|level| f32::from(*level)).collect();
    blur(&blur(&levels, 1), SIDE)
}

/// Where a pixel of the second look is in the first: about the centre, `[across, down]`.
#[derive(Clone, Copy, Debug)]
struct Warp {
    scale: [f32; 2],
    shift: [f32; 2],
}

impl Warp {
    const NONE: Self = Self { scale: [1.0; 2], shift: [0.0; 2] };

    /// A place in the second look as its offset from the centre, the pixel of the first look before it, and the way beyond that.
    #[inline(always)]
    fn place(self, axis: usize, at: usize, side: usize) -> (f32, usize, f32) {
        let centre = (side as f32 - 1.0) / 2.0;
        let offset = at as f32 - centre;
        let place = (centre + self.scale[axis] * offset + self.shift[axis]).clamp(0.0, side as f32 - 1.001);
        (offset, place as usize, place - (place as usize) as f32)
    }
}

/// Two square pictures of the same size.
#[derive(Clone, Copy)]
struct Pair<'a> {
    looks: [&'a [f32]; 2],
    side: usize,
}

impl Pair<'_> {
    /// After so many steps, or when they get small.
    fn fitted(self, mut warp: Warp, steps: usize) -> Warp {
        for _ in 0..steps {
            let Some((next, size)) = self.improved(warp) else { break };
            warp = next;
            if size < 2e-3 {
                break;
            }
        }
        warp
    }

    /// One step of Gauss and Newton, and its size; `None` where the looks say nothing.
    fn improved(self, warp: Warp) -> Option<(Warp, f32)> {
        let step = solve(Isa::best().run(Equations { pair: self, warp }))?.map(|value| value as f32);
        let scale = [0, 1].map(|axis| (warp.scale[axis] + step[2 * axis]).clamp(0.9, 1.1));
        let limit = self.side as f32 / 16.0;
        let shift = [0, 1].map(|axis| (warp.shift[axis] + step[2 * axis + 1]).clamp(-limit, limit));
        let size = step[..4].iter().fold(0.0f32, |most, value| most.max(value.abs()));
        Some((Warp { scale, shift }, size))
    }

    fn correlation(self, warp: Warp) -> f32 {
        let [count, a, b, aa, bb, ab] = Isa::best().run(Moments { pair: self, warp });
        let spread = (aa - a * a / count) * (bb - b * b / count);
        // A quarter of the picture must be left to tell.
        let is_enough = count > (self.side * self.side) as f64 / 4.0 && spread > 1.0;
        if is_enough { ((ab - a * b / count) / spread.sqrt()) as f32 } else { 0.0 }
    }

    /// Rows that count.
    fn rows(self) -> std::ops::Range<usize> {
        self.side / MARGIN..self.side - self.side / MARGIN
    }
}

/// A row of the second look, and the first look under the warp there.
struct Row<'a> {
    pair: Pair<'a>,
    warp: Warp,
    /// Of each column: offset from the centre, the pixel before its place, the way beyond that.
    x: [f32; SIDE],
    left: [usize; SIDE],
    right: [f32; SIDE],
    /// The row's offset from the centre.
    y: f32,
    /// 1 for pixels that count, else 0.
    weight: [f32; SIDE],
    level: [f32; SIDE],
    across: [f32; SIDE],
    down: [f32; SIDE],
    other: [f32; SIDE],
}

impl<'a> Row<'a> {
    #[inline(always)]
    fn new(pair: Pair<'a>, warp: Warp) -> Self {
        const ZEROS: [f32; SIDE] = [0.0; SIDE];
        let (x, left, right) = (ZEROS, [0; SIDE], ZEROS);
        let mut row = Self { pair, warp, x, left, right, y: 0.0, weight: ZEROS, level: ZEROS, across: ZEROS, down: ZEROS, other: ZEROS };
        // The sides don't turn, so that columns are found once, and rows are mixed as a whole.
        for column in 0..pair.side {
            (row.x[column], row.left[column], row.right[column]) = warp.place(0, column, pair.side);
        }
        row
    }

    #[inline(always)]
    fn read(&mut self, row: usize) {
        let Pair { looks: [a, b], side } = self.pair;
        let (y, above, below) = self.warp.place(1, row, side);
        self.y = y;
        let (top, bottom) = (&a[above * side..][..side], &a[(above + 1) * side..][..side]);
        let (mut line, mut steps) = ([0.0; SIDE], [0.0; SIDE]);
        for column in 0..side {
            steps[column] = bottom[column] - top[column];
            line[column] = top[column] + steps[column] * below;
        }
        for column in 0..side {
            // The remainders only tell the compiler what is so anyway.
            let [left, next] = [0, 1].map(|step| (self.left[column] + step) % SIDE);
            self.across[column] = line[next] - line[left];
            self.level[column] = line[left];
            self.down[column] = steps[left] + (steps[next] - steps[left]) * self.right[column];
        }
        self.other[..side].copy_from_slice(&b[row * side..][..side]);
        let margin = side / MARGIN;
        for column in 0..side {
            self.level[column] += self.across[column] * self.right[column];
            let counts = (self.level[column] < BRIGHT) & (self.other[column] < BRIGHT) & (column >= margin) & (column < side - margin);
            self.weight[column] = if counts { 1.0 } else { 0.0 };
        }
    }
}

/// The equations of a step, its right side last. Unknowns: scale and shift across, scale and shift down, gain, offset.
struct Equations<'a> {
    pair: Pair<'a>,
    warp: Warp,
}

impl Work for Equations<'_> {
    type Output = [[f64; 7]; 6];

    #[inline(always)]
    fn run(self) -> Self::Output {
        let mut row = Row::new(self.pair, self.warp);
        let mut sums = [[[0.0f32; LANES]; 7]; 6];
        for index in self.pair.rows() {
            row.read(index);
            for start in (0..self.pair.side).step_by(LANES) {
                // The loop over lanes is the outer one, so that it is what becomes vectors.
                for lane in 0..LANES {
                    let at = (start + lane) % SIDE;
                    let (weight, across, down) = (row.weight[at], row.across[at], row.down[at]);
                    let terms = [across * row.x[at], across, down * row.y, down, -row.other[at], -1.0, -row.level[at]];
                    for left in 0..6 {
                        let weighted = terms[left] * weight;
                        for right in left..7 {
                            sums[left][right][lane] += weighted * terms[right];
                        }
                    }
                }
            }
        }
        let mut equations = [[0.0; 7]; 6];
        for left in 0..6 {
            for right in 0..7 {
                // They are symmetric.
                let of = if right < left { &sums[right][left] } else { &sums[left][right] };
                equations[left][right] = of.iter().map(|sum| f64::from(*sum)).sum();
            }
        }
        equations
    }
}

/// Of the pixels that count: how many; sums of the first look, of the second, of their squares, of their product.
struct Moments<'a> {
    pair: Pair<'a>,
    warp: Warp,
}

impl Work for Moments<'_> {
    type Output = [f64; 6];

    #[inline(always)]
    fn run(self) -> Self::Output {
        let mut row = Row::new(self.pair, self.warp);
        let mut sums = [[0.0f64; LANES]; 6];
        for index in self.pair.rows() {
            row.read(index);
            for start in (0..self.pair.side).step_by(LANES) {
                for lane in 0..LANES {
                    let at = (start + lane) % SIDE;
                    let weight = f64::from(row.weight[at]);
                    let (a, b) = (f64::from(row.level[at]) * weight, f64::from(row.other[at]) * weight);
                    let all = [weight, a, b, a * a, b * b, a * b];
                    for index in 0..6 {
                        sums[index][lane] += all[index];
                    }
                }
            }
        }
        let mut totals = [0.0; 6];
        for index in 0..6 {
            totals[index] = sums[index].iter().sum();
        }
        totals
    }
}

/// Gauss's elimination with pivots; `None` of a singular matrix.
fn solve(mut matrix: [[f64; 7]; 6]) -> Option<[f64; 6]> {
    for column in 0..6 {
        let pivot = (column..6).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        matrix.swap(column, pivot);
        if matrix[column][column].abs() < 1e-9 {
            return None;
        }
        let line = matrix[column];
        for row in (0..6).filter(|row| *row != column) {
            let factor = matrix[row][column] / line[column];
            matrix[row].iter_mut().zip(line).for_each(|(value, other)| *value -= factor * other);
        }
    }
    Some(std::array::from_fn(|row| matrix[row][6] / matrix[row][row]))
}
