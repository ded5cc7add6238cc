//! Statistics of the training images that normalization needs: mean and standard deviation per
//! channel, and ZCA whitening. Sums are whole numbers, so that the order and the number of threads
//! don't change them.

use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{dataset::ImageSet, eigen};
use crate::data::error::DataError;

/// Mean and population standard deviation of each channel, of pixel values of 0 to 255.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::data) struct Moments {
    pub(in crate::data) mean: Vec<f64>,
    pub(in crate::data) std: Vec<f64>,
}

/// Computes the moments of all pixels of a set.
///
/// # Errors
/// Returns an error if an image isn't kept in memory and can't be read again.
pub(in crate::data) fn moments(set: &ImageSet, channels: usize) -> Result<Moments, DataError> {
    let sums = |slot: usize| -> Result<Vec<[u64; 2]>, DataError> {
        let bytes = set.store.colored(slot)?;
        let mut sums = vec![[0, 0]; channels];
        for pixel in bytes.chunks_exact(channels) {
            for (sum, level) in sums.iter_mut().zip(pixel) {
                let level = u64::from(*level);
                *sum = [sum[0] + level, sum[1] + level * level];
            }
        }
        Ok(sums)
    };
    let add = |a: Vec<[u64; 2]>, b: Vec<[u64; 2]>| {
        a.iter()
            .zip(&b)
            .map(|(a, b)| [a[0] + b[0], a[1] + b[1]])
            .collect::<Vec<_>>()
    };
    let nothing = || vec![[0, 0]; channels];
    let total = set
        .images
        .par_iter()
        .map(|image| sums(image.slot))
        .try_reduce(nothing, |a, b| Ok(add(a, b)))?;
    let [height, width, _] = set.store.format().shape();
    let count = (set.images.len() * height * width) as f64;
    let mean: Vec<f64> = total.iter().map(|sums| sums[0] as f64 / count).collect();
    // Exact in whole numbers; in floats, the difference of two large numbers would lose its digits.
    let variance = |[sum, squares]: [u64; 2]| {
        let count = count as u128;
        (count * u128::from(squares) - u128::from(sum) * u128::from(sum)) as f64
            / (count * count) as f64
    };
    Ok(Moments {
        std: total.iter().map(|sums| variance(*sums).sqrt()).collect(),
        mean,
    })
}

/// ZCA whitening (Bell and Sejnowski, 1997): a matrix that decorrelates the values of an image and
/// changes them as little as possible. Keras's formula: with the singular values `s` and left
/// vectors `U` of the `n` centered training images, `U diag(sqrt(n) / (s + epsilon)) U^T`.
#[derive(Clone, Debug, PartialEq)]
pub struct Whitening {
    /// The matrix, `[values, values]`, symmetric. Values are in the order `[channels, height,
    /// width]`.
    pub matrix: Vec<f32>,
}

impl Whitening {
    /// Returns the matrix as a safetensors file with one tensor `matrix`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes: Vec<u8> = self
            .matrix
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let side = self.matrix.len().isqrt();
        let view = TensorView::new(Dtype::F32, vec![side, side], &bytes).expect("a square matrix");
        safetensors::serialize([("matrix", view)], None).expect("memory takes every byte")
    }

    /// Reads a matrix that [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// Returns the reason if the bytes are no safetensors file with a `matrix`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let view = file.tensor("matrix").map_err(|error| error.to_string())?;
        let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok(Self {
            matrix: view.data().chunks_exact(4).map(value).collect(),
        })
    }

    /// Multiplies the values of an image by the matrix.
    ///
    /// # Shapes
    /// `values` is `[channels, height, width]`.
    pub(in crate::data) fn apply(&self, values: &mut [f32]) {
        let source = values.to_vec();
        for (value, row) in values
            .iter_mut()
            .zip(self.matrix.chunks_exact(source.len()))
        {
            // Eight partial sums become a vector, and are the same eight on every machine.
            let mut sums = [0.0f32; 8];
            let (rows, sources) = (row.chunks_exact(8), source.chunks_exact(8));
            let rest: f32 = rows
                .remainder()
                .iter()
                .zip(sources.remainder())
                .map(|(a, b)| a * b)
                .sum();
            for (row, source) in rows.zip(sources) {
                sums.iter_mut()
                    .zip(row.iter().zip(source))
                    .for_each(|(sum, (a, b))| *sum += a * b);
            }
            *value = sums.iter().sum::<f32>() + rest;
        }
    }
}

/// Computes the whitening of a set, centered by `moments` per channel and multiplied by `rescale`.
///
/// # Errors
/// As [`moments`].
pub(in crate::data) fn whitening(
    set: &ImageSet,
    moments: &Moments,
    rescale: f64,
    epsilon: f64,
) -> Result<Whitening, DataError> {
    let [height, width, channels] = set.store.format().shape();
    let (plane, size) = (height * width, height * width * channels);
    let means: Vec<f64> = (0..size).map(|index| moments.mean[index / plane]).collect();
    let images: Vec<Vec<u8>> = set
        .images
        .par_iter()
        .map(|image| {
            let bytes = set.store.colored(image.slot)?;
            Ok((0..size)
                .map(|index| bytes[index % plane * channels + index / plane])
                .collect())
        })
        .collect::<Result<_, DataError>>()?;
    let (values, vectors) = eigen::decompose(scatter(&images, &means, rescale), size);
    // Keras's reduced decomposition has as many vectors as there are images or values, whichever
    // are fewer, namely those of the largest values.
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let kept = &order[..size.min(images.len())];
    let factors: Vec<f64> = kept
        .iter()
        .map(|index| (images.len() as f64).sqrt() / (values[*index].max(0.0).sqrt() + epsilon))
        .collect();
    let mut matrix = vec![0.0; size * size];
    matrix
        .par_chunks_exact_mut(size)
        .enumerate()
        .for_each(|(row, out)| {
            let mut sums = vec![0.0; size];
            for (index, factor) in kept.iter().zip(&factors) {
                let vector = &vectors[index * size..(index + 1) * size];
                let factor = factor * vector[row];
                sums.iter_mut()
                    .zip(vector)
                    .for_each(|(sum, value)| *sum += factor * value);
            }
            out.iter_mut()
                .zip(sums)
                .for_each(|(out, sum)| *out = sum as f32);
        });
    Ok(Whitening { matrix })
}

/// Computes the scatter matrix: the sums over all images of the products of two values, each less
/// its mean and multiplied by `rescale`.
fn scatter(images: &[Vec<u8>], means: &[f64], rescale: f64) -> Vec<f64> {
    let size = means.len();
    let sums: Vec<u64> = (0..size)
        .map(|value| images.iter().map(|image| u64::from(image[value])).sum())
        .collect();
    let count = images.len() as f64;
    let mut products = vec![0.0; size * size];
    // The products are added up in whole numbers. Each row belongs to one thread.
    products
        .par_chunks_exact_mut(size)
        .enumerate()
        .for_each(|(row, products)| {
            let mut whole = vec![0u64; size];
            for image in images {
                let factor = u64::from(image[row]);
                whole
                    .iter_mut()
                    .zip(image)
                    .for_each(|(sum, value)| *sum += factor * u64::from(*value));
            }
            for (column, (product, whole)) in products.iter_mut().zip(&whole).enumerate() {
                let centered = *whole as f64
                    - means[row] * sums[column] as f64
                    - means[column] * sums[row] as f64
                    + count * means[row] * means[column];
                *product = centered * rescale * rescale;
            }
        });
    products
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::data::batches::dataset::Image;

    use crate::{
        config::{Cache, Color, Interpolation, Resize},
        data::store::{CachePolicy, Format, Read, read},
    };

    /// Returns a set of images with these bytes.
    pub(crate) fn set_of(
        folder: &Path,
        images: &[Vec<u8>],
        [height, width, channels]: [usize; 3],
    ) -> ImageSet {
        let color = if channels == 3 {
            Color::Rgb
        } else {
            Color::Grayscale
        };
        let kind = if channels == 3 {
            image::ExtendedColorType::Rgb8
        } else {
            image::ExtendedColorType::L8
        };
        let paths: Vec<_> = (0..images.len())
            .map(|index| folder.join(format!("{index:03}.png")))
            .collect();
        for (path, bytes) in paths.iter().zip(images) {
            image::save_buffer(path, bytes, width as u32, height as u32, kind).expect("written");
        }
        let borrowed: Vec<_> = paths.iter().map(|path| path.as_path()).collect();
        let format = Format {
            image_size: [height, width],
            color,
            resize: Resize::Stretch,
            interpolation: Interpolation::Bilinear,
            repair: false,
        };
        let (store, reads) = read(
            &borrowed,
            format,
            CachePolicy {
                cache: Cache::Memory,
                memory_mb: 1,
            },
            &|_| {},
        )
        .expect("read");
        let image = |(slot, (path, read)): (usize, (&std::path::PathBuf, &Read))| match read {
            Read::Good(facts) => Image {
                path: path.clone(),
                label: slot % 2,
                group: None,
                weight: 1.0,
                digest: facts.pixels,
                slot,
            },
            Read::Bad(reason) => panic!("{reason}"),
        };
        let classes = Arc::new(vec!["a".to_owned(), "b".to_owned()]);
        ImageSet {
            classes,
            images: paths.iter().zip(&reads).enumerate().map(image).collect(),
            store,
        }
    }

    #[test]
    fn moments_are_those_of_a_plain_sum() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let images: Vec<Vec<u8>> = (0..5usize)
            .map(|seed| {
                (0..8 * 9 * 3)
                    .map(|index: usize| (index * (seed + 3)) as u8)
                    .collect()
            })
            .collect();
        let got = moments(&set_of(folder.path(), &images, [8, 9, 3]), 3).expect("read");
        for channel in 0..3 {
            let levels: Vec<f64> = images
                .iter()
                .flat_map(|bytes| bytes.iter().skip(channel).step_by(3))
                .map(|level| f64::from(*level))
                .collect();
            let mean = levels.iter().sum::<f64>() / levels.len() as f64;
            let variance = levels
                .iter()
                .map(|level| (level - mean).powi(2))
                .sum::<f64>()
                / levels.len() as f64;
            assert!(
                (got.mean[channel] - mean).abs() < 1e-9
                    && (got.std[channel] - variance.sqrt()).abs() < 1e-9
            );
        }
    }
}
