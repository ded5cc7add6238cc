//! Predictions of each image as files: `predictions.csv`, and logits for other programs.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::document;
use crate::{
    base::{
        io::{
            files::digest_from_hex,
            raw_file::{Raw, RawFile},
        },
        names::{of_path, of_text},
    },
    checkpoint::{Ensemble, check_run, read_meta, resolve},
    data::table::read_split,
    evaluation::{Evaluation, images::OUT_OF_FOLD},
    inspect::HeldOut,
    metrics::{argmax, most},
    record::LISTED_CLASSES,
};

/// Name of the file with a row for each image.
pub(in crate::evaluation) const FILE: &str = "predictions.csv";

/// Columns of `predictions.csv` before the fold and the probabilities.
const HEAD: [&str; 3] = ["path", "label", "predicted"];
/// Column of the fold.
const FOLD: &str = "fold";

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
    pub(in crate::evaluation) fn predictions_csv(&self) -> anyhow::Result<Vec<u8>> {
        let is_whole = self.classes.len() <= LISTED_CLASSES;
        let name = |class: usize| of_text(&self.classes[class]);
        let mut writer = csv::Writer::from_writer(Vec::new());
        let head = HEAD.map(str::to_owned).into_iter();
        let columns: Vec<String> = if is_whole {
            (0..self.classes.len()).map(name).collect()
        } else {
            ranked_columns()
        };
        let folds = self.folds.as_ref().map(|folds| &folds.of_image);
        let fold_column = folds.map(|_| FOLD.to_owned());
        writer.write_record(head.chain(fold_column).chain(columns))?;
        let rows = self.set.images.iter().zip(&self.probabilities);
        for (index, (image, row)) in rows.enumerate() {
            let path = of_path(&image.path);
            let fold = folds.map(|folds| (folds[index] + 1).to_string());
            let start = [path, name(image.label), name(argmax(row))]
                .into_iter()
                .chain(fold);
            let numbers: Vec<String> = if is_whole {
                row.iter().map(ToString::to_string).collect()
            } else {
                most(row, FIRST)
                    .into_iter()
                    .flat_map(|class| [name(class), row[class].to_string()])
                    .skip(1)
                    .collect()
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

/// Returns the path of the out-of-fold predictions of a run, whether there are any or not.
pub fn out_of_fold_path(run: &Path) -> PathBuf {
    run.join("evaluation").join(OUT_OF_FOLD).join(FILE)
}

/// Reads the out-of-fold predictions of a run, or returns `None` if there are none.
///
/// # Errors
/// Returns an error if the file can't be read, has other columns than an evaluation writes, or was
/// changed since.
pub fn out_of_fold(run: &Path) -> anyhow::Result<Option<HeldOut>> {
    let path = out_of_fold_path(run);
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = || {
        format!(
            "can't read the out-of-fold predictions in {}",
            of_path(&path)
        )
    };
    let folder = path.parent().expect("in a folder");
    let text = document::read_beside(folder, FILE).with_context(wrong)?;
    let (classes, by_path) = read(&text).with_context(wrong)?;
    // All folds have the same images.
    let networks = Ensemble::open(run)?.map(|ensemble| ensemble.networks(run));
    let networks = networks.transpose()?.unwrap_or_default();
    let first = networks.first().map_or(run, PathBuf::as_path);
    if let Ok(checkpoint) = resolve(first, "best") {
        check_run(read_meta(&checkpoint)?.run.as_ref(), &checkpoint)?;
    }
    let digests = read_split(&first.join("split.csv"))?.into_iter();
    let digests = digests.filter_map(|row| Some((row.path, digest_from_hex(&row.blake3)?)));
    let digests: BTreeMap<String, [u8; 32]> = digests.collect();
    // By what it shows: it may have been moved, or another image have taken its place.
    let of_pixels = |(path, row)| Some((*digests.get(&path)?, row));
    let rows = by_path.into_iter().filter_map(of_pixels).collect();
    Ok(Some(HeldOut {
        words: format!(
            "a network of {} that wasn't trained on the image",
            of_path(run)
        ),
        classes,
        rows,
    }))
}

/// Classes, and the probabilities of each image by the index of the class.
type Probabilities = (Vec<String>, BTreeMap<String, Vec<(usize, f64)>>);

/// Reads a `predictions.csv`; see [`Evaluation::predictions_csv`].
fn read(text: &[u8]) -> anyhow::Result<Probabilities> {
    let mut reader = csv::Reader::from_reader(text);
    let head: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    if !head.iter().take(HEAD.len()).eq(HEAD.iter()) {
        let (found, expected) = (head.join(", "), HEAD.join(", "));
        bail!("found the columns {found}, expected {expected}");
    }
    let has_fold = head.get(HEAD.len()).is_some_and(|name| name == FOLD);
    let first = HEAD.len() + usize::from(has_fold);
    // The columns of probabilities, with those of their classes if they aren't named in the head:
    // the most probable class is the predicted one.
    let columns: Vec<(Option<usize>, usize)> = if head[first..] == ranked_columns() {
        std::iter::once((Some(HEAD.len() - 1), first))
            .chain(
                (first + 1..head.len())
                    .step_by(2)
                    .map(|at| (Some(at), at + 1)),
            )
            .collect()
    } else {
        (first..head.len()).map(|at| (None, at)).collect()
    };
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    let mut rows = BTreeMap::new();
    for record in reader.records() {
        let record = record?;
        let mut row = Vec::new();
        for (class, at) in &columns {
            let name = class.map_or(head[*at].as_str(), |class| &record[class]);
            let next = classes.len();
            let class = *classes.entry(name.to_owned()).or_insert(next);
            let probability = record[*at].parse();
            let wrong = || format!("found {}, expected a probability", &record[*at]);
            row.push((class, probability.with_context(wrong)?));
        }
        rows.insert(record[0].to_owned(), row);
    }
    let mut names = vec![String::new(); classes.len()];
    classes.into_iter().for_each(|(name, at)| names[at] = name);
    Ok((names, rows))
}

/// Returns the columns that take the place of the probabilities of many classes.
fn ranked_columns() -> Vec<String> {
    let others =
        (2..=FIRST).flat_map(|rank| [format!("label_{rank}"), format!("probability_{rank}")]);
    std::iter::once("probability".to_owned())
        .chain(others)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_few_classes_and_of_many_are_read() {
        let ranked = "x/1.png,a,b,2,0.5,c,0.25,a,0.125,e,0.0625,d,0.03125\n";
        for (text, classes, row) in [
            (
                "path,label,predicted,fold,a,b\nx/1.png,a,b,2,0.25,0.75\n".to_owned(),
                vec!["a", "b"],
                vec![(0, 0.25), (1, 0.75)],
            ),
            (
                format!(
                    "path,label,predicted,fold,{}\n{ranked}",
                    ranked_columns().join(",")
                ),
                vec!["b", "c", "a", "e", "d"],
                vec![(0, 0.5), (1, 0.25), (2, 0.125), (3, 0.0625), (4, 0.03125)],
            ),
        ] {
            let (found, rows) = read(text.as_bytes()).expect("whole");
            assert_eq!(
                (found, &rows["x/1.png"]),
                (classes.iter().map(ToString::to_string).collect(), &row)
            );
        }
        for (text, expected) in [
            ("path,class\n", "found the columns path, class"),
            (
                "path,label,predicted,a\nx,a,a,half\n",
                "found half, expected a probability",
            ),
        ] {
            let error = read(text.as_bytes()).expect_err("wrong").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
