//! Lists the images of shards, each with the class that a label beside it says (WebDataset's
//! convention) or the folder in its name.

mod classes;
mod pattern;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::prelude::*;

use super::{
    Entry, Exclude, Found, Kind, Listing, holds_ours,
    passed_over::{by_ending, by_name},
    walk,
};
use crate::{
    base::{io::http::is_address, names, words},
    data::{
        error::DataError,
        shards::{self, Member, Shard, compressed, is_shard},
    },
};

/// An image in a shard.
struct Image<'a> {
    path: PathBuf,
    shard: &'a Path,
    member: &'a Member,
}

/// Returns the shards that `source` stands for, or `None` if it isn't about shards.
///
/// # Errors
/// Returns an error if `source` is a pattern and what it stands for isn't there, or an address that
/// isn't a tar file's.
pub(super) fn find(source: &Path, exclude: &Exclude) -> Result<Option<Vec<PathBuf>>, DataError> {
    if source.is_dir() {
        let found = in_folder(source, exclude);
        let found = found.map_err(|error| DataError::io("list", source, error))?;
        return Ok((!found.is_empty()).then_some(found));
    }
    if source.is_file() {
        refuse_compressed(source)?;
        return Ok(is_shard(source).then(|| vec![source.to_owned()]));
    }
    let text = source.to_str();
    if is_address(source) {
        return text.map(pattern::addresses).transpose();
    }
    let text = text.filter(|text| pattern::is_pattern(text));
    text.map(pattern::expand).transpose()
}

/// Returns the shards in a folder that holds no folder beside them, sorted by name.
fn in_folder(folder: &Path, exclude: &Exclude) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for child in walk::children(folder, exclude)? {
        match child {
            Found::Folder(path) if !holds_ours(&path) => return Ok(Vec::new()),
            Found::PassedOver(Kind::NotAnImage, path) if is_shard(&path) => found.push(path),
            _ => {}
        }
    }
    Ok(found)
}

/// Refuses a compressed tar file, in which no image can be read by itself.
fn refuse_compressed(path: &Path) -> Result<(), DataError> {
    let name = names::of_os(path.file_name().unwrap_or_default()).to_lowercase();
    let endings = [
        (".tar.gz", "gunzip"),
        (".tgz", "gunzip"),
        (".tar.zst", "unzstd"),
        (".tar.bz2", "bunzip2"),
        (".tar.xz", "unxz"),
    ];
    let found = endings.iter().find(|(ending, _)| name.ends_with(ending));
    found.map_or(Ok(()), |(_, program)| {
        Err(DataError::Damaged {
            message: compressed(program),
            path: path.to_owned(),
        })
    })
}

/// Lists the images of the shards that `source` stands for, sorted by class and name, as those of a
/// folder are.
///
/// # Errors
/// Returns an error if a shard can't be read, or if its images have no classes.
pub(super) fn list(
    source: &Path,
    paths: &[PathBuf],
    exclude: &Exclude,
) -> Result<Listing, DataError> {
    let opened: Vec<Arc<Shard>> = paths
        .par_iter()
        .map(|path| shards::open(path))
        .collect::<Result<_, _>>()?;
    let mut listing = Listing::default();
    let mut images = Vec::new();
    for (path, shard) in paths.iter().zip(&opened) {
        for member in shard.members() {
            let image = path.join(&member.name);
            match passed_over(&image, path, exclude) {
                Some(kind) => listing.passed_over.add(kind, &image),
                None => images.push(Image {
                    path: image,
                    shard: path,
                    member,
                }),
            }
        }
    }
    let num_links: usize = opened.iter().map(|shard| shard.num_links()).sum();
    if num_links > 0 {
        listing.notes.push(format!(
            "{} has {} that hold no image: symbolic ones, or to files that aren't in it; pack them \
             with tar --dereference --hard-dereference",
            names::of_path(source),
            words::counted(num_links, "link")
        ));
    }
    let classes = classes::of(&images).map_err(|reason| {
        let words = listing.words(source).into_iter();
        let more: String = words.map(|words| format!("; {words}")).collect();
        DataError::Classes(format!("{reason}: {}{more}", names::of_path(source)))
    })?;
    let mut classed = Vec::with_capacity(images.len());
    for (image, class) in images.into_iter().zip(classes) {
        match class {
            Ok(class) => classed.push((class, image)),
            Err(kind) => listing.passed_over.add(kind, &image.path),
        }
    }
    // As a walk through folders would find them, whatever shard they are in.
    classed.par_sort_by(|(a_class, a), (b_class, b)| {
        let names = || Path::new(&a.member.name).cmp(Path::new(&b.member.name));
        a_class
            .cmp(b_class)
            .then_with(names)
            .then_with(|| a.path.cmp(&b.path))
    });
    for (class, image) in classed {
        if listing.classes.last() != Some(&class) {
            listing.classes.push(class.clone());
        }
        listing.entries.push(Entry {
            path: image.path,
            class,
            group: None,
            weight: 1.0,
            split: None,
        });
    }
    Ok(listing)
}

/// Returns why the member with the path `image` of the shard isn't listed; `None` for an image.
fn passed_over(image: &Path, shard: &Path, exclude: &Exclude) -> Option<Kind> {
    if exclude.takes(shard, shard.parent().unwrap_or(Path::new(""))) {
        return Some(Kind::Excluded);
    }
    // From the first folder on, as a walk would meet them.
    let mut levels: Vec<_> = image
        .ancestors()
        .take_while(|level| *level != shard)
        .collect();
    levels.reverse();
    let at_level = |level: &&Path| {
        let is_out = || exclude.takes(level, shard).then_some(Kind::Excluded);
        by_name(level).or_else(is_out)
    };
    levels
        .iter()
        .find_map(at_level)
        .or_else(|| by_ending(image))
}

#[cfg(test)]
mod tests {
    use tar::EntryType;

    use super::*;
    use crate::data::shards::tests::pack;

    /// Lists a shard with these members, whose content is given for labels only. Returns the class
    /// and the name of each image.
    fn listed(members: &[(&str, &str)], classes: Option<&str>) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shard = folder.path().join("a.tar");
        let members: Vec<_> = members
            .iter()
            .map(|(name, content)| (EntryType::Regular, *name, *content))
            .collect();
        pack(&shard, &members);
        if let Some(classes) = classes {
            std::fs::write(folder.path().join("classes.txt"), classes).expect("written");
        }
        let exclude = Exclude::default();
        let found = find(&shard, &exclude)
            .and_then(|found| list(&shard, &found.expect("a shard"), &exclude));
        let listing = found.map_err(|error| error.to_string())?;
        let word = |entry: &Entry| {
            let name = entry.path.strip_prefix(&shard).expect("inside");
            format!("{}: {}", entry.class, names::of_path(name))
        };
        let passed_over = listing.passed_over.words(Path::new("x")).into_iter();
        let passed_over = passed_over.map(|words| words.replace("ignored in x: ", "- "));
        let passed_over = passed_over.map(|words| match words.split_once("; the first") {
            Some((words, _)) => words.to_owned(),
            None => words,
        });
        Ok(listing
            .entries
            .iter()
            .map(word)
            .chain(passed_over)
            .collect())
    }

    /// Members with their content, the file of class names, and what is listed.
    type Case = (
        &'static [(&'static str, &'static str)],
        Option<&'static str>,
        &'static [&'static str],
    );

    const CASES: [Case; 9] = [
        // Folders, however deep; names with dots; what a walk would pass over.
        (
            &[
                ("./dogs/2.v1.jpg", ""),
                ("./cats/b/1.png", ""),
                ("./cats/b.png", ""),
                ("./cats/._b.png", ""),
                ("./cats/.cache/1.png", ""),
                ("./cats/x.heic", ""),
                ("./loose.png", ""),
            ],
            None,
            &[
                "cats: cats/b/1.png",
                "cats: cats/b.png",
                "dogs: dogs/2.v1.jpg",
                "- hidden files and folders, 2",
                "- 1 HEIC image, which can't be read; save it as JPEG or PNG",
                "- images without a class folder, 1",
            ],
        ),
        // A whole folder that was packed.
        (
            &[("train/a/1.jpg", ""), ("train/b/1.jpg", "")],
            None,
            &["a: train/a/1.jpg", "b: train/b/1.jpg"],
        ),
        // One class.
        (
            &[("a/1.jpg", ""), ("a/2.jpg", "")],
            None,
            &["a: a/1.jpg", "a: a/2.jpg"],
        ),
        // Texts; an image without a label.
        (
            &[("1.jpg", ""), ("1.cls", "cat\n"), ("2.jpg", "")],
            None,
            &[
                "cat: 1.jpg",
                "- images in shards without a label beside them, 1",
            ],
        ),
        (&[("1.jpg", ""), ("1.txt", "cat")], None, &["cat: 1.jpg"]),
        // Numbers, by themselves and as lines of a file. A mask has no label.
        (
            &[
                ("1.jpg", ""),
                ("1.seg.png", ""),
                ("1.cls", "1"),
                ("x/2.jpg", ""),
                ("x/2.cls", "0"),
            ],
            None,
            &[
                "0: x/2.jpg",
                "1: 1.jpg",
                "- images in shards without a label beside them, 1",
            ],
        ),
        (
            &[
                ("1.jpg", ""),
                ("1.cls", "1"),
                ("2.jpg", ""),
                ("2.json", "{\"label\": 0}"),
            ],
            Some("zebra\r\nant\n"),
            &["ant: 1.jpg", "zebra: 2.jpg"],
        ),
        // Two images of a sample share its label.
        (
            &[("1.jpg", ""), ("1.png", ""), ("1.cls", "a")],
            None,
            &["a: 1.jpg", "a: 1.png"],
        ),
        // A label without an image is none.
        (
            &[("a/1.jpg", ""), ("a/notes.txt", "n"), ("b/1.jpg", "")],
            None,
            &["a: a/1.jpg", "b: b/1.jpg"],
        ),
    ];

    #[test]
    fn a_class_is_a_label_or_else_a_folder() {
        for (members, classes, expected) in CASES {
            assert_eq!(listed(members, classes).expect("listed"), expected);
        }
    }

    #[test]
    fn numbers_stand_for_the_names_beside_their_own_shard() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, names) in [
            ("x", Some("\u{feff}ant\nbee\nfly\n")),
            ("y", Some("fly\nant\n")),
            ("z", None),
        ] {
            let own = folder.path().join(name);
            std::fs::create_dir(&own).expect("created");
            if let Some(names) = names {
                std::fs::write(own.join("classes.txt"), names).expect("written");
            }
            let members = [("0.jpg", ""), ("0.cls", "0"), ("1.jpg", ""), ("1.cls", "1")];
            let members = members.map(|(name, content)| (EntryType::Regular, name, content));
            pack(&own.join("a.tar"), &members);
        }
        let source = folder.path().join("{x,y,z}/a.tar");
        let exclude = Exclude::default();
        let found = find(&source, &exclude).expect("found").expect("shards");
        let listing = list(&source, &found, &exclude).expect("listed");
        let image = |entry: &Entry| {
            let name = entry.path.strip_prefix(folder.path()).expect("inside");
            format!("{} {}", entry.class, names::of_path(name))
        };
        let expected = [
            "0 z/a.tar/0.jpg",
            "1 z/a.tar/1.jpg",
            "ant x/a.tar/0.jpg",
            "ant y/a.tar/1.jpg",
            "bee x/a.tar/1.jpg",
            "fly y/a.tar/0.jpg",
        ];
        assert_eq!(
            listing.entries.iter().map(image).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn shards_without_classes_say_what_was_expected() {
        for (members, classes, expected) in [
            (
                &[("1.jpg", "")][..],
                None,
                "found 1 images without a class, expected a folder",
            ),
            (&[("a.txt", "x")], None, "found no image: "),
            (
                &[("train/a/1.jpg", ""), ("test/a/1.jpg", "")],
                None,
                "found the parts test, train in shards, expected classes",
            ),
            (
                &[("1.jpg", ""), ("1.cls", "2")],
                Some("a\nb\na\n"),
                "found a on lines 1 and 3 of ",
            ),
            (
                &[("1.jpg", ""), ("1.cls", "2")],
                Some("a\nb\n"),
                "found no line 3 in classes.txt, which has 2 lines, for 2, the label of 1.jpg: ",
            ),
        ] {
            let error = listed(members, classes).expect_err(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn shards_are_a_file_a_folder_or_a_pattern() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["t-0.tar", "t-1.tar", "u.TAR", "v.tar.gz"] {
            pack(&at(name), &[(EntryType::Regular, "a/1.jpg", "")]);
        }
        std::fs::write(at("index.csv"), "path,label\n").expect("written");
        let exclude = Exclude::default();
        let named = |source: &str| {
            let found = find(&at(source), &exclude).map_err(|error| error.to_string())?;
            let name =
                |path: PathBuf| names::of_path(path.strip_prefix(folder.path()).expect("inside"));
            Ok(found.map(|found| found.into_iter().map(name).collect::<Vec<_>>()))
        };
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        for (source, expected) in [
            ("t-0.tar", names(&["t-0.tar"])),
            ("", names(&["t-0.tar", "t-1.tar", "u.TAR"])),
            ("t-{0..1}.tar", names(&["t-0.tar", "t-1.tar"])),
            ("{t-1.tar,*.tar}", names(&["t-0.tar", "t-1.tar"])),
            ("index.csv", None),
            ("nowhere", None),
        ] {
            assert_eq!(named(source), Ok::<_, String>(expected), "{source}");
        }
        for (source, expected) in [
            ("v.tar.gz", "unpack it with gunzip: "),
            ("t-{0..3}.tar", "t-2.tar; 2 of the 4 names of "),
            ("w-*.tar", "w-*.tar; 1 of the 1 names of "),
            ("*.csv", "index.csv, expected tar files (.tar) only"),
        ] {
            let error = named(source).expect_err(source);
            assert!(error.contains(expected), "{error}");
        }
        // A folder of class folders stays one, whatever lies beside them.
        std::fs::create_dir(at("cats")).expect("created");
        assert_eq!(named(""), Ok(None));
    }
}
