//! A run of several networks, which predict together by the mean of their probabilities: a folder
//! that lists its members, each a run of its own in it.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Checkpoint, CheckpointError, Meta, RunFolder, damaged, decisions::check_decisions, load,
    pretty, resolve,
};
use crate::{
    base::{
        io::{
            files::{sha256_hex, with_path, write_atomic},
            sealed,
        },
        words::listed,
    },
    metrics::{Coverage, Threshold},
};

/// Name of the list.
const LIST: &str = "ensemble.json";

/// Start of the names of a learning curve's run folders.
const FRACTION: &str = "fraction-";

/// The networks of a run, as `ensemble.json` lists them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ensemble {
    /// Names of the members' run folders in the folder of the run.
    pub members: Vec<String>,
    /// What was fitted to all of them together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    calibration: Option<Calibration>,
}

/// The content of `ensemble.json`.
#[derive(Serialize)]
struct Sealed<'a> {
    #[serde(flatten)]
    list: &'a Ensemble,
    /// SHA-256 of the other fields.
    sha256: String,
}

impl Ensemble {
    /// Returns the list of the folds of a cross-validation.
    pub fn of_folds(count: usize) -> Self {
        Self::of((1..=count).map(|fold| format!("fold-{fold}")).collect())
    }

    /// Returns the list of the repeats of a cross-validation, each of them an ensemble of its own.
    pub fn of_repeats(count: usize) -> Self {
        let name = |repeat| format!("repeat-{repeat}");
        Self::of((1..=count).map(name).collect())
    }

    /// Returns the list of a learning curve: only the network with the largest `fraction` of the
    /// training images, which predicts for the run.
    pub fn of_fraction(fraction: f64) -> Self {
        Self::of(vec![format!("{FRACTION}{fraction}")])
    }

    /// Returns a list of members, by the names of their folders.
    pub fn of(members: Vec<String>) -> Self {
        Self {
            members,
            calibration: None,
        }
    }

    /// Returns whether the run is a learning curve.
    pub fn is_learning_curve(&self) -> bool {
        matches!(&self.members[..], [member] if member.starts_with(FRACTION))
    }

    /// Returns whether a folder has the name of a member.
    pub fn has(&self, path: &Path) -> bool {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| self.members.iter().any(|member| *member == name))
    }

    /// Reads the list of the run in the folder `path`, or returns `None` if it has none.
    ///
    /// # Errors
    /// Returns an error if the list can't be read, is empty, or names something outside the folder.
    pub fn open(path: &Path) -> Result<Option<Self>, CheckpointError> {
        let list = path.join(LIST);
        let text = match fs::read(&list) {
            Ok(text) => text,
            Err(error)
                if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(with_path(&error, "can't read", &list).into()),
        };
        let wrong = |reason: String| damaged(path, format!("{LIST}: {reason}"));
        let fields = sealed::open(&text).map_err(wrong)?;
        let found: Self = serde_json::from_value(Value::Object(fields))
            .map_err(|error| wrong(error.to_string()))?;
        let is_name = |name: &String| Path::new(name).file_name() == Some(name.as_ref());
        if found.members.is_empty() || !found.members.iter().all(is_name) {
            let found = listed(&found.members);
            let reason = format!("`members`: found {found}, expected names of folders beside it");
            return Err(wrong(reason));
        }
        Ok(Some(found))
    }

    /// Writes the list into the folder of a run, with the decisions in `meta` as those that
    /// `networks`, all of the run, have together.
    ///
    /// # Errors
    /// Returns an error if the file can't be written.
    pub fn write_calibrated(
        mut self,
        run: &RunFolder,
        (meta, networks): (&Meta, &[Checkpoint]),
    ) -> Result<(), CheckpointError> {
        self.calibration = Some(Calibration::of(meta, networks));
        self.write(run)
    }

    /// Writes the list into the folder of a run.
    ///
    /// # Errors
    /// Returns an error if the file can't be written.
    pub fn write(&self, run: &RunFolder) -> Result<(), CheckpointError> {
        let sealed = Sealed {
            list: self,
            sha256: sealed::digest_of(self),
        };
        Ok(write_atomic(&run.path().join(LIST), &pretty(&sealed))?)
    }

    /// Returns the run folder of each member of the run in the folder `path`.
    pub fn runs(&self, path: &Path) -> Vec<PathBuf> {
        self.members.iter().map(|name| path.join(name)).collect()
    }

    /// Returns the run folder of each network of the run in the folder `path`.
    ///
    /// # Errors
    /// Returns an error if the list of a member that is an ensemble itself can't be read.
    pub fn networks(&self, path: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
        let mut found = Vec::new();
        for run in self.runs(path) {
            match Self::open(&run)? {
                Some(inner) => found.extend(inner.runs(&run)),
                None => found.push(run),
            }
        }
        Ok(found)
    }

    /// Returns the error for a run of several networks where one is needed.
    pub(super) fn refuse(&self, path: &Path) -> CheckpointError {
        match self.networks(path) {
            Ok(runs) => CheckpointError::Several {
                path: path.to_owned(),
                one: runs[0].clone(),
            },
            Err(error) => error,
        }
    }
}

/// The networks that a path names: one or, of a run of several, the best of each.
#[derive(Clone, Debug)]
pub struct Networks {
    /// The folder of their run; of one network, the folder around its checkpoint.
    pub folder: PathBuf,
    /// Their checkpoint folders.
    pub paths: Vec<PathBuf>,
}

impl Networks {
    /// Finds the checkpoints that `path` names: those of a run of several networks, and otherwise
    /// what [`resolve`] returns.
    ///
    /// # Errors
    /// Returns an error if a checkpoint isn't there.
    pub fn find(path: &Path) -> Result<Self, CheckpointError> {
        let paths = match Ensemble::open(path)? {
            None => vec![resolve(path, "best")?],
            Some(ensemble) => {
                let runs = ensemble.networks(path)?;
                let best = runs.iter().map(|run| resolve(run, "best"));
                best.collect::<Result<_, _>>()?
            }
        };
        let folder = match &paths[..] {
            [one] => one.parent().unwrap_or(Path::new(".")),
            _ => path,
        };
        Ok(Self {
            folder: folder.to_owned(),
            paths,
        })
    }

    /// Returns the folder of their run, or `None` if there is no run around them.
    pub fn run(&self) -> Option<&Path> {
        Some(self.folder.as_path()).filter(|folder| folder.join("config.toml").is_file())
    }

    /// Keeps training processes away as long as the value lives. A run that can't be locked, which
    /// nothing can be written into either, is left as it is.
    ///
    /// # Errors
    /// Returns an error if a process trains the run.
    pub fn hold(&self) -> Result<Option<RunFolder>, CheckpointError> {
        match self.run().map(RunFolder::open) {
            Some(Err(held @ CheckpointError::Held { .. })) => Err(held),
            lock => Ok(lock.and_then(Result::ok)),
        }
    }

    /// Loads the checkpoints, for predictions by all of them together. Of several, what was fitted
    /// to single ones says nothing of their mean, and is replaced by what was fitted to all. Frozen
    /// layers that they have in common are kept in memory once.
    ///
    /// # Errors
    /// Fails as [`load`] does, and if the checkpoints differ in their classes, in how images are
    /// read, or in their layers.
    pub fn load(&self) -> Result<Vec<Checkpoint>, CheckpointError> {
        let mut found: Vec<Checkpoint> = Vec::new();
        for path in &self.paths {
            let mut next = load(path)?;
            let first = found.first().and_then(|first| first.backbone.as_ref());
            if let (Some(first), Some(own)) = (first, &mut next.backbone)
                && first.sha256 == own.sha256
            {
                *own = Arc::clone(first);
            }
            found.push(next);
        }
        self.check(&found)?;
        if found.len() > 1 {
            let fitted = self.calibration(&found)?;
            for Checkpoint { meta, .. } in &mut found {
                fitted.apply(meta);
                check_decisions(meta).map_err(|fault| {
                    damaged(&self.folder, format!("{LIST}: calibration: {fault}"))
                })?;
            }
        }
        Ok(found)
    }

    /// Loads the checkpoints where networks that know classes are needed.
    ///
    /// # Errors
    /// As [`Self::load`], and if they are those of an autoencoder.
    pub fn load_classifiers(&self) -> Result<Vec<Checkpoint>, CheckpointError> {
        let found = self.load()?;
        if found[0].meta.is_autoencoder() {
            Err(CheckpointError::Autoencoder(self.folder.clone()))
        } else {
            Ok(found)
        }
    }

    /// Checks that the networks have the same classes, read images alike, and have the same layers.
    fn check(&self, found: &[Checkpoint]) -> Result<(), CheckpointError> {
        let shared = |meta: &Meta| {
            let mut design = meta.design.clone();
            // A file that was moved between two folds.
            design.model.weights = None;
            (meta.classes.clone(), meta.data(), design)
        };
        let first = shared(&found[0].meta);
        let is_other = |other: &Checkpoint| shared(&other.meta) != first;
        let Some(index) = found.iter().position(is_other) else {
            return Ok(());
        };
        Err(CheckpointError::Mixed {
            path: self.paths[index].clone(),
            reason: format!(
                "meta.json: found other classes, images or layers than in {}, expected the same \
                 in all networks of a run",
                self.paths[0].display()
            ),
        })
    }

    /// Returns what was fitted to these networks together.
    fn calibration(&self, found: &[Checkpoint]) -> Result<Calibration, CheckpointError> {
        let kept = Ensemble::open(&self.folder)?.and_then(|ensemble| ensemble.calibration);
        Ok(kept
            .filter(|kept| kept.networks == digests(found))
            .unwrap_or_default())
    }
}

/// What `calibrate` has fitted to the networks of a run together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Calibration {
    /// SHA-256 of the `model.safetensors` of each network: it says nothing of others.
    networks: Vec<String>,
    /// Divisor of all logits before they become probabilities.
    temperature: f64,
    /// Decision threshold of one class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threshold: Option<Threshold>,
    /// Threshold of prediction sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coverage: Option<Coverage>,
}

impl Default for Calibration {
    fn default() -> Self {
        Self {
            networks: Vec::new(),
            temperature: 1.0,
            threshold: None,
            coverage: None,
        }
    }
}

impl Calibration {
    /// Returns the decisions in `meta` as those of all networks.
    fn of(meta: &Meta, networks: &[Checkpoint]) -> Self {
        Self {
            networks: digests(networks),
            temperature: meta.temperature,
            threshold: meta.threshold.clone(),
            coverage: meta.coverage.clone(),
        }
    }

    /// Replaces the decisions in `meta`.
    fn apply(&self, meta: &mut Meta) {
        meta.temperature = self.temperature;
        meta.threshold.clone_from(&self.threshold);
        meta.coverage.clone_from(&self.coverage);
        meta.novelty = None;
    }
}

fn digests(networks: &[Checkpoint]) -> Vec<String> {
    let digest = |network: &Checkpoint| sha256_hex(&network.model);
    networks.iter().map(digest).collect()
}
