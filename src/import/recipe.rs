//! A recipe under construction: keys, each with the line of the notebook that it comes from.

use std::{fmt::Write, path::Path};

use notebook_reader::Place;
use toml::Value;

use super::findings::{Findings, Kind};
use crate::config::{self, ConfigError};

/// Longest line of a table that all its comments stand behind.
const LONGEST: usize = 60;

/// A recipe under construction.
#[derive(Debug)]
pub(super) struct Recipe {
    /// Name of the notebook's file.
    file: String,
    name: String,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// The table, as a dotted path; empty for the top.
    section: String,
    key: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    One(Line),
    /// An array with an element on each line.
    Several(Vec<Line>),
}

/// A value, where it comes from, and what is to be said of it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) value: Value,
    pub(super) place: Place,
    pub(super) note: String,
}

impl Line {
    pub(super) fn new(value: impl Into<Value>, place: Place) -> Self {
        Self {
            value: value.into(),
            place,
            note: String::new(),
        }
    }

    fn comment(&self) -> String {
        match (self.place == Place::default(), self.note.is_empty()) {
            (true, true) => String::new(),
            (true, false) => format!("# {}", self.note),
            (false, true) => format!("# {}", self.place),
            (false, false) => format!("# {}: {}", self.place, self.note),
        }
    }
}

impl Recipe {
    pub(super) fn new(name: &str, file: &str) -> Self {
        Self {
            file: file.to_owned(),
            name: name.to_owned(),
            entries: Vec::new(),
        }
    }

    /// Sets a key, such as `data.image_size`.
    pub(super) fn set(&mut self, path: &str, value: impl Into<Value>, place: Place) {
        self.set_line(path, Line::new(value, place));
    }

    /// Sets a key whose value is a default of Keras.
    pub(super) fn set_default(&mut self, path: &str, value: impl Into<Value>, place: Place) {
        self.set_noted(path, value, place, "Keras's default");
    }

    /// Sets a key, with a remark in its comment.
    pub(super) fn set_noted(
        &mut self,
        path: &str,
        value: impl Into<Value>,
        place: Place,
        note: &str,
    ) {
        let note = note.to_owned();
        self.set_line(
            path,
            Line {
                note,
                ..Line::new(value, place)
            },
        );
    }

    fn set_line(&mut self, path: &str, line: Line) {
        let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
        self.set_in(section, key, line);
    }

    /// Sets a key of a table whose keys are names of any kind.
    pub(super) fn set_in(&mut self, section: &str, key: &str, line: Line) {
        self.put(section, key, Content::One(line));
    }

    /// Sets a key to a list with an element on each line.
    pub(super) fn set_list(&mut self, path: &str, lines: Vec<Line>) {
        let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
        self.put(section, key, Content::Several(lines));
    }

    fn put(&mut self, section: &str, key: &str, content: Content) {
        let (section, key) = (section.to_owned(), key.to_owned());
        let is_it = |entry: &&mut Entry| entry.section == section && entry.key == key;
        match self.entries.iter_mut().find(is_it) {
            Some(entry) => entry.content = content,
            None => self.entries.push(Entry {
                section,
                key,
                content,
            }),
        }
    }

    /// Returns whether a key or a table is set.
    pub(super) fn has(&self, path: &str) -> bool {
        self.entries.iter().any(|entry| entry.is_of(path))
    }

    /// Returns the number that a key is set to.
    pub(super) fn number(&self, path: &str) -> Option<f64> {
        let entry = self.entries.iter().find(|entry| entry.is_of(path))?;
        match &entry.content {
            Content::One(line) => line.value.as_float(),
            Content::Several(_) => None,
        }
    }

    /// Removes a key, or all keys of a table.
    pub(super) fn remove(&mut self, path: &str) {
        self.entries.retain(|entry| !entry.is_of(path));
    }

    /// Returns the recipe as TOML. What the reader of recipes refuses is taken out and reported.
    pub(super) fn checked(mut self, findings: &mut Findings) -> Result<String, ConfigError> {
        loop {
            let text = self.to_toml();
            let error = match config::parse(&text, Path::new("recipe.toml"), &[]) {
                Ok(_) => return Ok(text),
                Err(error) => error,
            };
            let ConfigError::Values(problems) = &error else {
                return Err(error);
            };
            let before = self.entries.len();
            for problem in problems {
                self.leave_out(&problem.key, &problem.message, findings);
            }
            if self.entries.len() == before {
                return Err(error);
            }
        }
    }

    /// Takes out what a problem is about: its key, or the table around it.
    fn leave_out(&mut self, key: &str, message: &str, findings: &mut Findings) {
        let whole = key.split(' ').next().unwrap_or(key);
        let mut path = whole;
        let found = loop {
            if let Some(entry) = self.entries.iter().find(|entry| entry.is_of(path)) {
                break entry;
            }
            match path.rsplit_once('.') {
                Some((parent, _)) => path = parent,
                None => return,
            }
        };
        let place = match &found.content {
            Content::One(line) => Some(line.place),
            Content::Several(lines) => lines.first().map(|line| line.place),
        };
        let what = format!("`{key}` can't be as in the notebook: {message}");
        let path = if path == "model.layers" {
            "model"
        } else {
            path
        }
        .to_owned();
        let here = format!("`{path}` is left out");
        findings.add(Kind::NotUnderstood, place, what, here);
        self.remove(&path);
    }

    fn to_toml(&self) -> String {
        let mut text = format!(
            "# Written by `emberlens import {}`: each key with the line that it comes from.\n\
             name = {}\n",
            self.file,
            Value::String(self.name.clone())
        );
        let mut sections: Vec<&str> = Vec::new();
        for top in ["", "data", "augment", "model", "train"] {
            let mut inner: Vec<&str> = Vec::new();
            for entry in self.entries.iter().filter(|entry| entry.top() == top) {
                if !inner.contains(&entry.section.as_str()) {
                    inner.push(&entry.section);
                }
            }
            // Keys of a table come before the tables in it.
            inner.sort_by_key(|section| *section != top);
            sections.extend(inner);
        }
        for section in sections {
            if !section.is_empty() {
                let _ = write!(text, "\n[{section}]\n");
            }
            let own = self.entries.iter().filter(|entry| entry.section == section);
            let lines: Vec<_> = own.flat_map(Entry::lines).collect();
            let lengths = lines.iter().map(|(line, _)| line.chars().count());
            let width = lengths
                .filter(|length| *length <= LONGEST)
                .max()
                .unwrap_or(0);
            for (line, comment) in &lines {
                let _ = match comment.as_str() {
                    "" => writeln!(text, "{line}"),
                    comment => writeln!(text, "{line:width$}  {comment}"),
                };
            }
        }
        text
    }
}

impl Entry {
    fn top(&self) -> &str {
        self.section.split('.').next().unwrap_or_default()
    }

    /// Returns whether the entry is the key at `path`, or in the table there.
    fn is_of(&self, path: &str) -> bool {
        let own = if self.section.is_empty() {
            self.key.clone()
        } else {
            format!("{}.{}", self.section, self.key)
        };
        own == path
            || own
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('.'))
    }

    /// Returns the lines of TOML, each with its comment.
    fn lines(&self) -> Vec<(String, String)> {
        let is_bare = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
        let key = if !self.key.is_empty() && self.key.chars().all(is_bare) {
            self.key.clone()
        } else {
            Value::String(self.key.clone()).to_string()
        };
        match &self.content {
            Content::One(line) => {
                vec![(format!("{key} = {}", written(&line.value)), line.comment())]
            }
            Content::Several(lines) => {
                let inner = lines
                    .iter()
                    .map(|line| (format!("    {},", written(&line.value)), line.comment()));
                std::iter::once((format!("{key} = ["), String::new()))
                    .chain(inner)
                    .chain([("]".to_owned(), String::new())])
                    .collect()
            }
        }
    }
}

/// Writes a value: small numbers as people write them, and in a table first the key that tells
/// what it is.
fn written(value: &Value) -> String {
    const FIRST: [&str; 6] = [
        "conv",
        "separable_conv",
        "max_pool",
        "average_pool",
        "dropout",
        "epochs",
    ];
    match value {
        Value::Table(table) => {
            let mut keys: Vec<&String> = table.keys().collect();
            keys.sort_by_key(|key| !FIRST.contains(&key.as_str()));
            let pairs: Vec<_> = keys
                .iter()
                .map(|key| format!("{key} = {}", written(&table[*key])))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Float(number) if *number != 0.0 && number.abs() < 1e-3 => format!("{number:e}"),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Place = Place { cell: 2, line: 5 };

    #[test]
    fn keys_stand_in_their_tables_with_their_lines() {
        let mut recipe = Recipe::new("my notebook", "a.ipynb");
        recipe.set("train.optimizer.kind", "adam", AT);
        recipe.set_default("train.optimizer.epsilon", 1e-7, AT);
        recipe.set("train.epochs", 5, AT);
        recipe.set("data.train", "images", AT);
        recipe.set_in("train.class_weights", "a b", Line::new(2.0, AT));
        recipe.set("seed", 7, AT);
        let mut findings = Findings::default();
        let text = recipe.checked(&mut findings).expect("valid");
        assert_eq!(
            text,
            "# Written by `emberlens import a.ipynb`: each key with the line that it comes from.\n\
             name = \"my notebook\"\n\
             seed = 7  # cell 2, line 5\n\n\
             [data]\n\
             train = \"images\"  # cell 2, line 5\n\n\
             [train]\n\
             epochs = 5  # cell 2, line 5\n\n\
             [train.optimizer]\n\
             kind = \"adam\"   # cell 2, line 5\n\
             epsilon = 1e-7  # cell 2, line 5: Keras's default\n\n\
             [train.class_weights]\n\
             \"a b\" = 2.0  # cell 2, line 5\n"
        );
        assert!(findings.sorted().is_empty());
    }

    #[test]
    fn what_the_reader_of_recipes_refuses_is_taken_out_and_reported() {
        let mut recipe = Recipe::new("x", "a.py");
        recipe.set("data.train", "images", AT);
        recipe.set("augment.fill_mode", "reflect", AT);
        recipe.set("model.architecture", "layers", AT);
        recipe.set("train.optimizer.kind", "sgd", AT);
        recipe.set("train.optimizer.momentum", 2.0, AT);
        let mut findings = Findings::default();
        let text = recipe.checked(&mut findings).expect("valid");
        assert!(
            !text.contains("fill_mode") && !text.contains("momentum"),
            "{text}"
        );
        assert!(!text.contains("[model]") && text.contains("sgd"), "{text}");
        assert_eq!(findings.sorted().len(), 3);
    }
}
