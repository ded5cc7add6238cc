//! A whole run with our CPU kernels beside the same run with the framework's operations.

use crate::support::Place;

/// The training loss of each epoch, by the name of its column.
fn losses(history: &str) -> Vec<f64> {
    let mut reader = csv::Reader::from_reader(history.as_bytes());
    let column = reader
        .headers()
        .expect("a head")
        .iter()
        .position(|name| name == "loss")
        .expect("a loss");
    reader
        .records()
        .map(|record| record.expect("a line")[column].parse().expect("a number"))
        .collect()
}

#[test]
fn the_curve_of_a_run_is_that_of_the_frameworks_operations() {
    for (batch_norm, device) in [("false", "cpu"), ("true", "cpu"), ("false", "ndarray")] {
        let place = Place::new();
        place.classes("train", &[17, 13]);
        place.recipe("", "epochs = 4");
        let norm = format!("model.batch_norm={batch_norm}");
        let run = |out: &str, kernels: &str| {
            let line = format!("train --config small.toml --out {out} --device {device}");
            let output = place
                .command(&format!("{line} --set {norm}"))
                .env("EMBERLENS_KERNELS", kernels)
                .output()
                .expect("started");
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            losses(&place.read(&format!("{out}/history.csv")))
        };
        let (ours, theirs) = (run("ours", "on"), run("theirs", "off"));
        assert_eq!(ours.len(), 4);
        assert!(ours[0] > ours[3], "it learns: {ours:?}");
        assert_ne!(
            place.bytes("ours/last/model.safetensors"),
            place.bytes("theirs/last/model.safetensors"),
            "the switch does something"
        );
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!(
                (ours - theirs).abs() < 2e-3 * theirs,
                "batch norm {batch_norm} on {device}: {ours} beside {theirs}"
            );
        }
    }
}
