//! What an epoch leaves behind, and the file that a person plots: `history.csv`.

use std::{collections::BTreeMap, fmt::Write};

use serde::{Deserialize, Serialize};

use crate::{
    base::names::of_text,
    config::{Metric, Split},
};

/// Classes up to which every file has room for each of them, and for each pair: recalls in `history.csv` and for TensorBoard, the confusion
/// matrix in `metrics.json`, all probabilities in `predictions.csv`. Of more, files have what doesn't grow with their square.
pub const LISTED_CLASSES: usize = 256;

/// The measures of one split in one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitRecord {
    /// Mean loss; weighted in training, unweighted in validation.
    pub loss: f64,
    /// Share of right predictions.
    pub accuracy: f64,
    /// Mean F1 of the classes.
    pub macro_f1: f64,
    /// Recall of each class; nothing for a class without a picture, which has none. Of more than [`LISTED_CLASSES`], only the latest epoch has it.
    pub recall: Vec<Option<f64>>,
}

impl SplitRecord {
    /// Lets go of what would grow with classes times epochs.
    pub fn condense(&mut self) {
        if self.recall.len() > LISTED_CLASSES {
            self.recall = Vec::new();
        }
    }
}

/// One line of `history.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: usize,
    /// On the augmented training pictures, while the weights changed.
    pub train: SplitRecord,
    /// On the validation pictures, at the end of the epoch.
    pub validation: SplitRecord,
    /// Of the epoch's last step.
    pub learning_rate: f64,
    /// Of the whole epoch, validation and saving included.
    pub seconds: f64,
}

impl EpochRecord {
    /// The value of a metric, with the run's class names; NaN for a class that isn't there or has no validation picture.
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
                class.and_then(|class| self.validation.recall.get(class).copied().flatten()).unwrap_or(f64::NAN)
            }
        }
    }
}

/// The text of `history.csv`: Keras's names where Keras has the thing, then recall a class on the validation pictures, empty for a class that
/// they don't have, up to [`LISTED_CLASSES`].
pub fn history_csv(records: &[EpochRecord], classes: &[String]) -> String {
    let recalls = if classes.len() > LISTED_CLASSES { 0 } else { classes.len() };
    let mut text = "epoch".to_owned();
    for (name, _) in Metric::ALL {
        let _ = write!(text, ",{name}");
    }
    for class in &classes[..recalls] {
        let _ = write!(text, ",{}", quoted(&format!("val_recall_{}", of_text(class))));
    }
    text.push_str(",learning_rate,seconds\n");
    for record in records {
        let _ = write!(text, "{}", record.epoch);
        for (_, metric) in &Metric::ALL {
            let _ = write!(text, ",{}", record.value(metric, classes));
        }
        for recall in record.validation.recall.iter().take(recalls) {
            let _ = write!(text, ",{}", recall.map_or_else(String::new, |recall| recall.to_string()));
        }
        let _ = writeln!(text, ",{},{:.3}", record.learning_rate, record.seconds);
    }
    text
}

/// The columns of a `history.csv` by their names; what is no number is NaN. `None` if it is none of ours.
pub fn read_history(text: &str) -> Option<BTreeMap<String, Vec<f64>>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers().ok()?.iter().map(str::to_owned).collect();
    let mut columns = vec![Vec::new(); names.len()];
    for row in reader.records() {
        row.ok()?.iter().zip(&mut columns).for_each(|(field, column)| column.push(field.parse().unwrap_or(f64::NAN)));
    }
    names.iter().any(|name| name == "epoch").then(|| names.into_iter().zip(columns).collect())
}

/// A field of a CSV, quoted where it must be.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_has_kerass_columns_and_one_line_an_epoch() {
        let split = |loss| SplitRecord { loss, accuracy: 0.5, macro_f1: 0.25, recall: vec![Some(1.0), Some(0.0), None] };
        let record = EpochRecord { epoch: 1, train: split(0.75), validation: split(1.5), learning_rate: 0.001, seconds: 2.0 };
        let text = history_csv(std::slice::from_ref(&record), &["a", "b, c", "none"].map(str::to_owned));
        let expected = "epoch,accuracy,loss,macro_f1,val_accuracy,val_loss,val_macro_f1,val_recall_a,\"val_recall_b, c\",val_recall_none,learning_rate,seconds\n\
                        1,0.5,0.75,0.25,0.5,1.5,0.25,1,0,,0.001,2.000\n";
        assert_eq!(text, expected);
        let columns = read_history(&text).expect("ours");
        assert_eq!((&columns["val_loss"], &columns["val_recall_b, c"]), (&vec![1.5], &vec![0.0]));
        assert!(columns["val_recall_none"][0].is_nan(), "never 0");
        assert_eq!(read_history("a,b\n1,2\n"), None);
        let written = serde_json::to_string(&record).expect("plain values");
        assert_eq!(serde_json::from_str::<EpochRecord>(&written).expect("read back"), record);
        // Runs of before had a number for each class.
        let before = written.replace("null", "0.0");
        assert_eq!(serde_json::from_str::<EpochRecord>(&before).expect("read").validation.recall, [Some(1.0), Some(0.0), Some(0.0)]);
    }

    #[test]
    fn many_classes_have_one_line_an_epoch_and_no_column_each() {
        let split = || SplitRecord { loss: 0.5, accuracy: 0.5, macro_f1: 0.25, recall: vec![Some(0.5); 1000] };
        let mut record = EpochRecord { epoch: 1, train: split(), validation: split(), learning_rate: 0.1, seconds: 1.0 };
        let classes: Vec<String> = (0..1000).map(|index| format!("n{index}")).collect();
        let monitor = Metric::Recall("n999".to_owned());
        assert_eq!(record.value(&monitor, &classes), 0.5);
        let latest = history_csv(std::slice::from_ref(&record), &classes);
        record.validation.condense();
        assert!(record.value(&monitor, &classes).is_nan() && record.validation.recall.is_empty());
        assert_eq!(history_csv(&[record], &classes), latest);
        assert_eq!(latest.lines().next(), Some("epoch,accuracy,loss,macro_f1,val_accuracy,val_loss,val_macro_f1,learning_rate,seconds"));
        let mut few = SplitRecord { recall: vec![Some(0.5); LISTED_CLASSES], ..split() };
        few.condense();
        assert_eq!(few.recall.len(), LISTED_CLASSES);
    }
}
