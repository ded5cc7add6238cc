//! Turns pixel values of 0 to 255 into the network's input, by the steps of Keras's
//! `ImageDataGenerator` in its order, of which the usual normalizations are cases: rescaling, each
//! image's own mean and standard deviation, mean and standard deviation per channel, whitening.

use pixel_sampling::{Channel, Finish, Image, sample_unmoved};
use serde::{Deserialize, Serialize};

use super::{
    dataset::ImageSet,
    statistics::{self, Whitening},
};
use crate::{
    config::{Color, KerasStandardize, Normalize},
    data::error::DataError,
};

/// Added to a standard deviation in Keras's way, and its minimum otherwise.
pub const STD_EPSILON: f64 = 1e-6;

/// The normalization of images. It belongs to the weights and is saved in the checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalizer {
    /// Factor on the pixel values.
    #[serde(default = "unit")]
    pub rescale: f64,
    /// Whether to subtract each image's own mean.
    #[serde(default)]
    pub samplewise_center: bool,
    /// Whether to divide each image by its own standard deviation.
    #[serde(default)]
    pub samplewise_std: bool,
    /// Mean to subtract afterwards, per channel.
    pub mean: Vec<f32>,
    /// Standard deviation to divide by afterwards, per channel.
    pub std: Vec<f32>,
    /// Whether channels are in the order blue, green, red, as in Caffe; `mean` and `std` are in
    /// that order too.
    #[serde(default)]
    pub blue_first: bool,
    /// Matrix to multiply by afterwards. It has a file of its own rather than a place in
    /// `meta.json`.
    #[serde(skip)]
    pub whitening: Option<Whitening>,
}

/// Factor that brings pixel values to 0..=1.
fn unit() -> f64 {
    1.0 / 255.0
}

impl Normalizer {
    /// Returns the normalization that only divides by 255.
    fn plain(color: Color) -> Self {
        let channels = color.channels();
        Self {
            rescale: unit(),
            samplewise_center: false,
            samplewise_std: false,
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
            blue_first: false,
            whitening: None,
        }
    }

    /// Returns the normalization that a configuration asks for, or `None` if that takes statistics
    /// of images.
    pub fn fixed(normalize: &Normalize, color: Color) -> Option<Self> {
        let plain = Self::plain(color);
        let channels = color.channels();
        Some(match normalize {
            Normalize::Unit | Normalize::Auto => plain,
            Normalize::Imagenet => Self {
                mean: vec![0.485, 0.456, 0.406],
                std: vec![0.229, 0.224, 0.225],
                ..plain
            },
            Normalize::Caffe => Self {
                rescale: 1.0,
                mean: vec![103.939, 116.779, 123.68],
                blue_first: true,
                ..plain
            },
            // The same as dividing by 127.5 and subtracting 1.
            Normalize::Tf => Self {
                mean: vec![0.5; channels],
                std: vec![0.5; channels],
                ..plain
            },
            Normalize::Samplewise => Self {
                samplewise_center: true,
                samplewise_std: true,
                ..plain
            },
            Normalize::Custom { mean, std } => Self {
                mean: mean.clone(),
                std: std.clone(),
                ..plain
            },
            Normalize::Keras(keras) if !keras.takes_statistics() => Self {
                rescale: keras.rescale,
                samplewise_center: keras.samplewise_center || keras.samplewise_std_normalization,
                samplewise_std: keras.samplewise_std_normalization,
                ..plain
            },
            Normalize::Dataset | Normalize::Keras(_) => return None,
        })
    }

    /// Returns the normalization that the configuration asks for. Computes the statistics of
    /// `train` if it needs them.
    ///
    /// # Errors
    /// Returns an error if an image of `train` isn't kept in memory and can't be read again.
    pub fn fit(normalize: &Normalize, color: Color, train: &ImageSet) -> Result<Self, DataError> {
        if let Some(fixed) = Self::fixed(normalize, color) {
            return Ok(fixed);
        }
        let plain = Self::plain(color);
        if let Normalize::Keras(keras) = normalize {
            return Self::fit_keras(keras, plain, train);
        }
        let moments = statistics::moments(train, color.channels())?;
        // A constant channel has a standard deviation of zero.
        let std = moments
            .std
            .iter()
            .map(|std| (std * unit()).max(STD_EPSILON) as f32)
            .collect();
        Ok(Self {
            mean: moments
                .mean
                .iter()
                .map(|mean| (mean * unit()) as f32)
                .collect(),
            std,
            ..plain
        })
    }

    /// Returns the normalization of `ImageDataGenerator`. As there, dividing by a standard
    /// deviation and whitening include centering.
    fn fit_keras(
        keras: &KerasStandardize,
        plain: Self,
        train: &ImageSet,
    ) -> Result<Self, DataError> {
        let mut normalizer = Self {
            rescale: keras.rescale,
            samplewise_center: keras.samplewise_center || keras.samplewise_std_normalization,
            samplewise_std: keras.samplewise_std_normalization,
            ..plain
        };
        let moments = statistics::moments(train, normalizer.mean.len())?;
        normalizer.mean = moments
            .mean
            .iter()
            .map(|mean| (mean * keras.rescale) as f32)
            .collect();
        if keras.featurewise_std_normalization {
            normalizer.std = moments
                .std
                .iter()
                .map(|std| (std * keras.rescale + STD_EPSILON) as f32)
                .collect();
        }
        if keras.zca_whitening {
            let epsilon = keras.zca_epsilon.unwrap_or(STD_EPSILON);
            normalizer.whitening = Some(statistics::whitening(
                train,
                &moments,
                keras.rescale,
                epsilon,
            )?);
        }
        Ok(normalizer)
    }

    /// Whether each image's own mean is subtracted.
    pub fn is_samplewise(&self) -> bool {
        self.samplewise_center || self.samplewise_std
    }

    /// Returns the normalization as a factor and an offset per channel, or `None` if it depends on
    /// the image or mixes values.
    pub fn finish(&self) -> Option<Finish> {
        let depends_on_the_image = self.is_samplewise() || self.whitening.is_some();
        (!depends_on_the_image).then(|| self.affine())
    }

    /// Returns mean, standard deviation and, unless an image's own mean was subtracted from
    /// rescaled values, rescaling as a factor and an offset per channel.
    pub fn affine(&self) -> Finish {
        let rescale = if self.is_samplewise() {
            1.0
        } else {
            self.rescale
        };
        let mut finish = Finish::LEVELS;
        let channels = self.mean.len();
        for (index, channel) in finish.channels.iter_mut().enumerate().take(channels) {
            let plane = if self.blue_first {
                channels - 1 - index
            } else {
                index
            };
            let (mean, std) = (f64::from(self.mean[plane]), f64::from(self.std[plane]));
            *channel = Channel {
                scale: (rescale / std) as f32,
                offset: (-mean / std) as f32,
                plane,
            };
        }
        finish
    }

    /// Normalizes pixel values in place.
    ///
    /// # Shapes
    /// `levels` is `[channels, height, width]`, red first.
    pub fn apply(&self, levels: &mut [f32]) {
        if self.is_samplewise() {
            let count = levels.len() as f64;
            levels
                .iter_mut()
                .for_each(|level| *level *= self.rescale as f32);
            let mean = levels.iter().map(|level| f64::from(*level)).sum::<f64>() / count;
            let variance = levels
                .iter()
                .map(|level| (f64::from(*level) - mean).powi(2))
                .sum::<f64>()
                / count;
            let (mean, deviation) = (
                mean as f32,
                if self.samplewise_std {
                    (variance.sqrt() + STD_EPSILON) as f32
                } else {
                    1.0
                },
            );
            levels
                .iter_mut()
                .for_each(|level| *level = (*level - mean) / deviation);
        }
        self.affine().normalize(levels, self.mean.len());
        if let Some(whitening) = &self.whitening {
            whitening.apply(levels);
        }
    }

    /// Returns the levels of 0 to 255 that normalize to `values`, as far as there are such.
    ///
    /// # Shapes
    /// `values` is `[channels, height, width]`; returns `[height, width, channels]`.
    ///
    /// # Panics
    /// Panics if the normalization depends on the image or mixes values; see [`Self::finish`].
    pub fn levels(&self, values: &[f32]) -> Vec<u8> {
        let finish = self.finish().expect("a normalization that can be undone");
        let channels = &finish.channels[..self.mean.len()];
        let area = values.len() / channels.len();
        let level = |at: usize, channel: &Channel| {
            // The conversion saturates.
            ((values[channel.plane * area + at] - channel.offset) / channel.scale).round() as u8
        };
        (0..area)
            .flat_map(|at| channels.iter().map(move |channel| level(at, channel)))
            .collect()
    }

    /// Normalizes an image of the store and appends its values to `out`.
    ///
    /// # Shapes
    /// Takes `[height, width, channels]` bytes and appends `[channels, height, width]` values.
    pub fn write(&self, image: Image<'_>, out: &mut Vec<f32>) {
        match self.finish() {
            // One pass over the pixels instead of two.
            Some(finish) => sample_unmoved(image, [false; 2], &finish, out),
            None => {
                let start = out.len();
                sample_unmoved(image, [false; 2], &Finish::LEVELS, out);
                self.apply(&mut out[start..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::batches::statistics::tests::set_of;

    const SHAPE: [usize; 3] = [8, 9, 3];

    fn image(seed: usize) -> Vec<u8> {
        (0..SHAPE.iter().product())
            .map(|index: usize| (index * (7 + seed) + index / 11 * 29 + seed * 40) as u8)
            .collect()
    }

    fn normalized(normalize: &Normalize, image: &[u8]) -> Vec<f32> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let set = set_of(
            folder.path(),
            &[self::image(0), self::image(1), self::image(2)],
            SHAPE,
        );
        let normalizer = Normalizer::fit(normalize, Color::Rgb, &set).expect("fitted");
        let image = Image::new(image, SHAPE).expect("fits");
        let mut out = Vec::new();
        normalizer.write(image, &mut out);
        let mut in_two_steps = Vec::new();
        sample_unmoved(image, [false; 2], &Finish::LEVELS, &mut in_two_steps);
        normalizer.apply(&mut in_two_steps);
        assert!(
            out.iter()
                .zip(&in_two_steps)
                .all(|(a, b)| (a - b).abs() <= 1e-4 * a.abs().max(1.0)),
            "{normalize:?}"
        );
        out
    }

    #[test]
    fn levels_are_what_was_normalized() {
        let source = image(4);
        for normalize in [Normalize::Unit, Normalize::Caffe, Normalize::Imagenet] {
            let fixed = Normalizer::fixed(&normalize, Color::Rgb).expect("no statistics");
            assert_eq!(
                fixed.levels(&normalized(&normalize, &source)),
                source,
                "{normalize:?}"
            );
        }
        let unit = Normalizer::fixed(&Normalize::Unit, Color::Grayscale).expect("no statistics");
        assert_eq!(unit.levels(&[-0.1, 0.25, 1.7]), [0, 64, 255]);
    }

    #[test]
    fn each_channel_has_its_own_mean_and_deviation() {
        let custom = Normalize::Custom {
            mean: vec![0.5, 0.0, 1.0],
            std: vec![0.5, 1.0, 2.0],
        };
        let source = image(4);
        let plane = 72;
        let at = |index: usize, channel: usize| f64::from(source[index * 3 + channel]);
        for (normalize, expected) in [
            (
                custom,
                [
                    (at(5, 0) / 255.0 - 0.5) / 0.5,
                    at(5, 1) / 255.0,
                    (at(5, 2) / 255.0 - 1.0) / 2.0,
                ],
            ),
            (
                Normalize::Unit,
                [at(5, 0) / 255.0, at(5, 1) / 255.0, at(5, 2) / 255.0],
            ),
            (
                Normalize::Caffe,
                [at(5, 2) - 103.939, at(5, 1) - 116.779, at(5, 0) - 123.68],
            ),
        ] {
            let got = normalized(&normalize, &source);
            for (channel, expected) in expected.into_iter().enumerate() {
                let value = f64::from(got[channel * plane + 5]);
                assert!(
                    (value - expected).abs() < 2e-5 * expected.abs().max(1.0),
                    "{normalize:?}, channel {channel}: {value} {expected}"
                );
            }
        }
    }

    #[test]
    fn keras_options_give_the_same_numbers_as_keras() {
        const GOLDEN: &[u8] =
            include_bytes!("../../../tests/golden/imagedatagenerator.safetensors");
        let file = safetensors::SafeTensors::deserialize(GOLDEN).expect("whole");
        let (_, metadata) = safetensors::SafeTensors::read_metadata(GOLDEN).expect("whole");
        let cases: Vec<serde_json::Value> =
            serde_json::from_str(&metadata.metadata().as_ref().expect("present")["cases"])
                .expect("JSON");
        let mut seen = 0;
        for (index, case) in cases
            .iter()
            .enumerate()
            .filter(|(_, case)| case["kind"] == "standardize")
        {
            let shape: [usize; 3] = serde_json::from_value(case["shape"].clone()).expect("a shape");
            let [height, width, channels] = shape;
            let count = case["count"].as_u64().expect("a number") as usize;
            // The images of the script that made the golden file.
            let level = |seed: usize, index: usize| {
                let number = (index + 1 + seed * 1000) as u64;
                ((number.wrapping_mul(number).wrapping_mul(2_654_435_761) % (1 << 32)) >> 24) as u8
            };
            let size = height * width * channels;
            let images: Vec<Vec<u8>> = (0..count)
                .map(|seed| (0..size).map(|index| level(seed, index)).collect())
                .collect();
            let folder = tempfile::tempdir().expect("a temporary folder");
            let set = set_of(folder.path(), &images, shape);
            let options: KerasStandardize =
                serde_json::from_value(case["options"].clone()).expect("options");
            let color = if channels == 3 {
                Color::Rgb
            } else {
                Color::Grayscale
            };
            let normalizer =
                Normalizer::fit(&Normalize::Keras(options), color, &set).expect("fitted");
            let mut got = Vec::new();
            normalizer.write(Image::new(&images[1], shape).expect("fits"), &mut got);
            let expected = file.tensor(&format!("{index:03}")).expect("present");
            let expected: Vec<f32> = expected
                .data()
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes")))
                .collect();
            let scale = expected
                .iter()
                .fold(1e-3f32, |most, value| most.max(value.abs()));
            for (at, expected) in expected.iter().enumerate() {
                let got = got[at % channels * height * width + at / channels];
                assert!(
                    (got - expected).abs() <= 1e-3 * scale,
                    "case {index} at {at}: {got}, Keras has {expected}: {case}"
                );
            }
            seen += 1;
        }
        assert_eq!(seen, 18);
    }

    #[test]
    fn the_training_set_and_each_image_come_out_with_mean_zero_and_deviation_one() {
        let moments = |values: &[f32]| {
            let mean =
                values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
            (
                mean,
                (values
                    .iter()
                    .map(|value| (f64::from(*value) - mean).powi(2))
                    .sum::<f64>()
                    / values.len() as f64)
                    .sqrt(),
            )
        };
        let all: Vec<_> = (0..3)
            .map(|seed| normalized(&Normalize::Dataset, &image(seed)))
            .collect();
        for channel in 0..3 {
            let values: Vec<f32> = all
                .iter()
                .flat_map(|values| values[channel * 72..(channel + 1) * 72].to_vec())
                .collect();
            let (mean, std) = moments(&values);
            assert!(
                mean.abs() < 1e-5 && (std - 1.0).abs() < 1e-5,
                "channel {channel}: {mean} {std}"
            );
        }
        let (mean, std) = moments(&normalized(&Normalize::Samplewise, &image(9)));
        assert!(
            mean.abs() < 1e-5 && (std - 1.0).abs() < 1e-4,
            "{mean} {std}"
        );
    }
}
