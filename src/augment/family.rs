//! A family of augmentations: its keys in `[augment]`, which values they take, and how the changes
//! to an image are drawn from them. Each family has a file of its own and a row in `families.rs`.

use std::fmt::Display;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::change::Plan;
use crate::base::rng::Stream;

/// A family whose settings are a `T`.
pub(super) struct Family<T: 'static> {
    /// Keys of `[augment]`: one for a table of settings, or those of a group that is drawn as one.
    pub(super) keys: &'static [&'static str],
    /// Number of the random stream, of [`AUGMENTATION`](crate::base::rng::AUGMENTATION) and of no
    /// other family. With another number every seed gives other images.
    pub(super) stream: u64,
    /// Section of `docs/augmentation.md` in which the examples stand.
    pub(super) section: Section,
    /// Whether it changes color images only.
    pub(super) needs_color: bool,
    /// Whether it mixes the images of a batch, which the `Mixer` does, rather than change each by
    /// itself.
    pub(super) mixes: bool,
    /// Returns what the family does under these settings.
    pub(super) effect: fn(&T) -> Effect,
    /// Adds what can't work. Keys are relative to the family's table, if it has one.
    pub(super) check: fn(&T, &mut Faults),
    /// Draws changes from the family's own stream and adds them to the plan.
    pub(super) draw: fn(&T, Stream, &mut Drawing),
    /// Settings with images in `docs/augmentation.md`. The tests of all families use them too, so
    /// each has to change most images.
    pub(super) examples: &'static [Example],
    /// Settings that switch the family on and leave every pixel as it is, if there are any.
    #[cfg_attr(not(test), expect(dead_code, reason = "a law for the tests to hold"))]
    pub(super) neutral: &'static [&'static str],
}

impl<T> Family<T> {
    /// A family without keys, which a family's file completes.
    pub(super) const NEW: Self = Self {
        keys: &[],
        stream: 0,
        section: Section::Others,
        needs_color: false,
        mixes: false,
        effect: |_| Effect::Values,
        check: |_, _| (),
        draw: |_, _, _| (),
        examples: &[],
        neutral: &[],
    };
}

/// What a family does to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing: it is switched off.
    Nothing,
    /// Changes pixel values, or mirrors the image.
    Values,
    /// Moves pixels, so that they are interpolated and some lie outside the image.
    Moves,
}

/// A section of `docs/augmentation.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// The options of Keras's ImageDataGenerator.
    Keras,
    /// All others.
    Others,
}

/// Settings with an image that shows what they do.
#[derive(Debug)]
pub(super) struct Example {
    /// Name of the image; that of its file has underscores for spaces.
    pub(super) name: &'static str,
    /// Lines of `[augment]`, with commas between them.
    pub(super) settings: &'static str,
    /// What the settings mean, in Markdown; may be empty.
    pub(super) about: &'static str,
}

/// The draw of one image, as it is passed from family to family.
#[derive(Debug)]
pub(super) struct Drawing {
    /// Height and width.
    pub(super) size: [usize; 2],
    pub(super) semantics: Semantics,
    pub(super) plan: Plan,
}

/// How Keras's options are understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Semantics {
    /// As Keras's documentation says: a width shift moves the image sideways, everything else is
    /// about the center of the image, brightness keeps fractions.
    #[default]
    Standard,
    /// As Keras 2.9 to 3.15 does it: shifts exchanged, the center of an image that isn't square
    /// misplaced, brightness truncated to whole values.
    Keras,
}

/// A setting that can't work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Key below `[augment]`, dotted.
    pub key: String,
    /// What was found and what was expected.
    pub message: String,
}

/// Gathers settings that can't work.
#[derive(Debug, Default)]
pub(super) struct Faults {
    found: Vec<Fault>,
    /// Table in which keys stand; empty for `[augment]` itself.
    table: &'static str,
}

impl Faults {
    /// Enters the table of a family; `""` leaves it.
    pub(super) fn enter(&mut self, table: &'static str) {
        self.table = table;
    }

    /// Adds a fault of a key; `""` stands for the table itself.
    pub(super) fn add(&mut self, key: &str, message: impl Into<String>) {
        let dot = if self.table.is_empty() || key.is_empty() {
            ""
        } else {
            "."
        };
        self.found.push(Fault {
            key: format!("{}{dot}{key}", self.table),
            message: message.into(),
        });
    }

    /// Adds a fault unless `holds`.
    pub(super) fn require(
        &mut self,
        holds: bool,
        key: &str,
        found: impl Display,
        expected: impl Display,
    ) {
        if !holds {
            self.add(key, format!("found {found}, expected {expected}"));
        }
    }

    /// Requires `[low, high]` within `least` and `most`.
    pub(super) fn require_range(
        &mut self,
        key: &str,
        [low, high]: [f64; 2],
        [least, most]: [f64; 2],
    ) {
        self.require(
            least <= low && low <= high && high <= most,
            key,
            format!("[{low}, {high}]"),
            format!("[low, high] from {least} to {most}, low before high"),
        );
    }

    /// Requires a probability above 0 under the key `probability`.
    pub(super) fn require_probability(&mut self, probability: f64) {
        let key = "probability";
        self.require(
            (0.0..=1.0).contains(&probability),
            key,
            probability,
            "a probability from 0 to 1",
        );
        self.require(
            probability != 0.0,
            key,
            probability,
            "more than 0; leave the table out to switch it off",
        );
    }

    /// Returns what was gathered.
    pub(super) fn into_found(self) -> Vec<Fault> {
        self.found
    }
}
