//! A run of folds where a network would do: explained, exported and calibrated as a whole.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Place, json};

/// A run of three folds in `run`, whose images are normalized by statistics of each fold's own.
fn folds() -> Place {
    let place = Place::new();
    place.classes("train", &[17, 13]);
    place.classes("test", &[6, 5]);
    // A mistake in each class, for a temperature.
    for [from, to] in [["a/000", "b/100"], ["b/000", "a/100"]] {
        let [from, to] = [from, to].map(|name| place.path(&format!("train/{name}.png")));
        fs::rename(from, to).expect("moved");
    }
    place.recipe("test = \"test\"\nnormalize = \"dataset\"", "epochs = 6");
    place.done("train --config small.toml --out run --folds 3");
    place
}

/// Copies the best network of a run to another, whose own it replaces.
fn copy(place: &Place, from: &str, to: &str) {
    let folder = place.path(&format!("{to}/best"));
    fs::create_dir_all(&folder).expect("created");
    for file in fs::read_dir(place.path(&format!("{from}/best"))).expect("listed") {
        let file = file.expect("read");
        fs::copy(file.path(), folder.join(file.file_name())).expect("copied");
    }
}

/// The probability of each class of the images in `test`.
fn predicted(place: &Place, run: &str) -> Vec<[f64; 2]> {
    let line = format!("predict --checkpoint {run} test --format jsonl --device cpu");
    let row = |line: &str| {
        let found = json(line);
        ["a", "b"].map(|class| number(&found["probabilities"][class]))
    };
    place.done(&line).out.lines().map(row).collect()
}

/// The values of the maps for class b of the images in `test`, and the probability of the class.
fn explained(place: &Place, run: &str, method: &str) -> Vec<(Vec<f64>, f64)> {
    let name = format!("{}-{method}", run.replace('/', "-"));
    let line = format!(
        "explain --checkpoint {run} test --class b --method {method} --format jsonl --device cpu \
         --raw {name}.csv --out {name}"
    );
    let told = place.done(&line).out;
    let told = told.lines().map(|line| {
        let found = json(line);
        number(&found["class_probability"])
    });
    let text = place.read(&format!("{name}.csv"));
    let mut maps = csv::Reader::from_reader(text.as_bytes());
    let maps = maps.records().map(|record| {
        let record = record.expect("a row");
        let values = record.iter().skip(2);
        values
            .map(|value| value.parse().expect("a number"))
            .collect()
    });
    maps.zip(told).collect()
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn the_map_of_a_run_is_the_mean_of_those_of_its_folds() {
    let place = folds();
    for method in ["grad-cam", "occlusion"] {
        let together = explained(&place, "run", method);
        let each = [1, 2, 3].map(|fold| explained(&place, &format!("run/fold-{fold}"), method));
        assert_eq!(together.len(), 11);
        for (image, (map, probability)) in together.iter().enumerate() {
            for (at, value) in map.iter().enumerate() {
                let values = each.each_ref().map(|maps| maps[image].0[at]);
                let most = values
                    .iter()
                    .fold(0.0f64, |most, value| most.max(value.abs()));
                let mean = values.iter().sum::<f64>() / 3.0;
                assert!((value - mean).abs() <= 1e-6 * most, "{value}, {values:?}");
            }
            let mean = each.iter().map(|maps| maps[image].1).sum::<f64>() / 3.0;
            assert!((probability - mean).abs() < 1e-9, "{probability}, {mean}");
        }
    }
    let rows = predicted(&place, "run");
    let maps = explained(&place, "run", "layer-cam");
    for ([_, expected], (_, probability)) in rows.iter().zip(&maps) {
        assert!((probability - expected).abs() < 1e-6, "as predict has it");
    }
    let ran = place.done("explain --checkpoint run test --curves --sanity --device cpu");
    ran.tells("grad-cam of backbone.blocks.1 (5x6), the mean of 3 networks");
    ran.tells("run/explanations");
}

#[test]
fn one_network_twice_is_that_network() {
    let place = Place::with_recipe("epochs = 1");
    place.classes("test", &[6, 5]);
    place.done("train --config small.toml --out run");
    for fold in ["twice/fold-1", "twice/fold-2"] {
        copy(&place, "run", fold);
    }
    let list = "{\"members\": [\"fold-1\", \"fold-2\"]}";
    place.write("twice/ensemble.json", list);
    assert_eq!(predicted(&place, "twice"), predicted(&place, "run"));
    for method in ["grad-cam", "occlusion"] {
        assert_eq!(
            explained(&place, "twice", method),
            explained(&place, "run", method)
        );
    }
    for run in ["run", "twice"] {
        place.done(&format!("export {run} --onnx {run}.onnx"));
    }
    let [one, two] = ["run.onnx", "twice.onnx"].map(|file| place.bytes(file).len());
    assert!(
        two < one + 1000,
        "its weights are stored once: {one}, {two}"
    );
}

#[test]
fn a_run_is_exported_with_all_its_networks() {
    let place = folds();
    place.done("export run --onnx run.onnx --page run.html --pytorch run.py");
    let model = place.bytes("run.onnx");
    for name in ["head.output.weight", "head.output.weight_3", "networks"] {
        let is_there = |part: &[u8]| part == name.as_bytes();
        assert!(model.windows(name.len()).any(is_there), "{name}");
    }
    let page = place.read("run.html");
    assert_eq!(page.matches("class=\"model\"").count(), 3);
    for words in ["the mean of the probabilities of 3", "Accuracy "] {
        assert!(page.contains(words), "{words}");
    }
    let module = place.read("run.py");
    for fold in 1..=3 {
        assert!(module.contains(&format!("[\"fold-{fold}/best/model.safetensors\"]")));
    }
    place.done("train --config small.toml --out other --set model.hidden=8");
    copy(&place, "other", "run/fold-2");
    let ran = place.run("export run --onnx new.onnx");
    ran.exits(
        1,
        "found other classes, images or layers than in run/fold-1/best",
    );
}

/// The true class and the probability of b of each image, by the network that held it back.
fn out_of_fold(place: &Place) -> Vec<(bool, f64)> {
    let text = place.read("run/evaluation/out-of-fold/predictions.csv");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let row = |record: Result<csv::StringRecord, _>| {
        let record = record.expect("a row");
        (&record[1] == "b", record[5].parse().expect("a number"))
    };
    reader.records().map(row).collect()
}

/// The probability of b with a temperature.
fn softened(of_b: f64, temperature: f64) -> f64 {
    let logit = (of_b / (1.0 - of_b)).ln() / temperature;
    1.0 / (1.0 + (-logit).exp())
}

const ABSTAINING: &str = "predict --checkpoint run test --abstain --format jsonl --device cpu";

/// The number at this place from the largest down, counted from 1.
fn from_largest(values: impl Iterator<Item = f64>, place: usize) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values[place - 1]
}

#[test]
fn a_run_is_calibrated_by_what_its_folds_say_of_the_images_that_they_held_back() {
    let place = folds();
    let rows = out_of_fold(&place);
    let fit = "calibrate run --json --device cpu";
    let told = place.done(&format!("{fit} --coverage 0.8 --sensitivity b=0.8"));
    let told = told.json();
    assert_eq!(
        (&told["networks"], &told["images"]),
        (&3.into(), &30.into())
    );
    let of_truth = rows
        .iter()
        .map(|(is_b, b)| if *is_b { *b } else { 1.0 - b });
    // 25 of 31, the new image among them, and 11 of 13.
    let set = from_largest(of_truth, 25);
    let found = number(&told["coverage"]["probability"]);
    assert!((found - set).abs() < 1e-6, "{found}, {set}");
    let of_b = rows.iter().filter(|(is_b, _)| *is_b).map(|(_, b)| *b);
    let flagged = from_largest(of_b, 11);
    let found = number(&told["threshold"]["probability"]);
    assert!((found - flagged).abs() < 1e-6, "{found}, {flagged}");
    let kept = json(&place.read("run/ensemble.json"));
    let kept = &kept["calibration"];
    assert_eq!(
        (&kept["coverage"], &kept["threshold"], &kept["temperature"]),
        (&told["coverage"], &told["threshold"], &1.0.into())
    );
    let found = place.done(ABSTAINING).out;
    for (line, row) in found.lines().zip(predicted(&place, "run")) {
        let found = json(line);
        assert_eq!(found["flagged"], row[1] >= flagged, "{line}");
        let classes = row.iter().filter(|value| **value >= set).count();
        assert_eq!(found["set"].as_array().map(Vec::len), Some(classes));
    }
    assert_eq!(found.lines().count(), 11);
    let words = place.done("calibrate run --coverage 0.8 --device cpu").out;
    assert!(words.contains("Fitted to 3 single networks"), "{words}");
    place
        .run("calibrate run --novelty 0.2")
        .exits(2, "the features of one network, and this run has 3");
    place
        .run("calibrate run --coverage 0.99")
        .exits(1, "train on more images or request less");
}

#[test]
fn a_temperature_is_that_of_all_networks_and_what_was_fitted_to_others_does_not_count() {
    let place = folds();
    let rows = out_of_fold(&place);
    let each = [1, 2, 3].map(|fold| predicted(&place, &format!("run/fold-{fold}")));
    place.done("calibrate run --coverage 0.8 --device cpu");
    let told = place.done("calibrate run --temperature --json --device cpu");
    let told = told.json();
    let temperature = number(&told["temperature"]["value"]);
    let loss = |temperature: f64| -> f64 {
        let of_row = |(is_b, b): &(bool, f64)| {
            let b = softened(*b, temperature);
            -(if *is_b { b } else { 1.0 - b }).ln()
        };
        rows.iter().map(of_row).sum()
    };
    for other in [0.95, 1.05] {
        assert!(
            loss(temperature) < loss(other * temperature),
            "{temperature}"
        );
    }
    assert_eq!(told["coverage"]["fitted_on"], 30, "fitted again");
    for (image, [_, found]) in predicted(&place, "run").iter().enumerate() {
        let softened = |rows: &Vec<[f64; 2]>| softened(rows[image][1], temperature);
        let mean = each.iter().map(softened).sum::<f64>() / 3.0;
        assert!((found - mean).abs() < 1e-5, "{found}, {mean}");
    }
    // A possible temperature that nothing was fitted to, and an impossible one in a list of an
    // earlier version, which has no digest.
    let whole = place.read("run/ensemble.json");
    place.replace(
        "run/ensemble.json",
        "\"temperature\": ",
        "\"temperature\": 1",
    );
    place
        .run(ABSTAINING)
        .exits(1, "ensemble.json: `sha256`: found that of another content");
    let mut fields = json(&whole);
    fields.as_object_mut().expect("fields").remove("sha256");
    place.write("run/ensemble.json", &fields.to_string());
    place.done(ABSTAINING);
    fields["calibration"]["temperature"] = json!(-1.0);
    place.write("run/ensemble.json", &fields.to_string());
    place
        .run(ABSTAINING)
        .exits(1, "ensemble.json: calibration: `temperature`");
    place.write("run/ensemble.json", &whole);
    place.done(ABSTAINING);
    // What was fitted to other networks says nothing.
    copy(&place, "run/fold-1", "run/fold-3");
    place
        .run(ABSTAINING)
        .exits(2, "calibrate run --coverage 0.9");
}
