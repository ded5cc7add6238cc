//! TOML text and `--set` overrides in, a checked [`Config`] out; errors say what was meant.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, ConfigError, check::check, lines::line_of};

/// Reads, overrides and checks the configuration at `path`.
///
/// # Errors
/// [`ConfigError`] for anything the user can get wrong.
pub fn load(path: &Path, overrides: &[String]) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(&text, path, overrides)
}

/// As [`load`], for text that is at hand; `path` is for messages.
///
/// # Errors
/// [`ConfigError`] for anything the user can get wrong.
pub fn parse(text: &str, path: &Path, overrides: &[String]) -> Result<Config, ConfigError> {
    let failed = |error: toml::de::Error| ConfigError::Parse { path: path.to_owned(), message: explain(&error) };
    let mut table: Table = toml::from_str(text).map_err(failed)?;
    for text in overrides {
        apply(&mut table, text)?;
    }
    // Without overrides the text itself is read, so that an error can show its line.
    let config = if overrides.is_empty() { toml::from_str(text) } else { Config::deserialize(table.clone()) };
    let mut config = config.map_err(failed)?;
    check(&config, &table).map_err(|error| with_place(error, text, path, overrides))?;
    if !config.train.phases.is_empty() {
        config.train.epochs = config.train.phases.iter().map(|phase| phase.epochs).sum();
    }
    Ok(config)
}

/// Adds where the key of the error was written.
fn with_place(error: ConfigError, text: &str, path: &Path, overrides: &[String]) -> ConfigError {
    let ConfigError::Value { key, message, .. } = error else { return error };
    let is_override =
        |text: &&String| text.split_once('=').is_some_and(|(set, _)| key.starts_with(set.trim()) || set.trim().starts_with(&key));
    let place = match overrides.iter().rfind(is_override) {
        Some(text) => format!(": --set {text}"),
        None => line_of(text, &key).map_or(String::new(), |line| format!(": line {line} of {}", path.display())),
    };
    ConfigError::Value { key, message, place }
}

/// The dotted keys in which two configurations differ, each with the old and the new value.
pub fn changed_keys(old: &Config, new: &Config) -> Vec<(String, String, String)> {
    let (old, new) = (flatten(old), flatten(new));
    let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let text = |map: &BTreeMap<String, Value>, key: &str| map.get(key).map_or("nothing".to_owned(), ToString::to_string);
    keys.into_iter().filter(|key| old.get(*key) != new.get(*key)).map(|key| (key.clone(), text(&old, key), text(&new, key))).collect()
}

fn flatten(config: &Config) -> BTreeMap<String, Value> {
    fn walk(prefix: &str, table: &Table, out: &mut BTreeMap<String, Value>) {
        for (key, value) in table {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                Value::Table(inner) => walk(&path, inner, out),
                other => _ = out.insert(path, other.clone()),
            }
        }
    }
    let table = Table::try_from(config).expect("a configuration is a table");
    let mut out = BTreeMap::new();
    walk("", &table, &mut out);
    out
}

/// Sets `key.path=value` in `table`. A value that isn't TOML is taken as a string, so that quotes aren't needed.
fn apply(table: &mut Table, text: &str) -> Result<(), ConfigError> {
    let bad = || ConfigError::Override(text.to_owned());
    let (path, value) = text.split_once('=').ok_or_else(bad)?;
    let value = toml::from_str::<Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let mut keys: Vec<_> = path.trim().split('.').collect();
    let last = keys.pop().filter(|key| !key.is_empty()).ok_or_else(bad)?;
    let mut table = table;
    for key in keys {
        let entry = table.entry(key).or_insert_with(|| Value::Table(Table::new()));
        table = entry.as_table_mut().ok_or_else(bad)?;
    }
    table.insert(last.to_owned(), value);
    Ok(())
}

/// The parser's message with the nearest known name, where the name was unknown.
fn explain(error: &toml::de::Error) -> String {
    let message = error.to_string().trim_end().to_owned();
    let mut names = error.message().split('`').skip(1).step_by(2);
    let suggestion = (error.message().contains("unknown"))
        .then(|| {
            let found = names.next()?;
            names
                .map(|name| (strsim::jaro_winkler(found, name), name))
                .filter(|(similarity, _)| *similarity > 0.75)
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map(|(_, name)| format!("; did you mean `{name}`?"))
        })
        .flatten();
    message + suggestion.as_deref().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "name = 'x'\n[data]\ntrain = 'pictures'\n";

    fn parsed(text: &str, overrides: &[&str]) -> Result<Config, String> {
        let overrides: Vec<_> = overrides.iter().map(|text| (*text).to_owned()).collect();
        parse(text, Path::new("recipe.toml"), &overrides).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_key_is_an_error_with_the_nearest_known_one() {
        for (text, expected) in [
            ("[train]\nepoch = 3\n", "did you mean `epochs`?"),
            ("[augment]\nrotation = 3\n", "did you mean `rotation_range`?"),
            ("[train]\noptimizer = { kind = 'adam', lerning_rate = 1.0 }\n", "did you mean `learning_rate`?"),
            ("[train]\noptimizer = { kind = 'adma' }\n", "did you mean `adam`?"),
            ("[data]\ntrain = 'x'\ncolour = 'rgb'\n", "did you mean `color`?"),
        ] {
            let text = if text.starts_with("[data]") { format!("name = 'x'\n{text}") } else { format!("{SMALL}{text}") };
            let error = parsed(&text, &[]).expect_err("an unknown key");
            assert!(error.contains(expected) && error.ends_with(": recipe.toml"), "{error}");
        }
    }

    #[test]
    fn an_override_takes_the_place_of_the_file_and_may_be_a_bare_word() {
        let config =
            parsed(SMALL, &["train.epochs=5", "device=gpu:1", "train.early_stopping={ patience = 2 }", "data.test=a/b"]).expect("parsed");
        assert_eq!(config.train.epochs, 5);
        assert_eq!(config.device.to_string(), "gpu:1");
        assert_eq!(config.train.early_stopping.expect("set").patience, 2);
        assert_eq!(config.data.test.as_deref(), Some("a/b"));
        for text in ["train.epochs", "=5", "name.epochs=5"] {
            assert!(parsed(SMALL, &[text]).expect_err("malformed").contains("--set"), "{text}");
        }
    }

    #[test]
    fn the_resolved_configuration_reads_back_as_itself() {
        let text = format!(
            "{SMALL}normalize = {{ mean = [0.5, 0.5, 0.5], std = [0.2, 0.2, 0.2] }}\n[augment]\nzoom_range = [0.9, 1.1]\n\
             [train]\nclass_weights = {{ a = 2.0 }}\nmax_time = '90m'\nschedule = {{ kind = 'plateau', monitor = 'val_loss' }}\n\
             early_stopping = {{ monitor = 'val_macro_f1' }}\n"
        );
        let config = parsed(&text, &[]).expect("parsed");
        assert_eq!(parsed(&config.to_toml(), &[]).expect("parsed again"), config);
    }

    #[test]
    fn changed_keys_are_named_with_both_values() {
        let old = parsed(SMALL, &[]).expect("parsed");
        let new = parsed(SMALL, &["train.batch_size=8", "train.early_stopping.patience=3"]).expect("parsed");
        let keys: Vec<_> = changed_keys(&old, &new).into_iter().map(|(key, ..)| key).collect();
        assert!(keys.contains(&"train.batch_size".to_owned()), "{keys:?}");
        assert!(keys.contains(&"train.early_stopping.patience".to_owned()), "{keys:?}");
        assert!(changed_keys(&old, &old).is_empty());
    }
}
