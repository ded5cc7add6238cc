//! Augmented sets on disk, settings by class, mixing, normalizations: what a user does with
//! `[augment]`.

use std::collections::BTreeMap;

use burn::tensor::Device;
use emberlens::{config, data::load_for_training, train::Session};

use crate::support::Place;

#[test]
fn a_written_set_holds_what_the_epochs_draw_and_trains_as_it_is() {
    let place = Place::new();
    place.classes("train", &[9, 5]);
    place.recipe("", "epochs = 1");
    let ran = place.done("augment --config small.toml --out new/set --per-image 2");
    ran.prints("Wrote 22 images: a 14, b 8");
    // Copy 2 of an image is what its second epoch draws: the same pixels in the preview.
    let written: Vec<_> = std::fs::read_dir(place.path("new/set/b"))
        .expect("a folder")
        .map(|entry| entry.expect("read").path())
        .collect();
    let copy = written
        .iter()
        .find(|path| path.to_string_lossy().ends_with("-02.png"))
        .expect("a second copy");
    let stem = copy.file_stem().expect("a name").to_string_lossy()[..3].to_owned();
    place.done(&format!(
        "preview --config small.toml --image train/b/{stem}.png --epoch 2 --epochs 1 --out p.png"
    ));
    let (seen, copy) = (
        image::open(place.path("p.png")).expect("opened").to_rgb8(),
        image::open(copy).expect("opened").to_rgb8(),
    );
    assert_eq!(copy.dimensions(), (24, 20));
    for (x, y, pixel) in copy.enumerate_pixels() {
        assert_eq!(
            seen.get_pixel(6 + 24 * 5 + 6 + x * 5, 30 + y * 5),
            pixel,
            "column {x}, row {y}"
        );
    }

    let manifest = place.read("new/set/manifest.csv");
    assert_eq!(manifest.lines().count(), 1 + 14 + 22, "old and new images");
    let train =
        place.done("train --config small.toml --set data.train=new/set/manifest.csv --out run");
    train.tells("Found 33 images belonging to 2 classes. (training)");
    train.tells("Found 3 images belonging to 2 classes. (validation)");
    // No changed copy of a validation image is trained on.
    let mut sides: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in csv::Reader::from_reader(manifest.as_bytes())
        .records()
        .map(|line| line.expect("a line"))
    {
        sides
            .entry(line[3].to_owned())
            .or_default()
            .push(line[2].to_owned());
    }
    assert!(
        sides.len() == 14
            && sides
                .values()
                .all(|side| side.iter().all(|split| *split == side[0])),
        "{sides:?}"
    );
}

#[test]
fn balance_fills_each_class_up_to_the_largest() {
    let place = Place::new();
    place.classes("train", &[10, 4, 7]);
    place.recipe("validation = 0.3", "epochs = 1");
    place.done("augment --config small.toml --out set --balance --format jpeg");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in csv::Reader::from_reader(place.read("set/manifest.csv").as_bytes())
        .records()
        .map(|line| line.expect("a line"))
    {
        if &line[2] == "train" {
            *counts.entry(line[1].to_owned()).or_default() += 1;
        }
        assert!(
            line[0].starts_with('/') || place.path("set").join(&line[0]).is_file(),
            "{}",
            &line[0]
        );
    }
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        [
            ("a".to_owned(), 7),
            ("b".to_owned(), 7),
            ("c".to_owned(), 7)
        ]
    );
    let file = std::fs::read_dir(place.path("set/b"))
        .expect("a folder")
        .next()
        .expect("a file")
        .expect("read")
        .path();
    assert!(
        place
            .bytes(file.to_str().expect("UTF-8"))
            .starts_with(&[0xFF, 0xD8]),
        "a JPEG"
    );
}

#[test]
fn nothing_is_written_where_something_is_or_where_the_data_is() {
    let place = Place::new();
    place.classes("train", &[5, 5]);
    place.recipe("", "epochs = 1");
    place.write("full/mine.txt", "mine");
    for (out, change, expected) in [
        ("full", "seed=1", "isn't empty"),
        ("full/mine.txt", "seed=1", "a file of that name"),
        ("train/new", "seed=1", "data's own folder"),
        ("train/../train/a/new", "seed=1", "data's own folder"),
        ("none", "augment={}", "augments nothing in a, b"),
        ("none", "augment={ mixup = {} }", "augments nothing in a, b"),
        (
            "none",
            "augment={ class = { a = { horizontal_flip = true } } }",
            "augments nothing in b",
        ),
    ] {
        let line = format!("augment --config small.toml --out {out} --per-image 1 --set");
        let ran = place.run(&(line.as_str(), change));
        assert!(
            ran.code == Some(2) && ran.err.contains(expected),
            "{out}: {}",
            ran.err
        );
    }
    let ran = place.run("augment --config small.toml --out none --balance --quality 50");
    ran.exits(2, "no effect on PNG");
    assert_eq!(place.read("full/mine.txt"), "mine");
    assert!(!place.path("train/new").exists() && !place.path("none").exists());
}

/// Lines of `[augment]`, the key that is wrong, where it has one, and what is said of it.
const IMPOSSIBLE: [(&str, &str, &str); 11] = [
    ("zoom_range = -0.5", "", "zoom_range"),
    ("zoom_range = 1.5", "`augment.zoom_range`", "[-0.5, 2.5]"),
    (
        "brightness_range = [1.2, 0.8]",
        "`augment.brightness_range`",
        "[1.2, 0.8]",
    ),
    (
        "jpeg = { probability = 1.5, range = [10, 20] }",
        "`augment.jpeg.probability`",
        "1.5",
    ),
    (
        "contrast = { range = [2, 1] }",
        "`augment.contrast.range`",
        "[2, 1]",
    ),
    (
        "width_shift_range = []",
        "`augment.width_shift_range`",
        "[]",
    ),
    (
        "random_erasing = { scale = [0.5, 1.5] }",
        "`augment.random_erasing.scale`",
        "[0.5, 1.5]",
    ),
    ("mixup = { alpha = 0 }", "`augment.mixup.alpha`", "0"),
    (
        "policy = { kind = 'rand_augment', magnitude = 40 }",
        "`augment.policy.magnitude`",
        "40",
    ),
    (
        "class.a.mixup = { alpha = 1 }",
        "`augment.class.a.mixup`",
        "batch",
    ),
    (
        "class.a.rotation = 3",
        "`augment.class.a.rotation`",
        "did you mean `rotation_range`?",
    ),
];

#[test]
fn a_value_that_cannot_be_names_its_key_and_line() {
    let place = Place::new();
    place.classes("train", &[5, 5]);
    let text = |augment: &str| {
        format!(
            "name = \"x\"\n\n[data]\ntrain = \"train\"\n\n[augment]\nhorizontal_flip = true\n\
             {augment}\n"
        )
    };
    for (augment, key, found) in IMPOSSIBLE {
        place.write("x.toml", &text(augment));
        let ran = place.run("preview --config x.toml");
        assert!(
            ran.code == Some(2) && ran.err.contains(key) && ran.err.contains(found),
            "{augment}: {}",
            ran.err
        );
        assert!(
            ran.err.contains("line 8") || key.is_empty(),
            "{augment}: {}",
            ran.err
        );
    }
    place.write("x.toml", &text("fill_mode = \"mirror\""));
    let ran = place.run("preview --config x.toml");
    assert!(
        ran.code == Some(2)
            && ran.err.contains("line 8")
            && ran.err.contains("found \"mirror\"")
            && ran.err.contains("reflect"),
        "{}",
        ran.err
    );
    place.write("x.toml", &text("class.z.rotation_range = 3"));
    for command in [
        "train --device cpu",
        "preview",
        "augment --out new --balance",
    ] {
        let ran = place.run(&format!("{command} --config x.toml"));
        ran.exits(
            2,
            "augment.class.z names z, which isn't a class; the classes are a, b",
        );
    }
    assert!(!place.path("new").exists());
}

fn session(place: &Place, changes: &[&str]) -> Session {
    let train = format!("data.train={:?}", place.path("train").display().to_string());
    let changes: Vec<_> = changes
        .iter()
        .map(|change| (*change).to_owned())
        .chain([train])
        .collect();
    let config = config::load(&place.path("small.toml"), &changes).expect("a recipe");
    let data = load_for_training(&config.data, config.seed, &|_| (), &|_| ()).expect("images");
    Session::start(config, &data, &Device::flex()).expect("a session")
}

#[test]
fn one_class_alone_can_be_augmented() {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.recipe("", "");
    let plain = session(&place, &["augment={}"]);
    let only_b = session(
        &place,
        &["augment={ class = { b = { vertical_flip = true, brightness_range = [0.5, 0.6] } } }"],
    );
    let (plain, changed) = (
        plain.datasets.training_view(&plain.config, 0),
        only_b.datasets.training_view(&only_b.config, 0),
    );
    for index in 0..plain.draws.len() {
        let (before, after) = (
            plain.batch(index..index + 1).expect("read"),
            changed.batch(index..index + 1).expect("read"),
        );
        let label = plain.sample(index).expect("read").label;
        assert_eq!(
            before.images == after.images,
            label == 0,
            "image {index} of class {label}"
        );
    }
}

#[test]
fn mixed_images_have_mixed_targets_and_train_to_the_same_bytes_for_any_number_of_workers() {
    let place = Place::new();
    place.classes("train", &[11, 9]);
    place.recipe("", "epochs = 2");
    let mixed = session(
        &place,
        &["augment={ mixup = { alpha = 1 }, cutmix = { alpha = 1, probability = 0.5 } }"],
    );
    let view = mixed.datasets.training_view(&mixed.config, 0);
    let batch = view.batch(0..8).expect("read");
    let shares: Vec<f32> = batch
        .targets
        .chunks_exact(2)
        .map(|target| target.iter().sum())
        .collect();
    assert!(
        shares.iter().all(|share| (share - 1.0).abs() < 1e-6),
        "{shares:?}"
    );
    assert!(
        batch
            .targets
            .iter()
            .any(|share| *share > 0.01 && *share < 0.99),
        "{:?}",
        batch.targets
    );
    let labels: Vec<usize> = batch
        .targets
        .chunks_exact(2)
        .map(|target| usize::from(target[1] > target[0]))
        .collect();
    assert_eq!(batch.labels(), labels);
    let change = "augment={ mixup = { alpha = 0.4 }, rotation_range = 10, jpeg = { range = [40, \
                  80], probability = 0.5 } }";
    for workers in ["0", "3"] {
        let set = format!("train.workers={workers}");
        let line = format!("train --config small.toml --set {set} --out w{workers} --set");
        place.done(&(line.as_str(), change));
    }
    assert_eq!(
        place.bytes("w0/last/model.safetensors"),
        place.bytes("w3/last/model.safetensors")
    );
}

#[test]
fn statistics_of_the_training_images_live_in_the_checkpoint() {
    let place = Place::new();
    place.classes("train", &[10, 10]);
    place.classes("other", &[3, 3]);
    place.recipe("image_size = [8, 9]\ncolor = \"grayscale\"", "epochs = 1");
    // The size is given twice in the recipe's text otherwise.
    place.replace("small.toml", "image_size = [20, 24]\n", "");
    for (name, normalize) in [
        ("dataset", "'dataset'"),
        ("samplewise", "'samplewise'"),
        (
            "zca",
            "{ rescale = 0.00392, zca_whitening = true, zca_epsilon = 0.1 }",
        ),
        (
            "featurewise",
            "{ rescale = 0.00392, samplewise_center = true, featurewise_std_normalization = true }",
        ),
    ] {
        let change = format!("data.normalize={normalize}");
        let run = |out: &str, epochs: &str| {
            let line = format!("train --config small.toml --set {epochs} --out {out} --set");
            place.done(&(line.as_str(), change.as_str()))
        };
        run(name, "train.epochs=1");
        assert_eq!(
            place.path(name).join("best/whitening.safetensors").exists(),
            name == "zca"
        );
        // Evaluated elsewhere with the numbers of the training set; gone on with to the same bytes.
        let evaluation = place.done(&format!(
            "evaluate --checkpoint {name} --data other --device cpu --json"
        ));
        evaluation.prints("\"images\": 6");
        place.done(&["train", "--resume", name, "--set", "train.epochs=2"]);
        run(&format!("{name}-whole"), "train.epochs=2");
        let model = |run: &str| place.bytes(&format!("{run}/last/model.safetensors"));
        assert_eq!(model(name), model(&format!("{name}-whole")), "{name}");
    }
}
