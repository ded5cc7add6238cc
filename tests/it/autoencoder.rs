//! An autoencoder: trained on images without labels, resumed, measured by its error, and its
//! encoder as the first layers of a classifier.

use std::{fs, process::Stdio, thread::sleep, time::Duration};

use safetensors::SafeTensors;
use serde_json::Value;

use crate::support::{Place, json};

/// A recipe for an autoencoder of the images in `train/`.
fn recipe(place: &Place, data: &str, train: &str) {
    let text = format!(
        "name = \"small\"\ndevice = \"cpu\"\n[data]\ntrain = \"train\"\nimage_size = [20, 24]\n\
         {data}\n[model]\narchitecture = \"autoencoder\"\nchannels = [8, 4]\n[train]\n\
         batch_size = 5\noptimizer = {{ kind = \"adam\", learning_rate = 0.01 }}\n{train}\n"
    );
    place.write("small.toml", &text);
}

/// Images of a kind that no class of [`Place::classes`] has.
fn foreign(place: &Place, folder: &str, count: u8) {
    fs::create_dir_all(place.path(folder)).expect("created");
    for index in 0..count {
        let image = image::RgbImage::from_fn(31, 23, |x, y| {
            let is_dark = (x + y + u32::from(index)) % 7 < 2;
            image::Rgb([if is_dark { 10 } else { 250 }, 200 + index, 255])
        });
        let path = place.path(&format!("{folder}/{index}.png"));
        image.save(path).expect("saved");
    }
}

#[test]
fn images_of_a_class_that_training_had_not_have_the_larger_errors() {
    let place = Place::new();
    place.classes("train", &[40, 20]);
    place.classes("more", &[8, 6]);
    foreign(&place, "more/stripes", 9);
    recipe(&place, "validation = 0.4", "epochs = 6");
    let ran = place.done("train --config small.toml --out run");
    ran.tells("- loss: ");
    assert!(!ran.err.contains("accuracy"), "{}", ran.err);
    ran.prints("Mean squared error");
    let history = place.read("run/history.csv");
    assert!(
        history.starts_with("epoch,loss,val_loss,learning_rate,seconds\n"),
        "{history}"
    );
    let meta = json(&place.read("run/best/meta.json"));
    assert_eq!(meta["reconstruction"]["rate"], 0.05);
    assert_eq!(meta["reconstruction"]["fitted_on"], 24);
    assert!(place.path("run/mean_image.png").exists());

    let found = place.done("evaluate --checkpoint run --data more --json --device cpu");
    let found = found.json();
    assert_eq!(found["metrics"]["roc_auc"]["value"], 1.0, "{found}");
    assert!(found["metrics"]["roc_auc_mean_image"]["value"].is_number());
    assert_eq!(found["per_class"]["stripes"]["is_trained_on"], false);
    assert_eq!(found["per_class"]["stripes"]["unlike"]["value"], 1.0);
    assert_eq!(found["per_class"]["a"]["images"], 8);
    let report = place.read("run/evaluation/more/report.html");
    for words in [
        "The error tells stripes",
        "Classes that training had not",
        "The lowest errors",
    ] {
        assert!(report.contains(words), "{words}");
    }
    let errors = place.read("run/evaluation/more/errors.csv");
    assert!(errors.starts_with("path,class,error,unlike\n"), "{errors}");
    assert_eq!(errors.lines().count(), 1 + 8 + 6 + 9);
    place.done("runs run").prints("run");

    let predict = "predict --checkpoint run more/stripes/0.png more/a/000.png --device cpu";
    place.done(predict).prints("Unlike the training images");
    let lines = place.done(&format!("{predict} --format jsonl")).out;
    let lines: Vec<Value> = lines.lines().map(|line| json(line)).collect();
    assert_eq!(lines[0]["unlike"], true, "{lines:?}");
    assert!(lines[0]["error"].as_f64() > lines[1]["error"].as_f64());
    let csv = place.done(&format!("{predict} --format csv"));
    csv.prints("path,error,unlike\nmore/stripes/0.png,");

    let told = place
        .done("calibrate run --novelty 0.2 --json --device cpu")
        .json();
    assert_eq!(told["rate"], 0.2);
    let few = place.run("calibrate run --novelty 0.01 --device cpu");
    few.exits(1, "found 24 validation images, expected 99 or more");
    // A better epoch has an error of its own, at the usual rate.
    let resumed = place.done("train --resume run --set train.epochs=7");
    resumed.tells("The best epoch has a rate of false alarms from `emberlens calibrate`");
    let meta = json(&place.read("run/best/meta.json"));
    assert_eq!(meta["reconstruction"]["rate"], 0.05);
}

#[test]
fn a_folder_without_classes_is_enough_and_a_killed_run_ends_with_the_same_bytes() {
    let place = Place::new();
    place.images("train", 0, 24);
    recipe(
        &place,
        "",
        "epochs = 8\ncheckpoint = { every_steps = 1 }\nema_decay = 0.9\n\
         early_stopping = { patience = 20 }",
    );
    let whole = place.done("train --config small.toml --out whole");
    whole.tells("belonging to 1 classes");
    whole.tells("validation images, expected 19 or more");
    assert!(place.read("whole/split.csv").contains("unlabeled"));
    let mut arguments = vec!["train", "--config", "small.toml", "--out", "killed"];
    for wait in [1, 40, 90] {
        let mut child = place
            .command(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let saved = place.path("killed/last/meta.json");
        while !saved.exists() && child.try_wait().expect("asked").is_none() {
            sleep(Duration::from_millis(1));
        }
        sleep(Duration::from_millis(wait));
        child.kill().expect("killed");
        child.wait().expect("ended");
        arguments = vec!["train", "--resume", "killed"];
    }
    place.done("train --resume killed");
    assert!(place.result("whole") == place.result("killed"));
    // Without a threshold there is nothing to say but the error.
    place
        .done("predict --checkpoint whole train/000.png --device cpu")
        .prints("not fitted");
    place.write("classifier.toml", "name = 'x'\n[data]\ntrain = 'train'\n");
    place
        .run("train --config classifier.toml")
        .exits(1, "found no class folders in train");
}

#[test]
fn the_encoder_gives_its_weights_to_a_classifier_of_the_same_channels() {
    let place = Place::new();
    place.classes("train", &[17, 13]);
    recipe(&place, "normalize = 'tf'", "epochs = 2");
    place.done("train --config small.toml --out run");
    let classifier = |weights: &str, channels: &str, out: &str| {
        let text = format!(
            "name = 'x'\ndevice = 'cpu'\n[data]\ntrain = 'train'\nimage_size = [20, 24]\n[model]\n\
             weights = '{weights}'\nfreeze = 'backbone'\nchannels = {channels}\n[train]\n\
             epochs = 1\n"
        );
        place.write("x.toml", &text);
        place.run(&format!("train --config x.toml --out {out}"))
    };
    for (weights, out) in [("run", "one"), ("run/best/model.safetensors", "two")] {
        let ran = classifier(weights, "[8, 4]", out);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let meta = json(&place.read(&format!("{out}/best/meta.json")));
        assert_eq!(
            meta["normalize"]["mean"][0], 0.5,
            "the normalization of the weights"
        );
        let given = place.bytes("run/best/model.safetensors");
        let taken = place.bytes(&format!("{out}/best/backbone.safetensors"));
        let given = SafeTensors::deserialize(&given).expect("whole");
        let taken = SafeTensors::deserialize(&taken).expect("whole");
        assert_eq!(taken.len(), 4, "two convolutions with biases");
        for (name, tensor) in taken.tensors() {
            let other = given.tensor(&name).expect("of the same name");
            assert!(tensor.data() == other.data(), "{name}");
        }
    }
    classifier("run", "[8, 6]", "three").exits(1, "blocks.1.conv.weight has the shape");
    classifier("run", "[8]", "four").exits(1, "blocks.1.conv.weight is superfluous");
}

#[test]
fn what_needs_classes_refuses_an_autoencoder() {
    let place = Place::new();
    place.images("train", 0, 12);
    recipe(&place, "", "epochs = 1");
    place.done("train --config small.toml --out run");
    for command in [
        "explain --checkpoint run train/000.png",
        "export run --onnx x.onnx",
    ] {
        let ran = place.run(command);
        ran.exits(
            1,
            "found an autoencoder, expected a network that knows classes",
        );
    }
    for (command, words) in [
        (
            "evaluate --checkpoint run --tta 2",
            "--tta needs a network that knows classes",
        ),
        (
            "evaluate --checkpoint run --by group",
            "--by needs a network that knows classes",
        ),
        (
            "predict --checkpoint run train --abstain",
            "leave them out for an autoencoder",
        ),
        ("calibrate run", "emberlens calibrate run --novelty 0.05"),
        (
            "bench step --config small.toml",
            "an autoencoder has no labels to step on",
        ),
    ] {
        place.run(command).exits(2, words);
    }
}
