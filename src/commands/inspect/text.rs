//! Formats an inspection for the terminal: counts, facts, findings and the first images of each.

use std::{collections::BTreeMap, fmt::Write};

use crate::{
    data::{duplicates::Likeness, listing::Part},
    inspect::{Inspection, Member},
    report::{Table, class_counts::count_table, text_table},
};

/// Maximum number of paths named on the terminal.
const NAMED: usize = 5;

/// Describes an inspection.
pub(super) fn text(found: &Inspection) -> String {
    let mut text = text_table::table_text(&class_table(found));
    let _ = writeln!(text, "\n");
    for (name, value) in facts(found) {
        let _ = writeln!(text, "{name}: {value}");
    }
    text.push('\n');
    if found.findings.is_empty() {
        text.push_str("Nothing was found that should keep you from training.\n");
    }
    for (index, finding) in found.findings.iter().enumerate() {
        let first = finding
            .first
            .as_ref()
            .map_or_else(String::new, |first| format!("; the first: {first}"));
        let _ = writeln!(
            text,
            "{}. {}{first}\n   -> {}",
            index + 1,
            finding.what,
            finding.advice
        );
    }
    let lists = lists(found);
    if !lists.is_empty() {
        let _ = write!(text, "\n{lists}");
    }
    text
}

/// Lists the first images of each finding.
fn lists(found: &Inspection) -> String {
    let mut text = String::new();
    for skipped in found.unreadable.iter().take(NAMED) {
        let _ = writeln!(
            text,
            "{}: {}: {}",
            skipped.failure.words(),
            skipped.path,
            skipped.reason
        );
    }
    more(&mut text, found.unreadable.len());
    for damaged in found.damaged.iter().take(NAMED) {
        let _ = writeln!(
            text,
            "damaged, used as far as it can be read: {}: {}",
            damaged.path, damaged.reason
        );
    }
    more(&mut text, found.damaged.len());
    for (kind, suspects) in &found.suspects {
        for suspect in suspects.iter().take(NAMED) {
            let _ = writeln!(text, "{kind}: {}", suspect.path);
        }
        more(&mut text, suspects.len());
    }
    let doubtful = found
        .labels
        .as_ref()
        .map_or(&[][..], |labels| &labels.suspects);
    for suspect in doubtful.iter().take(NAMED) {
        let _ = writeln!(
            text,
            "doubtful label: {}: {}, or {}?",
            suspect.path, suspect.label, suspect.suggestion
        );
    }
    more(&mut text, doubtful.len());
    copy_groups(&mut text, found);
    text
}

/// Adds the first groups of copies that are across splits or have conflicting labels.
fn copy_groups(text: &mut String, found: &Inspection) {
    let worst: Vec<_> = found
        .copies
        .groups
        .iter()
        .filter(|group| group.has_conflicting_labels || group.is_across_splits)
        .collect();
    for group in worst.iter().take(NAMED) {
        let member =
            |member: &Member| format!("{} ({}, {})", member.path, member.split, member.class);
        let members: Vec<_> = group.members.iter().take(NAMED).map(member).collect();
        let others = group.members.len() - members.len();
        let others = if others > 0 {
            format!(" and {others} more")
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "{}: {}{others}",
            likeness_words(group.likeness),
            members.join(" = ")
        );
    }
    more(text, worst.len());
}

fn more(text: &mut String, count: usize) {
    if count > NAMED {
        let _ = writeln!(text, "... and {} more; --json lists all", count - NAMED);
    }
}

/// Names a likeness as one of two images.
pub(super) fn likeness_words(likeness: Likeness) -> &'static str {
    match likeness {
        Likeness::File => "the same file",
        Likeness::Pixels => "the same pixels",
        Likeness::Near => "the same image",
    }
}

/// Returns the number of images by class and split.
pub(super) fn class_table(found: &Inspection) -> Table {
    let parts: Vec<Part> = [Part::Train, Part::Validation, Part::Test]
        .into_iter()
        .filter(|part| found.count(*part) > 0)
        .collect();
    let head = std::iter::once("Class".to_owned())
        .chain(parts.iter().map(|part| part.name().to_owned()))
        .collect();
    let classes: Vec<String> = found.classes.keys().cloned().collect();
    let row = |counts: &BTreeMap<&'static str, usize>| {
        parts
            .iter()
            .map(|part| counts.get(part.name()).copied().unwrap_or(0))
            .collect()
    };
    count_table(
        head,
        &classes,
        &found.classes.values().map(row).collect::<Vec<_>>(),
    )
}

/// Returns the facts about the images, each with its name.
pub(super) fn facts(found: &Inspection) -> Vec<(String, String)> {
    let kinds = |kinds: &BTreeMap<String, usize>| {
        kinds
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut facts = Vec::new();
    let mut add = |name: &str, value: String| facts.push((name.to_owned(), value));
    add("Images", found.images.to_string());
    add("Sizes", size_words(found));
    add("Formats", kinds(&found.formats));
    add("Colors", kinds(&found.modes));
    if found.turned_by_exif > 0 {
        add("Turned by EXIF", found.turned_by_exif.to_string());
    }
    if !found.notes.is_empty() {
        add("Lists", found.notes.join("; "));
    }
    if !found.passed_over.is_empty() {
        add("Not looked at", found.passed_over.join("; "));
    }
    let copies = &found.copies;
    add(
        "Copies",
        format!(
            "{} groups, {} across splits, {} with conflicting labels; {} redundant images",
            copies.groups.len(),
            copies.across_splits,
            copies.conflicting_labels,
            copies.surplus
        ),
    );
    add("Labels", label_words(found));
    if let Some(words) = rule_words(found) {
        add("Properties that predict the class", words);
    }
    facts
}

/// Describes how different heights, widths and their ratios are.
fn size_words(found: &Inspection) -> String {
    let [low, middle, high] = found.heights;
    let [narrow, usual, wide] = found.widths;
    let [tall, common, flat] = found.aspect_ratios;
    format!(
        "{} different; height {low} to {high}, median {middle}; width {narrow} to {wide}, median \
         {usual}; width over height {tall:.2} to {flat:.2}, median {common:.2}",
        found.sizes
    )
}

/// Describes how many labels are doubtful, and by what.
fn label_words(found: &Inspection) -> String {
    match &found.labels {
        Some(labels) => format!(
            "{} of {} doubtful by {}, whose balanced accuracy is {:.2}",
            labels.suspects.len(),
            labels.images,
            labels.judge,
            labels.balanced_accuracy
        ),
        None => "not judged: too few images, or too hard for a simple model".to_owned(),
    }
}

/// Names the properties that tell the class best, if any does.
fn rule_words(found: &Inspection) -> Option<String> {
    let chance = found.rules.first()?.chance;
    let rules: Vec<_> = found
        .rules
        .iter()
        .take(3)
        .map(|rule| format!("{} {:.2}", rule.property, rule.balanced_accuracy))
        .collect();
    Some(format!(
        "{} (balanced accuracy; guessing {chance:.2})",
        rules.join(", ")
    ))
}
