//! Trains the networks of a cross-validation: a run for each fold in the folder of the run, one
//! after the other; then measures each image by the network that held it back, and the test images
//! by all of them.

use std::path::{Path, PathBuf};

use super::{
    Args, fetch_weights,
    measure::{Results, subject, write},
    members::{Member, Members},
    places::{RunRecipe, check_recipe, new_folder},
    recipe::{config_of_run, tell_of_moves},
    words::{summary_table, warn},
};
use crate::{
    base::{io::files::write_atomic, names, usage::UsageError},
    checkpoint::{self, Checkpoint, Ensemble, Networks, RunFolder},
    commands::{
        common::{contact_sheet, exit_status::ExitStatus, inputs},
        ui::{self, say, signals::Signals},
    },
    config::Config,
    data::{TrainingData, table::to_csv},
    evaluation::{Evaluation, images::OUT_OF_FOLD},
    nn::device::Compute,
    train::Session,
};

/// Trains a recipe with folds into the run folder `out` or a new one.
///
/// # Errors
/// Returns an error if anything ends the run.
pub(super) fn start(
    config: Config,
    (out, is_dry): (Option<&Path>, bool),
    signals: &Signals,
) -> anyhow::Result<ExitStatus> {
    let prepared = Prepared::new(config)?;
    if is_dry {
        return prepared.dry_run();
    }
    let folder = new_folder(&prepared.config.name, out)?;
    prepared.train_and_present(folder, signals)
}

/// Resumes the run in the folder `path`, whose folds `ensemble` lists: finished folds stay as they
/// are, the one that was stopped goes on, and the others follow.
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
    let prepared = Prepared::read(config).inspect_err(tell_of_moves)?;
    if args.dry_run {
        return prepared.dry_resume(folder);
    }
    prepared.train_and_present(folder, signals)
}

/// A cross-validation whose images are read.
pub(super) struct Prepared {
    config: Config,
    folds: Vec<TrainingData>,
    compute: Compute,
}

/// How a cross-validation ended.
pub(super) enum Came {
    /// It is trained and measured.
    Measured(Box<Measured>),
    /// A signal stopped it, or a fold has no best epoch.
    Ended(ExitStatus),
}

/// A cross-validation that is trained and measured.
pub(super) struct Measured {
    pub(super) run: Run,
    /// The first fold, which has the same test images as the others.
    pub(super) data: TrainingData,
    /// The networks of the folds.
    pub(super) checkpoints: Vec<Checkpoint>,
    /// All images, each by the network that held it back.
    pub(super) evaluation: Evaluation,
}

impl Prepared {
    /// Reads the images of a new run.
    ///
    /// # Errors
    /// Returns an error if they can't be trained on, or the device can't be used.
    pub(super) fn new(config: Config) -> anyhow::Result<Self> {
        let prepared = Self::read(config)?;
        match &prepared.folds[0].without_effect {
            Some(words) => Err(UsageError(words.clone()).into()),
            None => Ok(prepared),
        }
    }

    /// Returns the seed of the run.
    pub(super) fn seed(&self) -> u64 {
        self.config.seed
    }

    /// Does the same as [`Self::new`] for an existing run, where a pattern may match nothing any
    /// more.
    pub(super) fn read(config: Config) -> anyhow::Result<Self> {
        let count = config.all_folds().expect("a recipe with folds");
        let folds = inputs::load_folds(&config, count)?;
        warn(&folds[0], &config);
        fetch_weights(&config)?;
        Ok(Self {
            compute: ui::open_device(config.device)?,
            config,
            folds,
        })
    }

    /// Shows what would be trained.
    pub(super) fn dry_run(&self) -> anyhow::Result<ExitStatus> {
        let config = self.config.of_fold(1);
        let session = Session::start(config, &self.folds[0], &self.compute.device)?;
        session.remarks.iter().for_each(|remark| say(remark));
        say(&summary_table(&session));
        say("A dry run: nothing was trained or written.");
        Ok(ExitStatus::Done)
    }

    /// Checks whether the run in `folder` can be resumed.
    fn dry_resume(self, folder: RunFolder) -> anyhow::Result<ExitStatus> {
        let (run, mut folds) = self.run(folder, None);
        for (index, data) in folds.iter_mut().enumerate() {
            run.members.restore(index, data)?;
        }
        say("A dry run: the run can be resumed.");
        Ok(ExitStatus::Done)
    }

    fn run(self, folder: RunFolder, whole: Option<RunRecipe>) -> (Run, Vec<TrainingData>) {
        let count = self.folds.len();
        let ensemble = Ensemble::of_folds(count);
        let member = |(index, folder): (usize, &String)| Member {
            folder: folder.clone(),
            title: format!("Fold {} of {count}", index + 1),
            config: self.config.of_fold(index + 1),
        };
        let members = Members {
            members: ensemble.members.iter().enumerate().map(member).collect(),
            own: RunRecipe {
                path: folder.path().to_owned(),
                config: self.config,
            },
            whole,
            compute: self.compute,
        };
        let run = Run {
            members,
            folder,
            ensemble,
        };
        (run, self.folds)
    }

    fn train_and_present(self, folder: RunFolder, signals: &Signals) -> anyhow::Result<ExitStatus> {
        say(&format!("Run folder: {}", names::of_path(folder.path())));
        match self.train(folder, None, signals)? {
            Came::Measured(found) => found.present(),
            Came::Ended(status) => Ok(status),
        }
    }

    /// Trains what isn't trained yet, then measures it on the images that were held back. `whole`
    /// is the run that it is a part of, if there is one.
    ///
    /// # Errors
    /// Returns an error if anything ends the run.
    pub(super) fn train(
        self,
        folder: RunFolder,
        whole: Option<RunRecipe>,
        signals: &Signals,
    ) -> anyhow::Result<Came> {
        let (run, mut folds) = self.run(folder, whole);
        run.begin(&folds[0])?;
        let mut epochs = Vec::new();
        for (index, data) in folds.iter_mut().enumerate() {
            match run.members.train(index, data, signals)? {
                Ok(epoch) => epochs.push(epoch),
                Err(status) => return Ok(Came::Ended(status)),
            }
        }
        run.measure(folds, &epochs)
    }
}

/// A run of several folds, which are counted from 0 here.
pub(super) struct Run {
    pub(super) members: Members,
    folder: RunFolder,
    ensemble: Ensemble,
}

impl Run {
    /// Writes the files that precede the first fold.
    fn begin(&self, first: &TrainingData) -> anyhow::Result<()> {
        let path = self.folder.path();
        if Ensemble::open(path)?.is_some() {
            return Ok(());
        }
        self.members.own.write()?;
        if !first.skipped.is_empty() {
            write_atomic(&path.join("skipped.csv"), &to_csv(&first.skipped))?;
        }
        if !first.damaged.is_empty() {
            write_atomic(&path.join("damaged.csv"), &to_csv(&first.damaged))?;
        }
        // From here on, the run can be resumed.
        self.ensemble.write(&self.folder)?;
        let first_member = &self.members.members[0].config;
        if first_member.augment.is_active() {
            let sample = contact_sheet::sample(first_member, first)?;
            write_atomic(&path.join("augmentation.png"), &sample)?;
        }
        Ok(())
    }

    /// Returns the run folder of a fold.
    pub(super) fn path(&self, index: usize) -> PathBuf {
        self.members.path(index)
    }

    /// Measures each fold, and all images by the networks that held them back.
    fn measure(self, mut folds: Vec<TrainingData>, epochs: &[usize]) -> anyhow::Result<Came> {
        let path = self.folder.path();
        let evaluations = folds
            .iter()
            .zip(epochs)
            .enumerate()
            .map(|(index, (data, epoch))| self.members.measure(index, data, *epoch))
            .collect::<anyhow::Result<Vec<Evaluation>>>()?;
        let networks = Networks::find(path)?;
        // Each was measured as its fold has it, without what was fitted to all of them.
        let metas = networks
            .paths
            .iter()
            .map(|path| checkpoint::read_meta(path));
        let metas = metas.collect::<Result<Vec<_>, _>>()?;
        let measured: Vec<_> = metas.iter().zip(evaluations).collect();
        let evaluation = Evaluation::out_of_fold(&measured);
        let checkpoints = networks.load()?;
        let subject = subject(
            path,
            (&evaluation, OUT_OF_FOLD),
            &checkpoints,
            &self.members.compute,
        );
        write(&subject, path)?;
        Ok(Came::Measured(Box::new(Measured {
            data: folds.swap_remove(0),
            checkpoints,
            evaluation,
            run: self,
        })))
    }
}

impl Measured {
    /// Measures the test images by all networks, and presents the results.
    fn present(self) -> anyhow::Result<ExitStatus> {
        let Self {
            run,
            data,
            checkpoints,
            evaluation,
        } = self;
        let results = Results {
            config: &run.members.own.config,
            path: &run.members.own.path,
            first: &run.path(0),
            compute: &run.members.compute,
            checkpoints: &checkpoints,
        };
        results.present(&evaluation, data)
    }
}
