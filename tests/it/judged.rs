//! `inspect --run`: the networks of a cross-validation judge the labels, and the corrected list is
//! trained on.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::support::Place;

/// A cross-validation on two classes, four images of which lie in the other one's folder: their
/// file names begin with `wrong`.
fn place() -> Place {
    let place = Place::new();
    place.classes("train", &[48, 48]);
    place.classes("test", &[4, 4]);
    for (from, to) in [("a", "b"), ("b", "a")] {
        for index in [3, 30] {
            let [from, to] = [
                format!("train/{from}/{index:03}.png"),
                format!("train/{to}/wrong-{from}-{index}.png"),
            ];
            fs::rename(place.path(&from), place.path(&to)).expect("moved");
        }
    }
    // Sharp enough that four wrong labels aren't taken for what is hard.
    let train = "epochs = 40\nfolds = 3\ncheckpoint = { monitor = \"loss\" }";
    place.recipe("test = 'test'", train);
    place.replace("small.toml", "dropout = 0.2", "dropout = 0.0");
    place
}

#[test]
fn the_networks_of_folds_judge_labels_and_the_corrected_list_is_trained_on() {
    let place = place();
    place.done("train --config small.toml --out run");
    let out = "--html look.html --write-labels labels.csv --json";
    let ran = place.done(&format!("inspect --run run {out}"));
    let labels = &ran.json()["labels"];
    assert_eq!(
        labels["judge"],
        "a network of run that wasn't trained on the image"
    );
    assert_eq!(labels["images"], 96, "all but the test images");
    let suspects = labels["suspects"].as_array().expect("a list");
    let path = |suspect: &Value| suspect["path"].as_str().expect("a text").to_owned();
    let found: BTreeSet<String> = suspects.iter().map(path).collect();
    let wrong = ["a/wrong-b-3", "a/wrong-b-30", "b/wrong-a-3", "b/wrong-a-30"];
    let wrong: BTreeSet<String> = wrong.map(|name| format!("train/{name}.png")).into();
    assert_eq!(found, wrong);
    let page = place.read("look.html");
    assert!(
        page.contains("preferred by a network of run that"),
        "whose judgment it is"
    );
    assert!(page.contains("wrong-a-30.png"), "the images are named");

    // What a person would do: take the suggestions.
    let list = place.read("labels.csv");
    let mut lines = list.lines();
    let head = "path,label,split,group,weight,suggestion,label_probability,suggestion_probability";
    assert_eq!(lines.next(), Some(head));
    let mut corrected = head.to_owned();
    for (index, line) in lines.enumerate() {
        let mut fields: Vec<&str> = line.split(',').collect();
        assert_eq!(
            fields[5].is_empty(),
            index >= 4,
            "the doubtful ones come first: {line}"
        );
        if index < 4 {
            fields[1] = fields[5];
        }
        corrected += &format!("\n{}", fields.join(","));
    }
    assert_eq!(corrected.lines().count(), 1 + 96 + 8);
    place.write("labels.csv", &corrected);
    let text = place
        .read("small.toml")
        .replace("\"train\"", "\"labels.csv\"");
    // The list has the test images.
    let text = text.replace("test = 'test'", "");
    place.write("corrected.toml", &text);
    place.done("train --config corrected.toml --out corrected");
    let ran = place.done("inspect --run corrected");
    ran.prints("0 of 96 doubtful by a network of corrected");
    let taken = place.run("inspect --run corrected --write-labels labels.csv");
    taken.exits(2, "the file already exists; choose another --write-labels");

    let predictions = "corrected/evaluation/out-of-fold/predictions.csv";
    let head = "path,label,predicted";
    place.replace(predictions, head, &format!("{head} "));
    place.run("inspect --run corrected").exits(
        1,
        "found another content than the one whose SHA-256 is in metrics.json beside it",
    );
}

#[test]
fn a_run_without_folds_says_who_judges_instead() {
    let place = Place::new();
    place.classes("train", &[30, 30]);
    place.recipe("", "epochs = 1");
    place.done("train --config small.toml --out run");
    let ran = place.done("inspect --run run");
    ran.tells("a simpler model judges them");
    ran.prints("by a linear model of small images");
    place
        .run("inspect --run run --config small.toml")
        .exits(2, "cannot be used with");
    place.run("inspect --run none").exits(2, "none/config.toml");
    // Another file than an evaluation writes.
    place.write(
        "run/evaluation/out-of-fold/predictions.csv",
        "path,class\nx,a\n",
    );
    let ran = place.run("inspect --run run");
    ran.exits(
        1,
        "found the columns path, class, expected path, label, predicted",
    );
}
