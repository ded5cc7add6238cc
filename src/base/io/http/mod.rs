//! Parts of files on HTTP servers. A server that fails for a moment or cuts its answer off is asked
//! again; one that answers with anything but the part that was asked for is refused.

mod s3;

use std::{
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    thread,
    time::Duration,
};

use ureq::{
    Agent,
    http::{Response, StatusCode, header},
    tls::{RootCerts, TlsConfig},
};

use self::s3::Target;

/// Maximum time to connect, and to wait for an answer or for more of it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Number of attempts without a new byte after which reading fails.
const TRIES: u32 = 5;

/// Pause after the first failed attempt; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// Number of open connections that are kept for the next request.
const CONNECTIONS: usize = 64;

/// How servers are asked: without a proxy on this machine, else with the certificates of the system
/// or, where it has none, Mozilla's.
static AGENTS: LazyLock<[Agent; 3]> = LazyLock::new(|| {
    let config = |roots| {
        Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .timeout_connect(Some(TIMEOUT))
            .timeout_recv_response(Some(TIMEOUT))
            .timeout_per_read(Some(TIMEOUT))
            .max_idle_connections(CONNECTIONS)
            .max_idle_connections_per_host(CONNECTIONS)
            .http_status_as_error(false)
    };
    [
        config(RootCerts::WebPki).proxy(None).build().into(),
        config(RootCerts::PlatformVerifier).build().into(),
        config(RootCerts::WebPki).build().into(),
    ]
});

/// Number of requests that were repeated, and why the first of them was.
static REPEATED: Mutex<(usize, String)> = Mutex::new((0, String::new()));

/// A file on a server, as it was when it was found.
#[derive(Debug)]
pub struct Remote {
    /// The address that it was asked for by.
    address: String,
    target: Target,
    agent: Agent,
    length: u64,
    tag: Option<String>,
}

/// A failed request.
enum Failure {
    /// Another attempt may help.
    Passing(String),
    /// Another attempt would fail in the same way.
    Lasting(io::ErrorKind, String),
}

impl Remote {
    /// Finds the file at an address by asking for its first byte.
    ///
    /// # Errors
    /// Returns an error if it isn't there, if it is empty, or if the server doesn't serve parts.
    pub fn find(address: &str) -> io::Result<Self> {
        let target = Target::of(address)?;
        let [local, system, mozilla] = &*AGENTS;
        let agent = if is_loopback(&target.url) {
            local
        } else {
            system
        };
        let first = |agent: &Agent| {
            repeated(address, || {
                let response = ask(&target, agent, 0..1)?;
                let length = range_of(&response).map(|(.., length)| length);
                length
                    .map(|length| (length, tag_of(&response)))
                    .ok_or_else(|| {
                        Failure::Lasting(
                            io::ErrorKind::InvalidData,
                            "the server doesn't say how long the file is".to_owned(),
                        )
                    })
            })
        };
        let (agent, found) = match first(agent) {
            Err(error) if error.to_string().contains("certificate") => (mozilla, first(mozilla)?),
            found => (agent, found?),
        };
        Ok(Self {
            address: address.to_owned(),
            agent: agent.clone(),
            target: target.clone(),
            length: found.0,
            tag: found.1,
        })
    }

    /// Returns the length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns what the server gives to tell versions of the file apart, if it does.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns a reader of a part.
    pub fn part(self: &Arc<Self>, part: Range<u64>) -> PartReader {
        PartReader {
            remote: Arc::clone(self),
            rest: part,
            body: None,
        }
    }

    /// Asks for a part and checks that the answer is it.
    fn ask(&self, part: &Range<u64>) -> Result<Body, Failure> {
        let response = ask(&self.target, &self.agent, part.clone())?;
        let expected = (part.start, part.end - 1, self.length);
        let is_tag_equal = self.tag.is_none() || tag_of(&response) == self.tag;
        if range_of(&response) == Some(expected) && is_tag_equal {
            return Ok(Box::new(response.into_body().into_reader()));
        }
        Err(Failure::Lasting(
            io::ErrorKind::InvalidData,
            "the file was replaced on the server since it was indexed; start anew with it"
                .to_owned(),
        ))
    }
}

type Body = Box<dyn Read + Send>;

/// Reads a part of a file on a server. An answer that breaks off is continued by another request.
pub struct PartReader {
    remote: Arc<Remote>,
    rest: Range<u64>,
    body: Option<Body>,
}

impl PartReader {
    /// Reads into `buffer`, from a new answer if there is none.
    fn attempt(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.remote.ask(&self.rest)?,
        };
        let broke_off = |why: &str| Failure::Passing(format!("the answer broke off{why}"));
        let most = buffer
            .len()
            .min(usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX));
        let count = match body.read(&mut buffer[..most]) {
            Ok(0) => return Err(broke_off("")),
            Ok(count) => count,
            Err(error) => return Err(broke_off(&format!(": {error}"))),
        };
        self.rest.start += count as u64;
        if self.rest.is_empty() {
            // The connection serves the next request once the end of the answer was seen.
            let _ = body.read(&mut [0]);
        } else {
            self.body = Some(body);
        }
        Ok(count)
    }
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() || buffer.is_empty() {
            return Ok(0);
        }
        let address = self.remote.address.clone();
        repeated(&address, || self.attempt(buffer))
    }
}

/// Makes attempts with longer and longer pauses until one succeeds or can't.
fn repeated<T>(address: &str, mut attempt: impl FnMut() -> Result<T, Failure>) -> io::Result<T> {
    let mut number = 0;
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(Failure::Lasting(kind, reason)) => return Err(io::Error::new(kind, reason)),
            Err(Failure::Passing(reason)) => {
                number += 1;
                if number == TRIES {
                    return Err(io::Error::other(format!("{reason}, {TRIES} times")));
                }
                let mut repeated = REPEATED.lock().unwrap_or_else(PoisonError::into_inner);
                repeated.0 += 1;
                if repeated.1.is_empty() {
                    repeated.1 = format!("{reason}: {address}");
                }
                drop(repeated);
                thread::sleep(PAUSE * (1 << (number - 1)));
            }
        }
    }
}

/// Describes how many requests were repeated, or returns `None` if none was.
pub fn repeated_words() -> Option<String> {
    let (count, first) = &*REPEATED.lock().unwrap_or_else(PoisonError::into_inner);
    (*count > 0).then(|| {
        let plural = if *count == 1 { " was" } else { "s were" };
        format!("{count} request{plural} repeated, the first because {first}")
    })
}

/// Sends a request for a part of a file.
fn ask(target: &Target, agent: &Agent, part: Range<u64>) -> Result<Response<ureq::Body>, Failure> {
    let lasting = |kind, reason: &str| Err(Failure::Lasting(kind, reason.to_owned()));
    let range = format!("bytes={}-{}", part.start, part.end - 1);
    let signed = target.headers(&range).into_iter();
    let request = agent.get(&target.url).header(header::RANGE, range);
    let response = signed
        .fold(request, |request, (name, value)| {
            request.header(name, value)
        })
        .call();
    let response = response.map_err(|error| match error {
        ureq::Error::BadUri(reason) => Failure::Lasting(
            io::ErrorKind::InvalidInput,
            format!("not an address: {reason}"),
        ),
        error if error.to_string().contains("certificate") => {
            Failure::Lasting(io::ErrorKind::Other, error.to_string())
        }
        error => Failure::Passing(error.to_string()),
    })?;
    let status = response.status();
    match status {
        StatusCode::PARTIAL_CONTENT => Ok(response),
        StatusCode::OK => lasting(
            io::ErrorKind::Unsupported,
            "the server answers with the whole file where a part is asked for (Range is ignored); \
             download it",
        ),
        StatusCode::NOT_FOUND | StatusCode::GONE => lasting(
            io::ErrorKind::NotFound,
            "the server answered 404: there is no such file",
        ),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => lasting(
            io::ErrorKind::PermissionDenied,
            &format!("the server answered {status}; {}", target.on_refusal()),
        ),
        StatusCode::RANGE_NOT_SATISFIABLE => lasting(
            io::ErrorKind::InvalidData,
            "the file is empty or was cut on the server",
        ),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Err(Failure::Passing(format!("the server answered {status}")))
        }
        _ if status.is_server_error() => {
            Err(Failure::Passing(format!("the server answered {status}")))
        }
        _ => {
            let region = response.headers().get("x-amz-bucket-region");
            let advice = region
                .and_then(|region| region.to_str().ok())
                .map(|region| {
                    format!("; the bucket is in another region, set AWS_REGION={region}")
                });
            let advice = advice.unwrap_or_default();
            lasting(
                io::ErrorKind::Other,
                &format!("the server answered {status}{advice}"),
            )
        }
    }
}

/// Returns first byte, last byte and length of the file that an answer claims to be a part of.
fn range_of<T>(response: &Response<T>) -> Option<(u64, u64, u64)> {
    let range = response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    let (part, length) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = part.split_once('-')?;
    Some((
        first.parse().ok()?,
        last.parse().ok()?,
        length.parse().ok()?,
    ))
}

/// Returns the version of the file that an answer is from.
fn tag_of<T>(response: &Response<T>) -> Option<String> {
    let header = |name| response.headers().get(name)?.to_str().ok();
    let tag = header(header::ETAG).or_else(|| header(header::LAST_MODIFIED));
    tag.map(str::to_owned)
}

/// Returns whether a path is an address on a server.
pub fn is_address(path: &Path) -> bool {
    let text = path.to_str().unwrap_or_default();
    ["https://", "http://", "s3://", "gs://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

/// Returns the path that a text stands for, relative to `folder` unless it is absolute or an
/// address.
pub fn joined(folder: &Path, text: &str) -> PathBuf {
    if is_address(Path::new(text)) {
        PathBuf::from(text)
    } else {
        folder.join(text)
    }
}

/// Returns the absolute path; an address is one already.
///
/// # Errors
/// Returns an error if the current directory is gone.
pub fn absolute(path: &Path) -> io::Result<PathBuf> {
    if is_address(path) {
        return Ok(path.to_owned());
    }
    std::path::absolute(path)
}

/// Returns whether a URL is of this machine, which is never reached through a proxy.
pub(super) fn is_loopback(url: &str) -> bool {
    let uri = url.parse::<ureq::http::Uri>().ok();
    uri.as_ref()
        .and_then(|uri| uri.host())
        .is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host))
}
