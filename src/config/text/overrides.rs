//! `--set key.path=value`: changes a value of a recipe from the command line.

use toml::{Table, Value};

use super::{
    forms::default_kind,
    lines::{KeyPath, Step},
    syntax::syntax_words,
};
use crate::config::ConfigError;

/// A `--set` argument.
pub(super) struct Override {
    /// The argument as written.
    pub(super) text: String,
    /// Path of the value.
    pub(super) path: KeyPath,
    value: Value,
}

impl Override {
    /// Parses `key.path=value`. A value that isn't TOML is taken as a string, so that quotes aren't
    /// needed.
    ///
    /// # Errors
    /// Returns [`ConfigError::Override`] if there is no key or the value isn't valid.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        let bad = |message: String| ConfigError::Override {
            text: text.to_owned(),
            message,
        };
        let form = || bad("expected key.path=value, for example --set train.epochs=5".to_owned());
        let (keys, written) = text.split_once('=').ok_or_else(form)?;
        let (keys, written) = (keys.trim(), written.trim());
        let path = quoted_path(keys).unwrap_or_else(|| KeyPath::of(keys));
        if path.0.iter().any(|step| *step == Step::Key(String::new())) {
            return Err(form());
        }
        let value = match toml::from_str::<Table>(&format!("value = {written}")) {
            Ok(mut parsed) => parsed.remove("value"),
            Err(error) if written.starts_with(['"', '\'', '[', '{']) => {
                let (_, words) = syntax_words(&format!("{keys} = {written}"), &error);
                return Err(bad(words));
            }
            Err(_) => None,
        };
        let value = value.unwrap_or_else(|| Value::String(written.to_owned()));
        Ok(Self {
            text: text.to_owned(),
            path,
            value,
        })
    }

    /// Inserts the value into `table`, and the tables that lead to it; one that comes in kinds gets
    /// the default kind.
    ///
    /// # Errors
    /// Returns [`ConfigError::Override`] if a key on the way isn't a table.
    pub(super) fn apply(&self, table: &mut Table) -> Result<(), ConfigError> {
        let mut table = table;
        let mut gone = KeyPath::default();
        let (last, way) = self
            .path
            .0
            .split_last()
            .expect("a path of a `--set` has a key");
        for step in way {
            let Step::Key(key) = step else { continue };
            gone = gone.key(key);
            let fresh = || {
                let kind = default_kind(&gone).map(|kind| ("kind".to_owned(), Value::String(kind)));
                Value::Table(kind.into_iter().collect())
            };
            let entry = table.entry(key.clone()).or_insert_with(fresh);
            let found = entry.to_string();
            table = entry.as_table_mut().ok_or_else(|| ConfigError::Override {
                text: self.text.clone(),
                message: format!(
                    "`{gone}` is {found}, not a table with keys of its own; set the whole of it"
                ),
            })?;
        }
        if let Step::Key(key) = last {
            table.insert(key.clone(), self.value.clone());
        }
        Ok(())
    }

    /// Returns the argument with another key and the same value.
    pub(super) fn for_key(&self, key: &str) -> String {
        let written = self
            .text
            .split_once('=')
            .map_or("", |(_, value)| value.trim());
        format!("--set {key}={written}")
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.is_str()
    }
}

/// Parses a path with quoted keys, such as `augment.class."a.b".zoom_range`.
fn quoted_path(keys: &str) -> Option<KeyPath> {
    let mut path = KeyPath::default();
    let mut table: Table = toml::from_str(&format!("{keys} = 0")).ok()?;
    loop {
        let (key, value) = table.into_iter().next()?;
        path = path.key(&key);
        match value {
            Value::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}
