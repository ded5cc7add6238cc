//! Folders and lists as people have them.

use super::*;

pub(in crate::data::listing) fn folder_with(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    files.iter().for_each(|file| add(folder.path(), file, "x"));
    folder
}

fn add(folder: &Path, file: &str, content: &str) {
    let path = folder.join(file);
    std::fs::create_dir_all(path.parent().expect("inside")).expect("created");
    std::fs::write(path, content).expect("written");
}

fn listed(folder: &Path) -> Listing {
    list(folder, &Exclude::default()).expect("listed")
}

/// Returns the paths of the images, relative to `folder`.
pub(in crate::data::listing) fn images(listing: &Listing, folder: &Path) -> Vec<String> {
    listing
        .entries
        .iter()
        .map(|entry| names::of_path(entry.path.strip_prefix(folder).expect("inside")))
        .collect()
}

#[test]
fn class_folders_are_listed_recursively_and_foreign_files_counted() {
    let folder = folder_with(&[
        "b/2.PNG",
        "b/deep/er/1.jpg",
        "a/x.jpeg",
        "a/desktop.ini",
        "a/Thumbs.db",
        "a/notes.txt",
        ".git/x.png",
        "b/.ipynb_checkpoints/2.png",
        "loose.jpg",
    ]);
    let listing = listed(folder.path());
    assert_eq!(listing.classes, ["a", "b"]);
    assert_eq!(
        images(&listing, folder.path()),
        ["a/x.jpeg", "b/2.PNG", "b/deep/er/1.jpg"]
    );
    // `loose.jpg` is outside the class folders, `notes.txt` is no image, and the others are
    // hidden.
    for (kind, count) in [
        (Kind::NotAnImage, 1),
        (Kind::Hidden, 4),
        (Kind::WithoutClass, 1),
        (Kind::System, 0),
    ] {
        assert_eq!(listing.passed_over.count(kind), count, "{kind}");
    }
}

#[test]
fn the_parts_of_a_data_set_are_no_classes() {
    let folder = folder_with(&[
        "Training/a/1.png",
        "Training/b/1.png",
        "test/a/1.png",
        "test/b/1.png",
    ]);
    let error = list(folder.path(), &Exclude::default())
        .expect_err("parts")
        .to_string();
    let expected = format!(
        "found the parts Training, test in {0}, expected classes",
        names::of_path(folder.path())
    );
    assert!(
        error.contains(&expected) && error.ends_with("/Training\""),
        "{error}"
    );
    // Vehicles, say.
    for files in [
        ["train/1.png", "test/1.png"],
        ["train/old/1.png", "bus/new/1.png"],
    ] {
        assert_eq!(
            listed(folder_with(&files).path()).entries.len(),
            2,
            "{files:?}"
        );
    }
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let folder = folder_with(&["Training/a/1.png", "readme.md"]);
    let error = |path: &str| {
        list(&folder.path().join(path), &Exclude::default())
            .expect_err(path)
            .to_string()
    };
    let missing = error("training");
    assert!(
        missing.contains("training") && missing.contains("Training, readme.md"),
        "{missing}"
    );
    let empty = error("Training/a");
    assert!(
        empty.contains("no class folders") && empty.contains("1.png"),
        "{empty}"
    );
}

#[test]
fn folders_of_systems_are_passed_over_whatever_is_in_them() {
    let names = [
        "lost+found",
        "$RECYCLE.BIN",
        "System Volume Information",
        "b/@eaDir",
        "#recycle",
        "found.000",
        "b/@Recycle",
        "__pycache__",
    ];
    let folder = folder_with(&[
        "a/1.png",
        "b/2.png",
        "__MACOSX/b/2.png",
        ".Trash-1000/3.png",
    ]);
    names
        .iter()
        .for_each(|name| add(folder.path(), &format!("{name}/thumb.png"), "x"));
    let listing = listed(folder.path());
    assert_eq!(
        (&listing.classes[..], listing.entries.len()),
        (&["a".to_owned(), "b".to_owned()][..], 2)
    );
    assert_eq!(
        (
            listing.passed_over.count(Kind::System),
            listing.passed_over.count(Kind::Hidden)
        ),
        (names.len(), 2)
    );
    let words = listing.passed_over.words(Path::new("x"));
    assert!(
        words[1].starts_with("ignored in x: folders of the system, 8; the first: ")
            && words[1].ends_with("#recycle"),
        "{words:?}"
    );
}

#[test]
fn what_this_program_wrote_is_no_class_wherever_it_lies() {
    let folder = folder_with(&[
        "a/1.png",
        "b/2.png",
        "checkpoints/run/last/meta.json",
        "checkpoints/run/last/model.safetensors",
        "checkpoints/run/augmentation.png",
        "checkpoints/run/plots/x.png",
        "a/checkpoint/meta.json",
        "a/checkpoint/model.safetensors",
        "a/checkpoint/x.png",
        "results/metrics.json",
        "results/predictions.csv",
        "results/plots/x.png",
        "maps/explanations.jsonl",
        "maps/0001.overlay.png",
        "cache/emberlens/pixels/x.u8",
    ]);
    add(
        folder.path(),
        "more/manifest.csv",
        "path,label,split,group,weight\n",
    );
    add(folder.path(), "more/a/1.png", "x");
    // A run that was killed before its first checkpoint.
    add(folder.path(), "young/x.png", "x");
    let recipe = crate::config::parse("name = 'x'\n[data]\ntrain = '.'\n", Path::new("x"), &[])
        .expect("a recipe");
    add(folder.path(), "young/config.toml", &recipe.to_toml());
    let listing = listed(folder.path());
    assert_eq!(listing.classes, ["a", "b"]);
    assert_eq!(images(&listing, folder.path()), ["a/1.png", "b/2.png"]);
    assert_eq!(listing.passed_over.count(Kind::Own), 7);
}

#[test]
fn what_looks_like_ours_and_is_a_class_stays_one() {
    let folder = folder_with(&[
        "best/1.png",
        "checkpoints/2.png",
        "last/3.png",
        "manifest/manifest.csv",
        "manifest/4.png",
        "x/config.toml",
        "x/5.png",
    ]);
    add(
        folder.path(),
        "x/config.toml",
        "name = 'x'\n[data]\ntrain = '.'\n",
    );
    let listing = listed(folder.path());
    assert_eq!(
        (
            listing.classes.len(),
            listing.entries.len(),
            listing.passed_over.count(Kind::Own)
        ),
        (5, 5, 0)
    );
}

#[test]
fn formats_that_are_not_read_are_named_with_what_to_do() {
    let folder = folder_with(&[
        "a/1.png", "a/2.HEIC", "b/3.heif", "b/4.dcm", "b/5.svg", "b/6.txt",
    ]);
    let words = listed(folder.path()).passed_over.words(Path::new("x"));
    let first = |name: &str| format!("the first: {}", folder.path().join(name).display());
    assert_eq!(
        words,
        [
            format!(
                "ignored in x: 1 DICOM file, which can't be read; export it as PNG, with the \
                 display window that a radiologist would use; {}",
                first("b/4.dcm")
            ),
            format!(
                "ignored in x: 2 HEIC images, which can't be read; save them as JPEG or PNG; {}",
                first("a/2.HEIC")
            ),
            format!(
                "ignored in x: 1 SVG drawing, which can't be read; save it as PNG; {}",
                first("b/5.svg")
            ),
            "ignored in x: files that aren't images, 1".to_owned(),
        ]
    );
}

#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_or_round_and_pipes_end_nothing() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let folder = folder_with(&["a/1.png", "b/2.png", "elsewhere/c/3.png"]);
    let at = |name: &str| folder.path().join(name);
    for (target, link) in [
        ("/nowhere/x.png", "a/gone.png"),
        ("/nowhere", "gone"),
        ("self.png", "a/self.png"),
        ("..", "a/up"),
        ("/nowhere/notes.txt", "a/notes.txt"),
        ("../elsewhere/c", "b/linked"),
        ("/dev/zero", "b/zero.png"),
    ] {
        symlink(target, at(link)).expect("linked");
    }
    let _socket = UnixListener::bind(at("b/socket.png")).expect("bound");
    let listing = listed(folder.path());
    assert_eq!(listing.classes, ["a", "b", "elsewhere"]);
    assert_eq!(
        images(&listing, folder.path()),
        ["a/1.png", "b/2.png", "b/linked/3.png", "elsewhere/c/3.png"]
    );
    let counts =
        [Kind::Loop, Kind::Special, Kind::NotAnImage].map(|kind| listing.passed_over.count(kind));
    assert_eq!(counts, [1, 2, 1]);
    let mut unreadable: Vec<_> = listing
        .unreadable
        .iter()
        .map(|file| {
            (
                file.path.clone(),
                file.class.as_deref(),
                file.reason.as_str(),
            )
        })
        .collect();
    unreadable.sort();
    assert_eq!(
        unreadable[0],
        (
            at("a/gone.png"),
            Some("a"),
            "a link to /nowhere/x.png, which doesn't exist"
        )
    );
    assert_eq!(
        (&unreadable[1].0, unreadable[1].1),
        (&at("a/self.png"), Some("a"))
    );
    assert!(
        unreadable[1]
            .2
            .starts_with("a link to self.png, which can't be followed: "),
        "{}",
        unreadable[1].2
    );
    assert_eq!(
        unreadable[2],
        (at("gone"), None, "a link to /nowhere, which doesn't exist")
    );
    assert_eq!(unreadable.len(), 3);
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf_8_stay_apart_and_are_found_again() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in [&b"na\xEFve"[..], b"na\xEEve", b"na\nve"] {
        let class = folder.path().join(OsStr::from_bytes(name));
        std::fs::create_dir(&class).expect("created");
        std::fs::write(class.join(OsStr::from_bytes(b"f\xE9.png")), b"x").expect("written");
    }
    let listing = listed(folder.path());
    assert_eq!(listing.classes, ["na\\x0Ave", "na\\xEEve", "na\\xEFve"]);
    assert!(
        listing
            .entries
            .iter()
            .all(|entry| names::to_path(&names::of_path(&entry.path)) == entry.path)
    );
}

#[cfg(unix)]
#[test]
fn a_path_that_is_too_long_is_named_and_ends_nothing() {
    let folder = folder_with(&["a/1.png", "b/2.png"]);
    let deep = |name: &str, levels: usize| {
        let mut path = folder.path().join(name);
        (0..levels).for_each(|_| path.push("d".repeat(200)));
        path
    };
    // Create the longest path that the system allows, then move it into a deeper folder.
    std::fs::create_dir_all(deep("b", 18)).expect("created");
    std::fs::create_dir_all(deep("other", 18)).expect("created");
    std::fs::rename(folder.path().join("other"), deep("b", 3).join("other")).expect("moved");
    let listing = listed(folder.path());
    assert_eq!(images(&listing, folder.path()), ["a/1.png", "b/2.png"]);
    assert_eq!(listing.unreadable.len(), 1);
    assert!(
        listing.unreadable[0].reason.starts_with("its path has 4"),
        "{}",
        listing.unreadable[0].reason
    );
}

#[test]
fn parts_go_by_many_names_and_what_is_none_of_them_is_told() {
    let folder = folder_with(&[
        "Training/a/1.png",
        "dev/a/2.png",
        "testing/a/3.png",
        "extra/a/4.png",
        ".cache/5.png",
        "notes.txt",
    ]);
    add(folder.path(), "checkpoints/run/metrics.json", "x");
    add(folder.path(), "checkpoints/run/predictions.csv", "x");
    let found = splits(folder.path()).expect("looked at");
    assert_eq!(
        found.parts,
        ["Training", "dev", "testing"].map(|name| Some(folder.path().join(name)))
    );
    let extra = format!(
        "ignored: {}, a folder that is neither train, val (or dev) nor test",
        folder.path().join("extra").display()
    );
    assert_eq!(found.others, [extra]);
    // Without a training folder, these are classes.
    let classes = folder_with(&["dev/1.png", "test/2.png"]);
    let whole = Splits {
        parts: [Some(classes.path().to_owned()), None, None],
        others: Vec::new(),
    };
    assert_eq!(splits(classes.path()).expect("looked at"), whole);
    add(folder.path(), "val/a/6.png", "x");
    assert!(
        splits(folder.path())
            .expect_err("two for one")
            .to_string()
            .contains("found two folders for val")
    );
}
