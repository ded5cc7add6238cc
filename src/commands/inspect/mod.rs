//! `emberlens inspect`: reports what is in a set of images and what is wrong with it.

mod page;
mod text;

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Parser;

use super::{
    common::folders,
    ui::{self, say},
};
use crate::{
    base::{io::files::write_atomic, names, progress::Progress, usage::UsageError},
    commands::{common::exit_status::ExitStatus, ui::Terminal},
    config::{self, Data, Source},
    data::{
        listing::{Splits, splits},
        survey,
        table::to_csv,
    },
    inspect::{Inspection, Side, features},
};

/// Seed of the validation images in a clean list: a recipe's default.
const SEED: u64 = 42;

/// Arguments of `inspect`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A folder of class folders, a folder with train, val and test folders of class folders, or a
    /// CSV
    #[arg(
        value_name = "DIR",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    dir: Option<PathBuf>,
    /// Inspect the images of a recipe
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Change one value of the recipe, as in --set data.test=DIR
    #[arg(long = "set", value_name = "KEY.PATH=VALUE", requires = "config")]
    overrides: Vec<String>,
    /// Also write a page that shows copies side by side
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Also write a CSV that `train` takes as it is: one image of each group of copies, none whose
    /// copies have another label, and nothing on both sides of a split
    #[arg(long, value_name = "FILE.csv")]
    write_clean: Option<PathBuf>,
    /// Which of the copies across splits to keep
    #[arg(long, value_enum, default_value = "test", requires = "write_clean")]
    keep: Side,
    /// Print one JSON document instead of the tables
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the images can't be listed, or if an output file already exists.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let (data, weights) = match (&args.dir, &args.config) {
        (Some(dir), _) => {
            let weights = features::weights_at_hand(None);
            (of_folder(dir, weights.is_some())?, weights)
        }
        (None, Some(config)) => {
            let config = config::load(config, &args.overrides)?;
            let weights = features::weights_at_hand(Some(&config.model));
            (config.data, weights)
        }
        (None, None) => return Err(UsageError("expected a folder or --config".to_owned()).into()),
    };
    refuse_files(args, &data)?;
    let surveyed = {
        let task = Terminal.items("Reading images");
        survey(&data, &|count| task.set_total(count), &|count| {
            task.add(count)
        })?
    };
    let features = weights
        .map(|weights| features::features(&surveyed, &data, &weights, &Terminal))
        .transpose()?
        .flatten();
    let found = Inspection::of(surveyed.survey, features);
    if let Some(path) = &args.html {
        let name = args.dir.as_ref().or(args.config.as_ref());
        let name = name.map_or_else(String::new, |path| names::of_path(path));
        write_atomic(path, page::page(&found, &name).to_html().as_bytes())?;
        say(&format!("Page: {}", names::of_path(path)));
    }
    if let Some(path) = &args.write_clean {
        write_clean(&found, args.keep, path)?;
    }
    ui::print(&if args.json {
        serde_json::to_string_pretty(&found)? + "\n"
    } else {
        text::text(&found)
    })?;
    Ok(ExitStatus::Done)
}

/// Checks that no file is overwritten and nothing is written among the images.
fn refuse_files(args: &Args, data: &Data) -> Result<(), UsageError> {
    let mut folders = folders::of_data(data);
    folders.extend(args.dir.iter().flat_map(|dir| folders::of_folder(dir, &[])));
    for (name, file) in [("--html", &args.html), ("--write-clean", &args.write_clean)] {
        let Some(file) = file else { continue };
        if file.exists() {
            return Err(UsageError(format!(
                "the file already exists; choose another {name}: {}",
                names::of_path(file)
            )));
        }
        folders::refuse_inside(file, &folders, name)?;
    }
    Ok(())
}

/// Returns the data of a recipe for a folder; `is_kept` says whether the pixels are needed.
fn of_folder(dir: &Path, is_kept: bool) -> anyhow::Result<Data> {
    let text = |path: &PathBuf| names::of_path(path);
    let Splits {
        parts: [train, validation, test],
        others,
    } = match dir.is_dir() {
        true => splits(dir)?,
        false => Splits {
            parts: [Some(dir.to_owned()), None, None],
            others: Vec::new(),
        },
    };
    others.iter().for_each(|words| say(words));
    let side = if is_kept { features::SIDE } else { 1 };
    let source = |path: &PathBuf| Source::Path(text(path));
    let data = Data::of(train.as_ref().map_or_else(String::new, text));
    let validation = validation.as_ref().map_or(data.validation, source);
    Ok(Data {
        validation,
        test: test.as_ref().map(source),
        image_size: [side, side],
        ..data
    })
}

/// Writes the clean list of images.
fn write_clean(found: &Inspection, keep: Side, path: &Path) -> anyhow::Result<()> {
    let clean = found.clean(keep, SEED);
    if clean.rows.is_empty() {
        bail!(
            "found no image for a clean list, expected one or more of the {} that can be read",
            found.images
        );
    }
    write_atomic(path, &to_csv(&clean.rows))?;
    say(&format!(
        "{} images in {}; left out: {} copies of them, {} whose copies have another label, {} \
         whose group is on another side, {} that can't be read",
        clean.rows.len(),
        names::of_path(path),
        clean.copies,
        clean.conflicting,
        clean.split_groups,
        found.unreadable.len()
    ));
    Ok(())
}
