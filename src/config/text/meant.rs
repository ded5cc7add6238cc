//! Guesses what was meant by a value that isn't accepted.

use toml::{Table, Value};

use serde_json::Value as Json;

use super::{
    expected::form_words,
    forms::{Meant, Misfit, Unmatched, kinds, resolve},
    lines::KeyPath,
    shape::{check_shape, walk},
};
use crate::base::words::nearest;

/// Checks a whole recipe. Returns the values that aren't accepted, each with what was probably
/// meant.
pub(super) fn misfits(table: &Table) -> Vec<Misfit> {
    let suggest = |misfit: Misfit| Misfit {
        meant: misfit.meant.or(misfit.unmatched.as_ref().and_then(meant)),
        unmatched: None,
        ..misfit
    };
    check_shape(table).into_iter().map(suggest).collect()
}

/// Returns what was probably meant by a value that has none of the expected forms.
fn meant(
    Unmatched {
        value: found,
        forms,
        constants,
    }: &Unmatched,
) -> Option<Meant> {
    let kinds = kinds(forms);
    let Some(text) = found.as_str() else {
        if forms
            .iter()
            .all(|form| form_words(form) == "a string in quotes")
        {
            return Some(Meant::Value(format!("\"{found}\", in quotes")));
        }
        return table_around(found, forms).map(Meant::Value);
    };
    if let Some(kind) = nearest(text, kinds.iter().map(|(name, _)| *name)) {
        return Some(Meant::Value(format!("{{ kind = \"{kind}\" }}")));
    }
    let truths = forms
        .iter()
        .any(|form| form_words(form) == "true or false")
        .then_some(["true", "false"]);
    if let Some(name) = nearest(
        text,
        constants
            .iter()
            .copied()
            .chain(truths.into_iter().flatten()),
    ) {
        return Some(Meant::Value(format!("`{name}`")));
    }
    // A value in quotes too many.
    let unquoted = toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"));
    if let Some(unquoted) = unquoted
        && forms
            .iter()
            .any(|form| walk(&KeyPath::default(), &unquoted, form).is_empty())
    {
        return Some(Meant::Value(format!("{unquoted}, without quotes")));
    }
    table_around(found, forms).map(Meant::Value)
}

/// Returns the table whose only key takes the value, if a table was expected.
fn table_around(value: &Value, forms: &[&'static Json]) -> Option<String> {
    let keys = forms
        .iter()
        .filter_map(|form| resolve(form)["properties"].as_object())
        .flatten();
    let mut takers = keys
        .filter(|(_, property)| walk(&KeyPath::default(), value, property).is_empty())
        .map(|(key, _)| key);
    match (takers.next(), takers.next()) {
        (Some(key), None) => Some(format!("{{ {key} = {value} }}")),
        _ => None,
    }
}
