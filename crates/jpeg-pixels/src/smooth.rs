//! Estimates coefficients that no scan of a progressive file had, as libjpeg-turbo does: the low
//! frequencies of a block from the DC coefficients of the five rows and columns of blocks around
//! it.

use crate::{
    block::{Block, LANES},
    frame::{Component, Frame},
};

/// Weights of the blocks around, `[row][column]`, in 256ths.
type Kernel = [[i64; 5]; 5];

/// How a coefficient is estimated.
struct Guess {
    /// Zigzag index.
    place: usize,
    /// Position, `row * 8 + column`.
    at: usize,
    /// Kernel if no scan had any of the coefficients that are estimated.
    alone: Kernel,
    /// Kernel if a scan had one. Coefficients without this kernel are not estimated then.
    beside: Option<Kernel>,
}

/// Number of coefficients that may be estimated, the first ones in zigzag order.
const PLACES: usize = 10;

// The kernels are libjpeg-turbo's (`decompress_smooth_data`).
const EMPTY: Kernel = [[0; 5]; 5];
const MEAN: Kernel = [
    [-2, -6, -8, -6, -2],
    [-6, 6, 42, 6, -6],
    [-8, 42, 152, 42, -8],
    [-6, 6, 42, 6, -6],
    [-2, -6, -8, -6, -2],
];
const RISE: Kernel = [
    [-1, -1, 0, 1, 1],
    [-3, 13, 0, -13, 3],
    [-3, 38, 0, -38, 3],
    [-3, 13, 0, -13, 3],
    [-1, -1, 0, 1, 1],
];
const RISE_BESIDE: Kernel = [[0; 5], [0; 5], [-7, 50, 0, -50, 7], [0; 5], [0; 5]];
const BEND: Kernel = [
    [0; 5],
    [0, 2, -5, 2, 0],
    [1, 7, -14, 7, 1],
    [0, 2, -5, 2, 0],
    [0; 5],
];
const BEND_BESIDE: Kernel = [[0; 5], [0; 5], [-1, 13, -24, 13, -1], [0; 5], [0; 5]];
const CROSS: Kernel = [
    [-1, 0, 0, 0, 1],
    [0, 9, 0, -9, 0],
    [0; 5],
    [0, -9, 0, 9, 0],
    [1, 0, 0, 0, -1],
];
const CROSS_BESIDE: Kernel = [
    [0, -1, 0, 1, 0],
    [-1, 10, 0, -10, 1],
    [0; 5],
    [1, -10, 0, 10, -1],
    [0, 1, 0, -1, 0],
];
const THIRD: Kernel = [
    [0; 5],
    [0, 1, 0, -1, 0],
    [0, 2, 0, -2, 0],
    [0, 1, 0, -1, 0],
    [0; 5],
];
const TWICE: Kernel = [[0; 5], [0, 1, -3, 1, 0], [0; 5], [0, -1, 3, -1, 0], [0; 5]];

const GUESSES: [Guess; PLACES - 1] = [
    Guess {
        place: 1,
        at: 1,
        alone: RISE,
        beside: Some(RISE_BESIDE),
    },
    Guess {
        place: 2,
        at: 8,
        alone: turned(RISE),
        beside: Some(turned(RISE_BESIDE)),
    },
    Guess {
        place: 3,
        at: 16,
        alone: turned(BEND),
        beside: Some(turned(BEND_BESIDE)),
    },
    Guess {
        place: 4,
        at: 9,
        alone: CROSS,
        beside: Some(CROSS_BESIDE),
    },
    Guess {
        place: 5,
        at: 2,
        alone: BEND,
        beside: Some(BEND_BESIDE),
    },
    Guess {
        place: 6,
        at: 3,
        alone: THIRD,
        beside: None,
    },
    Guess {
        place: 7,
        at: 10,
        alone: TWICE,
        beside: None,
    },
    Guess {
        place: 8,
        at: 17,
        alone: turned(TWICE),
        beside: None,
    },
    Guess {
        place: 9,
        at: 24,
        alone: turned(THIRD),
        beside: None,
    },
];

/// Transposes a kernel.
const fn turned(kernel: Kernel) -> Kernel {
    let mut turned = EMPTY;
    let mut at = 0;
    while at < 25 {
        turned[at % 5][at / 5] = kernel[at / 5][at % 5];
        at += 1;
    }
    turned
}

/// Whether coefficients are missing, and the DC coefficients and factors to estimate them from are
/// known.
pub(crate) fn is_due(frame: &Frame) -> bool {
    let is_told = |component: &Component| {
        let has_factors = |factors: &[i16; 64]| {
            factors[0] != 0 && GUESSES.iter().all(|guess| factors[guess.at] != 0)
        };
        component.known.now[0] >= 0 && component.factors.as_ref().is_some_and(has_factors)
    };
    let lacks_some =
        |component: &Component| component.known.now[1..PLACES].iter().any(|left| *left != 0);
    frame.is_progressive
        && frame.components.iter().all(is_told)
        && frame.components.iter().any(lacks_some)
}

/// Estimates the missing coefficients. The last scan has data up to row of units `last_good`; below
/// it, what was known before that scan counts.
pub(crate) fn smooth(frame: &mut Frame, last_good: usize) {
    let (num_rows, is_alone) = (frame.units[0], frame.num_scans == 1);
    for component in &mut frame.components {
        let Some(factors) = component.factors else {
            continue;
        };
        let [height, width] = component.own_blocks();
        let (sampling, groups) = (component.sampling[0], component.groups());
        // A copy, because DC coefficients are the source of all estimates and are estimated
        // themselves.
        let means: Vec<i16> = component
            .coefficients
            .iter()
            .flat_map(|group| group[..LANES].iter().copied())
            .collect();
        for row in 0..height {
            let unit = row / sampling;
            let known = match () {
                () if unit <= last_good => component.known.now,
                () if is_alone => [-1; 64],
                () => component.known.before,
            };
            let rows = neighbors([unit, row % sampling], [num_rows, sampling], height)
                .map(|row| &means[row * groups * LANES..]);
            for column in 0..width {
                // Columns beyond the edges are replaced by those at the edges.
                let columns =
                    [-2, -1, 0, 1, 2].map(|away| column.saturating_add_signed(away).min(width - 1));
                let around = rows.map(|row| columns.map(|column| i64::from(row[column])));
                let group = &mut component.coefficients[row * groups + column / LANES];
                guess(
                    &around,
                    &known,
                    &factors,
                    &mut Block {
                        group,
                        lane: column % LANES,
                    },
                );
            }
        }
    }
}

/// Returns the rows of blocks from two above to two below. At the edges, libjpeg counts rows as if
/// each unit had as many as the current one, which the last may not have.
fn neighbors(
    [unit, line]: [usize; 2],
    [num_units, sampling]: [usize; 2],
    height: usize,
) -> [usize; 5] {
    let lines = if unit + 1 < num_units {
        sampling
    } else {
        height - unit * sampling
    };
    let (row, counted, most) = (
        unit * sampling + line,
        unit * lines + line,
        num_units * lines,
    );
    let above = if counted > 0 { row - 1 } else { row };
    let far_above = if counted > 1 { row - 2 } else { above };
    let below = if counted + 1 < most { row + 1 } else { row };
    let far_below = if counted + 2 < most { row + 2 } else { below };
    [far_above, above, row, below, far_below]
}

/// Estimates the coefficients of a block that are zero as far as is known.
fn guess(around: &Kernel, known: &[i8; 64], factors: &[i16; 64], block: &mut Block<'_>) {
    let is_alone = known[1..PLACES].iter().all(|left| *left == -1);
    let factor = |at: usize| i64::from(factors[at] as u16);
    let sum = |kernel: &Kernel| {
        around
            .as_flattened()
            .iter()
            .zip(kernel.as_flattened())
            .map(|(mean, weight)| mean * weight)
            .sum::<i64>()
    };
    // Returns a number with the sign of the estimate, and its magnitude. Halves are rounded up.
    let level = |sum: i64, at: usize| {
        (
            factor(0) * sum,
            (factor(at) * 128 + (factor(0) * sum).abs()) / (factor(at) * 256),
        )
    };
    for Guess {
        place,
        at,
        alone,
        beside,
    } in &GUESSES
    {
        let Some(kernel) = (if is_alone {
            Some(alone)
        } else {
            beside.as_ref()
        }) else {
            continue;
        };
        let (left, coefficient) = (known[*place], block.at(*place));
        if left == 0 || *coefficient != 0 {
            continue;
        }
        let (sign, mut size) = level(sum(kernel), *at);
        if left > 0 {
            // A larger coefficient would have a bit among those that are known.
            size = size.min((1 << left) - 1);
        }
        *coefficient = (size * sign.signum()) as i16;
    }
    if is_alone {
        let (sign, size) = level(sum(&MEAN), 0);
        *block.at(0) = (size * sign.signum()) as i16;
    }
}
