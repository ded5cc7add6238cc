//! What the files of runs tell, without their networks and images: a line of `emberlens runs` each.
//! Runs that aren't finished, and damaged ones, are lines too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use walkdir::WalkDir;

use super::{images::OUT_OF_FOLD, results::document};
use crate::{
    base::{
        names,
        usage::UsageError,
        words::{did_you_mean, listed},
    },
    checkpoint::{Ensemble, read_meta},
    config,
    record::read_history,
    report::Table,
};

/// Levels of folders that are searched for runs.
const DEPTH: usize = 3;

/// Metrics of which less is better.
const LESS: [&str; 4] = ["loss", "val_loss", "log_loss", "brier"];

/// Columns of `history.csv` that are no metrics.
const OTHER_COLUMNS: [&str; 3] = ["epoch", "learning_rate", "seconds"];

/// A run as its files tell.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Run {
    /// Its folder.
    #[serde(skip)]
    pub path: PathBuf,
    /// Its folder, from the one that was searched.
    pub name: String,
    /// Date of its last epoch, in UTC.
    pub date: Option<String>,
    /// Number of epochs done.
    pub epochs: usize,
    /// Number of epochs that its recipe asks for.
    pub planned_epochs: Option<usize>,
    /// The epoch that was kept, counted from 1.
    pub best_epoch: Option<usize>,
    /// Metrics of that epoch, as `history.csv` names them.
    pub history: BTreeMap<String, f64>,
    /// Mean duration of an epoch.
    pub seconds_per_epoch: Option<f64>,
    /// Which of its images were measured at the end: `test`, `val` or, of several folds,
    /// `out-of-fold`.
    pub measured_on: Option<String>,
    /// Number of these images.
    pub images: Option<usize>,
    /// Metrics on these images.
    pub metrics: BTreeMap<String, Figure>,
    /// The same without copies of training images.
    pub unseen: BTreeMap<String, Figure>,
    /// The options in which it differs from another run, by key.
    pub options: BTreeMap<String, String>,
    /// What can't be read.
    pub faults: Vec<String>,
}

/// A metric with its 95 % interval.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Figure {
    /// The value, if it is defined.
    pub value: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
}

/// What is read of a `metrics.json`.
#[derive(Deserialize)]
struct Metrics {
    images: usize,
    metrics: BTreeMap<String, Figure>,
    unseen: Option<Unseen>,
}

#[derive(Deserialize)]
struct Unseen {
    metrics: BTreeMap<String, Figure>,
}

/// Returns the runs in `folder`, up to three levels deep, by name.
///
/// # Errors
/// Returns an error if there are none.
pub fn find(folder: &Path) -> Result<Vec<Run>, UsageError> {
    let is_run = |path: &Path| {
        path.join("config.toml").is_file()
            && ["run.lock", "last", "best"]
                .iter()
                .any(|name| path.join(name).exists())
            && !is_learning_curve(path)
    };
    let mut runs: Vec<Run> = WalkDir::new(folder)
        .max_depth(DEPTH)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| !is_member(entry.path()))
        .flatten()
        .filter(|entry| entry.file_type().is_dir() && is_run(entry.path()))
        .map(|entry| {
            let name = entry.path().strip_prefix(folder).unwrap_or(entry.path());
            // A run that is itself the folder searched.
            let is_whole = name.as_os_str().is_empty();
            Run::of(entry.path(), if is_whole { folder } else { name })
        })
        .collect();
    if runs.is_empty() {
        return Err(UsageError(format!(
            "found no run, expected a folder of run folders such as `train` writes into \
             checkpoints: {}",
            names::of_path(folder)
        )));
    }
    let keys = differing(&runs);
    for run in &mut runs {
        run.options.retain(|key, _| keys.contains(key));
    }
    Ok(runs)
}

/// Returns whether a folder is that of a learning curve, whose runs stand for themselves.
fn is_learning_curve(path: &Path) -> bool {
    matches!(Ensemble::open(path), Ok(Some(list)) if list.is_learning_curve())
}

/// Returns whether a folder is the run of a fold, which the run of all of them stands for.
fn is_member(path: &Path) -> bool {
    let list = path.parent().map(Ensemble::open);
    matches!(list, Some(Ok(Some(list))) if list.has(path) && !list.is_learning_curve())
}

/// Returns the options in which the runs differ, but for the name of the recipe.
fn differing(runs: &[Run]) -> BTreeSet<String> {
    let known: Vec<_> = runs
        .iter()
        .map(|run| &run.options)
        .filter(|options| !options.is_empty())
        .collect();
    let keys: BTreeSet<&String> = known.iter().flat_map(|options| options.keys()).collect();
    keys.into_iter()
        .filter(|key| *key != "name")
        .filter(|key| {
            known
                .iter()
                .any(|options| options.get(*key) != known[0].get(*key))
        })
        .cloned()
        .collect()
}

impl Run {
    /// Reads what there is of the run in `folder`.
    fn of(folder: &Path, name: &Path) -> Self {
        let mut run = Self {
            path: folder.to_owned(),
            name: names::of_path(name),
            ..Self::default()
        };
        match config::load(&folder.join("config.toml"), &[]) {
            Ok(config) => {
                run.planned_epochs = Some(config.train.epochs);
                run.options = config::values(&config);
            }
            Err(error) => run.faults.push(error.to_string()),
        }
        let best = folder.join("best");
        if best.exists() {
            match read_meta(&best) {
                Ok(meta) => run.best_epoch = Some(meta.epoch),
                Err(error) => run.faults.push(error.to_string()),
            }
        }
        run.read_history(&folder.join("history.csv"));
        match Ensemble::open(folder) {
            Ok(Some(ensemble)) => match ensemble.networks(folder) {
                Ok(members) => run.read_members(&members),
                Err(error) => run.faults.push(error.to_string()),
            },
            Ok(None) => {}
            Err(error) => run.faults.push(error.to_string()),
        }
        for part in ["test", OUT_OF_FOLD, "val"] {
            if run.measured_on.is_none() {
                run.read_metrics(part, &folder.join("evaluation").join(part));
            }
        }
        run
    }

    fn read_history(&mut self, path: &Path) {
        // A run before its first epoch has none.
        let Ok(text) = fs::read_to_string(path) else {
            return;
        };
        let Some(columns) = read_history(&text) else {
            self.faults
                .push(format!("no table of epochs: {}", names::of_path(path)));
            return;
        };
        let column = |name: &str| columns.get(name).map_or(&[][..], Vec::as_slice);
        self.epochs = column("epoch").len();
        let seconds = column("seconds");
        self.seconds_per_epoch =
            (!seconds.is_empty()).then(|| seconds.iter().sum::<f64>() / seconds.len() as f64);
        self.date = fs::metadata(path)
            .and_then(|meta| meta.modified())
            .ok()
            .map(|time| time::OffsetDateTime::from(time).date().to_string());
        let best = self.best_epoch.map(|epoch| epoch as f64);
        let row = column("epoch")
            .iter()
            .position(|epoch| Some(*epoch) == best);
        if let Some(row) = row {
            self.history = columns
                .iter()
                .filter(|(name, _)| !OTHER_COLUMNS.contains(&name.as_str()))
                .filter_map(|(name, values)| Some((name.clone(), *values.get(row)?)))
                .collect();
        }
    }

    /// Adds up the epochs of the networks of an ensemble.
    fn read_members(&mut self, members: &[PathBuf]) {
        let mut seconds = 0.0;
        for member in members {
            let mut found = Self::default();
            found.read_history(&member.join("history.csv"));
            self.epochs += found.epochs;
            seconds += found.seconds_per_epoch.unwrap_or(0.0) * found.epochs as f64;
            self.date = self.date.take().max(found.date);
            self.faults.extend(found.faults);
        }
        self.planned_epochs = self.planned_epochs.map(|epochs| epochs * members.len());
        self.seconds_per_epoch = (self.epochs > 0).then(|| seconds / self.epochs as f64);
    }

    /// Reads the figures of the `part` that an evaluation measured into `folder`, if there are any.
    fn read_metrics(&mut self, part: &str, folder: &Path) {
        let path = names::of_path(&folder.join(document::FILE));
        let metrics = |fields: Map<String, Value>| {
            let found = serde_json::from_value::<Metrics>(fields.into());
            found.with_context(|| format!("can't read {path}"))
        };
        match document::read(folder).and_then(|fields| fields.map(metrics).transpose()) {
            Ok(None) => {}
            Ok(Some(found)) => {
                self.measured_on = Some(part.to_owned());
                self.images = Some(found.images);
                self.metrics = found.metrics;
                self.unseen = found
                    .unseen
                    .map(|unseen| unseen.metrics)
                    .unwrap_or_default();
            }
            Err(error) => self.faults.push(format!("{error:#}")),
        }
    }

    fn metric(&self, name: &str) -> Figure {
        self.metrics.get(name).copied().unwrap_or_default()
    }

    /// Returns a metric of the measured images or, if it has none of that name, of the best epoch.
    fn kept(&self, name: &str) -> Option<f64> {
        let in_history = || self.history.get(name).copied();
        self.metric(name).value.or_else(in_history)
    }

    /// Returns the cells from its name to its macro F1.
    fn figures(&self) -> [String; 10] {
        let accuracy = self.metric("accuracy");
        let interval = match (accuracy.low, accuracy.high) {
            (Some(low), Some(high)) => format!("{low:.4} to {high:.4}"),
            _ => String::new(),
        };
        let planned = self
            .planned_epochs
            .map_or(String::new(), |planned| format!(" of {planned}"));
        let images = self
            .images
            .map_or(String::new(), |count| format!(", {count}"));
        let unseen = self.unseen.get("accuracy").and_then(|found| found.value);
        [
            self.name.clone(),
            self.date.clone().unwrap_or_default(),
            format!("{}{planned}", self.epochs),
            self.best_epoch
                .map_or(String::new(), |epoch| epoch.to_string()),
            number(self.history.get("val_accuracy").copied()),
            self.measured_on.clone().unwrap_or_default() + &images,
            number(accuracy.value),
            interval,
            number(unseen),
            number(self.metric("macro_f1").value),
        ]
    }
}

/// Formats a number with four decimals, a missing one as nothing.
fn number(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| format!("{value:.4}"))
}

/// Sorts runs by a metric of `metrics.json`, or one of `history.csv` at the best epoch: the best
/// first, those without it last.
///
/// # Errors
/// Returns an error if no run has the metric.
pub fn sort(runs: &mut [Run], metric: &str) -> Result<(), UsageError> {
    // Never measured images for one run and training images for another.
    let is_measured = runs.iter().any(|run| run.metrics.contains_key(metric));
    let value = |run: &Run| {
        let found = if is_measured {
            run.metric(metric).value
        } else {
            run.history.get(metric).copied()
        };
        found.filter(|value| value.is_finite())
    };
    if !runs.iter().any(|run| value(run).is_some()) {
        let known: BTreeSet<&String> = runs
            .iter()
            .flat_map(|run| run.metrics.keys().chain(run.history.keys()))
            .collect();
        let meant = did_you_mean(metric, known.iter().map(|name| name.as_str()));
        let known: Vec<String> = known.into_iter().cloned().collect();
        return Err(UsageError(format!(
            "no run has the metric `{metric}`, expected one of {}{meant}",
            listed(&known)
        )));
    }
    let is_less = LESS.contains(&metric) || metric == "mean_squared_error";
    runs.sort_by(|a, b| match (value(a), value(b)) {
        (Some(a), Some(b)) if is_less => a.total_cmp(&b),
        (Some(a), Some(b)) => b.total_cmp(&a),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    Ok(())
}

/// Returns the runs as a table: epochs, figures with intervals, and the options that differ.
/// `sorted_by` is a metric that gets a column if it has none.
pub fn table(runs: &[Run], sorted_by: Option<&str>) -> Table {
    let more = sorted_by.filter(|name| !["accuracy", "macro_f1", "val_accuracy"].contains(name));
    let keys: BTreeSet<&String> = runs.iter().flat_map(|run| run.options.keys()).collect();
    let has_faults = runs.iter().any(|run| !run.faults.is_empty());
    let head = [
        "Run",
        "Date",
        "Epochs",
        "Best",
        "val_accuracy",
        "Measured on",
        "Accuracy",
        "95 %",
        "Unseen",
        "F1, macro",
    ];
    let head = head.into_iter().chain(more).chain(["s/epoch"]);
    let head = head.chain(keys.iter().map(|key| key.as_str()));
    let head = head.chain(has_faults.then_some("Can't be read"));
    let row = |run: &Run| {
        run.figures()
            .into_iter()
            .chain(more.map(|name| number(run.kept(name))))
            .chain([run
                .seconds_per_epoch
                .map_or(String::new(), |seconds| format!("{seconds:.1}"))])
            .chain(
                keys.iter()
                    .map(|key| run.options.get(*key).cloned().unwrap_or_default()),
            )
            .chain(has_faults.then(|| run.faults.join("; ")))
            .collect()
    };
    Table {
        head: head.map(str::to_owned).collect(),
        rows: runs.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, accuracy: Option<f64>, options: &[(&str, &str)]) -> Run {
        let figure = Figure {
            value: accuracy,
            ..Figure::default()
        };
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Run {
            name: name.to_owned(),
            metrics: accuracy
                .map(|_| ("accuracy".to_owned(), figure))
                .into_iter()
                .collect(),
            history: BTreeMap::from([("val_loss".to_owned(), accuracy.unwrap_or(9.0))]),
            options: options.iter().map(pair).collect(),
            ..Run::default()
        }
    }

    #[test]
    fn the_best_run_is_first_and_one_without_the_metric_last() {
        let mut runs = [
            run("none", None, &[]),
            run("bad", Some(0.5), &[]),
            run("good", Some(0.9), &[]),
        ];
        let names = |runs: &[Run]| runs.iter().map(|run| run.name.clone()).collect::<Vec<_>>();
        sort(&mut runs, "accuracy").expect("known");
        assert_eq!(names(&runs), ["good", "bad", "none"]);
        sort(&mut runs, "val_loss").expect("known");
        assert_eq!(names(&runs), ["bad", "good", "none"]);
        let error = sort(&mut runs, "acuracy").expect_err("unknown").to_string();
        let expected = "no run has the metric `acuracy`, expected one of accuracy, val_loss; did \
                        you mean `accuracy`?";
        assert_eq!(error, expected);
    }

    #[test]
    fn only_options_that_differ_have_a_column_and_not_the_name() {
        let runs = [
            run("a", None, &[("name", "a"), ("seed", "1"), ("x", "1")]),
            run("damaged", None, &[]),
            run(
                "b",
                None,
                &[("name", "b"), ("seed", "2"), ("x", "1"), ("y", "3")],
            ),
        ];
        let keys: Vec<_> = differing(&runs).into_iter().collect();
        assert_eq!(keys, ["seed", "y"]);
    }
}
