//! `metrics.json`: the figures of an evaluation with a summary in sentences, and digests of itself
//! and of the file of each image beside it, by which a change is found when they are read back.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::base::{
    io::{
        files::{sha256_hex, write_atomic},
        sealed,
    },
    names,
};

/// Name of the file.
pub(in crate::evaluation) const FILE: &str = "metrics.json";

#[derive(Serialize)]
struct Document<'a, T: Serialize> {
    /// The summary of the report.
    summary: &'a [String],
    #[serde(flatten)]
    found: &'a T,
    /// SHA-256 of the files beside this one, by name.
    files: BTreeMap<&'a str, String>,
    /// SHA-256 of all other fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

/// Writes `rows`, which are the content of the file `name`, and `metrics.json` with what was
/// `found` into `folder`.
///
/// # Errors
/// Returns an error if a file can't be written.
pub(in crate::evaluation) fn write<T: Serialize>(
    folder: &Path,
    summary: &[String],
    found: &T,
    (name, rows): (&str, &[u8]),
) -> anyhow::Result<()> {
    let mut document = Document {
        summary,
        found,
        files: BTreeMap::from([(name, sha256_hex(rows))]),
        sha256: None,
    };
    document.sha256 = Some(sealed::digest_of(&document));
    let text = serde_json::to_string_pretty(&document)? + "\n";
    write_atomic(&folder.join(name), rows)?;
    Ok(write_atomic(&folder.join(FILE), text.as_bytes())?)
}

/// Returns the fields of the `metrics.json` in a folder, or `None` if there is none.
///
/// # Errors
/// Returns an error if the file can't be read, or was changed since it was written.
pub(in crate::evaluation) fn read(folder: &Path) -> anyhow::Result<Option<Map<String, Value>>> {
    let path = folder.join(FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let read = fs::read(&path).map_err(anyhow::Error::from);
    let fields = read.and_then(|text| sealed::open(&text).map_err(|reason| anyhow!(reason)));
    Ok(Some(fields.with_context(|| {
        format!("can't read {}", names::of_path(&path))
    })?))
}

/// Returns the content of the file `name`, which was written beside the `metrics.json` of a folder.
///
/// # Errors
/// Returns an error if a file can't be read, or was changed since it was written.
pub(super) fn read_beside(folder: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let rows = fs::read(folder.join(name))?;
    let fields = read(folder)?.unwrap_or_default();
    // Those of earlier versions have no digest.
    let expected = fields.get("files").and_then(|files| files.get(name));
    if expected.is_some_and(|expected| *expected != sha256_hex(&rows)) {
        bail!(
            "found another content than the one whose SHA-256 is in {FILE} beside it; put it back \
             as it was, or evaluate again"
        );
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_since_it_was_written_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path();
        assert!(read(folder).expect("nothing").is_none());
        let found = serde_json::json!({"images": 3, "metrics": {"accuracy": 0.1_f32}});
        let rows = ("rows.csv", &b"path,label\na,b\n"[..]);
        write(folder, &["Three.".to_owned()], &found, rows).expect("written");
        let fields = read(folder).expect("as written").expect("there");
        assert_eq!(fields["images"], 3);
        assert_eq!(read_beside(folder, "rows.csv").expect("as written"), rows.1);

        let of_metrics = fs::read_to_string(folder.join(FILE)).expect("there");
        fs::write(folder.join("rows.csv"), "path,label\na,c\n").expect("written");
        let refused = read_beside(folder, "rows.csv").expect_err("changed");
        assert!(refused.to_string().contains("metrics.json beside it"));
        fs::write(folder.join("rows.csv"), rows.1).expect("written");
        fs::write(folder.join(FILE), of_metrics.replace(": 3", ": 4")).expect("written");
        for refused in [
            read(folder).expect_err("changed"),
            read_beside(folder, "rows.csv").expect_err("changed"),
        ] {
            let refused = format!("{refused:#}");
            assert!(
                refused.contains("metrics.json: `sha256`: found"),
                "{refused}"
            );
        }
        // An earlier version wrote neither digest.
        fs::write(folder.join(FILE), r#"{"images": 3}"#).expect("written");
        assert_eq!(read_beside(folder, "rows.csv").expect("taken"), rows.1);
    }
}
