//! Measures what the exchange of gradients among the ranks of a job costs, and the scaling that
//! follows from it.

use std::time::Instant;

use serde::Serialize;

use super::step::{learner_of, step_and_wait, synthetic};
use crate::{
    base::stats::median,
    commands::{
        common::job,
        ui::{self, say},
    },
    config::Config,
    data::batches::batch::HostBatch,
    nn::{infer::read, networks::params},
    ranks::{Ranks, tree::nodes},
    train::{Learner, StepInput},
};

/// Result of `bench ranks`, as `--json` prints it. Of times that differ between ranks, the longest.
#[derive(Serialize)]
pub(super) struct RanksResult {
    ranks: usize,
    engine: String,
    batches_per_step: usize,
    batch_size: usize,
    gradient_bytes: usize,
    /// Median over the steps, of a batch computed by each rank at the same time.
    seconds_per_batch: f64,
    /// Median of the sum of all ranks' gradients.
    seconds_per_exchange: f64,
    /// Median of a whole step, as training takes it.
    seconds_per_step: f64,
    /// What batches and exchange add up to.
    predicted_seconds_per_step: f64,
    /// Speed beside one rank that computes all batches, each as fast as here.
    speedup: f64,
    predicted_speedup: f64,
    device: String,
    steps: u16,
}

impl RanksResult {
    /// Returns the rows of the table.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let seconds = |seconds: f64| format!("{seconds:.4}");
        let (speedup, predicted) = (self.speedup, self.predicted_speedup);
        [
            ("Ranks", self.ranks.to_string()),
            ("Engine", self.engine.clone()),
            ("Batches in a step", self.batches_per_step.to_string()),
            ("Batch size", self.batch_size.to_string()),
            (
                "Gradient",
                format!("{:.1} MB", self.gradient_bytes as f64 / 1e6),
            ),
            ("Seconds a batch", seconds(self.seconds_per_batch)),
            ("Seconds an exchange", seconds(self.seconds_per_exchange)),
            ("Seconds a step", seconds(self.seconds_per_step)),
            (
                "Seconds a step, predicted",
                seconds(self.predicted_seconds_per_step),
            ),
            ("Times as fast as one rank", format!("{speedup:.2}")),
            (
                "Times as fast, predicted",
                format!("{predicted:.2} of {}", self.ranks),
            ),
            ("Device", self.device.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// Measures `steps` steps of a configuration by the ranks of this process's job.
///
/// # Errors
/// Returns an error if the device can't be used, the memory doesn't suffice, or a rank doesn't
/// answer.
pub(super) fn measure(config: &Config, steps: u16, ranks: &Ranks) -> anyhow::Result<RanksResult> {
    job::check(config, ranks)?;
    let compute = ui::open_device(job::device(config.device, ranks)?)?;
    let mut learner = learner_of(config, &compute)?;
    let (batch_size, batches) = (config.train.batch_size, config.train.accumulate);
    let batch = synthetic(batch_size, learner.stepper.network_input.shape);
    let times = Times { ranks, steps };
    let seconds_per_batch =
        times.median(|index| step_and_wait(&mut learner, batch.clone(), [0, index]))?;
    say("measured a batch");
    let len = gradient_len(&learner);
    let own: Vec<_> = nodes(ranks.share(batches), batches)
        .into_iter()
        .map(|node| (node, vec![1e-3; len]))
        .collect();
    let seconds_per_exchange = times.median(|_| {
        ranks.sum(batches, &own, len)?;
        Ok(())
    })?;
    drop(own);
    say("measured an exchange");
    learner.stepper.ranks = ranks.clone();
    let seconds_per_step =
        times.median(|index| whole_step(&mut learner, &batch, batches, index))?;
    let exchange = if ranks.are_several() {
        seconds_per_exchange
    } else {
        0.0
    };
    let predicted = seconds_per_batch * batches.div_ceil(ranks.count()) as f64 + exchange;
    let alone = seconds_per_batch * batches as f64;
    Ok(RanksResult {
        ranks: ranks.count(),
        engine: ranks.engine().unwrap_or("none").to_owned(),
        batches_per_step: batches,
        batch_size,
        gradient_bytes: len * size_of::<f32>(),
        seconds_per_batch,
        seconds_per_exchange,
        seconds_per_step,
        predicted_seconds_per_step: predicted,
        speedup: alone / seconds_per_step,
        predicted_speedup: alone / predicted,
        device: compute.name,
        steps,
    })
}

/// Takes a step of so many batches, of which this rank computes its share, and waits for it.
fn whole_step(
    learner: &mut Learner,
    batch: &HostBatch,
    num_batches: usize,
    index: usize,
) -> anyhow::Result<()> {
    let share = learner.stepper.ranks.share(num_batches).len();
    let input = StepInput {
        batches: vec![batch.clone(); share],
        num_batches,
        num_images: num_batches * batch.len(),
        network_input: learner.stepper.network_input,
        epoch: 1,
        first_batch: index * num_batches,
        step: index,
        learning_rate: 1e-3,
    };
    for loss in learner.step(input)?.losses {
        read(loss)?;
    }
    Ok(())
}

/// Measures what all ranks do at once.
struct Times<'a> {
    ranks: &'a Ranks,
    steps: u16,
}

impl Times<'_> {
    /// Returns the median time of `work`, after two to warm up, of the rank that takes the longest.
    fn median(&self, mut work: impl FnMut(usize) -> anyhow::Result<()>) -> anyhow::Result<f64> {
        let mut times = Vec::new();
        for index in 0..usize::from(self.steps) + 2 {
            // All start at once.
            self.ranks.any(false)?;
            let start = Instant::now();
            work(index)?;
            times.push(start.elapsed().as_secs_f64());
        }
        let own = median(&times[2..]);
        let all = self.ranks.gather(&own.to_le_bytes())?;
        let all = all.iter().filter_map(|bytes| bytes.first_chunk().copied());
        Ok(all.map(f64::from_le_bytes).fold(own, f64::max))
    }
}

/// Returns the number of values in a gradient.
fn gradient_len(learner: &Learner) -> usize {
    let trained = params::trained(&learner.model, learner.stepper.frozen).into_iter();
    trained
        .filter(|param| param.requires_grad)
        .map(|param| param.dims.iter().product::<usize>())
        .sum()
}
