//! Grad-CAM: the channels before the last steps, weighted by their mean gradient.

use crate::Maps;

/// Fraction of the largest value below which evidence is a rounding error.
const NOTHING: f32 = 1e-6;

/// The evidence for a class by location.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Rows and columns.
    pub size: [usize; 2],
    /// Values from 0 (the least evidence) to 1 (the most), row by row; 0 everywhere without
    /// evidence, or with the same everywhere.
    pub values: Vec<f32>,
    /// The part of the image that it covers: top, left, height and width as shares of the image's
    /// sides.
    pub part: [f32; 4],
}

impl Map {
    /// Returns the map of [`evidence`].
    pub(crate) fn new(evidence: &[f32], size: [usize; 2], part: [f32; 4]) -> Self {
        Self {
            size,
            values: scaled(evidence),
            part,
        }
    }
}

/// Returns the evidence at each place, row by row; negative values are evidence against the class.
pub(crate) fn evidence(values: &Maps, gradient: &Maps) -> Vec<f32> {
    let [_, height, width] = values.shape;
    let mut map = vec![0.0f32; height * width];
    for (plane, gradient) in values.planes().zip(gradient.planes()) {
        let weight = gradient.iter().sum::<f32>() / gradient.len() as f32;
        let pairs = map.iter_mut().zip(plane);
        pairs.for_each(|(sum, value)| *sum += weight * value);
    }
    map
}

/// Clips values at zero and scales them to 0..=1, as pytorch-grad-cam does.
fn scaled(map: &[f32]) -> Vec<f32> {
    let largest = map.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let positive = || map.iter().map(|value| value.max(0.0));
    let least = positive().fold(f32::INFINITY, f32::min);
    let most = positive().fold(0.0, f32::max);
    if most <= NOTHING * largest || most - least <= NOTHING * most {
        return vec![0.0; map.len()];
    }
    positive()
        .map(|value| (value - least) / (most - least + 1e-7))
        .collect()
}
