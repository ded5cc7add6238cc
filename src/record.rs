//! The metrics of each epoch, and `history.csv`, the table they are written to.

use std::{collections::BTreeMap, fmt::Write};

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    base::names::of_text,
    config::{Metric, Split},
};

/// Largest number of classes for which files have an entry per class or per pair of classes:
/// recalls in `history.csv` and for TensorBoard, the confusion matrix in `metrics.json`, all
/// probabilities in `predictions.csv`. With more classes these are left out, because they would
/// grow with the square of the number of classes.
pub const LISTED_CLASSES: usize = 256;

/// The metrics of one split in one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitRecord {
    /// Mean loss; weighted for the training set, unweighted for the validation set.
    pub loss: f64,
    /// Fraction of correct predictions; NaN for an autoencoder, which predicts no class.
    #[serde(deserialize_with = "number_or_nan")]
    pub accuracy: f64,
    /// Mean F1 over the classes; NaN for an autoencoder.
    #[serde(deserialize_with = "number_or_nan")]
    pub macro_f1: f64,
    /// Recall of each class; `None` for a class without an image. With more than [`LISTED_CLASSES`]
    /// classes, only the latest epoch has it; with an autoencoder, none has.
    pub recall: Vec<Option<f64>>,
}

/// Reads a number as JSON has it, which has null for NaN.
fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

impl SplitRecord {
    /// Returns the record of an autoencoder, which has no metric but its loss.
    pub fn of_loss(loss: f64) -> Self {
        Self {
            loss,
            accuracy: f64::NAN,
            macro_f1: f64::NAN,
            recall: Vec::new(),
        }
    }

    /// Drops the recalls if there are more than [`LISTED_CLASSES`], so that the history doesn't
    /// grow with classes times epochs.
    pub fn condense(&mut self) {
        if self.recall.len() > LISTED_CLASSES {
            self.recall = Vec::new();
        }
    }
}

/// A line of `history.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Number of the epoch, counted from 1.
    pub epoch: usize,
    /// Metrics on the augmented training images, while the weights changed.
    pub train: SplitRecord,
    /// Metrics on the validation images, at the end of the epoch.
    pub validation: SplitRecord,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Duration of the epoch in seconds, with validation and saving.
    pub seconds: f64,
}

impl EpochRecord {
    /// Returns the value of a metric. The recall of a class that is not among `classes`, or that
    /// has no validation image, is NaN.
    pub fn value(&self, metric: &Metric, classes: &[String]) -> f64 {
        let of = |split: &Split| match split {
            Split::Training => &self.train,
            Split::Validation => &self.validation,
        };
        match metric {
            Metric::Loss(split) => of(split).loss,
            Metric::Accuracy(split) => of(split).accuracy,
            Metric::MacroF1(split) => of(split).macro_f1,
            Metric::Recall(name) => {
                let class = classes.iter().position(|class| class == name);
                class
                    .and_then(|class| self.validation.recall.get(class).copied().flatten())
                    .unwrap_or(f64::NAN)
            }
        }
    }
}

/// Formats `history.csv`. Columns have Keras's names where Keras has them; after those comes a
/// validation recall per class, empty for a class without validation images, for up to
/// [`LISTED_CLASSES`] classes. What no epoch has, such as the accuracy of an autoencoder, has no
/// column.
pub fn history_csv(records: &[EpochRecord], classes: &[String]) -> String {
    let has = |of: &dyn Fn(&EpochRecord) -> bool| records.is_empty() || records.iter().any(of);
    let has_recalls = has(&|record| !record.validation.recall.is_empty());
    let recalls = if classes.len() > LISTED_CLASSES || !has_recalls {
        0
    } else {
        classes.len()
    };
    let is_there =
        |(_, metric): &&(_, Metric)| has(&|record| !record.value(metric, classes).is_nan());
    let metrics: Vec<_> = Metric::ALL.iter().filter(is_there).collect();
    let mut text = "epoch".to_owned();
    for (name, _) in &metrics {
        let _ = write!(text, ",{name}");
    }
    for class in &classes[..recalls] {
        let _ = write!(
            text,
            ",{}",
            quoted(&format!("val_recall_{}", of_text(class)))
        );
    }
    text.push_str(",learning_rate,seconds\n");
    for record in records {
        let _ = write!(text, "{}", record.epoch);
        for (_, metric) in &metrics {
            let _ = write!(text, ",{}", record.value(metric, classes));
        }
        for recall in record.validation.recall.iter().take(recalls) {
            let _ = write!(
                text,
                ",{}",
                recall.map_or_else(String::new, |recall| recall.to_string())
            );
        }
        let _ = writeln!(text, ",{},{:.3}", record.learning_rate, record.seconds);
    }
    text
}

/// Parses the columns of a `history.csv`, by name. Fields that are not numbers become NaN. Returns
/// `None` if the text is not a history.
pub fn read_history(text: &str) -> Option<BTreeMap<String, Vec<f64>>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers().ok()?.iter().map(str::to_owned).collect();
    let mut columns = vec![Vec::new(); names.len()];
    for row in reader.records() {
        row.ok()?
            .iter()
            .zip(&mut columns)
            .for_each(|(field, column)| column.push(field.parse().unwrap_or(f64::NAN)));
    }
    names
        .iter()
        .any(|name| name == "epoch")
        .then(|| names.into_iter().zip(columns).collect())
}

/// Quotes a CSV field if it needs quotes (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_has_kerass_columns_and_one_line_an_epoch() {
        let split = |loss| SplitRecord {
            loss,
            accuracy: 0.5,
            macro_f1: 0.25,
            recall: vec![Some(1.0), Some(0.0), None],
        };
        let record = EpochRecord {
            epoch: 1,
            train: split(0.75),
            validation: split(1.5),
            learning_rate: 0.001,
            seconds: 2.0,
        };
        let text = history_csv(
            std::slice::from_ref(&record),
            &["a", "b, c", "none"].map(str::to_owned),
        );
        let expected = "epoch,accuracy,loss,macro_f1,val_accuracy,val_loss,val_macro_f1,\
                        val_recall_a,\"val_recall_b, c\",val_recall_none,learning_rate,seconds\n\
                        1,0.5,0.75,0.25,0.5,1.5,0.25,1,0,,0.001,2.000\n";
        assert_eq!(text, expected);
        let columns = read_history(&text).expect("ours");
        assert_eq!(
            (&columns["val_loss"], &columns["val_recall_b, c"]),
            (&vec![1.5], &vec![0.0])
        );
        assert!(columns["val_recall_none"][0].is_nan(), "never 0");
        assert_eq!(read_history("a,b\n1,2\n"), None);
        let written = serde_json::to_string(&record).expect("plain values");
        assert_eq!(
            serde_json::from_str::<EpochRecord>(&written).expect("read back"),
            record
        );
        // Earlier versions wrote a number for every class.
        let before = written.replace("null", "0.0");
        assert_eq!(
            serde_json::from_str::<EpochRecord>(&before)
                .expect("read")
                .validation
                .recall,
            [Some(1.0), Some(0.0), Some(0.0)]
        );
    }

    #[test]
    fn an_autoencoder_has_its_losses_alone() {
        let record = EpochRecord {
            epoch: 1,
            train: SplitRecord::of_loss(0.75),
            validation: SplitRecord::of_loss(1.5),
            learning_rate: 0.001,
            seconds: 2.0,
        };
        let text = history_csv(std::slice::from_ref(&record), &["unlabeled".to_owned()]);
        assert_eq!(
            text,
            "epoch,loss,val_loss,learning_rate,seconds\n1,0.75,1.5,0.001,2.000\n"
        );
        let written = serde_json::to_string(&record).expect("plain values");
        let read: EpochRecord = serde_json::from_str(&written).expect("read back");
        assert!(read.train.accuracy.is_nan() && read.validation.macro_f1.is_nan());
        assert_eq!(history_csv(&[read], &["unlabeled".to_owned()]), text);
    }

    #[test]
    fn many_classes_have_one_line_an_epoch_and_no_column_each() {
        let split = || SplitRecord {
            loss: 0.5,
            accuracy: 0.5,
            macro_f1: 0.25,
            recall: vec![Some(0.5); 1000],
        };
        let mut record = EpochRecord {
            epoch: 1,
            train: split(),
            validation: split(),
            learning_rate: 0.1,
            seconds: 1.0,
        };
        let classes: Vec<String> = (0..1000).map(|index| format!("n{index}")).collect();
        let monitor = Metric::Recall("n999".to_owned());
        assert_eq!(record.value(&monitor, &classes), 0.5);
        let latest = history_csv(std::slice::from_ref(&record), &classes);
        record.validation.condense();
        assert!(record.value(&monitor, &classes).is_nan() && record.validation.recall.is_empty());
        assert_eq!(history_csv(&[record], &classes), latest);
        assert_eq!(
            latest.lines().next(),
            Some(
                "epoch,accuracy,loss,macro_f1,val_accuracy,val_loss,val_macro_f1,\
                 learning_rate,seconds"
            )
        );
        let mut few = SplitRecord {
            recall: vec![Some(0.5); LISTED_CLASSES],
            ..split()
        };
        few.condense();
        assert_eq!(few.recall.len(), LISTED_CLASSES);
    }
}
