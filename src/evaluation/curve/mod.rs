//! A learning curve: the same images measured by networks that were trained on more and more of the
//! training images, and whether still more would help.

mod presentation;

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use super::{Evaluation, RunComparison, corrected, slices::hits, subset::SEED};
use crate::{
    base::names,
    metrics::{Estimate, PowerLaw, forecast},
};

/// A learning curve.
#[derive(Clone, Debug, Serialize)]
pub struct LearningCurve {
    /// Number of images that each network was measured on.
    pub images: usize,
    /// The networks, by rising number of training images.
    pub points: Vec<CurvePoint>,
    /// Accuracy with twice the most training images, if the error rate goes on as a power of their
    /// number; the interval is that of the measured images alone.
    pub accuracy_with_twice_the_images: Estimate,
    /// How much more that is than with the most.
    pub gain: Estimate,
    /// Whether more images would help, in words.
    pub words: Vec<String>,
    #[serde(skip)]
    law: PowerLaw,
}

/// A network of a learning curve.
#[derive(Clone, Debug, Serialize)]
pub struct CurvePoint {
    /// Fraction of the training images.
    pub fraction: f64,
    /// Their number.
    pub training_images: usize,
    /// The epoch that was kept.
    pub best_epoch: usize,
    /// Every metric with its 95 % confidence interval, by name.
    pub metrics: BTreeMap<String, Estimate>,
    /// Comparison of the network before with this one; none of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<RunComparison>,
}

/// A network that was trained on a fraction of the training images.
#[derive(Debug)]
pub struct Trained<'a> {
    /// The fraction.
    pub fraction: f64,
    /// Number of its training images.
    pub training_images: usize,
    /// The epoch that was kept.
    pub best_epoch: usize,
    /// The network's name.
    pub path: &'a Path,
    /// What it makes of the validation images.
    pub evaluation: Evaluation,
}

impl LearningCurve {
    /// Joins networks, given by rising fraction.
    ///
    /// # Errors
    /// Returns an error if they weren't measured on the same images.
    ///
    /// # Panics
    /// Panics if there are fewer than two.
    pub fn of(networks: &[Trained<'_>]) -> anyhow::Result<Self> {
        let pairs = networks.windows(2).map(|pair| {
            let paths = [pair[0].path, pair[1].path];
            let comparison = pair[0].evaluation.compare(&pair[1].evaluation, paths)?;
            // Kept with the larger one.
            Ok(RunComparison {
                with: names::of_path(pair[0].path),
                ..comparison
            })
        });
        let comparisons = corrected(pairs.collect::<anyhow::Result<_>>()?);
        let comparisons = std::iter::once(None).chain(comparisons.into_iter().map(Some));
        let point = |(network, comparison): (&Trained<'_>, Option<RunComparison>)| CurvePoint {
            fraction: network.fraction,
            training_images: network.training_images,
            best_epoch: network.best_epoch,
            metrics: network.evaluation.metrics.clone(),
            comparison,
        };
        let first = &networks[0].evaluation;
        let sizes: Vec<f64> = networks
            .iter()
            .map(|of| of.training_images as f64)
            .collect();
        let labels = first.set.labels();
        let hits: Vec<Vec<bool>> = networks
            .iter()
            .map(|of| hits(&labels, &of.evaluation.probabilities))
            .collect();
        let found = forecast(&sizes, &hits, &first.groups, SEED);
        let mut curve = Self {
            images: first.images,
            points: networks.iter().zip(comparisons).map(point).collect(),
            accuracy_with_twice_the_images: found.accuracy,
            gain: found.gain,
            words: Vec::new(),
            law: found.law,
        };
        curve.words = curve.describe();
        Ok(curve)
    }
}
