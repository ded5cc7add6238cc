//! Chooses the folder for the results of an evaluation. Results of other images are never replaced.

use std::{fs, io::ErrorKind, path::Path, path::PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::document;
use crate::{
    base::{
        io::files::{held_leftovers_only, write_atomic},
        names,
        usage::UsageError,
    },
    data::table,
    evaluation::images::OUT_OF_FOLD,
    report,
};

/// Returns the folder name for an evaluation of images called `images` by the checkpoint in this
/// folder. The name of the checkpoint is added unless it is `best`.
pub fn name(images: &str, checkpoint: &Path) -> String {
    match checkpoint.file_name().map(|name| name.to_string_lossy()) {
        Some(folder) if folder != "best" => format!("{images}-{folder}"),
        _ => images.to_owned(),
    }
}

/// Creates a folder for results: `name` in `folder`, or the first of `name-2`, `name-3` and so on
/// that doesn't exist or has an evaluation of the same images.
///
/// # Errors
/// Returns an error if a folder can't be created.
pub fn free(folder: &Path, name: &str, digest: &str) -> anyhow::Result<PathBuf> {
    let in_words = |path: &Path| format!("can't create {}", names::of_path(path));
    fs::create_dir_all(folder).with_context(|| in_words(folder))?;
    for name in names::numbered(name) {
        let path = folder.join(name);
        // Creating the folder decides between two evaluations at the same time; a check before it
        // could not.
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // A program that was killed before it had written anything left its working files.
                if digest_in(&path).is_some_and(|found| found == digest)
                    || held_leftovers_only(&path)
                {
                    return Ok(path);
                }
            }
            Err(error) => return Err(error).with_context(|| in_words(&path)),
        }
    }
    unreachable!("there is no last name")
}

/// Returns `out`, unless results there are of other images.
///
/// # Errors
/// Returns an error if a file that would be written exists and isn't from an evaluation of the same
/// images.
pub fn chosen(out: &Path, digest: &str) -> Result<PathBuf, UsageError> {
    let taken = ["metrics.json", "predictions.csv", report::PAGE]
        .iter()
        .map(|name| out.join(name))
        .find(|path| path.exists());
    match taken.filter(|_| digest_in(out).is_none_or(|found| found != digest)) {
        Some(path) => Err(UsageError(format!(
            "found results of other images, which would be replaced; choose another --out: {}",
            names::of_path(&path)
        ))),
        None => Ok(out.to_owned()),
    }
}

/// Returns the summary of the last evaluation of a checkpoint of a run, on its test images or,
/// without any, on its validation images or those of all its folds; nothing if there is none.
pub fn summary(run: &Path, checkpoint: &Path) -> Vec<String> {
    let of_images = |images: &str| {
        let folder = run.join("evaluation").join(name(images, checkpoint));
        let metrics = document::read(&folder).ok()??;
        serde_json::from_value(metrics.get("summary")?.clone()).ok()
    };
    ["test", "val", OUT_OF_FOLD]
        .into_iter()
        .find_map(of_images)
        .unwrap_or_default()
}

/// Returns the digest of the images that the evaluation in this folder measured, if it is known.
fn digest_in(folder: &Path) -> Option<String> {
    let metrics = document::read(folder).ok()??;
    Some(metrics.get("data")?.get("blake3")?.as_str()?.to_owned())
}

/// Writes the rows of a table. Without any, removes the file of an earlier evaluation, whose folder
/// this is.
///
/// # Errors
/// Returns an error if the file can't be written or removed.
pub(in crate::evaluation) fn write_rows(
    path: &Path,
    rows: &[impl Serialize],
) -> anyhow::Result<()> {
    if !rows.is_empty() {
        return Ok(write_atomic(path, &table::to_csv(rows))?);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", names::of_path(path)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::io::files::PartialFile;

    #[test]
    fn a_folder_with_nothing_but_what_a_killed_program_left_is_free() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let test = folder.path().join("test");
        fs::create_dir(&test).expect("made");
        // Another evaluation may just have made it.
        let second = free(folder.path(), "test", "a").expect("made");
        assert_eq!(second, folder.path().join("test-2"));
        let file = PartialFile::new(&test.join("metrics.json")).expect("started");
        let working = fs::read_dir(&test).expect("listed").next();
        let working = working.expect("a file").expect("listed").path();
        let name = working.file_name().expect("named").to_string_lossy();
        let own = std::process::id().to_string();
        // The number of a process that can't be.
        let dead = name.replace(&format!("-{own}-"), "-4194305-");
        drop(file);
        fs::write(test.join(dead), "half").expect("written");
        assert_eq!(free(folder.path(), "test", "b").expect("made"), test);
        assert_eq!(fs::read_dir(&test).expect("listed").count(), 0);
    }

    #[test]
    fn evaluations_of_other_images_are_kept_and_of_the_same_replaced() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let evaluation = folder.path().join("evaluation");
        let place = |digest: &str| {
            let path = free(&evaluation, "test", digest).expect("made");
            fs::write(
                path.join("metrics.json"),
                format!(r#"{{"data": {{"blake3": "{digest}"}}}}"#),
            )
            .expect("written");
            path.file_name()
                .expect("named")
                .to_string_lossy()
                .into_owned()
        };
        let got: Vec<_> = ["a", "b", "a", "c", "b"].into_iter().map(place).collect();
        assert_eq!(got, ["test", "test-2", "test", "test-3", "test-2"]);
        // Results of an older version don't name their images.
        fs::write(evaluation.join("test/metrics.json"), "{}").expect("written");
        assert_eq!(place("a"), "test-4");
        assert!(
            chosen(&evaluation.join("test-2"), "b").is_ok()
                && chosen(&evaluation.join("never"), "b").is_ok()
        );
        let refused = chosen(&evaluation.join("test-2"), "a")
            .expect_err("other images")
            .to_string();
        assert!(
            refused.contains("choose another --out") && refused.ends_with("test-2/metrics.json"),
            "{refused}"
        );
        assert_eq!(
            (
                name("test", Path::new("run/best")),
                name("test", Path::new("run/last"))
            ),
            ("test".to_owned(), "test-last".to_owned())
        );
    }
}
