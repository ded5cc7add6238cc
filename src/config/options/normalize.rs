//! `data.normalize`: how pixel values are normalized for the network: by name, by mean and standard
//! deviation, or by Keras's own options.

use std::fmt;

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Table;

/// How pixel values from 0 to 255 are normalized for the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// The normalization that belongs to the pretrained weights and their `model.dialect`; `unit`
    /// without any.
    #[default]
    Auto,
    /// Divided by 255 (Keras's `rescale = 1/255`).
    Unit,
    /// Divided by 255, then standardized by the mean and standard deviation of ImageNet
    /// (torchvision); RGB only.
    Imagenet,
    /// The mean of ImageNet subtracted, channels in the order blue, green, red, no division
    /// (Keras's `preprocess_input` for VGG and ResNet); RGB only.
    Caffe,
    /// Divided by 127.5, minus 1: from -1 to 1 (Keras's `preprocess_input` for MobileNet and
    /// Inception, TensorFlow's weights).
    Tf,
    /// Divided by 255, then standardized by the mean and standard deviation of the training images,
    /// channel by channel.
    Dataset,
    /// Each image standardized to mean 0 and standard deviation 1, over all its channels.
    Samplewise,
    /// Divided by 255, then this mean subtracted and divided by this standard deviation.
    #[serde(untagged)]
    Custom {
        /// One value per channel.
        mean: Vec<f32>,
        /// One value per channel, above 0.
        std: Vec<f32>,
    },
    /// The options of Keras's `ImageDataGenerator`, in its order.
    #[serde(untagged)]
    Keras(KerasStandardize),
}

impl fmt::Display for Normalize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Custom { mean, std } => write!(f, "mean {mean:?}, standard deviation {std:?}"),
            Self::Keras(_) => f.write_str("Keras's options"),
            named => f.write_str(&format!("{named:?}").to_lowercase()),
        }
    }
}

/// The normalization options of Keras's `ImageDataGenerator`, applied in this order. Statistics of
/// the training images are computed once, without augmentation, and kept in the checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KerasStandardize {
    /// Factor on the pixel values; 1 changes nothing.
    pub rescale: f64,
    /// Subtracts the mean of each image.
    pub samplewise_center: bool,
    /// Divides each image by its standard deviation, after `samplewise_center`, which is included.
    pub samplewise_std_normalization: bool,
    /// Subtracts the mean of the training images, channel by channel.
    pub featurewise_center: bool,
    /// Divides by the standard deviation of the training images, after `featurewise_center`, which
    /// is included.
    pub featurewise_std_normalization: bool,
    /// Decorrelates the pixels of an image (ZCA whitening), after `featurewise_center`, which is
    /// included; small images only.
    pub zca_whitening: bool,
    /// Value added to each singular value of the training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zca_epsilon: Option<f64>,
}

impl Default for KerasStandardize {
    fn default() -> Self {
        Self {
            rescale: 1.0,
            samplewise_center: false,
            samplewise_std_normalization: false,
            featurewise_center: false,
            featurewise_std_normalization: false,
            zca_whitening: false,
            zca_epsilon: None,
        }
    }
}

impl KerasStandardize {
    /// Returns whether statistics of the training images are needed.
    pub fn takes_statistics(&self) -> bool {
        self.featurewise_center || self.featurewise_std_normalization || self.zca_whitening
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    Auto,
    Unit,
    Imagenet,
    Caffe,
    Tf,
    Dataset,
    Samplewise,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Custom {
    mean: Vec<f32>,
    std: Vec<f32>,
}

/// By hand, because serde's untagged enums don't say which key was wrong.
impl<'de> Deserialize<'de> for Normalize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Normalize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "\"auto\", \"unit\", \"imagenet\", \"caffe\", \"tf\", \"dataset\", \
                     \"samplewise\", { mean = [...], std = [...] } or a table of Keras's options",
                )
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Normalize, E> {
                Ok(
                    match Name::deserialize(serde::de::value::StrDeserializer::<E>::new(text))? {
                        Name::Auto => Normalize::Auto,
                        Name::Unit => Normalize::Unit,
                        Name::Imagenet => Normalize::Imagenet,
                        Name::Caffe => Normalize::Caffe,
                        Name::Tf => Normalize::Tf,
                        Name::Dataset => Normalize::Dataset,
                        Name::Samplewise => Normalize::Samplewise,
                    },
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Normalize, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                let failed = |error: toml::de::Error| A::Error::custom(error.message());
                if table.contains_key("mean") || table.contains_key("std") {
                    let Custom { mean, std } = Custom::deserialize(table).map_err(failed)?;
                    return Ok(Normalize::Custom { mean, std });
                }
                KerasStandardize::deserialize(table)
                    .map(Normalize::Keras)
                    .map_err(failed)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_back_as_itself_and_a_wrong_key_is_named() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Holder {
            normalize: Normalize,
        }
        for text in [
            "'caffe'",
            "'dataset'",
            "{ mean = [0.5], std = [0.25] }",
            "{ rescale = 0.5, zca_whitening = true, zca_epsilon = 0.1 }",
        ] {
            let holder: Holder = toml::from_str(&format!("normalize = {text}")).expect(text);
            assert_eq!(
                toml::from_str::<Holder>(&toml::to_string(&holder).expect("written"))
                    .expect("read back"),
                holder
            );
        }
        for (text, expected) in [
            ("'cafe'", "unknown variant `cafe`"),
            ("{ mean = [1] }", "std"),
            ("{ rescal = 1 }", "`rescal`"),
            ("3", "\"unit\""),
        ] {
            let error = toml::from_str::<Holder>(&format!("normalize = {text}"))
                .expect_err(text)
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
