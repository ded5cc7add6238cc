//! A run that is stopped in any way and resumed ends with the bytes of the run that wasn't.

use std::{
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::support::Place;

const ALL: &str = "epochs = 16\nclip_norm = 1.0\nema_decay = 0.9\naccumulate = 2\n\
                   checkpoint = { every_steps = 1 }\n\
                   schedule = { kind = 'plateau', monitor = 'val_loss', patience = 1 }\n\
                   early_stopping = { monitor = 'val_loss', patience = 20 }";

#[test]
fn two_runs_with_any_number_of_threads_and_workers_are_equal() {
    let place = Place::with_recipe("epochs = 3");
    place.done("train --config small.toml --out one");
    for (out, threads, workers) in [("two", "1", "0"), ("three", "2", "1"), ("four", "3", "5")] {
        let workers = format!("train.workers={workers}");
        let output = place
            .command(&format!(
                "train --config small.toml --out {out} --set {workers}"
            ))
            .env("RAYON_NUM_THREADS", threads)
            .output();
        assert!(output.expect("started").status.success());
        assert!(
            place.result("one") == place.result(out),
            "{threads} threads, {workers}"
        );
    }
    place.done("train --config small.toml --out other --set seed=43");
    assert!(
        place.result("one").1 != place.result("other").1,
        "another seed gives another network"
    );
}

#[test]
fn three_epochs_and_a_resume_to_six_are_six_epochs() {
    for extra in [
        "",
        "ema_decay = 0.95",
        "optimizer = { kind = 'sgd', momentum = 0.9, learning_rate = 0.01 }",
    ] {
        let place = Place::with_recipe(extra);
        place.done("train --config small.toml --out six --set train.epochs=6");
        place.done("train --config small.toml --out three --set train.epochs=3");
        place.done("train --resume three --set train.epochs=6");
        assert!(place.result("six") == place.result("three"), "{extra}");
        assert_eq!(
            place.read("three/history.csv").lines().count(),
            7,
            "a head and six epochs"
        );
    }
}

#[test]
fn a_process_killed_at_ten_random_moments_ends_with_the_same_bytes() {
    let place = Place::with_recipe(ALL);
    let start = Instant::now();
    place.done("train --config small.toml --out whole");
    let whole = start.elapsed();
    let mut arguments = vec!["train", "--config", "small.toml", "--out", "killed"];
    let (mut kills, mut state) = (0, 12_345u64);
    while kills < 10 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let mut child = place
            .command(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let saved = place.path("killed/last/meta.json");
        while !saved.exists() && child.try_wait().expect("asked").is_none() {
            sleep(Duration::from_millis(1));
        }
        sleep(whole.mul_f64((state >> 40) as f64 / f64::from(1 << 24) * 0.25));
        child.kill().expect("killed");
        child.wait().expect("ended");
        arguments = vec!["train", "--resume", "killed"];
        kills += 1;
    }
    place.done("train --resume killed");
    let (whole, killed) = (place.result("whole"), place.result("killed"));
    assert_eq!(whole.2, killed.2, "the history, after {kills} kills");
    assert!(whole.0 == killed.0, "best, after {kills} kills");
    assert!(whole.1 == killed.1, "last, after {kills} kills");
}

#[cfg(unix)]
#[test]
fn ctrl_c_finishes_the_step_saves_and_exits_130() {
    use nix::{sys::signal, unistd::Pid};
    let place = Place::with_recipe("epochs = 200");
    let child = place
        .command("train --config small.toml --out stopped")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.expect("started");
    while !place.path("stopped/history.csv").exists() {
        sleep(Duration::from_millis(5));
    }
    signal::kill(
        Pid::from_raw(i32::try_from(child.id()).expect("a pid")),
        signal::Signal::SIGINT,
    )
    .expect("sent");
    let output = child.wait_with_output().expect("ended");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("emberlens train --resume stopped"), "{text}");
    let epochs = place.read("stopped/history.csv").lines().count();
    let more = format!("train.epochs={}", epochs + 2);
    place.done(&["train", "--resume", "stopped", "--set", &more]);
    place.done(&format!(
        "train --config small.toml --out whole --set {more}"
    ));
    assert!(place.result("whole") == place.result("stopped"));
}

#[test]
fn a_resume_refuses_what_has_changed_and_names_it() {
    let place = Place::with_recipe("epochs = 1");
    place.done("train --config small.toml --out run");
    for (change, expected) in [
        ("train.batch_size=4", "train.batch_size was 5 and is 4"),
        ("augment.rotation_range=11", "augment.rotation_range was 10"),
    ] {
        let ran = place.run(&["train", "--resume", "run", "--set", change]);
        assert_eq!(ran.code, Some(2));
        assert!(
            ran.err.contains("the configuration has changed") && ran.err.contains(expected),
            "{}",
            ran.err
        );
    }
    let config = place.read("run/config.toml");
    place.write(
        "run/config.toml",
        &config.replace("hidden = 16", "hidden = 17"),
    );
    let ran = place.run("train --resume run");
    ran.exits(2, "model.hidden was 16 and is 17");
    place.write("run/config.toml", &config);
    let before = place.bytes("train/b/003.png");
    std::fs::copy(place.path("train/b/004.png"), place.path("train/b/003.png")).expect("copied");
    let ran = place.run("train --resume run --set train.epochs=2");
    assert!(
        ran.code == Some(2)
            && ran.err.contains("the data has changed")
            && ran.err.contains("train/b/003.png"),
        "{}",
        ran.err
    );
    std::fs::write(place.path("train/b/003.png"), before).expect("written");
    place.done("train --resume run --set train.epochs=2 --set train.max_time=1h");
}

#[test]
fn a_damaged_checkpoint_is_refused_and_the_other_one_offered() {
    let place = Place::with_recipe("epochs = 2");
    place.done("train --config small.toml --out run");
    let weights = place.bytes("run/last/model.safetensors");
    std::fs::write(
        place.path("run/last/model.safetensors"),
        &weights[..weights.len() / 2],
    )
    .expect("cut off");
    let ran = place.run("train --resume run");
    assert_eq!(ran.code, Some(1));
    for expected in [
        "the checkpoint is damaged",
        "model.safetensors",
        "run/best is intact",
    ] {
        ran.tells(expected);
    }
    place.done("train --resume run/best --set train.epochs=3");
    place.done("evaluate --checkpoint run --split val --device cpu");
}

#[test]
fn resume_without_a_run_takes_the_newest_of_the_name() {
    let place = Place::with_recipe("epochs = 1");
    place.done("train --config small.toml");
    place.done("train --config small.toml");
    let ran = place.done("train --config small.toml --resume --set train.epochs=2");
    ran.prints("checkpoints/small-2");
    assert_eq!(
        place
            .read("checkpoints/small-2/history.csv")
            .lines()
            .count(),
        3
    );
    assert_eq!(
        place.read("checkpoints/small/history.csv").lines().count(),
        2
    );
}
