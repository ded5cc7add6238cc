//! The figures of a cross-validation: over all images, each classified by the network of the fold
//! that held it back, and fold by fold.

mod held_back;
mod repeats;

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use self::held_back::SOURCE;
pub use self::{
    held_back::HeldBack,
    repeats::{RepeatFigures, Repeats},
};
use super::{Evaluation, Judged};
use crate::{
    checkpoint::Meta,
    data::batches::dataset::{Image, ImageSet},
    metrics::Estimate,
    report::Table,
};

/// What each fold of a cross-validation gave.
#[derive(Clone, Debug, Serialize)]
pub struct Folds {
    /// The folds in order.
    pub per_fold: Vec<FoldFigures>,
    /// Mean of each metric over the folds, by name; NaN if it doesn't exist in one of them.
    pub mean: BTreeMap<String, f64>,
    /// Standard deviation of each metric over the folds, as of a sample, by name.
    pub sd: BTreeMap<String, f64>,
    /// Fold of each image, counted from 0.
    #[serde(skip)]
    pub(super) of_image: Vec<usize>,
}

/// Figures of one fold.
#[derive(Clone, Debug, Serialize)]
pub struct FoldFigures {
    /// The fold, counted from 1.
    pub fold: usize,
    /// Number of images that it held back.
    pub images: usize,
    /// The epoch that was kept, which these images chose.
    pub best_epoch: usize,
    /// Every metric with its 95 % confidence interval, by name.
    pub metrics: BTreeMap<String, Estimate>,
}

/// Columns of the table of folds.
const COLUMNS: [(&str, &str); 5] = [
    ("accuracy", "Accuracy"),
    ("balanced_accuracy", "Balanced"),
    ("macro_f1", "F1, macro"),
    ("roc_auc", "ROC AUC"),
    ("log_loss", "Log loss"),
];

impl Evaluation {
    /// Joins the evaluations of the folds of a cross-validation, each with the metadata of its
    /// network and measured on the images that the fold held back, in the order in which the images
    /// were listed.
    ///
    /// # Panics
    /// Panics if there is no fold.
    pub fn out_of_fold(folds: &[(&Meta, Self)]) -> Self {
        let (meta, first) = folds.first().expect("a cross-validation has folds");
        let of_fold = |fold: usize| {
            let images = 0..folds[fold].1.set.images.len();
            images.map(move |at| (fold, at))
        };
        let mut rows: Vec<(usize, usize)> = (0..folds.len()).flat_map(of_fold).collect();
        let image = |(fold, at): (usize, usize)| -> &Image { &folds[fold].1.set.images[at] };
        // All folds share a store, whose slots are in that order.
        rows.sort_by_key(|row| image(*row).slot);
        // What isn't kept by the folds is kept by none.
        let probabilities = rows
            .iter()
            .map(|(fold, at)| folds[*fold].1.probabilities[*at].clone());
        let logits = rows
            .iter()
            .filter_map(|(fold, at)| folds[*fold].1.logits.get(*at).cloned());
        let files = rows
            .iter()
            .filter_map(|(fold, at)| folds[*fold].1.files.get(*at).cloned());
        let total = rows.len() as f64;
        let losses = folds
            .iter()
            .map(|(_, found)| found.loss * found.images as f64);
        let judged = Judged {
            features: Vec::new(),
            set: Arc::new(ImageSet {
                classes: Arc::clone(&first.set.classes),
                images: rows.iter().map(|row| image(*row).clone()).collect(),
                store: Arc::clone(&first.set.store),
            }),
            probabilities: probabilities.collect(),
            logits: logits.collect(),
            loss: losses.sum::<f64>() / total,
            averaged_over: Vec::new(),
            copied: None,
            skipped: folds
                .iter()
                .flat_map(|(_, found)| found.skipped.clone())
                .collect(),
            damaged: folds
                .iter()
                .flat_map(|(_, found)| found.damaged.clone())
                .collect(),
            files: files.collect(),
        };
        // Each network may have decisions of its own, which say nothing of the others.
        let meta = Meta {
            threshold: None,
            coverage: None,
            ..(*meta).clone()
        };
        let of_image = rows.iter().map(|(fold, _)| *fold).collect();
        Self {
            folds: Some(Folds::of(folds, of_image)),
            ..judged.evaluated(&meta, SOURCE.to_owned())
        }
    }
}

impl Folds {
    fn of(folds: &[(&Meta, Evaluation)], of_image: Vec<usize>) -> Self {
        let figures = |(index, (meta, found)): (usize, &(&Meta, Evaluation))| FoldFigures {
            fold: index + 1,
            images: found.images,
            best_epoch: meta.epoch,
            metrics: found.metrics.clone(),
        };
        let per_fold: Vec<FoldFigures> = folds.iter().enumerate().map(figures).collect();
        let metrics: Vec<_> = per_fold.iter().map(|fold| &fold.metrics).collect();
        let (mean, sd) = spread(&metrics);
        Self {
            per_fold,
            mean,
            sd,
            of_image,
        }
    }

    /// Returns the folds as a table, with their mean and standard deviation.
    pub(super) fn table(&self) -> Table {
        let own = |fold: &FoldFigures| {
            [fold.fold, fold.images, fold.best_epoch].map(|count| count.to_string())
        };
        let rows = self.per_fold.iter();
        table_of(
            ["Fold", "Images", "Best epoch"],
            rows.map(|fold| (own(fold), &fold.metrics)),
            [&self.mean, &self.sd],
        )
    }

    /// Describes how much the folds differ, and what that means.
    pub fn words(&self) -> String {
        let value = |values: &BTreeMap<String, f64>| values.get("accuracy").copied();
        format!(
            "Accuracy of a fold: {:.4} on average, standard deviation {:.4}. That is the spread of \
             single splits, not an interval: the networks share training images. Each fold's best \
             epoch was chosen by the images that it held back, so the metrics are somewhat \
             optimistic.",
            value(&self.mean).unwrap_or(f64::NAN),
            value(&self.sd).unwrap_or(f64::NAN)
        )
    }
}

/// Returns a table of evaluations, a row each: columns of their own, then [`COLUMNS`]; at last,
/// mean and standard deviation.
fn table_of<'a, const OWN: usize>(
    own: [&str; OWN],
    rows: impl Iterator<Item = ([String; OWN], &'a BTreeMap<String, Estimate>)>,
    [mean, sd]: [&BTreeMap<String, f64>; 2],
) -> Table {
    let titles = COLUMNS.map(|(_, title)| title);
    let row = |(own, metrics): ([String; OWN], &BTreeMap<String, Estimate>)| {
        own.into_iter()
            .chain(cells(|name| Some(metrics.get(name)?.value)))
            .collect()
    };
    let last = |title: &str, values: &BTreeMap<String, f64>| {
        let blank = std::iter::repeat_n(String::new(), OWN - 1);
        std::iter::once(title.to_owned())
            .chain(blank)
            .chain(cells(|name| values.get(name).copied()))
            .collect()
    };
    let last = [last("Mean", mean), last("Standard deviation", sd)];
    Table {
        head: own.into_iter().chain(titles).map(str::to_owned).collect(),
        rows: rows.map(row).chain(last).collect(),
    }
}

/// Returns a cell for each of [`COLUMNS`] with the value of its metric.
fn cells(value: impl Fn(&str) -> Option<f64>) -> Vec<String> {
    let cell = |(name, _): &(&str, &str)| match value(name).filter(|value| !value.is_nan()) {
        Some(value) => format!("{value:.4}"),
        None => "-".to_owned(),
    };
    COLUMNS.iter().map(cell).collect()
}

/// Returns the mean and the standard deviation of each metric over several evaluations.
fn spread(
    metrics: &[&BTreeMap<String, Estimate>],
) -> (BTreeMap<String, f64>, BTreeMap<String, f64>) {
    let value = |of: &&BTreeMap<String, Estimate>, name: &String| {
        of.get(name).map_or(f64::NAN, |found| found.value)
    };
    let (mut mean, mut sd) = (BTreeMap::new(), BTreeMap::new());
    for name in metrics.first().into_iter().flat_map(|first| first.keys()) {
        let values: Vec<f64> = metrics.iter().map(|of| value(of, name)).collect();
        let found = mean_and_sd(&values);
        mean.insert(name.clone(), found.0);
        sd.insert(name.clone(), found.1);
    }
    (mean, sd)
}

/// Returns the mean and the standard deviation of a sample.
fn mean_and_sd(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>();
    (mean, (squares / (count - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Color, Interpolation, Loss, Model, Resize},
        data::{batches::normalize::Normalizer, set_of},
        nn::networks::classifier::{Design, Output},
    };

    fn meta(classes: &[String]) -> Meta {
        let normalize = Normalizer {
            rescale: 1.0,
            samplewise_center: false,
            samplewise_std: false,
            mean: vec![0.0],
            std: vec![1.0],
            blue_first: false,
            whitening: None,
        };
        Meta {
            format: Meta::format(),
            emberlens: "0.0.0".to_owned(),
            name: "x".to_owned(),
            classes: classes.to_vec(),
            image_size: [8, 9],
            color: Color::Grayscale,
            resize: Resize::Stretch,
            interpolation: Interpolation::Bilinear,
            repair: false,
            normalize,
            design: Design {
                model: Model::default(),
                input: [1, 8, 9],
                num_classes: 2,
                output: Output::Softmax,
            },
            loss: Loss::CrossEntropy,
            focal_gamma: 2.0,
            epoch: 3,
            metrics: BTreeMap::new(),
            temperature: 1.0,
            threshold: None,
            coverage: None,
            novelty: None,
            reconstruction: None,
            frozen: None,
            run: None,
            files: BTreeMap::new(),
        }
    }

    /// Probability of the second class, and the fold, of twelve images whose classes alternate.
    const ROWS: [(f32, usize); 12] = [
        (0.171_875, 0),
        (0.359_375, 0),
        (0.296_875, 1),
        (0.75, 1),
        (0.593_75, 2),
        (0.671_875, 2),
        (0.234_375, 2),
        (0.484_375, 0),
        (0.515_625, 1),
        (0.984_375, 2),
        (0.406_25, 0),
        (0.375, 1),
    ];

    /// Value over all images, mean and standard deviation over the folds, by scikit-learn 1.9.1 and
    /// NumPy's `mean` and `std(ddof=1)`.
    const EXPECTED: [(&str, [f64; 3]); 6] = [
        (
            "accuracy",
            [0.583_333_333_333, 0.583_333_333_333, 0.144_337_567_297],
        ),
        (
            "macro_f1",
            [0.580_419_580_420, 0.522_222_222_222, 0.200_923_792_445],
        ),
        (
            "mcc",
            [0.169_030_850_946, 0.192_450_089_730, 0.333_333_333_333],
        ),
        (
            "roc_auc",
            [0.777_777_777_778, 0.833_333_333_333, 0.144_337_567_297],
        ),
        (
            "log_loss",
            [0.532_090_107_741, 0.532_090_107_741, 0.119_278_772_048],
        ),
        (
            "brier",
            [0.182_779_947_917, 0.182_779_947_917, 0.047_383_110_903],
        ),
    ];

    #[test]
    fn figures_over_all_folds_are_scikit_learns() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let images: Vec<Vec<u8>> = (0..12u8).map(|level| vec![level * 20; 72]).collect();
        let set = set_of(folder.path(), &images, [8, 9, 1]);
        let meta = meta(&set.classes);
        let of_fold = |fold: usize| {
            let rows = ROWS.iter().zip(&set.images);
            let (rows, images): (Vec<_>, Vec<_>) = rows.filter(|((_, of), _)| *of == fold).unzip();
            let judged = Judged {
                features: Vec::new(),
                set: Arc::new(ImageSet {
                    classes: Arc::clone(&set.classes),
                    images: images.into_iter().cloned().collect(),
                    store: Arc::clone(&set.store),
                }),
                probabilities: rows
                    .iter()
                    .map(|(value, _)| vec![1.0 - value, *value])
                    .collect(),
                logits: Vec::new(),
                loss: 1.0,
                averaged_over: Vec::new(),
                copied: None,
                skipped: Vec::new(),
                damaged: Vec::new(),
                files: Vec::new(),
            };
            (&meta, judged.evaluated(&meta, String::new()))
        };
        let found = Evaluation::out_of_fold(&[of_fold(0), of_fold(1), of_fold(2)]);
        let folds = found.folds.as_ref().expect("there are some");
        assert_eq!(
            folds.of_image,
            ROWS.map(|(_, fold)| fold),
            "in the order of the list"
        );
        for (name, [value, mean, sd]) in EXPECTED {
            let got = [found.metrics[name].value, folds.mean[name], folds.sd[name]];
            let is_near = |(got, expected): (&f64, f64)| (got - expected).abs() < 1e-9;
            assert!(
                got.iter().zip([value, mean, sd]).all(is_near),
                "{name}: {got:?}"
            );
        }
    }

    /// NumPy's `mean` and `std(ddof=1)` of the same numbers.
    #[test]
    fn the_spread_is_that_of_a_sample() {
        let (mean, sd) = mean_and_sd(&[0.9, 0.95, 0.875, 1.0, 0.925]);
        assert!((mean - 0.93).abs() < 1e-12, "{mean}");
        assert!((sd - 0.048_088_460_154_178_36).abs() < 1e-12, "{sd}");
        assert!(mean_and_sd(&[0.9, f64::NAN]).0.is_nan());
    }
}
