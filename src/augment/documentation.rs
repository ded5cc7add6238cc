//! The part of `docs/augmentation.md` that shows each family at work.

use super::{families::FAMILIES, family::Section};

/// Returns a heading, what it means and an image for each example of each family, as Markdown. The
/// images are made from the headings by `tests/it/docs.rs`.
pub fn examples_markdown() -> String {
    let keras = section(Section::Keras);
    let others = section(Section::Others);
    format!(
        "## ImageDataGenerator's options\n\n{keras}## What ImageDataGenerator lacks\n\nEach is a \
         table with a `probability`, 1 unless said otherwise, and a `range` or settings of its \
         own.\n\n{others}"
    )
}

fn section(section: Section) -> String {
    let examples = FAMILIES
        .iter()
        .filter(|family| family.section() == section)
        .flat_map(|family| family.examples());
    let mut text = String::new();
    for example in examples {
        text += &format!("### `{}`\n\n", example.settings);
        if !example.about.is_empty() {
            text += &format!("{}\n\n", example.about);
        }
        let file = example.name.replace(' ', "_");
        text += &format!("![{}](augmentation/{file}.png)\n\n", example.name);
    }
    text
}
