//! The command line: parses the subcommand, runs it, and turns its result into an exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    base::usage::UsageError,
    checkpoint::CheckpointError,
    commands::{
        augment, bench, calibrate, common::exit_status::ExitStatus, devices, evaluate, explain,
        init, inspect, predict, preview, train, ui, weights,
    },
    config::ConfigError,
    nn::pretrained::FetchError,
    train::TrainError,
};

/// Train an image classifier from a folder of images.
#[derive(Debug, Parser)]
#[command(
    name = "emberlens",
    version,
    about,
    after_help = "Results go to stdout, progress and warnings to stderr.\n\
                  Exit: 0 done, 1 the run failed, 2 wrong usage or configuration, 128 + N stopped \
                  by signal N, after saving where a run was trained (130: Ctrl-C, 143: SIGTERM)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train from a recipe, or go on with a run
    Train(train::Args),
    /// Measure a checkpoint on images whose class is known
    Evaluate(evaluate::Args),
    /// Fit, on the images that a run held back, how far to believe its probabilities and how sure
    /// is sure enough
    Calibrate(calibrate::Args),
    /// Tell the class of images
    Predict(predict::Args),
    /// Show where a network looks: maps of the evidence for a class, and how far they can be
    /// trusted
    Explain(explain::Args),
    /// Show training images as the epochs will see them, on one PNG
    Preview(preview::Args),
    /// Write augmented images, and a CSV that trains on old and new ones
    Augment(augment::Args),
    /// List what can be computed on here, and whether it computes right
    Devices(devices::Args),
    /// List and download the published weights of pretrained networks
    Weights(weights::Args),
    /// Measure how fast a recipe runs here
    Bench(bench::Args),
    /// Look before you train: copies, leaks, broken and odd images, what gives the class away
    Inspect(inspect::Args),
    /// Write a recipe for a folder or list of images
    Init(init::Args),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    ui::start_log();
    let result = match cli.command {
        Command::Train(args) => train::run(args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Preview(args) => preview::run(&args),
        Command::Augment(args) => augment::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Weights(args) => weights::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Init(args) => init::run(&args),
    };
    match result {
        Ok(ExitStatus::Done) => ExitCode::SUCCESS,
        Ok(ExitStatus::Partly) => ExitCode::from(1),
        Ok(ExitStatus::Interrupted(code)) => ExitCode::from(code),
        Err(error) => {
            ui::print_error(&error);
            ExitCode::from(if is_usage(&error) { 2 } else { 1 })
        }
    }
}

/// Returns whether the error is in what the user wrote.
fn is_usage(error: &anyhow::Error) -> bool {
    let in_run = error.downcast_ref::<TrainError>().is_some_and(|error| {
        matches!(
            error,
            TrainError::Changed { .. }
                | TrainError::Class { .. }
                | TrainError::Unmeasured { .. }
                | TrainError::Memory { .. }
                | TrainError::Binary(_)
                | TrainError::Config(_)
        )
    });
    let of_folder = error
        .downcast_ref::<CheckpointError>()
        .is_some_and(|error| {
            matches!(
                error,
                CheckpointError::Occupied(_)
                    | CheckpointError::Held { .. }
                    | CheckpointError::Unstarted(_)
            )
        });
    in_run
        || of_folder
        || error.is::<ConfigError>()
        || error.is::<UsageError>()
        || matches!(error.downcast_ref(), Some(FetchError::Other(_)))
}
