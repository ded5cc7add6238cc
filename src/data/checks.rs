//! Refuses data that can't be trained on, with the cause: classes without an image, no validation
//! images, or weights that leave nothing to learn.

use std::collections::BTreeSet;

use super::{
    batches::dataset::ImageSet,
    error::DataError,
    held::Held,
    listing::{EXTENSIONS, Entry, Part},
    parts::Parts,
    table::{Failure, Skipped},
};
use crate::{
    base::names,
    config::{Data, Source},
};

/// Maximum number of files named in an error.
const NAMED: usize = 5;

/// Checks the listing before anything is read: there must be at least two classes, or one where
/// labels play no part, each with a training image.
///
/// # Errors
/// Returns an error with the cause if there is a single class, or a class without training images.
pub(super) fn listed(parts: &Parts, data: &Data) -> Result<(), DataError> {
    let source = &data.train;
    let passed_over: String = parts
        .passed_over
        .iter()
        .map(|words| format!("; {words}"))
        .collect();
    if parts.classes.len() == 1 && !data.takes_unlabeled {
        let others: Vec<&Skipped> = parts
            .unopened
            .iter()
            .filter(|file| file.class.is_empty())
            .collect();
        let others = if others.is_empty() {
            String::new()
        } else {
            format!("; {}", Skipped::named(others, NAMED))
        };
        return Err(DataError::Classes(format!(
            "found the one class {} in {source}, expected two or more; a class is a folder with \
             images in it (in a CSV, a label){others}{passed_over}",
            names::quoted(&parts.classes[0])
        )));
    }
    let trained: BTreeSet<&String> = parts.train.iter().map(|entry| &entry.class).collect();
    if let Some(class) = parts.classes.iter().find(|class| !trained.contains(class)) {
        let unopened = cause_of_skipped(&parts.unopened, class, Part::Train)
            .map_or(String::new(), |cause| format!(": {cause}"));
        return Err(DataError::Classes(format!(
            "found no training image of the class {} in {source}, expected one or more{unopened}; \
             add some or remove the class, or leave it out with data.exclude = [\"{class}\"] \
             (image files end in {}){passed_over}",
            names::quoted(class),
            EXTENSIONS.join(", ")
        )));
    }
    Ok(())
}

/// Returns an error if files can't be opened, for `data.on_bad_image = "error"`.
pub(super) fn opened(skipped: &[Skipped]) -> Result<(), DataError> {
    let unopened: Vec<&Skipped> = skipped
        .iter()
        .filter(|file| file.failure == Failure::Opening)
        .collect();
    if unopened.is_empty() {
        return Ok(());
    }
    Err(DataError::Classes(format!(
        "{} file{} {}: {}; data.on_bad_image = \"skip\" leaves such files out and lists them",
        unopened.len(),
        if unopened.len() == 1 { "" } else { "s" },
        Failure::Opening.words(),
        Skipped::named(unopened, NAMED)
    )))
}

/// What became of the listed images.
pub(super) struct Outcome<'a> {
    pub data: &'a Data,
    pub train: &'a ImageSet,
    pub validation: &'a ImageSet,
    pub test: &'a [Entry],
    pub skipped: &'a [Skipped],
    /// Number of images of the training source that are left out as copies, by class.
    pub copies: Vec<usize>,
    /// Number of validation images that are left out as copies.
    pub copies_of_validation: usize,
    /// The parts that took a share of the training images.
    pub held: &'a [Held],
}

impl Outcome<'_> {
    /// Checks that each class has an image to train on, that there are validation images and test
    /// images where a share of them is asked for, and that some weight is above 0.
    ///
    /// # Errors
    /// Returns an error with the cause if one of them is missing.
    pub(super) fn check(&self) -> Result<(), DataError> {
        if let Some(class) = self
            .train
            .class_counts()
            .iter()
            .position(|count| *count == 0)
        {
            let name = &self.train.classes[class];
            return Err(DataError::Classes(format!(
                "found no image of the class {} left to train on, expected one or more: {}",
                names::quoted(name),
                self.why_empty(class, name)
            )));
        }
        if self.validation.images.is_empty() {
            return Err(DataError::Classes(format!(
                "found no validation images, expected one or more{}",
                self.why_unvalidated()
            )));
        }
        if let Some(held) = self
            .held
            .iter()
            .find(|held| held.part == Part::Test && self.test.is_empty())
        {
            return Err(DataError::Classes(format!(
                "found no test images, expected one or more{}",
                held.why_none()
            )));
        }
        if self.train.images.iter().all(|image| image.weight == 0.0) {
            return Err(DataError::Classes(format!(
                "no training image has a weight above 0, so nothing would be learned; check the \
                 weights in {}",
                self.data.train
            )));
        }
        Ok(())
    }

    /// Explains why no training image of a class is left.
    fn why_empty(&self, class: usize, name: &str) -> String {
        let copies = self.copies[class];
        let mut causes: Vec<String> = cause_of_skipped(self.skipped, name, Part::Train)
            .into_iter()
            .collect();
        if copies > 0 {
            causes.push(format!(
                "{copies} are copies of test or validation images and left out \
                 (data.on_leak = \"exclude\")"
            ));
        }
        for held in self.held {
            let (count, what) = match held.part {
                Part::Test => (
                    self.test.iter().filter(|entry| entry.class == name).count(),
                    "out for the test",
                ),
                _ => (self.validation.class_counts()[class], "back for validation"),
            };
            let advice = if copies == 0 {
                format!(": make {} smaller, or add images", held.key())
            } else {
                String::new()
            };
            causes.extend((count > 0).then(|| format!("{count} are held {what}{advice}")));
        }
        if causes.is_empty() {
            "add images".to_owned()
        } else {
            causes.join("; ")
        }
    }

    /// Explains why there are no validation images, as the continuation of a sentence.
    fn why_unvalidated(&self) -> String {
        let skipped: Vec<&Skipped> = self
            .skipped
            .iter()
            .filter(|file| file.split == Part::Validation.name())
            .collect();
        match &self.data.validation {
            _ if self.copies_of_validation > 0 => {
                let count = self.copies_of_validation;
                format!(
                    ": {count} are copies of test images and left out (data.on_leak = \"exclude\")"
                )
            }
            _ if !skipped.is_empty() => format!(
                ": none of the {} validation images can be read; {}",
                skipped.len(),
                first(&skipped)
            ),
            source => match (
                self.held.iter().find(|held| held.part == Part::Validation),
                source,
            ) {
                (Some(held), _) => held.why_none(),
                (None, Source::Path(path)) => {
                    format!(": there is no image in the class folders of {path}")
                }
                (None, Source::Share(_)) => String::new(),
            },
        }
    }

    /// Returns a warning for each class whose training images all have the weight 0.
    pub(super) fn weightless(&self) -> Vec<String> {
        let mut heaviest = vec![0.0f32; self.train.classes.len()];
        self.train
            .images
            .iter()
            .for_each(|image| heaviest[image.label] = heaviest[image.label].max(image.weight));
        let weightless = heaviest
            .iter()
            .zip(self.train.classes.iter())
            .filter(|(weight, _)| **weight == 0.0);
        let words = |(_, class): (&f32, &String)| {
            format!(
                "warning: all training images of the class {} have the weight 0: it isn't learned",
                names::quoted(class)
            )
        };
        weightless.map(words).collect()
    }
}

/// Returns how many files of a class were skipped in a part, and the first with its reason.
fn cause_of_skipped(skipped: &[Skipped], class: &str, part: Part) -> Option<String> {
    let of_class: Vec<&Skipped> = skipped
        .iter()
        .filter(|file| file.class == class && file.split == part.name())
        .collect();
    let (count, are) = (
        of_class.len(),
        if of_class.len() == 1 { "file" } else { "files" },
    );
    (count > 0).then(|| format!("{count} {are} can't be read; {}", first(&of_class)))
}

/// Names the first of some skipped files.
fn first(skipped: &[&Skipped]) -> String {
    format!("the first: {}", Skipped::named(skipped.iter().copied(), 1))
}
