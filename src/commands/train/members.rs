//! Trains several networks as one run: each is a run of its own in a folder in that of the run, one
//! after the other, and all of them are resumed together.

use std::path::PathBuf;

use super::{
    Ended, begin,
    measure::{best_checkpoint, subject, validation, write},
    places::RunRecipe,
    train_session,
    words::summary_table,
};
use crate::{
    checkpoint::{self, CheckpointError, RunFolder, resolve_resumable},
    commands::{
        common::exit_status::ExitStatus,
        ui::{Terminal, say, signals::Signals},
    },
    config::Config,
    data::{TrainingData, duplicates::scan::Scan},
    evaluation::{Evaluation, predictor::Predictor},
    nn::device::Compute,
    train::Session,
};

/// The networks of a run, which are counted from 0 here.
pub(super) struct Members {
    pub(super) own: RunRecipe,
    /// The run that it is a part of, if there is one.
    pub(super) whole: Option<RunRecipe>,
    pub(super) members: Vec<Member>,
    pub(super) compute: Compute,
}

/// One network of a run.
pub(super) struct Member {
    /// Name of its folder.
    pub(super) folder: String,
    /// What messages call it.
    pub(super) title: String,
    pub(super) config: Config,
}

impl Members {
    /// Trains a network, unless it is trained already. Returns its best epoch, or the exit status
    /// if a signal stopped it or it has none.
    ///
    /// # Errors
    /// Returns an error if anything else ends the run.
    pub(super) fn train(
        &self,
        index: usize,
        data: &mut TrainingData,
        signals: &Signals,
    ) -> anyhow::Result<Result<usize, ExitStatus>> {
        let name = &self.members[index].title;
        let mut session = self.open(index, data)?;
        if index == 0 {
            // A resume with other data or a recipe that doesn't fit has ended by now.
            self.whole.iter().try_for_each(RunRecipe::write)?;
            self.own.write()?;
        }
        // What was seen of the images lies in the run folder now, and takes 4 KiB each.
        data.survey = Scan::default();
        let is_new = session.state.step == 0;
        if is_new && index == 0 {
            session.remarks.iter().for_each(|remark| say(remark));
            say(&summary_table(&session));
        }
        let whole = &self.whole.as_ref().unwrap_or(&self.own).path;
        let (training, held) = (data.train.images.len(), data.validation.images.len());
        let (epoch, batch) = (session.state.epoch, session.state.batch);
        say(&match session.finished() {
            Some(end) => format!("{name}: nothing to train, {end}"),
            None if is_new => format!("{name}: {training} training and {held} validation images"),
            None => format!("{name}: resuming after epoch {epoch}, batch {batch}"),
        });
        if session.finished().is_none()
            && let Ended::Stopped(status) = train_session(&mut session, whole, signals)?
        {
            return Ok(Err(status));
        }
        let Some((value, epoch)) = session.state.best.found else {
            say(&format!(
                "warning: {name}: no epoch had a usable metric, so there is no best one"
            ));
            return Ok(Err(ExitStatus::Partly));
        };
        let monitor = &self.own.config.train.checkpoint.monitor;
        say(&format!("{name}: best epoch {epoch}, {monitor} {value:.4}"));
        Ok(Ok(epoch))
    }

    /// Returns the session of a network, restored or new, which has begun in its folder.
    fn open(&self, index: usize, data: &mut TrainingData) -> anyhow::Result<Session> {
        let path = self.path(index);
        // The lock comes first, as that of any run that is resumed.
        let folder = path.is_dir().then(|| RunFolder::open(&path)).transpose()?;
        if let (Some(mut session), Some(folder)) = (self.restore(index, data)?, folder) {
            session.begin(folder, data)?;
            return Ok(session);
        }
        let config = self.members[index].config.clone();
        let mut session = Session::start(config, data, &self.compute.device)?;
        begin(&mut session, data, RunFolder::create(&path)?)?;
        Ok(session)
    }

    /// Restores the session of a network, or returns `None` if nothing of it was saved.
    ///
    /// # Errors
    /// Returns an error if what was saved can't be continued.
    pub(super) fn restore(
        &self,
        index: usize,
        data: &mut TrainingData,
    ) -> anyhow::Result<Option<Session>> {
        let path = self.path(index);
        let last = match resolve_resumable(&path) {
            Ok((last, _)) => last,
            Err(CheckpointError::Missing(_) | CheckpointError::Unstarted(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let saved = checkpoint::load_resumable(&last)?;
        saved.checkpoint.fetch_backbone(&Terminal)?;
        let config = self.members[index].config.clone();
        let places = [path.as_path(), &last];
        let session = Session::resume(config, data, places, &self.compute.device, saved)?;
        session.remarks.iter().for_each(|remark| say(remark));
        Ok(Some(session))
    }

    /// Returns the run folder of a network.
    pub(super) fn path(&self, index: usize) -> PathBuf {
        self.own.path.join(&self.members[index].folder)
    }

    /// Measures the best epoch of a network on its validation images, and writes the results into
    /// its run folder.
    ///
    /// # Errors
    /// Returns an error if an image can't be read, the device fails, or a file can't be written.
    pub(super) fn measure(
        &self,
        index: usize,
        data: &TrainingData,
        epoch: usize,
    ) -> anyhow::Result<Evaluation> {
        let folder = self.path(index);
        let checkpoint = best_checkpoint(&folder.join("best"), epoch)?;
        let predictor = Predictor::new(&checkpoint, &self.compute, &Terminal)?;
        let predictor = predictor.reading_as(&self.own.config);
        let evaluation = validation(&predictor, &data.validation, &folder)?;
        let of_network = std::slice::from_ref(&checkpoint);
        let subject = subject(&folder, (&evaluation, "val"), of_network, &self.compute);
        write(&subject, &folder)?;
        Ok(evaluation)
    }
}
