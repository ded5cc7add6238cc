//! Two looks laid over one another as well as they will go: moved and stretched along their sides, brighter or darker.

use std::{cell::OnceCell, ops::Range};

use isa::{Isa, Work};

use crate::data::pixels::thumbnail::{SIDE, THUMBNAIL_BYTES, Thumbnail, turned};

/// Of a side, at each end: a crop moved something else there, so it doesn't count.
const MARGIN: usize = 16;

/// Grey levels from here on may be cut off by brightness and don't count.
const BRIGHT: f32 = 236.0;

/// Correlation at half the size that hardly any copy is below after one step of laying it over the other, two, three and so on.
const HOPEFUL: [f32; 4] = [0.85, 0.88, 0.9, 0.9];

/// Correlation at half the size that no copy is below in the end.
const PROMISING: f32 = 0.96;

/// Steps at full size, at most.
const STEPS: usize = 8;

/// Pixels that are summed up side by side; the same number everywhere, so that sums are too.
const LANES: usize = 16;

/// The correlation of two looks, the first of them turned, after one of them was moved and stretched along its sides for the best fit
/// (Lucas and Kanade 1981, with gain and offset as unknowns); roughly, where it is small.
pub(in crate::data) fn likeness(a: &Thumbnail, turn: usize, b: &Thumbnail) -> f32 {
    let halves = [turned(halved(a), turn), halved(b)];
    let wholes = OnceCell::new();
    let laid_over = |first: usize| {
        let half = Pair::<{ SIDE / 2 }> { looks: [&halves[first], &halves[1 - first]] };
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
        let whole = Pair::<SIDE> { looks: [&wholes[first], &wholes[1 - first]] };
        let mut warp = Warp { shift: step.warp.shift.map(|shift| 2.0 * shift), ..step.warp };
        for _ in 0..STEPS {
            let Some(next) = whole.step(warp).next else { break };
            warp = next;
        }
        whole.correlation(warp).max(whole.correlation(Warp::NONE))
    };
    let likeness = laid_over(0);
    // A crop is found in the whole image more surely than the whole image in the crop.
    if (HOPEFUL[3]..PROMISING).contains(&likeness) { likeness.max(laid_over(1)) } else { likeness }
}

/// Means of two by two.
fn halved(look: &Thumbnail) -> Vec<f32> {
    Isa::best().run(Halves(look))
}

struct Halves<'a>(&'a Thumbnail);

impl Work for Halves<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run(self) -> Vec<f32> {
        let mut means = vec![0.0; THUMBNAIL_BYTES / 4];
        let rows = self.0.bytes().as_chunks::<SIDE>().0.as_chunks::<2>().0;
        for (means, [upper, lower]) in means.as_chunks_mut::<{ SIDE / 2 }>().0.iter_mut().zip(rows) {
            let mut sums = [0u16; SIDE];
            for column in 0..SIDE {
                sums[column] = u16::from(upper[column]) + u16::from(lower[column]);
            }
            for (mean, [left, right]) in means.iter_mut().zip(sums.as_chunks::<2>().0) {
                *mean = f32::from(left + right) / 4.0;
            }
        }
        means
    }
}

/// Blurred a little (a Gaussian of 0.7 pixels in three places), so that moves of less than a pixel are smooth.
pub(super) fn smoothed(look: &Thumbnail) -> Vec<f32> {
    let blur = |before: f32, here: f32, after: f32| 0.21 * before + 0.58 * here + 0.21 * after;
    let mut across = [[0.0; SIDE]; SIDE];
    for (out, row) in across.iter_mut().zip(look.bytes().as_chunks::<SIDE>().0) {
        let row = row.map(f32::from);
        for column in 1..SIDE - 1 {
            out[column] = blur(row[column - 1], row[column], row[column + 1]);
        }
        out[0] = blur(row[0], row[0], row[1]);
        out[SIDE - 1] = blur(row[SIDE - 2], row[SIDE - 1], row[SIDE - 1]);
    }
    let mut both = vec![0.0; THUMBNAIL_BYTES];
    for (row, out) in both.as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
        let [before, here, after] = [row.saturating_sub(1), row, (row + 1).min(SIDE - 1)].map(|row| &across[row]);
        for column in 0..SIDE {
            out[column] = blur(before[column], here[column], after[column]);
        }
    }
    both
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
    fn place<const SIDE: usize>(self, axis: usize, at: usize) -> (f32, usize, f32) {
        let centre = (SIDE as f32 - 1.0) / 2.0;
        let offset = at as f32 - centre;
        let place = (centre + self.scale[axis] * offset + self.shift[axis]).clamp(0.0, SIDE as f32 - 1.001);
        (offset, place as usize, place - (place as usize) as f32)
    }
}

/// Two square images, `SIDE * SIDE` levels each.
#[derive(Clone, Copy)]
struct Pair<'a, const SIDE: usize> {
    looks: [&'a [f32]; 2],
}

impl<const SIDE: usize> Pair<'_, SIDE> {
    /// Rows and columns that count.
    const INNER: Range<usize> = SIDE / MARGIN..SIDE - SIDE / MARGIN;

    /// How well the looks agree under this warp, roughly, and one step of Gauss and Newton from there.
    fn step(self, warp: Warp) -> Step {
        let sums = Isa::best().run(Equations { pair: self, warp });
        let [_, _, _, _, [.., bb, b, ab], [.., count, a], [.., aa]] = sums;
        let correlation = correlation::<SIDE>([count, a, b, aa, bb, ab]);
        let next =
            solve::<7, 6>(sums).map(|step| step.map(|value| value as f32)).filter(|step| step[..4].iter().any(|value| value.abs() >= 2e-3));
        let next = next.map(|step| {
            let limit = SIDE as f32 / 16.0;
            Warp {
                scale: [0, 1].map(|axis| (warp.scale[axis] + step[2 * axis]).clamp(0.9, 1.1)),
                shift: [0, 1].map(|axis| (warp.shift[axis] + step[2 * axis + 1]).clamp(-limit, limit)),
            }
        });
        Step { warp, correlation, next }
    }

    /// How well they agree.
    fn correlation(self, warp: Warp) -> f32 {
        correlation::<SIDE>(Isa::best().run(Moments { pair: self, warp }))
    }
}

/// A place on the way.
#[derive(Clone, Copy)]
struct Step {
    warp: Warp,
    correlation: f32,
    /// Where the looks agree better; `None` where they say nothing, or where that is no longer another place.
    next: Option<Warp>,
}

/// Of the pixels that count: how many; sums of the first look, of the second, of their squares, of their product.
fn correlation<const SIDE: usize>([count, a, b, aa, bb, ab]: [f64; 6]) -> f32 {
    let spread = (aa - a * a / count) * (bb - b * b / count);
    // A quarter of the image must be left to tell.
    let is_enough = count > (SIDE * SIDE) as f64 / 4.0 && spread > 1.0;
    if is_enough { ((ab - a * b / count) / spread.sqrt()) as f32 } else { 0.0 }
}

/// A row of the second look, and the first look under the warp there.
struct Row<'a, const SIDE: usize> {
    pair: Pair<'a, SIDE>,
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

impl<'a, const SIDE: usize> Row<'a, SIDE> {
    #[inline(always)]
    fn new(pair: Pair<'a, SIDE>, warp: Warp) -> Self {
        let zeros = [0.0; SIDE];
        let (x, left, right) = (zeros, [0; SIDE], zeros);
        let mut row = Self { pair, warp, x, left, right, y: 0.0, weight: zeros, level: zeros, across: zeros, down: zeros, other: zeros };
        // The sides don't turn, so that columns are found once, and rows are mixed as a whole.
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
            let counts = (self.level[column] < BRIGHT) & (self.other[column] < BRIGHT) & Pair::<SIDE>::INNER.contains(&column);
            self.weight[column] = if counts { 1.0 } else { 0.0 };
        }
    }
}

/// Two neighbours for each column. A function of its own, so that it isn't made of gathers, which take twice as long.
#[inline(never)]
fn pick<const SIDE: usize>(line: &[[f32; 2]; SIDE], left: &[usize; SIDE], picked: &mut [[[f32; 2]; 2]; SIDE]) {
    for (picked, left) in picked.iter_mut().zip(left) {
        // The remainders only tell the compiler what is so anyway.
        *picked = [line[left % SIDE], line[(left + 1) % SIDE]];
    }
}

/// Products of what a step's equations are made of, summed over the pixels that count. Unknowns: scale and shift across, scale and shift
/// down, gain, offset; then the right side.
struct Equations<'a, const SIDE: usize> {
    pair: Pair<'a, SIDE>,
    warp: Warp,
}

impl<const SIDE: usize> Work for Equations<'_, SIDE> {
    type Output = [[f64; 7]; 7];

    #[expect(clippy::needless_range_loop, reason = "the loop over lanes is the outer one, so that it is what becomes vectors")]
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
                    // About the middle, as an offset is among the unknowns, and small numbers keep more of their digits.
                    let [level, other] = [row.level[at], row.other[at]].map(|level| level - 128.0);
                    let terms = [across * row.x[at], across, down * row.y, down, -other, -1.0, -level];
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

/// What [`correlation`] is made of, with all digits.
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
                    let (a, b) = (f64::from(row.level[at]) * weight, f64::from(row.other[at]) * weight);
                    for (sums, value) in sums.iter_mut().zip([weight, a, b, a * a, b * b, a * b]) {
                        sums[lane] += value;
                    }
                }
            }
        }
        sums.map(|lanes| lanes.iter().sum())
    }
}

/// Gauss's elimination with pivots, of as many lines as there are unknowns, the right side last in each; `None` of a singular matrix.
pub(super) fn solve<const TERMS: usize, const UNKNOWNS: usize>(mut matrix: [[f64; TERMS]; TERMS]) -> Option<[f64; UNKNOWNS]> {
    for column in 0..UNKNOWNS {
        let pivot = (column..UNKNOWNS).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        matrix.swap(column, pivot);
        if matrix[column][column].abs() < 1e-9 {
            return None;
        }
        let line = matrix[column];
        for row in (0..UNKNOWNS).filter(|row| *row != column) {
            let factor = matrix[row][column] / line[column];
            matrix[row].iter_mut().zip(line).for_each(|(value, other)| *value -= factor * other);
        }
    }
    Some(std::array::from_fn(|row| matrix[row][UNKNOWNS] / matrix[row][row]))
}
