//! Finds lists of images that belong together.

use std::path::{Path, PathBuf};

use crate::{base::names, data::listing::Part};

/// Returns whether a path is a file that may be a list of images, or a tar file of them.
pub(in crate::commands) fn is_list(path: &Path) -> bool {
    let endings = ["csv", "tsv", "tar"];
    path.is_file()
        && path.extension().is_some_and(|ending| {
            endings
                .iter()
                .any(|known| ending.eq_ignore_ascii_case(known))
        })
}

/// Returns a list of training images with the lists of validation and test images next to it, such
/// as train.csv with val.csv and test.csv; any other list alone.
pub(super) fn lists_beside(list: &Path) -> [Option<PathBuf>; 3] {
    let part_of =
        |path: &Path| Part::from_name(&names::of_os(path.file_stem().unwrap_or_default()));
    let mut parts = [Some(list.to_owned()), None, None];
    if part_of(list) != Some(Part::Train) {
        return parts;
    }
    let folder = list.parent().unwrap_or(Path::new(""));
    let found = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
    .read_dir();
    let mut others: Vec<_> = found
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| folder.join(entry.file_name()))
        .collect();
    others.sort();
    for path in others
        .into_iter()
        .filter(|path| path.extension() == list.extension() && path.is_file())
    {
        match part_of(&path) {
            Some(part) if parts[part as usize].is_none() => parts[part as usize] = Some(path),
            _ => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_other_parts_beside_a_list_of_training_images_are_found() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [
            "train.csv",
            "val.csv",
            "test.txt",
            "testing.csv",
            "labels.csv",
        ] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        let at = |name: &str| Some(folder.path().join(name));
        assert_eq!(
            lists_beside(&at("train.csv").expect("a path")),
            [at("train.csv"), at("val.csv"), at("testing.csv")]
        );
        assert_eq!(
            lists_beside(&at("labels.csv").expect("a path")),
            [at("labels.csv"), None, None]
        );
    }
}
