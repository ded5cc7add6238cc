//! Models that Keras saved: what they predict as checkpoints is what Keras predicts. The models in
//! `tests/keras` are written by `scripts/keras-models`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::Deserialize;

use crate::support::{Place, json, root};

/// Models with the same layers.
#[derive(Deserialize)]
struct Case {
    /// Keras's preprocessing outside the model, as `--normalize`.
    normalize: Option<String>,
    models: Vec<Model>,
}

/// A model, and what Keras predicts with it.
#[derive(Deserialize)]
struct Model {
    file: String,
    /// Probabilities of each image.
    rows: Vec<Vec<f64>>,
}

fn folder() -> PathBuf {
    root().join("tests/keras")
}

fn cases() -> BTreeMap<String, Case> {
    let text = fs::read_to_string(folder().join("expected.json")).expect("read");
    serde_json::from_str(&text).expect("JSON")
}

fn model(name: &str) -> String {
    folder().join(name).to_string_lossy().into_owned()
}

#[test]
fn predictions_are_those_of_keras() {
    let place = Place::new();
    let mut count = 0;
    for (name, case) in cases() {
        for Model { file, rows } in &case.models {
            let rows = rows.iter().map(|row| match row.as_slice() {
                // One sigmoid: the probability of the second of two classes.
                [second] => vec![1.0 - second, *second],
                row => row.to_vec(),
            });
            let expected: Vec<Vec<f64>> = rows.collect();
            let classes = &"a,b,c,d"[..2 * expected[0].len() - 1];
            let path = model(file);
            let mut import = vec!["import", &path, "--out", file, "--classes", classes];
            import.extend(case.normalize.iter().flat_map(|how| ["--normalize", how]));
            place.done(&import);
            let images: Vec<_> = (0..expected.len())
                .map(|index| model(&format!("{name}-{index}.png")))
                .collect();
            let mut predict = vec!["predict", "--checkpoint", file, "--format", "jsonl"];
            predict.extend(["--device", "cpu"]);
            predict.extend(images.iter().map(String::as_str));
            let predicted = place.done(&predict).out;
            for (line, expected) in predicted.lines().zip(&expected) {
                let line = json(line);
                for (class, expected) in ["a", "b", "c", "d"].iter().zip(expected) {
                    let found = line["probabilities"][class].as_f64().expect("a number");
                    assert!(
                        (found - expected).abs() < 1e-5,
                        "{file}: {found} {expected}"
                    );
                    count += 1;
                }
            }
        }
    }
    assert!(count > 200, "{count}");
}

#[test]
fn an_imported_model_is_measured_explained_and_exported() {
    let place = Place::new();
    place.images("val/ants", 0, 3);
    place.images("val/bees", 1, 3);
    let notebook = model("binary.keras");
    let import = [
        "import",
        &notebook,
        "--out",
        "run",
        "--data",
        "val",
        "--normalize",
        "unit",
    ];
    place
        .done(&import)
        .tells("2 classes (ants, bees), images of 22 x 26");
    let ran = place.done("evaluate --checkpoint run --data val --json --device cpu");
    assert_eq!(ran.json()["images"], 6);
    place.done("explain --checkpoint run val/ants --device cpu");
    place.done("export run --onnx run.onnx");
    place.run("train --resume run").exits(2, "was imported");
    place.run(&import).exits(2, "run");
}

/// Replaces a text wherever it stands by one that is as long.
fn replaced(bytes: &[u8], old: &str, new: &str) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let (mut changed, mut count) = (bytes.to_vec(), 0);
    for at in 0..bytes.len() - old.len() {
        if changed[at..].starts_with(old.as_bytes()) {
            changed[at..at + old.len()].copy_from_slice(new.as_bytes());
            count += 1;
        }
    }
    assert!(count > 0, "{old}");
    changed
}

#[test]
fn what_a_file_lacks_is_asked_for_and_what_is_unknown_named() {
    let place = Place::new();
    let notebook = model("notebook.keras");
    let ask = |more: &[&str], code, words: &str| {
        let mut import = vec!["import", notebook.as_str()];
        import.extend(more);
        place.run(&import).exits(code, words);
    };
    let out = ["--out", "run"];
    ask(&[], 2, "--out RUN");
    ask(&out, 1, "doesn't name its 3 classes; --classes a,b,...");
    ask(
        &[&out[..], &["--classes", "a,b"]].concat(),
        1,
        "found 2 class names, expected 3",
    );
    ask(
        &[&out[..], &["--classes", "a,b,c"]].concat(),
        1,
        "what was done to pixel values before they entered the model; --normalize unit",
    );
    assert!(!place.path("run").exists());
    let bytes = fs::read(&notebook).expect("read");
    // What the file says, changed in place to what is as long.
    for (old, new, words) in [
        (
            "\"Dropout\"",
            "\"Lambdas\"",
            "(Lambdas): such layers can't be imported",
        ),
        ("\"softmax\"", "\"softmix\"", "softmix"),
        ("\"Conv2D\"", "\"Conv3D\"", "(Conv3D)"),
        (
            "\"MaxPooling2D\"",
            "\"Rescaling\"   ",
            "(Rescaling): such a layer can be imported before all others only",
        ),
        (
            "\"keras.layers\"",
            "\"my_ownlayers\"",
            "which isn't Keras's own",
        ),
        (
            "[null, 22, 26, 3]",
            "[null, 123456789]",
            "found an input of the shape [null,123456789]",
        ),
    ] {
        fs::write(place.path("changed.keras"), replaced(&bytes, old, new)).expect("written");
        place
            .run("import changed.keras --out run --classes a,b,c --normalize unit")
            .exits(1, words);
    }
    fs::write(place.path("cut.keras"), &bytes[..bytes.len() / 2]).expect("written");
    place
        .run("import cut.keras --out run --classes a,b,c --normalize unit")
        .exits(1, "cut.keras");
    assert!(!place.path("run").exists());
}
