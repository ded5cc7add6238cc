//! Reads the body of a request within its limits, and the images in it.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRequest, Multipart, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::reply::Fault;

/// A refused body is read to its end up to this many times the limit, so that a client that doesn't
/// read while it sends gets the answer.
const DRAINED: u64 = 4;

/// Bodies of full size that are held at a time.
const FULL_BODIES: usize = 16;

/// Unit of the count of bytes, because a semaphore counts to 2^32.
const UNIT: usize = 1024;

/// What the bodies of requests may take.
#[derive(Debug)]
pub(super) struct Bodies {
    /// Bytes of one.
    limit: usize,
    /// Time for one.
    time: Duration,
    /// What is left for all of them, in [`UNIT`].
    room: Arc<Semaphore>,
}

/// A file that a client sent.
#[derive(Debug)]
pub(super) struct Upload {
    /// Name that the client gave it.
    pub(super) name: Option<String>,
    /// The content.
    pub(super) bytes: Bytes,
    /// The share of the memory for bodies that the whole request takes.
    _held: Arc<OwnedSemaphorePermit>,
}

/// A body in memory, and its share of what bodies may take.
pub(super) struct Whole {
    parts: Parts,
    pub(super) bytes: Bytes,
    held: Arc<OwnedSemaphorePermit>,
}

impl Whole {
    /// Returns a file that the body contained.
    pub(super) fn upload(&self, name: Option<String>, bytes: Bytes) -> Upload {
        Upload {
            name,
            bytes,
            _held: Arc::clone(&self.held),
        }
    }
}

impl Bodies {
    /// Returns the bounds of bodies of `limit` bytes that arrive within `time`.
    pub(super) fn new(limit: usize, time: Duration) -> Self {
        Self {
            limit,
            time,
            room: Arc::new(Semaphore::new(FULL_BODIES * limit.div_ceil(UNIT))),
        }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// Returns a fault for one that is too large, too slow or cut off, and if there is no memory
    /// for it now.
    pub(super) async fn whole(&self, request: Request) -> Result<Whole, Fault> {
        let (parts, mut body) = request.into_parts();
        let limit = self.limit as u64;
        let deadline = Instant::now() + self.time;
        // A body without a length may be as long as any.
        let length = body.size_hint().exact();
        if length.is_some_and(|length| length > limit) {
            drain(&parts.headers, body, limit, deadline).await;
            return Err(too_large(limit));
        }
        let units = length.unwrap_or(limit).div_ceil(UNIT as u64);
        let units = u32::try_from(units).map_err(|_| too_large(limit))?;
        let Ok(held) = Arc::clone(&self.room).try_acquire_many_owned(units) else {
            drain(&parts.headers, body, limit, deadline).await;
            return Err(Fault::busy());
        };
        let mut bytes = Vec::new();
        while let Some(frame) = timeout_at(deadline, body.frame())
            .await
            .map_err(|_| self.slow())?
        {
            let cut = |_| Fault::malformed("the body of the request is cut off");
            let data = frame.map_err(cut)?.into_data().unwrap_or_default();
            if bytes.len() + data.len() > self.limit {
                drain(&parts.headers, body, limit, deadline).await;
                return Err(too_large(limit));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Whole {
            parts,
            bytes: bytes.into(),
            held: Arc::new(held),
        })
    }

    /// Reads the images of a request: the files of a form, or the body itself.
    ///
    /// # Errors
    /// Returns a fault as [`Self::whole`] does, and for a form that can't be read or has no file.
    pub(super) async fn images(&self, request: Request) -> Result<Vec<Upload>, Fault> {
        let whole = self.whole(request).await?;
        let content_type = whole.parts.headers.get(header::CONTENT_TYPE);
        let is_form = content_type.is_some_and(|value| {
            let start = value.as_bytes().split(|byte| *byte == b';').next();
            start.is_some_and(|kind| {
                kind.trim_ascii()
                    .eq_ignore_ascii_case(b"multipart/form-data")
            })
        });
        if is_form {
            return form(&whole).await;
        }
        if whole.bytes.is_empty() {
            return Err(Fault::malformed(
                "the request has no body; send the bytes of an image, or a form with files",
            ));
        }
        Ok(vec![whole.upload(None, whole.bytes.clone())])
    }

    fn slow(&self) -> Fault {
        let seconds = self.time.as_secs_f64();
        Fault::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body of the request didn't arrive within {seconds} seconds"),
        )
    }
}

/// Reads and drops what is left of a body, unless the client waits for a sign to send it.
async fn drain(headers: &HeaderMap, mut body: Body, limit: u64, deadline: Instant) {
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let mut left = DRAINED.saturating_mul(limit);
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        if length >= left {
            return;
        }
        left -= length;
    }
}

fn too_large(limit: u64) -> Fault {
    Fault::too_large(format!(
        "the body of the request has more than {limit} bytes, the limit of this server"
    ))
}

async fn form(whole: &Whole) -> Result<Vec<Upload>, Fault> {
    let mut request = Request::new(Body::from(whole.bytes.clone()));
    *request.headers_mut() = whole.parts.headers.clone();
    // `axum` would refuse more than 2 MB; the body has been measured.
    DefaultBodyLimit::disable().apply(&mut request);
    let malformed = |error: &dyn std::fmt::Display| {
        Fault::malformed(format!("the form can't be read: {error}"))
    };
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| malformed(&error.body_text()))?;
    let mut uploads = Vec::new();
    while let Some(field) = form
        .next_field()
        .await
        .map_err(|error| malformed(&error.body_text()))?
    {
        let name = field.file_name().map(str::to_owned);
        let bytes = field
            .bytes()
            .await
            .map_err(|error| malformed(&error.body_text()))?;
        uploads.push(whole.upload(name, bytes));
    }
    if uploads.is_empty() {
        return Err(Fault::malformed("the form has no file"));
    }
    Ok(uploads)
}
