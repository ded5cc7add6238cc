//! Folders and tables of a notebook on this machine, and shares that a split leaves of them.

use notebook_reader::{Origin, Place, Trace, Value};

use crate::{
    base::names,
    import::{
        arguments::{Import, number},
        keras::sources::{self, Folder, Reader, Source},
    },
};

/// The folder where a notebook doesn't tell one.
const UNKNOWN: &str = "IMAGES";

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
fn here(import: &Import<'_>, path: &str, is_train: bool) -> Option<String> {
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

/// Returns the share of a table that `train_test_split` gives to the part that a source is.
pub(super) fn share(trace: &Trace, source: &Source<'_>) -> Option<f64> {
    let value = source.arguments.as_ref()?.value("dataframe")?;
    if source.reader != Reader::Table {
        return None;
    }
    let Origin::Item { of, index } = &trace.opaque(value)?.origin else {
        return None;
    };
    let call = trace
        .call(of)
        .filter(|call| &*call.name == "train_test_split")?;
    let size = |name: &str| {
        call.argument(name)
            .and_then(|argument| number(&argument.value))
    };
    let test = size("test_size").or_else(|| size("train_size").map(|share| 1.0 - share));
    let test = test.unwrap_or(0.25);
    (*index == Value::Int(1) && (0.0..1.0).contains(&test)).then_some(test)
}

/// Returns the names of the classes in the order of their numbers; none if they aren't known.
pub(in crate::import::keras) fn class_names(
    import: &Import<'_>,
    train: &Source<'_>,
) -> Vec<String> {
    let listed = train.value("classes").or(train.value("class_names"));
    if let Some(names) = listed.and_then(|names| sources::texts(import.trace, names)) {
        return names.iter().map(ToString::to_string).collect();
    }
    let Some(Folder::Known(path) | Folder::Below(_, path)) = train.folder(import.trace) else {
        return Vec::new();
    };
    let Some(folder) = here(import, &path, true) else {
        return Vec::new();
    };
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| names::of_os(&entry.file_name()))
        .collect();
    names.sort();
    names
}
