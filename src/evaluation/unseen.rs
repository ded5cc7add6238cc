//! Measures the images of an evaluation that the run didn't know, and finds those that duplicate
//! one it knew.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde::Serialize;

use super::{decisions::Decisions, subset::Subset};
use crate::{
    base::{names, progress::Progress},
    checkpoint::Meta,
    data::{
        batches::dataset::ImageSet,
        duplicates::{
            Likeness,
            known::{Known, KnownCopy},
        },
        listing::Part,
        pixels::image_stats::ImageStats,
    },
    metrics::Estimate,
};

/// Metrics on the images that the run didn't know.
#[derive(Clone, Debug, Serialize)]
pub struct Unseen {
    /// Number of images.
    pub count: usize,
    /// Number of left-out images with pixels equal to a known one.
    pub exact_copies: usize,
    /// Number of left-out images that duplicate a known one after resaving, resizing, cropping,
    /// turning or the like.
    pub near_copies: usize,
    /// Fraction of correct predictions; `None` without images.
    pub accuracy: Option<f64>,
    /// Mean F1 of the classes; `None` without images.
    pub macro_f1: Option<f64>,
    /// Every metric with its 95 % confidence interval, by name; empty without images.
    pub metrics: BTreeMap<String, Estimate>,
    /// Metrics of the checkpoint's threshold and prediction sets.
    #[serde(flatten)]
    pub decisions: Decisions,
}

impl Unseen {
    /// Measures the images that aren't copies.
    pub(super) fn of(
        meta: &Meta,
        set: &ImageSet,
        probabilities: &[Vec<f32>],
        copied: &[Option<KnownCopy>],
    ) -> Self {
        let unseen: Vec<usize> = (0..copied.len())
            .filter(|index| copied[*index].is_none())
            .collect();
        let near_copies = copied
            .iter()
            .flatten()
            .filter(|copy| copy.likeness == Likeness::Near)
            .count();
        let mut found = Self {
            count: unseen.len(),
            exact_copies: copied.len() - unseen.len() - near_copies,
            near_copies,
            accuracy: None,
            macro_f1: None,
            metrics: BTreeMap::new(),
            decisions: Decisions::default(),
        };
        if !unseen.is_empty() {
            let part = Subset::of(set, probabilities, &unseen);
            found.metrics = part.report(&meta.classes).metrics;
            let value = |name: &str| found.metrics.get(name).map(|estimate| estimate.value);
            (found.accuracy, found.macro_f1, found.decisions) =
                (value("accuracy"), value("macro_f1"), part.decisions(meta));
        }
        found
    }
}

/// Returns which image of the `known` parts of the run each image duplicates; `None` if the run is
/// unknown.
///
/// # Errors
/// Returns an error if the files of the run that identify its images can't be read.
pub(super) fn copies_of_known(
    set: &ImageSet,
    facts: &[Arc<ImageStats>],
    known: &[Part],
    run: Option<&Path>,
    progress: &dyn Progress,
) -> anyhow::Result<Option<Vec<Option<KnownCopy>>>> {
    let run = run.map(Known::open).transpose()?.flatten();
    if run.as_ref().is_some_and(|run| !run.has_looks()) && !facts.is_empty() {
        progress.say(
            "The run was made by an older version, which stored no thumbnails: near-duplicates are \
             found among its own images only",
        );
    }
    let pixels: Vec<_> = set.images.iter().map(|image| image.digest).collect();
    Ok(run.map(|run| run.copies(known, &pixels, facts)))
}

/// A row of `copies.csv`.
#[derive(Serialize)]
pub(super) struct CopyRow {
    path: String,
    /// The image of the run that it duplicates.
    copy_of: String,
    likeness: Likeness,
}

impl CopyRow {
    /// Returns the row of the image at `path`; `None` if it is no copy.
    pub(super) fn of(path: &Path, copy: &Option<KnownCopy>) -> Option<Self> {
        copy.as_ref().map(|copy| Self {
            path: names::of_path(path),
            copy_of: copy.path.clone(),
            likeness: copy.likeness,
        })
    }
}
