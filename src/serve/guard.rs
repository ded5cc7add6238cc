//! What holds for each request: who may ask, and what is counted and said of every answer.

use std::{net::IpAddr, sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{app::App, reply::Fault};

/// Refuses a request that was meant for another server or comes from the page of another one, and
/// counts the others.
pub(super) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("other", MatchedPath::as_str)
        .to_owned();
    let refused = refusal(&app, &request);
    let mut response = match refused {
        Some(fault) => fault.into_response(),
        None => next.run(request).await,
    };
    app.metrics
        .answered(&path, response.status().as_u16(), start.elapsed());
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(app: &App, request: &Request) -> Option<Fault> {
    let Some(host) = authority(request.headers(), &header::HOST) else {
        return Some(Fault::malformed("the request needs one header Host"));
    };
    let named = request.uri().authority().unwrap_or(&host);
    if ![&host, named].iter().all(|host| is_ours(app, host.host())) {
        return Some(Fault::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this server isn't known by the name in Host; --allow-host NAME adds one",
        ));
    }
    // A browser names the page that asks. Without this, any page could keep the network busy.
    let is_foreign = request.headers().contains_key(header::ORIGIN)
        && authority(request.headers(), &header::ORIGIN).as_ref() != Some(&host);
    if is_foreign {
        return Some(Fault::new(
            StatusCode::FORBIDDEN,
            "pages of other servers get no answer",
        ));
    }
    (app.is_stopping() && request.method() == Method::POST).then(Fault::stopping)
}

/// Returns host and port in a header that is there once.
fn authority(headers: &HeaderMap, name: &header::HeaderName) -> Option<Authority> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    let without_scheme = value.split_once("://").map_or(value, |(_, rest)| rest);
    let authority = without_scheme.parse().ok();
    authority.filter(|_| values.next().is_none())
}

/// Whether a host can't be a name that somebody else's server of names leads here: an address, the
/// machine itself, or a name that was allowed.
fn is_ours(app: &App, host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_allowed = |name: &String| name.eq_ignore_ascii_case(host);
    address.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || app.hosts.iter().any(is_allowed)
}
