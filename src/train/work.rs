//! Estimates the work of a run from the sizes of its layers, to compare epochs that train the head
//! only with those that train all layers, and to forecast when the run will end.

use super::Session;
use crate::{architecture::Kind, config::Config, nn::networks::classifier::Output};

/// The approximate work of an epoch, in multiplications.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Work of the features that are computed once and cached, before the first step.
    pub features: f64,
    /// Work of the features of one image.
    pub image: f64,
    /// Work of all steps and of validation.
    pub steps: f64,
}

impl Session {
    /// Returns the work of each epoch of the run.
    pub fn work(&self) -> Vec<Work> {
        let images = [&self.datasets.train, &self.datasets.validation].map(|set| set.images.len());
        of_epochs(&self.config, images, self.datasets.train.classes.len())
    }
}

/// Returns the work of each epoch, given the numbers of training and validation images.
fn of_epochs(config: &Config, images: [usize; 2], num_classes: usize) -> Vec<Work> {
    let [train, validation] = images.map(|count| count as f64);
    let products = of_convolutions(config);
    let head = of_head(
        config,
        Output::of(config.train.loss).num_logits(num_classes),
    );
    let mut epochs = Vec::new();
    for phase in config.phases() {
        let groups = config.model.frozen_groups(phase.freeze);
        let frozen: f64 = products
            .iter()
            .filter(|(group, _)| *group < groups)
            .map(|(_, products)| products)
            .sum();
        let trained: f64 = head
            + products
                .iter()
                .filter(|(group, _)| *group >= groups)
                .map(|(_, products)| products)
                .sum::<f64>();
        // The features of training images are kept unless they are augmented afresh, those of
        // validation images always.
        let rounds = if config.augment.is_active() {
            config.train.feature_cache
        } else {
            1
        };
        let anew = if rounds == 0 { frozen * train } else { 0.0 };
        // A gradient costs twice what the forward pass does.
        let steps = anew + (3.0 * train + validation) * trained;
        let first_of_phase = epochs.len();
        let of_training = |epoch: usize| if epoch < rounds { frozen * train } else { 0.0 };
        epochs.extend((0..phase.epochs).map(|epoch| Work {
            features: of_training(epoch),
            image: frozen,
            steps,
        }));
        if let Some(first) = epochs.get_mut(first_of_phase) {
            first.features += frozen * validation;
        }
    }
    epochs
}

/// Returns the multiplications of each convolution for one image, with its layer group.
fn of_convolutions(config: &Config) -> Vec<(usize, f64)> {
    let network = config.model.network(config.data.color.channels());
    let layers = network.walk(config.data.image_size).unwrap_or_default();
    let products = layers.iter().filter_map(|placed| {
        let Kind::Conv(conv) = &placed.layer.kind else {
            return None;
        };
        let weights: usize = conv.weight_shape(placed.input[0]).iter().product();
        let products = weights * placed.output[1] * placed.output[2];
        Some((placed.group, products as f64))
    });
    products.collect()
}

/// Returns the multiplications of the head for one image.
fn of_head(config: &Config, num_logits: usize) -> f64 {
    let model = &config.model;
    let mut width = model
        .features(config.data.image_size)
        .map_or(0, |features| model.pooling.width(features));
    let mut head = 0.0;
    for outputs in model.hidden.widths().into_iter().chain([num_logits]) {
        head += (width * outputs) as f64;
        width = outputs;
    }
    head
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    /// One 3x3 convolution of one channel to two on 8 x 8 pixels, and a head of two features.
    const PRODUCTS: f64 = 18.0 * 64.0;
    const HEAD: f64 = 2.0 * 3.0;

    fn found(train: &str) -> Vec<Work> {
        let text = format!(
            "name = 'x'\n[data]\ntrain = 'x'\nimage_size = [8, 8]\ncolor = 'grayscale'\n[model]\n\
             architecture = 'small_cnn'\nweights = 'x.safetensors'\nchannels = [2]\n\
             pooling = 'average'\nhidden = 0\n{train}"
        );
        of_epochs(
            &config::parse(&text, Path::new("x.toml"), &[]).expect("valid"),
            [10, 4],
            3,
        )
    }

    #[test]
    fn a_step_costs_three_forward_passes_and_frozen_layers_one_or_none() {
        let all = (3.0 * 10.0 + 4.0) * (PRODUCTS + HEAD);
        assert_eq!(
            found("[train]\nepochs = 2\n"),
            [Work {
                features: 0.0,
                image: 0.0,
                steps: all
            }; 2]
        );
        let phases = "[[train.phases]]\nepochs = 2\nfreeze = 'blocks:1'\n\
                      [[train.phases]]\nepochs = 1\nfreeze = 'none'\n";
        let head = (3.0 * 10.0 + 4.0) * HEAD;
        let cached = [
            Work {
                features: 14.0 * PRODUCTS,
                image: PRODUCTS,
                steps: head,
            },
            Work {
                features: 0.0,
                image: PRODUCTS,
                steps: head,
            },
            Work {
                features: 0.0,
                image: 0.0,
                steps: all,
            },
        ];
        assert_eq!(found(phases), cached);
        let anew = 10.0 * PRODUCTS + head;
        let augmented = [
            Work {
                features: 4.0 * PRODUCTS,
                image: PRODUCTS,
                steps: anew,
            },
            Work {
                features: 0.0,
                image: PRODUCTS,
                steps: anew,
            },
            Work {
                features: 0.0,
                image: 0.0,
                steps: all,
            },
        ];
        assert_eq!(
            found(&format!("[augment]\nrotation_range = 5\n{phases}")),
            augmented
        );
    }
}
