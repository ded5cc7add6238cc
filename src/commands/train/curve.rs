//! Trains the networks of a learning curve: a run for each fraction of the training images in the
//! folder of the run, the largest first; then measures all of them on the same validation images.

use std::path::Path;

use super::{
    Args, fetch_weights,
    members::{Member, Members},
    places::{RunRecipe, check_recipe, new_folder},
    recipe::{config_of_run, tell_of_moves},
    words::{summary_table, warn},
};
use crate::{
    base::{io::files::write_atomic, names, usage::UsageError, words::counted},
    checkpoint::{Ensemble, RunFolder},
    commands::{
        common::{contact_sheet, exit_status::ExitStatus, inputs},
        ui::{self, say, signals::Signals},
    },
    config::Config,
    data::TrainingData,
    evaluation::{LearningCurve, Trained},
    nn::device::Compute,
    train::Session,
};

/// Trains a recipe with a learning curve into the run folder `out` or a new one.
///
/// # Errors
/// Returns an error if anything ends the run.
pub(super) fn start(
    config: Config,
    (out, is_dry): (Option<&Path>, bool),
    signals: &Signals,
) -> anyhow::Result<ExitStatus> {
    let data = inputs::load(&config)?;
    let compute = prepare(&config, &data)?;
    if is_dry {
        let largest = *config
            .train
            .learning_curve
            .last()
            .expect("a checked recipe");
        let part = data.with_fraction(largest, config.seed);
        let session = Session::start(config.of_fraction(largest), &part, &compute.device)?;
        session.remarks.iter().for_each(|remark| say(remark));
        say(&summary_table(&session));
        say("A dry run: nothing was trained or written.");
        return Ok(ExitStatus::Done);
    }
    let folder = new_folder(&config.name, out)?;
    train(config, (data, compute), &folder, signals)
}

/// Resumes the run in the folder `path`, whose largest network `ensemble` names: finished networks
/// stay as they are, the one that was stopped goes on, and the others follow.
///
/// # Errors
/// Returns an error if anything ends the run.
pub(super) fn resume(
    args: &Args,
    (path, ensemble): (&Path, &Ensemble),
    signals: &Signals,
) -> anyhow::Result<ExitStatus> {
    // First of all: whoever trains the run may be changing it.
    let folder = RunFolder::open(path)?;
    let config = config_of_run(args, path)?;
    check_recipe(&config, path, ensemble)?;
    let data = inputs::read_data(&config).inspect_err(tell_of_moves)?;
    let compute = prepare(&config, &data)?;
    if args.dry_run {
        let members = members(config, compute, &folder);
        for (index, mut part) in parts(&members, &data).into_iter().enumerate() {
            members.restore(index, &mut part)?;
        }
        say("A dry run: the run can be resumed.");
        return Ok(ExitStatus::Done);
    }
    train(config, (data, compute), &folder, signals)
}

/// Reports what is wrong with the images, and opens the device.
fn prepare(config: &Config, data: &TrainingData) -> anyhow::Result<Compute> {
    warn(data, config);
    fetch_weights(config)?;
    Ok(ui::open_device(config.device)?)
}

/// Returns the networks of a run, the largest first: its folder stands for the whole run where one
/// network is wanted.
fn members(config: Config, compute: Compute, folder: &RunFolder) -> Members {
    let count = config.train.learning_curve.len();
    let member = |(index, fraction): (usize, &f64)| Member {
        folder: Ensemble::of_fraction(*fraction).members.swap_remove(0),
        title: format!("Network {} of {count}, fraction {fraction}", index + 1),
        config: config.of_fraction(*fraction),
    };
    Members {
        members: config
            .train
            .learning_curve
            .iter()
            .rev()
            .enumerate()
            .map(member)
            .collect(),
        own: RunRecipe {
            path: folder.path().to_owned(),
            config,
        },
        whole: None,
        compute,
    }
}

/// Returns the data of each network.
fn parts(members: &Members, data: &TrainingData) -> Vec<TrainingData> {
    let of = |member: &Member| {
        let fraction = member.config.train.fraction.expect("that of its fraction");
        data.with_fraction(fraction, member.config.seed)
    };
    members.members.iter().map(of).collect()
}

/// Trains what isn't trained yet, then measures all networks.
fn train(
    config: Config,
    (data, compute): (TrainingData, Compute),
    folder: &RunFolder,
    signals: &Signals,
) -> anyhow::Result<ExitStatus> {
    let members = members(config, compute, folder);
    let (own, path) = (&members.own, folder.path());
    let mut parts = parts(&members, &data);
    refuse_equal(&members, &parts)?;
    say(&format!("Run folder: {}", names::of_path(path)));
    if Ensemble::open(path)?.is_none() {
        own.write()?;
        let largest = &members.members[0];
        // From here on, the run can be resumed.
        Ensemble::of(vec![largest.folder.clone()]).write(folder)?;
        if largest.config.augment.is_active() {
            let sample = contact_sheet::sample(&largest.config, &data)?;
            write_atomic(&path.join("augmentation.png"), &sample)?;
        }
    }
    drop(data);
    let mut epochs = Vec::new();
    for (index, part) in parts.iter_mut().enumerate() {
        match members.train(index, part, signals)? {
            Ok(epoch) => epochs.push(epoch),
            Err(status) => return Ok(status),
        }
    }
    present(&members, &parts, &epochs)
}

/// Refuses fractions that have the same images, as small ones of few groups have: they would be two
/// points of the curve.
fn refuse_equal(members: &Members, parts: &[TrainingData]) -> Result<(), UsageError> {
    let fraction = |index: usize| members.members[index].config.train.fraction.unwrap_or(1.0);
    for (index, pair) in parts.windows(2).enumerate() {
        let [more, fewer] = [&pair[0], &pair[1]].map(|part| part.train.images.len());
        if more == fewer {
            return Err(UsageError(format!(
                "train.learning_curve: {} and {} take the same {}, as groups and copies stay \
                 together; leave one of them out",
                fraction(index + 1),
                fraction(index),
                counted(more, "image")
            )));
        }
    }
    Ok(())
}

/// Measures all networks and presents the curve.
fn present(
    members: &Members,
    parts: &[TrainingData],
    epochs: &[usize],
) -> anyhow::Result<ExitStatus> {
    let paths: Vec<_> = (0..parts.len()).map(|index| members.path(index)).collect();
    let network = |(index, (part, epoch)): (usize, (&TrainingData, &usize))| {
        anyhow::Ok(Trained {
            fraction: members.members[index].config.train.fraction.unwrap_or(1.0),
            training_images: part.train.images.len(),
            best_epoch: *epoch,
            path: &paths[index],
            evaluation: members.measure(index, part, *epoch)?,
        })
    };
    let networks = parts.iter().zip(epochs).enumerate().rev();
    let networks = networks.map(network).collect::<anyhow::Result<Vec<_>>>()?;
    let curve = LearningCurve::of(&networks)?;
    let own = &members.own;
    let page = curve.write(&own.path, &own.config.name, own.config.to_toml())?;
    ui::print(&curve.to_text())?;
    say(&format!("Report: {page}"));
    Ok(ExitStatus::Done)
}
