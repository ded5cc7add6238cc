//! What a report is about.

use std::{collections::BTreeMap, path::Path};

use crate::{
    checkpoint::Checkpoint,
    data::table::{SplitRow, read_split},
    evaluation::{Evaluation, images::OUT_OF_FOLD},
    nn::device::Compute,
    record::{history_csv, read_history},
    train::history,
};

/// Subject of a report.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The evaluation.
    pub evaluation: &'a Evaluation,
    /// The images: `test`, `val`, [`OUT_OF_FOLD`], or the name of a folder.
    pub name: &'a str,
    /// The network, or the networks of several folds; one or more.
    pub checkpoints: &'a [Checkpoint],
    /// Its run, if it is known.
    pub run: Option<&'a Path>,
    /// The device.
    pub compute: &'a Compute,
}

impl Subject<'_> {
    /// Returns the network; of several, the first.
    pub(super) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoints[0]
    }

    /// Returns for each image the index of the network that it is shown with: that of its fold, of
    /// the first seed if there are several. `None` if all networks classified the images together.
    pub(super) fn of_image(&self) -> Option<&[usize]> {
        let Evaluation { folds, repeats, .. } = self.evaluation;
        let of_image = folds.as_ref().map(|folds| &folds.of_image[..]);
        of_image.or(repeats.as_ref().map(|repeats| &repeats.of_image[..]))
    }

    /// Names the images in a sentence.
    pub(super) fn name_in_words(&self) -> &str {
        match self.name {
            "val" => "the validation split",
            "test" => "the test split",
            OUT_OF_FOLD => "all folds",
            name => name,
        }
    }

    /// Returns the columns of the run's history, from its last checkpoint.
    pub(super) fn history(&self) -> BTreeMap<String, Vec<f64>> {
        let records = self.run.and_then(history).unwrap_or_default();
        read_history(&history_csv(&records, &self.checkpoint().meta.classes)).unwrap_or_default()
    }

    /// Returns the part of each image of the run, as far as it is known.
    pub(super) fn split(&self) -> Vec<SplitRow> {
        self.run
            .and_then(|run| read_split(&run.join("split.csv")).ok())
            .unwrap_or_default()
    }
}
