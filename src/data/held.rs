//! Parts that take some of the training images: a share, or a fold of a cross-validation.

use super::{
    batches::dataset::Image,
    duplicates::scan::Scan,
    entries::Loaded,
    listing::{
        Part,
        split::{Member, folds, hold_back, why_none_dealt, why_none_held},
    },
};

/// A part that takes some of the training images.
#[derive(Clone)]
pub(super) struct Held {
    pub part: Part,
    how: How,
    /// The training images that it was taken of.
    of: Vec<Member>,
}

/// How the images of a part are chosen.
#[derive(Clone, Copy)]
enum How {
    /// A share of them.
    Share(f64),
    /// One of so many folds.
    Folds(usize),
}

/// The training images of a scan, by position, as splits see them.
struct Candidates {
    positions: Vec<usize>,
    members: Vec<Member>,
}

impl Candidates {
    /// Returns the training images in `survey`, the first of which are the `loaded` ones.
    fn of(loaded: &Loaded, survey: &Scan) -> Self {
        // The digest of the first of its copies stands for each image, so that near-duplicates stay
        // on the same side too.
        let firsts = survey.firsts();
        let positions: Vec<usize> = (0..loaded.images.len())
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
        let members = positions.iter().map(member).collect();
        Self { positions, members }
    }
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
        let Candidates { positions, members } = Candidates::of(loaded, survey);
        let held = positions
            .iter()
            .zip(hold_back(&members, share, part, seed))
            .filter(|(_, is_held)| *is_held);
        held.for_each(|(index, _)| survey.seen[*index].part = part);
        Self {
            part,
            how: How::Share(share),
            of: members,
        }
    }

    /// Returns the key that asks for the part.
    pub(super) fn key(&self) -> &'static str {
        match (self.how, self.part) {
            (How::Folds(_), _) => "train.folds",
            (How::Share(_), Part::Test) => "data.test",
            (How::Share(_), _) => "data.validation",
        }
    }

    /// Explains why nothing was held back, as the continuation of "found no test images, expected
    /// one or more".
    pub(super) fn why_none(&self) -> String {
        match self.how {
            How::Share(share) => why_none_held(&self.of, share, self.key()),
            How::Folds(count) => why_none_dealt(&self.of, count),
        }
    }
}

/// The fold of each training image.
pub(super) struct Dealt {
    count: usize,
    candidates: Candidates,
    folds: Vec<usize>,
}

impl Dealt {
    /// Deals the training images in `survey`, the first of which are the `loaded` ones, into
    /// `count` folds. Where images lie and in which order they are listed changes nothing, so that
    /// folds of images that were moved are the same.
    pub(super) fn new(count: usize, loaded: &Loaded, survey: &Scan, seed: u64) -> Self {
        let candidates = Candidates::of(loaded, survey);
        let mut order: Vec<usize> = (0..candidates.positions.len()).collect();
        order.sort_by_key(|index| {
            let position = candidates.positions[*index];
            (
                survey.seen[position].facts.pixels,
                candidates.members[*index].class,
            )
        });
        let sorted: Vec<Member> = order
            .iter()
            .map(|index| candidates.members[*index].clone())
            .collect();
        let mut dealt = vec![0; order.len()];
        for (index, fold) in order.iter().zip(folds(&sorted, count, seed)) {
            dealt[*index] = fold;
        }
        Self {
            count,
            candidates,
            folds: dealt,
        }
    }

    /// Moves the images of a fold, counted from 0, to the validation images.
    pub(super) fn hold_back(&self, fold: usize, survey: &mut Scan) -> Held {
        let positions = self.candidates.positions.iter().zip(&self.folds);
        for (position, _) in positions.filter(|(_, of)| **of == fold) {
            survey.seen[*position].part = Part::Validation;
        }
        Held {
            part: Part::Validation,
            how: How::Folds(self.count),
            of: self.candidates.members.clone(),
        }
    }
}
