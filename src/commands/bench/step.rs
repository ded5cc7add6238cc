//! Measures the seconds of a training step on synthetic images, and of the same network in a plain
//! loop with Burn.

use std::time::Instant;

use serde::Serialize;

use crate::{
    base::{
        memory,
        rng::{Purpose, normal, stream},
        stats::median,
        usage::UsageError,
    },
    commands::ui::{self, say},
    config::{Config, DeviceName, Loss},
    data::{
        batches::{batch::HostBatch, order},
        store::Format,
    },
    nn::{
        baseline::BareLoop,
        cpu::backend::is_host,
        device::Compute,
        estimate::Estimate,
        infer::read,
        loss::LossFn,
        networks::{
            build,
            classifier::{Design, NetworkInput, Output},
        },
        optim::{Ema, OptimizerState},
    },
    ranks::Ranks,
    train::{Learner, StepInput, Stepper, check_memory},
};

/// Number of classes of the synthetic images.
const CLASSES: usize = 4;

/// Result of `bench step`, as `--json` prints it.
#[derive(Serialize)]
pub(super) struct StepResult {
    /// Median over the steps.
    seconds_per_step: f64,
    images_per_second: f64,
    batch_size: usize,
    /// Peak memory of the process before the bare loop starts; null if the system doesn't report
    /// it.
    peak_memory_mb: Option<f64>,
    /// Estimated memory of a run of the configuration, saving included, without images and program.
    estimated_memory_mb: f64,
    device: String,
    /// Median of forward, backward and Adam of the same network in a bare loop of Burn, with Burn's
    /// own convolutions. Steps of both alternate, so that load on the machine affects both.
    bare_seconds_per_step: f64,
    steps: u16,
}

impl StepResult {
    /// Returns the rows of the table.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let peak_memory = match self.peak_memory_mb {
            Some(mb) => format!("{mb:.0} MB"),
            None => "not reported by this system".to_owned(),
        };
        let bare = self.bare_seconds_per_step;
        [
            ("Seconds a step", format!("{:.4}", self.seconds_per_step)),
            ("Images a second", format!("{:.1}", self.images_per_second)),
            ("Batch size", self.batch_size.to_string()),
            ("Peak memory", peak_memory),
            (
                "Memory estimated from the recipe",
                format!("{:.0} MB", self.estimated_memory_mb),
            ),
            ("Device", self.device.clone()),
            ("Burn alone, seconds per step", format!("{bare:.4}")),
            (
                "Ratio to Burn alone",
                format!("{:.2}", self.seconds_per_step / bare),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// Measures `steps` steps of a configuration.
///
/// # Errors
/// Returns an error if the device can't be used or the memory doesn't suffice.
pub(super) fn measure(config: &Config, steps: u16) -> anyhow::Result<StepResult> {
    let compute = ui::open_device(config.device)?;
    let estimate = Estimate::of(config, CLASSES, config.train.batch_size);
    let mut ours = learner_of(config, &compute)?;
    let design = design(config);
    let [channels, height, width] = design.input;
    let batch = synthetic(config.train.batch_size, design.input);
    let labels: Vec<i64> = (0..config.train.batch_size)
        .map(|index| (index % CLASSES) as i64)
        .collect();
    for index in 0..2 {
        step_and_wait(&mut ours, batch.clone(), [0, index])?;
    }
    // Measured before the bare loop allocates a second network.
    let peak_memory_mb = peak_memory_mb();
    let mut bare = BareLoop::new(&design, config.seed, &compute.device, ours.stepper.frozen);
    let (mut times, mut bare_times) = (Vec::new(), Vec::new());
    for index in 0..=usize::from(steps) {
        let start = Instant::now();
        step_and_wait(&mut ours, batch.clone(), [0, index + 2])?;
        times.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        bare.step(
            batch.images.clone(),
            [batch.len(), channels, height, width],
            &labels,
        )?;
        bare_times.push(start.elapsed().as_secs_f64());
        say(&format!(
            "step {}: {:.4} s, Burn alone {:.4} s",
            index + 1,
            times[index],
            bare_times[index]
        ));
    }
    if config.device == DeviceName::Ndarray {
        say(
            "Burn alone is slower here than in a program of its own: burn-ndarray is built without \
             SIMD and for a short build (docs/benchmarks.md, Building)",
        );
    }
    // The first step of the bare loop is a warm-up, so it is left out on both sides.
    let (times, bare_times) = (&times[1..], &bare_times[1..]);
    let seconds = median(times);
    Ok(StepResult {
        seconds_per_step: seconds,
        images_per_second: batch.len() as f64 / seconds,
        batch_size: batch.len(),
        peak_memory_mb,
        estimated_memory_mb: estimate.total() / 1e6,
        device: compute.name,
        bare_seconds_per_step: median(bare_times),
        steps,
    })
}

/// Returns the network of a configuration for synthetic images.
fn design(config: &Config) -> Design {
    let [height, width, channels] = Format::of(&config.data).shape();
    Design {
        model: config.model.clone(),
        input: [channels, height, width],
        num_classes: CLASSES,
        output: Output::Softmax,
    }
}

/// Returns the network of a configuration with what trains it.
///
/// # Errors
/// Returns an error if the memory doesn't suffice.
pub(super) fn learner_of(config: &Config, compute: &Compute) -> anyhow::Result<Learner> {
    if config.model.architecture.is_autoencoder() {
        let message = "steps are measured on images with labels, and an autoencoder has no labels \
                       to step on; name a recipe with another model.architecture";
        return Err(UsageError(message.to_owned()).into());
    }
    let estimate = Estimate::of(config, CLASSES, config.train.batch_size);
    check_memory(&estimate, is_host(&compute.device))?;
    let design = design(config);
    let stepper = Stepper {
        device: compute.device.clone().autodiff(),
        network_input: NetworkInput {
            shape: design.input,
            group: 0,
        },
        frozen: config.model.frozen_groups(config.phases()[0].freeze),
        layer_factor: 1.0,
        loss: LossFn {
            kind: Loss::CrossEntropy,
            gamma: 0.0,
            label_smoothing: config.train.label_smoothing,
        },
        class_weights: vec![1.0; CLASSES],
        clip_norm: config.train.clip_norm,
        seed: config.seed,
        ranks: Ranks::Alone,
    };
    let model = build(&design, config.seed, &stepper.device);
    let ema = |decay| Ema::new(decay, &model, config.always_frozen());
    Ok(Learner {
        ema: config.train.ema_decay.map(ema),
        model,
        optimizer: OptimizerState::new(&config.train.optimizer),
        stepper,
    })
}

/// Takes one step on a batch of images and waits for it.
pub(super) fn step_and_wait(
    learner: &mut Learner,
    batch: HostBatch,
    at: [usize; 2],
) -> anyhow::Result<()> {
    let ([epoch, step], input) = (at, learner.stepper.network_input);
    let input = StepInput {
        num_batches: 1,
        num_images: batch.len(),
        batches: vec![batch],
        network_input: input,
        epoch,
        first_batch: step,
        step,
        learning_rate: 1e-3,
    };
    for loss in learner.step(input)?.losses {
        read(loss)?;
    }
    Ok(())
}

/// Returns a batch of normally distributed pixel values.
pub(super) fn synthetic(count: usize, input: [usize; 3]) -> HostBatch {
    let mut stream = stream(0, Purpose::Synthetic, [1, 0, 0]);
    let size: usize = input.iter().product();
    let mut targets = vec![0.0; count * CLASSES];
    (0..count).for_each(|index| targets[index * CLASSES + index % CLASSES] = 1.0);
    HostBatch {
        images: (0..count * size)
            .map(|_| normal(&mut stream) as f32)
            .collect(),
        targets,
        weights: vec![1.0; count],
        draws: order::in_order(count),
    }
}

/// Returns the peak memory of the process in MB, a million bytes each, as the estimate is.
fn peak_memory_mb() -> Option<f64> {
    memory::peak_bytes().map(|bytes| bytes as f64 / 1e6)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_in_millions_of_bytes() {
        let bytes = || memory::peak_bytes().expect("known") as f64;
        let (before, peak, after) = (bytes(), peak_memory_mb().expect("known"), bytes());
        assert!((before..=after).contains(&(peak * 1e6).round()), "{peak}");
    }
}
