//! `emberlens init`: writes a recipe that trains on a folder or list of images.

mod draft;
mod found;
mod lists;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

pub use draft::{Download, Draft, Wishes};
pub(super) use lists::is_list;

use super::{common::folders, ui};
use crate::{
    base::{io::files::write_atomic, names, usage::UsageError},
    commands::common::exit_status::ExitStatus,
    config,
};

/// Arguments of `init`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A folder of class folders, a folder with train, val and test folders of class folders, or a
    /// CSV of paths and labels
    #[arg(value_name = "DIR|CSV")]
    source: PathBuf,
    /// The recipe to write, instead of NAME.toml for a folder NAME or a list NAME.csv
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Pretrained weights to start from, instead of the best ones in the cache folder and in the
    /// folder named by EMBERLENS_WEIGHTS
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Train a pretrained network and a small one from scratch for half a minute each, and choose
    /// the better one
    #[arg(long)]
    quick_trials: bool,
    /// Download pretrained weights without asking, if they suit the images and none are on this
    /// machine
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if there are no images, or if the recipe already exists.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let Draft {
        name,
        text,
        about,
        folders,
    } = Draft::of(
        &args.source,
        &Wishes {
            weights: args.weights.as_deref(),
            has_trials: args.quick_trials,
            download: Download::of(args.yes),
        },
    )?;
    if let Some(out) = &args.out {
        folders::refuse_inside(out, &folders, "--out")?;
    }
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{name}.toml")));
    if out.exists() {
        return Err(UsageError(format!(
            "{} already exists and is left as it is; choose another --out",
            names::of_path(&out)
        ))
        .into());
    }
    config::parse(&text, &out, &[]).context("the recipe would not be valid; please report this")?;
    write_atomic(&out, text.as_bytes())?;
    let out = names::of_path(&out);
    ui::print(&format!(
        "{about}\n{out}\nTrain with: emberlens train --config {out}\n"
    ))?;
    Ok(ExitStatus::Done)
}
