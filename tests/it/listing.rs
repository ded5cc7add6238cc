//! What lies among images and isn't one, names that nobody expects, and results that are never
//! written among images.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::support::Place;

const QUICK: &str = "train --config small.toml --set train.epochs=1";

/// Everything below a folder.
fn everything(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("listed") {
        let path = entry.expect("read").path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(everything(&path));
        }
        found.insert(path);
    }
    found
}

fn in_data(place: &Place, arguments: &[&str]) -> crate::support::Ran {
    place
        .command(arguments)
        .current_dir(place.path("data"))
        .output()
        .map(Into::into)
        .expect("the program starts")
}

#[test]
fn runs_beside_the_classes_are_passed_over_and_go_on() {
    let place = Place::new();
    place.classes("data", &[8, 8]);
    place.recipe("", "epochs = 1");
    let recipe = place
        .read("small.toml")
        .replace("train = \"train\"", "train = \".\"");
    place.write("data/small.toml", &recipe);
    for run in ["checkpoints/small", "checkpoints/small-2"] {
        let ran = in_data(&place, &["train", "--config", "small.toml"]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.tells("belonging to 2 classes. (training)");
        assert!(place.path("data").join(run).join("best").is_dir());
        let is_second = run.ends_with('2');
        let words = "ignored in .: runs and results of this program, 1; the first: ./checkpoints";
        assert_eq!(ran.err.contains(words), is_second, "{}", ran.err);
    }
    let ran = in_data(
        &place,
        &[
            "train",
            "--resume",
            "checkpoints/small",
            "--set",
            "train.epochs=2",
        ],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ran = in_data(&place, &["inspect", "."]);
    assert!(
        ran.code == Some(0) && !ran.out.contains("| checkpoints"),
        "{}",
        ran.out
    );
    ran.prints("runs and results of this program, 1");
}

#[test]
fn nothing_is_written_among_images() {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.recipe("", "epochs = 1");
    place.done("train --config small.toml --out run");
    let before = everything(&place.path("train"));
    let recipe = ["--config", "small.toml"];
    let script = "g = ImageDataGenerator(rescale=1/255)\n\
                  Sequential([Dense(2)]).fit(g.flow_from_directory('train'))\n";
    place.write("n.py", script);
    let cases: [&[&str]; 15] = [
        &[&["train", "--out", "train/out"], &recipe[..]].concat(),
        &[&["train", "--out", "train/a/out"], &recipe[..]].concat(),
        &[&["train", "--out", "run/../train/b"], &recipe[..]].concat(),
        &["inspect", "train", "--write-clean", "train/clean.csv"],
        &["inspect", "train", "--write-labels", "train/labels.csv"],
        &["inspect", "train", "--html", "train/page.html"],
        &[
            "evaluate",
            "--checkpoint",
            "run",
            "--data",
            "train",
            "--out",
            "train/out",
        ],
        &[
            "explain",
            "--checkpoint",
            "run",
            "train/a/000.png",
            "--out",
            "train/maps",
        ],
        &[&["preview", "--out", "train/a/preview.png"], &recipe[..]].concat(),
        &["export", "run", "--onnx", "train/model.onnx"],
        &[
            &["augment", "--out", "train/more", "--per-image", "1"],
            &recipe[..],
        ]
        .concat(),
        &["init", "train", "--out", "train/train.toml"],
        &["import", "n.py", "--out", "train/n.toml"],
        &["shard", "train", "--out", "train/shards"],
        &["index", "train", "--out", "train/index.csv"],
    ];
    for arguments in cases {
        let ran = place.run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
        assert!(
            ran.err
                .contains("nothing is written into the data's own folder train; choose another --"),
            "{arguments:?}: {}",
            ran.err
        );
    }
    assert_eq!(everything(&place.path("train")), before);
    // Beside the images is not among them.
    place.done("init train");
    place.done("inspect train --write-clean clean.csv");
}

/// A place with broken links, links in a circle, a pipe and files of systems among the images.
#[cfg(unix)]
fn littered() -> Place {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.classes("test", &[3, 3]);
    symlink("/nowhere/x.png", place.path("train/a/gone.png")).expect("linked");
    symlink("/nowhere", place.path("train/lost")).expect("linked");
    symlink("..", place.path("train/a/up")).expect("linked");
    symlink("/nowhere/y.png", place.path("test/b/gone.png")).expect("linked");
    place.write("test/a/bad.png", "nope");
    place.write("train/lost+found/x.png", "x");
    place.write("train/b/@eaDir/000.png/thumb.png", "x");
    place.write("train/a/phone.heic", "x");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(place.path("train/a/pipe.png"))
            .status()
            .expect("mkfifo")
            .success()
    );
    place.recipe("test = 'test'", "epochs = 1");
    place
}

#[cfg(unix)]
#[test]
fn links_pipes_and_files_of_systems_are_told_and_listed_by_train() {
    let place = littered();
    let ran = place.done(&format!("{QUICK} --out run"));
    for words in [
        "belonging to 2 classes. (training)",
        "Found 6 images belonging to 2 classes. (test",
        "ignored in train: folders of the system, 2; the first: train/b/@eaDir",
        "ignored in train: pipes, sockets and devices, 1; the first: train/a/pipe.png",
        "ignored in train: links to a folder that they are in, 1; the first: train/a/up",
        "ignored in train: 1 HEIC image, which can't be read; save it as JPEG or PNG; the first: \
         train/a/phone.heic",
        "warning: 3 files can't be opened and are skipped (2 train, 1 test); the first 3: \
         train/a/gone.png: a link to /nowhere/x.png, which doesn't exist",
        "warning: 1 image can't be decoded and is skipped (1 test); the first: test/a/bad.png: ",
        "What was skipped is listed in run/skipped.csv",
    ] {
        assert_eq!(ran.err.matches(words).count(), 1, "{words}: {}", ran.err);
    }
    ran.prints("2 images can't be decoded and were skipped");
    let skipped = place.read("run/skipped.csv");
    let lines: Vec<_> = skipped
        .lines()
        .map(|line| line.split(": ").next().unwrap_or_default())
        .collect();
    assert_eq!(lines[0], "path,reason,split,class");
    assert!(
        lines.contains(
            &"train/a/gone.png,\"a link to /nowhere/x.png, which doesn't exist\",train,a"
        ),
        "{skipped}"
    );
    assert!(
        lines.contains(&"train/lost,\"a link to /nowhere, which doesn't exist\",train,"),
        "{skipped}"
    );
    assert!(
        lines.contains(&"test/b/gone.png,\"a link to /nowhere/y.png, which doesn't exist\",test,b"),
        "{skipped}"
    );
    assert_eq!(lines.len(), 5, "{skipped}");
    let split = place.read("run/split.csv");
    assert!(
        !split.contains("eaDir") && !split.contains("pipe") && !split.contains("a/up"),
        "{split}"
    );
    let ran = place.run(&format!(
        "{QUICK} --out strict --set data.on_bad_image=error"
    ));
    ran.exits(
        1,
        "train/a/gone.png: a link to /nowhere/x.png, which doesn't exist",
    );
    assert!(!place.path("strict").exists());
}

#[cfg(unix)]
#[test]
fn links_pipes_and_files_of_systems_end_no_command() {
    let place = littered();
    place.done(&format!("{QUICK} --out run"));
    let ran = place.done("inspect train");
    ran.prints("can't be opened: train/a/gone.png: a link to /nowhere/x.png");
    place.done("init train --out x.toml");
    place.done("preview --config small.toml");
    place.done("augment --config small.toml --out more --per-image 1");
    let ran = place.done("evaluate --checkpoint run --data test --out elsewhere");
    ran.tells("warning: 1 file can't be opened and is skipped");
    assert_eq!(place.read("elsewhere/skipped.csv").lines().count(), 3);
    for command in ["predict", "explain"] {
        let ran = place.run(&format!(
            "{command} --checkpoint run train train/a/pipe.png"
        ));
        ran.exits(1, "3 of 16 paths gave no result");
        ran.tells("error: a pipe, socket or device, expected a file: train/a/pipe.png");
        ran.tells("error: a link to /nowhere/x.png, which doesn't exist: train/a/gone.png");
    }
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf_8_or_would_move_the_cursor_are_trained_on_and_found_again() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let place = Place::new();
    place.classes("train", &[8, 8, 8]);
    let rename = |old: &str, new: &[u8]| {
        std::fs::rename(
            place.path(old),
            place.path("train").join(OsStr::from_bytes(new)),
        )
        .expect("renamed")
    };
    rename("train/a/000.png", b"a/f\xE9.png");
    rename("train/a", b"na\xEFve");
    rename("train/b", b"na\xEEve");
    rename("train/c", b"red\x1B[31m\nline");
    let classes = ["na\\xEEve", "na\\xEFve", "red\\x1B[31m\\x0Aline"];
    place.recipe("validation = 0.5", "epochs = 1");
    place.done("train --config small.toml --out run");
    let ran = place.done("train --resume run --set train.epochs=2");
    let evaluated = place.done("evaluate --checkpoint run --split val");
    evaluated.prints("12 images: accuracy");
    let predicted = place.done("predict --checkpoint run train --format csv");
    assert_eq!(predicted.out.lines().count(), 25, "a line an image");
    predicted.prints("train/na\\xEFve/f\\xE9.png,");
    let inspected = place.done("inspect train --write-clean clean.csv --json");
    let augmented = place.done("augment --config small.toml --out more --per-image 1");
    for ran in [&ran, &evaluated, &predicted, &inspected, &augmented] {
        for text in [&ran.out, &ran.err] {
            assert!(!text.contains(['\u{1b}', '\u{fffd}']), "{text}");
        }
    }
    let split = place.read("run/split.csv");
    assert!(
        classes
            .iter()
            .all(|class| split.contains(&format!(",{class},")))
            && split.lines().count() == 25,
        "{split}"
    );
    for (list, run) in [("clean.csv", "clean"), ("more/manifest.csv", "again")] {
        let settings = format!("--set data.train={list} --set data.validation=0.2");
        place.done(&format!("train --config small.toml {settings} --out {run}"));
        let meta = place.read(&format!("{run}/best/meta.json"));
        assert!(
            classes
                .iter()
                .all(|class| meta.contains(&class.replace('\\', "\\\\"))),
            "{meta}"
        );
    }
}

#[test]
fn class_names_come_through_lists_as_they_are() {
    let place = Place::new();
    let classes = if cfg!(unix) {
        ["  a", "b ", "c, \"d\"", "#e", "=f;g"]
    } else {
        [" a", "b", "c, d", "#e", "=f;g"]
    };
    for (index, class) in classes.iter().enumerate() {
        place.images(&format!("train/{class}"), index, 6);
        place.images(&format!("test/{class}"), index + 10, 2);
    }
    place.recipe("test = 'test'", "epochs = 1");
    place.done("inspect train --write-clean clean.csv");
    place.done("augment --config small.toml --out more --per-image 1");
    for (list, run) in [("clean.csv", "one"), ("more/manifest.csv", "two")] {
        let ran = place.done(&format!("{QUICK} --out {run} --set data.train={list}"));
        ran.tells("belonging to 5 classes. (training)");
    }
}

#[test]
fn class_names_that_look_the_same_are_told_apart() {
    let place = Place::new();
    for (index, class) in ["Dog", "dog", "caf\u{e9}"].iter().enumerate() {
        place.images(&format!("train/{class}"), index, 6);
    }
    place.recipe("", "epochs = 1");
    let alike = "the classes Dog and dog differ in upper and lower case only";
    let ran = place.done(&format!("{QUICK} --out run"));
    assert_eq!(ran.err.matches(alike).count(), 1, "{}", ran.err);
    assert!(place.done("inspect train").out.contains(alike));
    assert!(place.done("init train --out x.toml").err.contains(alike));
    place.images("test/Dog ", 0, 2);
    place.images("test/cafe\u{301}", 2, 2);
    let expected = [
        "found the test classes \"Dog \", cafe\u{301} that training doesn't know, in test; \
         training knows Dog, caf\u{e9}, dog; \"Dog \" and Dog differ in spaces at the beginning or \
         end only; cafe\u{301} and caf\u{e9} differ in how accents are composed (one character, or \
         a letter and a mark) only; rename or remove them",
        "found \"Dog \", cafe\u{301} that the checkpoint doesn't know, expected classes among Dog, \
         caf\u{e9}, dog; \"Dog \" and Dog differ in spaces at the beginning or end only",
    ];
    let trained = place.run(&format!("{QUICK} --out never --set data.test=test"));
    let evaluated = place.run("evaluate --checkpoint run --data test");
    for (ran, expected) in [trained, evaluated].iter().zip(expected) {
        ran.exits(1, expected);
    }
}

#[test]
fn lists_as_people_have_them_train_and_say_how_they_were_read() {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.recipe("", "epochs = 1");
    let lines = |separator: &str, ending: &str| {
        let of_class = |class: &str| {
            (0..8)
                .map(|index| format!("train/{class}/{index:03}{ending}{separator}{class}\r\n"))
                .collect::<String>()
        };
        of_class("a") + &of_class("b")
    };
    for (name, text, words) in [
        (
            "semicolon",
            format!("path;label\r\n{}", lines(";", ".png")),
            "semicolon.csv is read as follows: `;` between the columns",
        ),
        (
            "keras",
            format!("filename\tclass\r\n{}", lines("\t", ".png")),
            "is read as follows: `tab` between the columns, `filename` as path, `class` as label",
        ),
        (
            "bare",
            lines(",", ".png"),
            "is read as follows: no header: the first column as path, the other one as label",
        ),
        (
            "ids",
            format!("id,target\r\n{}", lines(",", "")),
            "16 paths completed by the extension of the file, the first train/a/000.png",
        ),
    ] {
        place.write(&format!("{name}.csv"), &text);
        let ran = place.done(&format!("{QUICK} --out {name} --set data.train={name}.csv"));
        assert_eq!(ran.err.matches(words).count(), 1, "{}", ran.err);
        assert!(
            place
                .done(&["inspect", &format!("{name}.csv")])
                .out
                .contains(words)
        );
    }
}

#[test]
fn an_image_or_a_recipe_in_the_place_of_a_list_is_told() {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.recipe("", "epochs = 1");
    for (source, words) in [
        (
            "train/a/000.png",
            "found a PNG image, which is neither a folder of class folders nor a CSV with the \
             columns path,label: train/a/000.png, line 1",
        ),
        ("small.toml", "found a recipe, which belongs after --config"),
    ] {
        let ran = place.run(&format!("{QUICK} --out never --set data.train={source}"));
        ran.exits(1, words);
    }
}

#[cfg(unix)]
#[test]
fn a_run_none_of_whose_test_images_can_be_opened_says_so() {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.classes("test", &[2, 1]);
    place.recipe("test = 'test'", "epochs = 1");
    place.done("train --config small.toml --out run");
    for image in ["test/a/000.png", "test/a/001.png", "test/b/000.png"] {
        std::fs::remove_file(place.path(image)).expect("removed");
        std::os::unix::fs::symlink("/nowhere/x.png", place.path(image)).expect("linked");
    }
    for split in [&[][..], &["--split", "test"]] {
        let ran = place.run(
            &[
                &["evaluate", "--checkpoint", "run", "--device", "cpu"],
                split,
            ]
            .concat(),
        );
        let words = "none of the 3 test images of the run can be opened; the first: \
                     test/a/000.png: a link to /nowhere/x.png, which doesn't exist";
        ran.exits(1, words);
    }
}
