//! Two looks laid over one another as well as they will go: moved and stretched along their sides, brighter or darker.

use super::look::SIDE;

/// Of a side, at each end: a crop moved something else there, so it doesn't count.
const MARGIN: usize = 16;

/// Grey levels from here on may be cut off by brightness and don't count.
const BRIGHT: f32 = 236.0;

/// Steps of laying one look over another, at half its size and at its own.
const STEPS: [usize; 2] = [4, 8];

/// Correlation half way to that.
const HOPEFUL: f32 = 0.9;

/// Correlation at half the size that nobody's copy is below.
const PROMISING: f32 = 0.96;

/// The correlation of two looks after the first was moved and stretched along its sides for the best fit (Lucas and Kanade 1981, with gain
/// and offset as unknowns); roughly, where it is small.
pub(super) fn likeness(a: &[f32], b: &[f32]) -> f32 {
    let none = Warp { scale: [1.0; 2], shift: [0.0; 2] };
    let [half_a, half_b] = [a, b].map(halved);
    let half_way = none.fitted([&half_a, &half_b], SIDE / 2, STEPS[0] / 2);
    let likeness = half_way.correlation([&half_a, &half_b], SIDE / 2);
    if likeness < HOPEFUL {
        return likeness;
    }
    let coarse = half_way.fitted([&half_a, &half_b], SIDE / 2, STEPS[0] / 2);
    let likeness = coarse.correlation([&half_a, &half_b], SIDE / 2).max(none.correlation([&half_a, &half_b], SIDE / 2));
    if likeness < PROMISING {
        return likeness;
    }
    let looks = [smoothed(a), smoothed(b)];
    let looks = [&looks[0][..], &looks[1][..]];
    let start = Warp { shift: coarse.shift.map(|shift| 2.0 * shift), ..coarse };
    start.fitted(looks, SIDE, STEPS[1]).correlation(looks, SIDE).max(none.correlation(looks, SIDE))
}

fn halved(levels: &[f32]) -> Vec<f32> {
    let mean = |at: usize| {
        let corner = at / (SIDE / 2) * 2 * SIDE + at % (SIDE / 2) * 2;
        [0, 1, SIDE, SIDE + 1].iter().map(|offset| levels[corner + offset]).sum::<f32>() / 4.0
    };
    (0..levels.len() / 4).map(mean).collect()
}

/// Blurred a little (a Gaussian of 0.7 pixels in three places), so that moves of less than a pixel are smooth.
fn smoothed(levels: &[f32]) -> Vec<f32> {
    const WEIGHTS: [f32; 3] = [0.21, 0.58, 0.21];
    let blur = |levels: &[f32], step: usize| -> Vec<f32> {
        let neighbour = |at: usize, offset: usize| {
            let along = at / step % SIDE;
            let moved = (along + offset).saturating_sub(1).min(SIDE - 1);
            levels[at + moved * step - along * step]
        };
        (0..levels.len()).map(|at| (0..3).map(|offset| WEIGHTS[offset] * neighbour(at, offset)).sum()).collect()
    };
    blur(&blur(levels, 1), SIDE)
}

/// Where a pixel of the second look is in the first: about the centre, `[across, down]`.
#[derive(Clone, Copy, Debug)]
struct Warp {
    scale: [f32; 2],
    shift: [f32; 2],
}

impl Warp {
    /// The pixels that count, as (offset from the centre, first look there, second look).
    fn pixels(self, [a, b]: [&[f32]; 2], side: usize, mut take: impl FnMut([f32; 2], Sample, f32)) {
        let (margin, centre) = (side / MARGIN, (side as f32 - 1.0) / 2.0);
        let place = |axis: usize, at: usize| {
            let offset = at as f32 - centre;
            let place = (centre + self.scale[axis] * offset + self.shift[axis]).clamp(0.0, side as f32 - 1.001);
            (offset, place as usize, place - (place as usize) as f32)
        };
        // The sides don't turn, so that rows are mixed as a whole, and columns are found once.
        let columns: [_; SIDE] = std::array::from_fn(|column| place(0, column));
        let (mut line, mut steps) = ([0.0; SIDE], [0.0; SIDE]);
        for row in margin..side - margin {
            let (down, above, below) = place(1, row);
            let (top, bottom) = (&a[above * side..(above + 1) * side], &a[(above + 1) * side..(above + 2) * side]);
            for (((level, step), top), bottom) in line.iter_mut().zip(&mut steps).zip(top).zip(bottom) {
                *step = bottom - top;
                *level = top + *step * below;
            }
            for (column, other) in b[row * side..(row + 1) * side].iter().enumerate().take(side - margin).skip(margin) {
                let (offset, left, right) = columns[column];
                let across = line[left + 1] - line[left];
                let level = line[left] + across * right;
                if level < BRIGHT && *other < BRIGHT {
                    take([offset, down], Sample { level, across, down: steps[left] + (steps[left + 1] - steps[left]) * right }, *other);
                }
            }
        }
    }

    /// After so many steps, or when they get small.
    fn fitted(self, looks: [&[f32]; 2], side: usize, steps: usize) -> Self {
        let mut warp = self;
        for _ in 0..steps {
            let Some((next, size)) = warp.improved(looks, side) else { break };
            warp = next;
            if size < 2e-3 {
                break;
            }
        }
        warp
    }

    /// One step of Gauss and Newton, and its size; `None` where the looks say nothing.
    fn improved(self, looks: [&[f32]; 2], side: usize) -> Option<(Self, f32)> {
        // Unknowns: scale and shift across, scale and shift down, gain, offset; the last column is the right side.
        // An eighth column, of zeros, makes whole vectors of them.
        let mut sums = [[0.0f32; 8]; 6];
        self.pixels(looks, side, |[x, y], sample, other| {
            let row = [sample.across * x, sample.across, sample.down * y, sample.down, -other, -1.0, -sample.level, 0.0];
            for (line, left) in sums.iter_mut().zip(row) {
                (0..8).for_each(|at| line[at] += left * row[at]);
            }
        });
        let step = solve(sums.map(|line| line.map(f64::from)))?.map(|value| value as f32);
        let scale = [0, 1].map(|axis| (self.scale[axis] + step[2 * axis]).clamp(0.9, 1.1));
        let limit = side as f32 / 16.0;
        let shift = [0, 1].map(|axis| (self.shift[axis] + step[2 * axis + 1]).clamp(-limit, limit));
        let size = step[..4].iter().fold(0.0f32, |most, value| most.max(value.abs()));
        Some((Self { scale, shift }, size))
    }

    fn correlation(self, looks: [&[f32]; 2], side: usize) -> f32 {
        let (mut count, mut sums) = (0.0f64, [0.0f64; 5]);
        self.pixels(looks, side, |_, sample, other| {
            let (a, b) = (f64::from(sample.level), f64::from(other));
            count += 1.0;
            [a, b, a * a, b * b, a * b].iter().zip(&mut sums).for_each(|(value, sum)| *sum += value);
        });
        let [a, b, aa, bb, ab] = sums;
        let spread = (aa - a * a / count) * (bb - b * b / count);
        // A quarter of the picture must be left to tell.
        let is_enough = count > (side * side) as f64 / 4.0 && spread > 1.0;
        if is_enough { ((ab - a * b / count) / spread.sqrt()) as f32 } else { 0.0 }
    }
}

/// A level between pixels, and how it changes.
#[derive(Clone, Copy)]
struct Sample {
    level: f32,
    across: f32,
    down: f32,
}

/// Gauss's elimination with pivots; `None` of a singular matrix.
fn solve(mut matrix: [[f64; 8]; 6]) -> Option<[f64; 6]> {
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
