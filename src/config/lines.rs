//! Where in a TOML text a key was written.

use toml::de::{DeTable, DeValue};

/// The line of a dotted key, counted from 1: of its nearest written parent if it wasn't written itself.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut start = None;
    for part in key.split('.') {
        let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == part) else { break };
        start = Some(name.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    Some(text[..start?].matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_tables_inline_tables_and_dotted() {
        let text = "name = 'x'\n[augment]\nzoom_range = 1\njpeg = { range = [1, 2] }\n\n[augment.class.a]\nhue.range = [0, 1]\n";
        for (key, line) in [
            ("name", Some(1)),
            ("augment.zoom_range", Some(3)),
            ("augment.jpeg.range", Some(4)),
            ("augment.jpeg.probability", Some(4)),
            ("augment.class.a.hue.range", Some(7)),
            ("train.epochs", None),
        ] {
            assert_eq!(line_of(text, key), line, "{key}");
        }
    }
}
