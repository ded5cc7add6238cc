//! `emberlens init`: a folder or list of images in, a recipe that trains on it out.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Parser;

use super::{
    common::folders,
    ui::{self, Terminal},
};
use crate::{
    architecture::Architecture,
    base::{io::files::write_atomic, names, usage::UsageError},
    commands::common::{
        exit_status::ExitStatus,
        first_recipe::{self, Approach, Facts},
        trials,
    },
    config,
    data::{
        listing::{Exclude, Listing, Part, Splits, alike, list, splits},
        pixels::{
            decode::{Decoded, Wanted, decode_in},
            memory,
        },
        table::Skipped,
    },
    nn::{
        estimate::size_words,
        pretrained::{self, AtHand, fetch},
    },
    report::class_counts::count_words,
};

/// Images that are opened to see their size and colour, spread over all.
const SAMPLE: usize = 120;

/// Share of the images that are held out for the test where there is no test folder.
const TEST: f64 = 0.15;

/// Images from which on there is a test: fifteen of them say little enough.
const ENOUGH_FOR_TEST: usize = 100;

/// Arguments of `init`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A folder of class folders, one with train, val and test folders of class folders in it, or a CSV of paths and labels
    #[arg(value_name = "DIR|CSV")]
    source: PathBuf,
    /// The recipe to write, instead of NAME.toml for a folder NAME or a list NAME.csv
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Pretrained weights to start from, instead of the best ones in the cache folder and in what EMBERLENS_WEIGHTS names
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Train a pretrained network and a small one from scratch for half a minute each, and take the better one
    #[arg(long)]
    quick_trials: bool,
    /// Download pretrained weights without asking where the images suit them and none are on this machine
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
///
/// # Errors
/// No images, or a recipe that is there already.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let Draft {
        name,
        text,
        about,
        folders,
    } = Draft::of(
        &args.source,
        &Wishes {
            weights: args.weights.as_deref(),
            has_trials: args.quick_trials,
            download: Download::of(args.yes),
        },
    )?;
    if let Some(out) = &args.out {
        folders::refuse_inside(out, &folders, "--out")?;
    }
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{name}.toml")));
    if out.exists() {
        return Err(UsageError(format!(
            "{} is there already and is left as it is; choose another --out",
            names::of_path(&out)
        ))
        .into());
    }
    config::parse(&text, &out, &[]).context("the recipe would not be valid; please report this")?;
    write_atomic(&out, text.as_bytes())?;
    let out = names::of_path(&out);
    ui::print(&format!(
        "{about}\n{out}\nTrain with: emberlens train --config {out}\n"
    ))?;
    Ok(ExitStatus::Done)
}

/// What the user wants of a recipe.
#[derive(Clone, Copy, Debug)]
pub struct Wishes<'a> {
    /// Pretrained weights.
    pub weights: Option<&'a Path>,
    /// Whether networks are tried.
    pub has_trials: bool,
    /// Whether weights may be downloaded.
    pub download: Download,
}

/// Whether weights may be downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Download {
    /// No: nothing is to be written.
    Never,
    /// If the user, who is asked, agrees.
    Ask,
    /// Yes.
    Agreed,
}

impl Download {
    /// Without asking, or after it.
    pub fn of(is_agreed: bool) -> Self {
        if is_agreed { Self::Agreed } else { Self::Ask }
    }

    /// Downloads weights if that is wanted, and returns them. A download that fails is told, and no error: a network from
    /// scratch needs none.
    fn run(self) -> Option<AtHand> {
        let architecture = first_recipe::fetched();
        let published = architecture.entry().published.as_ref()?;
        let question = || {
            let (name, size) = (
                architecture.name(),
                size_words(*published.bytes.end() as f64),
            );
            format!(
                "No pretrained weights are on this machine. Download those of {name} ({size}, {}) from {}?",
                published.license, published.url
            )
        };
        if self == Self::Never || self == Self::Ask && !ui::is_agreed(&question()) {
            return None;
        }
        match fetch::fetch(architecture, published, published.url, &Terminal) {
            Ok(path) => pretrained::identify(&path),
            Err(error) => {
                ui::say(&format!("warning: {error}; going on without them"));
                None
            }
        }
    }
}

/// A recipe for a folder or list of images.
pub struct Draft {
    /// The recipe's name, after the folder's or list's.
    pub name: String,
    /// TOML.
    pub text: String,
    /// What was found there, in words.
    pub about: String,
    /// The folders of images, which nothing is written into.
    pub folders: Vec<PathBuf>,
}

impl Draft {
    /// Makes a recipe for the images in the folder or list `source`, which stays as it is, with the
    /// pretrained weights that are wished for or the best ones on this machine; with trials, whatever
    /// suits the images better.
    ///
    /// # Errors
    /// Returns an error if there are no images, or if the weights are of no known architecture.
    pub fn of(source: &Path, wishes: &Wishes<'_>) -> anyhow::Result<Self> {
        let found = Found::look(source)?;
        let name = recipe_name(source);
        let approach = if wishes.has_trials {
            found.tried(wishes, &name)?
        } else {
            found.approach(wishes)?
        };
        let about = format!("{}\n{}", found.describe(), first_recipe::words(&approach));
        Ok(Self {
            text: found.recipe(&name, &approach),
            about,
            folders: found.folders(source),
            name,
        })
    }
}

/// Returns the weights that the user names, or the best ones on this machine, or downloaded ones.
fn pretrained_from(wishes: &Wishes<'_>) -> anyhow::Result<Option<AtHand>> {
    let Some(path) = wishes.weights else {
        return Ok(first_recipe::best(pretrained::at_hand()).or_else(|| wishes.download.run()));
    };
    let found = pretrained::identify(path).ok_or_else(|| {
        let known: Vec<_> = Architecture::all()
            .filter(|known| !known.is_of_recipe())
            .map(Architecture::name)
            .collect();
        let path = names::of_path(path);
        UsageError(format!(
            "--weights {path}: found no weights of a known network there, expected those of {}",
            known.join(", ")
        ))
    })?;
    Ok(Some(found))
}

/// The name of a folder, or of a list without its ending, as one that a run folder can have on any system.
fn recipe_name(source: &Path) -> String {
    let whole = source.canonicalize().unwrap_or_else(|_| source.to_owned());
    let name = if whole.is_file() {
        whole.file_stem()
    } else {
        whole.file_name()
    };
    let name = name.map_or_else(String::new, |name| {
        names::for_file(names::of_os(name).trim_start_matches('.'))
    });
    if name.is_empty() {
        "images".to_owned()
    } else {
        name
    }
}

/// What is in the folder or list.
struct Found {
    train: PathBuf,
    validation: Option<Given>,
    test: Option<Given>,
    facts: Facts,
}

/// Images of a part that the user has assigned to it.
enum Given {
    /// A folder or list of their own.
    Path(PathBuf),
    /// So many lines of the training images' list.
    Lines(usize),
}

impl Found {
    fn look(source: &Path) -> anyhow::Result<Self> {
        let Splits {
            parts: [train, validation, test],
            others,
        } = match source {
            _ if source.is_dir() => splits(source)?,
            _ if is_list(source) => Splits {
                parts: lists_beside(source),
                others: Vec::new(),
            },
            _ => {
                let source = names::of_path(source);
                return Err(
                    UsageError(format!("found no folder or CSV {source}, expected a folder of class folders or a list of images")).into()
                );
            }
        };
        let train = train.unwrap_or_else(|| source.to_owned());
        let mut listing = list(&train, &Exclude::default())?;
        others
            .iter()
            .chain(&listing.words(&train))
            .for_each(|words| ui::say(words));
        let skipped: Vec<_> = listing
            .unreadable
            .iter()
            .map(|file| Skipped::unopened(file, None))
            .collect();
        Skipped::words(&skipped)
            .iter()
            .for_each(|words| ui::say(&format!("warning: {words}")));
        alike::pairs(&listing.classes)
            .iter()
            .for_each(|words| ui::say(&format!("warning: {words}")));
        let given = |path: Option<PathBuf>, part: Part| {
            let lines = listing
                .entries
                .iter()
                .filter(|entry| entry.split == Some(part))
                .count();
            if lines > 0 {
                Some(Given::Lines(lines))
            } else {
                path.map(Given::Path)
            }
        };
        let (validation, test) = (given(validation, Part::Validation), given(test, Part::Test));
        listing
            .entries
            .retain(|entry| entry.split.is_none_or(|part| part == Part::Train));
        let mut counts: BTreeMap<&String, usize> =
            listing.classes.iter().map(|class| (class, 0)).collect();
        listing
            .entries
            .iter()
            .for_each(|entry| *counts.entry(&entry.class).or_default() += 1);
        let classes = counts
            .into_iter()
            .map(|(class, count)| (class.clone(), count))
            .collect();
        let (typical, is_gray) = sample(&listing)?;
        Ok(Self {
            train,
            validation,
            test,
            facts: Facts {
                classes,
                typical,
                is_gray,
            },
        })
    }

    /// The folders of images.
    fn folders(&self, source: &Path) -> Vec<PathBuf> {
        if !source.is_dir() {
            return Vec::new();
        }
        let path = |given: &Option<Given>| match given {
            Some(Given::Path(path)) => Some(path.clone()),
            Some(Given::Lines(_)) | None => None,
        };
        folders::of_folder(
            source,
            &[
                Some(self.train.clone()),
                path(&self.validation),
                path(&self.test),
            ],
        )
    }

    /// Chooses the network: a pretrained one where there is one and the images suit it.
    fn approach(&self, wishes: &Wishes<'_>) -> anyhow::Result<Approach> {
        if wishes.weights.is_none() && !self.facts.suit_backbones() {
            return Ok(Approach::Scratch);
        }
        Ok(pretrained_from(wishes)?.map_or(Approach::Scratch, Approach::Pretrained))
    }

    /// Chooses the network by training each for a moment.
    fn tried(&self, wishes: &Wishes<'_>, name: &str) -> anyhow::Result<Approach> {
        let Some(at_hand) = pretrained_from(wishes)? else {
            return Ok(Approach::Scratch);
        };
        let mut approaches = vec![Approach::Scratch, Approach::Pretrained(at_hand)];
        let recipes: Vec<_> = approaches
            .iter()
            .map(|approach| (approach.name(), self.recipe(name, approach)))
            .collect();
        Ok(approaches.swap_remove(trials::best(&recipes)?))
    }

    fn describe(&self) -> String {
        let (classes, counts): (Vec<String>, Vec<usize>) = self
            .facts
            .classes
            .iter()
            .map(|(class, count)| (class.clone(), *count))
            .unzip();
        let [height, width] = self.facts.typical;
        let mut text = format!(
            "Classes: {}\nTypical size: {width}x{height}, {}",
            count_words(&classes, &counts),
            if self.facts.is_gray { "grey" } else { "colour" }
        );
        let _ = write!(text, "\nTraining: {}", names::of_path(&self.train));
        for (what, given) in [("Validation", &self.validation), ("Test", &self.test)] {
            let _ = match given {
                Some(Given::Path(path)) => write!(text, "\n{what}: {}", names::of_path(path)),
                Some(Given::Lines(lines)) => {
                    write!(text, "\n{what}: {lines} lines of the same list")
                }
                None => Ok(()),
            };
        }
        text
    }

    fn recipe(&self, name: &str, approach: &Approach) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let path = |path: &Path| quoted(&names::of_path(path));
        let mut text = format!(
            "# Written by `emberlens init`. Every key: docs/configuration.md.\nname = {}\n\n[data]\ntrain = {}\n",
            quoted(name),
            path(&self.train)
        );
        let count = self.facts.count();
        let _ = match (&self.test, &self.validation) {
            (Some(Given::Path(test)), _) => writeln!(text, "test = {}", path(test)),
            (Some(Given::Lines(lines)), _) => {
                writeln!(text, "# The list itself has {lines} test images.")
            }
            // Whoever made a split keeps it, and learns what its figure is.
            (None, Some(_)) => {
                writeln!(
                    text,
                    "# No test images: the validation images choose the best epoch, so that their figure is a little too good."
                )
            }
            (None, None) if count < ENOUGH_FOR_TEST => writeln!(
                text,
                "# {count} images are too few to hold any out for a test."
            ),
            (None, None) => {
                writeln!(
                    text,
                    "test = {TEST}                       # a share of train, held out until the end; copies stay on one side"
                )
            }
        };
        let _ = match &self.validation {
            Some(Given::Path(validation)) => writeln!(text, "validation = {}", path(validation)),
            Some(Given::Lines(lines)) => {
                writeln!(text, "# The list itself has {lines} validation images.")
            }
            None => writeln!(
                text,
                "validation = 0.2                  # a share of the others, which chooses the best epoch"
            ),
        };
        text + &self.facts.recipe(approach)
    }
}

/// Whether this is a file that may be a list of images.
pub(in crate::commands) fn is_list(path: &Path) -> bool {
    let endings = ["csv", "tsv"];
    path.is_file()
        && path.extension().is_some_and(|ending| {
            endings
                .iter()
                .any(|known| ending.eq_ignore_ascii_case(known))
        })
}

/// Returns a list of training images with those of validation and test images beside it, such as train.csv with val.csv and test.csv; any
/// other list alone.
fn lists_beside(list: &Path) -> [Option<PathBuf>; 3] {
    let part_of =
        |path: &Path| Part::from_name(&names::of_os(path.file_stem().unwrap_or_default()));
    let mut parts = [Some(list.to_owned()), None, None];
    if part_of(list) != Some(Part::Train) {
        return parts;
    }
    let folder = list.parent().unwrap_or(Path::new(""));
    let found = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
    .read_dir();
    let mut others: Vec<_> = found
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| folder.join(entry.file_name()))
        .collect();
    others.sort();
    for path in others
        .into_iter()
        .filter(|path| path.extension() == list.extension() && path.is_file())
    {
        match part_of(&path) {
            Some(part) if parts[part as usize].is_none() => parts[part as usize] = Some(path),
            _ => {}
        }
    }
    parts
}

/// Median height and width, and whether all are grey, of images spread over the listing.
fn sample(listing: &Listing) -> anyhow::Result<([usize; 2], bool)> {
    let step = listing.entries.len().div_ceil(SAMPLE).max(1);
    let (mut heights, mut widths, mut is_grey) = (Vec::new(), Vec::new(), true);
    for entry in listing.entries.iter().step_by(step) {
        let wanted = Wanted {
            color: config::Color::Rgb,
            repair: false,
        };
        match memory::with_file(&entry.path, |bytes, room| decode_in(bytes, wanted, room)) {
            Ok(Decoded { pixels, .. }) => {
                heights.push(pixels.height);
                widths.push(pixels.width);
                is_grey &= pixels.bytes.chunks_exact(pixels.channels).all(|pixel| {
                    pixel
                        .iter()
                        .max()
                        .zip(pixel.iter().min())
                        .is_some_and(|(high, low)| high - low <= 8)
                });
            }
            Err(reason) => ui::say(&format!(
                "warning: {reason}: {}",
                names::of_path(&entry.path)
            )),
        }
    }
    if heights.is_empty() {
        bail!(
            "found no image that can be decoded among {}, expected some in every class folder",
            listing.entries.len()
        );
    }
    let median = |sides: &mut Vec<usize>| {
        sides.sort_unstable();
        sides[sides.len() / 2]
    };
    Ok(([median(&mut heights), median(&mut widths)], is_grey))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_other_parts_beside_a_list_of_training_images_are_found() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [
            "train.csv",
            "val.csv",
            "test.txt",
            "testing.csv",
            "labels.csv",
        ] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        let at = |name: &str| Some(folder.path().join(name));
        assert_eq!(
            lists_beside(&at("train.csv").expect("a path")),
            [at("train.csv"), at("val.csv"), at("testing.csv")]
        );
        assert_eq!(
            lists_beside(&at("labels.csv").expect("a path")),
            [at("labels.csv"), None, None]
        );
        assert_eq!(recipe_name(&at("labels.csv").expect("a path")), "labels");
    }

    #[test]
    fn a_folder_gives_its_name_to_the_recipe_where_it_can() {
        for (folder, expected) in [
            ("no/such/cats", "cats"),
            ("no/such/.hidden", "hidden"),
            ("no/such/a:b\tc", "a_b_x09c"),
            ("no/...", "images"),
        ] {
            assert_eq!(recipe_name(Path::new(folder)), expected);
        }
        assert_eq!(recipe_name(Path::new(&"x".repeat(255))).len(), 160);
    }
}
