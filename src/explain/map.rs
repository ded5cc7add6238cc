//! A map of evidence, at the resolution of its layer and resized to the image.

use image::{ImageBuffer, Luma, imageops};

use crate::metrics::argmax;

/// Fraction of the largest value below which evidence is a rounding error.
const NOTHING: f32 = 1e-6;

/// Evidence for a class by location; negative values are evidence against it.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Number of rows and columns.
    pub size: [usize; 2],
    /// Values, row by row.
    pub values: Vec<f32>,
}

impl Map {
    pub(super) fn new(values: Vec<f32>, size: [usize; 2]) -> Self {
        debug_assert_eq!(values.len(), size[0] * size[1]);
        Self { size, values }
    }

    /// Whether anything is evidence for the class.
    pub fn has_evidence(&self) -> bool {
        let largest = self
            .values
            .iter()
            .fold(0.0f32, |most, value| most.max(value.abs()));
        self.values.iter().any(|value| *value > NOTHING * largest)
    }

    /// Whether there is evidence, and equally much everywhere.
    pub fn is_flat(&self) -> bool {
        let [least, most] = self.range();
        self.has_evidence() && most - least <= NOTHING * most
    }

    /// Whether there is evidence, and more of it in some places than in others.
    pub fn places_evidence(&self) -> bool {
        self.has_evidence() && !self.is_flat()
    }

    /// Returns the smallest and the largest value after clipping at zero.
    fn range(&self) -> [f32; 2] {
        let positive = || self.values.iter().map(|value| value.max(0.0));
        [
            positive().fold(f32::INFINITY, f32::min),
            positive().fold(0.0, f32::max),
        ]
    }

    /// Returns the evidence for the class, scaled from 0 (the smallest value) to 1 (the largest) as
    /// in pytorch-grad-cam; 0 everywhere without evidence.
    pub fn scaled(&self) -> Vec<f32> {
        if !self.places_evidence() {
            return vec![0.0; self.values.len()];
        }
        let [least, most] = self.range();
        // pytorch-grad-cam adds the same 1e-7.
        self.values
            .iter()
            .map(|value| (value.max(0.0) - least) / (most - least + 1e-7))
            .collect()
    }

    /// Returns [`Self::scaled`] at `[height, width]`, resized bilinearly and scaled again.
    pub fn at_size(&self, [height, width]: [usize; 2]) -> Vec<f32> {
        let [rows, columns] = self.size.map(|side| side as u32);
        let places = ImageBuffer::<Luma<f32>, _>::from_raw(columns, rows, self.scaled())
            .expect("a map has as many values as places");
        // Enlarging with a triangle is bilinear interpolation, as pytorch-grad-cam does with
        // OpenCV.
        let values = imageops::resize(
            &places,
            width as u32,
            height as u32,
            imageops::FilterType::Triangle,
        )
        .into_raw();
        Self {
            size: [height, width],
            values,
        }
        .scaled()
    }

    /// Returns the location of the most evidence at `[height, width]`, as `[x, y]`.
    pub fn peak(&self, size: [usize; 2]) -> [usize; 2] {
        let values = self.at_size(size);
        let at = argmax(&values);
        [at % size[1], at / size[1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_without_evidence_is_zero_and_never_a_number_that_is_none() {
        for (values, has_evidence, is_flat) in [
            (vec![0.0; 6], false, false),
            (vec![-1.0, -2.0, -3.0, -1.0, -0.5, -0.1], false, false),
            (vec![1e-9, -1.0, -1.0, -1.0, -1.0, -1.0], false, false),
            (vec![2.0; 6], true, true),
            (vec![0.0, 0.0, 3.0, -1.0, 0.0, 0.5], true, false),
        ] {
            let map = Map::new(values.clone(), [2, 3]);
            assert_eq!(
                (map.has_evidence(), map.is_flat()),
                (has_evidence, is_flat),
                "{values:?}"
            );
            let shown = map.at_size([7, 10]);
            assert!(
                shown.iter().all(|value| (0.0..=1.0).contains(value)),
                "{values:?}: {shown:?}"
            );
            assert_eq!(
                shown.iter().any(|value| *value > 0.9),
                has_evidence && !is_flat,
                "{values:?}"
            );
        }
    }

    #[test]
    fn a_map_is_enlarged_the_right_way_round() {
        let map = Map::new(vec![0.0, 0.0, 0.0, 0.0, 0.0, 4.0], [2, 3]);
        assert_eq!(map.peak([8, 30]), [25, 6]);
        let shown = map.at_size([8, 30]);
        assert!(
            shown[0] == 0.0 && shown[7 * 30 + 29] > 0.99 && shown[29] == 0.0,
            "{shown:?}"
        );
    }
}
