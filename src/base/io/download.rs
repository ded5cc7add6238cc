//! Downloads one file: resumes a partial download, checks length and digest, and leaves a complete
//! file or none.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use ureq::{
    Agent, Error as HttpError,
    http::StatusCode,
    tls::{RootCerts, TlsConfig},
};

use super::{digest::hex, http::is_loopback, partial::sync_folder};

/// Length and digest of the file to download.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Length in bytes, or the range in which it lies.
    pub bytes: &'a RangeInclusive<u64>,
    /// SHA-256 in hexadecimal, or its first digits.
    pub sha256: &'a str,
}

impl Expected<'_> {
    /// Describes the length: "300 bytes" or "300 to 400 bytes".
    pub fn length(&self) -> String {
        let (least, most) = (self.bytes.start(), self.bytes.end());
        if least == most {
            format!("{most} bytes")
        } else {
            format!("{least} to {most} bytes")
        }
    }
}

/// An error in downloading a file.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The server can't be reached or doesn't have the file.
    #[error("can't download {url}: {reason}")]
    Server {
        /// URL of the file.
        url: String,
        /// Message of the server or the network.
        reason: String,
    },
    /// The server sent another file.
    #[error(
        "the download from {url} is not the expected file: found {found}, expected {expected}; it \
         was discarded"
    )]
    Wrong {
        /// URL of the file.
        url: String,
        /// Length or digest of what was sent.
        found: String,
        /// Length or digest of the expected file.
        expected: String,
    },
    /// An I/O error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Maximum time to connect, and to wait for a response.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum duration of a connection. The rest is requested over a new one, so that a stalled
/// connection doesn't block forever.
const CONNECTION: Duration = Duration::from_secs(300);

/// Number of consecutive attempts without a new byte after which a download fails.
const TRIES: usize = 3;

/// Downloads `url` to `target`, resuming a partial download left next to it.
///
/// `progress` is called with the number of bytes received. Proxies are read from the environment
/// (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), except for this machine itself.
///
/// # Errors
/// Returns an error if the server fails, sends another file, or the file can't be written. An
/// interrupted download stays next to `target` for the next attempt.
pub fn download(
    url: &str,
    expected: Expected<'_>,
    target: &Path,
    progress: &dyn Fn(u64),
) -> Result<(), DownloadError> {
    let partial = partial_path(target);
    if let Some(folder) = target
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder)
            .map_err(|error| super::files::with_path(&error, "can't create the folder", folder))?;
    }
    let system = |error: io::Error| super::files::with_path(&error, "can't write", &partial);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&partial)
        .map_err(system)?;
    // Two programs that download the same file take turns; the second finds it complete.
    file.lock().map_err(system)?;
    if is_whole(target, expected)? {
        return Ok(());
    }
    let was_resumed = file.metadata().map_err(system)?.len() > 0;
    receive(url, expected, &mut file, progress)?;
    let mut found = check(&mut file, expected).map_err(system)?;
    if found.is_some() && was_resumed {
        // The first part may belong to another version of the file.
        file.set_len(0).map_err(system)?;
        receive(url, expected, &mut file, progress)?;
        found = check(&mut file, expected).map_err(system)?;
    }
    if let Some((found, expected)) = found {
        file.set_len(0).map_err(system)?;
        return Err(DownloadError::Wrong {
            url: url.to_owned(),
            found,
            expected,
        });
    }
    file.sync_all().map_err(system)?;
    fs::rename(&partial, target).map_err(system)?;
    Ok(sync_folder(target.parent().unwrap_or(Path::new(".")))?)
}

/// Whether the file at `path` has the expected length and digest; false if there is no file.
///
/// # Errors
/// Returns the I/O error if the file can't be read.
pub fn is_whole(path: &Path, expected: Expected<'_>) -> io::Result<bool> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(super::files::with_path(&error, "can't read", path)),
        Ok(mut file) => Ok(check(&mut file, expected)
            .map_err(|error| super::files::with_path(&error, "can't read", path))?
            .is_none()),
    }
}

/// Returns the path of a partial download: `vgg16.pth.partial` for `vgg16.pth`.
fn partial_path(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!("{name}.partial"))
}

/// Returns what was found and what was expected if the file differs.
fn check(file: &mut File, expected: Expected<'_>) -> io::Result<Option<(String, String)>> {
    let length = file.metadata()?.len();
    if !expected.bytes.contains(&length) {
        return Ok(Some((format!("{length} bytes"), expected.length())));
    }
    file.seek(SeekFrom::Start(0))?;
    let mut digest = Sha256::new();
    let mut part = vec![0; 1 << 20];
    loop {
        match file.read(&mut part)? {
            0 => break,
            count => digest.update(&part[..count]),
        }
    }
    let found = hex(&digest.finalize());
    Ok((!found.starts_with(expected.sha256)).then(|| {
        (
            format!("SHA-256 {found}"),
            format!("SHA-256 {}", expected.sha256),
        )
    }))
}

/// Appends to `file` until it has at least the expected length.
fn receive(
    url: &str,
    expected: Expected<'_>,
    file: &mut File,
    progress: &dyn Fn(u64),
) -> Result<(), DownloadError> {
    let mut roots = RootCerts::PlatformVerifier;
    let mut fruitless = 0;
    loop {
        let before = file.metadata()?.len();
        if before >= *expected.bytes.start() {
            return Ok(());
        }
        match attempt(url, expected, file, &roots, progress) {
            Ok(()) => return Ok(()),
            // The system has no certificates; the program includes Mozilla's.
            Err(Attempt::Lost(reason))
                if reason.contains("certificate")
                    && matches!(roots, RootCerts::PlatformVerifier) =>
            {
                roots = RootCerts::WebPki;
            }
            Err(Attempt::Lost(reason)) => {
                fruitless = if file.metadata()?.len() > before {
                    0
                } else {
                    fruitless + 1
                };
                if fruitless == TRIES {
                    return Err(DownloadError::Server {
                        url: url.to_owned(),
                        reason,
                    });
                }
            }
            Err(Attempt::Refused(reason)) => {
                return Err(DownloadError::Server {
                    url: url.to_owned(),
                    reason,
                });
            }
            Err(Attempt::Io(error)) => return Err(error.into()),
        }
    }
}

/// A failed attempt to download the rest of a file.
enum Attempt {
    /// The connection failed; another attempt may help.
    Lost(String),
    /// The server refused; another attempt won't help.
    Refused(String),
    /// The local file failed.
    Io(io::Error),
}

/// Requests the rest of a file once and appends what arrives.
fn attempt(
    url: &str,
    expected: Expected<'_>,
    file: &mut File,
    roots: &RootCerts,
    progress: &dyn Fn(u64),
) -> Result<(), Attempt> {
    let tls = TlsConfig::builder().root_certs(roots.clone()).build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .timeout_connect(Some(TIMEOUT))
        .timeout_recv_response(Some(TIMEOUT));
    let config = config.timeout_recv_body(Some(CONNECTION));
    let config = if is_loopback(url) {
        config.proxy(None)
    } else {
        config
    };
    let agent: Agent = config.http_status_as_error(false).build().into();
    let start = file.seek(SeekFrom::End(0)).map_err(Attempt::Io)?;
    let mut request = agent.get(url);
    if start > 0 {
        request = request.header("Range", format!("bytes={start}-"));
    }
    let mut response = request.call().map_err(|error| match error {
        HttpError::BadUri(reason) => Attempt::Refused(format!("not an address: {reason}")),
        error => Attempt::Lost(error.to_string()),
    })?;
    let mut at = match response.status() {
        StatusCode::PARTIAL_CONTENT if is_from(&response, start) => start,
        // The whole file, although a part was requested.
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            file.set_len(0).map_err(Attempt::Io)?;
            return Err(Attempt::Lost(
                "the server doesn't resume partial downloads".to_owned(),
            ));
        }
        status => return Err(Attempt::Refused(format!("the server answered {status}"))),
    };
    file.set_len(at)
        .and_then(|()| file.seek(SeekFrom::Start(at)))
        .map_err(Attempt::Io)?;
    // One byte more than expected is enough to notice a file that is too long.
    let mut body = response
        .body_mut()
        .as_reader()
        .take(expected.bytes.end().saturating_sub(at) + 1);
    let mut part = vec![0; 1 << 16];
    loop {
        progress(at);
        let broke_off = |why: &str| {
            Attempt::Lost(format!(
                "the connection broke after {at} of {}{why}",
                expected.length()
            ))
        };
        match body
            .read(&mut part)
            .map_err(|error| broke_off(&format!(": {error}")))?
        {
            0 if at < *expected.bytes.start() => return Err(broke_off("")),
            0 => return Ok(()),
            count => {
                file.write_all(&part[..count]).map_err(Attempt::Io)?;
                at += count as u64;
            }
        }
    }
}

/// Whether a partial response starts at byte `start`.
fn is_from<T>(response: &ureq::http::Response<T>, start: u64) -> bool {
    let range = response
        .headers()
        .get("Content-Range")
        .and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        io::{BufRead, BufReader},
        net::TcpListener,
        thread::JoinHandle,
    };

    use super::*;
    use crate::base::io::files::{sha256_hex, write_atomic};

    /// How the test server answers a request.
    #[derive(Clone, Copy)]
    enum Answer {
        /// The whole file, cut off after this many bytes, whatever was requested.
        Whole(usize),
        /// The requested part.
        Rest,
        /// An error status.
        Status(&'static str),
    }

    /// Starts a server on loopback that gives these answers and returns the `Range` of each
    /// request.
    fn serve(
        file: Vec<u8>,
        answers: &'static [Answer],
    ) -> (String, JoinHandle<Vec<Option<usize>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/file.bin", listener.local_addr().expect("bound"));
        let work = move || {
            answers
                .iter()
                .map(|answer| answer_one(&listener, &file, *answer))
                .collect()
        };
        (
            url,
            std::thread::Builder::new().spawn(work).expect("started"),
        )
    }

    fn answer_one(listener: &TcpListener, file: &[u8], answer: Answer) -> Option<usize> {
        let (mut stream, _) = listener.accept().expect("a request");
        let lines = BufReader::new(stream.try_clone().expect("cloned"))
            .lines()
            .map_while(Result::ok);
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let range = head.iter().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            if !name.eq_ignore_ascii_case("range") {
                return None;
            }
            value
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        });
        let (status, start, end) = match answer {
            Answer::Whole(end) => ("200 OK".to_owned(), 0, end.min(file.len())),
            Answer::Rest => (
                "206 Partial Content".to_owned(),
                range.unwrap_or(0),
                file.len(),
            ),
            Answer::Status(status) => (status.to_owned(), 0, 0),
        };
        let length = if end == 0 { 0 } else { file.len() - start };
        let place = if status.starts_with("206") {
            format!(
                "Content-Range: bytes {start}-{}/{}\r\n",
                file.len() - 1,
                file.len()
            )
        } else {
            String::new()
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{place}Connection: close\r\n\r\n"
        );
        // The client closes early when it has read enough.
        let _ = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(&file[start..end]));
        range
    }

    fn content() -> Vec<u8> {
        (0..300_000usize)
            .map(|index| (index * index / 7) as u8)
            .collect()
    }

    struct Case {
        why: &'static str,
        /// What an earlier download left.
        before: Vec<u8>,
        answers: &'static [Answer],
        ranges: &'static [Option<usize>],
    }

    #[test]
    fn a_download_goes_on_where_it_was_cut_off() {
        for Case {
            why,
            before,
            answers,
            ranges,
        } in [
            Case {
                why: "at once",
                before: Vec::new(),
                answers: &[Answer::Whole(usize::MAX)],
                ranges: &[None],
            },
            Case {
                why: "cut off and gone on with",
                before: Vec::new(),
                answers: &[Answer::Whole(100_000), Answer::Rest],
                ranges: &[None, Some(100_000)],
            },
            Case {
                why: "left by an earlier run",
                before: content()[..1234].to_vec(),
                answers: &[Answer::Rest],
                ranges: &[Some(1234)],
            },
            Case {
                why: "the server knows no ranges",
                before: content()[..1234].to_vec(),
                answers: &[Answer::Whole(usize::MAX)],
                ranges: &[Some(1234)],
            },
            Case {
                why: "the part was of another file",
                before: vec![9; 1000],
                answers: &[Answer::Rest, Answer::Whole(usize::MAX)],
                ranges: &[Some(1000), None],
            },
        ] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let target = folder.path().join("cache").join("file.bin");
            if !before.is_empty() {
                fs::create_dir_all(target.parent().expect("inside")).expect("created");
                write_atomic(&partial_path(&target), &before).expect("written");
            }
            let (url, server) = serve(content(), answers);
            let sha256 = sha256_hex(&content());
            let seen = RefCell::new(Vec::new());
            let expected = Expected {
                bytes: &(300_000..=300_000),
                sha256: &sha256,
            };
            download(&url, expected, &target, &|at| seen.borrow_mut().push(at)).expect(why);
            assert_eq!(fs::read(&target).expect("there"), content(), "{why}");
            assert_eq!(server.join().expect("served"), ranges, "{why}");
            assert_eq!(seen.borrow().last(), Some(&300_000), "{why}");
            assert!(
                !partial_path(&target).exists() && is_whole(&target, expected).expect("read"),
                "{why}"
            );
        }
    }

    #[test]
    fn a_range_of_lengths_and_the_first_digits_of_the_digest_do() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let target = folder.path().join("file.bin");
        let sha256 = sha256_hex(&content());
        let bytes = 299_000..=301_000;
        let (url, server) = serve(content(), &[Answer::Whole(usize::MAX)]);
        let wrong = if sha256.starts_with('0') { "1" } else { "0" };
        let error = download(
            &url,
            Expected {
                bytes: &bytes,
                sha256: wrong,
            },
            &target,
            &|_| {},
        )
        .expect_err("another file");
        assert!(
            error.to_string().contains("SHA-256") && !target.exists(),
            "{error}"
        );
        server.join().expect("served");
        let (url, server) = serve(content(), &[Answer::Whole(298_000), Answer::Rest]);
        download(
            &url,
            Expected {
                bytes: &bytes,
                sha256: &sha256[..8],
            },
            &target,
            &|_| {},
        )
        .expect("downloaded");
        assert_eq!(fs::read(&target).expect("there"), content());
        assert_eq!(server.join().expect("served"), [None, Some(298_000)]);
    }

    #[test]
    fn something_else_is_refused_and_leaves_no_file() {
        let mut other = content();
        other[299_999] ^= 1;
        let long = [content(), vec![0; 10]].concat();
        for (file, answers, expected) in [
            (other, &[Answer::Whole(usize::MAX)][..], "SHA-256"),
            (
                long,
                &[Answer::Whole(usize::MAX)],
                "found 300001 bytes, expected 300000 bytes",
            ),
            (content(), &[Answer::Status("404 Not Found")], "404"),
            (
                content(),
                &[Answer::Whole(7); 4],
                "the connection broke after 7 of 300000 bytes",
            ),
        ] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let target = folder.path().join("file.bin");
            let (url, server) = serve(file, answers);
            let sha256 = sha256_hex(&content());
            let error = download(
                &url,
                Expected {
                    bytes: &(300_000..=300_000),
                    sha256: &sha256,
                },
                &target,
                &|_| {},
            )
            .expect_err(expected)
            .to_string();
            assert!(error.contains(expected) && error.contains(&url), "{error}");
            assert!(!target.exists(), "{expected}");
            server.join().expect("served");
        }
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (url, expected) in [
            ("http://127.0.0.1:80/a", true),
            ("http://localhost/a", true),
            ("http://[::1]:8080/a", true),
            ("https://example.org/127.0.0.1", false),
            ("http://127.0.0.1.example.org/a", false),
            ("not an address", false),
        ] {
            assert_eq!(is_loopback(url), expected, "{url}");
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_an_error_with_its_address() {
        let free = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("http://{free}/file.bin");
        let error = download(
            &url,
            Expected {
                bytes: &(1..=1),
                sha256: "",
            },
            &folder.path().join("file.bin"),
            &|_| {},
        )
        .expect_err("nobody there");
        assert!(error.to_string().contains(&url), "{error}");
    }
}
