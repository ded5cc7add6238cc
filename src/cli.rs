//! The command line: parses the subcommand, runs it, and turns its result into an exit code.

use std::{
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    base::{io::http::repeated_words, usage::UsageError},
    checkpoint::CheckpointError,
    commands::{
        augment, bench, calibrate,
        common::exit_status::ExitStatus,
        demo, devices, evaluate, explain, export, import, init, inspect, predict, preview, recipes,
        runs, serve,
        shards::{index, shard},
        shell::{completions, man},
        train, ui, weights,
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
    /// Train on synthetic images that the program draws: half a minute, and nothing to prepare
    Demo(demo::Args),
    /// Train by a recipe, or resume a run
    Train(train::Args),
    /// Measure a checkpoint on images whose class is known
    Evaluate(evaluate::Args),
    /// Fit calibrated probabilities, a threshold or prediction sets on a run's validation images
    Calibrate(calibrate::Args),
    /// Classify images
    Predict(predict::Args),
    /// Show where a network finds evidence for a class, and how far the maps can be trusted
    Explain(explain::Args),
    /// Write a trained network as a file for other programs
    Export(export::Args),
    /// Classify images over HTTP, with a page for the browser
    Serve(serve::Args),
    /// Compare runs: figures with intervals, and the options that differ
    Runs(runs::Args),
    /// Draw training images as the epochs will see them, in one PNG
    Preview(preview::Args),
    /// Write augmented images, and a CSV that trains on originals and copies
    Augment(augment::Args),
    /// List the devices of this machine, and whether they compute correctly
    Devices(devices::Args),
    /// List and download the published weights of pretrained networks
    Weights(weights::Args),
    /// Measure the speed of training steps and of the input pipeline
    Bench(bench::Args),
    /// Find copies, leaks, unreadable and unusual images, and wrong labels before training
    Inspect(inspect::Args),
    /// Write a recipe for a folder or list of images
    Init(init::Args),
    /// Find the images in shards (tar files) and their classes
    Index(index::Args),
    /// Pack images into shards (tar files) in shuffled order
    Shard(shard::Args),
    /// Turn a notebook or script for Keras or PyTorch into a recipe, and name what is wrong with it
    Import(import::Args),
    /// List the recipes that come with the program, or print one
    Recipes(recipes::Args),
    /// Print a script by which a shell completes the command line
    Completions(completions::Args),
    /// Print a man page
    Man(man::Args),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    ui::start_log();
    let result = match catch_unwind(AssertUnwindSafe(|| run(cli.command))) {
        Ok(result) => result,
        // Its message is printed. The other ranks would wait for this one.
        Err(_) if ui::is_in_job() => mpi_engine::abort(PANICKED),
        Err(panic) => resume_unwind(panic),
    };
    if let Some(words) = repeated_words() {
        ui::say(&format!("warning: {words}"));
    }
    match result {
        Ok(ExitStatus::Done) => ExitCode::SUCCESS,
        Ok(ExitStatus::Partly) => ExitCode::from(1),
        Ok(ExitStatus::Interrupted(code)) => ExitCode::from(code),
        Err(error) => {
            ui::print_error(&error);
            let code = if is_usage(&error) { 2 } else { 1 };
            if ui::is_in_job() {
                // The other ranks would wait for this one.
                mpi_engine::abort(code.into());
            }
            ExitCode::from(code)
        }
    }
}

/// Exit status of a program that panicked, as Rust has it.
const PANICKED: i32 = 101;

fn run(command: Command) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Train(args) => train::run(args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Runs(args) => runs::run(&args),
        Command::Preview(args) => preview::run(&args),
        Command::Augment(args) => augment::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Weights(args) => weights::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Index(args) => index::run(&args),
        Command::Shard(args) => shard::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Recipes(args) => recipes::run(&args),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command()),
    }
}

/// Returns `docs/commands.md`: each subcommand with its arguments and options.
pub fn reference_markdown() -> String {
    let mut program = Cli::command();
    program.build();
    let mut page = "# Commands\n\n\
                    `emberlens COMMAND --help` prints the same. Results go to stdout, progress and \
                    warnings to\nstderr. Exit codes: 0 done, 1 the run failed, 2 wrong usage or \
                    configuration, 128 + N stopped by\nsignal N, after saving where a run was \
                    trained (130: Ctrl-C, 143: SIGTERM). This page is\ngenerated from the source \
                    by `EMBERLENS_WRITE_DOCS=1 cargo test --release docs`.\n\n"
        .to_owned();
    write_commands(&mut page, &program);
    page
}

fn write_commands(page: &mut String, parent: &clap::Command) {
    for command in parent.get_subcommands() {
        if command.get_name() == "help" {
            continue;
        }
        let name = command.get_bin_name().unwrap_or(command.get_name());
        let about = command.get_about().map(ToString::to_string);
        let _ = write!(page, "## {name}\n\n{}.\n\n", about.unwrap_or_default());
        let arguments: Vec<_> = command
            .get_arguments()
            .filter(|argument| !argument.is_hide_set() && argument.get_id() != "help")
            .collect();
        if !arguments.is_empty() {
            let usage = command.clone().render_usage().to_string();
            let usage = usage.trim_start_matches("Usage: ");
            let _ = write!(page, "    {usage}\n\n| argument | meaning |\n|---|---|\n");
        }
        for argument in &arguments {
            let form = argument.to_string().replace('|', "\\|");
            let _ = writeln!(page, "| `{form}` | {} |", argument_words(argument));
        }
        if let Some(more) = command.get_after_help().filter(|_| !arguments.is_empty()) {
            let _ = write!(page, "\n{}", indented(&more.to_string()));
        }
        page.push_str(if arguments.is_empty() { "" } else { "\n" });
        write_commands(page, command);
    }
}

/// Returns what an argument means, with its values and its default.
fn argument_words(argument: &clap::Arg) -> String {
    let help = argument.get_help().map(ToString::to_string);
    let mut words = help.unwrap_or_default();
    for value in argument.get_possible_values() {
        let is_switch = ["true", "false"].contains(&value.get_name());
        if !value.is_hide_set() && !is_switch {
            let help = value.get_help().map(|help| format!(": {help}"));
            let _ = write!(
                words,
                "<br>`{}`{}",
                value.get_name(),
                help.unwrap_or_default()
            );
        }
    }
    if let [default] = argument.get_default_values() {
        let default = default.to_string_lossy();
        if default != "false" {
            let _ = write!(words, "<br>By default `{default}`");
        }
    }
    words.replace('|', "\\|")
}

/// Returns the lines of a text as a block that is shown as it is.
fn indented(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("    {line}\n")).collect();
    lines.concat()
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
                    | CheckpointError::Imported(_)
                    | CheckpointError::Several { .. }
            )
        });
    in_run
        || of_folder
        || error.is::<ConfigError>()
        || error.is::<UsageError>()
        || matches!(error.downcast_ref(), Some(FetchError::Other(_)))
}
