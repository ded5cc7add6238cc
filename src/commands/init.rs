//! `emberlens init`: a folder of images in, a recipe that trains on it out.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Parser;

use super::{common::folders, ui};
use crate::{
    base::{io::files::write_atomic, names, usage::UsageError},
    commands::common::exit_status::ExitStatus,
    config,
    data::{
        listing::{Exclude, Listing, Splits, alike, list, splits},
        pixels::{
            decode::{Decoded, Wanted, decode_in},
            memory,
        },
        table::Skipped,
    },
    report::class_counts::count_words,
};

/// Images that are opened to see their size and colour, spread over all.
const SAMPLE: usize = 120;

/// The longer side of what the network will see, at most.
const LONGEST: usize = 150;

/// Arguments of `init`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A folder of class folders, or one with train, val and test folders of class folders in it
    dir: PathBuf,
    /// The recipe to write, instead of NAME.toml for a folder NAME
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// No images, or a recipe that is there already.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let Draft { name, text, about, folders } = Draft::of(&args.dir)?;
    if let Some(out) = &args.out {
        folders::refuse_inside(out, &folders, "--out")?;
    }
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.toml")));
    if out.exists() {
        return Err(UsageError(format!("{} is there already and is left as it is; choose another --out", names::of_path(&out))).into());
    }
    config::parse(&text, &out, &[]).context("the recipe would not be valid; please report this")?;
    write_atomic(&out, text.as_bytes())?;
    let out = names::of_path(&out);
    ui::print(&format!("{about}\n{out}\nTrain with: emberlens train --config {out}\n"))?;
    Ok(ExitStatus::Done)
}

/// A recipe for a folder of images.
pub struct Draft {
    /// The recipe's name, after the folder's.
    pub name: String,
    /// TOML.
    pub text: String,
    /// What was found in the folder, in words.
    pub about: String,
    /// The folders of images, which nothing is written into.
    pub folders: Vec<PathBuf>,
}

impl Draft {
    /// Looks into `dir`, which stays as it is.
    ///
    /// # Errors
    /// No images.
    pub fn of(dir: &Path) -> anyhow::Result<Self> {
        let found = Found::look(dir)?;
        let name = recipe_name(dir);
        Ok(Self { text: found.recipe(&name), about: found.describe(), folders: found.folders(dir), name })
    }
}

/// The folder's name as one that a run folder can have on any system.
fn recipe_name(dir: &Path) -> String {
    let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let name = whole.file_name().map_or_else(String::new, |name| names::for_file(names::of_os(name).trim_start_matches('.')));
    if name.is_empty() { "images".to_owned() } else { name }
}

/// What is in the folder.
struct Found {
    train: PathBuf,
    validation: Option<PathBuf>,
    test: Option<PathBuf>,
    classes: Vec<(String, usize)>,
    /// Median height and width of the sample.
    typical: [usize; 2],
    is_grey: bool,
}

impl Found {
    fn look(dir: &Path) -> anyhow::Result<Self> {
        if !dir.is_dir() {
            return Err(UsageError(format!("found no folder {}, expected a folder of class folders", names::of_path(dir))).into());
        }
        let Splits { parts: [train, validation, test], others } = splits(dir)?;
        let train = train.unwrap_or_else(|| dir.to_owned());
        let listing = list(&train, &Exclude::default())?;
        others.iter().chain(&listing.words(&train)).for_each(|words| ui::say(words));
        let skipped: Vec<_> = listing.unreadable.iter().map(|file| Skipped::unopened(file, None)).collect();
        Skipped::words(&skipped).iter().for_each(|words| ui::say(&format!("warning: {words}")));
        alike::pairs(&listing.classes).iter().for_each(|words| ui::say(&format!("warning: {words}")));
        let mut counts: BTreeMap<&String, usize> = listing.classes.iter().map(|class| (class, 0)).collect();
        listing.entries.iter().for_each(|entry| *counts.entry(&entry.class).or_default() += 1);
        let classes = counts.into_iter().map(|(class, count)| (class.clone(), count)).collect();
        let (typical, is_grey) = sample(&listing)?;
        Ok(Self { train, validation, test, classes, typical, is_grey })
    }

    /// The folders of images.
    fn folders(&self, dir: &Path) -> Vec<PathBuf> {
        folders::of_folder(dir, &[Some(self.train.clone()), self.validation.clone(), self.test.clone()])
    }

    fn describe(&self) -> String {
        let (classes, counts): (Vec<String>, Vec<usize>) = self.classes.iter().map(|(class, count)| (class.clone(), *count)).unzip();
        let [height, width] = self.typical;
        let mut text = format!(
            "Classes: {}\nTypical size: {width}x{height}, {}",
            count_words(&classes, &counts),
            if self.is_grey { "grey" } else { "colour" }
        );
        for (what, path) in [("Training", Some(&self.train)), ("Validation", self.validation.as_ref()), ("Test", self.test.as_ref())] {
            if let Some(path) = path {
                let _ = write!(text, "\n{what}: {}", names::of_path(path));
            }
        }
        text
    }

    fn recipe(&self, name: &str) -> String {
        let [height, width] = self.image_size();
        let counts = || self.classes.iter().map(|(_, count)| *count);
        let (fewest, most) = (counts().min().unwrap_or(0).max(1), counts().max().unwrap_or(0));
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let path = |path: &Path| quoted(&names::of_path(path));
        let mut text = format!(
            "# Written by `emberlens init`. Every key: docs/configuration.md.\nname = {}\n\n[data]\ntrain = {}\n",
            quoted(name),
            path(&self.train)
        );
        if let Some(test) = &self.test {
            let _ = writeln!(text, "test = {}", path(test));
        }
        let _ = match &self.validation {
            Some(validation) => writeln!(text, "validation = {}", path(validation)),
            None => writeln!(text, "validation = 0.2                  # a share of train; copies stay on one side"),
        };
        let color = if self.is_grey { "grayscale" } else { "rgb" };
        let _ = write!(
            text,
            "image_size = [{height}, {width}]            # height, width; typical images have {} x {}\ncolor = \"{color}\"\n\n\
             [augment]\nrotation_range = 15\nwidth_shift_range = 0.1\nheight_shift_range = 0.1\nzoom_range = 0.1\nhorizontal_flip = true\n\n\
             [model]\narchitecture = \"small_cnn\"\n",
            self.typical[0], self.typical[1]
        );
        let depth = depth(height.min(width));
        if depth < 4 {
            let _ = writeln!(text, "channels = {:?}", &[32, 64, 128, 128][..depth]);
        }
        let _ = write!(text, "\n[train]\nepochs = 30\nbatch_size = 32\n");
        if most * 2 > fewest * 3 {
            let _ = writeln!(text, "class_weights = \"balanced\"        # {fewest} images in the smallest class, {most} in the largest");
        }
        text.push_str(
            "schedule = { kind = \"cosine\", warmup_epochs = 1 }\n\
             early_stopping = { monitor = \"val_accuracy\", patience = 8 }\ncheckpoint = { monitor = \"val_accuracy\" }\n",
        );
        text
    }

    /// The typical size, scaled so that the longer side is at most [`LONGEST`].
    fn image_size(&self) -> [usize; 2] {
        let longest = self.typical[0].max(self.typical[1]).max(1);
        self.typical.map(|side| if longest <= LONGEST { side.max(8) } else { (side * LONGEST).div_ceil(longest).max(16) })
    }
}

/// Blocks that leave at least four pixels of the shorter side, at most four.
fn depth(side: usize) -> usize {
    (1..=4).rev().find(|depth| side >> depth >= 4).unwrap_or(1)
}

/// Median height and width, and whether all are grey, of images spread over the listing.
fn sample(listing: &Listing) -> anyhow::Result<([usize; 2], bool)> {
    let step = listing.entries.len().div_ceil(SAMPLE).max(1);
    let (mut heights, mut widths, mut is_grey) = (Vec::new(), Vec::new(), true);
    for entry in listing.entries.iter().step_by(step) {
        let wanted = Wanted { color: config::Color::Rgb, repair: false };
        match memory::with_file(&entry.path, |bytes, room| decode_in(bytes, wanted, room)) {
            Ok(Decoded { pixels, .. }) => {
                heights.push(pixels.height);
                widths.push(pixels.width);
                is_grey &= pixels
                    .bytes
                    .chunks_exact(pixels.channels)
                    .all(|pixel| pixel.iter().max().zip(pixel.iter().min()).is_some_and(|(high, low)| high - low <= 8));
            }
            Err(reason) => ui::say(&format!("warning: {reason}: {}", names::of_path(&entry.path))),
        }
    }
    if heights.is_empty() {
        bail!("found no image that can be decoded among {}, expected some in every class folder", listing.entries.len());
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
    fn a_folder_gives_its_name_to_the_recipe_where_it_can() {
        for (folder, expected) in
            [("no/such/cats", "cats"), ("no/such/.hidden", "hidden"), ("no/such/a:b\tc", "a_b_x09c"), ("no/...", "images")]
        {
            assert_eq!(recipe_name(Path::new(folder)), expected);
        }
        assert_eq!(recipe_name(Path::new(&"x".repeat(255))).len(), 160);
    }
}
