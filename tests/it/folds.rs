//! Cross-validation: a run for each fold, figures on the images that each held back, and one
//! classifier of all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Place, json, python, root};

/// A row of `predictions.csv`: label, predicted class, fold, probabilities.
#[derive(Debug)]
struct Row {
    label: String,
    predicted: String,
    fold: usize,
    probabilities: Vec<f64>,
}

/// The out-of-fold predictions of `run`, by path.
fn out_of_fold(place: &Place, run: &str) -> BTreeMap<String, Row> {
    let text = place.read(&format!("{run}/evaluation/out-of-fold/predictions.csv"));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers().expect("a head").clone();
    assert_eq!(head, ["path", "label", "predicted", "fold", "a", "b"][..]);
    let mut rows = BTreeMap::new();
    for record in reader.records() {
        let record = record.expect("a row");
        let row = Row {
            label: record[1].to_owned(),
            predicted: record[2].to_owned(),
            fold: record[3].parse().expect("a number"),
            probabilities: [4, 5]
                .map(|column| record[column].parse().expect("a number"))
                .to_vec(),
        };
        let before = rows.insert(record[0].to_owned(), row);
        assert!(before.is_none(), "{} is there twice", &record[0]);
    }
    rows
}

/// The paths of a part of a run.
fn part(place: &Place, run: &str, part: &str) -> BTreeSet<String> {
    let text = place.read(&format!("{run}/split.csv"));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader
        .records()
        .map(|record| record.expect("a row"))
        .filter(|record| &record[3] == part)
        .map(|record| record[0].to_owned())
        .collect()
}

/// Asserts that mean and standard deviation of the folds' accuracies are those of the rows.
fn assert_spread(rows: &BTreeMap<String, Row>, found: &Value) {
    let accuracies: Vec<f64> = (1..=3)
        .map(|fold| {
            let of_fold: Vec<&Row> = rows.values().filter(|row| row.fold == fold).collect();
            let right = of_fold.iter().filter(|row| row.label == row.predicted);
            right.count() as f64 / of_fold.len() as f64
        })
        .collect();
    let mean = accuracies.iter().sum::<f64>() / 3.0;
    let squares = accuracies.iter().map(|value| (value - mean).powi(2));
    let sd = (squares.sum::<f64>() / 2.0).sqrt();
    for (name, expected) in [("mean", mean), ("sd", sd)] {
        let value = found["folds"][name]["accuracy"].as_f64().expect("a number");
        assert!(
            (value - expected).abs() < 1e-9,
            "{name}: {value}, {expected}"
        );
    }
}

#[test]
fn each_image_is_held_back_once_and_the_figures_are_those_of_its_row() {
    let place = Place::with_recipe("epochs = 2");
    let ran = place.done("train --config small.toml --out run --folds 3");
    ran.tells("dealt into 3 folds of 10 to 10 images");
    ran.prints("Out-of-fold accuracy");
    let rows = out_of_fold(&place, "run");
    assert_eq!(rows.len(), 30);
    for fold in 1..=3 {
        let run = format!("run/fold-{fold}");
        let held = part(&place, &run, "val");
        let of_fold = rows.iter().filter(|(_, row)| row.fold == fold);
        assert_eq!(held, of_fold.map(|(path, _)| path.clone()).collect());
        assert!(part(&place, &run, "train").is_disjoint(&held));
        let count = |class: &str| held.iter().filter(|path| path.contains(class)).count();
        assert!((5..=6).contains(&count("train/a/")), "{held:?}");
        let own = json(&place.read(&format!("{run}/evaluation/val/metrics.json")));
        let whole = json(&place.read("run/evaluation/out-of-fold/metrics.json"));
        let figures = &whole["folds"]["per_fold"][fold - 1];
        assert_eq!(figures["metrics"], own["metrics"], "fold {fold}");
    }
    let found = json(&place.read("run/evaluation/out-of-fold/metrics.json"));
    let count = rows.len() as f64;
    let right = rows
        .values()
        .filter(|row| row.label == row.predicted)
        .count() as f64;
    // scikit-learn's `log_loss` and `brier_score_loss` of two classes.
    let of_truth = |row: &Row| row.probabilities[usize::from(row.label == "b")];
    let log_loss = rows.values().map(|row| -of_truth(row).ln()).sum::<f64>() / count;
    let close = |name: &str, expected: f64| {
        let value = found["metrics"][name]["value"].as_f64().expect("a number");
        assert!(
            (value - expected).abs() < 1e-6,
            "{name}: {value}, {expected}"
        );
    };
    close("accuracy", right / count);
    close("log_loss", log_loss);
    assert_spread(&rows, &found);
    let page = place.read("run/report.html");
    for words in ["Folds", "Standard deviation", "held it back"] {
        assert!(page.contains(words), "{words}");
    }
    let runs = place.done("runs .").out;
    assert!(
        runs.contains("out-of-fold, 30") && runs.contains("6 of 6"),
        "{runs}"
    );
    assert!(!runs.contains("fold-1"), "{runs}");
}

#[test]
fn groups_and_copies_are_on_one_side() {
    let place = Place::new();
    place.classes("train", &[20, 20]);
    place.classes("val", &[4, 4]);
    let group = "group = \"regex:^\\\\d\\\\d(\\\\d)\"\nvalidation = \"val\"";
    place.recipe(group, "epochs = 1");
    std::fs::copy(
        place.path("train/a/003.png"),
        place.path("train/a/copy.png"),
    )
    .expect("copied");
    place.done("train --config small.toml --out run --folds 3");
    let rows = out_of_fold(&place, "run");
    assert_eq!(
        rows.len(),
        49,
        "validation images of their own are dealt, too"
    );
    let mut folds: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (path, row) in &rows {
        let name = path.rsplit('/').next().expect("a name");
        let group = if name == "copy.png" { "3" } else { &name[2..3] };
        folds.entry(group.to_owned()).or_default().insert(row.fold);
    }
    assert_eq!(folds.len(), 10);
    assert!(folds.values().all(|folds| folds.len() == 1), "{folds:?}");
}

/// Starts the run `killed`, and kills and resumes it eight times.
fn kill_and_resume(place: &Place, whole: Duration) {
    let mut arguments = vec![
        "train",
        "--config",
        "small.toml",
        "--out",
        "killed",
        "--folds",
        "3",
    ];
    let mut state = 4321u64;
    for _ in 0..8 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let mut child = place
            .command(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        while !place.path("killed/ensemble.json").exists()
            && child.try_wait().expect("asked").is_none()
        {
            sleep(Duration::from_millis(1));
        }
        sleep(whole.mul_f64((state >> 40) as f64 / f64::from(1 << 24) * 0.4));
        child.kill().expect("killed");
        child.wait().expect("ended");
        arguments = vec!["train", "--resume", "killed"];
    }
}

#[test]
fn killed_processes_end_with_the_bytes_of_one_that_was_not() {
    let place = Place::with_recipe("epochs = 6\ncheckpoint = { every_steps = 1 }");
    let start = Instant::now();
    place.done("train --config small.toml --out whole --folds 3");
    let whole = start.elapsed();
    kill_and_resume(&place, whole);
    place.done("train --resume killed");
    for fold in 1..=3 {
        let run = |run: &str| place.result(&format!("{run}/fold-{fold}"));
        assert!(run("whole") == run("killed"), "fold {fold}");
    }
    for file in ["predictions.csv", "metrics.json"] {
        let [whole, killed] = ["whole", "killed"]
            .map(|run| place.read(&format!("{run}/evaluation/out-of-fold/{file}")));
        assert!(whole == killed, "{file}");
    }
    // All is done: nothing is trained again, and more epochs are.
    let ran = place.done("train --resume killed");
    assert_eq!(
        ran.err.matches("nothing to train").count(),
        3,
        "{}",
        ran.err
    );
    place.done("train --resume killed --set train.epochs=7");
    for fold in 1..=3 {
        let history = place.read(&format!("killed/fold-{fold}/history.csv"));
        assert_eq!(history.lines().count(), 8, "a head and seven epochs");
    }
    let ran = place.run("train --resume killed --set train.folds=4");
    ran.exits(2, "train.folds was 3 and is 4");
    let ran = place.run("train --resume killed --set train.batch_size=4");
    ran.exits(2, "train.batch_size was 5 and is 4");
    place.done("train --resume killed");
    place.done("train --config small.toml --out alone --set train.folds=3 --set train.fold=2");
    assert!(
        place.result("alone") == place.result("whole/fold-2"),
        "a fold by itself is that fold"
    );
}

/// Images in another folder and another order, and a fold that hasn't started: it is the one that
/// it would have been.
#[test]
fn images_that_were_moved_are_followed() {
    let place = Place::with_recipe("epochs = 1");
    place.done("train --config small.toml --out run --folds 3");
    let before = out_of_fold(&place, "run");
    std::fs::remove_dir_all(place.path("run/fold-3")).expect("removed");
    let moved = |path: &str| {
        let (folder, name) = path.rsplit_once('/').expect("a folder");
        let number: usize = name[..3].parse().expect("a number");
        let number = 999 - number;
        format!("{}/{number:03}.png", folder.replace("train", "moved"))
    };
    for path in before.keys() {
        let (from, to) = (place.path(path), place.path(&moved(path)));
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("created");
        std::fs::rename(from, to).expect("moved");
    }
    let recipe = place.read("run/config.toml");
    let ran = place.run("train --resume run --set data.train=moved --set data.image_size=[9,9]");
    ran.exits(2, "data.image_size was");
    assert_eq!(
        recipe,
        place.read("run/config.toml"),
        "what is refused leaves no trace"
    );
    let ran = place.done("train --resume run --set data.train=moved");
    ran.tells("30 of 30 images have moved");
    let after = out_of_fold(&place, "run");
    assert_eq!(after.len(), 30);
    for (path, row) in before {
        let now = &after[&moved(&path)];
        assert_eq!(now.fold, row.fold, "{path}");
        assert!(
            row.fold == 3 || now.probabilities == row.probabilities,
            "{path}"
        );
    }
}

#[test]
fn the_networks_classify_together_and_are_named_where_one_is_needed() {
    let place = Place::new();
    place.classes("train", &[17, 13]);
    place.classes("test", &[6, 5]);
    place.recipe("test = \"test\"", "epochs = 2");
    let ran = place.done("train --config small.toml --out run --folds 3");
    ran.prints("The test images, by the mean of 3 networks");
    ran.prints("Standard deviation");
    let predict = |checkpoint: &str| -> Vec<Vec<f64>> {
        let line = format!("predict --checkpoint {checkpoint} test --format jsonl");
        let out = place.done(&line).out;
        let row = |line: &str| {
            let found = json(line);
            ["a", "b"].map(|class| found["probabilities"][class].as_f64().expect("a number"))
        };
        out.lines().map(|line| row(line).to_vec()).collect()
    };
    let together = predict("run");
    let folds = ["run/fold-1", "run/fold-2", "run/fold-3"].map(predict);
    assert_eq!(together.len(), 11);
    for (image, row) in together.iter().enumerate() {
        for (class, value) in row.iter().enumerate() {
            let mean = folds.iter().map(|fold| fold[image][class]).sum::<f64>() / 3.0;
            assert!((value - mean).abs() < 1e-6, "{image}: {value}, {mean}");
        }
    }
    // What was measured at the end is what `evaluate` measures.
    let measured = json(&place.read("run/evaluation/test/metrics.json"));
    let again = place.done("evaluate --checkpoint run --json").json();
    assert_eq!(again["metrics"], measured["metrics"]);
    assert_eq!(again["unseen"], measured["unseen"]);
    place.done("evaluate --checkpoint run --data test --compare run/fold-1");
    let ran = place.run("evaluate --checkpoint run --logits x.csv");
    ran.exits(2, "--logits are those of one network");
    let ran = place.run("predict --checkpoint run test --abstain");
    ran.exits(2, "first: emberlens calibrate run --coverage 0.9");
    std::fs::remove_dir_all(place.path("run/fold-2/best")).expect("removed");
    let ran = place.run("predict --checkpoint run test");
    ran.exits(1, "run/fold-2");
}

#[test]
#[ignore = "needs Python with scikit-learn"]
fn scikit_learn_finds_the_figures_in_the_csv() {
    let place = Place::new();
    for (folder, counts) in [("two", &[17, 13][..]), ("three", &[14, 16, 11])] {
        place.classes(folder, counts);
        place.recipe("", "epochs = 2");
        place.replace("small.toml", "\"train\"", &format!("{folder:?}"));
        place.done(&format!(
            "train --config small.toml --folds 3 --out of-{folder}"
        ));
    }
    let script = root().join("tests/scikit_learn_agrees.py");
    let told = python(
        &place,
        &[
            script.to_str().expect("a path of Unicode"),
            "of-two/evaluation/out-of-fold",
            "of-three/evaluation/out-of-fold",
            "of-three/fold-2/evaluation/val",
        ],
    );
    assert_eq!(told.lines().count(), 3, "{told}");
}

/// A run of three folds, `run`, without test images.
fn place_with_folds() -> Place {
    let place = Place::with_recipe("epochs = 2");
    place.done("train --config small.toml --folds 3 --out run");
    place
}

#[test]
fn what_the_folds_held_back_is_measured_again_and_sliced() {
    let place = place_with_folds();
    let trained = json(&place.read("run/evaluation/out-of-fold/metrics.json"));
    let rows = out_of_fold(&place, "run");
    // There are no test images, so that these are what is measured; by each fold's own network.
    let ran = place.done("evaluate --checkpoint run --by size --logits logits.csv --json");
    ran.tells("each by the network of the fold that held it back");
    let found = ran.json();
    assert_eq!(found["metrics"], trained["metrics"]);
    assert_eq!(found["folds"], trained["folds"]);
    assert_eq!(found["slices"][0]["slices"][0]["images"], 30);
    for (path, again) in out_of_fold(&place, "run") {
        let row = &rows[&path];
        assert_eq!(
            (again.fold, &again.probabilities),
            (row.fold, &row.probabilities)
        );
    }
    let logits = place.read("logits.csv");
    assert_eq!(logits.lines().count(), 1 + 30);
    for line in logits.lines().skip(1) {
        let [path, _, a, b] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let [a, b] = [a, b].map(|logit| logit.parse::<f64>().expect("a logit"));
        let of_b = 1.0 / (1.0 + (a - b).exp());
        assert!(
            (rows[path].probabilities[1] - of_b).abs() < 1e-6,
            "{line}: {:?}",
            rows[path]
        );
    }
}

#[test]
fn runs_of_folds_are_compared_on_what_each_of_them_held_back() {
    let place = place_with_folds();
    place.done("train --config small.toml --folds 3 --out other --set seed=7");
    place.done("train --config small.toml --out single");
    let compared = "evaluate --checkpoint run --compare other single --json";
    let compared = place.done(compared).json();
    let [by_folds, by_one] = &compared["comparisons"].as_array().expect("two")[..] else {
        panic!("{compared}")
    };
    assert_eq!(
        (&by_folds["images"], &by_folds["left_out"]),
        (&30.into(), &0.into())
    );
    let theirs = json(&place.read("other/evaluation/out-of-fold/metrics.json"));
    assert_eq!(by_folds["accuracy"], theirs["accuracy"]);
    // Of a single network, only what it held back tells anything.
    let held_back = part(&place, "single", "val").len();
    assert_eq!(by_one["images"], held_back);
    assert_eq!(by_one["left_out"], 30 - held_back);

    place.images("train/a", 0, 20);
    place.done("train --config small.toml --folds 3 --out more");
    place.run("evaluate --checkpoint run --compare more").exits(
        2,
        "the folds of more held 33 images back and those of this run 30",
    );
    place.done("train --config small.toml --folds 2 --repeats 2 --out twice --set train.epochs=1");
    place.run("evaluate --checkpoint twice --split val").exits(
        2,
        "name one of them, whose folds are beside twice/repeat-1/fold-1/best",
    );
    place.done("evaluate --checkpoint twice/repeat-1 --split val");
}

#[test]
fn frozen_features_are_computed_once_for_all_folds() {
    let place = Place::with_recipe("epochs = 2");
    place.done("train --config small.toml --out first");
    let frozen = "train --config small.toml --folds 3 --set model.freeze=backbone \
                  --set model.weights=first/best/model.safetensors --set train.epochs=3";
    let plain = "--set augment.rotation_range=0 --set augment.width_shift_range=0";
    for (out, settings, count) in [
        ("plain", plain, 1),
        // Two variants of each image; the images themselves, for validation, are there already.
        ("varied", "--set train.feature_cache=2", 2),
    ] {
        let ran = place.done(&format!("{frozen} --out {out} {settings}"));
        let computed = ran.err.matches("Frozen layers process 30 images").count();
        assert_eq!(computed, count, "{}", ran.err);
    }
    // Without a place for them, they are computed in each epoch, with the same result.
    let settings = format!("{frozen} --out uncached {plain}");
    let output = place
        .command(&settings)
        .env("XDG_CACHE_HOME", place.path("small.toml"))
        .output()
        .expect("started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for fold in 1..=3 {
        let run = |run: &str| place.result(&format!("{run}/fold-{fold}"));
        assert!(run("uncached") == run("plain"), "fold {fold}");
    }
}

#[test]
fn repeats_tell_how_much_the_seed_matters() {
    let place = Place::with_recipe("epochs = 2");
    let ran = place.done("train --config small.toml --out run --folds 2 --repeats 2");
    ran.prints("may be the seed alone");
    let found = json(&place.read("run/evaluation/out-of-fold/metrics.json"));
    let of_repeat = |repeat: usize| {
        let file = format!("run/repeat-{repeat}/evaluation/out-of-fold/metrics.json");
        json(&place.read(&file))["metrics"].clone()
    };
    let loss = |metrics: &Value| metrics["log_loss"]["value"].as_f64().expect("a number");
    let repeats = [of_repeat(1), of_repeat(2)];
    for (index, seed) in [42, 43].into_iter().enumerate() {
        let figures = &found["repeats"]["per_repeat"][index];
        assert_eq!(figures["seed"], seed);
        assert_eq!(figures["metrics"], repeats[index]);
    }
    let mean = (loss(&repeats[0]) + loss(&repeats[1])) / 2.0;
    let value = found["repeats"]["mean"]["log_loss"]
        .as_f64()
        .expect("a number");
    assert!((value - mean).abs() < 1e-9, "{value}, {mean}");
    // Each image is classified by one network of each seed.
    let text = place.read("run/evaluation/out-of-fold/predictions.csv");
    let row: Vec<&str> = text.lines().nth(1).expect("a row").split(',').collect();
    let of = |run: &str| out_of_fold(&place, run)[row[0]].probabilities[0];
    let mean = (of("run/repeat-1") + of("run/repeat-2")) / 2.0;
    let value: f64 = row[3].parse().expect("a number");
    assert!((value - mean).abs() < 1e-6, "{value}, {mean}");
    assert!(
        place
            .read("run/report.html")
            .contains("may be the seed alone")
    );
    let out = place
        .done("predict --checkpoint run train/a --format jsonl")
        .out;
    assert_eq!(out.lines().count(), 17);
    assert!(place.done("runs .").out.contains("8 of 8"));
    let ran = place.done("train --resume run");
    assert_eq!(
        ran.err.matches("nothing to train").count(),
        4,
        "{}",
        ran.err
    );
    let ran = place.run("calibrate run --coverage 0.5");
    ran.exits(
        2,
        "each image was held back by a network of each; name one, such as run/repeat-1",
    );
    let ran = place.run("train --resume run --set train.repeats=3");
    ran.exits(2, "train.repeats was 2 and is 3");
}
