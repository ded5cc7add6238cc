//! Parts that take a share of the training images.

use super::{
    batches::dataset::Image,
    duplicates::scan::Scan,
    entries::Loaded,
    listing::{
        Part,
        split::{Member, hold_back, why_none_held},
    },
};

/// A part that takes a share of the training images.
pub(super) struct Held {
    pub part: Part,
    share: f64,
    /// The training images that it was taken of.
    of: Vec<Member>,
}

impl Held {
    /// Moves a share of the training images in `survey`, the first of which are the `loaded` ones,
    /// to another part.
    pub(super) fn back(
        part: Part,
        share: f64,
        loaded: &Loaded,
        survey: &mut Scan,
        seed: u64,
    ) -> Self {
        // The digest of the first of its copies stands for each image, so that near-duplicates stay
        // on the same side too.
        let firsts = survey.firsts();
        let trained: Vec<usize> = (0..loaded.images.len())
            .filter(|index| survey.seen[*index].part == Part::Train)
            .collect();
        let member = |index: &usize| {
            let Image { label, group, .. } = &loaded.images[*index].1;
            Member {
                class: *label,
                group: group.clone(),
                digest: survey.seen[firsts[*index]].facts.pixels,
            }
        };
        let of: Vec<Member> = trained.iter().map(member).collect();
        let held = trained
            .iter()
            .zip(hold_back(&of, share, part, seed))
            .filter(|(_, is_held)| *is_held);
        held.for_each(|(index, _)| survey.seen[*index].part = part);
        Self { part, share, of }
    }

    /// Returns the key that asks for the share.
    pub(super) fn key(&self) -> &'static str {
        if self.part == Part::Test {
            "data.test"
        } else {
            "data.validation"
        }
    }

    /// Explains why nothing was held back, as the continuation of "found no test images, expected
    /// one or more".
    pub(super) fn why_none(&self) -> String {
        why_none_held(&self.of, self.share, self.key())
    }
}
