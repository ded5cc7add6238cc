//! Whether the present data is that of a run: matches the images of the two and describes what
//! differs.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Display,
};

use super::SplitRow;

/// Which present image is which image of a run, wherever it is now. Images are matched by class and
/// decoded pixels; equal ones first by path, then in order.
#[derive(Debug, Default)]
pub struct Matched {
    /// For each row of the run, the index of the present row.
    pub now: Vec<Option<usize>>,
    /// Indices of the present rows that aren't in the run.
    pub added: Vec<usize>,
}

impl Matched {
    /// Matches the rows of a run with the present ones.
    pub fn of(before: &[SplitRow], now: &[SplitRow]) -> Self {
        let mut places: BTreeMap<(&str, &str), VecDeque<usize>> = BTreeMap::new();
        for (index, row) in now.iter().enumerate() {
            places
                .entry((&row.class, &row.blake3))
                .or_default()
                .push_back(index);
        }
        let mut found = vec![None; before.len()];
        // Two passes, so that an image that has moved doesn't take the place of one that hasn't.
        for is_at_its_path in [true, false] {
            for (row, found) in before
                .iter()
                .zip(&mut found)
                .filter(|(_, found)| found.is_none())
            {
                let Some(equals) = places.get_mut(&(row.class.as_str(), row.blake3.as_str()))
                else {
                    continue;
                };
                let at = if is_at_its_path {
                    equals.iter().position(|index| now[*index].path == row.path)
                } else {
                    Some(0)
                };
                *found = at.and_then(|at| equals.remove(at));
            }
        }
        let mut added: Vec<usize> = places.into_values().flatten().collect();
        added.sort_unstable();
        Self { now: found, added }
    }

    /// Returns whether they are the same images, one for one.
    pub fn is_whole(&self) -> bool {
        self.added.is_empty() && self.now.iter().all(Option::is_some)
    }
}

/// Maximum number of images named in a message.
const NAMED: usize = 5;

/// Describes what differs between the data of a run and the present data; `None` if nothing does.
/// If images are new, gone or changed, other differences aren't reported, since they may follow
/// from that.
pub fn difference(before: &[SplitRow], now: &[SplitRow]) -> Option<String> {
    let matched = Matched::of(before, now);
    let mut changes = Changes::default();
    changes.add_images(before, now, &matched);
    if changes.0.is_empty() {
        changes.add_fields(before, now, &matched);
    }
    // A different order changes the batches, though all images are the same.
    changes
        .words()
        .or_else(|| (before != now).then(|| "the order of the images has changed".to_owned()))
}

/// Changes: the description for one image, for several, and the paths.
#[derive(Default)]
struct Changes(Vec<(String, String, Vec<String>)>);

impl Changes {
    /// Adds an image to the change with this description.
    fn add(&mut self, one: &str, several: &str, path: &str) {
        match self.0.iter_mut().find(|(known, ..)| known == one) {
            Some((.., paths)) => paths.push(path.to_owned()),
            None => self
                .0
                .push((one.to_owned(), several.to_owned(), vec![path.to_owned()])),
        }
    }

    /// Adds the images that are new, gone or changed.
    fn add_images(&mut self, before: &[SplitRow], now: &[SplitRow], matched: &Matched) {
        let added: BTreeMap<&str, &SplitRow> = matched
            .added
            .iter()
            .map(|index| (now[*index].path.as_str(), &now[*index]))
            .collect();
        let gone: Vec<&SplitRow> = before
            .iter()
            .zip(&matched.now)
            .filter(|(_, now)| now.is_none())
            .map(|(row, _)| row)
            .collect();
        for row in &gone {
            match added.get(row.path.as_str()) {
                Some(other) if other.blake3 != row.blake3 => {
                    self.add(": its pixels have changed", "have other pixels", &row.path)
                }
                Some(other) => {
                    let (was, is) = (&row.class, &other.class);
                    self.add(
                        &format!(": its class was {was} and is {is}"),
                        &format!("were of class {was} and are of {is}"),
                        &row.path,
                    );
                }
                None => self.add(
                    &format!(" was in {} and is gone", row.split),
                    &format!("were in {} and are gone", row.split),
                    &row.path,
                ),
            }
        }
        let is_changed = |path: &str| gone.iter().any(|row| row.path == path);
        let new = matched
            .added
            .iter()
            .map(|index| &now[*index].path)
            .filter(|path| !is_changed(path));
        new.for_each(|path| self.add(" is new", "are new", path));
    }

    /// Adds the images whose weight, class number, group or part differs.
    fn add_fields(&mut self, before: &[SplitRow], now: &[SplitRow], matched: &Matched) {
        for (row, other) in before
            .iter()
            .zip(&matched.now)
            .filter_map(|(row, at)| Some((row, &now[(*at)?])))
        {
            let mut compare = |is_other: bool, what: &str, [was, is]: [&dyn Display; 2]| {
                if is_other {
                    self.add(
                        &format!(": its {what} was {was} and is {is}"),
                        &format!("had the {what} {was} and have {is}"),
                        &row.path,
                    );
                }
            };
            compare(
                row.weight.to_bits() != other.weight.to_bits(),
                "weight",
                [&row.weight, &other.weight],
            );
            compare(
                row.label != other.label,
                "class number",
                [&row.label, &other.label],
            );
            compare(
                row.group != other.group,
                "group",
                [&format!("`{}`", row.group), &format!("`{}`", other.group)],
            );
            if row.split != other.split {
                let (was, is) = (&row.split, &other.split);
                self.add(
                    &format!(": it was in {was} and would be in {is}"),
                    &format!("were in {was} and would be in {is}"),
                    &row.path,
                );
            }
        }
    }

    /// Describes all changes; `None` if there are none.
    fn words(&self) -> Option<String> {
        let words = |(one, several, paths): &(String, String, Vec<String>)| {
            let named = paths
                .iter()
                .take(NAMED)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ");
            let more = if paths.len() > NAMED { ", ..." } else { "" };
            if paths.len() == 1 {
                format!("{named}{one}")
            } else {
                format!("{} images {several}: {named}{more}", paths.len())
            }
        };
        (!self.0.is_empty()).then(|| self.0.iter().map(words).collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{fingerprint, tests::row},
        *,
    };
    use crate::base::io::files;

    #[test]
    fn images_are_known_by_class_and_pixels_wherever_they_lie() {
        let of = |path: &str, class: &str, pixels: u8| SplitRow {
            class: class.to_owned(),
            blake3: files::hex(&[pixels; 32]),
            ..row(path)
        };
        let before = [
            of("old/1", "a", 1),
            of("old/2", "a", 2),
            of("old/3", "a", 1),
            of("old/4", "b", 1),
        ];
        let moved = [
            of("new/1", "a", 1),
            of("new/3", "a", 1),
            of("new/4", "b", 1),
            of("new/2", "a", 2),
        ];
        let matched = Matched::of(&before, &moved);
        assert!(matched.is_whole());
        assert_eq!(matched.now, [Some(0), Some(3), Some(1), Some(2)]);
        // Of equal images, the one at its own path first.
        let half = [
            of("new/1", "a", 1),
            of("old/1", "a", 1),
            of("old/2", "a", 2),
            of("old/4", "b", 1),
        ];
        assert_eq!(
            Matched::of(&before, &half).now,
            [Some(1), Some(2), Some(0), Some(3)]
        );
        let other = [
            of("new/1", "b", 1),
            of("new/2", "a", 2),
            of("new/3", "a", 1),
            of("new/4", "b", 1),
        ];
        let matched = Matched::of(&before, &other);
        assert!(!matched.is_whole());
        assert_eq!(
            (matched.now, matched.added),
            (vec![Some(2), Some(1), None, Some(0)], vec![3])
        );
    }

    #[test]
    fn each_kind_of_change_is_named_with_the_image() {
        let before = vec![row("1.png"), row("2.png")];
        let changed = |change: &dyn Fn(&mut SplitRow)| {
            let mut rows = before.clone();
            change(&mut rows[1]);
            rows
        };
        let many: Vec<_> = (3..10)
            .map(|number| SplitRow {
                blake3: files::hex(&[number; 32]),
                ..row(&format!("{number}.png"))
            })
            .collect();
        let cases: [(Vec<SplitRow>, &str); 9] = [
            (
                [before.clone(), many].concat(),
                "7 images are new: 3.png, 4.png, 5.png, 6.png, 7.png, ...",
            ),
            // The split was drawn anew because of the new image, which is what the user has to
            // know.
            (
                [
                    changed(&|row| row.split = "val".to_owned()),
                    vec![SplitRow {
                        blake3: files::hex(&[3; 32]),
                        ..row("3.png")
                    }],
                ]
                .concat(),
                "3.png is new",
            ),
            (before[..1].to_vec(), "2.png was in train and is gone"),
            (
                [before.clone(), vec![row("3.png")]].concat(),
                "3.png is new",
            ),
            (
                changed(&|row| row.blake3 = files::hex(&[8; 32])),
                "2.png: its pixels have changed",
            ),
            (
                changed(&|row| row.class = "b".to_owned()),
                "2.png: its class was a, \"quoted\" and is b",
            ),
            (
                changed(&|row| row.split = "val".to_owned()),
                "2.png: it was in train and would be in val",
            ),
            (
                changed(&|row| row.weight = 2.0),
                "2.png: its weight was 1 and is 2",
            ),
            (vec![row("2.png"), row("1.png")], "the order"),
        ];
        for (now, expected) in cases {
            let difference = difference(&before, &now).expect(expected);
            assert!(difference.contains(expected), "{difference}");
            assert_ne!(fingerprint(&before), fingerprint(&now));
        }
        assert_eq!(difference(&before, &before), None);
    }
}
