//! Measures the images per second of the pipeline, from files and from the cache.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;

use super::step::step_and_wait;
use crate::{
    base::stats::median,
    commands::ui,
    config::Config,
    data::{batches::loader::Loader, load_for_training},
    train::Session,
};

/// Number of epochs that a rate is the median of.
const EPOCHS: usize = 5;

/// Result of `bench pipeline`, as `--json` prints it.
#[derive(Serialize)]
pub(super) struct PipelineResult {
    /// Cached images augmented, normalized and batched by `train.workers` workers; median over
    /// epochs.
    images_per_second: f64,
    /// The same by number of workers; 0 is the calling thread alone.
    by_workers: BTreeMap<usize, f64>,
    /// Number of decoding threads.
    threads: usize,
    workers: usize,
    /// Images read from files, decoded, hashed, resized, and augmented for the first epoch.
    cold_images_per_second: f64,
    /// Fraction of the training time that steps wait for images.
    data_wait_share: f64,
    images: usize,
}

impl PipelineResult {
    /// Returns the rows of the table.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![(
            "Images per second, cached and augmented".to_owned(),
            format!("{:.0}", self.images_per_second),
        )];
        for (workers, rate) in &self.by_workers {
            let who = if *workers == 0 {
                "the calling thread alone".to_owned()
            } else {
                format!("{workers} workers")
            };
            rows.push((format!("- by {who}"), format!("{rate:.0}")));
        }
        rows.extend([
            (
                "Images per second, from files and augmented".to_owned(),
                format!("{:.0}", self.cold_images_per_second),
            ),
            ("Decoder threads".to_owned(), self.threads.to_string()),
            ("Loader workers".to_owned(), self.workers.to_string()),
            (
                "Fraction of training spent waiting for images".to_owned(),
                format!("{:.2} %", self.data_wait_share * 100.0),
            ),
            ("Training images".to_owned(), self.images.to_string()),
        ]);
        rows
    }
}

/// Measures the pipeline of a configuration, and how long `steps` steps wait for it.
///
/// # Errors
/// Returns an error if the data or the device can't be used.
pub(super) fn measure(mut config: Config, steps: u16) -> anyhow::Result<PipelineResult> {
    // An epoch doesn't read test images.
    config.data.test = None;
    let start = Instant::now();
    let data = load_for_training(&config.data, config.seed, &|_| (), &|_| ())?;
    let read = start.elapsed().as_secs_f64();
    let images = data.train.images.len();
    let compute = ui::open_device(config.device)?;
    let (batch_size, workers) = (config.train.batch_size, config.train.workers);
    let mut session = Session::start(config, &data, &compute.device)?;
    let threads = rayon::current_num_threads();
    let first_epoch = epoch_seconds(&session, batch_size, (0, threads))?;
    let mut by_workers = BTreeMap::new();
    for workers in (0..=threads).chain([workers]) {
        let seconds = (0..EPOCHS)
            .map(|epoch| epoch_seconds(&session, batch_size, (epoch, workers)))
            .collect::<Result<Vec<_>, _>>()?;
        by_workers
            .entry(workers)
            .or_insert(images as f64 / median(&seconds));
    }
    let (waited, trained) = wait_of_steps(&mut session, usize::from(steps))?;
    Ok(PipelineResult {
        images_per_second: by_workers[&workers],
        threads,
        workers,
        // Validation images are read too, though they aren't augmented.
        cold_images_per_second: (images + data.validation.images.len()) as f64
            / (read + first_epoch),
        data_wait_share: waited / trained,
        images,
        by_workers,
    })
}

/// Returns the seconds that all batches of an epoch take with this number of workers.
fn epoch_seconds(
    session: &Session,
    batch_size: usize,
    (epoch, workers): (usize, usize),
) -> anyhow::Result<f64> {
    let start = Instant::now();
    for batch in Loader::new(
        session.datasets.training_view(&session.config, epoch),
        batch_size,
        0,
        workers,
    ) {
        batch?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Returns the seconds that `steps` steps waited for images, and the seconds they took.
fn wait_of_steps(session: &mut Session, steps: usize) -> anyhow::Result<(f64, f64)> {
    let train = &session.config.train;
    let mut loader = Loader::new(
        session.datasets.training_view(&session.config, 1),
        train.batch_size,
        0,
        train.workers,
    );
    let start = Instant::now();
    for index in 0..steps {
        let Some(batch) = loader.next() else { break };
        step_and_wait(&mut session.learner, batch?, [1, index])?;
    }
    Ok((loader.waited.as_secs_f64(), start.elapsed().as_secs_f64()))
}
