//! Keras's arguments for image classifiers, and the key of a recipe for each: the table in
//! `docs/coming-from-keras.md`. Checked against Keras 3.15.

mod layers;
mod network;
mod sources;
mod training;

use std::fmt::Write;

pub use layers::KERAS_LAYERS;
pub use network::KERAS_NETWORKS;
pub use sources::KERAS_SOURCES;
pub use training::KERAS_TRAINING;

/// A function, class or layer of Keras.
#[derive(Clone, Copy, Debug)]
pub struct KerasCall {
    /// Its name without modules.
    pub name: &'static str,
    /// Its arguments, in Keras's order.
    pub arguments: &'static [KerasArgument],
}

/// An argument of a [`KerasCall`].
#[derive(Clone, Copy, Debug)]
pub struct KerasArgument {
    /// Its name.
    pub name: &'static str,
    /// What it is here.
    pub here: Counterpart,
    /// Which values it takes here, and what differs; may be empty.
    pub note: &'static str,
}

/// What corresponds to an argument of Keras.
#[derive(Clone, Copy, Debug)]
pub enum Counterpart {
    /// Keys of a recipe, as dotted paths.
    Keys(&'static [&'static str]),
    /// An option of a command.
    Command(&'static str),
    /// Nothing has to be set, for the reason in the note.
    Fixed,
    /// Nothing does the same.
    Missing,
}

const fn keys(
    name: &'static str,
    keys: &'static [&'static str],
    note: &'static str,
) -> KerasArgument {
    let here = Counterpart::Keys(keys);
    KerasArgument { name, here, note }
}

const fn command(name: &'static str, line: &'static str, note: &'static str) -> KerasArgument {
    let here = Counterpart::Command(line);
    KerasArgument { name, here, note }
}

const fn fixed(name: &'static str, note: &'static str) -> KerasArgument {
    let here = Counterpart::Fixed;
    KerasArgument { name, here, note }
}

const fn missing(name: &'static str, note: &'static str) -> KerasArgument {
    let here = Counterpart::Missing;
    KerasArgument { name, here, note }
}

/// Returns the tables of all arguments, as Markdown.
pub fn keras_markdown() -> String {
    let mut text = String::new();
    for call in KERAS_SOURCES.iter().chain(KERAS_TRAINING) {
        let _ = write!(text, "### `{}`\n\n{HEAD}", call.name);
        for argument in call.arguments {
            write_row(&mut text, argument.name, argument);
        }
        text.push('\n');
    }
    for (title, calls) in [
        ("Preprocessing layers", KERAS_LAYERS),
        ("Layers of a network", KERAS_NETWORKS),
    ] {
        let _ = write!(text, "### {title}\n\n{HEAD}");
        for call in calls {
            for argument in call.arguments {
                let name = format!("{}: {}", call.name, argument.name);
                write_row(&mut text, &name, argument);
            }
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len() + 1);
    text
}

const HEAD: &str = "| Keras | here | notes |\n|---|---|---|\n";

fn write_row(text: &mut String, name: &str, argument: &KerasArgument) {
    let here = match argument.here {
        Counterpart::Keys(keys) => {
            let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
            keys.join(", ")
        }
        Counterpart::Command(line) => format!("`{line}`"),
        Counterpart::Fixed => "nothing to set".to_owned(),
        Counterpart::Missing => "none".to_owned(),
    };
    let _ = writeln!(text, "| `{name}` | {here} | {} |", argument.note);
}
