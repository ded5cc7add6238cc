//! Compares first recipes by short trainings on the images themselves.

use std::{path::Path, sync::atomic::AtomicBool};

use super::inputs;
use crate::{
    checkpoint::RunFolder,
    commands::ui::{self, say},
    config,
    record::EpochRecord,
    train::{Observer, Session, fit},
};

/// How long each recipe is tried.
const TIME: &str = "30s";

/// Trains each recipe, given by a name for messages and its text, for half a minute and returns the
/// index of the one with the best validation result. Nothing of the trainings is kept.
///
/// # Errors
/// Returns an error if a recipe can't be trained.
pub(in crate::commands) fn best(recipes: &[(String, String)]) -> anyhow::Result<usize> {
    let results = recipes
        .iter()
        .map(|(_, text)| result(text))
        .collect::<anyhow::Result<Vec<f64>>>()?;
    let best = (0..results.len())
        .max_by(|a, b| results[*a].total_cmp(&results[*b]))
        .unwrap_or(0);
    let words: Vec<_> = recipes
        .iter()
        .zip(&results)
        .map(|((name, _), result)| format!("{name} {result:.3}"))
        .collect();
    say(&format!(
        "Tried for {TIME} each, best validation result: {}. Taken: {}",
        words.join(", "),
        recipes[best].0
    ));
    Ok(best)
}

fn result(text: &str) -> anyhow::Result<f64> {
    let overrides = [format!("train.max_time={TIME}")];
    let config = config::parse(text, Path::new("the recipe of a trial"), &overrides)?;
    let data = inputs::read_data(&config)?;
    let compute = ui::open_device(config.device)?;
    let mut session = Session::start(config, &data, &compute.device)?;
    let folder = tempfile::tempdir()?;
    session.begin(RunFolder::create(&folder.path().join("trial"))?, &data)?;
    fit(&mut session, &Silent, &AtomicBool::new(false))?;
    Ok(session.state.best.found.map_or(0.0, |(value, _)| value))
}

/// Shows nothing of a training.
struct Silent;

impl Observer for Silent {
    fn epoch_started(&self, _: usize, _: usize, _: usize) {}
    fn trained(&self, _: usize, _: f64, _: f64) {}
    fn computed_features(&self, _: usize, _: usize) {}
    fn validated(&self, _: usize) {}
    fn epoch_ended(&self, _: &EpochRecord) {}
    fn say(&self, _: &str) {}
}
