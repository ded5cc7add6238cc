//! The written reference is the program's own. `EMBERLENS_WRITE_DOCS=1 cargo test --release docs` writes it anew.

use emberlens::config::{reference_markdown, schema_json};

use crate::support::root;

#[test]
fn the_reference_and_the_schema_are_those_of_the_source() {
    for (file, text) in [("docs/configuration.md", reference_markdown()), ("configs/schema.json", schema_json())] {
        let path = root().join(file);
        if std::env::var_os("EMBERLENS_WRITE_DOCS").is_some() {
            std::fs::write(&path, &text).expect("written");
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "{file} is out of date: run EMBERLENS_WRITE_DOCS=1 cargo test --release docs");
    }
}
