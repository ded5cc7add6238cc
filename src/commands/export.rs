//! `emberlens export`: writes a trained network as a file for other programs.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Parser};

use super::{
    common::folders,
    ui::{Terminal, say},
};
use crate::{
    base::{io::files::write_atomic, names, usage::UsageError},
    checkpoint::{Checkpoint, Networks},
    commands::common::exit_status::ExitStatus,
    config::DeviceName,
    evaluation::{place::summary, predictor::Predictor},
    export::{Preprocess, onnx, page, pytorch},
    nn::device,
};

/// The options that write a file, of which one at least is needed.
const FORMS: [&str; 3] = ["onnx", "page", "pytorch"];

/// Arguments of `export`.
#[derive(Debug, Parser)]
#[command(group(ArgGroup::new("form").args(FORMS).required(true).multiple(true)))]
pub struct Args {
    /// A run folder (its best epoch; of several folds, the mean of their probabilities), or one
    /// checkpoint in it
    run: PathBuf,
    /// Write an ONNX model, from the image to the probabilities
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// How much of the preprocessing is inside the ONNX model [default: exact]
    #[arg(long, value_enum, requires = "onnx")]
    preprocess: Option<Preprocess>,
    /// Store kernels and matrices of the ONNX model as float16, in half the space; all is computed
    /// in float32
    #[arg(long, requires = "onnx")]
    half: bool,
    /// Write a page that classifies images in a browser, on its own and without a network
    #[arg(long, value_name = "FILE.html")]
    page: Option<PathBuf>,
    /// Store the weights of the page as float32, in twice the space, instead of in 16 bits
    #[arg(long, requires = "page")]
    float32: bool,
    /// Write a Python file with the network as a PyTorch module, which loads the run's weights
    #[arg(long, value_name = "FILE.py")]
    pytorch: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if a file exists or lies among the run's images, the checkpoint can't be used,
/// or a process still trains the run.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let networks = Networks::find(&args.run)?;
    let run = networks.run();
    for (option, out) in [
        ("--onnx", &args.onnx),
        ("--page", &args.page),
        ("--pytorch", &args.pytorch),
    ] {
        out.as_ref()
            .map_or(Ok(()), |out| refuse(out, run, option))?;
    }
    // A better epoch may follow.
    let _lock = networks.hold()?;
    let checkpoints = networks.load_classifiers()?;
    if let Some(out) = &args.pytorch {
        write_atomic(out, python(&networks, &checkpoints)?.as_bytes())?;
        say(&format!("PyTorch module: {}", names::of_path(out)));
    }
    if args.onnx.is_none() && args.page.is_none() {
        return Ok(ExitStatus::Done);
    }
    let compute = device::open(DeviceName::Cpu)?;
    let models = Predictor::of_all(&checkpoints, &compute, &Terminal)?.models;
    if let Some(out) = &args.onnx {
        let form = args.preprocess.unwrap_or(Preprocess::Exact);
        let file = onnx(&checkpoints, &models, form, args.half)?;
        write("ONNX model", out, &file)?;
    }
    if let Some(out) = &args.page {
        let caveats = run.map_or_else(Vec::new, |run| summary(run, &networks.paths[0]));
        let file = page(&checkpoints, &models, !args.float32, &caveats)?;
        write("Page", out, file.as_bytes())?;
    }
    Ok(ExitStatus::Done)
}

/// Returns the Python file of networks.
fn python(networks: &Networks, checkpoints: &[Checkpoint]) -> Result<String, UsageError> {
    let place = |path: &PathBuf| match checkpoints.len() {
        1 => String::new(),
        _ => {
            let inner = path.strip_prefix(&networks.folder).unwrap_or(path);
            format!("{}/", inner.display())
        }
    };
    let places: Vec<String> = networks.paths.iter().map(place).collect();
    let each: Vec<_> = places.iter().map(String::as_str).zip(checkpoints).collect();
    pytorch(&each).ok_or_else(|| {
        UsageError(format!(
            "the checkpoint contains no frozen layers (train.checkpoint.include_backbone = \
             false), which a Python file would load; --onnx includes them: {}",
            names::of_path(&networks.paths[0])
        ))
    })
}

/// Writes a file, and says what it is.
fn write(what: &str, out: &Path, file: &[u8]) -> anyhow::Result<()> {
    write_atomic(out, file)?;
    let megabytes = file.len() as f64 / 1e6;
    say(&format!(
        "{what}, {megabytes:.1} MB: {}",
        names::of_path(out)
    ));
    Ok(())
}

/// Refuses a file that exists, or that lies among the images of the run.
fn refuse(out: &Path, run: Option<&Path>, option: &str) -> Result<(), UsageError> {
    if out.exists() {
        return Err(UsageError(format!(
            "the file already exists; choose another {option}: {}",
            names::of_path(out)
        )));
    }
    folders::refuse_inside(out, &folders::of_run(run), option)
}
