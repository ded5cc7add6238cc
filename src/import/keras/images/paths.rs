//! Folders and tables of a notebook on this machine, and shares that a split leaves of them.

use notebook_reader::{Origin, Trace, Value};

use crate::{
    base::names,
    import::{
        arguments::{Import, number},
        folders::{Folder, here},
        keras::sources::{self, Reader, Source},
    },
};

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
