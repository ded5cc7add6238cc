//! Learning curves, and the search for a learning rate.

use std::collections::BTreeSet;

use crate::support::{Place, json};

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

#[test]
fn fractions_are_nested_and_measured_on_the_same_images() {
    let place = Place::new();
    place.classes("train", &[30, 20]);
    place.classes("val", &[9, 6]);
    place.recipe("validation = \"val\"", "epochs = 2");
    let ran = place.done("train --config small.toml --out curve --learning-curve 0.2,0.5,1");
    ran.tells("Network 1 of 3, fraction 1: 50 training and 15 validation images");
    ran.prints("| Fraction | Training images |");
    let runs = [
        "curve/fraction-0.2",
        "curve/fraction-0.5",
        "curve/fraction-1",
    ];
    let sets = runs.map(|run| part(&place, run, "train"));
    assert_eq!(sets.clone().map(|set| set.len()), [10, 25, 50]);
    assert!(sets[0].is_subset(&sets[1]) && sets[1].is_subset(&sets[2]));
    let of_a = |set: &BTreeSet<String>| set.iter().filter(|path| path.contains("/a/")).count();
    assert_eq!(sets.each_ref().map(of_a), [6, 15, 30], "stratified");
    let held = runs.map(|run| part(&place, run, "val"));
    assert!(held[0].len() == 15 && held[0] == held[1] && held[1] == held[2]);
    let found = json(&place.read("curve/learning_curve.json"));
    for (point, run) in found["points"].as_array().expect("a list").iter().zip(runs) {
        let own = json(&place.read(&format!("{run}/evaluation/val/metrics.json")));
        assert_eq!(point["metrics"], own["metrics"], "{run}");
    }
    let gain = &found["gain"];
    assert!(gain["low"].as_f64() <= gain["value"].as_f64(), "{found}");
    let page = place.read("curve/report.html");
    assert!(
        page.contains("with twice as many, 100: a change of") && page.contains("<svg"),
        "{page}"
    );
    assert!(place.path("curve/plots/learning_curve.png").is_file());
    // The largest stands for the run, and each is a run of its own.
    let listed = place.done("runs . --json").json();
    let names = listed["runs"].as_array().expect("a list").iter();
    let names: Vec<_> = names.map(|run| run["name"].as_str()).collect();
    assert_eq!(names, runs.map(Some));
    place.done("predict --checkpoint curve val");
    place.done("explain --checkpoint curve val");
    place.done("train --config small.toml --out alone --set train.fraction=0.5");
    assert!(place.result("alone") == place.result("curve/fraction-0.5"));
    let dry = "train --config small.toml --learning-curve 0.5,1 --dry-run";
    place.done(dry).tells("nothing was trained or written");
    place
        .run("train --config small.toml --learning-curve 1,0.5")
        .exits(2, "train.learning_curve");
}

#[test]
fn a_stopped_curve_goes_on_where_it_was() {
    let place = Place::with_recipe("epochs = 2");
    place.done("train --config small.toml --out whole --learning-curve 0.5,1");
    place.done("train --config small.toml --out stopped --learning-curve 0.5,1");
    for gone in ["fraction-0.5", "learning_curve.json", "report.html"] {
        let path = place.path(&format!("stopped/{gone}"));
        if path.is_dir() {
            std::fs::remove_dir_all(path).expect("removed");
        } else {
            std::fs::remove_file(path).expect("removed");
        }
    }
    place
        .run("train --resume stopped --set train.learning_curve=[0.4,1.0]")
        .exits(2, "was");
    place
        .done("train --resume stopped --dry-run")
        .tells("can be resumed");
    let ran = place.done("train --resume stopped");
    ran.tells("Network 1 of 2, fraction 1: nothing to train");
    assert_eq!(
        ran.err.matches("nothing to train").count(),
        1,
        "{}",
        ran.err
    );
    for run in ["fraction-0.5", "fraction-1"] {
        let result = |whole: &str| place.result(&format!("{whole}/{run}"));
        assert!(result("whole") == result("stopped"), "{run}");
    }
    assert_eq!(
        place
            .read("whole/learning_curve.json")
            .replace("whole/", "stopped/"),
        place.read("stopped/learning_curve.json")
    );
}

#[test]
fn groups_and_copies_are_trained_on_together() {
    let place = Place::new();
    place.classes("train", &[40, 20]);
    place.classes("val", &[5, 5]);
    place.recipe(
        "group = \"regex:^\\\\d\\\\d(\\\\d)\"\nvalidation = \"val\"",
        "epochs = 1",
    );
    place.done("train --config small.toml --out run --set train.fraction=0.5");
    let trained = part(&place, "run", "train");
    // A group has four images of one class and two of the other, and counts for one of them.
    let groups: BTreeSet<&str> = trained
        .iter()
        .map(|path| &path[path.len() - 5..][..1])
        .collect();
    assert_eq!(trained.len(), groups.len() * 6, "{trained:?}");
    assert!((5..=6).contains(&groups.len()), "{groups:?}");
}

#[test]
fn a_search_for_a_rate_leaves_a_figure_and_nothing_else() {
    let place = Place::with_recipe("epochs = 1");
    let before = entries(&place);
    let ran = place.done("train --config small.toml --find-rate");
    ran.prints("Valley ");
    ran.prints("Steepest ");
    ran.prints("--set train.optimizer.learning_rate=");
    assert!(place.read("learning_rate.svg").contains("valley: "));
    let mut after = entries(&place);
    after.remove("learning_rate.svg");
    after.remove("cache");
    assert_eq!(after, before);
    let again = place.run("train --config small.toml --find-rate");
    again.exits(2, "choose another with --find-rate=FILE");
    let twice = place.done("train --config small.toml --find-rate=again.png");
    assert_eq!(twice.out, ran.out, "the same search finds the same");
    place
        .run("train --config small.toml --find-rate=x.pdf")
        .exits(2, "ends with .svg or .png");
    place
        .run("train --config small.toml --find-rate=train/x.png")
        .exits(2, "--find-rate");
}

/// Names in the folder.
fn entries(place: &Place) -> BTreeSet<String> {
    let entries = std::fs::read_dir(place.path("")).expect("listed");
    entries
        .map(|entry| {
            entry
                .expect("read")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}
