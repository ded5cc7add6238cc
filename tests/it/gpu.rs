//! The wgpu path, on a GPU or a software driver. `.ci/run` installs a software driver.

use crate::support::Place;

#[test]
#[ignore = "needs a GPU or a software Vulkan driver"]
fn a_gpu_that_passes_its_self_test_trains_as_the_cpu_does() {
    let place = Place::new();
    let devices = place.done("devices --json").json();
    assert!(
        devices["devices"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|device| device["name"] == "gpu:0" && device["usable"] == true),
        "no usable GPU: {devices}"
    );
    place.classes("train", &[6, 6]);
    place.recipe("", "epochs = 2\nclip_norm = 1.0");
    place.replace("small.toml", "dropout = 0.2", "dropout = 0");
    place.replace(
        "small.toml",
        "hidden = 16",
        "hidden = 16\nbatch_norm = true",
    );
    let losses = |device: &str, out: &str, more: &str| {
        place.done(&format!(
            "train --config small.toml --out {out} --device {device} {more}"
        ));
        let history = place.read(&format!("{out}/history.csv"));
        let loss = |line: &str| {
            line.split(',')
                .nth(5)
                .and_then(|loss| loss.parse::<f64>().ok())
                .expect("val_loss")
        };
        history.lines().skip(1).map(loss).collect::<Vec<_>>()
    };
    let are_close = |cpu: &[f64], gpu: &[f64]| {
        cpu.iter().zip(gpu).all(|(a, b)| (a - b).abs() < 1e-3) && [cpu.len(), gpu.len()] == [2, 2]
    };
    let (cpu, gpu) = (losses("cpu", "cpu", ""), losses("gpu:0", "gpu", ""));
    assert!(are_close(&cpu, &gpu), "{cpu:?} {gpu:?}");
    // A frozen backbone, its features computed on the device and kept.
    let frozen = "--set model.weights=cpu/best/model.safetensors --set model.freeze=blocks:1 \
                  --set train.feature_cache=1";
    let (cpu, gpu) = (
        losses("cpu", "frozen_cpu", frozen),
        losses("gpu:0", "frozen_gpu", frozen),
    );
    assert!(are_close(&cpu, &gpu), "{cpu:?} {gpu:?}");
    place.done("train --resume gpu --set train.epochs=3 --device gpu");
    place.done("predict --checkpoint gpu train/a --device gpu:0");
}
