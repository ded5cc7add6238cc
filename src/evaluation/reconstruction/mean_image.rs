//! The mean of a run's training images, the plainest thing that images can be compared with: an
//! autoencoder is of use if its error tells unlike images better than the distance from it.

use std::{fs, path::Path};

use anyhow::Context;

use crate::{
    base::names,
    checkpoint::Meta,
    data::{DataError, batches::dataset::ImageSet},
    report::images::{colored, write_png},
};

/// Name of the file in the folder of a run.
pub const MEAN_IMAGE: &str = "mean_image.png";

/// Writes the mean of images, rounded to whole levels, into the folder of a run.
///
/// # Errors
/// Returns an error if an image can't be read again or the file can't be written.
pub fn write_mean_image(set: &ImageSet, run: &Path) -> anyhow::Result<()> {
    let shape = set.store.format().shape();
    let mut sums = vec![0u64; shape.iter().product()];
    for image in &set.images {
        let levels = set.store.colored(image.slot)?;
        let sums = sums.iter_mut().zip(levels.iter());
        sums.for_each(|(sum, level)| *sum += u64::from(*level));
    }
    let count = set.images.len().max(1) as u64;
    let mean: Vec<u8> = sums
        .iter()
        .map(|sum| ((sum + count / 2) / count) as u8)
        .collect();
    write_png(&colored(&mean, shape), &run.join(MEAN_IMAGE))
}

/// Reads the mean image of a run, or returns `None` if it has none of the network's size.
///
/// # Shapes
/// Returns `[height, width, channels]`.
pub(super) fn read(run: &Path, meta: &Meta) -> anyhow::Result<Option<Vec<u8>>> {
    let path = run.join(MEAN_IMAGE);
    if !path.is_file() {
        return Ok(None);
    }
    let words = || {
        format!(
            "can't read the mean training image: {}",
            names::of_path(&path)
        )
    };
    let bytes = fs::read(&path).with_context(words)?;
    let image = image::load_from_memory(&bytes)
        .with_context(words)?
        .into_rgb8();
    let [channels, height, width] = meta.design.input;
    if [image.height() as usize, image.width() as usize] != [height, width] {
        return Ok(None);
    }
    // A gray image was written with three equal channels.
    Ok(Some(
        image.into_raw().into_iter().step_by(3 / channels).collect(),
    ))
}

/// Returns the mean squared difference of each image from a mean image, of levels from 0 to 1.
///
/// # Errors
/// Returns an error if an image can't be read again.
pub(super) fn distances(set: &ImageSet, mean: &[u8]) -> Result<Vec<f32>, DataError> {
    let distance = |levels: &[u8]| {
        let squares = levels.iter().zip(mean).map(|(level, mean)| {
            let difference = i64::from(*level) - i64::from(*mean);
            (difference * difference) as u64
        });
        (squares.sum::<u64>() as f64 / (mean.len() as f64 * 255.0 * 255.0)) as f32
    };
    let images = set.images.iter();
    images
        .map(|image| Ok(distance(&set.store.colored(image.slot)?)))
        .collect()
}
