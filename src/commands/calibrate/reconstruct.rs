//! Fits a rate of false alarms to an autoencoder.

use std::path::Path;

use anyhow::bail;

use super::{Args, Share, fits::too_few, kept_words, read};
use crate::{
    base::{names, usage::UsageError},
    checkpoint::{self, Checkpoint, Meta, RunFolder},
    commands::{
        common::exit_status::ExitStatus,
        ui::{self, Terminal, say},
    },
    evaluation::{
        images::{SplitName, from_split},
        predictor::Predictor,
    },
    metrics::Reconstruction,
};

/// Fits the error above which images are unlike those that an autoencoder was trained on.
pub(super) fn fit(
    args: &Args,
    folder: &RunFolder,
    (checkpoint, path): (&Checkpoint, &Path),
    run: &Path,
) -> anyhow::Result<ExitStatus> {
    let others = args.temperature || args.sensitivity.is_some() || args.coverage.is_some();
    let Some(Share(rate)) = args.novelty.filter(|_| !others) else {
        return Err(UsageError(format!(
            "found an autoencoder, for which a rate of false alarms is fitted and nothing else: \
             emberlens calibrate {} --novelty 0.05",
            names::of_path(run)
        ))
        .into());
    };
    checkpoint::check_run(checkpoint.meta.run.as_ref(), path)?;
    let images = from_split(SplitName::Val, run, &Terminal)?;
    let compute = ui::open_device(args.device)?;
    let predictor = Predictor::new(checkpoint, &compute, &Terminal)?;
    let set = read(&images, &predictor)?;
    let errors = predictor.predict(&set)?.losses;
    let Some(fitted) = Reconstruction::fit(rate, &errors) else {
        bail!("{}", too_few(errors.len(), rate));
    };
    let meta = Meta {
        reconstruction: Some(fitted.clone()),
        ..checkpoint.meta.clone()
    };
    checkpoint::save_meta(folder, path, &meta)?;
    ui::print(&if args.json {
        serde_json::to_string_pretty(&fitted)? + "\n"
    } else {
        format!(
            "Unlike the training images from an error above {:.6}: at most {rate} of new images \
             like the {} that it was fitted on.\n",
            fitted.error, fitted.fitted_on
        )
    })?;
    say(&kept_words(path));
    Ok(ExitStatus::Done)
}
