//! JSON documents that carry the SHA-256 of their other fields, so that a change is found when they
//! are read back.

use serde::Serialize;
use serde_json::{Map, Value};

use super::files::sha256_hex;

/// Field with the digest of all others.
const DIGEST: &str = "sha256";

/// Returns the digest that `document` is written with, in its field `sha256`.
///
/// # Panics
/// Panics if the document isn't an object or has keys that aren't text.
pub fn digest_of(document: &impl Serialize) -> String {
    // Of what will be read: a number may have another text after a round trip.
    let text = serde_json::to_vec(document).expect("plain values are JSON");
    digest(&serde_json::from_slice(&text).expect("a struct is a map"))
}

/// Parses a document and takes out its digest, if it has one; those of earlier versions don't.
///
/// # Errors
/// Returns the reason if the text isn't an object in JSON, or the digest is that of other fields.
pub fn open(text: &[u8]) -> Result<Map<String, Value>, String> {
    let mut fields: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| error.to_string())?;
    match fields.remove(DIGEST) {
        Some(found) if found != digest(&fields) => Err(format!(
            "`{DIGEST}`: found that of another content, expected the SHA-256 of this one; it was \
             changed since it was written; put it back as it was"
        )),
        _ => Ok(fields),
    }
}

/// Returns the SHA-256 of fields as compact JSON.
fn digest(fields: &Map<String, Value>) -> String {
    sha256_hex(&serde_json::to_vec(fields).expect("a value is JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Serialize)]
    struct Document {
        name: String,
        single: f32,
        double: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
    }

    proptest! {
        #[test]
        fn documents_are_opened_as_they_were_written_and_not_otherwise(
            name: String,
            single in prop::num::f32::NORMAL,
            double in prop::num::f64::NORMAL,
        ) {
            let mut document = Document { name, single, double, sha256: None };
            let plain = serde_json::to_string_pretty(&document).expect("JSON");
            prop_assert!(open(plain.as_bytes()).is_ok(), "of an earlier version");
            document.sha256 = Some(digest_of(&document));
            let text = serde_json::to_string_pretty(&document).expect("JSON");
            let fields = open(text.as_bytes()).expect("unchanged");
            prop_assert_eq!(fields.keys().collect::<Vec<_>>(), ["double", "name", "single"]);
            document.double = -document.double;
            let changed = serde_json::to_string(&document).expect("JSON");
            let refused = open(changed.as_bytes()).expect_err("changed");
            prop_assert!(refused.starts_with("`sha256`: found"), "{}", refused);
        }
    }
}
