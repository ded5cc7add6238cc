//! Finds images that stand out from the others or are hard to use: dark, light, almost empty,
//! blurred, or of unusual size or shape.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    base::{names, stats::median},
    data::{duplicates::scan::ScannedImage, pixels::image_stats::ImageStats},
};

/// Mean pixel value (0 to 255) below which an image is dark, if it is also an outlier: a fixed
/// bound alone reported 87 of 10,000 MNIST digits.
const DARK: f64 = 12.0;
/// Mean pixel value above which an image is light, if it is also an outlier.
const LIGHT: f64 = 243.0;
/// Standard deviation of the pixel values below which an image is almost empty.
const EMPTY: f64 = 5.0;
/// Distance from the median above which a value is an outlier, in median absolute deviations.
const ODD: f64 = 7.0;

/// Fraction of the images above which outliers are common in this set and not reported.
const COMMON: f64 = 0.03;

/// An image that stands out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suspect {
    /// Path of the image.
    pub path: String,
    /// Measured value; its logarithm for `blurred`, `small`, `wide` and `tall`.
    pub value: f64,
    /// Median of the value over all images.
    pub usual: f64,
    #[serde(skip)]
    index: usize,
}

impl Suspect {
    /// Returns the image's index in `Inspection::seen`.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// Measures an image by one number.
type Measure = fn(&ImageStats) -> f64;

/// A second measure and the rule by which it must be odd as well.
type Also = (Measure, Odd);

/// The brightness itself.
const BRIGHTNESS: Measure = |facts| f64::from(facts.brightness);
// Logarithms, so that a factor in brightness is the same distance in dark and in bright sets.
const LIGHTNESS: Measure = |facts| f64::from(facts.brightness + 1.0).ln();
const SHADE: Measure = |facts| f64::from(256.0 - facts.brightness).ln();

/// What an image may stand out by: a name, a measure with the rule by which it is odd, and a second
/// one that must be odd as well.
const KINDS: [(&str, Measure, Odd, Option<Also>); 7] = [
    (
        "dark",
        BRIGHTNESS,
        Odd::Below(DARK),
        Some((LIGHTNESS, Odd::FarBelow)),
    ),
    (
        "light",
        BRIGHTNESS,
        Odd::Above(LIGHT),
        Some((SHADE, Odd::FarBelow)),
    ),
    (
        "almost empty",
        |facts| f64::from(facts.contrast),
        Odd::Below(EMPTY),
        None,
    ),
    (
        "blurred",
        |facts| f64::from(facts.sharpness).max(1e-9).ln(),
        Odd::FarBelow,
        None,
    ),
    (
        "small",
        |facts| (facts.height.min(facts.width) as f64).ln(),
        Odd::FarBelow,
        None,
    ),
    (
        "wide",
        |facts| (facts.width as f64 / facts.height as f64).ln(),
        Odd::FarAbove,
        None,
    ),
    (
        "tall",
        |facts| (facts.height as f64 / facts.width as f64).ln(),
        Odd::FarAbove,
        None,
    ),
];

/// Finds the suspects of each kind, the most extreme first. Kinds without any are left out.
pub(super) fn find(seen: &[ScannedImage]) -> BTreeMap<&'static str, Vec<Suspect>> {
    let mut found = BTreeMap::new();
    for (kind, of, odd, and) in KINDS {
        let values_of = |of: Measure| {
            seen.iter()
                .map(|seen| of(&seen.facts))
                .collect::<Vec<f64>>()
        };
        let values = values_of(of);
        let mut suspects = odd.among(&values);
        // What many images share is a property of the set.
        if and.is_none()
            && matches!(odd, Odd::FarBelow | Odd::FarAbove)
            && suspects.len() as f64 > COMMON * seen.len() as f64
        {
            continue;
        }
        if let Some((of, odd)) = and {
            let far: BTreeSet<usize> = odd.among(&values_of(of)).into_iter().collect();
            suspects.retain(|index| far.contains(index));
        }
        if !suspects.is_empty() {
            let usual = median(&values);
            let suspect = |index: usize| Suspect {
                path: names::of_path(&seen[index].entry.path),
                value: values[index],
                usual,
                index,
            };
            found.insert(kind, suspects.into_iter().map(suspect).collect());
        }
    }
    found
}

/// Rule by which a value counts as odd.
#[derive(Clone, Copy)]
enum Odd {
    /// Below a limit.
    Below(f64),
    /// Above a limit.
    Above(f64),
    /// More than [`ODD`] median absolute deviations below the median.
    FarBelow,
    /// More than [`ODD`] median absolute deviations above the median.
    FarAbove,
}

impl Odd {
    /// Returns the indices of the odd values, the most extreme first.
    fn among(self, values: &[f64]) -> Vec<usize> {
        if values.is_empty() {
            return Vec::new();
        }
        let center = median(values);
        let deviations: Vec<f64> = values.iter().map(|value| (value - center).abs()).collect();
        // At least 0.1: where most values are equal, any other one would be an outlier.
        let usual = median(&deviations).max(0.1);
        let oddness = |value: f64| match self {
            Self::Below(limit) => limit - value,
            Self::Above(limit) => value - limit,
            Self::FarBelow => (center - value) / usual - ODD,
            Self::FarAbove => (value - center) / usual - ODD,
        };
        let mut odd: Vec<usize> = (0..values.len())
            .filter(|index| oddness(values[*index]) > 0.0)
            .collect();
        odd.sort_by(|a, b| oddness(values[*b]).total_cmp(&oddness(values[*a])));
        odd
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::{
        listing::{Entry, Part},
        pixels::image_stats::measure_image,
    };

    #[test]
    fn what_is_odd_depends_on_the_others_or_on_a_limit() {
        let even: Vec<f64> = (0..50).map(|index| f64::from(index % 5) * 0.1).collect();
        let with = |value: f64| [even.clone(), vec![value]].concat();
        for (values, odd, expected) in [
            (with(9.0), Odd::FarAbove, vec![50]),
            (with(9.0), Odd::FarBelow, vec![]),
            (with(-9.0), Odd::FarBelow, vec![50]),
            (with(0.5), Odd::FarAbove, vec![]),
            (vec![1.0, 5.0, 0.0], Odd::Below(2.0), vec![2, 0]),
            (vec![1.0, 5.0, 9.0], Odd::Above(4.0), vec![2, 1]),
            (vec![], Odd::FarAbove, vec![]),
        ] {
            assert_eq!(odd.among(&values), expected, "{values:?}");
        }
    }

    fn seen(brightness: &[f32]) -> Vec<ScannedImage> {
        let gray = image::GrayImage::from_fn(40, 30, |x, y| image::Luma([(x * 5 + y) as u8]));
        let mut file = std::io::Cursor::new(Vec::new());
        gray.write_to(&mut file, image::ImageFormat::Png)
            .expect("memory");
        let (facts, _) =
            measure_image(file.get_ref(), crate::config::Color::Rgb).expect("an image");
        let one = |(index, brightness): (usize, &f32)| {
            let entry = Entry {
                path: format!("{index}.png").into(),
                class: "a".to_owned(),
                group: None,
                weight: 1.0,
                split: None,
            };
            ScannedImage {
                entry,
                part: Part::Train,
                facts: Arc::new(ImageStats {
                    brightness: *brightness,
                    ..facts.clone()
                }),
            }
        };
        brightness.iter().enumerate().map(one).collect()
    }

    /// Digits on black are all dark, so only a black image is an outlier among them; among
    /// photographs, any dark image is. The same holds for light images.
    #[test]
    fn dark_and_light_are_told_where_the_others_are_not() {
        let digits: Vec<f32> = (0..200).map(|index| 6.0 + (index % 50) as f32).collect();
        let photos: Vec<f32> = (0..200).map(|index| 60.0 + (index % 120) as f32).collect();
        let light = |values: &[f32]| values.iter().map(|value| 255.0 - value).collect::<Vec<_>>();
        for (others, value, is_odd) in [
            (&digits, 0.2, true),
            (&digits, 9.0, false),
            (&photos, 9.0, true),
            (&photos, 20.0, false),
        ] {
            let all = [&others[..], &[value]].concat();
            for (kind, values) in [("dark", all.clone()), ("light", light(&all))] {
                let found: Vec<usize> = find(&seen(&values))
                    .get(kind)
                    .map_or_else(Vec::new, |found| found.iter().map(Suspect::index).collect());
                assert_eq!(
                    found,
                    if is_odd { vec![200] } else { vec![] },
                    "{kind} {value}"
                );
            }
        }
    }
}
