//! Predictions of each image as files: `predictions.csv`, and logits for other programs.

use super::Evaluation;
use crate::{
    base::{
        io::raw_file::{Raw, RawFile},
        names::{of_path, of_text},
    },
    metrics::{argmax, most},
    record::LISTED_CLASSES,
};

/// Number of most probable classes that are written if not all are.
const FIRST: usize = 5;

impl Evaluation {
    /// Returns the content of `predictions.csv`: path, label, predicted class, the fold if there
    /// are several, and the probability of each class under its name. Above [`LISTED_CLASSES`],
    /// the five most probable classes take the place of the probabilities, as in `predict --format
    /// csv --top-k 5`.
    ///
    /// # Errors
    /// Never fails in practice: rows are written to memory.
    pub(super) fn predictions_csv(&self) -> anyhow::Result<Vec<u8>> {
        let is_whole = self.classes.len() <= LISTED_CLASSES;
        let name = |class: usize| of_text(&self.classes[class]);
        let mut writer = csv::Writer::from_writer(Vec::new());
        let head = ["path", "label", "predicted"]
            .map(str::to_owned)
            .into_iter();
        let columns: Vec<String> = match is_whole {
            true => (0..self.classes.len()).map(name).collect(),
            false => std::iter::once("probability".to_owned())
                .chain(
                    (2..=FIRST)
                        .flat_map(|rank| [format!("label_{rank}"), format!("probability_{rank}")]),
                )
                .collect(),
        };
        let folds = self.folds.as_ref().map(|folds| &folds.of_image);
        let fold_column = folds.map(|_| "fold".to_owned());
        writer.write_record(head.chain(fold_column).chain(columns))?;
        let rows = self.set.images.iter().zip(&self.probabilities);
        for (index, (image, row)) in rows.enumerate() {
            let path = of_path(&image.path);
            let fold = folds.map(|folds| (folds[index] + 1).to_string());
            let start = [path, name(image.label), name(argmax(row))]
                .into_iter()
                .chain(fold);
            let numbers: Vec<String> = match is_whole {
                true => row.iter().map(ToString::to_string).collect(),
                false => most(row, FIRST)
                    .into_iter()
                    .flat_map(|class| [name(class), row[class].to_string()])
                    .skip(1)
                    .collect(),
            };
            writer.write_record(start.chain(numbers))?;
        }
        Ok(writer.into_inner()?)
    }

    /// Writes the logits in the order of `predictions.csv`: one per class, before temperature and
    /// augmentation.
    ///
    /// # Errors
    /// Returns an error if the file can't be written.
    pub fn write_logits(&self, file: &RawFile) -> anyhow::Result<()> {
        let raw = Raw {
            shape: vec![self.classes.len()],
            values: self.logits.concat(),
            images: self
                .set
                .images
                .iter()
                .map(|image| [of_path(&image.path), self.classes[image.label].clone()])
                .collect(),
        };
        file.write(&raw, self.classes.iter().map(|class| of_text(class)))
    }
}
