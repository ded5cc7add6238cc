//! Folders of a notebook on this machine.

use std::sync::Arc;

use notebook_reader::{Origin, Place, Trace, Value};

use super::arguments::Import;
use crate::base::names;

/// The folder where a notebook doesn't tell one.
const UNKNOWN: &str = "IMAGES";

/// A folder as the notebook names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    Known(Arc<str>),
    /// Below a folder that isn't known, whose expression comes first.
    Below(String, Arc<str>),
    Unknown(String),
}

impl Folder {
    /// Returns a path as far as it is known.
    pub(super) fn of(trace: &Trace, value: &Value) -> Self {
        match (value, trace.opaque(value).map(|opaque| &opaque.origin)) {
            (Value::Str(path), _) => Self::Known(path.clone()),
            (_, Some(Origin::Joined { head, tail })) => {
                Self::Below(trace.describe(head), tail.clone())
            }
            _ => Self::Unknown(trace.describe(value)),
        }
    }
}

/// Sets a key to a folder, as it is in the notebook or below the folder that the user names.
pub(super) fn set(import: &mut Import<'_>, key: &str, folder: &Folder, place: Place) {
    let (path, note) = match folder {
        Folder::Known(path) => (path.to_string(), String::new()),
        Folder::Below(head, path) => (path.to_string(), format!("below `{head}`")),
        Folder::Unknown(text) if text.is_empty() => (UNKNOWN.to_owned(), "not known".to_owned()),
        Folder::Unknown(text) => (UNKNOWN.to_owned(), format!("`{text}`, which isn't known")),
    };
    let is_train = key == "data.train";
    let trimmed = match path.trim_end_matches('/') {
        "" => ".",
        path => path,
    };
    if let Some(found) = here(import, trimmed, is_train) {
        import.recipe.set(key, found, place);
        return;
    }
    match folder {
        Folder::Known(_) => {}
        Folder::Below(head, tail) => {
            let what = format!("the folder above \"{tail}\": `{head}`");
            import.unclear(place, what, format!("set `{key}` to where it is"));
        }
        Folder::Unknown(text) if text.is_empty() => {}
        Folder::Unknown(text) if is_train => {
            let what = format!("the folder or table of the training images: `{text}`");
            import.unclear(place, what, format!("set `{key}` to where they are"));
        }
        Folder::Unknown(text) => {
            let what = format!("the folder or table of images `{text}`");
            import.unclear(place, what, format!("`{key}` is left out"));
            return;
        }
    }
    import.recipe.set_noted(key, trimmed, place, &note);
}

/// Returns the path below the user's folder that ends like the notebook's.
pub(super) fn here(import: &Import<'_>, path: &str, is_train: bool) -> Option<String> {
    let data = import.data.as_ref()?;
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !["", ".", ".."].contains(part))
        .collect();
    let below = (0..parts.len())
        .map(|start| data.join(parts[start..].join("/")))
        .find(|path| path.exists());
    let is_itself = || {
        let name = data.file_name().map(names::of_os);
        is_train || name.as_deref() == parts.last().copied()
    };
    let found = match below {
        Some(path) => path,
        None if is_itself() => data.clone(),
        None => return None,
    };
    Some(names::of_path(&found))
}
