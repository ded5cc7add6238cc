//! What was found, in words: the worst first, with the number that matters and what to do.

use serde::Serialize;

use super::{CopyGroup, Inspection};
use crate::data::{copies::Likeness, listing::Part};

/// Pictures in the largest class for one in the smallest from which it is told.
const IMBALANCED: f64 = 1.5;

/// Something to know before training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was found.
    pub what: String,
    /// What to do.
    pub advice: String,
}

pub(super) fn of(found: &Inspection) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tell = |what: String, advice: &str| findings.push(Finding { what, advice: advice.to_owned() });
    let tests = found.count(Part::Test);
    let leaked = found.leaked_test_images.len();
    if leaked > 0 {
        tell(
            format!("{leaked} of {tests} test pictures are copies of pictures that are trained on or chosen by"),
            "believe `evaluate`'s second column, on the pictures never seen",
        );
    }
    let count = |is: &dyn Fn(&CopyGroup) -> bool| found.copies.groups.iter().filter(|group| is(group)).count();
    let conflicts = count(&|group| group.has_conflicting_labels);
    if conflicts > 0 {
        tell(format!("{conflicts} groups of copies have more than one label"), "look at them: at least one label of each is wrong");
    }
    let validation =
        count(&|group| [Part::Train, Part::Validation].iter().all(|part| group.members.iter().any(|member| member.split == part.name())));
    if validation > 0 {
        tell(
            format!("{validation} groups of copies have pictures both for training and for validation"),
            "take one of them out: the best epoch is chosen by memory otherwise",
        );
    }
    if !found.unreadable.is_empty() {
        tell(format!("{} files can't be decoded", found.unreadable.len()), "save them again or remove them; training skips and lists them");
    }
    let within = count(&|group| !group.is_across_splits);
    if within > 0 {
        let near = count(&|group| !group.is_across_splits && group.likeness == Likeness::Near);
        tell(
            format!("{within} groups of copies lie within one split ({near} of them saved again, resized, turned or the like)"),
            "equal pixels stay together when validation pictures are held back; copies count more than once all the same",
        );
    }
    if let Some(rule) = found.rules.iter().find(|rule| rule.is_seen) {
        tell(
            format!(
                "a rule on {} tells the class with a balanced accuracy of {:.2}, guessing has {:.2}",
                rule.property, rule.balanced_accuracy, rule.chance
            ),
            "pictures of the classes come from different places: a network may learn the place; `explain` shows where it looks",
        );
    }
    if found.imbalance > IMBALANCED {
        tell(
            format!("the largest class has {:.1} training pictures for one of the smallest", found.imbalance),
            "train.class_weights = \"balanced\"",
        );
    }
    let odd: usize = found.suspects.values().map(Vec::len).sum();
    if odd > 0 {
        let kinds: Vec<_> = found.suspects.iter().map(|(kind, suspects)| format!("{} {kind}", suspects.len())).collect();
        tell(format!("pictures stand out: {}", kinds.join(", ")), "look at them");
    }
    findings
}
