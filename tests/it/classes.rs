//! Many classes, and classes with names that nobody expects.

use std::fs;

use serde_json::Value;

use crate::support::{Place, json};

/// `count` gray images of noise, 9 wide and 6 high, one file each.
fn noise(place: &Place, folder: &str, class: usize, count: usize) {
    fs::create_dir_all(place.path(folder)).expect("created");
    for index in 0..count {
        let mut state = (class * 31 + index) as u32 + 7;
        let pixels = (0..54).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let bytes: Vec<u8> = b"P5 9 6 255\n".iter().copied().chain(pixels).collect();
        fs::write(place.path(&format!("{folder}/{index}.pgm")), bytes).expect("written");
    }
}

fn recipe(place: &Place, train: &str) {
    place.write(
        "many.toml",
        &format!(
            "name = 'many'\ndevice = 'cpu'\n[data]\ntrain = 'train'\nvalidation = 'val'\n\
             image_size = [8, 12]\ncolor = 'grayscale'\n[model]\nchannels = [4]\nhidden = 8\n\
             [train]\nbatch_size = 64\nepochs = 2\n{train}\n"
        ),
    );
}

/// Every line of what a person reads is one that a person can read.
#[track_caller]
fn assert_readable(text: &str) {
    let longest = text
        .lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    assert!(
        longest < 400,
        "a line of {longest} characters: {text:.3000}"
    );
}

/// A class that validation lacks, and one that it has twice.
fn a_thousand_classes(place: &Place) {
    for class in 0..1000 {
        noise(place, &format!("train/n{class:05}"), class, 2);
        noise(place, &format!("val/n{class:05}"), class + 5000, 1);
    }
    fs::remove_dir_all(place.path("val/n00007")).expect("removed");
    noise(place, "val/n00009", 9999, 2);
    let stopping = "early_stopping = { monitor = 'val_recall_n00003', patience = 5 }";
    recipe(place, &format!("tensorboard = true\n{stopping}"));
}

/// One run of a thousand classes serves all of it.
#[test]
fn a_thousand_classes_train_evaluate_predict_and_explain_in_files_of_their_size() {
    let place = Place::new();
    a_thousand_classes(&place);
    let ran = place.done("train --config many.toml --out run");
    assert_readable(&ran.err);
    assert_readable(&ran.out);
    ran.tells("Training images per class: 1000 classes, 2 each;");
    ran.tells("no validation image of the class n00007");
    let last = ran.out.lines().last().expect("a line");
    assert!(last.starts_with("Validation accuracy 0."), "{last}");
    ran.prints("] on 1000 images");
    files_have_their_size(&place);
    measures_are_of_every_class(&place);

    let more = place.done("train --resume run --set train.epochs=3");
    more.tells("Resuming run after epoch 2");
    an_evaluation_tells_the_worst(&place);
    predictions_have_every_class(&place);
    let ran = place.run("explain --checkpoint run val/n00003 --class nothing");
    ran.exits(2, "n00009, ... (1000 of them)");
}

fn files_have_their_size(place: &Place) {
    let size = |name: &str| {
        fs::metadata(place.path(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .len()
    };
    for (name, most) in [
        ("run/report.html", 1_500_000),
        ("run/plots/confusion_matrix.svg", 300_000),
        ("run/evaluation/val/metrics.json", 3_000_000),
        ("run/evaluation/val/predictions.csv", 200_000),
        ("run/last/state.json", 200_000),
        ("run/history.csv", 1_000),
        (
            "run/tensorboard/validation/events.out.tfevents.emberlens",
            1_000,
        ),
    ] {
        assert!(size(name) < most, "{name}: {} bytes", size(name));
    }
    let page = place.read("run/report.html");
    assert!(
        page.contains("The most frequent mistakes")
            && page.contains("4 neighboring classes share a cell")
    );
}

fn measures_are_of_every_class(place: &Place) {
    let metrics = json(&place.read("run/evaluation/val/metrics.json"));
    assert!(
        metrics["confusion_matrix"].is_null() && metrics["confusion_matrix_normalized"].is_null()
    );
    let counts = metrics["confusions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|pair| pair["count"].as_u64().expect("a count"));
    assert_eq!(
        (counts.sum::<u64>(), metrics["images"].as_u64()),
        (1000, Some(1000))
    );
    assert_eq!(
        metrics["per_class"].as_object().map(serde_json::Map::len),
        Some(1000)
    );
    let auc = &metrics["metrics"]["roc_auc"];
    assert!(
        auc["value"].is_number()
            && auc["low"].is_null()
            && metrics["metrics"]["macro_f1"]["low"].is_number(),
        "{auc}"
    );
    let predictions = place.read("run/evaluation/val/predictions.csv");
    assert_eq!(
        predictions.lines().next(),
        Some(concat!(
            "path,label,predicted,probability,label_2,probability_2,label_3,probability_3,",
            "label_4,probability_4,label_5,probability_5"
        ))
    );
}

fn an_evaluation_tells_the_worst(place: &Place) {
    let line = "evaluate --checkpoint run --data val --device cpu --logits logits.npy";
    let ran = place.done(line);
    assert_readable(&ran.out);
    ran.prints("Of 1000 classes, the 20 that are found least often");
    ran.prints("Taken for");
    ran.prints("ROC AUC and average precision have no interval");
    let logits = place.bytes("logits.npy");
    assert!(
        logits[..128]
            .windows(12)
            .any(|part| part == b"(1000, 1000)")
            && logits.len() == 128 + 4_000_000
    );
    place.run(line).tells("the file already exists");
}

fn predictions_have_every_class(place: &Place) {
    let predict = "predict --checkpoint run val/n00003 --device cpu --format";
    let csv = place.done(&format!("{predict} csv --top-k 3")).out;
    assert_eq!(
        csv.lines().nth(1).map(|line| line.split(',').count()),
        Some(7),
        "{csv}"
    );
    let line = place.done(&format!("{predict} jsonl")).json();
    let probabilities = line["probabilities"].as_object().expect("by class");
    let most = probabilities
        .values()
        .filter_map(Value::as_f64)
        .fold(0.0, f64::max);
    assert_eq!(
        (probabilities.len(), line["probability"].as_f64()),
        (1000, Some(most))
    );
}

#[test]
fn a_matrix_of_few_classes_is_whole_and_listed() {
    let place = Place::new();
    place.classes("train", &[8, 8, 8]);
    place.recipe("", "epochs = 1");
    place.done("train --config small.toml --out run");
    let ran = place.done("evaluate --checkpoint run --data train --json --device cpu");
    let found = json(&ran.out);
    let matrix = &found["confusion_matrix"];
    let mut listed = 0;
    for pair in found["confusions"].as_array().expect("a list") {
        let [truth, predicted] = ["truth", "predicted"].map(|key| {
            "abc"
                .find(pair[key].as_str().expect("a class"))
                .expect("of the three")
        });
        assert_eq!(matrix[truth][predicted], pair["count"]);
        listed += pair["count"].as_u64().expect("a count");
    }
    assert_eq!(listed, 24);
    let head = place
        .read("run/evaluation/train/predictions.csv")
        .lines()
        .next()
        .expect("a head")
        .to_owned();
    assert_eq!(head, "path,label,predicted,a,b,c");
}

/// What nobody would call a class, and a file system takes.
const NAMES: [&str; 7] = [
    "a|b",
    "<img src=x onerror=alert(1)>",
    "new\nline",
    "\u{1b}[31mred",
    "\u{202e}left",
    "comma, \"quoted\"",
    "tab\tand `code`",
];

/// Nothing that moves a cursor or turns the reading direction; line ends are those of our own
/// lines.
#[track_caller]
fn assert_plain(what: &str, text: &str) {
    let bad = text
        .chars()
        .find(|letter| letter.is_control() && *letter != '\n' || *letter == '\u{202e}');
    assert!(bad.is_none(), "{what} holds {bad:?}: {text:.2000}");
}

/// As many bars that part cells in each line of a table as in the one above.
#[track_caller]
fn assert_tables(text: &str) {
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines
        .windows(2)
        .filter(|pair| pair.iter().all(|line| line.starts_with('|')));
    assert!(pairs.clone().count() > 3, "no table: {text}");
    pairs.for_each(|pair| assert_eq!(bars(pair[0]), bars(pair[1]), "{pair:#?}"));
}

#[cfg(target_os = "linux")]
#[test]
fn names_of_classes_and_files_break_no_table_page_image_or_terminal() {
    let place = Place::new();
    let long = "é".repeat(127);
    let names: Vec<&str> = NAMES.into_iter().chain([long.as_str()]).collect();
    for (class, name) in names.iter().enumerate() {
        noise(&place, &format!("train/{name}"), class, 4);
        noise(&place, &format!("val/{name}"), class + 50, 2);
        fs::rename(
            place.path(&format!("val/{name}/0.pgm")),
            place.path(&format!("val/{name}/{name:.120}.pgm")),
        )
        .expect("renamed");
    }
    recipe(&place, "tensorboard = true");
    let ran = place.done("train --config many.toml --out run");
    assert_plain("stderr", &ran.err);
    let ran = place
        .done("evaluate --checkpoint run --data val --out out --device cpu --logits logits.csv");
    assert_plain("stdout", &ran.out);
    assert_plain("stderr", &ran.err);
    assert_tables(&ran.out);
    let predict = |format: &str| {
        let line = "predict --checkpoint run val --top-k 2 --device cpu --format";
        place.done(&(line, format)).out
    };
    let table = predict("table");
    assert_plain("predict", &table);
    assert_tables(&table);
    let explained =
        place.done("explain --checkpoint run val --format table --raw maps.csv --device cpu");
    assert_plain("explain", &explained.out);
    assert_plain("explain", &explained.err);
    assert_tables(&explained.out);
    for (what, text) in [
        ("history.csv", place.read("run/history.csv")),
        ("predictions.csv", place.read("out/predictions.csv")),
        ("logits.csv", place.read("logits.csv")),
        ("maps.csv", place.read("maps.csv")),
        ("predict", predict("csv")),
    ] {
        assert_plain(what, &text);
        let rows: Vec<_> = csv::Reader::from_reader(text.as_bytes())
            .records()
            .collect::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(rows.len() >= 2, "{what}: {text}");
    }
    for plot in ["curves", "confusion_matrix", "roc", "pr", "reliability"] {
        assert_plain(plot, &place.read(&format!("out/plots/{plot}.svg")));
        assert!(
            image::open(place.path(&format!("out/plots/{plot}.png"))).is_ok(),
            "{plot}"
        );
    }
    let page = place.read("out/report.html");
    assert_plain("report.html", &page);
    assert!(
        !page.contains("<img src=x")
            && page.contains("&lt;img src=x")
            && page.contains("new\\x0Aline")
    );
}
