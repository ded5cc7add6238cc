//! Repeats a cross-validation with other seeds, each in a folder of its own in that of the run, to
//! tell how much the seed matters.

use std::path::Path;

use super::{
    Args,
    folds::{Came, Measured, Prepared},
    measure::Results,
    places::{RunRecipe, check_recipe, new_folder},
    recipe::{config_of_run, tell_of_moves},
};
use crate::{
    base::names,
    checkpoint::{Ensemble, Networks, RunFolder},
    commands::{
        common::exit_status::ExitStatus,
        ui::{say, signals::Signals},
    },
    config::Config,
    evaluation::Evaluation,
};

/// Trains a recipe with repeats into the run folder `out` or a new one.
///
/// # Errors
/// Returns an error if anything ends the run.
pub(super) fn start(
    config: Config,
    count: usize,
    (out, is_dry): (Option<&Path>, bool),
    signals: &Signals,
) -> anyhow::Result<ExitStatus> {
    // What can't be trained on leaves no folder.
    let first = Prepared::new(config.of_repeat(1))?;
    if is_dry {
        return first.dry_run();
    }
    let folder = new_folder(&config.name, out)?;
    let whole = RunRecipe {
        path: folder.path().to_owned(),
        config,
    };
    whole.write()?;
    Ensemble::of_repeats(count).write(&folder)?;
    train(&whole, count, first, signals)
}

/// Resumes the run in the folder `path`, whose repeats `ensemble` lists.
///
/// # Errors
/// Returns an error if anything ends the run.
pub(super) fn resume(
    args: &Args,
    (path, ensemble): (&Path, &Ensemble),
    signals: &Signals,
) -> anyhow::Result<ExitStatus> {
    let folder = RunFolder::open(path)?;
    let config = config_of_run(args, path)?;
    check_recipe(&config, path, ensemble)?;
    let first = Prepared::read(config.of_repeat(1)).inspect_err(tell_of_moves)?;
    if args.dry_run {
        say("A dry run: the run can be resumed.");
        return Ok(ExitStatus::Done);
    }
    let whole = RunRecipe {
        path: folder.path().to_owned(),
        config,
    };
    train(&whole, ensemble.members.len(), first, signals)
}

/// Trains what isn't trained yet, then measures all repeats together.
fn train(
    whole: &RunRecipe,
    count: usize,
    first: Prepared,
    signals: &Signals,
) -> anyhow::Result<ExitStatus> {
    let (path, config) = (whole.path.as_path(), &whole.config);
    say(&format!("Run folder: {}", names::of_path(path)));
    let mut first = Some(first);
    let (mut evaluations, mut of_first) = (Vec::new(), None);
    for (index, place) in Ensemble::of_repeats(count).runs(path).iter().enumerate() {
        let prepared = match first.take() {
            Some(first) => first,
            None => Prepared::read(config.of_repeat(index + 1))?,
        };
        let seed = prepared.seed();
        say(&format!("Repeat {} of {count}: seed {seed}", index + 1));
        let inner = match Ensemble::open(place)? {
            Some(_) => RunFolder::open(place)?,
            None => RunFolder::create(place)?,
        };
        match prepared.train(inner, Some(whole.clone()), signals)? {
            Came::Measured(measured) => {
                let Measured {
                    run,
                    data,
                    evaluation,
                    ..
                } = *measured;
                evaluations.push((seed, evaluation));
                of_first.get_or_insert((run, data));
            }
            Came::Ended(status) => return Ok(status),
        }
    }
    let (run, data) = of_first.expect("a checked recipe has two repeats or more");
    let checkpoints = Networks::find(path)?.load()?;
    let results = Results {
        config,
        path,
        first: &run.path(0),
        compute: &run.members.compute,
        checkpoints: &checkpoints,
    };
    results.present(
        &Evaluation::averaged(&checkpoints[0].meta, &evaluations),
        data,
    )
}
