//! `emberlens preview`: training pictures as the network will see them, epoch by epoch, on one PNG to look at.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Parser;

use super::{
    mosaic::{self, Cell, Row},
    train,
    ui::{UsageError, say},
};
use crate::{
    augment::{Augmenter, Key, planar},
    base::files::write_atomic,
    cli::Ending,
    config,
    data::{TrainingData, dataset::PictureSet},
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
    /// A training picture to show, instead of some of each class; may be given more than once
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// Pictures of each class
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u16).range(1..=50))]
    per_class: u16,
    /// The first epoch to show, counted from 1
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    epoch: u32,
    /// Epochs side by side
    #[arg(long, value_name = "N", default_value = "6", value_parser = clap::value_parser!(u16).range(1..=50))]
    epochs: u16,
    /// The PNG to write
    #[arg(long, value_name = "FILE", default_value = "preview.png")]
    out: PathBuf,
}

/// Runs the command. Each picture is shown as it is at the network's size, then as each epoch draws it first, to the pixel; what
/// normalisation does to the numbers is not seen.
///
/// # Errors
/// A recipe or data that can't be used, a picture that isn't trained on, a file that is there already.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    if args.out.exists() {
        return Err(UsageError(format!("the file is there already; choose another --out: {}", args.out.display())).into());
    }
    let config = config::load(&args.config, &args.overrides)?;
    let data = train::load(&config)?;
    let set = &data.train;
    let pictures = if args.images.is_empty() { of_each_class(set, args.per_class.into()) } else { named(&data, &args.images)? };
    let shape = set.store.format().shape();
    let augmenter = Augmenter::new(&config.augment, shape, config.seed);
    let mut rows = Vec::new();
    for picture in pictures {
        let found = &set.pictures[picture];
        let bytes = set.store.pixels(found.slot)?;
        let mut cells = vec![Cell { caption: "original".to_owned(), levels: planar(&bytes, shape) }];
        cells.extend((args.epoch..args.epoch + u32::from(args.epochs)).map(|epoch| {
            let key = Key { epoch: epoch as usize - 1, picture, repeat: 0 };
            Cell { caption: format!("epoch {epoch}"), levels: augmenter.apply(&bytes, key) }
        }));
        let name = found.path.file_name().unwrap_or_default().to_string_lossy();
        rows.push(Row { title: format!("{}: {name}", set.classes[found.label]), cells });
    }
    let mut png = Vec::new();
    mosaic::draw(&rows, [shape[0], shape[1]]).write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png)?;
    write_atomic(&args.out, &png).with_context(|| format!("can't write the picture: {}", args.out.display()))?;
    if !config.augment.is_active() {
        say("The recipe augments nothing: each epoch shows the original.");
    }
    say(&format!("Preview: {}", args.out.display()));
    Ok(Ending::Done)
}

/// Positions of so many pictures of each class, spread over it.
fn of_each_class(set: &PictureSet, count: usize) -> Vec<usize> {
    let mut members = vec![Vec::new(); set.classes.len()];
    set.pictures.iter().enumerate().for_each(|(index, picture)| members[picture.label].push(index));
    let spread = |members: Vec<usize>| {
        let count = count.min(members.len());
        (0..count).map(move |index| members[index * members.len() / count]).collect::<Vec<_>>()
    };
    members.into_iter().flat_map(spread).collect()
}

/// Positions of the pictures behind the arguments.
fn named(data: &TrainingData, images: &[PathBuf]) -> anyhow::Result<Vec<usize>> {
    let resolved = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let find = |set: &PictureSet, wanted: &Path| set.pictures.iter().position(|picture| resolved(&picture.path) == wanted);
    let mut found = Vec::new();
    for image in images {
        let wanted = resolved(image);
        match find(&data.train, &wanted) {
            Some(position) => found.push(position),
            None if find(&data.validation, &wanted).is_some() => {
                bail!("the picture is for validation, where nothing is augmented; choose one that is trained on: {}", image.display())
            }
            None => bail!("the picture is not among those of data.train that can be read: {}", image.display()),
        }
    }
    Ok(found)
}
