//! Runs side by side: `runs`, and the page of a run that is being trained.

use crate::support::Place;

/// Two runs that differ in one option, and one whose results are damaged.
fn place_with_runs() -> Place {
    let place = Place::new();
    place.classes("train", &[16, 16]);
    place.classes("test", &[6, 6]);
    place.recipe("test = 'test'", "epochs = 2");
    for (run, rate) in [("slow", "1e-6"), ("fast", "0.005")] {
        let set = format!("train.optimizer={{kind='adam',learning_rate={rate}}}");
        place.done(&format!(
            "train --config small.toml --out checkpoints/{run} --set {set}"
        ));
    }
    let set = "train.optimizer={kind='adam',learning_rate=0.005}";
    place.done(&format!(
        "train --config small.toml --out checkpoints/more/damaged --set {set}"
    ));
    place.write("checkpoints/more/damaged/evaluation/test/metrics.json", "{");
    place
}

#[test]
fn runs_are_compared_by_figures_and_by_the_options_that_differ() {
    let place = place_with_runs();
    let found = place.done("runs --sort accuracy --json").json();
    let runs = found["runs"].as_array().expect("a list");
    let names: Vec<_> = runs.iter().map(|run| run["name"].as_str()).collect();
    assert_eq!(names.len(), 3, "{found}");
    assert_eq!(names[2], Some("more/damaged"), "not measured: {found}");
    let fast = runs
        .iter()
        .find(|run| run["name"] == "fast")
        .expect("a run");
    assert_eq!((&fast["epochs"], &fast["images"]), (&2.into(), &12.into()));
    let interval = &fast["metrics"]["accuracy"];
    assert!(
        interval["low"].as_f64() < interval["value"].as_f64(),
        "{fast}"
    );
    // All of these small images are alike; that there are figures for others is no given.
    assert!(fast["unseen"].is_object(), "{fast}");
    let options = fast["options"].as_object().expect("options");
    let keys: Vec<_> = options.keys().collect();
    assert_eq!(keys, ["train.optimizer.learning_rate"]);
    let fault = runs[2]["faults"][0].as_str().unwrap_or_default();
    assert!(fault.contains("evaluation/test/metrics.json"), "{fault}");

    // Figures that were edited are told, not shown.
    let of_slow = "checkpoints/slow/evaluation/test/metrics.json";
    place.replace(of_slow, "\"images\": 12", "\"images\": 13");
    let runs = place.done("runs --json").json()["runs"].take();
    let slow = &runs.as_array().expect("a list")[2];
    assert!(slow["images"].is_null(), "{slow}");
    let fault = slow["faults"][0].as_str().unwrap_or_default();
    assert!(
        fault.contains("it was changed since it was written"),
        "{fault}"
    );

    let table = place.done("runs checkpoints --html runs.html");
    let head = table.out.lines().next().unwrap_or_default().to_owned();
    for column in ["Unseen", "train.optimizer.learning_rate", "Can't be read"] {
        assert!(head.contains(column), "{column}: {head}");
    }
    assert!(!head.contains("batch_size"), "{head}");
    assert!(place.read("runs.html").contains("more/damaged"));
    place
        .run("runs --html runs.html")
        .exits(2, "already exists; choose another --html");
    place
        .run("runs --html train/runs.html")
        .exits(2, "nothing is written into the data's own folder");
    place
        .run("runs --sort accurac")
        .exits(2, "did you mean `accuracy`?");
    place.run("runs train").exits(2, "found no run");
    place
        .done("runs checkpoints/fast")
        .prints("checkpoints/fast");
}

#[test]
fn the_page_of_a_run_says_how_it_ended_and_how_to_go_on() {
    let place = Place::with_recipe("epochs = 3");
    place.done("train --config small.toml --out run");
    let page = place.read("run/training.html");
    for words in [
        "small: 3 of 3 epochs",
        "The results are in report.html beside this page",
        "<svg",
        "Epoch 3/3 - ",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("http-equiv=\"refresh\""), "{page}");
    place.recipe(
        "",
        "epochs = 3\noptimizer = { kind = 'sgd', learning_rate = 1e30 }",
    );
    place
        .run("train --config small.toml --out failed")
        .exits(1, "loss became");
    let page = place.read("failed/training.html");
    assert!(page.contains("Ended by an error: "), "{page}");
}
