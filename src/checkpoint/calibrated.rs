//! What `calibrate` adds to a checkpoint: values in its `meta.json` and, with novelty, a file with
//! the distribution of features that images are compared with.

use std::{fs, path::Path};

use super::{CheckpointError, META, Meta, RunFolder, meta::NOVELTY};
use crate::base::io::files::{FolderWriter, sha256_hex, with_path, write_atomic};

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
