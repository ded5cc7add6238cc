//! What a report is about.

use std::{collections::BTreeMap, path::Path};

use crate::{
    checkpoint::Checkpoint,
    data::table::{SplitRow, read_split},
    evaluation::Evaluation,
    nn::device::Compute,
    record::{history_csv, read_history},
    train::history,
};

/// Subject of a report.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The evaluation.
    pub evaluation: &'a Evaluation,
    /// The images: `test`, `val`, or the name of a folder.
    pub name: &'a str,
    /// The network.
    pub checkpoint: &'a Checkpoint,
    /// Its run, if it is known.
    pub run: Option<&'a Path>,
    /// The device.
    pub compute: &'a Compute,
}

impl Subject<'_> {
    /// Names the images in a sentence.
    pub(super) fn name_in_words(&self) -> &str {
        match self.name {
            "val" => "the validation split",
            "test" => "the test split",
            name => name,
        }
    }

    /// Returns the columns of the run's history, from its last checkpoint.
    pub(super) fn history(&self) -> BTreeMap<String, Vec<f64>> {
        let records = self.run.and_then(history).unwrap_or_default();
        read_history(&history_csv(&records, &self.checkpoint.meta.classes)).unwrap_or_default()
    }

    /// Returns the part of each image of the run, as far as it is known.
    pub(super) fn split(&self) -> Vec<SplitRow> {
        self.run
            .and_then(|run| read_split(&run.join("split.csv")).ok())
            .unwrap_or_default()
    }
}
