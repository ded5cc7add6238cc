//! Milliseconds of a backbone's forward pass as frozen features are computed.

use std::time::Instant;

use serde::Serialize;

use super::step::synthetic;
use crate::{
    architecture::Architecture,
    base::{stats::median, usage::UsageError},
    commands::ui::{self, say},
    config::{DeviceName, Model, Pooling, Weights},
    nn::{
        batch::upload,
        infer::read,
        networks::{
            build,
            classifier::{Design, Output},
        },
    },
};

/// What is measured.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) networks: Vec<Architecture>,
    pub(super) device: DeviceName,
    pub(super) batch_size: usize,
    /// Height and width of the images.
    pub(super) image_size: usize,
    /// Number of batches after the first.
    pub(super) rounds: u16,
}

/// Result of `bench forward`, as `--json` prints it.
#[derive(Serialize)]
pub(super) struct ForwardResult {
    batch_size: usize,
    image_size: usize,
    device: String,
    networks: Vec<Network>,
}

/// The figures of a network.
#[derive(Serialize)]
struct Network {
    architecture: &'static str,
    /// Median of the rounds, for a batch.
    milliseconds: f64,
    fastest_milliseconds: f64,
}

impl ForwardResult {
    /// Returns the rows of the table.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let row = |network: &Network| {
            let Network {
                milliseconds,
                fastest_milliseconds,
                ..
            } = network;
            (
                network.architecture.to_owned(),
                format!("{milliseconds:.1} ms (fastest {fastest_milliseconds:.1})"),
            )
        };
        self.networks.iter().map(row).collect()
    }
}

/// Measures the networks one after the other, with random weights.
///
/// # Errors
/// Returns an error if the device can't be used, or if images of this size don't fit a network.
pub(super) fn measure(settings: &Settings) -> anyhow::Result<ForwardResult> {
    let device = ui::open_device(settings.device)?;
    let size = settings.image_size;
    let mut networks = Vec::new();
    for architecture in &settings.networks {
        let design = Design {
            model: Model {
                architecture: *architecture,
                weights: Some(Weights::None),
                pooling: Pooling::Average,
                ..Model::default()
            },
            input: [3, size, size],
            num_classes: 2,
            output: Output::Softmax,
        };
        if let Err(error) = design.model.features([size; 2]) {
            let (name, expected) = (architecture.name(), error.expected());
            let words = format!("--image-size {size}, {name}: {error}; expected {expected}");
            return Err(UsageError(words).into());
        }
        let model = build(&design, 0, &device.device);
        let frozen = model.frozen(0..model.num_groups());
        let batch = synthetic(settings.batch_size, design.input);
        let mut milliseconds = Vec::new();
        for _ in 0..=settings.rounds {
            let images = upload(batch.clone(), design.input, &device.device).images;
            let start = Instant::now();
            read(frozen.forward(images))?;
            milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        }
        // The first is a warm-up.
        let milliseconds = &milliseconds[1..];
        networks.push(Network {
            architecture: architecture.name(),
            milliseconds: median(milliseconds),
            fastest_milliseconds: milliseconds.iter().copied().fold(f64::INFINITY, f64::min),
        });
        say(&format!("{} done", architecture.name()));
    }
    Ok(ForwardResult {
        batch_size: settings.batch_size,
        image_size: size,
        device: device.name,
        networks,
    })
}
