//! Errors of a configuration, and how problems are collected.

use std::{fmt, path::PathBuf};

/// An error in a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the recipe: {error}{}: {}", read_hint(.error), path.display())]
    Read {
        /// Path of the configuration file.
        path: PathBuf,
        /// Error of the system.
        error: std::io::Error,
    },
    /// The file isn't TOML.
    #[error("{message}: {place}")]
    Parse {
        /// What is wrong.
        message: String,
        /// Where it is, such as "line 3 of FILE".
        place: String,
    },
    /// Unknown keys, values of the wrong kind or that can't work, options that would have no
    /// effect.
    #[error("{}", problem_words(.0))]
    Values(Vec<Problem>),
    /// A `--set` that can't be parsed.
    #[error("--set {text}: {message}")]
    Override {
        /// The argument as written.
        text: String,
        /// What was found and what was expected.
        message: String,
    },
}

fn read_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::IsADirectory => {
            "; to train on the images of a folder: emberlens train FOLDER"
        }
        std::io::ErrorKind::InvalidData => "; a recipe is TOML in UTF-8",
        _ => "",
    }
}

/// A value that isn't accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The dotted key.
    pub key: String,
    /// What was found, what was expected and what to do.
    pub message: String,
    /// Where it was written, such as ": line 3 of FILE"; empty for a default.
    pub place: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            message,
            place,
        } = self;
        write!(f, "`{key}`: {message}{place}")
    }
}

fn problem_words(problems: &[Problem]) -> String {
    match problems {
        [problem] => problem.to_string(),
        _ => {
            let lines: Vec<_> = problems
                .iter()
                .map(|problem| format!("\n- {problem}"))
                .collect();
            format!(
                "{} values of the recipe don't fit:{}",
                problems.len(),
                lines.concat()
            )
        }
    }
}

/// Collects problems, one per key: later ones of the same key would only follow from the first.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    /// Returns a collector for the keys of one table of the recipe, such as `train.optimizer`.
    pub(super) fn under<'a>(&'a mut self, table: &'a str) -> Under<'a> {
        Under {
            problems: self,
            table,
        }
    }

    /// Adds a problem.
    pub(super) fn bad(&mut self, key: &str, message: impl Into<String>) {
        if self.0.iter().all(|problem| problem.key != key) {
            self.0.push(Problem {
                key: key.to_owned(),
                message: message.into(),
                place: String::new(),
            });
        }
    }

    /// Adds a problem unless `holds`.
    pub(super) fn require(
        &mut self,
        holds: bool,
        key: &str,
        found: impl fmt::Display,
        expected: &str,
    ) {
        if !holds {
            self.bad(key, format!("found {found}, expected {expected}"));
        }
    }
}

/// Collects the problems of one table of the recipe.
pub(super) struct Under<'a> {
    problems: &'a mut Problems,
    table: &'a str,
}

impl Under<'_> {
    /// Adds a problem with a key of the table.
    pub(super) fn bad(&mut self, key: &str, message: impl Into<String>) {
        self.problems.bad(&format!("{}.{key}", self.table), message);
    }

    /// Adds a problem with a key of the table unless `holds`.
    pub(super) fn require(
        &mut self,
        holds: bool,
        key: &str,
        found: impl fmt::Display,
        expected: &str,
    ) {
        let key = format!("{}.{key}", self.table);
        self.problems.require(holds, &key, found, expected);
    }
}
