//! Eigenvalues and eigenvectors of a symmetric matrix: Householder's reduction to tridiagonal form,
//! then the implicit QL iteration (Golub and Van Loan, Matrix Computations, 8.3). Our own, because
//! the libraries for it switch on features of crates below Burn, which would build the GPU stack
//! twice.

use rayon::prelude::*;

/// Returns the eigenvalues of the symmetric `[size, size]` matrix, and its eigenvectors one after
/// the other.
pub(in crate::data) fn decompose(mut matrix: Vec<f64>, size: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut diagonal, mut off_diagonal, reflections) = reduce(&mut matrix, size);
    let rotations = iterate(&mut diagonal, &mut off_diagonal);
    // A rotation mixes two neighboring columns, each row by itself: several rows are a vector.
    let mut groups: Vec<Vec<[f64; LANES]>> = (0..size.div_ceil(LANES))
        .map(|group| unit_rows(group, size))
        .collect();
    groups.par_iter_mut().for_each(|columns| {
        for Rotation {
            index,
            cosine,
            sine,
        } in &rotations
        {
            let (a, b) = (columns[*index], columns[index + 1]);
            for lane in 0..LANES {
                columns[*index][lane] = cosine * a[lane] - sine * b[lane];
                columns[index + 1][lane] = sine * a[lane] + cosine * b[lane];
            }
        }
    });
    let mut vectors = vec![0.0; size * size];
    vectors
        .par_chunks_exact_mut(size.max(1))
        .enumerate()
        .for_each(|(row, vector)| {
            vector
                .iter_mut()
                .enumerate()
                .for_each(|(at, value)| *value = groups[at / LANES][row][at % LANES]);
            for (first, reflection) in reflections.iter().enumerate().rev() {
                let part = &mut vector[first + 1..];
                let share = 2.0 * part.iter().zip(reflection).map(|(a, b)| a * b).sum::<f64>();
                part.iter_mut()
                    .zip(reflection)
                    .for_each(|(value, mirror)| *value -= share * mirror);
            }
        });
    (diagonal, vectors)
}

/// Number of rows that are rotated at a time.
const LANES: usize = 8;

/// Returns [`LANES`] rows of the identity matrix, column by column.
fn unit_rows(group: usize, size: usize) -> Vec<[f64; LANES]> {
    (0..size)
        .map(|column| {
            std::array::from_fn(|lane| f64::from(u8::from(group * LANES + lane == column)))
        })
        .collect()
}

/// Reduces a matrix to tridiagonal form. Returns the diagonal, the off-diagonal, and the vectors of
/// the reflections (of length 1 or 0) that lead there: `matrix` becomes `H matrix H` for each.
fn reduce(matrix: &mut [f64], size: usize) -> (Vec<f64>, Vec<f64>, Vec<Vec<f64>>) {
    let mut reflections = Vec::new();
    let mut off_diagonal = vec![0.0; size];
    for column in 0..size.saturating_sub(2) {
        let first = column + 1;
        let mut mirror: Vec<f64> = (first..size)
            .map(|row| matrix[row * size + column])
            .collect();
        let length = mirror.iter().map(|value| value * value).sum::<f64>().sqrt();
        // The opposite sign, so that the subtraction below cancels no digits.
        let target = if mirror[0] > 0.0 { -length } else { length };
        off_diagonal[column] = target;
        mirror[0] -= target;
        let norm = mirror.iter().map(|value| value * value).sum::<f64>().sqrt();
        mirror
            .iter_mut()
            .for_each(|value| *value = if norm > 0.0 { *value / norm } else { 0.0 });
        let rest = &mut matrix[first * size..];
        let product: Vec<f64> = rest
            .par_chunks_exact(size)
            .map(|row| {
                row[first..]
                    .iter()
                    .zip(&mirror)
                    .map(|(a, b)| a * b)
                    .sum::<f64>()
            })
            .collect();
        let along: f64 = product.iter().zip(&mirror).map(|(a, b)| a * b).sum();
        let change: Vec<f64> = product
            .iter()
            .zip(&mirror)
            .map(|(product, mirror)| 2.0 * (product - along * mirror))
            .collect();
        rest.par_chunks_exact_mut(size)
            .enumerate()
            .for_each(|(index, row)| {
                let (own_mirror, own_change) = (mirror[index], change[index]);
                for (value, (mirror, change)) in
                    row[first..].iter_mut().zip(mirror.iter().zip(&change))
                {
                    *value -= own_mirror * change + own_change * mirror;
                }
            });
        reflections.push(mirror);
    }
    if size >= 2 {
        off_diagonal[size - 2] = matrix[(size - 1) * size + size - 2];
    }
    (
        (0..size)
            .map(|index| matrix[index * size + index])
            .collect(),
        off_diagonal,
        reflections,
    )
}

/// A rotation of the columns `index` and `index + 1`.
struct Rotation {
    index: usize,
    cosine: f64,
    sine: f64,
}

/// Drives the off-diagonal to zero and returns the rotations that did it, in order.
fn iterate(diagonal: &mut [f64], off_diagonal: &mut [f64]) -> Vec<Rotation> {
    /// Limit on the iterations for an eigenvalue, far above what any matrix has needed.
    const MOST: usize = 100;
    let mut rotations = Vec::new();
    for first in 0..diagonal.len() {
        for _ in 0..MOST {
            let is_small = |index: usize| {
                off_diagonal[index].abs()
                    <= f64::EPSILON * (diagonal[index].abs() + diagonal[index + 1].abs())
            };
            let last = (first..diagonal.len() - 1)
                .find(|index| is_small(*index))
                .unwrap_or(diagonal.len() - 1);
            if last == first {
                break;
            }
            // Wilkinson's shift.
            let ratio = (diagonal[first + 1] - diagonal[first]) / (2.0 * off_diagonal[first]);
            let root = ratio.hypot(1.0).copysign(ratio);
            let mut bulge = diagonal[last] - diagonal[first] + off_diagonal[first] / (ratio + root);
            let (mut sine, mut cosine, mut shift) = (1.0, 1.0, 0.0);
            let mut is_split = false;
            for index in (first..last).rev() {
                let (away, along) = (sine * off_diagonal[index], cosine * off_diagonal[index]);
                let length = away.hypot(bulge);
                off_diagonal[index + 1] = length;
                if length == 0.0 {
                    diagonal[index + 1] -= shift;
                    off_diagonal[last] = 0.0;
                    is_split = true;
                    break;
                }
                (sine, cosine) = (away / length, bulge / length);
                let lowered = diagonal[index + 1] - shift;
                let mixed = (diagonal[index] - lowered) * sine + 2.0 * cosine * along;
                shift = sine * mixed;
                diagonal[index + 1] = lowered + shift;
                bulge = cosine * mixed - along;
                rotations.push(Rotation {
                    index,
                    cosine,
                    sine,
                });
            }
            if !is_split {
                diagonal[first] -= shift;
                off_diagonal[first] = bulge;
                off_diagonal[last] = 0.0;
            }
        }
    }
    rotations
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn vectors_are_orthonormal_and_the_matrix_stretches_them_by_their_values(
            size in 1usize..14,
            seed in prop::collection::vec(-10.0f64..10.0, 200),
            rank in 1usize..14,
        ) {
            // A product of `rank` vectors, so that the eigenvalue zero repeats.
            let factor = |line: usize, k: usize| seed[(line * 13 + k) % 200];
            let matrix: Vec<f64> = (0..size * size)
                .map(|index| [index / size, index % size])
                .map(|[row, column]| (0..rank).map(|k| factor(row, k) * factor(column, k)).sum())
                .collect();
            let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let (values, vectors) = decompose(matrix.clone(), size);
            let scale = values.iter().fold(1.0f64, |most, value| most.max(value.abs()));
            for (a, value) in values.iter().enumerate() {
                let vector = &vectors[a * size..(a + 1) * size];
                for (row, expected) in vector.iter().enumerate() {
                    let stretched = product(&matrix[row * size..(row + 1) * size], vector);
                    let expected = value * expected;
                    let difference = (stretched - expected).abs();
                    prop_assert!(difference < 1e-11 * scale, "{} {}", stretched, expected);
                }
                for b in 0..size {
                    let product = product(vector, &vectors[b * size..(b + 1) * size]);
                    prop_assert!((product - f64::from(u8::from(a == b))).abs() < 1e-12);
                }
            }
        }
    }
}
