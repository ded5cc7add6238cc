//! Inspects a set of images before training: counts, sizes, copies, images that stand out, doubtful
//! labels, and properties other than the content that predict the class. Changes no file of the
//! set.

mod clean;
mod correct;
mod discriminant;
pub mod features;
mod findings;
mod labels;
mod rules;
mod suspects;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Serialize;

pub use clean::{Clean, Side};
pub use correct::LabelRow;
pub use findings::{Finding, Kind};
pub use labels::{DoubtfulLabel, Features, HeldOut, Judge, Labels};
pub use rules::Rule;
pub use suspects::Suspect;

use crate::{
    base::names,
    data::{
        duplicates::{
            Group, Likeness,
            scan::{Scan, ScannedImage},
        },
        listing::Part,
        table::{Damaged, Skipped},
    },
};

/// The result of an inspection.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// Number of images that can be read.
    pub images: usize,
    /// Number of images by class and split.
    pub classes: BTreeMap<String, BTreeMap<&'static str, usize>>,
    /// Ratio of the largest to the smallest class among the training images; NaN without any.
    pub imbalance: f64,
    /// Number of images by file format.
    pub formats: BTreeMap<String, usize>,
    /// Number of images by stored color mode and bit depth, such as `Rgb8`.
    pub modes: BTreeMap<String, usize>,
    /// Number of images that EXIF rotates or mirrors.
    pub turned_by_exif: usize,
    /// Smallest, median and largest height, in pixels.
    pub heights: [usize; 3],
    /// Smallest, median and largest width, in pixels.
    pub widths: [usize; 3],
    /// Smallest, median and largest ratio of width to height.
    pub aspect_ratios: [f64; 3],
    /// Number of distinct pairs of height and width.
    pub sizes: usize,
    /// Files that can't be opened or decoded, with the reason.
    pub unreadable: Vec<Skipped>,
    /// Damaged files that could be decoded, with the damage.
    pub damaged: Vec<Damaged>,
    /// Descriptions of files that were ignored.
    pub passed_over: Vec<String>,
    /// Remarks on how lists were read.
    pub notes: Vec<String>,
    /// Groups of copies among the images.
    pub copies: Copies,
    /// Paths of test images that are copies of training or validation images.
    pub leaked_test_images: Vec<String>,
    /// Images that stand out, by kind, such as `dark`.
    pub suspects: BTreeMap<&'static str, Vec<Suspect>>,
    /// Properties other than the content that predict the class, the most accurate first.
    pub rules: Vec<Rule>,
    /// Judgment of the labels; `None` if there are too few images for a model or its skill is too
    /// low.
    pub labels: Option<Labels>,
    /// Findings, the most serious first.
    pub findings: Vec<Finding>,
    /// The inspected images.
    #[serde(skip)]
    pub seen: Vec<ScannedImage>,
}

/// Groups of copies, with counts.
#[derive(Debug, Default, Serialize)]
pub struct Copies {
    /// All groups.
    pub groups: Vec<CopyGroup>,
    /// Number of groups with images in more than one split.
    pub across_splits: usize,
    /// Number of groups with more than one label.
    pub conflicting_labels: usize,
    /// Number of images beyond one of each group.
    pub surplus: usize,
}

/// Images that are copies of one another.
#[derive(Debug, Serialize)]
pub struct CopyGroup {
    /// How alike the images are; the weakest likeness that connects the group.
    pub likeness: Likeness,
    /// Images of the group.
    pub members: Vec<Member>,
    /// Whether the images lie in more than one split.
    pub is_across_splits: bool,
    /// Whether the images have more than one label.
    pub has_conflicting_labels: bool,
}

/// An image of a group of copies.
#[derive(Debug, Serialize)]
pub struct Member {
    /// Path of the image.
    pub path: String,
    /// Class of the image.
    pub class: String,
    /// Split of the image: `train`, `val` or `test`.
    pub split: &'static str,
    #[serde(skip)]
    index: usize,
    #[serde(skip)]
    pixels: [u8; 32],
}

impl Member {
    /// Returns the image's index in [`Inspection::seen`].
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Inspection {
    /// Inspects the scanned images. Their labels are judged by `judge`, whose features are in the
    /// order of the images.
    pub fn of(survey: Scan, judge: &Judge) -> Self {
        let copies = Copies::of(&survey);
        let labels = labels::judge(&survey, judge);
        let damaged = survey.damaged();
        let Scan {
            seen,
            unreadable,
            passed_over,
            notes,
            ..
        } = survey;
        let mut classes: BTreeMap<String, BTreeMap<&'static str, usize>> = BTreeMap::new();
        let (mut formats, mut modes) = (BTreeMap::new(), BTreeMap::new());
        for ScannedImage { entry, part, facts } in &seen {
            *classes
                .entry(entry.class.clone())
                .or_default()
                .entry(part.name())
                .or_default() += 1;
            *formats.entry(facts.format.clone()).or_default() += 1;
            *modes.entry(facts.mode.clone()).or_default() += 1;
        }
        let sizes: BTreeSet<_> = seen
            .iter()
            .map(|seen| (seen.facts.height, seen.facts.width))
            .collect();
        let mut inspection = Self {
            images: seen.len(),
            imbalance: imbalance(&classes),
            classes,
            formats,
            modes,
            turned_by_exif: seen.iter().filter(|seen| seen.facts.is_turned).count(),
            heights: spread(seen.iter().map(|seen| seen.facts.height as f64))
                .map(|side| side as usize),
            widths: spread(seen.iter().map(|seen| seen.facts.width as f64))
                .map(|side| side as usize),
            aspect_ratios: spread(
                seen.iter()
                    .map(|seen| seen.facts.width as f64 / seen.facts.height as f64),
            ),
            sizes: sizes.len(),
            unreadable,
            damaged,
            passed_over,
            notes,
            leaked_test_images: copies.leaked(),
            copies,
            suspects: suspects::find(&seen),
            rules: rules::find(&seen),
            labels,
            findings: Vec::new(),
            seen,
        };
        inspection.findings = findings::of(&inspection);
        inspection
    }

    /// Returns the number of images in a split.
    pub fn count(&self, part: Part) -> usize {
        self.seen.iter().filter(|seen| seen.part == part).count()
    }
}

/// Returns the smallest, median and largest value; zeros without any.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |share: usize| {
        values
            .get((values.len().saturating_sub(1)) * share / 2)
            .copied()
            .unwrap_or(0.0)
    };
    [at(0), at(1), at(2)]
}

/// Returns the ratio of the largest to the smallest class with training images; NaN without any.
fn imbalance(classes: &BTreeMap<String, BTreeMap<&'static str, usize>>) -> f64 {
    let trained = classes
        .values()
        .map(|parts| parts.get(Part::Train.name()).copied().unwrap_or(0))
        .filter(|count| *count > 0);
    let (least, most) = trained.fold((usize::MAX, 0), |(least, most), count| {
        (least.min(count), most.max(count))
    });
    if most == 0 {
        f64::NAN
    } else {
        most as f64 / least as f64
    }
}

impl Copies {
    fn of(survey: &Scan) -> Self {
        let groups: Vec<CopyGroup> = survey
            .groups
            .iter()
            .map(|group| CopyGroup::of(group, &survey.seen))
            .collect();
        Self {
            across_splits: groups.iter().filter(|group| group.is_across_splits).count(),
            conflicting_labels: groups
                .iter()
                .filter(|group| group.has_conflicting_labels)
                .count(),
            surplus: groups.iter().map(|group| group.members.len() - 1).sum(),
            groups,
        }
    }

    /// Returns the paths of test images that have a copy outside the test set.
    fn leaked(&self) -> Vec<String> {
        let test = Part::Test.name();
        let is_known = |group: &&CopyGroup| group.members.iter().any(|member| member.split != test);
        let leaked = self
            .groups
            .iter()
            .filter(is_known)
            .flat_map(|group| group.members.iter().filter(|member| member.split == test));
        leaked.map(|member| member.path.clone()).collect()
    }
}

impl CopyGroup {
    fn of(group: &Group, seen: &[ScannedImage]) -> Self {
        let member = |index: usize| {
            let ScannedImage { entry, part, facts } = &seen[index];
            let (path, class) = (names::of_path(&entry.path), entry.class.clone());
            Member {
                path,
                class,
                split: part.name(),
                index,
                pixels: facts.pixels,
            }
        };
        let members: Vec<Member> = group.members.iter().map(|index| member(*index)).collect();
        Self {
            likeness: group.likeness,
            is_across_splits: members
                .iter()
                .any(|member| member.split != members[0].split),
            has_conflicting_labels: members
                .iter()
                .any(|member| member.class != members[0].class),
            members,
        }
    }
}

impl CopyGroup {
    /// Returns the first image and one that differs from it in split or label; without any, the
    /// second.
    pub fn pair(&self) -> [&Member; 2] {
        let first = &self.members[0];
        let differs = |member: &&Member| member.split != first.split || member.class != first.class;
        [
            first,
            self.members
                .iter()
                .find(differs)
                .unwrap_or(&self.members[1]),
        ]
    }

    /// Returns two images with the same pixels and different labels, if there are any: at least one
    /// of the labels is wrong.
    pub fn contradiction(&self) -> Option<[&Member; 2]> {
        let mut firsts: BTreeMap<[u8; 32], &Member> = BTreeMap::new();
        self.members.iter().find_map(|member| {
            let first = *firsts.entry(member.pixels).or_insert(member);
            (first.class != member.class).then_some([first, member])
        })
    }

    /// Returns the number of images in `part` whose pixels equal those of no image in the `others`.
    fn changed(&self, part: Part, others: &[Part]) -> usize {
        let is_other = |member: &&Member| others.iter().any(|part| part.name() == member.split);
        let known: BTreeSet<[u8; 32]> = self
            .members
            .iter()
            .filter(is_other)
            .map(|member| member.pixels)
            .collect();
        self.members
            .iter()
            .filter(|member| member.split == part.name() && !known.contains(&member.pixels))
            .count()
    }

    /// Returns the number of images in a split.
    fn count(&self, part: Part) -> usize {
        self.members
            .iter()
            .filter(|member| member.split == part.name())
            .count()
    }

    fn has(&self, part: Part) -> bool {
        self.count(part) > 0
    }
}

/// Returns the file's name without extension and digits, which files of one source tend to share.
fn source_name(path: &Path) -> String {
    let stem = path.file_stem().map(PathBuf::from).unwrap_or_default();
    stem.to_string_lossy()
        .chars()
        .filter(|letter| !letter.is_ascii_digit())
        .collect()
}
