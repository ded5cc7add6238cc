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
    evaluation::predictions::{out_of_fold, out_of_fold_path},
    inspect::{HeldOut, Inspection, Judge, Kind, Side, features},
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
        required_unless_present_any = ["config", "run"],
        conflicts_with_all = ["config", "run"]
    )]
    dir: Option<PathBuf>,
    /// Inspect the images of a recipe
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    config: Option<PathBuf>,
    /// Inspect the images of a run. If it has folds, its own networks judge the labels, each image
    /// by those that weren't trained on it
    #[arg(long, value_name = "RUN")]
    run: Option<PathBuf>,
    /// Change one value of the recipe, as in --set data.test=DIR
    #[arg(long = "set", value_name = "KEY.PATH=VALUE", requires = "config")]
    overrides: Vec<String>,
    /// Also write a page that shows copies side by side, doubtful labels and images that stand out
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Also write a CSV that `train` takes as it is: one image of each group of copies, none whose
    /// copies have another label, and nothing on both sides of a split
    #[arg(long, value_name = "FILE.csv")]
    write_clean: Option<PathBuf>,
    /// Which of the copies across splits to keep
    #[arg(long, value_enum, default_value = "test", requires = "write_clean")]
    keep: Side,
    /// Also write a CSV of all images for you to correct, those with doubtful labels first: change
    /// the column `label`, then train on the file
    #[arg(long, value_name = "FILE.csv")]
    write_labels: Option<PathBuf>,
    /// Print one JSON document instead of the tables
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the images can't be listed, or if an output file already exists.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let Subject {
        name,
        data,
        held_out,
        weights,
    } = Subject::of(args)?;
    refuse_files(args, &data)?;
    let surveyed = {
        let task = Terminal.items("Reading images");
        survey(&data, &|count| task.set_total(count), &|count| {
            task.add(count)
        })?
    };
    let judge = match (held_out, weights) {
        (Some(held_out), _) => Judge::Networks(held_out),
        (None, Some(weights)) => features::features(&surveyed, &data, &weights, &Terminal)?.into(),
        (None, None) => Judge::Looks,
    };
    let mut found = Inspection::of(surveyed.survey, &judge);
    if data.takes_unlabeled {
        // What an autoencoder learns from doesn't depend on classes.
        let findings = &mut found.findings;
        findings.retain(|finding| finding.kind != Kind::Imbalance);
    }
    if let Some(path) = &args.html {
        write_atomic(path, page::page(&found, &name).to_html().as_bytes())?;
        say(&format!("Page: {}", names::of_path(path)));
    }
    if let Some(path) = &args.write_clean {
        write_clean(&found, args.keep, path)?;
    }
    if let Some(path) = &args.write_labels {
        write_labels(&found, path)?;
    }
    ui::print(&if args.json {
        serde_json::to_string_pretty(&found)? + "\n"
    } else {
        text::text(&found)
    })?;
    Ok(ExitStatus::Done)
}

/// What is inspected.
struct Subject {
    name: String,
    data: Data,
    /// The judgment of a run's networks, if there is one.
    held_out: Option<HeldOut>,
    /// Weights of a network whose features labels are judged by, if they are on this machine.
    weights: Option<PathBuf>,
}

impl Subject {
    fn of(args: &Args) -> anyhow::Result<Self> {
        if let Some(dir) = &args.dir {
            let weights = features::weights_at_hand(None);
            return Ok(Self {
                name: names::of_path(dir),
                data: of_folder(dir, weights.is_some())?,
                held_out: None,
                weights,
            });
        }
        let Some(path) = args.config.as_ref().or(args.run.as_ref()) else {
            return Err(UsageError("expected a folder, --config or --run".to_owned()).into());
        };
        let recipe = match &args.run {
            Some(run) => run.join("config.toml"),
            None => path.clone(),
        };
        let config = config::load(&recipe, &args.overrides)?;
        Ok(Self {
            name: names::of_path(path),
            held_out: args.run.as_deref().map(judgment).transpose()?.flatten(),
            weights: features::weights_at_hand(Some(&config.model)),
            data: config.data,
        })
    }
}

/// Reads the out-of-fold predictions of a run; says so if it has none.
fn judgment(run: &Path) -> anyhow::Result<Option<HeldOut>> {
    let found = out_of_fold(run)?;
    if found.is_none() {
        say(&format!(
            "The run's networks can't judge labels that they were trained on, and there are no \
             predictions of others: a simpler model judges them. With train.folds, training \
             leaves predictions for all images: {}",
            names::of_path(&out_of_fold_path(run))
        ));
    }
    Ok(found)
}

/// Checks that no file is overwritten and nothing is written among the images.
fn refuse_files(args: &Args, data: &Data) -> Result<(), UsageError> {
    let mut folders = folders::of_data(data);
    folders.extend(args.dir.iter().flat_map(|dir| folders::of_folder(dir, &[])));
    let mut others = Vec::new();
    for (name, file) in [
        ("--html", &args.html),
        ("--write-clean", &args.write_clean),
        ("--write-labels", &args.write_labels),
    ] {
        let Some(file) = file else { continue };
        if others.contains(&folders::resolve(file)) {
            return Err(UsageError(format!(
                "the file is asked for twice; choose another {name}: {}",
                names::of_path(file)
            )));
        }
        others.push(folders::resolve(file));
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
    } = if dir.is_dir() {
        splits(dir)?
    } else {
        Splits {
            parts: [Some(dir.to_owned()), None, None],
            others: Vec::new(),
        }
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

/// Writes the list of images to correct.
fn write_labels(found: &Inspection, path: &Path) -> anyhow::Result<()> {
    if found.labels.is_none() {
        say(
            "warning: the labels could not be judged, so that the list suggests none: there are \
             too few images of two classes or more, or they are too hard to tell apart",
        );
    }
    let suspects = found
        .labels
        .as_ref()
        .map_or(0, |labels| labels.suspects.len());
    write_atomic(path, &to_csv(&found.label_rows()))?;
    say(&format!(
        "{} images in {}, the first {suspects} with doubtful labels: correct the column `label`, \
         then: emberlens train {}",
        found.images,
        names::of_path(path),
        names::of_path(path)
    ));
    Ok(())
}
