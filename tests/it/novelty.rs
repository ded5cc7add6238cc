//! `calibrate --novelty`: images unlike the training images are told from others.

use std::fs;

use serde_json::Value;

use crate::support::{Place, json};

/// What `predict --abstain` says of them.
const UNLIKE: &str = "unlike the training images";

/// A trained run whose validation images are 48, and images in `foreign` of nothing that it knows.
fn place() -> Place {
    let place = Place::new();
    place.classes("train", &[60, 60]);
    place.classes("test", &[30, 30]);
    place.recipe("test = 'test'\nvalidation = 0.4", "epochs = 2");
    place.done("train --config small.toml --out run");
    fs::create_dir(place.path("foreign")).expect("created");
    for index in 0..10u8 {
        let image = image::RgbImage::from_fn(31, 23, |x, y| {
            let is_dark = (x + y + u32::from(index)) % 7 < 2;
            image::Rgb([if is_dark { 10 } else { 250 }, 200 + index, 255])
        });
        let name = format!("foreign/{index}.png");
        image.save(place.path(&name)).expect("saved");
    }
    place
}

/// Label and p-value of each image in a folder.
fn judged(place: &Place, folder: &str) -> Vec<(String, f64)> {
    let predict = "predict --checkpoint run --abstain --format jsonl --device cpu";
    let ran = place.done(&format!("{predict} {folder}"));
    let of_line = |line: &str| {
        let line = json(line);
        let label = line["label"].as_str().expect("a text").to_owned();
        (label, line["novelty_p_value"].as_f64().expect("a number"))
    };
    ran.out.lines().map(of_line).collect()
}

#[test]
fn images_of_another_kind_are_told_from_those_of_the_same() {
    let place = place();
    let refused = place.run("predict --checkpoint run test --abstain");
    refused.exits(2, "calibrate run --coverage 0.9 --novelty 0.05");
    let told = place.done("calibrate run --novelty 0.1 --json --device cpu");
    let told = told.json();
    let meta = || -> Value { json(&place.read("run/best/meta.json")) };
    assert_eq!(told["novelty"], meta()["novelty"]);
    assert_eq!(told["novelty"]["compared_with"], 72, "{told}");
    assert_eq!(told["novelty"]["fitted_on"], 48, "{told}");
    assert_eq!(meta()["temperature"], 1.0, "nothing else was requested");
    let (same, other) = (judged(&place, "test"), judged(&place, "foreign"));
    for (label, p_value) in same.iter().chain(&other) {
        assert_eq!(label == UNLIKE, *p_value <= 0.1, "{label} {p_value}");
    }
    let alarms = |of: &[(String, f64)]| of.iter().filter(|(label, _)| label == UNLIKE).count();
    assert_eq!(alarms(&other), 10, "{other:?}");
    // The chance of more than 16 of 60 is one in ten thousand, whatever was drawn to fit on.
    assert!(alarms(&same) <= 16, "{same:?}");
    let table = place.done("predict --checkpoint run foreign/0.png --format csv --device cpu");
    table.prints("path,label,probability,novelty_p_value\n");
    // A new temperature leaves it as it is.
    let fitted = meta()["novelty"].clone();
    place.done("calibrate run --coverage 0.8 --device cpu");
    assert_eq!(meta()["novelty"], fitted);
    assert_eq!(alarms(&judged(&place, "foreign")), 10);
}

#[test]
fn what_cannot_be_promised_changes_nothing_and_what_was_changed_is_refused() {
    let place = place();
    let files = || {
        let folder = fs::read_dir(place.path("run/best")).expect("there");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("a file").file_name();
        let mut names: Vec<_> = folder.map(name).collect();
        names.sort();
        names
    };
    let (before, meta) = (files(), place.read("run/best/meta.json"));
    let few = place.run("calibrate run --novelty 0.02 --device cpu");
    few.exits(
        1,
        "found 48 validation images, expected 49 or more to promise a rate of 0.02",
    );
    let none = place.run("calibrate run --novelty 0 --device cpu");
    none.exits(2, "expected a number between 0 and 1");
    assert_eq!(
        (files(), place.read("run/best/meta.json")),
        (before.clone(), meta)
    );
    place.done("calibrate run --novelty 0.1 --device cpu");
    assert_eq!(
        files().len(),
        before.len() + 1,
        "all others are still there"
    );
    place.done("train --resume run --set train.epochs=3 --dry-run");
    let path = place.path("run/best/novelty.safetensors");
    let whole = fs::read(&path).expect("there");
    fs::write(&path, &whole[..whole.len() - 4]).expect("written");
    let predict = "predict --checkpoint run test/a/000.png --device cpu";
    place
        .run(predict)
        .exits(1, "novelty.safetensors is cut off or changed");
    fs::remove_file(&path).expect("removed");
    place.run(predict).exits(1, "novelty.safetensors: ");
    // It can't be fitted again in what is damaged, and is no part of what training goes on from.
    fs::write(&path, whole).expect("written");
    place.done(predict);
}
