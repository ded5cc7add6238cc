//! KServe's open inference protocol, version 2: the calls that it makes obligatory.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use serde::Serialize;

use super::{
    app::App,
    reply::{Fault, json},
    tensors::{self, Images, Inference, Tensor},
};
use crate::data::store::resized;

/// Returns the paths of the protocol.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{model}", get(model))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/infer", post(infer))
}

#[derive(Serialize)]
struct Server {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 0],
}

#[derive(Serialize)]
struct Live {
    live: bool,
}

#[derive(Serialize)]
struct Ready<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    ready: bool,
}

#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    versions: [&'static str; 0],
    platform: &'static str,
    inputs: [Described; 2],
    outputs: [Described; 2],
}

/// A tensor without its values; -1 stands for any length.
#[derive(Serialize)]
struct Described {
    name: &'static str,
    datatype: &'static str,
    shape: Vec<i64>,
}

async fn server() -> Response {
    json(&Server {
        name: "emberlens",
        version: env!("CARGO_PKG_VERSION"),
        extensions: [],
    })
}

async fn live() -> Response {
    json(&Live { live: true })
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    readiness(&app, None)
}

async fn model_ready(
    State(app): State<Arc<App>>,
    Path(model): Path<String>,
) -> Result<Response, Fault> {
    check(&app, &model)?;
    Ok(readiness(&app, Some(&app.name)))
}

fn readiness(app: &App, name: Option<&str>) -> Response {
    let ready = !app.is_stopping();
    let mut response = json(&Ready { name, ready });
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

async fn model(State(app): State<Arc<App>>, Path(model): Path<String>) -> Result<Response, Fault> {
    check(&app, &model)?;
    let described = |name, datatype, shape: &[i64]| Described {
        name,
        datatype,
        shape: shape.to_vec(),
    };
    let classes = app.rules.classes.len() as i64;
    Ok(json(&Model {
        name: &app.name,
        versions: [],
        platform: "emberlens",
        inputs: [
            described(tensors::IMAGE, "UINT8", &[-1, -1, -1, 3]),
            described(tensors::FILE, "BYTES", &[-1]),
        ],
        outputs: [
            described(tensors::PROBABILITIES, "FP32", &[-1, classes]),
            described(tensors::LABEL, "BYTES", &[-1]),
        ],
    }))
}

fn check(app: &App, model: &str) -> Result<(), Fault> {
    if model == app.name {
        return Ok(());
    }
    Err(Fault::new(
        StatusCode::NOT_FOUND,
        format!(
            "there is no model of this name; the server has {}",
            app.name
        ),
    ))
}

async fn infer(
    State(app): State<Arc<App>>,
    Path(model): Path<String>,
    request: Request,
) -> Result<Response, Fault> {
    check(&app, &model)?;
    let whole = app.bodies.whole(request).await?;
    let request = tensors::parse(&whole.bytes)?;
    let images = match request.images {
        Images::Files(files) => {
            let upload = |file: Vec<u8>| whole.upload(None, file.into());
            app.read(files.into_iter().map(upload).collect()).await?
        }
        Images::Levels(levels) => {
            let (format, room) = (app.format, app.room(levels.count())?);
            let resize = move || {
                // The body counts as long as what was read from it is there.
                let _held = whole;
                let images = levels.images(format.color);
                images.map(|pixels| resized(&pixels, format)).collect()
            };
            let resized = tokio::task::spawn_blocking(resize).await;
            App::ready(room, resized.map_err(|_| Fault::broken("resizing failed"))?)
        }
    };
    let count = images.len();
    let found = app.classify(images).await?;
    let rows = found.iter().flat_map(|found| &found.probabilities.row);
    let probabilities = rows.copied().collect();
    let labels = found.into_iter().map(|found| found.label).collect();
    let outputs = [
        Tensor::of_probabilities(vec![count, app.rules.classes.len()], probabilities),
        Tensor::of_labels(labels),
    ];
    let is_wanted = |tensor: &Tensor| {
        let names = request.outputs.as_ref();
        names.is_none_or(|names| names.contains(&tensor.name))
    };
    let outputs = outputs.into_iter().filter(is_wanted).collect();
    Ok(json(&Inference {
        model_name: &app.name,
        id: request.id,
        outputs,
    }))
}
