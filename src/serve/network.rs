//! The thread that owns the network: takes what has arrived and computes it as one batch.

use std::{
    cell::OnceCell,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::metrics::Metrics;
use crate::{
    data::{batches::dataset::ImageSet, store::Format},
    evaluation::{
        classified::{Classified, Rules},
        predictor::Predictor,
    },
    explain::{Explainer, Method, Shown},
};

/// An image for the network.
#[derive(Debug)]
pub(super) struct Job {
    /// The resized bytes.
    pub(super) pixels: Vec<u8>,
    pub(super) task: Task,
    /// Where the answer goes.
    pub(super) reply: oneshot::Sender<Result<Answer, String>>,
    /// Its share of the images under way.
    pub(super) permit: OwnedSemaphorePermit,
}

/// What to do with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Find its class.
    Classify,
    /// Compute the map of a class, or of the most probable one.
    Explain(Option<usize>),
}

/// What the network answers.
#[derive(Debug)]
pub(super) enum Answer {
    /// The class with its probabilities.
    Class(Box<Classified>),
    /// A map.
    Shown(Box<Shown>),
}

/// The network and what it takes to explain it.
pub(super) struct Network<'a> {
    predictor: &'a Predictor<'a>,
    rules: Rules,
    /// Built for the first map, because it holds the weights a second time.
    explainer: OnceCell<Explainer>,
    metrics: Arc<Metrics>,
}

impl<'a> Network<'a> {
    pub(super) fn new(predictor: &'a Predictor<'a>, metrics: Arc<Metrics>) -> Self {
        Self {
            predictor,
            rules: Rules::of(predictor.meta()),
            explainer: OnceCell::new(),
            metrics,
        }
    }

    /// Works until no sender of jobs is left.
    pub(super) fn run(&self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            while batch.len() < self.predictor.batch_size {
                match jobs.try_recv() {
                    Ok(job) => batch.push(job),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            // Nobody waits for the image of a client that has hung up.
            batch.retain(|job| !job.reply.is_closed());
            let (classify, explain): (Vec<_>, Vec<_>) = batch
                .into_iter()
                .partition(|job| job.task == Task::Classify);
            self.classify(classify);
            for job in explain {
                let Task::Explain(class) = job.task else {
                    continue;
                };
                let shown = self.explain(&job.pixels, class);
                answer(job, shown.map(|shown| Answer::Shown(Box::new(shown))));
            }
        }
    }

    fn classify(&self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        self.metrics.batch(jobs.len());
        let pixels: Vec<Vec<u8>> = jobs.iter().map(|job| job.pixels.clone()).collect();
        match self.predictor.predict(&self.set(&pixels)) {
            Ok(found) => {
                for (job, class) in jobs.into_iter().zip(self.rules.classify_all(found)) {
                    answer(job, Ok(Answer::Class(Box::new(class))));
                }
            }
            // One image may be the reason, and the others are of other clients.
            Err(_) if jobs.len() > 1 => jobs.into_iter().for_each(|job| self.classify(vec![job])),
            Err(error) => jobs
                .into_iter()
                .for_each(|job| answer(job, Err(anyhow::anyhow!("{error:#}")))),
        }
    }

    fn explain(&self, pixels: &[u8], class: Option<usize>) -> anyhow::Result<Shown> {
        let explainer = match self.explainer.get() {
            Some(explainer) => explainer,
            None => {
                let (networks, device) =
                    (self.predictor.checkpoints, &self.predictor.compute.device);
                let explainer = Explainer::new(networks, device, Method::GradCam, None)?;
                self.explainer.get_or_init(|| explainer)
            }
        };
        let set = self.set(&[pixels.to_vec()]);
        explainer.show(&set, class)
    }

    fn set(&self, pixels: &[Vec<u8>]) -> Arc<ImageSet> {
        let format = Format::of(&self.predictor.data);
        Arc::new(ImageSet::of_images(&self.rules.classes, format, pixels))
    }
}

/// Sends an answer; a client that has hung up gets none.
fn answer(job: Job, found: anyhow::Result<Answer>) {
    let found = found.map_err(|error| {
        log::error!("{error:#}");
        format!("{error:#}")
    });
    let Job { reply, permit, .. } = job;
    // Whoever has the answer may send the next image.
    drop(permit);
    let _ = reply.send(found);
}
