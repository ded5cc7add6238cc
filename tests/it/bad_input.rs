//! Whatever a user gets wrong: the message says what was found, what was expected and what to do; the exit code says whose fault.

use crate::support::Place;

fn train_error(place: &Place, more: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["train", "--config", "small.toml", "--out", "run"], more].concat();
    let ran = place.run(&arguments);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    (ran.code, ran.err)
}

#[test]
fn data_that_cannot_be_trained_on_is_explained() {
    type Prepare = fn(&Place);
    let cases: [(&str, Prepare, &[&str]); 8] = [
        ("a missing folder", |_| {}, &["found no folder of class folders", "train"]),
        ("one class", |place| place.classes("train", &[5]), &["found the one class a", "expected two or more"]),
        ("an empty class", |place| place.classes("train", &[5, 0]), &["no training picture of the class b", "add some or remove"]),
        ("no class folders", |place| place.write("train/readme.txt", "x"), &["found no class folders", "it has: readme.txt"]),
        (
            "an unknown test class",
            |place| {
                place.classes("train", &[5, 5]);
                place.classes("test", &[1, 1, 1]);
                place.recipe("test = 'test'", "epochs = 1");
            },
            &["found the test class c that training doesn't know", "training knows a, b"],
        ),
        (
            "all of a class unreadable",
            |place| {
                place.classes("train", &[5, 0]);
                place.write("train/b/cut.png", "\u{89}PNG");
            },
            &["found no picture of the class b left", "train/b/cut.png"],
        ),
        (
            "a text file where errors stop",
            |place| {
                place.classes("train", &[5, 5]);
                place.write("train/b/text.jpg", "just text");
                place.recipe("on_bad_image = 'error'", "epochs = 1");
            },
            &["can't decode a picture", "begins with \"just text\"", "train/b/text.jpg"],
        ),
        (
            "a CSV with a missing file",
            |place| {
                place.write("list.csv", "path,label\nnowhere.png,a\n");
                place.recipe("", "epochs = 1");
                let text = place.read("small.toml").replace("train = \"train\"", "train = \"list.csv\"");
                place.write("small.toml", &text);
            },
            &["found no file nowhere.png", "list.csv, line 2"],
        ),
    ];
    for (name, prepare, expected) in cases {
        let place = Place::new();
        place.recipe("", "epochs = 1");
        prepare(&place);
        let (code, error) = train_error(&place, &[]);
        assert_eq!(code, Some(1), "{name}: {error}");
        assert!(expected.iter().all(|part| error.contains(part)), "{name}: {error}");
        assert!(!place.path("run").exists(), "{name}: no run folder for a run that never began");
    }
}

#[test]
fn a_recipe_that_cannot_work_exits_with_2() {
    let place = Place::new();
    place.classes("train", &[5, 5, 5]);
    place.recipe("", "epochs = 1");
    for (change, expected) in [
        ("train.epoch=3", "did you mean `epochs`?"),
        ("train.batch_size=0", "`train.batch_size`: found 0, expected 1 or more"),
        ("augment.cval=3", "has no effect without fill_mode"),
        ("train.loss=binary_cross_entropy", "tells two classes apart, found 3"),
        ("train.class_weights={ z = 2.0 }", "names z, which is no class; the classes are a, b, c"),
        ("train.checkpoint.monitor=val_recall_z", "names z, which is no class; the classes are a, b, c"),
        ("epochs", "expected key.path=value"),
    ] {
        let (code, error) = train_error(&place, &["--set", change]);
        assert_eq!(code, Some(2), "{change}: {error}");
        assert!(error.contains(expected), "{change}: {error}");
    }
    assert_eq!(place.run(&["train", "--config", "nowhere.toml"]).code, Some(2));
    assert_eq!(place.run(&["trian"]).code, Some(2));
}

#[test]
fn bad_pictures_are_found_before_the_first_epoch_listed_and_counted() {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.recipe("", "epochs = 1");
    place.write("train/a/zero.png", "");
    place.write("train/a/text.jpg", "not a picture");
    let whole = place.bytes("train/b/000.png");
    std::fs::write(place.path("train/b/cut off, half.png"), &whole[..whole.len() / 2]).expect("written");
    let mut bomb = whole.clone();
    bomb[16..24].copy_from_slice(&[0, 1, 0x86, 0xA0, 0, 1, 0x86, 0xA0]);
    std::fs::write(place.path("train/b/bomb.png"), bomb).expect("written");
    place.write("train/b/Thumbs.db", "x");
    let ran = place.done(&["train", "--config", "small.toml", "--out", "run"]);
    assert!(ran.err.contains("4 pictures can't be decoded and are skipped"), "{}", ran.err);
    assert!(ran.err.contains("hidden files and folders, 1"), "{}", ran.err);
    assert!(ran.err.contains("Found 12 images belonging to 2 classes. (training)"), "{}", ran.err);
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
    place.recipe("", "epochs = 4\noptimizer = { kind = 'sgd', learning_rate = 1e30 }");
    let (code, error) = train_error(&place, &[]);
    assert_eq!(code, Some(1));
    assert!(error.contains("loss became") && error.contains("in epoch 1") && error.contains("smaller learning rate"), "{error}");
    place.recipe("", "epochs = 1");
    place.done(&["train", "--config", "small.toml", "--out", "good"]);
    let ran = place.run(&["evaluate", "--checkpoint", "good/best", "--data", "train", "--device", "cpu"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn a_checkpoint_that_is_none_and_a_run_folder_in_use_say_so() {
    let place = Place::new();
    place.classes("train", &[6, 6]);
    place.recipe("", "epochs = 1");
    let ran = place.run(&["predict", "--checkpoint", "nowhere", "train"]);
    assert!(ran.code == Some(1) && ran.err.contains("found no checkpoint"), "{}", ran.err);
    place.write("run/mine.txt", "mine");
    let (code, error) = train_error(&place, &[]);
    assert!(code == Some(2) && error.contains("isn't empty"), "{error}");
    assert_eq!(place.read("run/mine.txt"), "mine");
    let ran = place.run(&["train", "--config", "small.toml", "--resume"]);
    assert!(ran.code == Some(2) && ran.err.contains("found no run to resume"), "{}", ran.err);
}
