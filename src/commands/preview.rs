//! `emberlens preview`: draws training images as the epochs augment them, in one PNG.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Parser;

use super::{
    common::{
        contact_sheet::{draw, of_each_class},
        folders, inputs,
    },
    ui::say,
};
use crate::{
    base::{io::files::write_atomic, names, usage::UsageError},
    commands::common::exit_status::ExitStatus,
    config,
    data::{TrainingData, batches::dataset::ImageSet},
};

/// Arguments of `preview`.
#[derive(Debug, Parser)]
pub struct Args {
    /// The recipe; that of a run is RUN/config.toml
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Change one value of the recipe, as in --set augment.rotation_range=30
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// A training image to show, instead of some of each class; may be given more than once
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// Images of each class
    #[arg(
        long,
        value_name = "N",
        default_value = "2",
        value_parser = clap::value_parser!(u16).range(1..=50)
    )]
    per_class: u16,
    /// The first epoch to show, counted from 1
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    epoch: u32,
    /// Epochs side by side
    #[arg(
        long,
        value_name = "N",
        default_value = "6",
        value_parser = clap::value_parser!(u16).range(1..=50)
    )]
    epochs: u16,
    /// The PNG to write
    #[arg(long, value_name = "FILE", default_value = "preview.png")]
    out: PathBuf,
}

/// Runs the command. Each image is shown at the size of the network's input, then as the first draw
/// of each epoch, to the pixel. Normalization isn't shown.
///
/// # Errors
/// Returns an error if the configuration or data can't be used, an image isn't trained on, or the
/// output file exists.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    if args.out.exists() {
        return Err(UsageError(format!(
            "the file already exists; choose another --out: {}",
            names::of_path(&args.out)
        ))
        .into());
    }
    let config = config::load(&args.config, &args.overrides)?;
    folders::refuse_inside(&args.out, &folders::of_data(&config.data), "--out")?;
    let data = inputs::load(&config)?;
    let set = &data.train;
    let images = if args.images.is_empty() {
        of_each_class(set, args.per_class.into())
    } else {
        named(&data, &args.images)?
    };
    let epochs = args.epoch..args.epoch + u32::from(args.epochs);
    let png = draw(&config, &data, &images, epochs)?;
    write_atomic(&args.out, &png)?;
    if !config.augment.is_active() {
        say("The recipe augments nothing: each epoch shows the original.");
    }
    say(&format!("Preview: {}", names::of_path(&args.out)));
    Ok(ExitStatus::Done)
}

/// Returns the positions of the images that the arguments name.
fn named(data: &TrainingData, images: &[PathBuf]) -> anyhow::Result<Vec<usize>> {
    let resolved = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let find = |set: &ImageSet, wanted: &Path| {
        set.images
            .iter()
            .position(|image| resolved(&image.path) == wanted)
    };
    let mut found = Vec::new();
    for image in images {
        let wanted = resolved(image);
        match find(&data.train, &wanted) {
            Some(position) => found.push(position),
            None if find(&data.validation, &wanted).is_some() => {
                bail!(
                    "the image is for validation, where nothing is augmented; choose one that is \
                     trained on: {}",
                    names::of_path(image)
                )
            }
            None => bail!(
                "the image is not among those of data.train that can be read: {}",
                names::of_path(image)
            ),
        }
    }
    Ok(found)
}
