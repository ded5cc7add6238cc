//! `emberlens export`: writes a trained network as a file for other programs.

use std::path::PathBuf;

use clap::Parser;

use super::{
    common::folders,
    ui::{Terminal, say},
};
use crate::{
    base::{io::files::write_atomic, names, usage::UsageError},
    checkpoint::{self, CheckpointError, RunFolder},
    commands::common::exit_status::ExitStatus,
    config::DeviceName,
    evaluation::images::run_of,
    export::{Preprocess, onnx},
    nn::device,
};

/// Arguments of `export`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A run folder (its best epoch), or one checkpoint in it
    run: PathBuf,
    /// Write an ONNX model, from the image to the probabilities
    #[arg(long, value_name = "FILE")]
    onnx: PathBuf,
    /// How much of the preprocessing is inside the model
    #[arg(long, value_enum, default_value = "exact")]
    preprocess: Preprocess,
    /// Store kernels and matrices as float16, in half the space; all is computed in float32
    #[arg(long)]
    half: bool,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the file exists or lies among the run's images, the checkpoint can't be
/// used, or a process still trains the run.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let out = &args.onnx;
    if out.exists() {
        return Err(UsageError(format!(
            "the file already exists; choose another --onnx: {}",
            names::of_path(out)
        ))
        .into());
    }
    let path = checkpoint::resolve(&args.run, "best")?;
    let run = run_of(&path);
    folders::refuse_inside(out, &folders::of_run(run), "--onnx")?;
    // A better epoch may follow. Nothing is written into the run, so that one which can't be locked
    // is exported.
    let lock = run.map(RunFolder::open);
    if let Some(Err(held @ CheckpointError::Held { .. })) = lock {
        return Err(held.into());
    }
    let checkpoint = checkpoint::load(&path)?;
    checkpoint.fetch_backbone(&Terminal)?;
    let model = checkpoint.network(&device::open(DeviceName::Cpu)?.device)?;
    let file = onnx(&checkpoint, &model, args.preprocess, args.half)?;
    write_atomic(out, &file)?;
    say(&format!(
        "ONNX model, {:.1} MB: {}",
        file.len() as f64 / 1e6,
        names::of_path(out)
    ));
    Ok(ExitStatus::Done)
}
