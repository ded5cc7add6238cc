//! Whatever a user gets wrong: the message says what was found, what was expected and what to do;
//! the exit code says whose fault.

use crate::support::Place;

fn train_error(place: &Place, more: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["train", "--config", "small.toml", "--out", "run"], more].concat();
    let ran = place.run(&arguments);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    (ran.code, ran.err)
}

type Prepare = fn(&Place);

/// What lies in the folder, and parts of what is said of it.
const UNTRAINABLE: [(&str, Prepare, &[&str]); 8] = [
    (
        "a missing folder",
        |_| {},
        &["found no folder of class folders", "train"],
    ),
    (
        "one class",
        |place| place.classes("train", &[5]),
        &["found the one class a", "expected two or more"],
    ),
    (
        "an empty class",
        |place| place.classes("train", &[5, 0]),
        &["no training image of the class b", "add some or remove"],
    ),
    (
        "no class folders",
        |place| place.write("train/readme.txt", "x"),
        &["found no class folders", "it has: readme.txt"],
    ),
    (
        "an unknown test class",
        |place| {
            place.classes("train", &[5, 5]);
            place.classes("test", &[1, 1, 1]);
            place.recipe("test = 'test'", "epochs = 1");
        },
        &[
            "found the test class c that training doesn't know",
            "training knows a, b",
        ],
    ),
    (
        "all of a class unreadable",
        |place| {
            place.classes("train", &[5, 0]);
            place.write("train/b/cut.png", "\u{89}PNG");
        },
        &["found no image of the class b left", "train/b/cut.png"],
    ),
    (
        "a text file where errors stop",
        |place| {
            place.classes("train", &[5, 5]);
            place.write("train/b/text.jpg", "just text");
            place.recipe("on_bad_image = 'error'", "epochs = 1");
        },
        &[
            "can't decode an image",
            "begins with \"just text\"",
            "train/b/text.jpg",
        ],
    ),
    (
        "a CSV with a missing file",
        |place| {
            place.write("list.csv", "path,label\nnowhere.png,a\n");
            place.recipe("", "epochs = 1");
            place.replace("small.toml", "train = \"train\"", "train = \"list.csv\"");
        },
        &["found no file nowhere.png", "list.csv, line 2"],
    ),
];

#[test]
fn data_that_cannot_be_trained_on_is_explained() {
    for (name, prepare, expected) in UNTRAINABLE {
        let place = Place::new();
        place.recipe("", "epochs = 1");
        prepare(&place);
        let (code, error) = train_error(&place, &[]);
        assert_eq!(code, Some(1), "{name}: {error}");
        assert!(
            expected.iter().all(|part| error.contains(part)),
            "{name}: {error}"
        );
        assert!(
            !place.path("run").exists(),
            "{name}: no run folder for a run that never began"
        );
    }
}

#[test]
fn a_recipe_that_cannot_work_exits_with_2() {
    let place = Place::new();
    place.classes("train", &[5, 5, 5]);
    place.recipe("", "epochs = 1");
    for (change, expected) in [
        ("train.epoch=3", "did you mean `epochs`?"),
        (
            "train.batch_size=0",
            "`train.batch_size`: found 0, expected 1 or more",
        ),
        ("augment.cval=3", "has no effect without fill_mode"),
        (
            "train.loss=binary_cross_entropy",
            "tells two classes apart, found 3",
        ),
        (
            "train.class_weights={ z = 2.0 }",
            "names z, which isn't a class; the classes are a, b, c",
        ),
        (
            "train.class_weights={ A = 2.0 }",
            "names A, which isn't a class; did you mean `a`? (the classes are a, b, c)",
        ),
        (
            "augment.class={ B = { zoom_range = 0.1 } }",
            "augment.class.B names B, which isn't a class; did you mean `b`?",
        ),
        (
            "train.checkpoint.monitor=val_recall_z",
            "names z, which isn't a class; the classes are a, b, c",
        ),
        (
            "train.early_stopping.monitor=val_recall_C",
            "train.early_stopping.monitor = \"val_recall_C\" names C, which isn't a class; did you \
             mean `c`?",
        ),
        ("epochs", "expected key.path=value"),
        (
            "model.channels=[100000, 100000]",
            "make model.channels smaller",
        ),
        (
            "model.channels=[4611686018427387904]",
            "`model.channels`: found a dense layer",
        ),
    ] {
        let (code, error) = train_error(&place, &["--set", change]);
        assert_eq!(code, Some(2), "{change}: {error}");
        assert!(error.contains(expected), "{change}: {error}");
    }
    assert_eq!(place.run("train --config nowhere.toml").code, Some(2));
    assert_eq!(place.run("trian").code, Some(2));
}

#[test]
fn a_network_that_cannot_fit_is_refused_with_its_largest_layer_and_leaves_nothing() {
    let place = Place::new();
    place.classes("train", &[5, 5]);
    place.recipe("", "epochs = 1");
    for (change, layer, advice) in [
        (
            "model.channels=[100000, 1000000]",
            "backbone.blocks.1",
            "make model.channels smaller",
        ),
        (
            "model.channels=[4611686018427387904, 4]",
            "backbone.blocks.",
            "model.channels smaller",
        ),
    ] {
        let (code, error) = train_error(
            &place,
            &[
                "--set",
                change,
                "--set",
                "model.pooling=average",
                "--set",
                "model.hidden=0",
            ],
        );
        assert_eq!(code, Some(2), "{change}: {error}");
        assert!(
            error.contains("a step needs about") && error.contains(layer) && error.contains(advice),
            "{change}: {error}"
        );
        assert!(!place.path("run").exists(), "{change}");
    }
}

/// What `ulimit -v` leaves counts: four images of 2048 x 2048 in 32 channels are more than that.
#[cfg(target_os = "linux")]
#[test]
fn a_limit_on_memory_is_seen_before_it_is_hit() {
    let place = Place::new();
    place.classes("train", &[5, 5]);
    place.recipe("", "epochs = 1");
    let program = env!("CARGO_BIN_EXE_emberlens");
    let changes =
        "--set data.image_size=[2048,2048] --set model.pooling=average --set model.channels=[256]";
    let script = format!(
        "ulimit -v 4000000; exec '{program}' train --config small.toml --out run {changes}"
    );
    let mut command = std::process::Command::new("sh");
    command
        .current_dir(place.path(""))
        .args(["-c", &script])
        .env("XDG_CACHE_HOME", place.path("cache"));
    let ran = crate::support::Ran::from(command.output().expect("a shell"));
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    ran.tells("make train.batch_size, data.image_size or model.channels smaller");
    assert!(!place.path("run").exists());
}

/// A class without a validation image has no recall: nothing may be decided by it, and the history
/// says nothing rather than 0.
#[test]
fn a_metric_that_cannot_be_measured_decides_nothing() {
    let place = Place::new();
    place.classes("train", &[8, 8, 4]);
    place.classes("val", &[3, 3]);
    place.recipe("validation = 'val'", "epochs = 2");
    for change in [
        "train.checkpoint.monitor=val_recall_c",
        "train.early_stopping.monitor=val_recall_c",
        "train.schedule={ kind = 'plateau', monitor = 'val_recall_c' }",
    ] {
        let (code, error) = train_error(&place, &["--set", change]);
        assert_eq!(code, Some(2), "{change}: {error}");
        let expected = "monitor = \"val_recall_c\" can't be measured: validation has no image of \
                        c; add some, or choose another metric";
        assert!(error.contains(expected), "{change}: {error}");
        assert!(!place.path("run").exists(), "{change}");
    }
    place.done("train --config small.toml --out run");
    let history = place.read("run/history.csv");
    let mut lines = history
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>());
    let at = lines
        .next()
        .expect("a head")
        .iter()
        .position(|name| *name == "val_recall_c")
        .expect("a column");
    let values: Vec<_> = lines.map(|line| line[at].to_owned()).collect();
    assert_eq!(values, ["", ""], "{history}");
    // What isn't a number in the state is read back.
    place.done("train --resume run --set train.epochs=3");
    assert_eq!(place.read("run/history.csv").lines().count(), 4);
}

#[test]
fn what_the_system_says_is_said_once_with_what_to_do() {
    let place = Place::new();
    place.classes("train", &[6, 6]);
    place.recipe("", "epochs = 1");
    place.write("file", "x");
    for (arguments, expected) in [
        (
            &["train", "--config", "small.toml", "--out", "file"][..],
            "choose another folder with --out: file",
        ),
        (
            &["train", "--config", "small.toml", "--out", "file/run"],
            "choose another folder with --out: file/run",
        ),
        (
            &["train", "--config", "nowhere.toml"],
            "can't read the recipe: ",
        ),
        (&["train", "--config", "train"], "emberlens train FOLDER"),
        (
            &[
                "preview",
                "--config",
                "small.toml",
                "--out",
                "no/such/place.png",
            ],
            "no/such/place.png",
        ),
        (&["inspect", "nowhere"], "nowhere"),
        (&["predict", "--checkpoint", "nowhere", "train"], "nowhere"),
    ] {
        let ran = place.run(arguments);
        let line = ran
            .err
            .lines()
            .rfind(|line| line.starts_with("error: "))
            .unwrap_or_else(|| panic!("{arguments:?}: {}", ran.err));
        assert!(line.contains(expected), "{arguments:?}: {line}");
        assert!(line.matches("os error").count() <= 1, "{line}");
        let mut parts: Vec<_> = line.split(": ").collect();
        let all = parts.len();
        parts.sort_unstable();
        parts.dedup();
        assert_eq!(parts.len(), all, "a part stands twice in: {line}");
    }
}

#[test]
fn bad_images_are_found_before_the_first_epoch_listed_and_counted() {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.recipe("", "epochs = 1");
    place.write("train/a/zero.png", "");
    place.write("train/a/text.jpg", "not an image");
    let whole = place.bytes("train/b/000.png");
    std::fs::write(
        place.path("train/b/cut off, half.png"),
        &whole[..whole.len() / 2],
    )
    .expect("written");
    let mut bomb = whole.clone();
    bomb[16..24].copy_from_slice(&[0, 1, 0x86, 0xA0, 0, 1, 0x86, 0xA0]);
    std::fs::write(place.path("train/b/bomb.png"), bomb).expect("written");
    place.write("train/b/Thumbs.db", "x");
    let ran = place.done("train --config small.toml --out run");
    ran.tells("4 images can't be decoded and are skipped");
    ran.tells("hidden files and folders, 1");
    ran.tells("Found 12 images belonging to 2 classes. (training)");
    let skipped = place.read("run/skipped.csv");
    for name in ["zero.png", "text.jpg", "cut off, half.png", "bomb.png"] {
        assert!(skipped.contains(name), "{skipped}");
    }
    assert_eq!(skipped.lines().count(), 5);
    assert_eq!(place.read("run/split.csv").lines().count(), 17);
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_keeps_the_best() {
    let place = Place::new();
    place.classes("train", &[10, 10]);
    place.recipe(
        "",
        "epochs = 4\noptimizer = { kind = 'sgd', learning_rate = 1e30 }",
    );
    let (code, error) = train_error(&place, &[]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("loss became")
            && error.contains("in epoch 1")
            && error.contains("smaller learning rate"),
        "{error}"
    );
    place.recipe("", "epochs = 1");
    place.done("train --config small.toml --out good");
    let ran = place.run("evaluate --checkpoint good/best --data train --device cpu");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn a_checkpoint_that_is_none_and_a_run_folder_in_use_say_so() {
    let place = Place::new();
    place.classes("train", &[6, 6]);
    place.recipe("", "epochs = 1");
    let ran = place.run("predict --checkpoint nowhere train");
    ran.exits(1, "found no checkpoint");
    place.write("run/mine.txt", "mine");
    let (code, error) = train_error(&place, &[]);
    assert!(code == Some(2) && error.contains("isn't empty"), "{error}");
    assert_eq!(place.read("run/mine.txt"), "mine");
    let ran = place.run("train --config small.toml --resume");
    ran.exits(2, "found no run to resume");
}
