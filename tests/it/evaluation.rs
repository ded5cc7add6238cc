//! What a network is measured by, decides and can explain, from the outside.

use serde_json::Value;

use crate::support::{Place, json};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(json).collect()
}

/// A run that tells two places of a bright block apart.
fn trained(place: &Place, train: &str) {
    place.classes("train", &[40, 40]);
    place.classes("test", &[12, 12]);
    place.recipe("test = 'test'", train);
    place.done("train --config small.toml --out run");
}

/// Where the block of class 0 or 1 is, in pixels of the network's 24 x 20, with a margin.
fn is_at_block(peak: &Value, class: usize, margin: f64) -> bool {
    let [x, y] = [
        peak[0].as_f64().expect("x") + 0.5,
        peak[1].as_f64().expect("y") + 0.5,
    ];
    let left = (3.0 + 6.0 * class as f64) * 24.0 / 26.0;
    let (top, size) = (2.0 * 20.0 / 22.0, 6.0);
    (left - margin..=left + size + margin).contains(&x)
        && (top - margin..=top + size + margin).contains(&y)
}

/// Changes the best checkpoint's `meta.json` as the program itself would.
fn change_meta(place: &Place, change: impl FnOnce(&mut emberlens::checkpoint::Meta)) {
    let (run, path) = (place.path("run"), place.path("run/best"));
    let mut meta = emberlens::checkpoint::read_meta(&path).expect("whole");
    change(&mut meta);
    let folder = emberlens::checkpoint::RunFolder::open(&run).expect("nobody has it");
    emberlens::checkpoint::save_meta(&folder, &path, &meta).expect("written");
}

#[test]
fn every_method_points_at_what_tells_the_classes_apart() {
    let place = Place::new();
    trained(&place, "epochs = 12");
    for (method, least, margin) in [
        ("grad-cam", 16, 2.5),
        ("grad-cam++", 16, 2.5),
        ("layer-cam", 16, 2.5),
        ("occlusion", 20, 1.5),
    ] {
        let out = format!("maps-{method}");
        let ran = place.done(&format!(
            "explain --checkpoint run test --method {method} --out {out} --device cpu"
        ));
        let found = lines(&ran.out);
        assert_eq!(found.len(), 24, "{method}: {}", ran.err);
        let class = |line: &Value| usize::from(line["class"] == "b");
        let hits = found
            .iter()
            .filter(|line| {
                line["evidence"] == true && is_at_block(&line["peak"], class(line), margin)
            })
            .count();
        assert!(hits >= least, "{method}: {hits} of 24\n{}", ran.out);
        let line = &found[0];
        assert_eq!(
            (&line["method"], line["path"].as_str()),
            (&json(&format!("\"{method}\"")), Some("test/a/000.png"))
        );
        assert_drawn(&place, line);
        assert!(
            place.path(&format!("{out}/mean-a.png")).is_file() && ran.err.contains("a: mean of"),
            "{}",
            ran.err
        );
        assert_eq!(place.read(&format!("{out}/explanations.jsonl")), ran.out);
    }
}

/// The overlay and the map that a line names.
fn assert_drawn(place: &Place, line: &Value) {
    let [overlay, map] = ["overlay", "map"].map(|key| {
        let path = place.path(line[key].as_str().expect("a path"));
        image::open(path).expect("an image")
    });
    assert_eq!(
        (overlay.width(), overlay.height()),
        (2 * 192 + 6, 160),
        "image and overlay of 24 x 20, eightfold"
    );
    let map = map.into_luma8();
    let brightest = map.pixels().map(|pixel| pixel.0[0]).max();
    assert_eq!((map.width(), map.height(), brightest), (24, 20, Some(255)));
}

#[test]
fn raw_maps_are_the_numbers_behind_the_images() {
    let place = Place::new();
    trained(&place, "epochs = 12");
    // Gray levels of a map are its raw numbers without what is below zero, scaled and enlarged.
    let ran = place.done("explain --checkpoint run test --out raw --raw maps.npy --device cpu");
    ran.tells("| test/a/000.png");
    ran.tells("... and 4 more in explanations.jsonl");
    let bytes = place.bytes("maps.npy");
    let head = String::from_utf8_lossy(&bytes[10..128]).into_owned();
    assert!(
        head.contains("'descr': '<f4'") && head.contains("'shape': (24, "),
        "{head}"
    );
    let maps: Vec<f32> = bytes[128..]
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four")))
        .collect();
    let (size, found) = (maps.len() / 24, lines(&ran.out));
    for (values, line) in maps.chunks_exact(size).zip(&found) {
        let most = values
            .iter()
            .fold(0.0f32, |most, value| most.max(value.abs()));
        let evidence = values.iter().any(|value| *value > 1e-6 * most);
        assert_eq!(line["evidence"], evidence, "{line}");
    }
    place.done("explain --checkpoint run test --out raw2 --raw maps.csv --device cpu");
    let csv = place.read("maps.csv");
    let last: Vec<&str> = csv.lines().last().expect("a line").split(',').collect();
    assert_eq!(
        (csv.lines().count(), last[0], last.len()),
        (25, "test/b/011.png", size + 2)
    );
    let values: Vec<f32> = last[2..]
        .iter()
        .map(|value| value.parse().expect("a number"))
        .collect();
    assert_eq!(values, maps[maps.len() - size..]);
}

#[test]
fn explanations_are_a_table_where_that_is_wished_and_replace_nothing() {
    let place = Place::new();
    trained(&place, "epochs = 12");
    let explain = "explain --checkpoint run test --out table";
    let table = place.done(&format!("{explain} --format table --device cpu"));
    let table = table.out;
    assert!(
        table.starts_with("| Image")
            && table.lines().count() == 26
            && table.contains("test/b/011.png"),
        "{table}"
    );
    place.run(explain).exits(2, "isn't empty");
}

#[test]
fn maps_are_checked_by_curves_and_by_random_weights() {
    let place = Place::new();
    trained(&place, "epochs = 12");
    let ran = place.done("explain --checkpoint run test --curves --sanity --device cpu");
    let found = lines(&ran.out);
    let mean = |of: &dyn Fn(&Value) -> &Value| {
        let values: Vec<f64> = found.iter().filter_map(|line| of(line).as_f64()).collect();
        assert!(values.len() > 16, "{}", ran.out);
        values.iter().sum::<f64>() / values.len() as f64
    };
    let [deletion, shuffled] = [
        mean(&|line| &line["curves"]["deletion"]["area"]),
        mean(&|line| &line["curves"]["deletion_shuffled"]),
    ];
    assert!(
        deletion < shuffled,
        "deleting what counts must cost more than deleting anything: {deletion}, {shuffled}"
    );
    let curve = &found[0]["curves"]["deletion"]["probabilities"];
    assert_eq!(curve.as_array().map(Vec::len), Some(21));
    assert!(
        (curve[0].as_f64().expect("a number")
            - found[0]["probability"].as_f64().expect("a number"))
        .abs()
            < 1e-5,
        "{}",
        found[0]
    );
    let border = &found[0]["border"];
    assert!(
        (border["area"].as_f64().expect("a share") - (1.0 - 16.0 * 20.0 / 480.0)).abs() < 1e-9,
        "{border}"
    );
    let sanity = place.read("run/explanations/sanity.txt");
    assert!(
        sanity.contains("head") && sanity.contains("backbone.blocks.0") && sanity.contains("maps"),
        "{sanity}"
    );
}

/// The other class, by name; one that nobody knows; a layer that isn't there.
#[test]
fn an_explanation_is_of_the_class_and_the_layer_that_are_named() {
    let place = Place::new();
    trained(&place, "epochs = 12");
    let explain = "explain --checkpoint run test/a/000.png";
    place.done(&format!("{explain} --device cpu"));
    let other = place.done(&format!("{explain} --class b --device cpu"));
    assert_eq!(lines(&other.out)[0]["class"], "b");
    assert!(place.path("run/explanations-2/0001-000.map.png").is_file());
    for (option, expected) in [
        ("--class c", "unknown class c, expected one of a, b"),
        ("--layer 7", "no layer group 7"),
    ] {
        let ran = place.run(&format!("{explain} --out never {option}"));
        ran.tells(expected);
        assert_ne!(ran.code, Some(0));
        assert!(
            !place.path("never").exists(),
            "nothing is made for what can't be done"
        );
    }
}

/// A run of one epoch, so that there are mistakes to fit a temperature on.
fn run_with_mistakes() -> Place {
    let place = Place::new();
    place.classes("train", &[60, 60]);
    place.classes("test", &[20, 20]);
    place.recipe("test = 'test'\nvalidation = 0.4", "epochs = 1");
    place.done("train --config small.toml --out run");
    place
}

#[test]
fn what_is_not_fitted_is_refused_with_the_command_that_fits_it() {
    let place = run_with_mistakes();
    let refused = place.run("predict --checkpoint run test --abstain");
    refused.exits(2, "emberlens calibrate run --coverage 0.9");
    let moved = place.run("evaluate --checkpoint run --calibrate --sensitivity b=0.95");
    moved.exits(
        2,
        "emberlens calibrate run --temperature --sensitivity b=0.95",
    );
}

const FIT: &str = "calibrate run --json --device cpu --temperature";

#[test]
fn thresholds_and_sets_are_fitted_on_validation_and_used_by_predict() {
    let place = run_with_mistakes();
    let told = place.done(&format!("{FIT} --sensitivity b=0.95 --coverage 0.9"));
    let told = told.json();
    let found = place.done("evaluate --checkpoint run --split val --json --device cpu");
    let found = found.json();
    assert_eq!(
        (&told["threshold"], &told["coverage"]),
        (&found["threshold"]["fitted"], &found["sets"]["fitted"])
    );
    assert!(
        told["temperature"]["low"].as_f64() < told["temperature"]["high"].as_f64(),
        "{told}"
    );
    let [sensitivity, coverage] = [
        &found["threshold"]["sensitivity"]["value"],
        &found["sets"]["coverage"]["value"],
    ]
    .map(|value| value.as_f64().expect("a number"));
    assert!(
        sensitivity >= 0.95 && coverage >= 0.9,
        "of the images that it was fitted on: {sensitivity}, {coverage}"
    );
    let meta = || json(&place.read("run/best/meta.json"));
    let fitted = meta();
    assert_eq!(
        (
            &fitted["threshold"]["class"],
            &fitted["coverage"]["fitted_on"]
        ),
        (&json("\"b\""), &json("48"))
    );
    // A new temperature: both are fitted again, with the same wishes.
    change_meta(&place, |meta| meta.temperature = 9.0);
    place.done(FIT);
    assert_eq!(meta(), fitted);
    assert_decided(&place, &fitted["threshold"]["probability"]);
}

/// `predict` gives sets, refers what isn't one class, and flags b from its threshold on.
fn assert_decided(place: &Place, threshold: &Value) {
    let ran = place.done("predict --checkpoint run test --abstain --format jsonl --device cpu");
    let probability = |value: &Value| value.as_f64().expect("a number") as f32;
    for line in &lines(&ran.out) {
        let set: Vec<&str> = line["set"]
            .as_array()
            .expect("a set")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let label = if set.len() == 1 { set[0] } else { "refer" };
        assert_eq!(line["label"], label, "{line}");
        let flagged = probability(&line["probabilities"]["b"]) >= probability(threshold);
        assert_eq!(line["flagged"], flagged, "{line}");
    }
    let table = place.done("predict --checkpoint run test/a/000.png --device cpu");
    table.prints("flagged_b");
    table.prints("set");
}

#[test]
fn what_cannot_be_fitted_changes_nothing() {
    let place = run_with_mistakes();
    place.done(&format!("{FIT} --sensitivity b=0.95 --coverage 0.9"));
    let meta = || json(&place.read("run/best/meta.json"));
    let fitted = meta();
    for (wish, expected) in [
        ("--coverage 1", "expected a number between 0 and 1"),
        (
            "--coverage 0.99",
            "found 48 validation images, expected 99 or more",
        ),
        (
            "--sensitivity b=0.97",
            "found 24 validation images of the class b, expected 33 or more",
        ),
        ("--sensitivity b", "expected CLASS=SHARE"),
        (
            "--sensitivity c=0.9",
            "unknown class c, expected one of a, b",
        ),
    ] {
        let ran = place.run(&format!("{FIT} {wish}"));
        assert!(
            ran.code != Some(0) && ran.err.contains(expected),
            "{wish}: {}",
            ran.err
        );
    }
    assert_eq!(meta(), fitted);
}

#[test]
fn images_without_a_label_strange_and_empty_classes_are_told() {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.recipe("", "epochs = 1");
    place.done("train --config small.toml --out run");
    let evaluate = |data: &str| {
        place.run(&format!(
            "evaluate --checkpoint run --data {data} --device cpu"
        ))
    };

    place.classes("loose", &[3, 2]);
    place.images("loose", 0, 4);
    let ran = evaluate("loose");
    ran.exits(0, "ignored in loose: images without a class folder, 4");
    ran.prints("5 images: accuracy");

    place.write(
        "list.csv",
        "path,label\nloose/a/000.png,a\nloose/b/000.png,b\nloose/000.png,\nloose/001.png,\n",
    );
    let ran = evaluate("list.csv");
    ran.exits(0, "ignored in list.csv: lines without a label, 2");
    ran.prints("2 images: accuracy");

    place.classes("strange", &[3, 2, 2]);
    let ran = evaluate("strange");
    ran.exits(
        1,
        "found c that the checkpoint doesn't know, expected classes among a, b",
    );

    place.classes("hollow", &[3, 0]);
    let ran = evaluate("hollow");
    ran.exits(0, "no image of the class b to measure on");
    let report = place.read("run/evaluation/hollow/report.html");
    assert!(report.contains("3 images of hollow") && !report.contains("NaN"));
}

#[test]
fn outputs_that_are_no_numbers_are_an_error_that_names_an_image() {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.recipe("", "epochs = 1");
    place.done("train --config small.toml --out run");
    let mut weights = place.bytes("run/best/model.safetensors");
    let end = weights.len();
    weights[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    change_meta(&place, |meta| {
        _ = meta.files.insert(
            "model.safetensors".to_owned(),
            emberlens::base::io::files::sha256_hex(&weights),
        )
    });
    std::fs::write(place.path("run/best/model.safetensors"), weights).expect("written");
    let meta = place.read("run/best/meta.json");
    for arguments in [
        &["evaluate", "--checkpoint", "run", "--split", "val"][..],
        &["calibrate", "run"],
        &["predict", "--checkpoint", "run", "train/a"],
        &["explain", "--checkpoint", "run", "train/a"],
    ] {
        let ran = place.run(arguments);
        assert!(
            ran.code == Some(1)
                && ran.err.contains("output isn't a number")
                && ran.err.contains("train/"),
            "{arguments:?}: {}",
            ran.err
        );
    }
    assert_eq!(
        place.read("run/best/meta.json"),
        meta,
        "no temperature from what is no number"
    );
}

/// best/ is replaced again and again while somebody reads it.
#[test]
fn a_run_that_is_still_training_is_read_whole() {
    let place = Place::new();
    place.classes("train", &[12, 12]);
    place.classes("other", &[2, 2]);
    place.recipe(
        "",
        "epochs = 60\nworkers = 0\nschedule = { kind = 'constant' }\n\
         checkpoint = { monitor = 'loss' }",
    );
    let mut training = place
        .command("train --config small.toml --out run")
        .spawn()
        .expect("the program starts");
    let mut epochs = std::collections::BTreeSet::new();
    while training.try_wait().expect("asked").is_none() {
        if !place.path("run/best/meta.json").is_file() {
            continue;
        }
        let ran = place.run("predict --checkpoint run other --format csv --device cpu");
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        epochs.insert(ran.out);
    }
    assert!(
        training.wait().expect("ended").success(),
        "reading stopped the training"
    );
    assert!(epochs.len() > 1, "seen at one moment only");
}

#[test]
fn event_files_are_written_where_they_are_wanted() {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.recipe("", "epochs = 2\ntensorboard = true");
    place.done("train --config small.toml --out run");
    let sizes = |place: &Place| {
        ["train", "validation"].map(|part| {
            place
                .bytes(&format!(
                    "run/tensorboard/{part}/events.out.tfevents.emberlens"
                ))
                .len()
        })
    };
    let before = sizes(&place);
    place.done("train --resume run --set train.epochs=3");
    let after = sizes(&place);
    // A version of 40 bytes, then events of one length.
    for (before, after) in before.into_iter().zip(after) {
        assert_eq!((after - 40) * 2, (before - 40) * 3, "{before}, {after}");
    }
}

#[test]
fn decisions_are_fitted_whole_or_not_at_all_and_only_measured_as_they_were_fitted() {
    let place = Place::new();
    trained(&place, "epochs = 12");
    let meta = || place.read("run/best/meta.json");
    let before = meta();
    // All validation images are told apart: nothing to fit a temperature on, and then the sets
    // aren't kept either.
    let refused = place.run("calibrate run --temperature --coverage 0.8 --device cpu");
    refused.exits(1, "found no mistake among the 16 validation images");
    assert_eq!(meta(), before);
    place.done("calibrate run --coverage 0.8 --device cpu");
    let fitted = meta();
    let evaluate = "evaluate --checkpoint run --json --device cpu";
    assert!(place.done(evaluate).json()["sets"].is_object());
    let averaged = place.done(&format!("{evaluate} --tta 2")).json();
    assert!(
        averaged["sets"].is_null(),
        "the sets were fitted on single predictions"
    );
    // An option that can't be used changes nothing, and a run that augments nothing has no
    // augmentations to average over.
    let plain = place
        .read("small.toml")
        .replace("rotation_range = 10", "")
        .replace("width_shift_range = 0.05", "");
    place.write("plain.toml", &plain);
    place.done("train --config plain.toml --out plain --set train.epochs=1");
    let ran = place.run("evaluate --checkpoint run --tta 2 --compare plain --device cpu");
    // Each run by its own recipe.
    ran.exits(2, "plain/config.toml");
    assert_eq!(meta(), fitted, "evaluate only reads");
}

#[test]
fn without_test_images_the_validation_part_is_measured_as_it_was() {
    let place = Place::new();
    place.classes("train", &[40, 40]);
    place.recipe("", "epochs = 1");
    place.done("train --config small.toml --out run");
    let evaluate = "evaluate --checkpoint run --device cpu";
    let ran = place.done(&format!("{evaluate} --json"));
    ran.tells("no test images");
    assert_eq!(ran.json()["data"]["source"], "the run's validation images");
    let ran = place.run(&format!("{evaluate} --split test"));
    ran.exits(2, "no test images");
    // A validation image that isn't the one any more.
    let split = place.read("run/split.csv");
    let held: Vec<&str> = split
        .lines()
        .filter(|line| line.contains(",val,"))
        .filter_map(|line| line.split(',').next())
        .collect();
    let original = place.bytes(held[0]);
    std::fs::copy(place.path(held[1]), place.path(held[0])).expect("copied");
    let ran = place.done(evaluate);
    ran.tells("1 of 16 images have other pixels than when the run held them back");
    ran.tells(&format!("the first: {}", held[0]));
    std::fs::write(place.path(held[0]), original).expect("written");
    assert!(!place.done(evaluate).err.contains("other pixels"));
    // Training images that have gone foreign_names: one error.
    std::fs::rename(place.path("train"), place.path("moved")).expect("moved");
    let ran = place.run(&format!("{evaluate} --split val"));
    ran.exits(
        1,
        "none of the 16 images held back in run/split.csv is there, the first: train/a/",
    );
    assert_eq!(ran.err.matches("train/a/").count(), 1, "{}", ran.err);
}

#[test]
fn a_share_that_is_held_out_is_what_the_end_of_the_training_and_every_evaluation_measure() {
    let place = Place::new();
    place.classes("train", &[40, 40]);
    place.recipe("test = 0.2", "epochs = 1");
    let ran = place.done("train --config small.toml --out shared");
    ran.tells("(test, measured on at the end)");
    ran.prints("Test accuracy");
    ran.tells(
        "warning: 12 validation images say little: an accuracy of 0.92 on them means 0.65 to 0.99",
    );
    let rows = place
        .read("shared/split.csv")
        .lines()
        .filter(|line| line.contains(",test,"))
        .count();
    let at_end = json(&place.read("shared/evaluation/test/metrics.json"));
    let again = place.done("evaluate --checkpoint shared --json --device cpu");
    let again = again.json();
    assert_eq!(
        (again["images"].as_u64(), &again["data"]["source"]),
        (Some(rows as u64), &Value::from("the run's test images"))
    );
    assert_eq!(again["accuracy"], at_end["accuracy"]);
    let ran = place.run("train --resume shared --set data.test=0.3 --set train.epochs=2");
    ran.exits(2, "data.test was 0.2 and is 0.3");
}
