//! What a client gets: JSON, or an error as a status and `{"error": "..."}`.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::network::Answer;
use crate::data::pixels::decode::is_known_format;

/// Seconds after which a client that was refused may try again.
const RETRY_SECS: &str = "1";

/// Returns a value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => typed("application/json", text),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Returns a text of a kind.
pub(super) fn typed(kind: &'static str, text: String) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// Why a request isn't answered.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
}

impl Fault {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// A request that isn't what its path takes.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// A request beyond a limit, which it never fits into.
    pub(super) fn too_large(message: String) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// A request for which there is no room now.
    pub(super) fn busy() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many images are under way; try again in a second",
        )
    }

    /// A request that came too late.
    pub(super) fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping")
    }

    /// A failure that isn't the client's.
    pub(super) fn broken(message: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// An image that can't be read, in the words of `predict`.
    pub(super) fn of_image(reason: String, bytes: &[u8]) -> Self {
        let status = if is_known_format(bytes) {
            StatusCode::UNPROCESSABLE_ENTITY
        } else {
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        };
        Self::new(status, reason)
    }

    /// An answer that isn't the one that was asked for.
    pub(super) fn of_network<E>(answer: Result<Result<Answer, String>, E>) -> Self {
        match answer {
            Ok(Err(reason)) => Self::broken(&reason),
            _ => Self::stopping(),
        }
    }

    /// Adds which of several images it is about.
    pub(super) fn in_image(mut self, index: usize, count: usize) -> Self {
        if count > 1 {
            self.message = format!("image {} of {count}: {}", index + 1, self.message);
        }
        self
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = json(&Body {
            error: &self.message,
        });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SECS));
            }
            // What is left of the body can't be told from the next request.
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
