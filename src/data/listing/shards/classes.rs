//! The class of each image of a shard: the label beside it, a number of which stands for a line of
//! `classes.txt`, or else the folder in its name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::Arc,
};

use crate::{
    base::{
        io::http::{Remote, is_address},
        names, words,
    },
    data::{
        listing::{Kind, Part},
        shards::Member,
    },
};

use super::Image;

/// The file beside shards with the name of a class on each line, in the order of their numbers.
const NAMES: &str = "classes.txt";

/// Returns the class of each image, or why it has none.
///
/// # Errors
/// Returns the reason if there is no image with a class, if a label is a number that the
/// `classes.txt` beside its shard has no line for, or if the folders are parts rather than classes.
pub(super) fn of(images: &[Image<'_>]) -> Result<Vec<Result<String, Kind>>, String> {
    if images.is_empty() {
        return Err("found no image".to_owned());
    }
    let members: Vec<&Member> = images.iter().map(|image| image.member).collect();
    if members.iter().any(|member| member.label.is_some()) {
        let folder = |image: &Image<'_>| image.shard.parent().unwrap_or(Path::new("")).to_owned();
        // Numbers of different folders may stand for different classes.
        let mut names = BTreeMap::new();
        for folder in images.iter().map(folder).collect::<BTreeSet<_>>() {
            let found = names_in(&folder)?;
            names.insert(folder, found);
        }
        let class = |image: &Image<'_>| match &image.member.label {
            Some(label) => named(label, names[&folder(image)].as_deref())
                .map(Ok)
                .map_err(|reason| format!("{reason}, the label of {}", image.member.name)),
            None => Ok(Err(Kind::Unlabeled)),
        };
        return images.iter().map(class).collect();
    }
    let level = level_of(&members);
    let class = |member: &&Member| folders(member).nth(level).map(str::to_owned);
    let classes: Vec<_> = members.iter().map(class).collect();
    if classes.iter().all(Option::is_none) {
        return Err(format!(
            "found {} images without a class, expected a folder in their names, as in cats/01.jpg, \
             or a label beside each, as 01.cls or 01.json beside 01.jpg",
            images.len()
        ));
    }
    let different: BTreeSet<&String> = classes.iter().flatten().collect();
    let parts = different.iter().map(|name| Part::from_name(name));
    if different.len() > 1
        && parts.clone().all(|part| part.is_some())
        && parts.flatten().any(|part| part == Part::Train)
    {
        let names: Vec<String> = different.into_iter().cloned().collect();
        return Err(format!(
            "found the parts {} in shards, expected classes; pack each part by itself",
            words::listed(&names)
        ));
    }
    let or_kind = |class: Option<String>| class.ok_or(Kind::WithoutClass);
    Ok(classes.into_iter().map(or_kind).collect())
}

/// Returns the lines of the `classes.txt` in a folder of shards, if it is there.
fn names_in(folder: &Path) -> Result<Option<Vec<String>>, String> {
    let path = folder.join(NAMES);
    let text = if is_address(&path) {
        Remote::find(&path.to_string_lossy()).and_then(|remote| {
            let length = remote.length();
            io::read_to_string(Arc::new(remote).part(0..length))
        })
    } else {
        fs::read_to_string(&path)
    };
    match text {
        Ok(text) => {
            // Editors on Windows begin a file with a byte order mark.
            let lines = text.trim_start_matches('\u{feff}').lines();
            let lines: Vec<String> = lines.map(|line| names::of_text(line.trim())).collect();
            let first = |line: &String| lines.iter().position(|other| other == line);
            let again = (0..lines.len())
                .find(|at| !lines[*at].is_empty() && first(&lines[*at]) != Some(*at));
            match again {
                None => Ok(Some(lines)),
                Some(again) => Err(format!(
                    "found {} on lines {} and {} of {}, expected another name on each",
                    lines[again],
                    first(&lines[again]).unwrap_or_default() + 1,
                    again + 1,
                    names::of_path(&path)
                )),
            }
        }
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
