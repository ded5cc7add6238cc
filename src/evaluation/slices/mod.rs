//! An evaluation by slice: the same figures for the images of each device, format or size, and
//! whether one slice is worse than the others by more than chance.

mod by;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use by::By;
pub(super) use by::FileFacts;

use self::by::Parts;
use super::{
    Evaluation,
    subset::{SEED, Subset},
};
use crate::metrics::{ClassReport, Estimate, argmax, differs, holm};

/// Number of images, or of groups where images come in groups, below which a slice is too small to
/// tell anything.
const FEW: usize = 10;

/// An evaluation by slice.
#[derive(Clone, Debug, Serialize)]
pub struct Slicing {
    /// What the images are sliced by: the name of a column, or `group`, `format`, `size`,
    /// `brightness` or `folder`.
    pub by: String,
    /// The slices in order.
    pub slices: Vec<Slice>,
    /// Which slice is the worst, and what that means.
    pub words: Vec<String>,
    /// What a slice is counted in: images or groups.
    #[serde(skip)]
    unit: &'static str,
}

/// The figures of one slice.
#[derive(Clone, Debug, Serialize)]
pub struct Slice {
    /// The value that its images share.
    pub name: String,
    /// Number of images.
    pub images: usize,
    /// Whether they are too few to tell anything.
    pub too_small: bool,
    /// Every metric with its 95 % confidence interval, by name.
    pub metrics: BTreeMap<String, Estimate>,
    /// Metrics of each class that the slice has, by name.
    pub per_class: BTreeMap<String, ClassReport>,
    /// Accuracy minus that of all other images; NaN if there are none.
    pub difference: f64,
    /// Two-sided p-value of the difference; none of a slice that is too small.
    pub p: Option<f64>,
    /// The same, corrected for the number of slices that were looked at.
    pub corrected_p: Option<f64>,
}

impl Evaluation {
    /// Measures the images of each slice apart. p-values are corrected for all slices together.
    pub fn slice(&mut self, by: &[By]) {
        let labels = self.set.labels();
        let all = All {
            hits: hits(&labels, &self.probabilities),
            labels: &labels,
            probabilities: &self.probabilities,
            groups: &self.groups,
            classes: &self.classes,
        };
        let of = |by: &By| Slicing::of(&by.name, &by.parts(&self.set, &self.files), &all);
        self.slices = by.iter().map(of).collect();
        correct(&mut self.slices);
    }
}

/// The images of an evaluation.
struct All<'a> {
    labels: &'a [usize],
    probabilities: &'a [Vec<f32>],
    /// Group of each image, numbered without gaps.
    groups: &'a [usize],
    classes: &'a [String],
    /// Whether each image is predicted correctly.
    hits: Vec<bool>,
}

/// Returns whether each image is predicted correctly.
pub(super) fn hits(labels: &[usize], probabilities: &[Vec<f32>]) -> Vec<bool> {
    let images = labels.iter().zip(probabilities);
    images.map(|(label, row)| argmax(row) == *label).collect()
}

/// Numbers the groups of some images without gaps.
fn renumbered(groups: impl Iterator<Item = usize> + Clone) -> Vec<usize> {
    let different: BTreeSet<usize> = groups.clone().collect();
    let places: BTreeMap<usize, usize> = different.into_iter().zip(0..).collect();
    groups.map(|group| places[&group]).collect()
}

impl Slicing {
    fn of(by: &str, parts: &Parts, all: &All<'_>) -> Self {
        let mut members = vec![Vec::new(); parts.names.len()];
        for (image, slice) in parts.of_image.iter().enumerate() {
            members[*slice].push(image);
        }
        // Of a single group, nothing but its own images can be told.
        let is_one = |images: &Vec<usize>| {
            let first = all.groups[images[0]];
            images.iter().all(|image| all.groups[*image] == first)
        };
        let is_group = members.iter().all(is_one);
        let alone: Vec<usize> = (0..all.labels.len()).collect();
        let groups = if is_group { &alone } else { all.groups };
        let are_grouped = groups
            .iter()
            .max()
            .is_some_and(|last| last + 1 < groups.len());
        let slice = |(name, images): (&String, &Vec<usize>)| Slice::of(name, images, groups, all);
        Self {
            by: by.to_owned(),
            slices: parts.names.iter().zip(&members).map(slice).collect(),
            words: Vec::new(),
            unit: if are_grouped { "group" } else { "image" },
        }
    }
}

impl Slice {
    /// Measures the slice of some images.
    fn of(name: &str, images: &[usize], groups: &[usize], all: &All<'_>) -> Self {
        let subset = Subset {
            labels: images.iter().map(|image| all.labels[*image]).collect(),
            probabilities: images
                .iter()
                .map(|image| all.probabilities[*image].as_slice())
                .collect(),
            groups: renumbered(images.iter().map(|image| groups[*image])),
        };
        let too_small = subset.groups.iter().max().is_none_or(|last| last + 1 < FEW);
        let report = subset.report(all.classes);
        let mut inside = vec![false; groups.len()];
        images.iter().for_each(|image| inside[*image] = true);
        let share_where = |side: bool| {
            let hits = all.hits.iter().zip(&inside);
            let hits: Vec<&bool> = hits
                .filter(|(_, of)| **of == side)
                .map(|(hit, _)| hit)
                .collect();
            hits.iter().filter(|hit| ***hit).count() as f64 / hits.len() as f64
        };
        let has_images = |(_, class): &(String, ClassReport)| class.measures.support > 0;
        let is_tested = !too_small && images.len() < groups.len();
        Self {
            name: name.to_owned(),
            images: images.len(),
            too_small,
            metrics: report.metrics,
            per_class: report.per_class.into_iter().filter(has_images).collect(),
            difference: share_where(true) - share_where(false),
            p: is_tested.then(|| differs(&all.hits, &inside, groups, SEED)),
            corrected_p: None,
        }
    }
}

/// Corrects the p-values for the number of slices, and describes what was found.
fn correct(sliced: &mut [Slicing]) {
    let p: Vec<f64> = sliced.iter().flat_map(Slicing::tests).collect();
    let mut corrected = holm(&p).into_iter();
    for slicing in sliced {
        let of_slicing: Vec<f64> = corrected.by_ref().take(slicing.tests().len()).collect();
        let tested = slicing.slices.iter_mut().filter(|slice| slice.p.is_some());
        // Of two slices, both have the same test.
        for (slice, p) in tested.zip(of_slicing.iter().cycle()) {
            slice.corrected_p = Some(*p);
        }
        slicing.words = slicing.describe(p.len());
    }
}

impl Slicing {
    /// Returns the p-value of each test. Two slices have one between them.
    fn tests(&self) -> Vec<f64> {
        let most = match self.slices.len() {
            2 => 1,
            count => count,
        };
        self.slices
            .iter()
            .filter_map(|slice| slice.p)
            .take(most)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn golden() -> Value {
        serde_json::from_str(include_str!("../../../tests/golden/slices.json")).expect("JSON")
    }

    fn of<T: serde::de::DeserializeOwned>(value: &Value) -> T {
        serde_json::from_value(value.clone()).expect("as expected")
    }

    fn sliced(by: &str, names: &[&str], of_image: Vec<usize>, groups: &[usize]) -> Slicing {
        let golden = golden();
        let (labels, probabilities): (Vec<usize>, Vec<Vec<f32>>) =
            (of(&golden["labels"]), of(&golden["probabilities"]));
        let classes = ["x", "y", "z"].map(str::to_owned);
        let all = All {
            hits: hits(&labels, &probabilities),
            labels: &labels,
            probabilities: &probabilities,
            groups,
            classes: &classes,
        };
        let parts = Parts {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            of_image,
        };
        let mut found = [Slicing::of(by, &parts, &all)];
        correct(&mut found);
        let [found] = found;
        found
    }

    fn alone() -> Vec<usize> {
        (0..141).collect()
    }

    #[track_caller]
    fn assert_near(what: &str, found: f64, expected: &Value) {
        let expected = expected.as_f64().expect("a number");
        assert!(
            (found - expected).abs() < 1e-9,
            "{what}: {found}, {expected}"
        );
    }

    /// Compares with `scripts/reference/slices.py`: scikit-learn on the images of each slice,
    /// SciPy's `fisher_exact` against all others, and statsmodels' Holm.
    #[test]
    fn figures_of_a_slice_are_scikit_learns_on_its_images() {
        let golden = golden();
        let of_image = of(&golden["slices"]);
        let found = sliced("device", &["A", "B", "C", "few"], of_image, &alone());
        let expected = golden["expected"].as_array().expect("a list");
        assert_eq!(expected.len(), 4);
        for (slice, expected) in found.slices.iter().zip(expected) {
            let what = |name: &str| format!("{name} of {}", slice.name);
            assert_eq!(expected["images"], slice.images);
            for name in [
                "accuracy",
                "balanced_accuracy",
                "macro_f1",
                "mcc",
                "log_loss",
            ] {
                assert_near(&what(name), slice.metrics[name].value, &expected[name]);
            }
            let accuracy = slice.metrics["accuracy"];
            assert_near(&what("low"), accuracy.low, &expected["interval"][0]);
            assert_near(&what("high"), accuracy.high, &expected["interval"][1]);
            for (class, expected) in ["x", "y", "z"]
                .iter()
                .zip(of::<Vec<Value>>(&expected["per_class"]))
            {
                let measures = slice.per_class[*class].measures;
                let values = [measures.precision, measures.recall, measures.f1];
                for (value, expected) in values.iter().zip(of::<Vec<Value>>(&expected)) {
                    assert_near(&what(class), *value, &expected);
                }
                assert_eq!(expected[3], measures.support);
            }
            assert_eq!(slice.too_small, slice.name == "few");
            match (slice.p, slice.corrected_p) {
                (Some(p), Some(corrected)) => {
                    assert_near(&what("p"), p, &expected["p"]);
                    assert_near(&what("corrected p"), corrected, &expected["corrected_p"]);
                }
                other => assert_eq!((other, slice.too_small), ((None, None), true)),
            }
        }
        let words = found.words.join(" ");
        for part in [
            "B is the worst of 3 slices: accuracy 0.489 (95 %: 0.350 to 0.630) on 45 images",
            "p < 0.0001",
            "corrected for 3 tests",
            "chance alone would seldom do this",
            "Too small to tell anything, with fewer than 10 images: few (6 images).",
        ] {
            assert!(words.contains(part), "{part}: {words}");
        }
    }

    #[test]
    fn two_slices_are_one_test_and_one_slice_is_none() {
        let halves: Vec<usize> = (0..141).map(|image| image % 2).collect();
        let found = sliced("side", &["left", "right"], halves, &alone());
        let [left, right] = &found.slices[..] else {
            panic!("{found:?}");
        };
        assert_eq!((left.p, left.corrected_p), (right.p, right.corrected_p));
        assert_eq!(left.p, left.corrected_p);
        assert!(
            found.words[0].contains("chance alone often does as much"),
            "{:?}",
            found.words
        );
        let found = sliced("format", &["png"], vec![0; 141], &alone());
        assert_eq!(
            (found.slices[0].p, found.slices[0].difference.is_nan()),
            (None, true)
        );
        assert_eq!(
            found.words,
            ["There is one slice, png, of 141 images: there is nothing to compare."]
        );
    }

    #[test]
    fn groups_count_once_unless_they_are_the_slices() {
        let groups: Vec<usize> = (0..141).map(|image| image / 20).collect();
        let halves: Vec<usize> = groups.iter().map(|group| group % 2).collect();
        let found = sliced("side", &["left", "right"], halves, &groups);
        assert!(
            found.slices.iter().all(|slice| slice.too_small),
            "{found:?}"
        );
        assert!(
            found.words[0].contains("fewer than 10 groups"),
            "{:?}",
            found.words
        );
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let found = sliced("group", &names, groups.clone(), &groups);
        let small: Vec<_> = found.slices.iter().map(|slice| slice.too_small).collect();
        assert_eq!(small[6..], [false, true]);
    }
}
