//! Gaussian blur.

use crate::augment::{
    change::Change,
    family::{Example, Family},
    ranged::Ranged,
};

/// The family.
pub(in crate::augment) static FAMILY: Family<Ranged> = Family {
    keys: &["gaussian_blur"],
    stream: 17,
    check: |ranged, faults| ranged.check([0.0, 100.0], faults),
    draw: |ranged, mut stream, drawing| {
        if let Some(deviation) = ranged.strength(&mut stream) {
            drawing.plan.add(Blur(deviation as f32));
        }
    },
    examples: &[Example {
        name: "gaussian blur",
        settings: "gaussian_blur = { range = [0.5, 3.0] }",
        about: "Standard deviation in pixels.",
    }],
    neutral: &["gaussian_blur = { range = [0, 0] }"],
    ..Family::NEW
};

/// Blurs with a Gaussian of this standard deviation, in pixels.
#[derive(Debug)]
struct Blur(f32);

impl Change for Blur {
    fn apply(&self, levels: &mut [f32], shape: [usize; 3]) {
        blur(levels, self.0, shape);
    }
}

/// Blurs with a Gaussian of the given standard deviation in pixels, cut off at three standard
/// deviations. The image is mirrored at its edges.
pub fn blur(levels: &mut [f32], deviation: f32, [height, width, _]: [usize; 3]) {
    let reach = (3.0 * deviation).ceil() as usize;
    if reach == 0 {
        return;
    }
    let weights: Vec<f32> = (0..=reach)
        .map(|offset| (-0.5 * (offset as f32 / deviation).powi(2)).exp())
        .collect();
    let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f32>();
    let weights: Vec<f32> = weights.iter().map(|weight| weight / sum).collect();
    let mut source = vec![0.0; height * width];
    for plane in levels.chunks_exact_mut(height * width) {
        source.copy_from_slice(plane);
        for (line, out) in source
            .chunks_exact(width)
            .zip(plane.chunks_exact_mut(width))
        {
            for (column, out) in out.iter_mut().enumerate() {
                *out = weighted(&weights, column, width, |at| line[at]);
            }
        }
        source.copy_from_slice(plane);
        for (row, out) in plane.chunks_exact_mut(width).enumerate() {
            out.fill(0.0);
            for offset in -(reach as isize)..=reach as isize {
                let line = mirrored(row as isize + offset, height) * width;
                let weight = weights[offset.unsigned_abs()];
                out.iter_mut()
                    .zip(&source[line..line + width])
                    .for_each(|(out, level)| *out += weight * level);
            }
        }
    }
}

/// Returns the weighted sum around position `at` of a line of `length` values.
fn weighted(weights: &[f32], at: usize, length: usize, level: impl Fn(usize) -> f32) -> f32 {
    let reach = weights.len() as isize - 1;
    (-reach..=reach)
        .map(|offset| {
            weights[offset.unsigned_abs()] * level(mirrored(at as isize + offset, length))
        })
        .sum()
}

/// Mirrors a position about the outer edges of the outermost pixels, as often as needed.
fn mirrored(at: isize, length: usize) -> usize {
    let at = at.rem_euclid(2 * length as isize) as usize;
    at.min(2 * length - 1 - at)
}
