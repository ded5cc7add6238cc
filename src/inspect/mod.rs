//! Look before you train: what is in the images, which are copies, which stand out, what gives the class away. Reads; changes nothing.

mod clean;
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
pub use findings::{Finding, Kind};
pub use labels::{DoubtfulLabel, Features, Labels};
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

/// What an inspection found.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// Images that can be read.
    pub images: usize,
    /// By class, then by part.
    pub classes: BTreeMap<String, BTreeMap<&'static str, usize>>,
    /// Images in the largest class for one in the smallest, among those that are trained on.
    pub imbalance: f64,
    /// Images by format.
    pub formats: BTreeMap<String, usize>,
    /// Images by colours and bits as stored.
    pub modes: BTreeMap<String, usize>,
    /// Images that EXIF turns or mirrors.
    pub turned_by_exif: usize,
    /// Of heights and widths: least, median, most.
    pub heights: [usize; 3],
    /// As heights.
    pub widths: [usize; 3],
    /// Of widths over heights: least, median, most.
    pub aspect_ratios: [f64; 3],
    /// Different heights and widths.
    pub sizes: usize,
    /// Files that can't be opened or decoded, with the reason.
    pub unreadable: Vec<Skipped>,
    /// Files that are damaged and could be decoded all the same, with the damage.
    pub damaged: Vec<Damaged>,
    /// Files that were passed over, in words.
    pub passed_over: Vec<String>,
    /// How lists were read, in words.
    pub notes: Vec<String>,
    /// Copies.
    pub copies: Copies,
    /// Test images with a copy among the images that are trained on or chosen by.
    pub leaked_test_images: Vec<String>,
    /// Images that stand out, by what of them does.
    pub suspects: BTreeMap<&'static str, Vec<Suspect>>,
    /// Properties that tell the class without looking at the image, the most telling first.
    pub rules: Vec<Rule>,
    /// Labels that a cheap model was asked about; nothing where there are too few images for one, or it knows too little.
    pub labels: Option<Labels>,
    /// What it all means, the worst first.
    pub findings: Vec<Finding>,
    /// The images.
    #[serde(skip)]
    pub seen: Vec<ScannedImage>,
}

/// Groups of copies.
#[derive(Debug, Default, Serialize)]
pub struct Copies {
    /// All.
    pub groups: Vec<CopyGroup>,
    /// Groups with images in more than one part.
    pub across_splits: usize,
    /// Groups with more than one label.
    pub conflicting_labels: usize,
    /// Images that would be gone if one of each group were kept.
    pub surplus: usize,
}

/// Images that are copies of one another.
#[derive(Debug, Serialize)]
pub struct CopyGroup {
    /// The weakest link.
    pub likeness: Likeness,
    /// The images.
    pub members: Vec<Member>,
    /// In more than one part?
    pub is_across_splits: bool,
    /// With more than one label?
    pub has_conflicting_labels: bool,
}

/// An image of a group.
#[derive(Debug, Serialize)]
pub struct Member {
    /// Where it is.
    pub path: String,
    /// Its label.
    pub class: String,
    /// What it is used for.
    pub split: &'static str,
    #[serde(skip)]
    index: usize,
    #[serde(skip)]
    pixels: [u8; 32],
}

impl Member {
    /// Its position among the images that were seen.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Inspection {
    /// What there is to say of these images. Labels are judged by `features` of theirs, in their order, or by small images of them.
    pub fn of(survey: Scan, features: Option<Features>) -> Self {
        let copies = Copies::of(&survey);
        let labels = labels::judge(&survey, features);
        let damaged = survey.damaged();
        let Scan { seen, unreadable, passed_over, notes, .. } = survey;
        let mut classes: BTreeMap<String, BTreeMap<&'static str, usize>> = BTreeMap::new();
        let (mut formats, mut modes) = (BTreeMap::new(), BTreeMap::new());
        for ScannedImage { entry, part, facts } in &seen {
            *classes.entry(entry.class.clone()).or_default().entry(part.name()).or_default() += 1;
            *formats.entry(facts.format.clone()).or_default() += 1;
            *modes.entry(facts.mode.clone()).or_default() += 1;
        }
        let sizes: BTreeSet<_> = seen.iter().map(|seen| (seen.facts.height, seen.facts.width)).collect();
        let mut inspection = Self {
            images: seen.len(),
            imbalance: imbalance(&classes),
            classes,
            formats,
            modes,
            turned_by_exif: seen.iter().filter(|seen| seen.facts.is_turned).count(),
            heights: spread(seen.iter().map(|seen| seen.facts.height as f64)).map(|side| side as usize),
            widths: spread(seen.iter().map(|seen| seen.facts.width as f64)).map(|side| side as usize),
            aspect_ratios: spread(seen.iter().map(|seen| seen.facts.width as f64 / seen.facts.height as f64)),
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

    /// Images of a part.
    pub fn count(&self, part: Part) -> usize {
        self.seen.iter().filter(|seen| seen.part == part).count()
    }
}

/// Least, median and most; zeros of nothing.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |share: usize| values.get((values.len().saturating_sub(1)) * share / 2).copied().unwrap_or(0.0);
    [at(0), at(1), at(2)]
}

fn imbalance(classes: &BTreeMap<String, BTreeMap<&'static str, usize>>) -> f64 {
    let trained = classes.values().map(|parts| parts.get(Part::Train.name()).copied().unwrap_or(0)).filter(|count| *count > 0);
    let (least, most) = trained.fold((usize::MAX, 0), |(least, most), count| (least.min(count), most.max(count)));
    if most == 0 { f64::NAN } else { most as f64 / least as f64 }
}

impl Copies {
    fn of(survey: &Scan) -> Self {
        let groups: Vec<CopyGroup> = survey.groups.iter().map(|group| CopyGroup::of(group, &survey.seen)).collect();
        Self {
            across_splits: groups.iter().filter(|group| group.is_across_splits).count(),
            conflicting_labels: groups.iter().filter(|group| group.has_conflicting_labels).count(),
            surplus: groups.iter().map(|group| group.members.len() - 1).sum(),
            groups,
        }
    }

    fn leaked(&self) -> Vec<String> {
        let test = Part::Test.name();
        let is_known = |group: &&CopyGroup| group.members.iter().any(|member| member.split != test);
        let leaked = self.groups.iter().filter(is_known).flat_map(|group| group.members.iter().filter(|member| member.split == test));
        leaked.map(|member| member.path.clone()).collect()
    }
}

impl CopyGroup {
    fn of(group: &Group, seen: &[ScannedImage]) -> Self {
        let member = |index: usize| {
            let ScannedImage { entry, part, facts } = &seen[index];
            let (path, class) = (names::of_path(&entry.path), entry.class.clone());
            Member { path, class, split: part.name(), index, pixels: facts.pixels }
        };
        let members: Vec<Member> = group.members.iter().map(|index| member(*index)).collect();
        Self {
            likeness: group.likeness,
            is_across_splits: members.iter().any(|member| member.split != members[0].split),
            has_conflicting_labels: members.iter().any(|member| member.class != members[0].class),
            members,
        }
    }
}

impl CopyGroup {
    /// The first, and one of another part or label where there is one.
    pub fn pair(&self) -> [&Member; 2] {
        let first = &self.members[0];
        let differs = |member: &&Member| member.split != first.split || member.class != first.class;
        [first, self.members.iter().find(differs).unwrap_or(&self.members[1])]
    }

    /// Two members with the same pixels and different labels, where there are such: at least one of these labels is wrong.
    pub fn contradiction(&self) -> Option<[&Member; 2]> {
        let mut firsts: BTreeMap<[u8; 32], &Member> = BTreeMap::new();
        self.members.iter().find_map(|member| {
            let first = *firsts.entry(member.pixels).or_insert(member);
            (first.class != member.class).then_some([first, member])
        })
    }

    /// Members of one part that have the pixels of no member of the `others`.
    fn changed(&self, part: Part, others: &[Part]) -> usize {
        let is_other = |member: &&Member| others.iter().any(|part| part.name() == member.split);
        let known: BTreeSet<[u8; 32]> = self.members.iter().filter(is_other).map(|member| member.pixels).collect();
        self.members.iter().filter(|member| member.split == part.name() && !known.contains(&member.pixels)).count()
    }

    fn count(&self, part: Part) -> usize {
        self.members.iter().filter(|member| member.split == part.name()).count()
    }

    fn has(&self, part: Part) -> bool {
        self.count(part) > 0
    }
}

/// The part of a path that its maker chose for many: its name without digits.
fn source_name(path: &Path) -> String {
    let stem = path.file_stem().map(PathBuf::from).unwrap_or_default();
    stem.to_string_lossy().chars().filter(|letter| !letter.is_ascii_digit()).collect()
}
