//! The summary at the top of a report, its facts and its notes.

use std::collections::BTreeMap;

use super::subject::Subject;
use crate::{
    base::words::listed, config::Weights, data::listing::Part, evaluation::Evaluation,
    metrics::Estimate, report::MATRIX_CLASSES,
};

/// Maximum number of skipped files named.
const NAMED: usize = 20;

impl Subject<'_> {
    /// Returns the summary at the top of the page: accuracy, and what limits its meaning.
    pub fn lead(&self) -> Vec<String> {
        let Evaluation {
            images,
            metrics,
            classes,
            per_class,
            calibration,
            slices,
            ..
        } = self.evaluation;
        let mut lead = vec![format!(
            "Accuracy {} on {images} images of {}.",
            accuracy(metrics),
            self.name_in_words()
        )];
        lead.extend(self.network_words());
        lead.extend(self.copy_words());
        if self.name == "val" {
            lead.push(
                "The best epoch was chosen by these images, so the metrics are optimistic; a test \
                 set tells more."
                    .to_owned(),
            );
        }
        // Accuracy on unbalanced classes misleads without that of the trivial predictor.
        let most = classes
            .iter()
            .max_by_key(|class| per_class[*class].measures.support);
        if let Some(class) = most {
            let share = per_class[class].measures.support as f64 / *images as f64;
            lead.push(format!(
                "Always saying {class} would be right for {share:.3}."
            ));
        }
        lead.extend(self.worst_class_words());
        let error = calibration.expected_calibration_error;
        lead.push(match self.checkpoint().meta.temperature {
            _ if self.checkpoints.len() > 1 => {
                format!("The probabilities are off by {error:.3} on average.")
            }
            1.0 => format!(
                "Its probabilities are off by {error:.3} on average; `emberlens calibrate` may \
                 correct that."
            ),
            _ => format!(
                "Its probabilities, calibrated on validation images, are off by {error:.3} on \
                 average here."
            ),
        });
        lead.extend(self.evaluation.decision_words());
        lead.extend(slices.iter().map(|slicing| slicing.words.join(" ")));
        lead.push(
            "Measured on these images only: nothing is known about images from other devices, \
             places or people."
                .to_owned(),
        );
        lead
    }

    /// Describes which of several networks classified the images.
    fn network_words(&self) -> Vec<String> {
        let Evaluation { folds, repeats, .. } = self.evaluation;
        match (folds, repeats, self.checkpoints.len()) {
            (Some(folds), ..) => vec![
                "Each was classified by the network of the fold that held it back.".to_owned(),
                folds.words(),
            ],
            (_, Some(repeats), _) => vec![
                format!(
                    "Each was classified by the mean of the {} networks that held it back, one of \
                     each seed.",
                    repeats.per_repeat.len()
                ),
                repeats.words(),
            ],
            (.., 1) => Vec::new(),
            (.., count) => vec![format!(
                "Classified by the mean of the probabilities of {count} networks."
            )],
        }
    }

    /// Describes the accuracy on the images that the training didn't know, if it knew some.
    fn copy_words(&self) -> Option<String> {
        let Evaluation { images, unseen, .. } = self.evaluation;
        let unseen = unseen.as_ref().filter(|unseen| unseen.count < *images)?;
        let copies = images - unseen.count;
        Some(match unseen.count {
            0 => format!(
                "All {copies} are copies of images known from training: nothing is known about new \
                 ones."
            ),
            count => format!(
                "{copies} of them are copies of images known from training. On the {count} that \
                 are not, the accuracy is {}: this is what to expect of new images.",
                accuracy(&unseen.metrics)
            ),
        })
    }

    /// Names the class that is found least often.
    fn worst_class_words(&self) -> Option<String> {
        let Evaluation {
            classes, per_class, ..
        } = self.evaluation;
        let recall = |class: &String| per_class[class].measures.recall;
        let class = classes
            .iter()
            .filter(|class| per_class[*class].measures.support > 0)
            .min_by(|a, b| recall(a).total_cmp(&recall(b)))?;
        let report = &per_class[class];
        Some(format!(
            "Found least often: {class}, {} of its {} images.",
            report.intervals.recall.in_words(),
            report.measures.support
        ))
    }

    /// Returns the facts about the training, each with its name.
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        let meta = &self.checkpoint().meta;
        let mut facts = Vec::new();
        let mut add = |name: &str, value: String| facts.push((name.to_owned(), value));
        add("Run", meta.name.clone());
        add("Classes", self.class_names());
        let network = meta.design.model.architecture.name();
        add("Network", format!("{network}{}", self.origin()));
        let [height, width] = meta.image_size;
        let color = match meta.design.input[0] {
            1 => "gray",
            _ => "color",
        };
        add(
            "Images",
            format!("{height} x {width} pixels (height x width), {color}"),
        );
        if let Some(words) = self.training_words() {
            add("Training", words);
        }
        add(
            "Kept",
            match self.checkpoints.len() {
                1 => format!("the end of epoch {}", meta.epoch),
                count => format!("the best epoch of each of {count} networks"),
            },
        );
        if meta.temperature != 1.0 {
            let value = meta.temperature;
            add(
                "Temperature",
                format!("{value:.4}, fitted on validation images"),
            );
        }
        let (name, count) = (self.name_in_words(), self.evaluation.images);
        add("Measured on", format!("{name}, {count} images"));
        let compute = self.compute;
        add("Device", format!("{} ({})", compute.name, compute.about));
        add(
            "Program",
            format!(
                "emberlens {} (the network is of {})",
                env!("CARGO_PKG_VERSION"),
                meta.emberlens
            ),
        );
        let today = time::OffsetDateTime::now_utc().date();
        add("Written", today.to_string());
        facts
    }

    /// Describes how long the training took; `None` if that isn't known.
    fn training_words(&self) -> Option<String> {
        let history = self.history();
        let epochs = history.get("epoch").map_or(0, Vec::len);
        if epochs == 0 {
            return None;
        }
        let seconds: f64 = history.get("seconds").map_or(0.0, |seconds| {
            seconds.iter().filter(|value| value.is_finite()).sum()
        });
        Some(format!("{epochs} epochs in {}", duration(seconds)))
    }

    fn class_names(&self) -> String {
        let classes = &self.checkpoint().meta.classes;
        if classes.len() > MATRIX_CLASSES {
            listed(classes)
        } else {
            classes.join(", ")
        }
    }

    /// Describes where the network's initial weights came from.
    fn origin(&self) -> String {
        let meta = &self.checkpoint().meta;
        let frozen = meta.frozen.as_ref().map_or(String::new(), |frozen| {
            format!(", {} of its layer groups never trained", frozen.groups)
        });
        match meta.design.model.weights() {
            Weights::None => ", from scratch".to_owned(),
            Weights::Imagenet => format!(", from ImageNet's weights{frozen}"),
            Weights::Path(path) => format!(", from the weights of {path}{frozen}"),
        }
    }

    /// Names the files that were left out or are damaged.
    pub(super) fn notes(&self) -> Vec<String> {
        let Evaluation {
            skipped, damaged, ..
        } = self.evaluation;
        let skipped = skipped
            .iter()
            .map(|file| [file.path.clone(), file.reason.clone()])
            .collect();
        let damaged = damaged
            .iter()
            .map(|file| [file.path.clone(), file.reason.clone()])
            .collect();
        let (known, measured) = ("training and validation", "measuring");
        let left_out = |what: &str| format!("couldn't be read for {what} and were left out");
        let used =
            |what: &str| format!("for {what} are damaged and were used as far as they can be read");
        [
            (self.files_of("skipped.csv"), "skipped.csv", left_out(known)),
            (skipped, "skipped.csv", left_out(measured)),
            (self.files_of("damaged.csv"), "damaged.csv", used(known)),
            (damaged, "damaged.csv", used(measured)),
        ]
        .into_iter()
        .flat_map(|(files, list, what)| note(&files, list, &what))
        .collect()
    }

    /// Returns path and reason of each file of a list of the run.
    fn files_of(&self, list: &str) -> Vec<[String; 2]> {
        // Skipped and damaged test images are listed under measuring.
        let is_known = |row: &csv::StringRecord| row.get(2) != Some(Part::Test.name());
        let reader = self
            .run
            .and_then(|run| csv::Reader::from_path(run.join(list)).ok());
        let rows = reader
            .into_iter()
            .flat_map(|reader| reader.into_records().flatten())
            .filter(is_known);
        rows.map(|row| [0, 1].map(|index| row.get(index).unwrap_or_default().to_owned()))
            .collect()
    }
}

/// Formats the accuracy among metrics.
fn accuracy(metrics: &BTreeMap<String, Estimate>) -> String {
    metrics
        .get("accuracy")
        .map(Estimate::in_words)
        .unwrap_or_default()
}

/// Returns the lines about files that `what` is true of; none without any.
fn note(files: &[[String; 2]], list: &str, what: &str) -> Vec<String> {
    if files.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("{} files {what}:", files.len())];
    lines.extend(
        files
            .iter()
            .take(NAMED)
            .map(|[path, reason]| format!("{path}: {reason}")),
    );
    if files.len() > NAMED {
        let more = files.len() - NAMED;
        lines.push(format!("... and {more} more, listed in {list}"));
    }
    lines
}

/// Formats a duration: `3 h 5 min`, `2 min 4 s`, `7.2 s`.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}
