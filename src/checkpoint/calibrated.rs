//! What `calibrate` adds to a checkpoint: values in its `meta.json` and, with novelty, a file with
//! the distribution of features that images are compared with.

use std::{fs, path::Path, sync::Arc};

use super::{
    CheckpointError, META, Meta, NOVELTY, RunFolder, checked, damaged,
    fault::{Checked, require},
};
use crate::{
    base::io::files::{FolderWriter, sha256_hex, with_path, write_atomic},
    metrics::{Novelty, NoveltyModel},
};

/// Replaces the `meta.json` of the checkpoint at `path`, to store a temperature, threshold or
/// coverage.
///
/// The lock of the run, to which the checkpoint must belong, keeps other writers away.
///
/// # Errors
/// Returns an error if the file can't be written.
pub fn save_meta(_run: &RunFolder, path: &Path, meta: &Meta) -> Result<(), CheckpointError> {
    Ok(write_atomic(&path.join(META), &meta.to_text())?)
}

/// Replaces the `meta.json` of the checkpoint at `path` as [`save_meta`] does, together with the
/// file of its novelty. Without novelty in `meta`, it is [`save_meta`].
///
/// # Errors
/// Returns an error if a file can't be written.
pub fn save_novelty(run: &RunFolder, path: &Path, meta: &Meta) -> Result<(), CheckpointError> {
    let Some(novelty) = &meta.novelty else {
        return save_meta(run, path, meta);
    };
    // Two files can't be replaced at once, so the folder is, with links to its other files.
    let writer = FolderWriter::new(path)?;
    let failed = |error| with_path(&error, "can't read", path);
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (name, file) = (entry.file_name(), entry.path());
        match name.to_str() {
            Some(META | NOVELTY) => {}
            Some(name) if file.is_file() => writer.link(name, &file)?,
            _ => {}
        }
    }
    let bytes = novelty.model.to_bytes();
    let mut meta = meta.clone();
    meta.files.insert(NOVELTY.to_owned(), sha256_hex(&bytes));
    writer.write(NOVELTY, &bytes)?;
    writer.write(META, &meta.to_text())?;
    Ok(writer.commit()?)
}

/// Checks the rate of false alarms, and that its file is listed.
pub(super) fn check_novelty(meta: &Meta) -> Checked {
    let is_listed = meta.files.contains_key(NOVELTY);
    let Some(fitted) = &meta.novelty else {
        return require(
            !is_listed,
            "novelty",
            &meta.novelty,
            format!("a value for {NOVELTY}"),
        );
    };
    require(is_listed, "files", meta.files.keys(), NOVELTY)?;
    require(
        fitted.rate > 0.0 && fitted.rate < 1.0,
        "novelty.rate",
        fitted.rate,
        "a fraction between 0 and 1",
    )?;
    let images = |field: &str, count| require(count > 0, field, count, "one image or more");
    images("novelty.compared_with", fitted.compared_with)?;
    images("novelty.fitted_on", fitted.fitted_on)
}

/// Reads the distribution that images are compared with into the metadata of the checkpoint at
/// `path`, if novelty was fitted.
///
/// # Errors
/// Returns an error if the file is missing, was changed, or belongs to another network.
pub(super) fn with_novelty(path: &Path, mut meta: Meta) -> Result<Meta, CheckpointError> {
    let Some(fitted) = meta.novelty.clone() else {
        return Ok(meta);
    };
    let wrong = |reason| damaged(path, format!("{NOVELTY}: {reason}"));
    let model = NoveltyModel::from_bytes(&checked(path, &meta, NOVELTY)?).map_err(wrong)?;
    let features = meta
        .design
        .num_features()
        .map_err(|error| wrong(error.to_string()))?;
    let images = fitted.fitted_on;
    let [found_features, found_images] = model.sizes();
    if [found_features, found_images] != [features, images] {
        return Err(wrong(format!(
            "found {found_features} features and {found_images} validation images, expected \
             {features} and {images} as in {META}"
        )));
    }
    let model = Arc::new(model);
    meta.novelty = Some(Novelty { model, ..fitted });
    Ok(meta)
}
