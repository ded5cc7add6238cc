//! A run belongs to one process, goes on wherever its images lie, and may change what changes no
//! result.

use std::process::Stdio;

use crate::support::Place;

#[test]
fn who_resumes_a_run_that_is_being_trained_is_told_by_whom() {
    let place = Place::with_recipe("epochs = 1");
    place.done("train --config small.toml --out run");
    let mut first = place
        .command("train --resume run --set train.epochs=100000")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    while place.read("run/history.csv").lines().count() < 4 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let expected = format!("the run is in use by process {} on ", first.id());
    for arguments in [
        &["train", "--resume", "run", "--set", "train.epochs=100000"][..],
        &["train", "--config", "small.toml", "--out", "run"],
        &["calibrate", "run", "--temperature", "--device", "cpu"],
        &["export", "run", "--onnx", "model.onnx"],
    ] {
        let ran = place.run(arguments);
        assert!(
            ran.code == Some(2) && ran.err.contains(&expected),
            "{arguments:?}: {}",
            ran.err
        );
    }
    // Who only reads goes on.
    place.done("train --resume run --set train.epochs=100000 --dry-run");
    place.done("evaluate --checkpoint run --split val --device cpu");
    place.done("predict --checkpoint run train/a/000.png --device cpu");
    assert!(
        first.try_wait().expect("asked").is_none(),
        "the first goes on"
    );
    first.kill().expect("killed");
    first.wait().expect("ended");
    // A dead process holds nothing.
    let epochs = place.read("run/history.csv").lines().count() + 1;
    place.done(&format!("train --resume run --set train.epochs={epochs}"));
}

#[test]
fn starts_at_the_same_moment_get_folders_of_their_own() {
    let place = Place::with_recipe("epochs = 1");
    let start = || {
        place
            .command("train --config small.toml")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started")
    };
    let children: Vec<_> = (0..4).map(|_| start()).collect();
    for child in children {
        let output = child.wait_with_output().expect("ended");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    for name in ["small", "small-2", "small-3", "small-4"] {
        assert!(
            place.result(&format!("checkpoints/{name}")) == place.result("checkpoints/small"),
            "{name}"
        );
    }
    assert!(!place.path("checkpoints/small-5").exists());
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::with_recipe("epochs = 1");
    place.done("train --config small.toml --dry-run");
    assert!(!place.path("checkpoints").exists());
    place.done("train --config small.toml --out run");
    let before = place.read("run/config.toml");
    place.done("train --resume run --dry-run --set train.epochs=9");
    assert_eq!(place.read("run/config.toml"), before);
}

#[test]
fn a_resume_takes_the_newest_run_of_the_recipe_whatever_its_folder_is_called() {
    let place = Place::with_recipe("epochs = 1");
    place.done("train --config small.toml");
    place.write(
        "other.toml",
        &place
            .read("small.toml")
            .replace("name = \"small\"", "name = \"small-2\""),
    );
    place.done("train --config other.toml");
    place.done("train --config small.toml --resume --set train.epochs=2");
    assert_eq!(
        place.read("checkpoints/small/history.csv").lines().count(),
        3
    );
    assert_eq!(
        place
            .read("checkpoints/small-2/history.csv")
            .lines()
            .count(),
        2
    );
    place.write(
        "none.toml",
        &place
            .read("small.toml")
            .replace("name = \"small\"", "name = \"smal\""),
    );
    let ran = place.run("train --config none.toml --resume");
    ran.exits(2, "expected one of the recipe smal in checkpoints/");
}

#[test]
fn what_changes_no_result_may_change() {
    let place = Place::with_recipe("checkpoint = { every_steps = 3 }");
    place.done("train --config small.toml --out whole --set train.epochs=4");
    place.done("train --config small.toml --out run --set train.epochs=1");
    for (epochs, change) in [
        (
            2,
            &[
                "name=other",
                "train.workers=3",
                "data.cache=disk",
                "data.cache_memory_mb=1",
            ][..],
        ),
        (
            3,
            &[
                "train.checkpoint.every_steps=2",
                "train.tensorboard=true",
                "data.cache=off",
                "data.on_bad_image=error",
            ],
        ),
        (
            4,
            &[
                "device=cpu",
                "train.max_time=1h",
                "train.workers=0",
                "data.cache=memory",
            ],
        ),
    ] {
        let changes = change.join(" --set ");
        place.done(&format!(
            "train --resume run --set {changes} --set train.epochs={epochs}"
        ));
    }
    assert!(place.result("whole") == place.result("run"));
    for change in [
        "data.color=grayscale",
        "data.validation=0.3",
        "data.on_leak=exclude",
        "data.normalize=imagenet",
        "train.sampler=balanced",
    ] {
        let ran = place.run(&format!(
            "train --resume run --set train.epochs=9 --set {change}"
        ));
        let key = change.split_once('=').expect("a key").0;
        assert!(
            ran.code == Some(2) && ran.err.contains(&format!("{key} was ")),
            "{change}: {}",
            ran.err
        );
    }
}

#[test]
fn a_run_goes_on_with_images_that_have_moved_and_ends_with_the_same_bytes() {
    let place = Place::with_recipe("");
    place.classes("test", &[3, 2]);
    place.recipe("test = 'test'", "");
    place.done("train --config small.toml --out whole --set train.epochs=3");
    place.done("train --config small.toml --out run --set train.epochs=1");
    std::fs::create_dir(place.path("disk")).expect("created");
    std::fs::rename(place.path("train"), place.path("disk/images")).expect("moved");
    let ran = place.run("train --resume run --set train.epochs=2");
    ran.exits(1, "--set data.train=FOLDER");
    let ran = place.run("evaluate --checkpoint run --split val --device cpu");
    assert!(
        ran.code == Some(1) && ran.err.contains("none of the") && !ran.err.contains("skipped"),
        "{}",
        ran.err
    );
    let ran = place.done("train --resume run --set train.epochs=2 --set data.train=disk/images");
    ran.tells("30 of 30 images have moved");
    assert!(
        place
            .read("run/split.csv")
            .contains("disk/images/a/000.png")
            && !place.read("run/split.csv").contains("\ntrain/")
    );
    place.done("evaluate --checkpoint run --split val --device cpu");
    // Other names, another order: each image still has the place that it had.
    for index in 0..17 {
        let [from, to] = [
            format!("disk/images/a/{index:03}.png"),
            format!("disk/images/a/x{:03}.png", 16 - index),
        ];
        std::fs::rename(place.path(&from), place.path(&to)).expect("renamed");
    }
    let ran = place.done("train --resume run --set train.epochs=3");
    ran.tells("17 of 30 images have moved");
    assert!(place.result("whole") == place.result("run"));
    place.done("evaluate --checkpoint run --split val --device cpu");
}

#[test]
fn images_that_come_and_go_are_named_with_their_number() {
    let place = Place::with_recipe("epochs = 1");
    place.done("train --config small.toml --out run");
    place.images("more", 2, 7);
    for index in 0..7 {
        std::fs::copy(
            place.path(&format!("more/{index:03}.png")),
            place.path(&format!("train/a/n{index}.png")),
        )
        .expect("copied");
    }
    std::fs::remove_file(place.path("train/b/004.png")).expect("removed");
    let ran = place.run("train --resume run --set train.epochs=2");
    let new = "7 images are new: train/a/n0.png, train/a/n1.png, train/a/n2.png, train/a/n3.png, \
               train/a/n4.png, ...";
    assert!(
        ran.code == Some(2) && ran.err.contains(new) && ran.err.contains("train/b/004.png was in"),
        "{}",
        ran.err
    );
}

#[test]
fn more_epochs_under_a_schedule_that_depends_on_them_say_how_the_rate_jumps() {
    let place = Place::with_recipe("epochs = 3\nschedule = { kind = 'cosine' }");
    place.done("train --config small.toml --out run");
    let ran = place.done("train --resume run --set train.epochs=6");
    let jump = ran
        .err
        .lines()
        .find(|line| line.contains("the learning rate jumps from"))
        .unwrap_or_else(|| panic!("{}", ran.err));
    // Five steps an epoch: the last of 15 is at 14 / 15 of half a cosine, the next at 15 / 30.
    assert!(
        jump.contains(
            "from 1.093e-5 to 5.000e-4: the cosine schedule now ends after 6 epochs, no longer \
             after 3"
        ),
        "{jump}"
    );
    let place = Place::with_recipe("epochs = 1");
    place.done("train --config small.toml --out run");
    let ran = place.done("train --resume run --set train.epochs=2");
    assert!(!ran.err.contains("jumps"), "{}", ran.err);
}
