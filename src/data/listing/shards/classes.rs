//! The class of each image of a shard: the label beside it, a number of which stands for a line of
//! `classes.txt`, or else the folder in its name.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    base::{
        io::http::{Remote, is_address},
        names,
    },
    data::{listing::Kind, shards::Member},
};

/// The file beside shards with the name of a class on each line, in the order of their numbers.
const NAMES: &str = "classes.txt";

/// Returns the class of each image of `shards`, or why it has none.
///
/// # Errors
/// Returns the reason if there is no image with a class, or if a label is a number that
/// `classes.txt` has no line for.
pub(super) fn of(
    images: &[&Member],
    shards: &[PathBuf],
) -> Result<Vec<Result<String, Kind>>, String> {
    if images.is_empty() {
        return Err("found no image".to_owned());
    }
    if images.iter().any(|image| image.label.is_some()) {
        let names = names_beside(shards)?;
        let class = |image: &&Member| match &image.label {
            Some(label) => named(label, names.as_deref())
                .map(Ok)
                .map_err(|reason| format!("{reason}, the label of {}", image.name)),
            None => Ok(Err(Kind::Unlabeled)),
        };
        return images.iter().map(class).collect();
    }
    let level = level_of(images);
    let class = |image: &&Member| folders(image).nth(level).map(str::to_owned);
    let classes: Vec<_> = images.iter().map(class).collect();
    if classes.iter().all(Option::is_none) {
        return Err(format!(
            "found {} images without a class, expected a folder in their names, as in cats/01.jpg, \
             or a label beside each, as 01.cls or 01.json beside 01.jpg",
            images.len()
        ));
    }
    let or_kind = |class: Option<String>| class.ok_or(Kind::WithoutClass);
    Ok(classes.into_iter().map(or_kind).collect())
}

/// Returns the lines of `classes.txt` beside the first shard, if it is there.
fn names_beside(shards: &[PathBuf]) -> Result<Option<Vec<String>>, String> {
    let folder = shards.first().and_then(|shard| shard.parent());
    let path = folder.unwrap_or(Path::new("")).join(NAMES);
    let text = if is_address(&path) {
        Remote::find(&path.to_string_lossy()).and_then(|remote| {
            let length = remote.length();
            io::read_to_string(Arc::new(remote).part(0..length))
        })
    } else {
        fs::read_to_string(&path)
    };
    match text {
        Ok(text) => Ok(Some(text.lines().map(names::of_text).collect())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("can't read {}: {error}", names::of_path(&path))),
    }
}

/// Returns the name of the class that a label stands for.
fn named(label: &str, names: Option<&[String]>) -> Result<String, String> {
    let (Some(names), Ok(number)) = (names, label.parse::<usize>()) else {
        return Ok(names::of_text(label));
    };
    let name = names.get(number).filter(|name| !name.is_empty());
    name.cloned().ok_or_else(|| {
        format!(
            "found no line {} in {NAMES}, which has {} lines, for {number}",
            number + 1,
            names.len()
        )
    })
}

/// Returns the folders in a member's name.
fn folders(image: &Member) -> impl Iterator<Item = &str> {
    let folder = image.name.rsplit_once('/').map(|(folder, _)| folder);
    folder.into_iter().flat_map(|folder| folder.split('/'))
}

/// Returns which of the folders in their names is the class: the first that not all images share,
/// such as the second where a whole folder `train` was packed.
fn level_of(images: &[&Member]) -> usize {
    let mut shared: Vec<&str> = folders(images[0]).collect();
    let mut depth = shared.len();
    for image in images {
        let equal = folders(image)
            .zip(&shared)
            .take_while(|(a, b)| a == *b)
            .count();
        shared.truncate(equal);
        depth = depth.min(folders(image).count());
    }
    shared.len().min(depth.saturating_sub(1))
}
