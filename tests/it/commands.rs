//! Each command does its job end to end on small images: folders and CSV, gray and color, two and
//! seven classes.

use serde_json::Value;

use crate::support::{Place, json, masked_numbers};

#[test]
fn a_run_leaves_what_the_design_names() {
    let place = Place::new();
    place.classes("train", &[12, 12]);
    place.classes("test", &[4, 5]);
    place.recipe(
        "test = 'test'",
        "epochs = 2\nclass_weights = { a = 2.0 }\nearly_stopping = { monitor = 'val_recall_b' }",
    );
    place.done("train --config small.toml");
    let history = place.read("checkpoints/small/history.csv");
    assert_eq!(
        history.lines().next(),
        Some(concat!(
            "epoch,accuracy,loss,macro_f1,val_accuracy,val_loss,val_macro_f1,",
            "val_recall_a,val_recall_b,learning_rate,seconds"
        ))
    );
    assert!(
        place
            .read("checkpoints/small/split.csv")
            .starts_with("path,label,class,split,group,blake3,weight,copy_of\n")
    );
    let resolved = place.read("checkpoints/small/config.toml");
    assert!(
        resolved.contains("seed = 42") && resolved.contains("fill_mode = \"nearest\""),
        "{resolved}"
    );
    for file in [
        "best/model.safetensors",
        "best/meta.json",
        "last/optimizer.safetensors",
        "last/state.json",
        "evaluation/test/predictions.csv",
    ] {
        assert!(
            place.path(&format!("checkpoints/small/{file}")).is_file(),
            "{file}"
        );
    }
    let meta = json(&place.read("checkpoints/small/best/meta.json"));
    assert_eq!(meta["classes"], json("[\"a\", \"b\"]"));
    assert_eq!(meta["image_size"], json("[20, 24]"));
}

/// Of one epoch: whether a second is better is a matter of the last digit.
#[test]
fn a_run_tells_what_it_reads_what_it_trains_and_what_that_reaches() {
    let place = Place::new();
    place.classes("train", &[12, 12]);
    place.classes("test", &[4, 5]);
    place.recipe("test = 'test'", "epochs = 1");
    let ran = place.done("train --config small.toml");
    insta::assert_snapshot!("train_progress", masked_numbers(&ran.err));
    insta::assert_snapshot!("train_result", masked_numbers(&ran.out));
}

#[test]
fn early_stopping_and_max_time_end_a_run() {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.recipe(
        "",
        "epochs = 50\nearly_stopping = { monitor = 'val_loss', min_delta = 1000.0, patience = 2 }",
    );
    let ran = place.done("train --config small.toml --out early");
    ran.tells("Epoch 3: early stopping");
    let again = place.done("train --resume early");
    again.tells("Nothing to train: stopped early after epoch 3");
    place.done("train --resume early --set train.early_stopping.patience=3");
    assert_eq!(place.read("early/history.csv").lines().count(), 5);
    place.recipe("", "epochs = 50\nmax_time = '0s'");
    let ran = place.done("train --config small.toml --out timed");
    ran.tells("Epoch 1: stopping, train.max_time");
}

/// An average that spans many more steps than the run has would be the initial weights: its decay
/// is warmed up.
#[test]
fn averaged_weights_of_a_short_run_are_trained_ones() {
    let place = Place::new();
    place.classes("train", &[12, 12]);
    place.recipe(
        "",
        "epochs = 25\nema_decay = 0.9999\noptimizer = { kind = 'adam', learning_rate = 0.003 }",
    );
    let ran = place.done("train --config small.toml --out run");
    let words = "Averaged weights (train.ema_decay = 0.9999): at the end they span about 12 steps, \
                 3.0 epochs; its decay is warmed up, to 0.9174 in 100 steps";
    ran.tells(words);
    let history = place.read("run/history.csv");
    let last: Vec<&str> = history
        .lines()
        .last()
        .expect("an epoch")
        .split(',')
        .collect();
    assert_eq!(last[4], "1", "val_accuracy: {history}");
}

/// Every epoch is a step of the schedule, and there is no time for a thousand: it ends all the same
/// where the run ends.
#[test]
fn a_schedule_ends_where_max_time_ends_the_run() {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.recipe(
        "",
        "epochs = 100000\nmax_time = '3s'\nschedule = { kind = 'cosine' }\n\
         optimizer = { kind = 'adam', learning_rate = 0.001 }",
    );
    let ran = place.done("train --config small.toml --out run");
    ran.tells("of 100000 epochs fit train.max_time = \"3s\"; the schedule ends there");
    let rates: Vec<f64> = place
        .read("run/history.csv")
        .lines()
        .skip(1)
        .map(|line| {
            line.rsplit(',')
                .nth(1)
                .expect("a rate")
                .parse()
                .expect("a number")
        })
        .collect();
    let (first, last) = (rates[0], rates[rates.len() - 1]);
    assert!(
        first > 0.0009 && last < 0.0002,
        "from {first} to {last} in {} epochs",
        rates.len()
    );
    let state = json(&place.read("run/last/state.json"));
    assert!(
        state["planned_epochs"]
            .as_u64()
            .is_some_and(|planned| planned < 100_000),
        "{}",
        state["planned_epochs"]
    );
    // A resume starts the clock anew, and plans anew.
    let again = place.done("train --resume run --set train.max_time=1s");
    again.tells("of 100000 epochs fit train.max_time = \"1s\"");
}

#[test]
fn a_folder_of_images_is_all_that_train_needs() {
    let place = Place::new();
    place.classes("set/train", &[8, 8]);
    place.classes("set/test", &[3, 3]);
    let ran = place.done(
        "train set --set train.epochs=1 --set model.channels=[4] --set model.hidden=4 \
         --device cpu",
    );
    assert!(
        ran.out.contains("6 images: accuracy") && ran.out.contains("Run folder: checkpoints/set"),
        "{}",
        ran.out
    );
    let recipe = place.read("checkpoints/set/config.toml");
    for part in [
        "train = \"set/train\"",
        "test = \"set/test\"",
        "image_size = [22, 26]",
        "epochs = 1\n",
    ] {
        assert!(recipe.contains(part), "{part}: {recipe}");
    }
    let mut inside: Vec<_> = std::fs::read_dir(place.path("set"))
        .expect("listed")
        .map(|entry| entry.expect("read").file_name())
        .collect();
    inside.sort();
    assert_eq!(
        inside,
        ["test", "train"],
        "nothing is written into the folder of images"
    );
    assert!(!place.path("set.toml").exists());
    // A recipe does as well, and a run is told from images.
    place.done("train checkpoints/set/config.toml --dry-run");
    let ran = place.run("train checkpoints/set");
    ran.exits(2, "emberlens train --resume checkpoints/set");
    let ran = place.run("train set --set train.epoch=2");
    ran.exits(2, "did you mean `epochs`?: --set train.epoch=2");
}

#[test]
fn a_csv_with_splits_groups_and_weights_trains_two_gray_classes_on_one_logit() {
    let place = Place::new();
    place.classes("images", &[14, 14]);
    let mut csv = "path,label,split,group,weight\n".to_owned();
    for (class, label) in [("a", "yes"), ("b", "no")] {
        for index in 0..14 {
            let split = if index >= 12 { "test" } else { "train" };
            csv += &format!(
                "images/{class}/{index:03}.png,{label},{split},p{},{}\n",
                index / 3,
                1 + index % 2
            );
        }
    }
    place.write("list.csv", &csv);
    place.recipe(
        "color = 'grayscale'\nresize = 'pad'",
        "epochs = 3\nloss = 'binary_cross_entropy'\nsampler = 'balanced'\nlabel_smoothing = 0.05",
    );
    place.replace("small.toml", "train = \"train\"", "train = \"list.csv\"");
    place.done("train --config small.toml --out run");
    let split = place.read("run/split.csv");
    for group in ["p0", "p1", "p2", "p3"] {
        let parts: std::collections::BTreeSet<_> = split
            .lines()
            .filter(|line| line.contains(&format!(",{group},")))
            .map(|line| line.split(',').nth(3))
            .collect();
        assert_eq!(parts.len(), 1, "{group} is on both sides: {split}");
    }
    let ran = place.done("evaluate --checkpoint run --data list.csv --json --device cpu");
    let result = json(&ran.out);
    assert_eq!(
        (&result["images"], &result["classes"]),
        (&json("4"), &json("[\"no\", \"yes\"]"))
    );
}

#[test]
fn seven_classes_with_batch_norm_average_pooling_focal_loss_and_one_cycle() {
    let place = Place::new();
    place.classes("train", &[6, 5, 7, 6, 5, 8, 6]);
    place.recipe(
        "normalize = 'imagenet'\ncache = 'off'",
        "epochs = 2\nloss = 'focal'\nclass_weights = 'balanced'\n\
         schedule = { kind = 'one_cycle' }\noptimizer = { kind = 'adamw' }",
    );
    place.replace(
        "small.toml",
        "[model]",
        "[model]\nbatch_norm = true\npooling = 'average'",
    );
    place.done("train --config small.toml --out run");
    let ran = place.done("evaluate --checkpoint run --split val --json --device ndarray");
    let on_ndarray = json(&ran.out);
    let on_cpu = place
        .done("evaluate --checkpoint run --split val --json --device cpu")
        .json();
    assert_eq!(on_ndarray["confusion_matrix"], on_cpu["confusion_matrix"]);
    assert!(
        (on_ndarray["loss"].as_f64().expect("a number")
            - on_cpu["loss"].as_f64().expect("a number"))
        .abs()
            < 1e-4
    );
}

#[test]
fn burn_ndarray_trains_what_burn_flex_trains() {
    let place = Place::new();
    place.classes("train", &[6, 6]);
    place.recipe("", "epochs = 1");
    place.replace("small.toml", "dropout = 0.2", "dropout = 0");
    let loss = |device: &str| {
        place.done(&format!(
            "train --config small.toml --out {device} --device {device}"
        ));
        let line = place
            .read(&format!("{device}/history.csv"))
            .lines()
            .nth(1)
            .expect("an epoch")
            .to_owned();
        line.split(',')
            .nth(5)
            .expect("val_loss")
            .parse::<f64>()
            .expect("a number")
    };
    let (cpu, ndarray) = (loss("cpu"), loss("ndarray"));
    assert!((cpu - ndarray).abs() < 1e-4, "{cpu} {ndarray}");
}

#[test]
fn caches_change_no_pixel() {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    place.recipe("", "epochs = 2");
    let mut weights = Vec::new();
    // 16 images of 90 kB: `auto` has room for 11 of them.
    for (out, cache) in [("m", "memory"), ("d", "disk"), ("a", "auto"), ("o", "off")] {
        let set = |value: &str| ["--set".to_owned(), format!("data.{value}")];
        let sets = [
            set(&format!("cache={cache}")),
            set("cache_memory_mb=1"),
            set("image_size=[150, 200]"),
        ]
        .concat();
        let sets: Vec<_> = sets.iter().map(String::as_str).collect();
        let log = place
            .done(
                &[
                    &["train", "--config", "small.toml", "--out", out],
                    &sets[..],
                ]
                .concat(),
            )
            .err;
        assert_eq!(
            log.contains(", 1 of them in memory"),
            cache == "auto",
            "{log}"
        );
        weights.push(place.bytes(&format!("{out}/best/model.safetensors")));
    }
    assert!(weights.windows(2).all(|pair| pair[0] == pair[1]));
    let cached: Vec<_> = std::fs::read_dir(place.path("cache/emberlens/pixels"))
        .expect("the cache folder")
        .collect();
    assert_eq!(
        cached.len(),
        3,
        "one file of pixels, one of looks and their index, used twice"
    );
    let beside = std::fs::read_dir(place.path("train"))
        .expect("listed")
        .count();
    assert_eq!(beside, 2, "nothing is written beside the images");
}

#[test]
fn evaluate_tells_copies_of_training_images_from_new_ones_and_matches_classes_by_name() {
    let place = Place::new();
    place.classes("train", &[12, 12]);
    place.images("other/b", 1, 30);
    // Long enough that no probability is near a half.
    place.recipe("", "epochs = 12\ncheckpoint = { monitor = 'val_loss' }");
    place.done("train --config small.toml --out run");
    let ran = place.done("evaluate --checkpoint run --data other --json --device cpu --out result");
    let result = json(&ran.out);
    // Images 0 to 11 of class b are those of training and validation.
    let count = result["unseen"]["count"].as_u64().expect("a count");
    assert_eq!(count, 18);
    // Validation images are new where they are what is measured.
    let own = place
        .done("evaluate --checkpoint run --split val --json --device cpu")
        .json();
    assert_eq!(own["unseen"]["count"], own["images"]);
    assert_eq!(result["per_class"]["b"]["support"], 30);
    assert_eq!(result["confusion_matrix"][0], json("[0, 0]"));
    assert!(
        result["per_class"]["a"]["roc_auc"].is_null()
            && result["per_class"]["a"]["intervals"]["recall"]["low"].is_null(),
        "{result}"
    );
    let width = |metrics: &Value| {
        let [low, value, high] = ["low", "value", "high"]
            .map(|end| metrics["accuracy"][end].as_f64().expect("a number"));
        assert!(low <= value && value <= high, "{metrics}");
        high - low
    };
    assert_eq!(
        result["unseen"]["metrics"]["accuracy"]["value"],
        result["unseen"]["accuracy"]
    );
    assert!(
        width(&result["unseen"]["metrics"]) > width(&result["metrics"]),
        "fewer images, less certain: {result}"
    );
    let ran = place.done("evaluate --checkpoint run --data other --device cpu --out text");
    insta::assert_snapshot!("evaluate", masked_numbers(&ran.out));
    assert!(
        result["accuracy"].as_f64().expect("a number") > 0.9,
        "a bright block in another place is easy: {result}"
    );
    assert_eq!(
        place.read("result/predictions.csv").lines().next(),
        Some("path,label,predicted,a,b")
    );
    assert_eq!(place.read("result/predictions.csv").lines().count(), 31);
    let unknown = Place::new();
    unknown.classes("test", &[1, 1, 1]);
    let path = unknown.path("test").display().to_string();
    let line = "evaluate --checkpoint run --device cpu --data";
    let words = "found c that the checkpoint doesn't know, expected classes among a, b";
    place.run(&(line, path.as_str())).exits(1, words);
}

const EVALUATE: &str = "evaluate --checkpoint run --data other --device cpu --json";

/// `run`, and images that it doesn't know in `other`.
fn run_with_mistakes() -> Place {
    let place = Place::new();
    place.classes("train", &[12, 12]);
    place.images("other/b", 1, 30);
    // Two images under the wrong label: without a mistake there is no temperature to fit.
    place.classes("val", &[6, 6]);
    place.images("val/a/wrong", 1, 2);
    place.recipe("validation = 'val'", "epochs = 12");
    place.done("train --config small.toml --out run");
    place
}

fn log_loss(result: &Value) -> f64 {
    let loss = &result["metrics"]["log_loss"]["value"];
    loss.as_f64().expect("a number")
}

/// `predict` has it too.
#[test]
fn a_temperature_changes_how_sure_a_network_is_and_not_what_it_says() {
    let place = run_with_mistakes();
    let evaluated = |out: &str| place.done(&format!("{EVALUATE} --out {out}")).json();
    let predict = "predict --checkpoint run other/b/020.png --format jsonl --device cpu";
    let (result, before) = (evaluated("result"), place.done(predict).json());
    place.done("calibrate run --temperature --device cpu");
    let (calibrated, after) = (evaluated("calibrated"), place.done(predict).json());
    assert_eq!(calibrated["confusion_matrix"], result["confusion_matrix"]);
    assert_ne!(
        calibrated["metrics"]["log_loss"],
        result["metrics"]["log_loss"]
    );
    assert!(
        before["label"] == after["label"] && before["probability"] != after["probability"],
        "{before} {after}"
    );
}

#[test]
fn each_augmentation_of_an_image_counts_and_probabilities_still_sum_to_one() {
    let place = run_with_mistakes();
    place.done("calibrate run --temperature --device cpu");
    let once = place.done(&format!("{EVALUATE} --out once")).json();
    let averaged = |rounds: u32| {
        let line = format!("{EVALUATE} --tta {rounds} --out tta{rounds}");
        place.done(&line).json()
    };
    let (two, three) = (averaged(2), averaged(3));
    assert!(
        log_loss(&two) != log_loss(&three) && log_loss(&two) != log_loss(&once),
        "each augmentation counts"
    );
    let predictions = place.read("tta2/predictions.csv");
    for line in predictions.lines().skip(1) {
        let probability = |value: &str| value.parse::<f64>().expect("a number");
        let sum: f64 = line.split(',').skip(3).map(probability).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{line}");
    }
}

#[test]
fn two_runs_are_compared_on_the_same_images() {
    let place = run_with_mistakes();
    let compared = |with: &str| {
        place.run(&format!(
            "evaluate --checkpoint run --data other --device cpu --compare {with}"
        ))
    };
    compared("run").exits(
        2,
        "--compare: found the run itself, expected another one: run",
    );
    place.done("train --config small.toml --out same");
    compared("same").prints("Neither is better");
    let train = "train --config small.toml --set train.epochs=1";
    let line = format!("{train} --out bad --set");
    place.done(&(line.as_str(), "train.class_weights={ a = 1000.0 }"));
    let found = compared("bad").out;
    assert!(
        found.contains("run is better than bad") && found.contains("McNemar p < 0.0001"),
        "{found}"
    );
    compared("bad bad").exits(2, "--compare: found a run twice, expected it once: bad");
    let several = compared("bad same");
    several.prints("| Compared with |");
    several.prints("Corrected for 2 tests (Holm), bad is worse than this run on images like these");
    let ran = "evaluate --checkpoint run --data other --device cpu --json --compare same bad";
    let found = place.done(ran).json();
    let corrected = [0, 1].map(|at| found["comparisons"][at]["corrected_p"].as_f64());
    let p = [0, 1].map(|at| found["comparisons"][at]["mcnemar_p"].as_f64());
    assert_eq!(corrected, [Some(1.0), p[1].map(|p| 2.0 * p)], "{found}");
    place.write("other/a/broken.png", "nothing");
    let ran = compared("same");
    assert_eq!(ran.err.matches("broken.png").count(), 1, "{}", ran.err);
    place.classes("three", &[6, 6, 6]);
    place.done(&format!("{train} --out three_run --set data.train=three"));
    let words = "found the classes a, b in run and a, b, c in three_run";
    compared("three_run").exits(1, words);
}

#[test]
fn predict_goes_on_past_a_bad_file_and_exits_with_1() {
    let place = Place::new();
    place.classes("train", &[12, 12]);
    place.recipe("", "epochs = 4");
    place.done("train --config small.toml --out run");
    place.write("train/a/broken.png", "nothing");
    let predict = |format: &str| {
        let images = "train/a train/b/000.png nowhere.png";
        let line = format!("predict --checkpoint run {images} --device cpu --format {format}");
        place.run(&line)
    };
    let ran = predict("jsonl");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("train/a/broken.png") && ran.err.contains("nowhere.png"),
        "{}",
        ran.err
    );
    let lines: Vec<_> = ran.out.lines().map(json).collect();
    assert_eq!(lines.len(), 13);
    let last = &lines[12];
    assert_eq!(
        (&last["path"], &last["label"]),
        (&json("\"train/b/000.png\""), &json("\"b\""))
    );
    let sum = last["probabilities"]["a"].as_f64().expect("a number")
        + last["probabilities"]["b"].as_f64().expect("a number");
    assert!((sum - 1.0).abs() < 1e-5);
    let csv = predict("csv --top-k 2").out;
    assert_eq!(
        csv.lines().next(),
        Some("path,label,probability,label_2,probability_2")
    );
    assert_eq!(csv.lines().count(), 14);
    std::fs::remove_file(place.path("train/a/broken.png")).expect("removed");
    let table = place
        .done("predict --checkpoint run/last train/a --device cpu")
        .out;
    assert!(
        table.contains("train/a/011.png") && table.contains("Probability"),
        "{table}"
    );
}

/// `bench` of a small recipe, with more settings.
fn bench(more: &str) -> Value {
    let place = Place::new();
    place.classes("train", &[12, 12]);
    place.recipe("", "epochs = 1");
    let line = format!("bench {more} --config small.toml --json");
    place.done(&line).json()
}

#[test]
fn bench_speaks_json() {
    let step = bench("step --steps 2");
    for key in [
        "seconds_per_step",
        "batch_size",
        "device",
        "bare_seconds_per_step",
    ] {
        assert!(!step[key].is_null(), "{key}: {step}");
    }
    assert!(cfg!(not(unix)) || step["peak_memory_mb"].as_f64().expect("a number") > 1.0);
    let pipeline = bench("pipeline --steps 2");
    for key in [
        "images_per_second",
        "threads",
        "cold_images_per_second",
        "data_wait_share",
    ] {
        assert!(pipeline[key].is_number(), "{key}: {pipeline}");
    }
}

#[test]
fn bench_times_forward_passes_of_known_networks() {
    let place = Place::new();
    let line = "bench forward mobilenet_v2 squeezenet1_1 --image-size 64 --batch-size 2 --rounds 1";
    let found = place.done(&format!("{line} --device cpu --json")).json();
    let networks = found["networks"].as_array().expect("a list");
    assert_eq!(networks[0]["architecture"], "mobilenet_v2");
    assert_eq!(networks[1]["architecture"], "squeezenet1_1");
    for network in networks {
        let (median, fastest) = (&network["milliseconds"], &network["fastest_milliseconds"]);
        assert!(median.as_f64().expect("a number") > 0.0, "{network}");
        assert!(fastest.as_f64() <= median.as_f64(), "{network}");
    }
    assert_eq!([&found["batch_size"], &found["image_size"]], [2, 64]);
    place
        .run("bench forward small_cnn")
        .exits(2, "expected one of");
}

/// Of a network that is most of the process.
#[test]
fn the_memory_that_bench_expects_is_what_a_step_takes() {
    let large = bench(
        "step --steps 1 --set data.image_size=[256,256] --set train.batch_size=16 \
         --set model.channels=[32,32] --set model.pooling=average",
    );
    let [expected, taken] = ["estimated_memory_mb", "peak_memory_mb"]
        .map(|key| large[key].as_f64().unwrap_or(f64::NAN));
    assert!(
        cfg!(not(unix)) || (0.6..1.6).contains(&(expected / taken)),
        "{large}"
    );
}

#[test]
fn devices_are_listed_with_the_result_of_their_self_test() {
    let table = masked_numbers(&Place::new().done("devices").out);
    // Which GPUs there are, and where the largest of the differences is, is the machine's.
    let place = regex_lite::Regex::new(r", in the [^|]*").expect("a pattern");
    let rows: Vec<_> = table
        .lines()
        // What the machine lacks comes after an empty line.
        .take_while(|row| !row.is_empty())
        .filter(|row| !row.starts_with("| gpu"))
        .map(|row| place.replace(row, ", in a tensor "))
        .collect();
    insta::assert_snapshot!(rows.join("\n"), @"
    | --device | What | Usable | Self-test: one step of a small network, compared with the CPU |
    |---|---|---|---|
    | cpu | burn-flex on the CPU | yes | no difference from the CPU |
    | ndarray | burn-ndarray on the CPU | yes | largest difference from the CPU N, in a tensor |
    ");
}

#[test]
fn devices_speak_json() {
    let devices = Place::new().done("devices --json").json();
    let usable = |name: &str| {
        devices["devices"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|device| device["name"] == name && device["usable"] == true)
    };
    assert!(usable("cpu") && usable("ndarray"), "{devices}");
    let has_gpu = usable("gpu:0");
    assert!(!has_gpu || devices["lacking"].is_null(), "{devices}");
}

#[test]
fn every_recipe_of_the_project_parses() {
    let mut seen = 0;
    for entry in std::fs::read_dir(crate::support::root().join("configs")).expect("listed") {
        let path = entry.expect("read").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            emberlens::config::load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
            seen += 1;
        }
    }
    assert_eq!(seen, 8);
}
