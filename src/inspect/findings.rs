//! Describes what an inspection found, the most serious first: what it is, the number that matters,
//! an example and what to do. `inspect` and `train` report the same findings.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{CopyGroup, Inspection, Labels, Member, Rule};
use crate::{
    base::words::counted,
    data::{
        duplicates::Likeness,
        listing::{Part, alike},
        table::Damaged,
    },
};

/// Ratio of the largest to the smallest class above which the set counts as imbalanced.
const IMBALANCED: f64 = 1.5;

/// The subject of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Test images that are copies of training or validation images.
    Leak,
    /// Groups of copies with more than one label.
    ConflictingLabels,
    /// Validation images that are copies of training images.
    ValidationLeak,
    /// Groups (patients, say) with images in more than one split.
    SplitGroup,
    /// Labels that are probably wrong according to a linear model.
    DoubtfulLabels,
    /// Files that can't be opened or decoded.
    Unreadable,
    /// Damaged files that could be decoded.
    Damaged,
    /// Classes whose names differ only in what is easily overlooked, such as case.
    AlikeClasses,
    /// Copies within one split.
    Repeats,
    /// A property other than the image's content that predicts the class.
    Rule,
    /// Classes of different size.
    Imbalance,
    /// Images that differ from the others, such as dark or blurred ones.
    Odd,
}

/// A fact to know before training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Subject of the finding.
    pub kind: Kind,
    /// Description of what was found, with its number.
    pub what: String,
    /// First example, if there is one to name.
    pub first: Option<String>,
    /// Advice on what to do.
    pub advice: String,
}

/// Returns `one` if `count` is 1, else `more`.
fn verb(count: usize, one: &'static str, more: &'static str) -> &'static str {
    if count == 1 { one } else { more }
}

/// Returns the findings of an inspection, the most serious first.
pub(super) fn of(found: &Inspection) -> Vec<Finding> {
    let kinds = [
        leak,
        contradictions,
        conflicting_labels,
        validation_leak,
        split_groups,
        doubtful_labels,
        alike_classes,
        unreadable,
        damaged,
        repeats,
        rule,
        imbalance,
        odd,
    ];
    kinds.iter().filter_map(|finding| finding(found)).collect()
}

impl Finding {
    fn new(kind: Kind, what: String, first: Option<String>, advice: &str) -> Self {
        Self {
            kind,
            what,
            first,
            advice: advice.to_owned(),
        }
    }
}

fn leak(found: &Inspection) -> Option<Finding> {
    let is_leak = |group: &&CopyGroup| {
        group.has(Part::Test) && (group.has(Part::Train) || group.has(Part::Validation))
    };
    let leaks: Vec<&CopyGroup> = found.copies.groups.iter().filter(is_leak).collect();
    let first = words(leaks.first()?.pair());
    let count: usize = leaks.iter().map(|group| group.count(Part::Test)).sum();
    let near: usize = leaks
        .iter()
        .map(|group| group.changed(Part::Test, &[Part::Train, Part::Validation]))
        .sum();
    let near = if near > 0 {
        format!(", {near} of them saved again, cropped, rotated or similar")
    } else {
        String::new()
    };
    let (tests, are) = (
        found.count(Part::Test),
        verb(count, "is a copy", "are copies"),
    );
    Some(Finding::new(
        Kind::Leak,
        format!("{count} of {tests} test images {are} of training or validation images{near}"),
        Some(first),
        "rely on `evaluate`'s second column, on the unseen images, or set data.on_leak = \
         \"exclude\"",
    ))
}

fn contradictions(found: &Inspection) -> Option<Finding> {
    let pairs: Vec<[&Member; 2]> = found
        .copies
        .groups
        .iter()
        .filter_map(CopyGroup::contradiction)
        .collect();
    let first = words(*pairs.first()?);
    let (groups, has) = (
        counted(pairs.len(), "group"),
        verb(pairs.len(), "has", "have"),
    );
    Some(Finding::new(
        Kind::ConflictingLabels,
        format!("{groups} of copies with the same pixels {has} more than one label"),
        Some(first),
        "look at them: at least one label of each is wrong",
    ))
}

/// Reports groups with more than one label in which no two images with equal pixels differ in their
/// label. Their labels may differ on purpose.
fn conflicting_labels(found: &Inspection) -> Option<Finding> {
    let is_near =
        |group: &&CopyGroup| group.has_conflicting_labels && group.contradiction().is_none();
    let conflicts: Vec<&CopyGroup> = found.copies.groups.iter().filter(is_near).collect();
    let first = words(conflicts.first()?.pair());
    let (groups, has) = (
        counted(conflicts.len(), "group"),
        verb(conflicts.len(), "has", "have"),
    );
    Some(Finding::new(
        Kind::ConflictingLabels,
        format!("{groups} of copies {has} more than one label"),
        Some(first),
        "look at them: their pixels differ, perhaps on purpose (the same photo with and without a \
         mask), or a label is wrong",
    ))
}

fn validation_leak(found: &Inspection) -> Option<Finding> {
    let copied = |group: &&CopyGroup| group.has(Part::Train) && group.has(Part::Validation);
    let leaks: Vec<&CopyGroup> = found.copies.groups.iter().filter(copied).collect();
    let first = words(leaks.first()?.pair());
    let count: usize = leaks
        .iter()
        .map(|group| group.count(Part::Validation))
        .sum();
    let (all, are) = (
        found.count(Part::Validation),
        verb(count, "is a copy", "are copies"),
    );
    Some(Finding::new(
        Kind::ValidationLeak,
        format!("{count} of {all} validation images {are} of training images"),
        Some(first),
        "take them out of one side, or set data.on_leak = \"exclude\": the best epoch is chosen by \
         memory otherwise",
    ))
}

fn split_groups(found: &Inspection) -> Option<Finding> {
    let mut parts: BTreeMap<&str, BTreeSet<Part>> = BTreeMap::new();
    for seen in &found.seen {
        if let Some(group) = &seen.entry.group {
            parts.entry(group).or_default().insert(seen.part);
        }
    }
    let split: Vec<_> = parts
        .into_iter()
        .filter(|(_, parts)| parts.len() > 1)
        .collect();
    let (group, parts) = split.first()?;
    let parts: Vec<_> = parts.iter().map(|part| part.name()).collect();
    Some(Finding::new(
        Kind::SplitGroup,
        format!(
            "{} {} images in more than one split",
            counted(split.len(), "group"),
            verb(split.len(), "has", "have")
        ),
        Some(format!("{group} ({})", parts.join(" and "))),
        "what is learned of a patient helps on that patient's other images: put each group on one \
         side",
    ))
}

fn doubtful_labels(found: &Inspection) -> Option<Finding> {
    let Labels {
        judge,
        images,
        balanced_accuracy,
        suspects,
        features: _,
    } = found.labels.as_ref()?;
    let worst = suspects.first()?;
    let (count, are) = (suspects.len(), verb(suspects.len(), "is", "are"));
    Some(Finding::new(
        Kind::DoubtfulLabels,
        format!(
            "{count} of {images} labels {are} doubtful: {judge} says otherwise; its balanced \
             accuracy is {balanced_accuracy:.2} on images that it wasn't fitted to"
        ),
        Some(format!(
            "{} ({}, or {}?)",
            worst.path, worst.label, worst.suggestion
        )),
        "look at them, the least believed first; a hard image with a right label is doubtful as \
         well",
    ))
}

fn alike_classes(found: &Inspection) -> Option<Finding> {
    let pairs = alike::pairs(found.classes.keys());
    let more = if pairs.len() > 1 {
        format!(", and {} like these", counted(pairs.len() - 1, "pair"))
    } else {
        String::new()
    };
    let what = format!("{}{more}", pairs.first()?);
    Some(Finding::new(
        Kind::AlikeClasses,
        what,
        None,
        "give them one name if they are one class",
    ))
}

fn unreadable(found: &Inspection) -> Option<Finding> {
    let first = found.unreadable.first()?;
    let is_alone = found
        .unreadable
        .iter()
        .all(|file| file.failure == first.failure);
    let how = if is_alone {
        first.failure.words()
    } else {
        "can't be opened or decoded"
    };
    Some(Finding::new(
        Kind::Unreadable,
        format!("{} {}", counted(found.unreadable.len(), "file"), how),
        Some(format!("{}: {}", first.path, first.reason)),
        "save them again or remove them; training skips and lists them",
    ))
}

fn damaged(found: &Inspection) -> Option<Finding> {
    let first = found.damaged.first()?;
    Some(Finding::new(
        Kind::Damaged,
        Damaged::count_words(found.damaged.len()),
        Some(format!("{}: {}", first.path, first.reason)),
        "look at them, and fetch them again if you can; training lists them in damaged.csv",
    ))
}

fn repeats(found: &Inspection) -> Option<Finding> {
    let within: Vec<&CopyGroup> = found
        .copies
        .groups
        .iter()
        .filter(|group| !group.is_across_splits)
        .collect();
    let first = words(within.first()?.pair());
    let near = within
        .iter()
        .filter(|group| group.likeness == Likeness::Near)
        .count();
    let (groups, lie) = (
        counted(within.len(), "group"),
        verb(within.len(), "lies", "lie"),
    );
    Some(Finding::new(
        Kind::Repeats,
        format!(
            "{groups} of copies {lie} within one split ({near} of them saved again, resized, \
             rotated or similar)"
        ),
        Some(first),
        "they stay together when validation images are held back, and count more than once all the \
         same; --write-clean keeps one of each",
    ))
}

fn rule(found: &Inspection) -> Option<Finding> {
    let Rule {
        property,
        balanced_accuracy,
        chance,
        ..
    } = found.rules.iter().find(|rule| rule.is_seen)?;
    Some(Finding::new(
        Kind::Rule,
        format!(
            "a rule on {property} scores {balanced_accuracy:.2} (balanced accuracy; guessing \
             {chance:.2})"
        ),
        None,
        "images of the classes come from different places: a network may learn the place; \
         `explain` shows where it looks",
    ))
}

fn imbalance(found: &Inspection) -> Option<Finding> {
    let what = format!(
        "the largest class has {:.1} training images for each one of the smallest",
        found.imbalance
    );
    (found.imbalance > IMBALANCED).then(|| {
        Finding::new(
            Kind::Imbalance,
            what,
            None,
            "train.class_weights = \"balanced\"",
        )
    })
}

fn odd(found: &Inspection) -> Option<Finding> {
    let count: usize = found.suspects.values().map(Vec::len).sum();
    let (kind, suspects) = found.suspects.first_key_value()?;
    let kinds: Vec<_> = found
        .suspects
        .iter()
        .map(|(kind, suspects)| format!("{} {kind}", suspects.len()))
        .collect();
    let what = format!(
        "{} {} out: {}",
        counted(count, "image"),
        verb(count, "stands", "stand"),
        kinds.join(", ")
    );
    Some(Finding::new(
        Kind::Odd,
        what,
        Some(format!("{} ({kind})", suspects.first()?.path)),
        "look at them",
    ))
}

/// Describes two copies by path, split and class.
fn words([first, second]: [&Member; 2]) -> String {
    let words = |member: &Member| format!("{} ({}, {})", member.path, member.split, member.class);
    format!("{} = {}", words(first), words(second))
}
