//! `emberlens bench`: seconds per training step, and images per second through the pipeline. The
//! figures depend on the machine and its load: compare them within one run, as ratios.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use clap::{Parser, Subcommand};
use serde::Serialize;

use super::ui::{self, say};
use crate::{
    base::{
        rng::{Purpose, normal, stream},
        stats::median,
    },
    commands::common::exit_status::ExitStatus,
    config::{self, Config, DeviceName},
    data::{
        batches::{batch::HostBatch, loader::Loader, order},
        load_for_training,
        store::Format,
    },
    nn::{
        baseline::BareLoop,
        cpu::backend::is_host,
        estimate::Estimate,
        infer::read,
        loss::LossFn,
        networks::{
            build,
            classifier::{Design, NetworkInput, Output},
        },
        optim::{Ema, OptimizerState},
    },
    report::text_table,
    train::{Learner, Session, StepInput, Stepper, check_memory},
};

/// Number of classes of the synthetic images of `bench step`.
const CLASSES: usize = 4;

/// Arguments of `bench`.
#[derive(Debug, Parser)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Seconds a training step on made-up images, beside the same network in a bare loop of the framework, with none of our kernels
    Step(Common),
    /// Images a second from disk and from the cache, augmented, and how long steps wait for them
    Pipeline(Common),
}

#[derive(Debug, Parser)]
struct Common {
    /// The recipe
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Change one value of the recipe
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// auto, gpu, gpu:N, cpu or ndarray, instead of the recipe's
    #[arg(long, value_name = "D")]
    device: Option<DeviceName>,
    /// Steps to measure, after two to warm up
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
    /// One JSON document on stdout instead of the table
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the configuration, data or device can't be used.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let common = match &args.what {
        What::Step(common) | What::Pipeline(common) => common,
    };
    let mut overrides = common.overrides.clone();
    overrides.extend(common.device.map(|device| format!("device={device}")));
    let config = config::load(&common.config, &overrides)?;
    match &args.what {
        What::Step(common) => step(&config, common),
        What::Pipeline(common) => pipeline(config, common),
    }
}

/// Result of `bench step`, as `--json` prints it.
#[derive(Serialize)]
struct StepResult {
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
    fn show(&self, json: bool) -> anyhow::Result<ExitStatus> {
        show(
            self,
            json,
            &[
                (
                    "Seconds a step".to_owned(),
                    format!("{:.4}", self.seconds_per_step),
                ),
                (
                    "Images a second".to_owned(),
                    format!("{:.1}", self.images_per_second),
                ),
                ("Batch size".to_owned(), self.batch_size.to_string()),
                (
                    "Peak memory".to_owned(),
                    self.peak_memory_mb
                        .map_or("not told by this system".to_owned(), |mb| {
                            format!("{mb:.0} MB")
                        }),
                ),
                (
                    "Memory estimated from the recipe".to_owned(),
                    format!("{:.0} MB", self.estimated_memory_mb),
                ),
                ("Device".to_owned(), self.device.clone()),
                (
                    "Burn alone, seconds a step".to_owned(),
                    format!("{:.4}", self.bare_seconds_per_step),
                ),
                (
                    "Ours to Burn alone".to_owned(),
                    format!("{:.2}", self.seconds_per_step / self.bare_seconds_per_step),
                ),
            ],
        )
    }
}

fn step(config: &Config, common: &Common) -> anyhow::Result<ExitStatus> {
    let compute = ui::open_device(config.device)?;
    let estimate = Estimate::of(config, CLASSES, config.train.batch_size);
    check_memory(&estimate, is_host(&compute.device))?;
    let [height, width, channels] = Format::of(&config.data).shape();
    let design = Design {
        model: config.model.clone(),
        input: [channels, height, width],
        num_classes: CLASSES,
        output: Output::Softmax,
    };
    let batch = synthetic(config.train.batch_size, design.input);
    let labels: Vec<i64> = (0..config.train.batch_size)
        .map(|index| (index % CLASSES) as i64)
        .collect();
    let stepper = Stepper {
        device: compute.device.clone().autodiff(),
        entrance: NetworkInput {
            shape: design.input,
            group: 0,
        },
        frozen: config.model.frozen_groups(config.phases()[0].freeze),
        layer_factor: 1.0,
        loss: LossFn {
            kind: crate::config::Loss::CrossEntropy,
            gamma: 0.0,
            label_smoothing: config.train.label_smoothing,
        },
        class_weights: vec![1.0; CLASSES],
        clip_norm: config.train.clip_norm,
        seed: config.seed,
    };
    let model = build(&design, config.seed, &stepper.device);
    let mut ours = Learner {
        ema: config
            .train
            .ema_decay
            .map(|decay| Ema::new(decay, &model, config.always_frozen())),
        model,
        optimizer: OptimizerState::new(&config.train.optimizer),
        stepper,
    };
    for index in 0..2 {
        step_and_wait(&mut ours, batch.clone(), [0, index])?;
    }
    // Measured before the bare loop allocates a second network.
    let peak_memory_mb = peak_memory_mb();
    let mut bare = BareLoop::new(&design, config.seed, &compute.device, ours.stepper.frozen);
    let (mut times, mut bare_times) = (Vec::new(), Vec::new());
    for index in 0..=usize::from(common.steps) {
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
    // The first step of the bare loop is a warm-up, so it is left out on both sides.
    let (times, bare_times) = (&times[1..], &bare_times[1..]);
    let seconds = median(times);
    let result = StepResult {
        seconds_per_step: seconds,
        images_per_second: batch.len() as f64 / seconds,
        batch_size: batch.len(),
        peak_memory_mb,
        estimated_memory_mb: estimate.total() / 1e6,
        device: compute.name,
        bare_seconds_per_step: median(bare_times),
        steps: common.steps,
    };
    result.show(common.json)
}

/// Takes one step on a batch of images and waits for it.
fn step_and_wait(learner: &mut Learner, batch: HostBatch, at: [usize; 2]) -> anyhow::Result<()> {
    let ([epoch, step], entrance) = (at, learner.stepper.entrance);
    let input = StepInput {
        batches: vec![batch],
        entrance,
        epoch,
        first_batch: step,
        step,
        learning_rate: 1e-3,
    };
    for loss in learner.step(input).losses {
        read(loss)?;
    }
    Ok(())
}

/// Returns a batch of normally distributed pixel values.
fn synthetic(count: usize, input: [usize; 3]) -> HostBatch {
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

/// Result of `bench pipeline`, as `--json` prints it.
#[derive(Serialize)]
struct PipelineResult {
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

fn pipeline(mut config: Config, common: &Common) -> anyhow::Result<ExitStatus> {
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
    let (waited, trained) = wait_of_steps(&mut session, usize::from(common.steps))?;
    let result = PipelineResult {
        images_per_second: by_workers[&workers],
        threads,
        workers,
        // Validation images are read too, though they aren't augmented.
        cold_images_per_second: (images + data.validation.images.len()) as f64
            / (read + first_epoch),
        data_wait_share: waited / trained,
        images,
        by_workers,
    };
    let mut rows = vec![(
        "Images a second, cached and augmented".to_owned(),
        format!("{:.0}", result.images_per_second),
    )];
    for (workers, rate) in &result.by_workers {
        let who = if *workers == 0 {
            "the calling thread alone".to_owned()
        } else {
            format!("{workers} workers")
        };
        rows.push((format!("- by {who}"), format!("{rate:.0}")));
    }
    rows.extend([
        (
            "Images a second, from files and augmented".to_owned(),
            format!("{:.0}", result.cold_images_per_second),
        ),
        ("Decoder threads".to_owned(), result.threads.to_string()),
        ("Loader workers".to_owned(), result.workers.to_string()),
        (
            "Share of training that waits for images".to_owned(),
            format!("{:.2} %", result.data_wait_share * 100.0),
        ),
        ("Training images".to_owned(), result.images.to_string()),
    ]);
    show(&result, common.json, &rows)
}

/// Number of epochs that a rate is the median of.
const EPOCHS: usize = 5;

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

/// Prints a result as JSON or as a table.
fn show(
    result: &impl Serialize,
    json: bool,
    rows: &[(String, String)],
) -> anyhow::Result<ExitStatus> {
    if json {
        ui::print(&(serde_json::to_string_pretty(result)? + "\n"))?;
    } else {
        let mut table = text_table::table(&["", ""]);
        rows.iter()
            .for_each(|(name, value)| _ = table.add_row([name, value]));
        text_table::align_right(&mut table, [1]);
        ui::print(&format!("{table}\n"))?;
    }
    Ok(ExitStatus::Done)
}

/// Returns the peak memory of the process in MiB.
#[cfg(unix)]
pub(super) fn peak_memory_mb() -> Option<f64> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).ok()?;
    // `ru_maxrss` is in KiB, on Apple's systems in bytes.
    let divisor = if cfg!(target_vendor = "apple") {
        1024.0 * 1024.0
    } else {
        1024.0
    };
    Some(usage.max_rss() as f64 / divisor)
}

#[cfg(not(unix))]
pub(super) fn peak_memory_mb() -> Option<f64> {
    None
}
