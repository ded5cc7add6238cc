//! Draws training images as the first epochs augment them, in one PNG.

use std::{io::Cursor, ops::Range};

use anyhow::Context;
use pixel_sampling::{Finish, Image, sample_unmoved};

use crate::{
    base::names,
    config::Config,
    data::{
        TrainingData,
        batches::{dataset::ImageSet, view::View},
    },
    report::mosaic::{self, Cell, Row},
    train::levels_view,
};

/// Returns images of each class as the first epochs augment them, as PNG.
///
/// # Errors
/// Returns an error if an image can't be read again.
pub(in crate::commands) fn sample(config: &Config, data: &TrainingData) -> anyhow::Result<Vec<u8>> {
    let set = &data.train;
    let mut images = of_each_class(set, if set.classes.len() > 4 { 1 } else { 2 });
    images.truncate(ROWS);
    draw(config, data, &images, 1..7)
}

/// Maximum number of images in a sample.
const ROWS: usize = 12;

/// Returns a PNG with a row for each image: the original, then its first draw in each epoch
/// (counted from 1).
///
/// # Errors
/// Returns an error if an image can't be read again.
pub(in crate::commands) fn draw(
    config: &Config,
    data: &TrainingData,
    images: &[usize],
    epochs: Range<u32>,
) -> anyhow::Result<Vec<u8>> {
    let set = &data.train;
    let shape = set.store.format().shape();
    let mut rows = Vec::new();
    for image in images {
        let found = &set.images[*image];
        let name = names::of_os(found.path.file_name().unwrap_or_default());
        let mut levels = Vec::new();
        let bytes = set.store.pixels(found.slot)?;
        sample_unmoved(
            Image::new(&bytes, shape).context("the store has images of another shape")?,
            [false; 2],
            &Finish::LEVELS,
            &mut levels,
        );
        let title = format!("{}: {name}", set.classes[found.label]);
        rows.push(Row {
            title,
            cells: vec![Cell {
                caption: "original".to_owned(),
                levels,
            }],
        });
    }
    for epoch in epochs {
        let view = levels_view(config, data, epoch as usize - 1);
        for (row, image) in rows.iter_mut().zip(images) {
            row.cells
                .push(seen(&view, *image, config.train.batch_size, epoch)?);
        }
    }
    let mut png = Vec::new();
    mosaic::draw(&rows, [shape[0], shape[1]])
        .write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png)?;
    Ok(png)
}

/// Returns an image as its first draw in an epoch, with its batch, whose images may be mixed.
fn seen(view: &View, image: usize, batch_size: usize, epoch: u32) -> anyhow::Result<Cell> {
    let nothing = || Cell {
        caption: format!("epoch {epoch}: not drawn"),
        levels: Vec::new(),
    };
    let Some(at) = view
        .draws
        .iter()
        .position(|draw| draw.image == image && draw.repeat == 0)
    else {
        return Ok(nothing());
    };
    let start = at / batch_size * batch_size;
    // Without mixing, an image doesn't depend on its batch.
    let draws = if view.batcher.mix.is_some() {
        start..(start + batch_size).min(view.draws.len())
    } else {
        at..at + 1
    };
    let offset = at - draws.start;
    let batch = view.batch(draws)?;
    let (size, num_classes) = (batch.images.len() / batch.len(), view.set.classes.len());
    let target = &batch.targets[offset * num_classes..(offset + 1) * num_classes];
    let mut caption = format!("epoch {epoch}");
    if target.iter().all(|share| *share < 1.0) {
        let shares = target
            .iter()
            .zip(view.set.classes.iter())
            .filter(|(share, _)| **share > 0.0);
        shares.for_each(|(share, class)| {
            caption.push_str(&format!(" {:.0}% {class}", share * 100.0))
        });
    }
    Ok(Cell {
        caption,
        levels: batch.images[offset * size..(offset + 1) * size].to_vec(),
    })
}

/// Returns the positions of up to `count` images of each class, spread evenly over the class.
pub(in crate::commands) fn of_each_class(set: &ImageSet, count: usize) -> Vec<usize> {
    let mut members = vec![Vec::new(); set.classes.len()];
    set.images
        .iter()
        .enumerate()
        .for_each(|(index, image)| members[image.label].push(index));
    let spread = |members: Vec<usize>| {
        let count = count.min(members.len());
        (0..count)
            .map(move |index| members[index * members.len() / count])
            .collect::<Vec<_>>()
    };
    members.into_iter().flat_map(spread).collect()
}
