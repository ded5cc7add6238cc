//! What is read back is checked: whatever somebody does to the files of a run, the program names it
//! or is not hurt by it.

use std::fs;

use emberlens::{
    checkpoint::{RunFolder, load, read_meta, save_novelty},
    metrics::{Coverage, Novelty, Threshold},
};
use serde_json::{Value, json};

use crate::support::{Place, Ran, json};

/// A run with everything in its `meta.json` that there can be without frozen layers.
fn place() -> Place {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.recipe("", "epochs = 1");
    place.done("train --config small.toml --out run");
    let path = place.path("run/best");
    let mut meta = read_meta(&path).expect("whole");
    meta.threshold = Some(Threshold {
        class: "b".to_owned(),
        sensitivity: 0.9,
        probability: 0.4,
        fitted_on: 3,
    });
    meta.coverage = Some(Coverage {
        coverage: 0.9,
        probability: 0.3,
        fitted_on: 9,
    });
    let folder = RunFolder::open(&place.path("run")).expect("nobody has it");
    // The small network has two groups, of four and eight channels.
    let row = |index: usize| (0..12).map(|at| (at * index % 5) as f32).collect();
    let [training, validation] = [5, 9].map(|count| (1..=count).map(row).collect::<Vec<_>>());
    meta.novelty = Some(Novelty::fit(0.1, &training, &validation));
    save_novelty(&folder, &path, &meta).expect("written");
    place
}

fn predict(place: &Place) -> Ran {
    place.run("predict --checkpoint run train/a/000.png --format jsonl --device cpu")
}

/// The places of all values that hold no others, as JSON pointers.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => fields
            .iter()
            .for_each(|(name, value)| leaves(value, &format!("{at}/{name}"), found)),
        Value::Array(values) if !values.is_empty() => {
            values
                .iter()
                .enumerate()
                .for_each(|(index, value)| leaves(value, &format!("{at}/{index}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

/// Every leaf of `meta` in turn as each of these values, and removed.
fn edits(meta: &Value, values: &[Value]) -> Vec<(String, Value)> {
    let mut places = Vec::new();
    leaves(meta, "", &mut places);
    let mut edits = Vec::new();
    for place in places {
        for value in values {
            let mut changed = meta.clone();
            let target = changed.pointer_mut(&place).expect("a leaf");
            if target != value {
                *target = value.clone();
                edits.push((format!("{place} = {value}"), changed));
            }
        }
        let (parent, name) = place.rsplit_once('/').expect("below the root");
        let mut changed = meta.clone();
        match changed.pointer_mut(parent).expect("a parent") {
            Value::Object(fields) => _ = fields.remove(name),
            Value::Array(values) => _ = values.remove(name.parse().expect("a number")),
            _ => unreachable!("only these have leaves"),
        }
        edits.push((format!("{place} removed"), changed));
    }
    edits
}

/// The field of the whole that an edit was made in; an entry of `digests` speaks of the field that
/// it is of.
fn field(edit: &str) -> &str {
    let mut names = edit.split(['/', ' ']).skip(1);
    let first = names.next().expect("a field");
    if first == "digests" {
        names.next().expect("a field of that name")
    } else {
        first
    }
}

#[test]
fn every_field_of_a_metadata_file_that_was_edited_is_named() {
    let place = place();
    let path = place.path("run/best/meta.json");
    let whole = place.read("run/best/meta.json");
    let meta = json(&whole);
    let values = [
        json!(0),
        json!(-1),
        json!(0.25),
        json!(1e300),
        json!(1_000_000_000_000_u64),
        json!(null),
        json!("x"),
        json!([]),
        json!(true),
    ];
    let edits = edits(&meta, &values);
    assert!(edits.len() > 500, "{}", edits.len());
    for (index, (edit, changed)) in edits.iter().enumerate() {
        fs::write(&path, serde_json::to_vec(changed).expect("JSON")).expect("written");
        let error = load(&place.path("run/best")).expect_err(edit).to_string();
        let names_it = |text: &str| {
            text.contains("meta.json")
                && ["`", "`digests."]
                    .iter()
                    .any(|start| text.contains(&format!("{start}{}", field(edit))))
        };
        assert!(names_it(&error), "{edit}: {error}");
        // A process each would take minutes.
        if index % 12 == 0 {
            let ran = predict(&place);
            assert!(
                ran.code == Some(1) && names_it(&ran.err) && ran.out.is_empty(),
                "{edit}: {:?} {}{}",
                ran.code,
                ran.out,
                ran.err
            );
        }
    }
    for text in [
        "",
        "{",
        "[]",
        "null",
        "\u{0}",
        &whole.replacen("\"epoch\"", "\"epoch\": 1, \"epoch\"", 1),
        &format!("{whole}x"),
    ] {
        fs::write(&path, text).expect("written");
        let ran = predict(&place);
        assert!(
            ran.code == Some(1) && ran.err.contains("meta.json") && ran.out.is_empty(),
            "{text}: {:?} {}",
            ran.code,
            ran.err
        );
    }
    fs::write(&path, whole).expect("written");
    assert_eq!(predict(&place).code, Some(0));
}

/// Older checkpoints have no digests: what can't be is refused, and what can be gives
/// probabilities.
#[test]
fn an_edited_metadata_file_without_digests_is_refused_or_gives_probabilities() {
    let place = place();
    let path = place.path("run/best/meta.json");
    let mut meta = json(&place.read("run/best/meta.json"));
    let fields = meta.as_object_mut().expect("a map");
    fields.remove("digests");
    fields.remove("run");
    fields.insert("format".to_owned(), json!(2));
    let values = [
        json!(0),
        json!(-1),
        json!(0.25),
        json!(1e300),
        json!(1_000_000_000_000_u64),
        json!(null),
        json!("x"),
        json!([]),
    ];
    let (mut refused, mut taken) = (0, 0);
    for (edit, changed) in edits(&meta, &values) {
        fs::write(&path, serde_json::to_vec(&changed).expect("JSON")).expect("written");
        if load(&place.path("run/best")).is_err() {
            refused += 1;
            continue;
        }
        let ran = predict(&place);
        assert!(
            ran.code == Some(0) || ran.code == Some(1),
            "{edit}: {:?} {}",
            ran.code,
            ran.err
        );
        if ran.code == Some(0) {
            taken += 1;
            let line = json(&ran.out);
            let sum: f64 = line["probabilities"]
                .as_object()
                .expect("a map")
                .values()
                .map(|value| value.as_f64().expect("a number"))
                .sum();
            assert!((sum - 1.0).abs() < 1e-5, "{edit}: {}", ran.out);
        }
    }
    assert!(refused > 200 && taken > 20, "{refused} {taken}");
}

#[test]
fn a_changed_split_and_a_checkpoint_of_another_run_are_told() {
    let place = place();
    place.done("train --config small.toml --out other --set seed=7");
    place.done("train --config small.toml --out folds --folds 2");
    let split = place.read("run/split.csv");
    let evaluate = "evaluate --checkpoint run --split val --device cpu";
    place.done(evaluate);
    for changed in [
        split.replacen(",train,", ",val,", 3),
        split.replacen(",a,", ",b,", 1),
        split.replacen("train/a/00", "train/b/00", 1),
        split.lines().skip(2).map(|line| format!("{line}\n")).fold(
            split.lines().next().expect("a head").to_owned() + "\n",
            |all, line| all + &line,
        ),
    ] {
        place.write("run/split.csv", &changed);
        let ran = place.run(evaluate);
        ran.exits(1, "split.csv was changed since the run wrote it");
        let ran = place.run("train --resume run --set train.epochs=2");
        ran.exits(1, "split.csv was changed since the run wrote it");
    }
    // Also that of a run that another is compared with, and of one whose predictions judge labels.
    place
        .run("evaluate --checkpoint other --split val --compare run --device cpu")
        .exits(1, "split.csv was changed since the run wrote it");
    place.write("run/split.csv", &split);
    let changed = place
        .read("folds/fold-1/split.csv")
        .replacen(",train,", ",val,", 3);
    place.write("folds/fold-1/split.csv", &changed);
    place
        .run("inspect --run folds")
        .exits(1, "split.csv was changed since the run wrote it");
    fs::rename(place.path("run/best"), place.path("run/own")).expect("moved away");
    fs::create_dir(place.path("run/best")).expect("created");
    copy_best_of_other(&place);
    for line in [evaluate, "train --resume run --set train.epochs=2"] {
        let ran = place.run(line);
        // Another seed makes another split, which is seen first.
        assert!(
            ran.code == Some(1)
                && (ran.err.contains("`run.id`") || ran.err.contains("split.csv was changed")),
            "{}",
            ran.err
        );
    }
    fs::remove_dir_all(place.path("run/best")).expect("removed");
    fs::rename(place.path("run/own"), place.path("run/best")).expect("moved back");
    place.done("train --resume run --set train.epochs=2");
}

/// Copies the files of `other/best` to `run/best`.
fn copy_best_of_other(place: &Place) {
    let files = [
        "meta.json",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ];
    for file in files {
        let [from, to] = ["other/best", "run/best"].map(|folder| place.path(folder).join(file));
        fs::copy(from, to).expect("copied");
    }
}

#[test]
fn a_best_checkpoint_of_a_run_on_the_same_images_is_not_taken_for_ones_own() {
    let place = place();
    place.done("train --config small.toml --out other --set train.batch_size=4");
    assert_eq!(place.read("run/split.csv"), place.read("other/split.csv"));
    copy_best_of_other(&place);
    for arguments in [
        &["evaluate", "--checkpoint", "run", "--split", "val"][..],
        &["train", "--resume", "run", "--set", "train.epochs=2"],
    ] {
        let ran = place.run(arguments);
        assert!(
            ran.code == Some(1)
                && ran.err.contains("`run.id`: found")
                && ran.err.contains("belong to different runs"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn a_damaged_pixel_cache_is_made_anew_and_changes_nothing() {
    let place = place();
    let train = |out: &str| {
        place.done(&format!(
            "train --config small.toml --out {out} --set data.cache=disk --set train.epochs=2"
        ))
    };
    train("first");
    let cached = |ending: &str| {
        let entries = fs::read_dir(place.path("cache/emberlens/pixels")).expect("listed");
        let paths = entries.map(|entry| entry.expect("read").path());
        paths
            .filter(|path| path.extension().is_some_and(|found| found == ending))
            .collect::<Vec<_>>()
    };
    let expected = place.bytes("first/last/model.safetensors");
    assert!(!train("again").err.contains("damaged"));
    for (ending, out) in [("u8", "pixels"), ("look", "looks"), ("json", "index")] {
        for path in cached(ending) {
            let mut bytes = fs::read(&path).expect("read");
            // Every image of it.
            bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 1);
            fs::write(&path, bytes).expect("written");
        }
        let ran = train(out);
        assert!(
            ran.err
                .contains("the pixel cache is damaged and is rebuilt"),
            "{ending}: {}",
            ran.err
        );
        assert!(
            place.bytes(&format!("{out}/last/model.safetensors")) == expected,
            "{ending}: other images were trained on"
        );
        let again = train(&format!("{out}-again"));
        assert!(!again.err.contains("damaged"), "{ending}: {}", again.err);
    }
}
