//! `emberlens import`: a notebook or script for Keras or PyTorch becomes a recipe, and what is
//! wrong with it is named; a classifier that Keras saved becomes a run folder.

mod model;
mod notebook;

use std::path::PathBuf;

use clap::Parser;

use crate::{
    base::{names, usage::UsageError},
    commands::common::exit_status::ExitStatus,
    import::Format,
};

/// Arguments of `import`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A notebook (.ipynb) or script (.py) that trains a network with Keras or PyTorch, or a model
    /// that Keras saved (.keras, .h5); nothing of it is run
    #[arg(value_name = "FILE")]
    source: PathBuf,
    /// The recipe to write, which is printed otherwise; or the run folder to write for a model
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Where the notebook's images are on this machine: the folder that its paths end in, or one
    /// above. For a model, a folder with a folder of images for each class, whose names it takes
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print recipe and findings of a notebook as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: model::ModelArgs,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the file can't be imported or the output exists.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let ending = args
        .source
        .extension()
        .map(|ending| names::of_os(ending).to_lowercase());
    match ending.as_deref() {
        Some("ipynb") => notebook::run(args, Format::Notebook),
        Some("py") => notebook::run(args, Format::Script),
        Some("keras" | "h5" | "hdf5") => model::run(args),
        _ => Err(UsageError(format!(
            "expected a notebook (.ipynb), a script (.py) or a saved model (.keras, .h5), found {}",
            names::of_path(&args.source)
        ))
        .into()),
    }
}
