//! The paths of the server.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Query, Request, State},
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};

use super::{
    app::App,
    guard::guard,
    kserve,
    network::{Answer, Task},
    reply::{Fault, json, typed},
    upload::Upload,
};
use crate::{
    base::{names::of_text, words::listed},
    evaluation::classified::Classified,
};

/// The paths in OpenAPI's format.
const OPENAPI: &str = include_str!("openapi.json");

/// Returns all paths.
pub(super) fn router(app: &Arc<App>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/predict", post(predict))
        .route("/explain", post(explain))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi))
        .merge(kserve::routes())
        .fallback(nowhere)
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn_with_state(Arc::clone(app), guard))
        .with_state(Arc::clone(app))
}

async fn page(State(app): State<Arc<App>>) -> Response {
    let policy = [(header::CONTENT_SECURITY_POLICY, app.page.policy.clone())];
    (
        policy,
        typed("text/html; charset=utf-8", app.page.html.clone()),
    )
        .into_response()
}

/// What `/predict` answers.
#[derive(Serialize)]
struct Predictions {
    predictions: Vec<Prediction>,
}

#[derive(Serialize)]
struct Prediction {
    /// The file's name in the form.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(flatten)]
    found: Classified,
    /// What is wrong with the file although it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PredictQuery {
    #[serde(default)]
    abstain: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainQuery {
    class: Option<String>,
}

/// Returns the part of an address after the question mark.
fn query<T: serde::de::DeserializeOwned>(request: &Request) -> Result<T, Fault> {
    let query = Query::try_from_uri(request.uri());
    query
        .map(|Query(query)| query)
        .map_err(|error| Fault::malformed(error.body_text()))
}

async fn predict(State(app): State<Arc<App>>, request: Request) -> Result<Response, Fault> {
    let PredictQuery { abstain } = query(&request)?;
    if abstain && !app.rules.can_abstain() {
        return Err(Fault::malformed(
            "abstain needs fitted prediction sets or novelty; first: emberlens calibrate RUN \
             --coverage 0.9 --novelty 0.05",
        ));
    }
    let mut images = app.read(app.bodies.images(request).await?).await?;
    let about: Vec<_> = images
        .iter_mut()
        .map(|image| (image.name.take(), image.damage.take()))
        .collect();
    let classes = app.classify(images).await?;
    let prediction = |((name, damage), mut found): (_, Classified)| {
        if abstain {
            found.abstain();
        }
        Prediction {
            name,
            found,
            damage,
        }
    };
    let predictions = about.into_iter().zip(classes).map(prediction).collect();
    Ok(json(&Predictions { predictions }))
}

async fn explain(State(app): State<Arc<App>>, request: Request) -> Result<Response, Fault> {
    let ExplainQuery { class } = query(&request)?;
    let class = class.map(|name| class_index(&app, &name)).transpose()?;
    let uploads = app.bodies.images(request).await?;
    let [upload] = <[Upload; 1]>::try_from(uploads).map_err(|uploads| {
        let count = uploads.len();
        Fault::malformed(format!("found {count} images, expected one to explain"))
    })?;
    let image = app.read(vec![upload]).await?.swap_remove(0);
    match app.send(image, Task::Explain(class))?.await {
        Ok(Ok(Answer::Shown(shown))) => Ok(json(&shown)),
        other => Err(Fault::of_network(other)),
    }
}

fn class_index(app: &App, name: &str) -> Result<usize, Fault> {
    let classes = &app.rules.classes;
    let found = classes.iter().position(|class| class == name);
    found.ok_or_else(|| {
        Fault::malformed(format!(
            "found the unknown class {}, expected one of {}",
            of_text(name),
            listed(classes)
        ))
    })
}

#[derive(Serialize)]
struct Health {
    live: bool,
    ready: bool,
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let ready = !app.is_stopping();
    let mut response = json(&Health { live: true, ready });
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.text(app.under_way());
    typed("text/plain; version=0.0.4; charset=utf-8", text)
}

async fn openapi() -> Response {
    let text = OPENAPI.replace("VERSION", env!("CARGO_PKG_VERSION"));
    typed("application/json", text)
}

async fn nowhere() -> Fault {
    Fault::new(
        StatusCode::NOT_FOUND,
        "there is nothing at this path; /openapi.json lists what there is",
    )
}

async fn other_method() -> Fault {
    Fault::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "the path doesn't take this method; /openapi.json lists what there is",
    )
}
