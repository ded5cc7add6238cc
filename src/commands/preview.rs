//! `emberlens preview`: training pictures as the network will see them, epoch by epoch, on one PNG to look at.

use std::{
    io::Cursor,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use clap::Parser;
use pixel_sampling::{Finish, Picture, sample_unmoved};

use super::{
    data_folders,
    mosaic::{self, Cell, Row},
    train,
    ui::{UsageError, say},
};
use crate::{
    base::{files::write_atomic, names},
    cli::Ending,
    config::{self, Config},
    data::{
        TrainingData,
        dataset::{PictureSet, View},
    },
    train::levels_view,
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
        return Err(UsageError(format!("the file is there already; choose another --out: {}", names::of_path(&args.out))).into());
    }
    let config = config::load(&args.config, &args.overrides)?;
    data_folders::refuse_inside(&args.out, &data_folders::of_data(&config.data), "--out")?;
    let data = train::load(&config)?;
    let set = &data.train;
    let pictures = if args.images.is_empty() { of_each_class(set, args.per_class.into()) } else { named(&data, &args.images)? };
    let epochs = args.epoch..args.epoch + u32::from(args.epochs);
    let png = draw(&config, set, &pictures, epochs)?;
    write_atomic(&args.out, &png)?;
    if !config.augment.is_active() {
        say("The recipe augments nothing: each epoch shows the original.");
    }
    say(&format!("Preview: {}", names::of_path(&args.out)));
    Ok(Ending::Done)
}

/// Pictures of each class as the first epochs see them, as a PNG.
///
/// # Errors
/// A picture that can't be read again.
pub(super) fn sample(config: &Config, set: &Arc<PictureSet>) -> anyhow::Result<Vec<u8>> {
    let mut pictures = of_each_class(set, if set.classes.len() > 4 { 1 } else { 2 });
    pictures.truncate(ROWS);
    draw(config, set, &pictures, 1..7)
}

/// The rows of a sample at most.
const ROWS: usize = 12;

/// A row a picture: as it is, then as each of the epochs draws it first. PNG.
fn draw(config: &Config, set: &Arc<PictureSet>, pictures: &[usize], epochs: Range<u32>) -> anyhow::Result<Vec<u8>> {
    let shape = set.store.format().shape();
    let mut rows = Vec::new();
    for picture in pictures {
        let found = &set.pictures[*picture];
        let name = names::of_os(found.path.file_name().unwrap_or_default());
        let mut levels = Vec::new();
        let bytes = set.store.pixels(found.slot)?;
        sample_unmoved(
            Picture::new(&bytes, shape).context("the store has pictures of another shape")?,
            [false; 2],
            &Finish::LEVELS,
            &mut levels,
        );
        let title = format!("{}: {name}", set.classes[found.label]);
        rows.push(Row { title, cells: vec![Cell { caption: "original".to_owned(), levels }] });
    }
    for epoch in epochs {
        let view = levels_view(config, set, epoch as usize - 1);
        for (row, picture) in rows.iter_mut().zip(pictures) {
            row.cells.push(seen(&view, *picture, config.train.batch_size, epoch)?);
        }
    }
    let mut png = Vec::new();
    mosaic::draw(&rows, [shape[0], shape[1]]).write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png)?;
    Ok(png)
}

/// A picture as the epoch draws it first, within its batch, whose pictures may be mixed.
fn seen(view: &View, picture: usize, batch_size: usize, epoch: u32) -> anyhow::Result<Cell> {
    let nothing = || Cell { caption: format!("epoch {epoch}: not drawn"), levels: Vec::new() };
    let Some(at) = view.draws.iter().position(|draw| draw.picture == picture && draw.repeat == 0) else { return Ok(nothing()) };
    let start = at / batch_size * batch_size;
    // By itself where pictures don't touch one another.
    let draws = if view.batcher.mix.is_some() { start..(start + batch_size).min(view.draws.len()) } else { at..at + 1 };
    let offset = at - draws.start;
    let batch = view.batch(draws)?;
    let (size, num_classes) = (batch.images.len() / batch.len(), view.set.classes.len());
    let target = &batch.targets[offset * num_classes..(offset + 1) * num_classes];
    let mut caption = format!("epoch {epoch}");
    if target.iter().all(|share| *share < 1.0) {
        let shares = target.iter().zip(view.set.classes.iter()).filter(|(share, _)| **share > 0.0);
        shares.for_each(|(share, class)| caption.push_str(&format!(" {:.0}% {class}", share * 100.0)));
    }
    Ok(Cell { caption, levels: batch.images[offset * size..(offset + 1) * size].to_vec() })
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
                bail!("the picture is for validation, where nothing is augmented; choose one that is trained on: {}", names::of_path(image))
            }
            None => bail!("the picture is not among those of data.train that can be read: {}", names::of_path(image)),
        }
    }
    Ok(found)
}
