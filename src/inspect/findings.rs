//! What was found, in words: the worst first, with the number that matters and what to do.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{CopyGroup, Inspection};
use crate::data::{copies::Likeness, listing::Part};

/// Pictures in the largest class for one in the smallest from which it is told.
const IMBALANCED: f64 = 1.5;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Test pictures are copies of what training knows.
    Leak,
    /// Copies with more than one label.
    ConflictingLabels,
    /// Validation pictures are copies of training pictures.
    ValidationLeak,
    /// A group (a patient, say) is in more than one part.
    SplitGroup,
    /// Labels that a model doesn't believe.
    DoubtfulLabels,
    /// Files that can't be decoded.
    Unreadable,
    /// Copies in one part.
    Repeats,
    /// Something that tells the class and isn't what the picture shows.
    Rule,
    /// Classes of different size.
    Imbalance,
    /// Pictures that stand out.
    Odd,
}

/// Something to know before training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub kind: Kind,
    /// What was found.
    pub what: String,
    /// The first of them, where there is one to name.
    pub first: Option<String>,
    /// What to do.
    pub advice: String,
}

/// `1 group`, `2 groups`.
pub fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// `verb` for one, `verbs` for more.
fn verb(count: usize, one: &'static str, more: &'static str) -> &'static str {
    if count == 1 { one } else { more }
}

pub(super) fn of(found: &Inspection) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tell = |kind: Kind, what: String, first: Option<String>, advice: &str| {
        findings.push(Finding { kind, what, first, advice: advice.to_owned() });
    };
    of_copies(found, &mut tell);
    let (groups, first) = split_groups(found);
    if groups > 0 {
        tell(
            Kind::SplitGroup,
            format!("{} {} pictures in more than one split", counted(groups, "group"), verb(groups, "has", "have")),
            first,
            "what is learned of a patient helps on that patient's other pictures: put each group on one side",
        );
    }
    if let Some(labels) = &found.labels
        && let Some(worst) = labels.suspects.first()
    {
        let count = labels.suspects.len();
        tell(
            Kind::DoubtfulLabels,
            format!(
                "{count} of {} labels {} doubtful: a regression on {} says otherwise; its balanced accuracy is {:.2} on pictures that it wasn't fitted to",
                labels.images,
                verb(count, "is", "are"),
                labels.features,
                labels.balanced_accuracy
            ),
            Some(format!("{} ({}, or {}?)", worst.path, worst.label, worst.suggestion)),
            "look at them",
        );
    }
    if let Some(first) = found.unreadable.first() {
        tell(
            Kind::Unreadable,
            format!("{} can't be decoded", counted(found.unreadable.len(), "file")),
            Some(format!("{}: {}", first.path, first.reason)),
            "save them again or remove them; training skips and lists them",
        );
    }
    let within: Vec<&CopyGroup> = found.copies.groups.iter().filter(|group| !group.is_across_splits).collect();
    if let Some(first) = within.first() {
        let near = within.iter().filter(|group| group.likeness == Likeness::Near).count();
        tell(
            Kind::Repeats,
            format!(
                "{} of copies {} within one split ({near} of them saved again, resized, turned or the like)",
                counted(within.len(), "group"),
                verb(within.len(), "lies", "lie")
            ),
            Some(pair(first)),
            "they stay together when validation pictures are held back, and count more than once all the same; --write-clean keeps one of each",
        );
    }
    of_the_rest(found, &mut tell);
    findings
}

/// Copies on two sides, or with two labels.
fn of_copies(found: &Inspection, tell: &mut dyn FnMut(Kind, String, Option<String>, &str)) {
    let leaked = found.leaked_test_images.len();
    if leaked > 0 {
        let is_leak = |group: &&CopyGroup| group.has(Part::Test) && (group.has(Part::Train) || group.has(Part::Validation));
        let leaks = found.copies.groups.iter().filter(is_leak);
        let near: usize = leaks.clone().filter(|group| group.likeness == Likeness::Near).map(|group| group.count(Part::Test)).sum();
        let near = if near > 0 { format!(", {near} of them saved again, cropped, turned or the like") } else { String::new() };
        tell(
            Kind::Leak,
            format!(
                "{leaked} of {} test pictures {} of pictures that are trained on or chosen by{near}",
                found.count(Part::Test),
                verb(leaked, "is a copy", "are copies")
            ),
            leaks.clone().next().map(pair),
            "believe `evaluate`'s second column, on the pictures never seen, or set data.on_leak = \"exclude\"",
        );
    }
    let conflicts: Vec<&CopyGroup> = found.copies.groups.iter().filter(|group| group.has_conflicting_labels).collect();
    if let Some(first) = conflicts.first() {
        let (count, has) = (counted(conflicts.len(), "group"), verb(conflicts.len(), "has", "have"));
        tell(
            Kind::ConflictingLabels,
            format!("{count} of copies {has} more than one label"),
            Some(pair(first)),
            "look at them: at least one label of each is wrong",
        );
    }
    let copied = |group: &&CopyGroup| group.has(Part::Train) && group.has(Part::Validation);
    let validation: Vec<&CopyGroup> = found.copies.groups.iter().filter(copied).collect();
    if let Some(first) = validation.first() {
        let count: usize = validation.iter().map(|group| group.count(Part::Validation)).sum();
        tell(
            Kind::ValidationLeak,
            format!(
                "{count} of {} validation pictures {} of training pictures",
                found.count(Part::Validation),
                verb(count, "is a copy", "are copies")
            ),
            Some(pair(first)),
            "take them out of one side, or set data.on_leak = \"exclude\": the best epoch is chosen by memory otherwise",
        );
    }
}

fn of_the_rest(found: &Inspection, tell: &mut dyn FnMut(Kind, String, Option<String>, &str)) {
    if let Some(rule) = found.rules.iter().find(|rule| rule.is_seen) {
        tell(
            Kind::Rule,
            format!(
                "a rule on {} alone has a balanced accuracy of {:.2}, guessing has {:.2}",
                rule.property, rule.balanced_accuracy, rule.chance
            ),
            None,
            "pictures of the classes come from different places: a network may learn the place; `explain` shows where it looks",
        );
    }
    if found.imbalance > IMBALANCED {
        tell(
            Kind::Imbalance,
            format!("the largest class has {:.1} training pictures for one of the smallest", found.imbalance),
            None,
            "train.class_weights = \"balanced\"",
        );
    }
    let odd: usize = found.suspects.values().map(Vec::len).sum();
    if odd > 0 {
        let kinds: Vec<_> = found.suspects.iter().map(|(kind, suspects)| format!("{} {kind}", suspects.len())).collect();
        let first = found.suspects.iter().find_map(|(kind, suspects)| Some(format!("{} ({kind})", suspects.first()?.path)));
        tell(
            Kind::Odd,
            format!("{} {} out: {}", counted(odd, "picture"), verb(odd, "stands", "stand"), kinds.join(", ")),
            first,
            "look at them",
        );
    }
}

/// How many groups have pictures in more than one part, and the first of them.
fn split_groups(found: &Inspection) -> (usize, Option<String>) {
    let mut parts: BTreeMap<&str, BTreeSet<Part>> = BTreeMap::new();
    for seen in &found.seen {
        if let Some(group) = &seen.entry.group {
            parts.entry(group).or_default().insert(seen.part);
        }
    }
    let mut split = parts.into_iter().filter(|(_, parts)| parts.len() > 1);
    let first = split.next();
    let words = first
        .as_ref()
        .map(|(group, parts)| format!("{group} ({})", parts.iter().map(|part| part.name()).collect::<Vec<_>>().join(" and ")));
    (usize::from(first.is_some()) + split.count(), words)
}

/// Two of a group: its first picture, and one of another split or label where there is one.
fn pair(group: &CopyGroup) -> String {
    let [first, second] = group.pair();
    let words = |member: &super::Member| format!("{} ({}, {})", member.path, member.split, member.class);
    format!("{} = {}", words(first), words(second))
}
