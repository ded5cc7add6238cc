//! Checks the rules of `data.normalize`.

use crate::config::{Color, Data, Normalize, rules::Problems};

/// Maximum number of values of an image for whitening. The matrix has the square of it (32x32 color
/// images: 38 MB).
const MOST_WHITENED: usize = 32 * 32 * 3;

pub(super) fn check_normalize(data: &Data, problems: &mut Problems) {
    const KEY: &str = "data.normalize";
    const EPSILON: &str = "data.normalize.zca_epsilon";
    let channels = data.color.channels();
    match &data.normalize {
        Normalize::Imagenet | Normalize::Caffe if data.color == Color::Grayscale => problems.bad(
            KEY,
            "found a mean of three channels with grayscale images; use \"unit\" or set color = \
             \"rgb\"",
        ),
        Normalize::Custom { mean, std } => {
            let fits = mean.len() == channels
                && std.len() == channels
                && std.iter().all(|value| *value > 0.0);
            let found = format!("mean {mean:?} and std {std:?}");
            problems.require(
                fits,
                KEY,
                found,
                &format!("{channels} numbers each, one per channel, std above 0"),
            )
        }
        Normalize::Keras(keras) => {
            problems.require(
                keras.rescale > 0.0 && keras.rescale.is_finite(),
                "data.normalize.rescale",
                keras.rescale,
                "a factor above 0, such as 0.00392",
            );
            if keras.zca_whitening && keras.featurewise_std_normalization {
                problems.bad(
                    "data.normalize.featurewise_std_normalization",
                    "has no effect with zca_whitening; leave one of them out",
                );
            }
            let values = data.image_size[0] * data.image_size[1] * channels;
            if keras.zca_whitening && values > MOST_WHITENED {
                problems.bad(
                    "data.normalize.zca_whitening",
                    format!(
                        "found images of {values} values, whose matrix would have {values} times \
                         as many; expected at most {MOST_WHITENED}: make data.image_size smaller"
                    ),
                );
            }
            match keras.zca_epsilon {
                Some(_) if !keras.zca_whitening => problems.bad(
                    EPSILON,
                    "has no effect without zca_whitening; set that or leave zca_epsilon out",
                ),
                Some(epsilon) => {
                    problems.require(epsilon > 0.0, EPSILON, epsilon, "a number above 0")
                }
                None => {}
            }
        }
        _ => {}
    }
}
