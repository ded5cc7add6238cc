//! `emberlens demo`: trains the recipe `phantom`, which needs no file and no network.

use std::path::{Path, PathBuf};

use clap::Parser;

use super::{train, ui::say};
use crate::{
    commands::common::exit_status::ExitStatus,
    config::{self, PHANTOM_RECIPE},
};

/// Arguments of `demo`.
#[derive(Debug, Parser)]
pub struct Args {
    /// The run folder, instead of checkpoints/phantom
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Change one value of the recipe, as in --set train.epochs=5
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if anything ends the run.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let origin = Path::new("the recipe phantom");
    let config = config::parse(PHANTOM_RECIPE.text, origin, &args.overrides)?;
    let status = train::run_recipe(config, args.out.as_deref())?;
    if status == ExitStatus::Done {
        say("Next, your own images, in a folder for each class: emberlens train IMAGES");
    }
    Ok(status)
}
