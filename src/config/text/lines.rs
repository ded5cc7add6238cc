//! Finds the line of a TOML text on which a value was written.

use std::fmt;

use toml::de::{DeTable, DeValue};

/// A step from a table to a value in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a table.
    Key(String),
    /// Into a list, at an index counted from 0.
    Entry(usize),
}

/// The path from the root to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyPath(pub(super) Vec<Step>);

impl KeyPath {
    /// Creates a path from a dotted key, with entries of lists as they are displayed.
    pub(super) fn of(dotted: &str) -> Self {
        let entry = |key: &str| {
            let (list, entry) = key.strip_suffix(')')?.rsplit_once(" (entry ")?;
            Some([
                Step::Key(list.to_owned()),
                Step::Entry(entry.parse::<usize>().ok()?.checked_sub(1)?),
            ])
        };
        let steps =
            |key: &str| entry(key).map_or_else(|| vec![Step::Key(key.to_owned())], Vec::from);
        Self(dotted.split('.').flat_map(steps).collect())
    }

    pub(super) fn key(&self, key: &str) -> Self {
        Self([self.0.as_slice(), &[Step::Key(key.to_owned())]].concat())
    }

    pub(super) fn entry(&self, index: usize) -> Self {
        Self([self.0.as_slice(), &[Step::Entry(index)]].concat())
    }

    /// Returns the path of the list that the entry belongs to.
    pub(super) fn list(&self) -> Self {
        Self(
            self.0
                .iter()
                .filter(|step| matches!(step, Step::Key(_)))
                .cloned()
                .collect(),
        )
    }

    /// Returns whether one of the paths is the other or leads to it.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }

    /// Returns the line of `text` that the value was written on, counted from 1; that of its
    /// nearest written parent if it wasn't written itself.
    pub(super) fn line_in(&self, text: &str) -> Option<usize> {
        let root = DeTable::parse(text).ok()?;
        let mut start = None;
        let mut value: Option<&DeValue<'_>> = None;
        for step in &self.0 {
            let table = match value {
                None => Some(root.get_ref()),
                Some(DeValue::Table(inner)) => Some(inner),
                Some(_) => None,
            };
            let next = match (step, table, value) {
                (Step::Key(key), Some(table), _) => table
                    .iter()
                    .find(|(name, _)| name.get_ref() == key.as_str())
                    .map(|(name, value)| (name.span().start, value.get_ref())),
                (Step::Entry(index), _, Some(DeValue::Array(list))) => list
                    .get(*index)
                    .map(|value| (value.span().start, value.get_ref())),
                _ => None,
            };
            let Some((found, inner)) = next else { break };
            (start, value) = (Some(found), Some(inner));
        }
        Some(line_at(text, start?))
    }
}

/// Formats the path with dots; entries of a list are counted from 1, as in
/// `train.phases (entry 2).epochs`.
impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if index == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Entry(entry) => write!(f, " (entry {})", entry + 1)?,
            }
        }
        Ok(())
    }
}

/// Returns the line of a byte of `text`, counted from 1.
pub(super) fn line_at(text: &str, byte: usize) -> usize {
    text.bytes()
        .take(byte)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_tables_inline_tables_lists_and_dotted() {
        let text = "name = 'x'\n[augment]\nzoom_range = 1\njpeg = { range = [1, 2] }\n\n\
                    [augment.class.a]\nhue.range = [0, 1]\n[[train.phases]]\nepochs = 1\n\
                    [[train.phases]]\nepochs = 2\n[data]\nimage_size = [\n 1,\n 2,\n]\n";
        let phase = KeyPath::of("train.phases").entry(1);
        for (path, line) in [
            (KeyPath::of("name"), Some(1)),
            (KeyPath::of("augment.zoom_range"), Some(3)),
            (KeyPath::of("augment.jpeg.range"), Some(4)),
            (KeyPath::of("augment.jpeg.probability"), Some(4)),
            (KeyPath::of("augment.class.a.hue.range"), Some(7)),
            (phase.key("epochs"), Some(11)),
            (KeyPath::of("data.image_size").entry(1), Some(15)),
            (KeyPath::of("model.hidden"), None),
        ] {
            assert_eq!(path.line_in(text), line, "{path}");
        }
        assert_eq!(
            phase.key("epochs").to_string(),
            "train.phases (entry 2).epochs"
        );
        assert_eq!(
            KeyPath::of("train.phases (entry 2).epochs"),
            phase.key("epochs")
        );
    }

    #[test]
    fn paths_meet_where_one_leads_to_the_other() {
        for (a, b, expected) in [
            ("train", "train.epochs", true),
            ("train.epochs", "train", true),
            ("train.epoch", "train.epochs", false),
        ] {
            assert_eq!(KeyPath::of(a).meets(&KeyPath::of(b)), expected, "{a} {b}");
        }
    }
}
