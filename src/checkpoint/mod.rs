//! One checkpoint folder: saved as a whole or not at all, and refused if any byte of it is wrong.
//!
//! It has `model.safetensors` and `meta.json`, and for a resume `optimizer.safetensors` and
//! `state.json`. Layers that stay frozen have a file of their own, `backbone.safetensors`, which
//! the checkpoints of a run share; without it, they are identified by the file they came from and a
//! digest.

mod calibrated;
mod check;
mod decisions;
mod ensemble;
mod error;
mod fault;
mod meta;
mod meta_file;
mod network;
mod run;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use calibrated::{save_meta, save_novelty};
use check::{check, check_size};
pub use ensemble::{Ensemble, Networks};
pub use error::CheckpointError;
use fault::Fault;
use meta::NOVELTY;
pub use meta::{Frozen, Meta, RunId};
use meta_file::pretty;
pub use network::{Checkpoint, FrozenBytes, Resumable};
pub use run::{RunFolder, check_run, resolve_resumable};
use serde_json::Value;

use crate::{
    base::io::files::{FolderWriter, recover_folder, sha256_hex},
    data::Whitening,
    metrics::{Novelty, NoveltyModel},
};

/// Read attempts while another process replaces the folder.
const TRIES: usize = 10;
/// Pause between two read attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// All weights but those in [`BACKBONE`].
const MODEL: &str = "model.safetensors";
/// Weights of frozen layers, if `train.checkpoint.include_backbone` is set.
const BACKBONE: &str = "backbone.safetensors";
/// State of the optimizer, and the weights behind averaged ones.
const OPTIMIZER: &str = "optimizer.safetensors";
/// Counters and decisions of the training loop.
const STATE: &str = "state.json";
/// Matrix of ZCA whitening, if images are whitened.
const WHITENING: &str = "whitening.safetensors";
/// Metadata, with the digests of all other files.
const META: &str = "meta.json";

/// Maximum size of `meta.json` that is read; no real one comes near it.
const META_BYTES: u64 = 64 << 20;

/// Saves a checkpoint under each of `names` (`best`, `last`) in the folder of a run, in this order.
///
/// # Errors
/// Returns an error with the path if a file can't be written. A checkpoint of the same name stays
/// until the new one is complete.
pub fn save(run: &RunFolder, names: &[&str], saved: &Resumable) -> Result<(), CheckpointError> {
    let Resumable {
        checkpoint,
        optimizer,
        state,
    } = saved;
    let state = pretty(state);
    let whitening = checkpoint
        .meta
        .normalize
        .whitening
        .as_ref()
        .map(Whitening::to_bytes);
    let mut files = vec![
        (MODEL, &checkpoint.model),
        (OPTIMIZER, optimizer),
        (STATE, &state),
    ];
    files.extend(whitening.as_ref().map(|bytes| (WHITENING, bytes)));
    let mut meta = checkpoint.meta.clone();
    // SHA-256 rather than the faster BLAKE3, because users can check it with the tools of any
    // system.
    meta.files = files
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), sha256_hex(bytes)))
        .collect();
    meta.files.extend(
        checkpoint
            .backbone
            .as_ref()
            .map(|backbone| (BACKBONE.to_owned(), backbone.sha256.clone())),
    );
    let meta = meta.to_text();
    files.push((META, &meta));
    names.iter().try_for_each(|name| {
        write(
            &run.path().join(name),
            checkpoint.backbone.as_deref(),
            &files,
        )
    })
}

/// Saves a checkpoint that no training has made as `best` in the folder of a run. It predicts, and
/// can't be resumed.
///
/// # Errors
/// Returns an error with the path if a file can't be written.
pub fn save_imported(run: &RunFolder, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
    let mut meta = checkpoint.meta.clone();
    meta.files = BTreeMap::from([(MODEL.to_owned(), sha256_hex(&checkpoint.model))]);
    let files = [(MODEL, &checkpoint.model), (META, &meta.to_text())];
    write(&run.path().join("best"), None, &files)
}

/// Returns whether no training has made the checkpoint at `path`.
fn is_imported(path: &Path) -> bool {
    let meta = read_meta(path);
    meta.is_ok_and(|meta| meta.run.is_none() && !meta.files.contains_key(OPTIMIZER))
}

/// Checks that a network is one that this program supports, and that its weights fit into a file of
/// `bytes`, before memory is taken for it.
///
/// # Errors
/// Returns a message that names the value of `meta.json` that it would contradict.
pub fn check_imported(meta: &Meta, bytes: u64) -> Result<(), String> {
    check(meta)
        .and_then(|()| check_size(meta, bytes))
        .map_err(|fault| fault.to_string())
}

/// Writes one checkpoint folder beside `path` and renames it.
fn write(
    path: &Path,
    backbone: Option<&FrozenBytes>,
    files: &[(&str, &Vec<u8>)],
) -> Result<(), CheckpointError> {
    let writer = FolderWriter::new(path)?;
    if let Some(backbone) = backbone {
        // It never changes within a run, so a file in either checkpoint with the right length and
        // digest is linked rather than written: VGG16's takes 59 MB.
        let is_it = |folder: &PathBuf| {
            let length = fs::metadata(folder.join(BACKBONE)).map(|found| found.len());
            length.is_ok_and(|length| length == backbone.bytes.len() as u64)
                && written_digest(folder).as_ref() == Some(&backbone.sha256)
        };
        match [Some(path.to_owned()), other_of(path)]
            .into_iter()
            .flatten()
            .find(is_it)
        {
            Some(folder) => writer.link(BACKBONE, &folder.join(BACKBONE))?,
            None => writer.write(BACKBONE, &backbone.bytes)?,
        }
    }
    for (name, bytes) in files {
        writer.write(name, bytes)?;
    }
    Ok(writer.commit()?)
}

/// Returns the digest of `backbone.safetensors` that the checkpoint in `folder` was saved with.
fn written_digest(folder: &Path) -> Option<String> {
    read_meta(folder).ok()?.files.get(BACKBONE).cloned()
}

/// Loads the checkpoint folder at `path` for predictions. Every byte that they need is checked; the
/// optimizer's state, two thirds of a checkpoint, isn't read.
///
/// # Errors
/// Returns an error if a file is missing, damaged or of another version. For a damaged checkpoint
/// it names the other checkpoint of the run if that one is intact.
pub fn load(path: &Path) -> Result<Checkpoint, CheckpointError> {
    load_with(path, read)
}

/// Loads the checkpoint folder at `path` for a resume. Every byte is checked.
///
/// # Errors
/// Fails as [`load`] does.
pub fn load_resumable(path: &Path) -> Result<Resumable, CheckpointError> {
    load_with(path, read_resumable)
}

type Reading<T> = fn(&Path) -> Result<T, CheckpointError>;

fn load_with<T>(path: &Path, read: Reading<T>) -> Result<T, CheckpointError> {
    // A reader may find a run between the two renames of a save, or after a crash there.
    recover_folder(path)?;
    read_whole(path, read).map_err(|error| match error {
        CheckpointError::Damaged { path, reason, .. } => {
            let other = other_of(&path).filter(|other| read(other).is_ok());
            CheckpointError::Damaged {
                path,
                reason,
                other,
            }
        }
        error => error,
    })
}

/// Reads the folder, and again if a training process replaced it meanwhile.
fn read_whole<T>(path: &Path, read: Reading<T>) -> Result<T, CheckpointError> {
    for _ in 0..TRIES {
        // A failure counts only if `meta.json` was there and the same before and after; it differs
        // between any two checkpoints of a run.
        let before = fs::read(path.join(META)).ok();
        let found = read(path);
        if found.is_ok() || before.is_some() && fs::read(path.join(META)).ok() == before {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
    read(path)
}

/// Returns the path of `best` for `last` and of `last` for `best`.
fn other_of(path: &Path) -> Option<PathBuf> {
    let name = match path.file_name()?.to_str()? {
        "best" => "last",
        "last" => "best",
        _ => return None,
    };
    Some(path.with_file_name(name))
}

fn damaged(path: &Path, reason: String) -> CheckpointError {
    CheckpointError::Damaged {
        path: path.to_owned(),
        reason,
        other: None,
    }
}

fn bytes(path: &Path, name: &str) -> Result<Vec<u8>, CheckpointError> {
    fs::read(path.join(name)).map_err(|error| damaged(path, format!("{name}: {error}")))
}

/// Reads and checks the `meta.json` of a checkpoint folder.
///
/// # Errors
/// Returns an error if the file is missing, was changed, or contradicts itself.
pub fn read_meta(path: &Path) -> Result<Meta, CheckpointError> {
    if !path.is_dir() {
        return Err(CheckpointError::Missing(path.to_owned()));
    }
    if let Some(length) = fs::metadata(path.join(META))
        .ok()
        .map(|meta| meta.len())
        .filter(|length| *length > META_BYTES)
    {
        return Err(damaged(
            path,
            format!("{META} has {length} bytes, expected {META_BYTES} at most"),
        ));
    }
    Meta::from_text(&bytes(path, META)?).map_err(|fault| match fault {
        Fault::Version(found) => CheckpointError::Version {
            path: path.to_owned(),
            found,
        },
        fault => damaged(path, format!("{META}: {fault}")),
    })
}

/// Reads the state of the training loop from the checkpoint folder at `path`, and nothing else.
///
/// # Errors
/// Fails as [`load`] does.
pub fn read_state(path: &Path) -> Result<Value, CheckpointError> {
    let state = checked(path, &read_meta(path)?, STATE)?;
    serde_json::from_slice(&state).map_err(|error| damaged(path, format!("{STATE}: {error}")))
}

/// Reads a file and compares it with the digest that `meta` lists.
fn checked(path: &Path, meta: &Meta, name: &str) -> Result<Vec<u8>, CheckpointError> {
    let content = bytes(path, name)?;
    match meta.files.get(name) {
        Some(expected) if *expected == sha256_hex(&content) => Ok(content),
        Some(_) => Err(damaged(
            path,
            format!("{name} is cut off or changed (its SHA-256 isn't the one in {META})"),
        )),
        None => Err(damaged(path, format!("{META} doesn't list {name}"))),
    }
}

fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let mut meta = with_novelty(path, read_meta(path)?)?;
    let model = checked(path, &meta, MODEL)?;
    if meta.files.contains_key(WHITENING) {
        let whitening = Whitening::from_bytes(&checked(path, &meta, WHITENING)?);
        let whitening =
            whitening.map_err(|reason| damaged(path, format!("{WHITENING}: {reason}")))?;
        let size: usize = meta.design.input.iter().product();
        if whitening.matrix.len() != size * size {
            let found = whitening.matrix.len();
            return Err(damaged(
                path,
                format!(
                    "{WHITENING}: found {found} numbers, expected {size} times {size} for the \
                     images of {META}"
                ),
            ));
        }
        meta.normalize.whitening = Some(whitening);
    }
    let backbone = match meta.files.get(BACKBONE).cloned() {
        Some(sha256) => Some(Arc::new(FrozenBytes {
            bytes: checked(path, &meta, BACKBONE)?,
            sha256,
        })),
        None => None,
    };
    // The files are whole, but `meta.json` may describe a larger network than theirs: check before
    // memory is allocated for it.
    let length = model.len() + backbone.as_ref().map_or(0, |kept| kept.bytes.len());
    check_size(&meta, length as u64).map_err(|fault| damaged(path, format!("{META}: {fault}")))?;
    Ok(Checkpoint {
        meta,
        model,
        backbone,
    })
}

/// Reads the file of the novelty that was fitted, if any, into the metadata of a checkpoint.
fn with_novelty(path: &Path, mut meta: Meta) -> Result<Meta, CheckpointError> {
    let Some(fitted) = meta.novelty.clone() else {
        return Ok(meta);
    };
    let wrong = |reason| damaged(path, format!("{NOVELTY}: {reason}"));
    let model = NoveltyModel::from_bytes(&checked(path, &meta, NOVELTY)?).map_err(wrong)?;
    let features = meta.design.num_features();
    let features = features.map_err(|error| wrong(error.to_string()))?;
    let (found, expected) = (model.sizes(), [features, fitted.fitted_on]);
    if found != expected {
        let words = format!("found {found:?} features and images, expected {expected:?}");
        return Err(wrong(words));
    }
    let model = Arc::new(model);
    meta.novelty = Some(Novelty { model, ..fitted });
    Ok(meta)
}

fn read_resumable(path: &Path) -> Result<Resumable, CheckpointError> {
    let checkpoint = read(path)?;
    Ok(Resumable {
        optimizer: checked(path, &checkpoint.meta, OPTIMIZER)?,
        state: read_state(path)?,
        checkpoint,
    })
}

/// Returns the checkpoint folder that a path names: `path` itself, or `path/preferred` if `path` is
/// a run folder; of a learning curve, that of its largest fraction.
///
/// # Errors
/// Returns an error if there is neither, naming the other checkpoint of the run if there is one, or
/// if `path` is a run of several networks.
pub fn resolve(path: &Path, preferred: &str) -> Result<PathBuf, CheckpointError> {
    if let Some(ensemble) = Ensemble::open(path)? {
        return match &ensemble.runs(path)[..] {
            [run] if ensemble.is_learning_curve() => resolve(run, preferred),
            _ => Err(ensemble.refuse(path)),
        };
    }
    let inner = path.join(preferred);
    recover_folder(&inner)?;
    if path.join(META).is_file() {
        Ok(path.to_owned())
    } else if inner.is_dir() {
        Ok(inner)
    } else if other_of(&inner).is_some_and(|other| other.is_dir()) {
        Err(CheckpointError::Damaged {
            path: inner.clone(),
            reason: format!("{preferred}/ is missing (no epoch has ended yet, or it was removed)"),
            other: other_of(&inner),
        })
    } else {
        // A folder named like a checkpoint but without `meta.json` is damaged rather than missing.
        let is_checkpoint = path.is_dir() && other_of(path).is_some();
        if is_checkpoint {
            Ok(path.to_owned())
        } else {
            Err(CheckpointError::Missing(path.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Color, Hidden, Interpolation, Loss, Model, Resize},
        data::batches::normalize::Normalizer,
        metrics::Coverage,
        nn::networks::classifier::{Design, Output},
    };

    fn whitens() -> Normalizer {
        Normalizer {
            rescale: 1.0 / 255.0,
            samplewise_center: true,
            samplewise_std: false,
            mean: vec![0.1],
            std: vec![0.3],
            blue_first: false,
            whitening: Some(Whitening {
                matrix: (0..72 * 72).map(|index| index as f32 / 7.0).collect(),
            }),
        }
    }

    fn saved(epoch: usize) -> Resumable {
        let model = Model {
            channels: Some(vec![2]),
            hidden: Hidden::One(0),
            ..Model::default()
        };
        let meta = Meta {
            format: Meta::format(),
            emberlens: "0.0.0".to_owned(),
            name: "x".to_owned(),
            classes: vec!["a".to_owned(), "b".to_owned()],
            image_size: [8, 9],
            color: Color::Grayscale,
            resize: Resize::Pad,
            interpolation: Interpolation::Box,
            repair: true,
            normalize: whitens(),
            design: Design {
                model,
                input: [1, 8, 9],
                num_classes: 2,
                output: Output::Sigmoid,
            },
            loss: Loss::BinaryCrossEntropy,
            focal_gamma: 2.0,
            epoch,
            metrics: BTreeMap::from([
                ("val_loss".to_owned(), Some(0.1 + 0.2)),
                ("loss".to_owned(), None),
            ]),
            temperature: 1.0,
            threshold: None,
            coverage: Some(Coverage {
                coverage: 0.9,
                probability: 1.0 / 3.0,
                fitted_on: 12,
            }),
            novelty: None,
            reconstruction: None,
            frozen: None,
            run: Some(RunId {
                id: "one".to_owned(),
                splits: vec![sha256_hex(b"path\n")],
            }),
            files: BTreeMap::new(),
        };
        let checkpoint = Checkpoint {
            meta,
            model: vec![1; 1000],
            backbone: None,
        };
        Resumable {
            checkpoint,
            optimizer: vec![2; 500],
            state: serde_json::json!({ "epoch": epoch }),
        }
    }

    fn run_with(names: &[&str], saved: &Resumable) -> (tempfile::TempDir, RunFolder) {
        let place = tempfile::tempdir().expect("a temporary folder");
        let run = RunFolder::create(place.path()).expect("empty");
        save(&run, names, saved).expect("saved");
        (place, run)
    }

    #[test]
    fn what_is_saved_is_loaded_and_a_run_folder_leads_to_its_best() {
        let (place, run) = run_with(&["best", "last"], &saved(3));
        let path = resolve(place.path(), "best").expect("found");
        let loaded = load_resumable(&path).expect("loaded");
        let expected = saved(3);
        assert_eq!(
            (loaded.checkpoint.model, loaded.optimizer, loaded.state),
            (
                expected.checkpoint.model,
                expected.optimizer,
                expected.state
            )
        );
        assert_eq!(
            Meta {
                files: BTreeMap::new(),
                ..loaded.checkpoint.meta.clone()
            },
            expected.checkpoint.meta
        );
        assert_eq!(
            resolve(&place.path().join("last"), "best").expect("found"),
            place.path().join("last")
        );
        let meta = Meta {
            temperature: 1.5,
            ..loaded.checkpoint.meta
        };
        save_meta(&run, &path, &meta).expect("saved");
        assert_eq!(read_meta(&path).expect("whole").temperature, 1.5);
    }

    #[test]
    fn any_damage_is_named_and_the_other_checkpoint_is_offered() {
        type Damage = fn(&Path);
        let damages: [(&str, Damage); 5] = [
            (MODEL, |path| {
                fs::write(path.join(MODEL), [1; 999]).expect("cut off")
            }),
            (OPTIMIZER, |path| {
                fs::write(path.join(OPTIMIZER), [3; 500]).expect("changed")
            }),
            (STATE, |path| {
                fs::remove_file(path.join(STATE)).expect("removed")
            }),
            (META, |path| {
                fs::write(path.join(META), b"{").expect("cut off")
            }),
            (META, |path| {
                fs::remove_file(path.join(META)).expect("removed")
            }),
        ];
        for (file, damage) in damages {
            let (place, _run) = run_with(&["best", "last"], &saved(3));
            let path = place.path().join("last");
            damage(&path);
            let error = load_resumable(&resolve(place.path(), "last").expect("found"))
                .expect_err(file)
                .to_string();
            assert!(error.contains("damaged") && error.contains(file), "{error}");
            assert!(error.contains("best is intact"), "{error}");
            let is_needed = [MODEL, META].contains(&file);
            assert_eq!(
                load(&path).is_err(),
                is_needed,
                "{file}: predictions need no more than their own"
            );
        }
    }

    #[test]
    fn a_newer_format_and_an_empty_folder_say_so() {
        let empty = tempfile::tempdir().expect("a temporary folder");
        assert!(matches!(
            resolve(empty.path(), "best"),
            Err(CheckpointError::Missing(_))
        ));
        let (place, _run) = run_with(&["best"], &saved(1));
        let path = place.path().join("best");
        for (format, expected) in [
            ("9", "found 9, expected 2 to 3; a newer"),
            ("1", "found 1, expected 2 to 3; an older"),
        ] {
            let text = fs::read_to_string(path.join(META))
                .expect("read")
                .replace("\"format\": 3", &format!("\"format\": {format}"));
            let original = fs::read(path.join(META)).expect("read");
            fs::write(path.join(META), text).expect("written");
            let error = load(&path).expect_err("another").to_string();
            assert!(error.contains(expected), "{error}");
            fs::write(path.join(META), original).expect("written");
        }
    }

    #[test]
    fn files_of_another_run_and_a_changed_split_are_told() {
        let (place, run) = run_with(&["best", "last"], &saved(2));
        let split = place.path().join("split.csv");
        fs::write(&split, b"path\n").expect("written");
        let id = saved(2).checkpoint.meta.run;
        let check = || check_run(id.as_ref(), &place.path().join("last"));
        check().expect("all of one run");
        fs::write(&split, b"path\nx\n").expect("written");
        let error = check().expect_err("changed").to_string();
        assert!(
            error.contains("split.csv was changed") && error.ends_with("split.csv"),
            "{error}"
        );
        fs::write(&split, b"path\n").expect("written");
        let mut other = saved(2);
        other.checkpoint.meta.run = Some(RunId {
            id: "two".to_owned(),
            splits: vec![sha256_hex(b"path\n")],
        });
        save(&run, &["best"], &other).expect("saved");
        let error = check().expect_err("of another run").to_string();
        assert!(
            error.contains("`run.id`: found two, expected one") && error.ends_with("best"),
            "{error}"
        );
    }
}
