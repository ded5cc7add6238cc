//! `emberlens import MODEL.keras`: a classifier that Keras saved becomes a checkpoint.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::ValueEnum;

use super::Args;
use crate::{
    base::{names, usage::UsageError, words::listed},
    checkpoint::{RunFolder, save_imported},
    commands::{common::exit_status::ExitStatus, ui::say},
    config::{Interpolation, KerasStandardize, Normalize},
    data::listing::{self, Exclude},
    import::model::{Unsaid, keras_model},
};

/// Longest list of labels that is read, in bytes.
const MOST_LABELS: u64 = 1 << 20;

/// What a saved model doesn't say of itself.
#[derive(Debug, clap::Args)]
pub(super) struct ModelArgs {
    /// Class names in the order of the model's outputs, which in Keras is the alphabetical one of
    /// the folders
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        conflicts_with = "labels"
    )]
    classes: Option<Vec<String>>,
    /// A file with the name of a class in each line, such as Teachable Machine's labels.txt
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// What was done to pixel values from 0 to 255 before they entered the model
    #[arg(long, value_name = "HOW")]
    normalize: Option<Before>,
    /// Size of the images, for a model that takes any
    #[arg(long, value_name = "HEIGHT,WIDTH", value_parser = size)]
    image_size: Option<[usize; 2]>,
    /// How images were resized: as ImageDataGenerator does without being told, or otherwise
    #[arg(long, value_name = "FILTER", default_value = "nearest", value_parser = filter)]
    interpolation: Interpolation,
}

/// What was done to pixel values.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Before {
    /// Nothing
    None,
    /// Divided by 255 (rescale = 1/255)
    Unit,
    /// Divided by 127.5, minus 1
    Tf,
    /// The mean of ImageNet subtracted, blue first
    Caffe,
    /// Divided by 255, standardized as ImageNet
    Imagenet,
}

impl Before {
    fn normalize(self) -> Normalize {
        match self {
            Self::None => Normalize::Keras(KerasStandardize::default()),
            Self::Unit => Normalize::Unit,
            Self::Tf => Normalize::Tf,
            Self::Caffe => Normalize::Caffe,
            Self::Imagenet => Normalize::Imagenet,
        }
    }
}

fn size(text: &str) -> Result<[usize; 2], String> {
    let sides = text.split([',', 'x']).map(|side| side.trim().parse().ok());
    let sides: Option<Vec<usize>> = sides.collect();
    sides
        .and_then(|sides| <[usize; 2]>::try_from(sides).ok())
        .ok_or_else(|| "expected height and width, such as 224,224".to_owned())
}

fn filter(text: &str) -> Result<Interpolation, String> {
    let named = serde_json::Value::String(text.to_owned());
    serde_json::from_value(named)
        .map_err(|_| "expected nearest, bilinear, bicubic, lanczos, box or hamming".to_owned())
}

/// Runs the command for a saved model.
///
/// # Errors
/// Returns an error if the folder exists, or the model can't be imported.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let Args {
        source: path,
        out,
        data,
        json: false,
        model,
    } = args
    else {
        return Err(UsageError("--json is for notebooks and scripts".to_owned()).into());
    };
    let out = out.as_ref().ok_or_else(|| {
        UsageError("a saved model needs --out RUN, the folder to write".to_owned())
    })?;
    let shown = names::of_path(path);
    let name = path.file_stem().map_or_else(String::new, names::of_os);
    let unsaid = Unsaid {
        name: names::for_file(&name),
        classes: classes(data.as_deref(), model)?,
        normalize: model.normalize.map(Before::normalize),
        image_size: model.image_size,
        interpolation: model.interpolation,
    };
    let checkpoint = keras_model(path, &unsaid).map_err(|reason| anyhow!("{reason}: {shown}"))?;
    let folder = RunFolder::create(out)?;
    save_imported(&folder, &checkpoint)?;
    let meta = &checkpoint.meta;
    let [height, width] = meta.image_size;
    say(&format!(
        "{} classes ({}), images of {height} x {width}, {}; architecture {}",
        meta.classes.len(),
        listed(&meta.classes),
        match model.interpolation {
            Interpolation::Nearest => "resized to the nearest pixel as ImageDataGenerator does",
            _ => "resized as --interpolation says",
        },
        meta.design.model.architecture.name()
    ));
    say(&format!("Run folder: {}", names::of_path(out)));
    Ok(ExitStatus::Done)
}

/// Returns the class names that the user gave.
fn classes(data: Option<&Path>, args: &ModelArgs) -> anyhow::Result<Option<Vec<String>>> {
    if let Some(classes) = &args.classes {
        let trimmed = classes.iter().map(|name| name.trim().to_owned());
        return Ok(Some(trimmed.collect()));
    }
    if let Some(path) = &args.labels {
        let shown = names::of_path(path);
        let length = std::fs::metadata(path).with_context(|| format!("can't read: {shown}"))?;
        if length.len() > MOST_LABELS {
            return Err(anyhow!(
                "found {} bytes, expected a line for each class: {shown}",
                length.len()
            ));
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("can't read: {shown}"))?;
        return Ok(Some(labels(&text)));
    }
    data.map(|data| Ok(listing::list(data, &Exclude::default())?.classes))
        .transpose()
}

/// Returns the names in a list with a line for each, without the numbers of Teachable Machine's.
fn labels(text: &str) -> Vec<String> {
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let without_number = |(index, line): (usize, &&str)| {
        let (number, name) = line.split_once(' ')?;
        (number.parse() == Ok(index)).then(|| name.trim().to_owned())
    };
    let named: Option<Vec<_>> = lines.iter().enumerate().map(without_number).collect();
    named.unwrap_or_else(|| lines.iter().map(|line| (*line).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn labels_lose_their_numbers_if_all_have_theirs() {
        for (text, expected) in [
            ("0 ants\n1 wild bees\n", ["ants", "wild bees"]),
            ("ants\n\nbees", ["ants", "bees"]),
            ("2 ants\n3 bees", ["2 ants", "3 bees"]),
        ] {
            assert_eq!(labels(text), expected);
        }
    }
}
