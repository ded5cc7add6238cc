//! What went wrong without ending the run: each kind is shown a few times, counted always, and summed up at the end.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many of one kind are shown before the rest is only counted.
const SHOWN: usize = 5;

/// Counted warnings of one command.
#[derive(Debug, Default)]
pub struct Warnings {
    counts: Mutex<BTreeMap<&'static str, usize>>,
}

impl Warnings {
    /// Counts a warning of `kind` ("skipped pictures") and logs `message` if it is among the first of its kind.
    pub fn add(&self, kind: &'static str, message: &str) {
        let mut counts = self.lock();
        let count = counts.entry(kind).or_default();
        *count += 1;
        if *count <= SHOWN {
            log::warn!("{message}");
        } else if *count == SHOWN + 1 {
            log::warn!("more {kind} follow; they are counted");
        }
    }

    /// Each kind with its count, in the order of the alphabet.
    pub fn counts(&self) -> Vec<(&'static str, usize)> {
        self.lock().iter().map(|(kind, count)| (*kind, *count)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_warning_is_counted_also_when_no_longer_shown() {
        let warnings = Warnings::default();
        for number in 0..12 {
            warnings.add("skipped pictures", &format!("picture {number}"));
        }
        warnings.add("other", "once");
        assert_eq!(warnings.counts(), [("other", 1), ("skipped pictures", 12)]);
    }
}
