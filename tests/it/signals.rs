//! Signals that clusters, containers and closed terminals send, and kills at any moment of a start.

#![cfg(unix)]

use std::{
    process::{Child, Stdio},
    thread::sleep,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::Place;

fn place(train: &str) -> Place {
    let place = Place::new();
    place.classes("train", &[17, 13]);
    place.recipe("", train);
    place
}

fn send(child: &Child, signal: Signal) {
    kill(
        Pid::from_raw(i32::try_from(child.id()).expect("a pid")),
        signal,
    )
    .expect("sent");
}

fn started(place: &Place, arguments: &[&str]) -> Child {
    place
        .command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started")
}

/// Names of files that are on their way to their place.
fn partial_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (
                entry.path(),
                entry.file_name().to_string_lossy().into_owned(),
            );
            if name.starts_with(".partial-")
                || [".partial", ".new", ".old"]
                    .iter()
                    .any(|ending| name.ends_with(ending))
            {
                found.push(path.clone());
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

#[test]
fn every_signal_that_stops_saves_and_the_exit_code_tells_which() {
    let place = place("epochs = 100000");
    for (signal, code, name) in [
        (Signal::SIGTERM, 143, "SIGTERM"),
        (Signal::SIGHUP, 129, "SIGHUP"),
        (Signal::SIGUSR1, 138, "SIGUSR1"),
        (Signal::SIGUSR2, 140, "SIGUSR2"),
        (Signal::SIGXCPU, 152, "SIGXCPU"),
        (Signal::SIGINT, 130, "Ctrl-C"),
    ] {
        let child = started(&place, &["train", "--config", "small.toml", "--out", name]);
        while !place.path(&format!("{name}/history.csv")).exists() {
            sleep(Duration::from_millis(5));
        }
        send(&child, signal);
        let output = child.wait_with_output().expect("ended");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{name}: {text}");
        let go_on =
            format!("Stopped by {name}; saved. Resume with: emberlens train --resume {name}");
        assert!(text.contains(&go_on), "{text}");
        let epochs = place.read(&format!("{name}/history.csv")).lines().count();
        let epochs = epochs + 1;
        place.done(&format!(
            "train --resume {name} --set train.epochs={epochs}"
        ));
    }
    let weights = |run: &str| place.bytes(&format!("{run}/last/model.safetensors"));
    let epochs = place.read("SIGTERM/history.csv").lines().count() - 1;
    place.done(&format!(
        "train --config small.toml --out whole --set train.epochs={epochs}"
    ));
    assert!(
        weights("whole") == weights("SIGTERM"),
        "a stop and a resume are the run without them"
    );
}

#[test]
fn a_signal_that_follows_another_does_not_cut_the_save_off() {
    let place = place("epochs = 100000");
    let child = started(&place, &["train", "--config", "small.toml", "--out", "run"]);
    while !place.path("run/history.csv").exists() {
        sleep(Duration::from_millis(5));
    }
    // Both arrive at once: the lower number first.
    for signal in [
        Signal::SIGSTOP,
        Signal::SIGUSR1,
        Signal::SIGTERM,
        Signal::SIGCONT,
    ] {
        send(&child, signal);
    }
    let output = child.wait_with_output().expect("ended");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(138), "{text}");
    assert!(text.contains("Stopped by SIGUSR1; saved."), "{text}");
}

#[test]
fn a_signal_before_the_training_ends_it_at_once_with_nothing_half_written() {
    let place = Place::new();
    place.classes("train", &[300, 300]);
    place.recipe("cache = 'disk'", "epochs = 50");
    let mut codes = std::collections::BTreeSet::new();
    for millis in [4, 8, 15, 25, 40, 60, 90] {
        let child = started(&place, &["train", "--config", "small.toml", "--out", "run"]);
        sleep(Duration::from_millis(millis));
        send(&child, Signal::SIGTERM);
        let output = child.wait_with_output().expect("ended");
        // Before the program watches for signals, the system ends it.
        codes.insert(output.status.code().unwrap_or(143));
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
        assert_eq!(
            partial_files(&place.path("cache")),
            Vec::<std::path::PathBuf>::new(),
            "{millis}"
        );
        if place.path("run/last").is_dir() {
            place.done("train --resume run --set train.epochs=1");
            std::fs::remove_dir_all(place.path("run")).expect("removed");
        }
    }
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), [143]);
}

#[test]
fn a_start_that_is_killed_at_any_moment_leaves_a_run_or_room_for_one() {
    let place = place("epochs = 1");
    place.done("train --config small.toml --out whole");
    for round in 0..24 {
        let mut child = started(&place, &["train", "--config", "small.toml", "--out", "run"]);
        while !place.path("run").exists() && child.try_wait().expect("asked").is_none() {
            std::hint::spin_loop();
        }
        sleep(Duration::from_micros(700 * round));
        child.kill().expect("killed");
        child.wait().expect("ended");
        if place.run("train --resume run").code != Some(0) {
            place.done("train --config small.toml --out run");
        }
        assert!(
            place.bytes("run/last/model.safetensors")
                == place.bytes("whole/last/model.safetensors"),
            "round {round}"
        );
        assert_eq!(
            partial_files(&place.path("run")),
            Vec::<std::path::PathBuf>::new(),
            "round {round}"
        );
        std::fs::remove_dir_all(place.path("run")).expect("removed");
    }
}

#[test]
fn working_files_of_a_killed_process_go_with_the_next_run() {
    let place = Place::new();
    place.classes("train", &[12, 12]);
    place.recipe("cache = 'disk'", "epochs = 1");
    place.done("train --config small.toml --out run");
    let pixels = place.path("cache/emberlens/pixels");
    let working = |process: u32| {
        // As the program names them: its machine, its process.
        let host =
            emberlens::base::io::files::sha256_hex(emberlens::base::process::host().as_bytes());
        format!(".partial-{}-{process}-abcdef", &host[..8])
    };
    let (dead, alive) = (working(u32::MAX >> 2), working(std::process::id()));
    for folder in [&pixels, &place.path("run")] {
        for name in [&dead, &alive] {
            std::fs::write(folder.join(name), b"half").expect("written");
        }
    }
    std::fs::create_dir(place.path("run/.best.old")).expect("created");
    place.images("train/a", 2, 13);
    place.done("train --config small.toml --out other");
    assert!(!pixels.join(&dead).exists() && pixels.join(&alive).exists());
    place.images("train/a", 0, 12);
    std::fs::remove_file(place.path("train/a/012.png")).expect("removed");
    place.done("train --resume run --set train.epochs=2");
    assert!(!place.path("run").join(&dead).exists() && !place.path("run/.best.old").exists());
}
