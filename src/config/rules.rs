//! What can be wrong with a configuration, and how problems are gathered.

use std::{fmt, path::PathBuf};

/// What can be wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the recipe: {error}{}: {}", read_hint(.error), path.display())]
    Read {
        /// The configuration file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Not TOML.
    #[error("{message}: {place}")]
    Parse {
        /// What is wrong.
        message: String,
        /// "line 3 of FILE".
        place: String,
    },
    /// Unknown keys, values of the wrong kind or that can't work, options that would have no
    /// effect.
    #[error("{}", problem_words(.0))]
    Values(Vec<Problem>),
    /// A `--set` that can't be read.
    #[error("--set {text}: {message}")]
    Override {
        /// As it was written.
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

/// One value that doesn't fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, dotted.
    pub key: String,
    /// What was found, what was expected and what to do.
    pub message: String,
    /// Where it was written: ": line 3 of FILE"; empty for a default.
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

/// Problems as they are found, one a key: what follows from the first would only repeat it.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    /// Gathers the problems of the keys of one table of the recipe, such as `train.optimizer`.
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

/// The problems of one table of the recipe.
pub(super) struct Under<'a> {
    problems: &'a mut Problems,
    table: &'a str,
}

impl Under<'_> {
    /// Adds a problem of a key of the table.
    pub(super) fn bad(&mut self, key: &str, message: impl Into<String>) {
        self.problems.bad(&format!("{}.{key}", self.table), message);
    }

    /// Adds a problem of a key of the table unless `holds`.
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
