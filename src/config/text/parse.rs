//! Turns TOML text and `--set` overrides into a checked [`Config`], with errors that say what was
//! probably meant.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use toml::{Table, Value};

use super::{
    forms::{Meant, Misfit, has_kinds},
    lines::KeyPath,
    meant::misfits,
    overrides::Override,
    syntax::syntax_words,
};
use crate::config::{
    Config, ConfigError, Problem,
    check::{check, with_defaults},
};

/// Reads the configuration at `path`, applies the overrides, and checks it.
///
/// # Errors
/// Returns [`ConfigError`] if the file can't be read, or if it or an override isn't valid.
pub fn load(path: &Path, overrides: &[String]) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
        path: path.to_owned(),
        error,
    })?;
    parse(&text, path, overrides)
}

/// As [`load`], for a text; `path` is for messages.
///
/// # Errors
/// Returns [`ConfigError`] if the text or an override isn't valid.
pub fn parse(text: &str, path: &Path, overrides: &[String]) -> Result<Config, ConfigError> {
    let mut table: Table = toml::from_str(text).map_err(|error| {
        let (line, message) = syntax_words(text, &error);
        ConfigError::Parse {
            message,
            place: format!("line {line} of {}", path.display()),
        }
    })?;
    let overrides = overrides
        .iter()
        .map(|text| Override::parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    overrides
        .iter()
        .try_for_each(|change| change.apply(&mut table))?;
    let source = Source {
        text,
        path,
        overrides: &overrides,
    };
    let misfits = misfits(&table);
    if !misfits.is_empty() {
        return Err(ConfigError::Values(
            misfits
                .into_iter()
                .map(|misfit| source.explain(misfit))
                .collect(),
        ));
    }
    let resolved = with_defaults(table.clone());
    let mut config = Config::deserialize(resolved).map_err(|error| ConfigError::Parse {
        message: error.message().to_owned(),
        place: path.display().to_string(),
    })?;
    let problems = check(&config, &table);
    if !problems.is_empty() {
        return Err(ConfigError::Values(
            problems
                .into_iter()
                .map(|problem| source.with_place(problem))
                .collect(),
        ));
    }
    config.data.takes_unlabeled = config.model.architecture.is_autoencoder();
    if !config.train.phases.is_empty() {
        config.train.epochs = config.train.phases.iter().map(|phase| phase.epochs).sum();
    }
    Ok(config)
}

/// The sources of a value: the file and the overrides.
struct Source<'a> {
    text: &'a str,
    path: &'a Path,
    overrides: &'a [Override],
}

impl Source<'_> {
    /// Returns the last override that set the value, or something in it or around it.
    fn change(&self, path: &KeyPath) -> Option<&Override> {
        self.overrides
            .iter()
            .rfind(|change| change.path.meets(path))
    }

    /// Returns where the value was written; `None` for a default.
    fn place(&self, path: &KeyPath) -> Option<String> {
        let change = self
            .change(path)
            .map(|change| format!("--set {}", change.text));
        change.or_else(|| {
            path.line_in(self.text)
                .map(|line| format!("line {line} of {}", self.path.display()))
        })
    }

    fn explain(&self, misfit: Misfit) -> Problem {
        let Misfit {
            path,
            message,
            meant,
            ..
        } = misfit;
        let meant = match meant {
            None => String::new(),
            Some(Meant::Value(value)) => format!("; did you mean {value}?"),
            Some(Meant::Sibling(name)) => format!("; did you mean `{name}`?"),
            Some(Meant::Key(key)) => {
                match self.change(&path).filter(|change| change.path == path) {
                    // A name where a table is expected is the name of its kind.
                    Some(change) if change.is_text() && has_kinds(&key) => {
                        format!("; did you mean {}?", change.for_key(&format!("{key}.kind")))
                    }
                    Some(change) => format!("; did you mean {}?", change.for_key(&key)),
                    None => format!("; did you mean `{key}`?"),
                }
            }
        };
        let place = self
            .place(&path)
            .unwrap_or_else(|| self.path.display().to_string());
        Problem {
            key: path.to_string(),
            message: message + &meant,
            place: format!(": {place}"),
        }
    }

    /// Adds where the key was written.
    fn with_place(&self, problem: Problem) -> Problem {
        let place = self
            .place(&KeyPath::of(&problem.key))
            .map_or_else(String::new, |place| format!(": {place}"));
        Problem { place, ..problem }
    }
}

/// Returns the name in the configuration at `path`, whatever else it says. Returns `None` if there
/// is none.
pub fn name_of(path: &Path) -> Option<String> {
    let table: Table = toml::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    Some(table.get("name")?.as_str()?.to_owned())
}

/// Returns the dotted keys in which two configurations differ, each with the old and the new value.
pub fn changed_keys(old: &Config, new: &Config) -> Vec<(String, String, String)> {
    let (old, new) = (flatten(old), flatten(new));
    let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let text = |map: &BTreeMap<String, Value>, key: &str| {
        map.get(key)
            .map_or("nothing".to_owned(), ToString::to_string)
    };
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| (key.clone(), text(&old, key), text(&new, key)))
        .collect()
}

/// Returns the value of every option as TOML writes it, by its dotted key.
pub fn values(config: &Config) -> BTreeMap<String, String> {
    let values = flatten(config).into_iter();
    values
        .map(|(key, value)| (key, value.to_string()))
        .collect()
}

fn flatten(config: &Config) -> BTreeMap<String, Value> {
    fn walk(prefix: &str, table: &Table, out: &mut BTreeMap<String, Value>) {
        for (key, value) in table {
            let path = if prefix.is_empty() {
                key.clone()
            } else {
                format!("{prefix}.{key}")
            };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    const SMALL: &str = "name = 'x'\n[data]\ntrain = 'images'\n";

    fn parsed(text: &str, overrides: &[&str]) -> Result<Config, String> {
        let overrides: Vec<_> = overrides.iter().map(|text| (*text).to_owned()).collect();
        parse(text, Path::new("recipe.toml"), &overrides).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_key_is_an_error_with_the_nearest_known_one() {
        for (text, expected) in [
            ("[train]\nepoch = 3\n", "did you mean `epochs`?"),
            (
                "[augment]\nrotation = 3\n",
                "did you mean `rotation_range`?",
            ),
            (
                "[train]\noptimizer = { kind = 'adam', lerning_rate = 1.0 }\n",
                "did you mean `learning_rate`?",
            ),
            (
                "[train]\noptimizer = { kind = 'adma' }\n",
                "did you mean `adam`?",
            ),
            (
                "[data]\ntrain = 'x'\ncolour = 'rgb'\n",
                "did you mean `color`?",
            ),
        ] {
            let text = if text.starts_with("[data]") {
                format!("name = 'x'\n{text}")
            } else {
                format!("{SMALL}{text}")
            };
            let error = parsed(&text, &[]).expect_err("an unknown key");
            assert!(
                error.contains(expected) && error.ends_with(" of recipe.toml"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_override_takes_the_place_of_the_file_and_may_be_a_bare_word() {
        let config = parsed(
            SMALL,
            &[
                "train.epochs=5",
                "device=gpu:1",
                "train.early_stopping={ patience = 2 }",
                "data.test=a/b",
            ],
        )
        .expect("parsed");
        assert_eq!(config.train.epochs, 5);
        assert_eq!(config.device.to_string(), "gpu:1");
        assert_eq!(config.train.early_stopping.expect("set").patience, 2);
        assert_eq!(
            config.data.test.as_ref().and_then(Source::path),
            Some("a/b")
        );
        for text in ["train.epochs", "=5", "name.epochs=5"] {
            assert!(
                parsed(SMALL, &[text])
                    .expect_err("malformed")
                    .contains("--set"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_resolved_configuration_reads_back_as_itself() {
        let text = format!(
            "{SMALL}normalize = {{ mean = [0.5, 0.5, 0.5], std = [0.2, 0.2, 0.2] }}\n[augment]\n\
             zoom_range = [0.9, 1.1]\n[train]\nclass_weights = {{ a = 2.0 }}\nmax_time = '90m'\n\
             schedule = {{ kind = 'plateau', monitor = 'val_loss' }}\n\
             early_stopping = {{ monitor = 'val_macro_f1' }}\n"
        );
        let config = parsed(&text, &[]).expect("parsed");
        assert_eq!(
            parsed(&config.to_toml(), &[]).expect("parsed again"),
            config
        );
    }

    #[test]
    fn changed_keys_are_named_with_both_values() {
        let old = parsed(SMALL, &[]).expect("parsed");
        let new = parsed(
            SMALL,
            &["train.batch_size=8", "train.early_stopping.patience=3"],
        )
        .expect("parsed");
        let keys: Vec<_> = changed_keys(&old, &new)
            .into_iter()
            .map(|(key, ..)| key)
            .collect();
        assert!(keys.contains(&"train.batch_size".to_owned()), "{keys:?}");
        assert!(
            keys.contains(&"train.early_stopping.patience".to_owned()),
            "{keys:?}"
        );
        assert!(changed_keys(&old, &old).is_empty());
    }

    /// Words of Rust and its libraries, which say nothing to the writer of a recipe.
    const FOREIGN: [&str; 14] = [
        "untagged",
        "tagged enum",
        "enum",
        "variant",
        "expected struct",
        "usize",
        "f64",
        "u64",
        "i64",
        "invalid type",
        "invalid length",
        "missing field",
        "unknown field",
        "sequence",
    ];

    /// Values of every type.
    const WRONG: [&str; 15] = [
        "true",
        "0",
        "-1",
        "3",
        "0.5",
        "nan",
        "1e300",
        "9223372036854775807",
        "'x'",
        "''",
        "[]",
        "[1, 2, 3]",
        "['a']",
        "{}",
        "1979-05-27",
    ];

    /// Each value of a full recipe replaced by values of every type, and a key added to each table:
    /// what is wrong is found before serde finds it, in our words and at its place.
    #[test]
    fn no_wrong_value_reaches_serde_or_speaks_its_words() {
        fn paths(prefix: &str, value: &Value, found: &mut Vec<String>) {
            found.push(prefix.to_owned());
            for (key, inner) in value.as_table().into_iter().flatten() {
                paths(
                    &if prefix.is_empty() {
                        key.clone()
                    } else {
                        format!("{prefix}.{key}")
                    },
                    inner,
                    found,
                );
            }
        }
        let full = include_str!("../../../tests/full.toml");
        parsed(full, &[]).expect("a recipe with every key");
        let mut all = Vec::new();
        paths(
            "",
            &Value::Table(toml::from_str(full).expect("TOML")),
            &mut all,
        );
        assert!(all.len() > 90, "{}", all.len());
        let mut refused = 0;
        for path in all.iter().filter(|path| !path.is_empty()) {
            let changes = WRONG
                .iter()
                .map(|value| format!("{path}={value}"))
                .chain([format!("{path}.surplus=1"), format!("{path}=[{{}}]")]);
            for change in changes {
                let Err(error) = parse(
                    full,
                    Path::new("recipe.toml"),
                    std::slice::from_ref(&change),
                ) else {
                    continue;
                };
                refused += 1;
                let text = error.to_string();
                assert!(
                    !matches!(error, ConfigError::Parse { .. }),
                    "{change} reached serde: {text}"
                );
                let foreign = FOREIGN
                    .iter()
                    .find(|word| text.replace(&change, "").contains(*word));
                assert_eq!(foreign, None, "{change}: {text}");
            }
        }
        assert!(refused > 1000, "{refused}");
    }
}
