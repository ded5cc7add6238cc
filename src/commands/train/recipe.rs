//! The recipe of a run: the one that the arguments name, one drafted for images, or the run's own.

use std::path::{Path, PathBuf};

use super::Args;
use crate::{
    base::{names, usage::UsageError},
    checkpoint::Ensemble,
    commands::{
        init::{Download, Draft, Wishes, is_list},
        ui::say,
    },
    config::{self, Config},
    ranks::Ranks,
};

/// Returns the recipe that the arguments name, or that is drafted for the images they name.
pub(super) fn config_of(args: &Args, ranks: &Ranks) -> anyhow::Result<Config> {
    let path = args
        .config
        .as_deref()
        .or(args.source.as_deref())
        .expect("clap asks for one of them where there is no --resume");
    match &args.source {
        Some(images) if images.is_dir() || is_list(images) => recipe_for(images, args, ranks),
        _ if args.weights.is_some() || args.quick_trials || args.yes => Err(UsageError(format!(
            "{} is no folder, CSV or tar file of images, whose recipe --weights, --quick-trials \
             and --yes would help to choose; a recipe has model.weights",
            names::of_path(path)
        ))
        .into()),
        Some(nothing) if !nothing.exists() => Err(UsageError(format!(
            "found no such file, expected a recipe, or a folder, CSV or tar file of images: {}",
            names::of_path(nothing)
        ))
        .into()),
        _ => Ok(config::load(path, &args.overrides)?),
    }
}

/// Returns the recipe that `init` would write for a folder or list of images. It is kept in the run
/// folder.
fn recipe_for(folder: &Path, args: &Args, ranks: &Ranks) -> anyhow::Result<Config> {
    let is_run = ["last", "best"]
        .iter()
        .any(|name| folder.join(name).join("meta.json").is_file());
    if is_run || Ensemble::open(folder)?.is_some() {
        let message = format!(
            "{0} is a run, not a folder of images; to resume it: emberlens train --resume {0}",
            names::of_path(folder)
        );
        return Err(UsageError(message).into());
    }
    let download = if args.dry_run {
        Download::Never
    } else {
        Download::of(args.yes)
    };
    // Of several ranks, the first drafts it, and may ask its user.
    let text = ranks.told_by_first(|| {
        let draft = Draft::of(
            folder,
            &Wishes {
                weights: args.weights.as_deref(),
                has_trials: args.quick_trials,
                download,
            },
        )?;
        say(&draft.about);
        anyhow::Ok(draft.text.into_bytes())
    })?;
    let text = String::from_utf8(text)?;
    let origin = PathBuf::from(format!("the recipe for {}", names::of_path(folder)));
    Ok(config::parse(&text, &origin, &args.overrides)?)
}

/// Returns the recipe to resume a run with: its own unless the arguments name one.
pub(super) fn config_of_run(args: &Args, run: &Path) -> anyhow::Result<Config> {
    let own = run.join("config.toml");
    let recipe = args.config.as_deref().unwrap_or(&own);
    Ok(config::load(recipe, &args.overrides)?)
}

pub(super) fn tell_of_moves(_: &anyhow::Error) {
    say("If the images have moved, name the new folder: --set data.train=FOLDER");
}
