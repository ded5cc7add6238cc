//! A network as one HTML file that classifies images in a browser, without any network: the engine
//! (`crates/page-engine`) as WebAssembly, the model for it, and what a person should know.

mod model;
mod network;
#[cfg(test)]
mod tests;

use std::io::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use safetensors::SafeTensors;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::onnx::ExportError;
use crate::{
    architecture::{Kind, Layer},
    base::{io::files::sha256_hex, markup::rich, names::of_text},
    checkpoint::{Checkpoint, Meta},
    nn::{
        networks::classifier::Classifier,
        weights::{Part, to_bytes},
    },
};

/// The engine, built by `scripts/page-engine`.
const ENGINE: &[u8] = include_bytes!("engine.wasm");

/// The style of reports.
const STYLE: &str = include_str!("../../report/style.css");

const SCRIPT: &str = include_str!("page.js");
const WORKER: &str = include_str!("worker.js");
const OWN_STYLE: &str = include_str!("page.css");

/// Returns the page of checkpoints, one or more, whose networks with their weights are `models`;
/// several predict by the mean of their probabilities. With `half`, kernels and matrices are stored
/// in 16 bits a value. `caveats` are sentences on how far to trust them.
///
/// # Errors
/// Returns an error if the network has attention, which the engine doesn't compute, or if the
/// weights can't be read from their device.
pub fn page(
    checkpoints: &[Checkpoint],
    models: &[Classifier],
    half: bool,
    caveats: &[String],
) -> Result<String, ExportError> {
    let model = |(checkpoint, model): (&Checkpoint, &Classifier)| {
        let bytes = model_of(&checkpoint.meta, model, half)?;
        Ok(BASE64_STANDARD.encode(bytes))
    };
    let models = checkpoints.iter().zip(models).map(model);
    let models: Vec<String> = models.collect::<Result<_, ExportError>>()?;
    let meta = &checkpoints[0].meta;
    let title = of_text(&meta.name);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(OWN_STYLE)) }
            }
            body {
                main { (content(checkpoints, caveats)) }
                script type="application/json" id="about" { (PreEscaped(about(meta))) }
                script type="text/plain" id="worker" { (PreEscaped(WORKER)) }
                script type="text/plain" id="engine" {
                    (BASE64_STANDARD.encode(compressed(ENGINE)))
                }
                @for model in &models { script.model type="text/plain" { (model) } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    Ok(page.into_string())
}

/// Returns the model of the engine as bytes.
pub(crate) fn model_of(
    meta: &Meta,
    model: &Classifier,
    half: bool,
) -> Result<Vec<u8>, ExportError> {
    let design = &meta.design;
    let network = design.model.network(design.input[0]);
    let is_tokens = |layer: &Layer| matches!(layer.kind, Kind::Tokens { .. });
    if network.groups.iter().flatten().any(is_tokens) {
        return Err(ExportError::Attention(design.model.architecture.name()));
    }
    let bytes = to_bytes(model, Part::ALL)?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    Ok(model::model(meta, &tensors, half).to_bytes())
}

/// Returns bytes as gzip.
fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("memory takes any number of bytes")
}

/// Returns the content security policy: nothing may be loaded, and no script may run but the page's
/// own and the worker that it makes.
fn policy() -> String {
    let digest = BASE64_STANDARD.encode(Sha256::digest(SCRIPT));
    format!(
        "default-src 'none'; script-src 'sha256-{digest}' 'wasm-unsafe-eval'; worker-src blob:; \
         style-src 'unsafe-inline'; img-src blob:; media-src blob: mediastream:"
    )
}

/// Returns what the script has to know, as JSON that is safe inside a script element.
fn about(meta: &Meta) -> String {
    let threshold = meta.threshold.as_ref().and_then(|fitted| {
        let index = meta
            .classes
            .iter()
            .position(|class| *class == fitted.class)?;
        Some(json!({ "index": index, "probability": fitted.probability }))
    });
    let coverage = meta.coverage.as_ref();
    let classes: Vec<String> = meta.classes.iter().map(|class| of_text(class)).collect();
    let about = json!({
        "name": of_text(&meta.name),
        "classes": classes,
        "threshold": threshold,
        "coverage": coverage.map(|fitted| json!({ "probability": fitted.probability })),
    });
    about.to_string().replace('<', "\\u003c")
}

fn content(checkpoints: &[Checkpoint], caveats: &[String]) -> Markup {
    let meta = &checkpoints[0].meta;
    html! {
        header {
            h1 { (of_text(&meta.name)) }
            p { "Tells " (meta.classes.len()) " classes of images apart, on this device." }
        }
        section id="drop" {
            input type="file" id="files" multiple accept="image/*,.tif,.tiff";
            label.action.first for="files" { "Choose images" }
            input type="file" id="folder" webkitdirectory;
            label.action for="folder" { "Choose a folder" }
            button.action type="button" id="open-camera" { "Camera" }
            p { "or drop images here" }
            p id="state" role="status" { "Starting" }
        }
        section id="results" hidden {
            div.bench {
                span id="summary" role="status" {}
                span {
                    button.action type="button" id="save" { "Save as CSV" }
                    button.action type="button" id="clear" { "Clear" }
                }
            }
            p.soft {
                "Press a class to see the evidence for it (Grad-CAM), brighter for more: where the \
                 network looks, not why."
            }
            div id="cards" {}
        }
        section {
            h2 { "How far to trust it" }
            @for line in caveats { p.lead { (rich(line)) } }
            @if caveats.is_empty() {
                p.lead { "How well it does isn't known: " code { "emberlens evaluate" } " tells." }
            }
            p.lead {
                "It always answers with one of its classes, also for images that show none of them."
            }
        }
        section {
            h2 { "What was trained" }
            dl {
                @for (name, value) in facts(checkpoints) {
                    dt { (name) } dd { (of_text(&value)) }
                }
            }
        }
        dialog id="camera" {
            video id="video" autoplay playsinline muted {}
            button.action.first type="button" id="shoot" { "Take an image" }
            form method="dialog" style="display: inline" { button.action { "Close" } }
        }
    }
}

/// Returns the facts about the networks, each with its name.
fn facts(checkpoints: &[Checkpoint]) -> Vec<(&'static str, String)> {
    let meta = &checkpoints[0].meta;
    let each = |of: &dyn Fn(&Checkpoint) -> String| {
        let all: Vec<String> = checkpoints.iter().map(of).collect();
        all.join(", ")
    };
    let (mean, fitted_on) = match checkpoints.len() {
        1 => (String::new(), "validation images"),
        count => (
            format!(", the mean of the probabilities of {count}"),
            "out-of-fold predictions",
        ),
    };
    let [channels, height, width] = meta.design.input;
    let color = if channels == 1 { "gray" } else { "color" };
    let fitted = meta.threshold.as_ref().map(|fitted| {
        let (class, share) = (&fitted.class, 100.0 * fitted.sensitivity);
        let probability = fitted.probability;
        let words = format!("{class} from a probability of {probability:.4} on, to find {share} %");
        ("Threshold", words)
    });
    let sets = meta.coverage.as_ref().map(|fitted| {
        let (share, probability) = (100.0 * fitted.coverage, fitted.probability);
        let words = format!(
            "the classes with a probability of at least {probability:.4}, to hold the right one in \
             {share} % of images like those that were held back; without exactly one, \"refer\""
        );
        ("Sets", words)
    });
    let temperature = format!("{:.4}, fitted on {fitted_on}", meta.temperature);
    let warm = (meta.temperature != 1.0).then_some(("Temperature", temperature));
    [
        ("Classes", meta.classes.join(", ")),
        (
            "Network",
            format!("{}{mean}", meta.design.model.architecture.name()),
        ),
        (
            "Images",
            format!("resized to {height} x {width} pixels (height x width), {color}"),
        ),
        (
            "Kept",
            format!("the end of epoch {}", each(&|it| it.meta.epoch.to_string())),
        ),
    ]
    .into_iter()
    .chain(warm)
    .chain(fitted)
    .chain(sets)
    .chain([
        (
            "Weights",
            format!("SHA-256 {}", each(&|it| sha256_hex(&it.model))),
        ),
        (
            "Program",
            format!("emberlens {}", env!("CARGO_PKG_VERSION")),
        ),
    ])
    .collect()
}
