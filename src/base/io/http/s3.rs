//! Objects in buckets, `s3://BUCKET/KEY` and `gs://BUCKET/KEY`, as HTTP requests signed by the keys
//! of the environment (AWS Signature Version 4). Google Cloud Storage understands the same requests
//! with its HMAC keys. Keys are never written anywhere.

use std::{env, fmt, io};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::OffsetDateTime;

use crate::base::io::digest::{hex, sha256_hex};

/// SHA-256 of a request's body, which is empty.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Where an address leads, and how requests are signed.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The address to ask, `http://` or `https://`.
    pub(super) url: String,
    /// Whether it is an object of a bucket.
    is_object: bool,
    /// Keys for requests to a bucket, `None` for other addresses and for public buckets.
    signer: Option<Signer>,
}

/// What requests to a bucket are signed with.
#[derive(Clone)]
struct Signer {
    host: String,
    /// Path of the object, encoded.
    path: String,
    region: String,
    keys: Keys,
}

/// Access keys.
#[derive(Clone)]
struct Keys {
    id: String,
    secret: String,
    token: Option<String>,
}

impl fmt::Debug for Signer {
    /// Leaves the secrets out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}, {})", self.host, self.region)
    }
}

/// The variables that are read, so that tests can give others.
type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Target {
    /// Returns where `address` leads. Takes keys, region and server of buckets from the variables
    /// that Amazon's own programs read.
    ///
    /// # Errors
    /// Returns an error if a bucket's address names no object.
    pub(super) fn of(address: &str) -> io::Result<Self> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        Self::with(address, &variable)
    }

    fn with(address: &str, variable: Variables<'_>) -> io::Result<Self> {
        let Some((scheme, object)) = address
            .split_once("://")
            .filter(|(scheme, _)| ["s3", "gs"].contains(scheme))
        else {
            return Ok(Self {
                url: address.to_owned(),
                is_object: false,
                signer: None,
            });
        };
        let parts = object.split_once('/');
        let Some((bucket, key)) =
            parts.filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
        else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("expected {scheme}://BUCKET/KEY"),
            ));
        };
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let region = match scheme {
            "gs" => "auto".to_owned(),
            _ => region.unwrap_or_else(|| "us-east-1".to_owned()),
        };
        let endpoint = variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"));
        let (server, path) = match (scheme, endpoint) {
            ("gs", _) => ("https://storage.googleapis.com".to_owned(), Some(bucket)),
            (_, Some(endpoint)) => (endpoint.trim_end_matches('/').to_owned(), Some(bucket)),
            // A certificate for all buckets covers no dots in their names.
            _ if bucket.contains('.') => {
                (format!("https://s3.{region}.amazonaws.com"), Some(bucket))
            }
            _ => (format!("https://{bucket}.s3.{region}.amazonaws.com"), None),
        };
        let path: String = path
            .into_iter()
            .chain([key])
            .flat_map(|part| ["/", part])
            .collect();
        let path = encoded(&path);
        let host = server
            .split_once("://")
            .map_or(&*server, |(_, host)| host)
            .to_owned();
        let url = format!("{server}{path}");
        let signer = Keys::of(variable).map(|keys| Signer {
            host,
            path,
            region,
            keys,
        });
        Ok(Self {
            url,
            is_object: true,
            signer,
        })
    }

    /// Returns what to do where the server refuses access.
    pub(super) fn on_refusal(&self) -> &'static str {
        match (&self.signer, self.is_object) {
            (None, true) => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, unless the bucket is public"
            }
            _ => "check credentials, which may have expired",
        }
    }

    /// Returns the headers that sign a request for `range` at this time.
    pub(super) fn headers(&self, range: &str) -> Vec<(&'static str, String)> {
        let signer = self.signer.as_ref();
        signer.map_or_else(Vec::new, |signer| {
            signer.headers(range, OffsetDateTime::now_utc())
        })
    }
}

impl Keys {
    fn of(variable: Variables<'_>) -> Option<Self> {
        Some(Self {
            id: variable("AWS_ACCESS_KEY_ID")?,
            secret: variable("AWS_SECRET_ACCESS_KEY")?,
            token: variable("AWS_SESSION_TOKEN"),
        })
    }
}

impl Signer {
    fn headers(&self, range: &str, now: OffsetDateTime) -> Vec<(&'static str, String)> {
        let ((year, month, day), (hour, minute, second)) = (now.to_calendar_date(), now.to_hms());
        let date = format!("{year:04}{:02}{day:02}", u8::from(month));
        let moment = format!("{date}T{hour:02}{minute:02}{second:02}Z");
        // In the order of their names.
        let mut headers = vec![
            ("range", range.to_owned()),
            ("x-amz-content-sha256", EMPTY.to_owned()),
            ("x-amz-date", moment.clone()),
        ];
        let token = self.keys.token.clone();
        headers.extend(token.map(|token| ("x-amz-security-token", token)));
        let signed: Vec<_> = [("host", &self.host)]
            .into_iter()
            .chain(headers.iter().map(|(name, value)| (*name, value)))
            .collect();
        let lines: String = signed
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let names = signed
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(";");
        let request = format!("GET\n{}\n\n{lines}\n{names}\n{EMPTY}", self.path);
        let scope = format!("{date}/{}/s3/aws4_request", self.region);
        let request = sha256_hex(request.as_bytes());
        let signature = self.signature(
            &scope,
            &format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{request}"),
        );
        let id = &self.keys.id;
        // The caller sets the range itself.
        headers.remove(0);
        headers.push((
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential={id}/{scope},SignedHeaders={names},\
                 Signature={signature}"
            ),
        ));
        headers
    }

    /// Returns the signature of a text by the key that the parts of the scope are mixed into.
    fn signature(&self, scope: &str, text: &str) -> String {
        let secret = format!("AWS4{}", self.keys.secret).into_bytes();
        let key = scope.split('/').fold(secret, |key, part| keyed(&key, part));
        hex(&keyed(&key, text))
    }
}

/// Returns the HMAC of a text with SHA-256.
fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Encodes a path: all bytes but letters, digits, `-`, `.`, `_`, `~` and `/`.
fn encoded(path: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use time::{Date, Month, Time};

    use super::*;

    fn target(address: &str, set: &[(&str, &str)]) -> io::Result<Target> {
        let variable = |name: &str| {
            let found = set.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Target::with(address, &variable)
    }

    /// The example "GET Object" of "Authenticating Requests: Using the Authorization Header" in
    /// Amazon's reference of the S3 interface.
    #[test]
    fn requests_are_signed_as_in_amazons_example() {
        let keys = [
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            (
                "AWS_SECRET_ACCESS_KEY",
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            ),
        ];
        let mut signer = target("s3://examplebucket/test.txt", &keys)
            .expect("an object")
            .signer
            .expect("keys");
        assert_eq!(signer.host, "examplebucket.s3.us-east-1.amazonaws.com");
        // The example has the older address.
        "examplebucket.s3.amazonaws.com".clone_into(&mut signer.host);
        let date = Date::from_calendar_date(2013, Month::May, 24).expect("a date");
        let now = OffsetDateTime::new_utc(date, Time::MIDNIGHT);
        let headers = signer.headers("bytes=0-9", now);
        let expected = [
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", "20130524T000000Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 \
                 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
                 SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
                 Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
        ];
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        assert_eq!(headers, expected);
    }

    #[test]
    fn addresses_lead_to_the_server_of_the_bucket() {
        let own = ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000/");
        for (address, set, expected) in [
            ("https://host/a b.tar", vec![], "https://host/a b.tar"),
            (
                "s3://bucket/a/b c+\u{e9}.tar",
                vec![],
                "https://bucket.s3.us-east-1.amazonaws.com/a/b%20c%2B%C3%A9.tar",
            ),
            (
                "s3://bucket/a.tar",
                vec![("AWS_DEFAULT_REGION", "eu-west-3")],
                "https://bucket.s3.eu-west-3.amazonaws.com/a.tar",
            ),
            (
                "s3://my.bucket/a.tar",
                vec![],
                "https://s3.us-east-1.amazonaws.com/my.bucket/a.tar",
            ),
            (
                "s3://bucket/a.tar",
                vec![own],
                "http://127.0.0.1:9000/bucket/a.tar",
            ),
            (
                "s3://bucket/a.tar",
                vec![own, ("AWS_ENDPOINT_URL_S3", "https://minio.example")],
                "https://minio.example/bucket/a.tar",
            ),
            (
                "gs://bucket/a.tar",
                vec![own],
                "https://storage.googleapis.com/bucket/a.tar",
            ),
        ] {
            let found = target(address, &set).expect("an address");
            assert_eq!(found.url, expected);
            assert!(
                found.headers("bytes=0-0").is_empty(),
                "no keys, no signature"
            );
        }
        for address in ["s3://bucket", "s3://bucket/", "gs:///a.tar"] {
            let error = target(address, &[]).expect_err("no object").to_string();
            assert!(error.ends_with("://BUCKET/KEY"), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let keys = [
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "hidden"),
            ("AWS_SESSION_TOKEN", "token-of-session"),
        ];
        let target = target("s3://bucket/a.tar", &keys).expect("an object");
        let shown = format!("{target:?}");
        assert!(
            !shown.contains("hidden") && !shown.contains("token-of-session"),
            "{shown}"
        );
        let headers = target.headers("bytes=0-0");
        let token = headers
            .iter()
            .find(|(name, _)| *name == "x-amz-security-token");
        assert_eq!(
            token.map(|(_, value)| value.as_str()),
            Some("token-of-session")
        );
        let signed = &headers.last().expect("signed").1;
        assert!(
            signed.contains("x-amz-date;x-amz-security-token,"),
            "{signed}"
        );
    }
}
