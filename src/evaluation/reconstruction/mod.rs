//! Measures an autoencoder on images: the error of each image, the share that counts as unlike the
//! training images and, where images of other classes than theirs are measured too, how well the
//! error tells these. Never writes into a checkpoint.

mod mean_image;
mod page;
mod words;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::{Context, bail};
use serde::Serialize;

pub use mean_image::{MEAN_IMAGE, write_mean_image};
pub use page::write_page;

use super::{
    images::EvalSet,
    measured::Measured,
    place,
    predictor::Predictor,
    results::document,
    subset::{SEED, groups},
};
use crate::{
    base::names,
    checkpoint::Meta,
    data::{batches::dataset::ImageSet, listing::UNLABELED, load_listed, table, table::Skipped},
    metrics::{Estimate, Reconstruction, mean, roc_auc, roc_auc_difference, share},
};

/// The errors of an autoencoder on images.
#[derive(Debug, Serialize)]
pub struct Reconstructions {
    /// The images measured.
    pub data: Measured,
    /// Number of images measured.
    pub images: usize,
    /// Every metric with its 95 % confidence interval, by name: `mean_squared_error` and `unlike`
    /// on images of the classes that training had, `roc_auc`, `roc_auc_mean_image` and their
    /// `roc_auc_difference` where there are others.
    pub metrics: BTreeMap<&'static str, Estimate>,
    /// Each class, by name.
    pub per_class: BTreeMap<String, ClassErrors>,
    /// The threshold of the checkpoint, if it has one.
    pub threshold: Option<Reconstruction>,
    /// Files that can't be decoded.
    pub skipped: Vec<Skipped>,
    /// Error of each image.
    #[serde(skip)]
    errors: Vec<f32>,
    /// Whether the class of each image is one that training hadn't.
    #[serde(skip)]
    is_other: Vec<bool>,
    #[serde(skip)]
    set: Arc<ImageSet>,
}

/// The errors of the images of a class.
#[derive(Debug, Serialize)]
pub struct ClassErrors {
    /// Number of images.
    pub images: usize,
    /// Whether the autoencoder was trained on images of the class.
    pub is_trained_on: bool,
    /// Mean error, with its 95 % interval.
    pub mean_squared_error: Estimate,
    /// Fraction of images that are unlike the training images, if there is a threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlike: Option<Estimate>,
}

/// A row of `errors.csv`.
#[derive(Serialize)]
struct Row {
    path: String,
    class: String,
    error: f32,
    /// Whether the image is unlike the training images, if there is a threshold.
    unlike: Option<bool>,
}

impl Reconstructions {
    /// Reads the images and measures the autoencoder on them. `run` is the run that it belongs to.
    ///
    /// # Errors
    /// Returns an error if no image can be read, the device fails, or an output is not finite.
    pub fn run(
        predictor: &Predictor<'_>,
        images: EvalSet,
        run: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut classes = predictor.meta().classes.clone();
        for entry in &images.entries {
            if !classes.contains(&entry.class) {
                classes.push(entry.class.clone());
            }
        }
        let task = predictor.progress.items("Reading images");
        task.set_total(images.entries.len());
        let done = |count| task.add(count);
        let listed = load_listed(&images.entries, &Arc::new(classes), &predictor.data, &done)?;
        drop(task);
        if listed.set.images.is_empty() {
            bail!(
                "found none of {} that can be read, of {}; expected some to measure on",
                images.source,
                images.entries.len()
            );
        }
        if let Some(words) = images.changed(&listed.set) {
            predictor.progress.say(&words);
        }
        let errors = predictor.predict(&listed.set)?.losses;
        let skipped = images.skipped.into_iter().chain(listed.skipped).collect();
        let meta = predictor.meta();
        let mut found = Self::of((listed.set, errors), meta, images.source, run)?;
        found.skipped = skipped;
        Ok(found)
    }

    /// Measures images with their errors by the autoencoder that `meta` describes, compared with
    /// the mean training image of its run.
    ///
    /// # Errors
    /// Returns an error if an image can't be read again, or the mean image can't be read.
    pub fn of(
        (set, errors): (Arc<ImageSet>, Vec<f32>),
        meta: &Meta,
        source: String,
        run: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let has_classes = meta.classes != [UNLABELED];
        let is_other = |label: usize| has_classes && label >= meta.classes.len();
        let is_other: Vec<bool> = set.images.iter().map(|one| is_other(one.label)).collect();
        let mut found = Self {
            data: Measured::of(&set, source),
            images: set.images.len(),
            metrics: BTreeMap::new(),
            per_class: BTreeMap::new(),
            threshold: meta.reconstruction.clone(),
            skipped: Vec::new(),
            errors,
            is_other,
            set,
        };
        found.measure_classes(meta.classes.len());
        let known: Vec<usize> = (0..found.images)
            .filter(|index| !found.is_other[*index])
            .collect();
        if !known.is_empty() {
            let (error, unlike) = found.measure(&known);
            found.metrics.insert("mean_squared_error", error);
            found.metrics.extend(unlike.map(|of| ("unlike", of)));
        }
        if !known.is_empty() && known.len() < found.images {
            found.compare(meta, run)?;
        }
        Ok(found)
    }

    /// Measures each class. The first `num_trained` of the classes are those of training.
    fn measure_classes(&mut self, num_trained: usize) {
        for (label, class) in self.set.classes.iter().enumerate() {
            let is_own = |index: &usize| self.set.images[*index].label == label;
            let own: Vec<usize> = (0..self.images).filter(is_own).collect();
            if own.is_empty() {
                continue;
            }
            let (error, unlike) = self.measure(&own);
            let of_class = ClassErrors {
                images: own.len(),
                is_trained_on: label < num_trained,
                mean_squared_error: error,
                unlike,
            };
            self.per_class.insert(class.clone(), of_class);
        }
    }

    /// Returns the mean error of some of the images, and the share of them that is unlike the
    /// training images, if there is a threshold.
    fn measure(&self, indices: &[usize]) -> (Estimate, Option<Estimate>) {
        let groups = groups(&self.set, indices);
        let errors: Vec<f64> = indices
            .iter()
            .map(|index| f64::from(self.errors[*index]))
            .collect();
        let unlike = self.threshold.as_ref().map(|threshold| {
            let hits = indices
                .iter()
                .map(|index| threshold.is_unlike(self.errors[*index]));
            share(&hits.collect::<Vec<_>>(), &groups, SEED)
        });
        (mean(&errors, &groups, SEED), unlike)
    }

    /// Measures how well the error tells images of other classes, beside the squared distance from
    /// the mean training image.
    fn compare(&mut self, meta: &Meta, run: Option<&Path>) -> anyhow::Result<()> {
        let groups = groups(&self.set, &(0..self.images).collect::<Vec<_>>());
        let area = |scores: &[f32]| roc_auc(scores, &self.is_other, &groups, SEED);
        self.metrics.insert("roc_auc", area(&self.errors));
        let Some(mean) = run
            .map(|run| mean_image::read(run, meta))
            .transpose()?
            .flatten()
        else {
            return Ok(());
        };
        let distances = mean_image::distances(&self.set, &mean)?;
        self.metrics.insert("roc_auc_mean_image", area(&distances));
        let both = [&self.errors[..], &distances];
        let difference = roc_auc_difference(both, &self.is_other, &groups, SEED);
        self.metrics.insert("roc_auc_difference", difference);
        Ok(())
    }

    /// Writes `metrics.json`, with a summary in sentences, and `errors.csv` into `folder`, and
    /// `skipped.csv` unless it would be empty.
    ///
    /// # Errors
    /// Returns an error if a file can't be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("can't create {}", names::of_path(folder)))?;
        let rows = self.set.images.iter().zip(&self.errors);
        let rows: Vec<Row> = rows
            .map(|(image, error)| Row {
                path: names::of_path(&image.path),
                class: names::of_text(&self.set.classes[image.label]),
                error: *error,
                unlike: self.threshold.as_ref().map(|of| of.is_unlike(*error)),
            })
            .collect();
        let rows = table::to_csv(&rows);
        document::write(folder, &self.sentences(), self, ("errors.csv", &rows))?;
        place::write_rows(&folder.join("skipped.csv"), &self.skipped)
    }

    /// Returns the figures as a JSON document.
    ///
    /// # Errors
    /// Never fails in practice: all values can be written as JSON.
    pub fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}
