//! Estimates the peak memory of training from the recipe alone, so that a network that can't fit is
//! refused with a message instead of being killed by the system. The model is that of the CPU
//! backends with the kernels of `crates/conv-block`; it doesn't describe a GPU's memory.
//!
//! Measured ratios of the estimate to the peak of the process: `bench step` 0.90 to 1.39 over
//! `small_cnn` with batches of 32 to 128 images of 64 to 300 pixels, VGG16 and SqueezeNet 1.1,
//! frozen, half frozen and unfrozen; `train` with 25 million dense weights, where saving is the
//! peak, 0.9 to 1.0.

use super::networks::classifier::{FROZEN_CHUNK, Output};
use crate::{
    architecture::{Activation, Conv, Fused, Kind, Placed},
    config::{Config, Optimizer},
};

/// Bytes of an `f32`.
const NUMBER: f64 = 4.0;

/// Copies of the trained layers' weights at the peak of a save, beside the optimizer's state.
const SAVED: f64 = 6.0;

/// Number of partial sums of a weight gradient that `conv_block` keeps side by side (`SUMS`), and
/// the most values they hold together (`SUMS_LEN`).
const SUMS: f64 = 16.0;
const SUMS_LEN: f64 = 16.0 * 1024.0 * 1024.0;

/// Values that a kernel of 3x3 weights has by Winograd's algorithm, and those of images on their
/// way through it, for each of its weights, on two threads.
const TRANSFORMED: f64 = 7.0;

/// Estimated bytes of a training run, without its cached images.
///
/// The fields are floating-point numbers because the sizes of an unreasonable recipe overflow
/// integers.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Bytes of all weights and running statistics.
    pub weights: f64,
    /// Bytes that training needs in addition: gradients, optimizer state, averaged weights, and the
    /// copies made while saving and while reading the best epoch.
    pub training: f64,
    /// Bytes of the activations that a batch leaves in the layers for its backward pass.
    pub activations: f64,
    /// Number of images in that batch.
    pub batch_size: usize,
    /// The layer that needs the most memory.
    pub largest: Largest,
}

/// The layer that needs the most memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Largest {
    /// Name of the layer, as in the weights.
    pub name: String,
    /// Bytes of its weights, their copies and its activations.
    pub bytes: f64,
    /// Whether its weights need more memory than its activations.
    pub is_weights: bool,
}

/// The memory of one layer, counted in `f32` values.
struct Share {
    name: String,
    group: Option<usize>,
    /// Trained parameters.
    weights: f64,
    /// Running statistics, which have no gradient.
    statistics: f64,
    /// Values per image that are kept for the backward pass.
    kept: f64,
    /// Values per image that the layer reads and writes while it runs.
    passing: f64,
    /// Length of one partial sum of its weight gradient.
    sums: f64,
}

impl Estimate {
    /// Estimates training with this recipe, number of classes and batch size.
    pub fn of(config: &Config, num_classes: usize, batch_size: usize) -> Self {
        let shares = shares(config, num_classes);
        let always_frozen = config.always_frozen();
        let frozen = config
            .phases()
            .iter()
            .map(|phase| config.model.frozen_groups(phase.freeze))
            .min()
            .unwrap_or(0);
        let is_kept = |share: &Share| share.group.is_some_and(|group| group < always_frozen);
        let stored = |share: &Share| share.weights + share.statistics;
        let all: f64 = shares.iter().map(stored).sum();
        let trained: f64 = shares
            .iter()
            .filter(|share| !is_kept(share))
            .map(|share| share.weights)
            .sum();
        let states =
            states(&config.train.optimizer) + f64::from(u8::from(config.train.ema_decay.is_some()));
        // Layers that are frozen throughout are counted twice: `backbone.safetensors` is kept as
        // bytes, to be linked or written again with each checkpoint.
        let not_kept = shares.iter().filter(|share| !is_kept(share));
        let held = 2.0 * all - not_kept.map(stored).sum::<f64>();
        let batch = batch_size as f64;
        // A step holds the gradients and the new values beside the old ones. A save, and reading
        // the best epoch at the end, hold the state and the weights as numbers, as bytes and as a
        // file: 7.7 to 13.8 times the weights in all, as measured.
        let step = (states + 2.0) * trained + activations(&shares, frozen, batch);
        let saved = 2.0 * states * trained + SAVED * (2.0 * all - held);
        let beside = step.max(saved);
        let kept = activations(&shares, frozen, batch).min(beside);
        let bytes = |share: &Share| {
            let weights = share.weights
                * if is_kept(share) {
                    2.0
                } else {
                    1.0 + SAVED + 2.0 * states
                };
            let is_trained = share.group.is_none_or(|group| group >= frozen);
            let values = if is_trained {
                (share.kept + share.passing) * batch
            } else {
                share.passing * batch.min(FROZEN_CHUNK as f64)
            };
            Largest {
                name: share.name.clone(),
                bytes: (weights + values) * NUMBER,
                is_weights: weights > values,
            }
        };
        let largest = shares
            .iter()
            .map(bytes)
            .reduce(|most, next| if next.bytes > most.bytes { next } else { most });
        Self {
            weights: held * NUMBER,
            training: (beside - kept) * NUMBER,
            activations: kept * NUMBER,
            batch_size,
            largest: largest.expect("every network has an output layer"),
        }
    }

    /// Returns the estimated total in bytes.
    pub fn total(&self) -> f64 {
        self.weights + self.training + self.activations
    }

    /// Describes the estimate: "about 1.4 GB at batch size 32 (weights 0.1 GB, ...)".
    pub fn words(&self) -> String {
        format!(
            "about {} at batch size {} (weights {}, training and saving them {}, what layers keep \
             of a batch {})",
            size_words(self.total()),
            self.batch_size,
            size_words(self.weights),
            size_words(self.training),
            size_words(self.activations)
        )
    }
}

/// Formats bytes with a decimal unit (1 MB is a million bytes).
pub fn size_words(bytes: f64) -> String {
    match bytes {
        _ if bytes < 1e6 => format!("{:.0} kB", bytes / 1e3),
        _ if bytes < 1e9 => format!("{:.0} MB", bytes / 1e6),
        _ if bytes < 1e12 => format!("{:.1} GB", bytes / 1e9),
        _ if bytes < 1e18 => format!("{:.0} TB", bytes / 1e12),
        _ => format!("{bytes:.0e} bytes"),
    }
}

/// Returns the number of values that the optimizer keeps per weight.
fn states(optimizer: &Optimizer) -> f64 {
    match optimizer {
        Optimizer::Adam { .. } | Optimizer::Adamw { .. } => 2.0,
        Optimizer::Sgd { momentum, .. } => f64::from(u8::from(*momentum > 0.0)),
        Optimizer::Rmsprop { momentum, .. } => 1.0 + f64::from(u8::from(*momentum > 0.0)),
    }
}

/// Returns the number of values between the layers at the peak of a step, with the first `frozen`
/// layer groups frozen.
fn activations(shares: &[Share], frozen: usize, batch: f64) -> f64 {
    let is_frozen = |share: &&Share| share.group.is_some_and(|group| group < frozen);
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let trained = || shares.iter().filter(|share| !is_frozen(share));
    let kept: f64 = trained().map(|share| share.kept).sum();
    let passing = most(&mut trained().map(|share| share.passing));
    // Frozen layers run in chunks and leave nothing behind, so only the widest of them counts, and
    // the largest of their kernels.
    let through = most(&mut shares.iter().filter(is_frozen).map(|share| share.passing))
        * batch.min(FROZEN_CHUNK as f64)
        + TRANSFORMED * most(&mut shares.iter().filter(is_frozen).map(|share| share.sums));
    let sums =
        most(&mut trained().map(|share| {
            share.sums * (SUMS_LEN / share.sums.max(1.0)).clamp(2.0, SUMS).min(batch)
        }));
    // Two batches of images exist at a time: the current one and the one the loader prepares.
    let images = 2.0 * shares.first().map_or(0.0, |share| share.kept) * batch;
    images + ((kept + passing) * batch + sums).max(through)
}

fn shares(config: &Config, num_classes: usize) -> Vec<Share> {
    let (model, size) = (&config.model, config.data.image_size);
    let inputs = config.data.color.channels();
    let image = inputs as f64 * size[0] as f64 * size[1] as f64;
    let none = |name: &str, kept: f64| Share {
        name: name.to_owned(),
        group: None,
        weights: 0.0,
        statistics: 0.0,
        kept,
        passing: 0.0,
        sums: 0.0,
    };
    let network = model.network(inputs);
    let placed = network.walk(size).unwrap_or_default();
    let mut shares = vec![none("input", image)];
    let norms_learn = !model.freeze_norms();
    shares.extend(
        units(&placed)
            .into_iter()
            .map(|unit| share(unit, norms_learn)),
    );
    let features = placed.last().map_or([1; 3], |last| last.output);
    let mut width = model.pooling.width(features) as f64;
    let outputs = Output::of(config.train.loss).num_logits(num_classes);
    let hidden = model.hidden.widths();
    let names = (0..hidden.len())
        .map(|index| format!("head.hidden.{index}"))
        .chain(["head.output".to_owned()]);
    for (name, outputs) in names.zip(hidden.iter().chain([&outputs])) {
        let outputs = *outputs as f64;
        // The linear layer's output, that of ReLU, and that of dropout.
        let values = if name == "head.output" {
            outputs
        } else {
            3.0 * outputs
        };
        let norm = if model.head_norm { 2.0 * width } else { 0.0 };
        let weights = width * outputs + outputs + norm;
        shares.push(Share {
            weights,
            statistics: norm,
            kept: values,
            passing: width + outputs,
            ..none(&name, 0.0)
        });
        width = outputs;
    }
    shares
}

/// Returns the layers that are computed as one; any other by itself.
fn units<'a>(placed: &'a [Placed<'a>]) -> Vec<&'a [Placed<'a>]> {
    let mut units = Vec::new();
    let mut rest = placed;
    while let [first, behind @ ..] = rest {
        let fused = Fused::of(
            &first.layer.kind,
            behind.iter().map(|placed| &placed.layer.kind),
        );
        let (unit, behind) = rest.split_at(1 + fused.count());
        units.push(unit);
        rest = behind;
    }
    units
}

/// Returns the memory of layers that are computed as one, where batch norms keep their statistics
/// or learn.
fn share(unit: &[Placed<'_>], norms_learn: bool) -> Share {
    let (first, last) = (unit[0], unit[unit.len() - 1]);
    let values = |shape: [usize; 3]| shape.iter().map(|side| *side as f64).product::<f64>();
    let [input, whole, output] = [first.input, first.output, last.output].map(values);
    let name = if first.layer.name.is_empty() {
        "a layer without a name"
    } else {
        first.layer.name.trim_end_matches(".conv")
    };
    let channels = first.output[0] as f64;
    let has_norm = unit
        .iter()
        .any(|placed| matches!(placed.layer.kind, Kind::BatchNorm { .. }));
    let [weights, statistics, kept, sums] = match &first.layer.kind {
        Kind::Conv(conv) => {
            let [kernel, weights, statistics] = conv_numbers(conv, first.input[0], has_norm);
            // A pooled value has one byte more, its position in the 2x2 cell.
            let is_pooled = whole != output;
            let kept = output * if is_pooled { 1.25 } else { 1.0 };
            // A norm that learns keeps what it normalized.
            let normalized = if has_norm && norms_learn { whole } else { 0.0 };
            [weights, statistics, kept + normalized, kernel]
        }
        Kind::BatchNorm { .. } => {
            // A learning norm keeps what it normalized; fixed statistics take Burn's operations.
            let kept = if norms_learn {
                whole + output
            } else {
                3.0 * output
            };
            [2.0 * channels, 2.0 * channels, kept, 0.0]
        }
        Kind::LayerNorm { .. } => [2.0 * channels, 0.0, 4.0 * output, 0.0],
        // The mask beside the result.
        Kind::Dropout(_) => [0.0, 0.0, 2.0 * output, 0.0],
        // The exponential and the parts below and above 0 beside the result.
        Kind::Activation(Activation::Elu) => [0.0, 0.0, 4.0 * output, 0.0],
        Kind::Scale => [channels, 0.0, output, 0.0],
        Kind::Tokens {
            grid: [rows, columns],
        } => {
            let embeddings = 2.0 + *rows as f64 * *columns as f64;
            [channels * embeddings, 0.0, 2.0 * output, 0.0]
        }
        // The products of queries and keys, and three steps of their softmax, beside the result.
        Kind::Attention { heads } => {
            let [_, height, width] = first.input;
            let products = *heads as f64 * (height as f64 * width as f64).powi(2);
            [0.0, 0.0, 4.0 * products + output, 0.0]
        }
        _ => [0.0, 0.0, output, 0.0],
    };
    Share {
        name: format!("backbone.{name}"),
        group: Some(first.group),
        weights,
        statistics,
        kept,
        passing: input + output,
        sums,
    }
}

/// Counts the kernel of a convolution, the weights of it and its norm, and the norm's statistics.
fn conv_numbers(conv: &Conv, inputs: usize, has_norm: bool) -> [f64; 3] {
    let [outputs, inputs, height, width] = conv.weight_shape(inputs).map(|side| side as f64);
    let kernel = outputs * inputs * height * width;
    let bias = if conv.bias { outputs } else { 0.0 };
    if has_norm {
        [kernel, kernel + bias + 2.0 * outputs, 2.0 * outputs]
    } else {
        [kernel, kernel + bias, 0.0]
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;

    use super::*;
    use crate::{
        config::parse,
        nn::networks::{
            classifier::{Design, Output},
            empty, params,
        },
    };

    fn config(changes: &[&str]) -> Config {
        let text = "name = 'x'\n[data]\ntrain = 'images'\nimage_size = [40, 66]\n";
        let changes: Vec<_> = changes.iter().map(|change| (*change).to_owned()).collect();
        parse(text, Path::new("recipe.toml"), &changes).expect("parsed")
    }

    /// Changes of a recipe that make networks of every kind.
    const RECIPES: [&[&str]; 14] = [
        &["model.channels=[5, 9]", "model.hidden=[7, 3]"],
        &[
            "model.channels=[5]",
            "model.batch_norm=true",
            "model.pooling=average",
            "model.hidden=0",
            "data.color=grayscale",
        ],
        &["model.architecture=vgg16", "model.hidden=4"],
        &[
            "model.architecture=vgg16_bn",
            "model.pooling=average",
            "model.hidden=4",
        ],
        &["model.architecture=squeezenet1_1", "model.hidden=4"],
        &[
            "model.architecture=resnet18",
            "model.hidden=4",
            "model.weights=a.pth",
        ],
        &[
            "model.architecture=mobilenet_v2",
            "model.width=0.35",
            "model.weights=a.pth",
        ],
        &["model.architecture=efficientnet_b0", "model.weights=a.pth"],
        &["model.architecture=densenet121", "model.weights=a.pth"],
        &[
            "model.architecture=convnext_tiny",
            "model.pooling=average",
            "model.weights=a.pth",
        ],
        &[
            "model.architecture=dinov2_s",
            "model.weights=a.pth",
            "data.image_size=[42, 70]",
        ],
        &[
            "model.channels=[5]",
            "model.pooling=max_average",
            "model.head_norm=true",
            "model.hidden=[7, 3]",
        ],
        &["model.channels=[5]", "train.loss=binary_cross_entropy"],
        &[
            "model.architecture=layers",
            "model.layers=[{ conv = 5, kernel = 4, padding = 'valid' }, \
             { max_pool = 3, stride = 2 }, { separable_conv = 7, batch_norm = true }, \
             { dropout = 0.1 }]",
        ],
    ];

    #[test]
    fn the_plan_has_the_weights_of_the_network() {
        for changes in RECIPES {
            let config = config(changes);
            let [height, width] = config.data.image_size;
            let input = [config.data.color.channels(), height, width];
            let output = Output::of(config.train.loss);
            let design = Design {
                model: config.model.clone(),
                input,
                num_classes: 2,
                output,
            };
            let model = empty(&design, &Device::flex());
            let built: usize = params::collect(&model)
                .iter()
                .map(|param| param.dims.iter().product::<usize>())
                .sum();
            let planned: f64 = shares(&config, 2)
                .iter()
                .map(|share| share.weights + share.statistics)
                .sum();
            assert_eq!(planned, built as f64, "{changes:?}");
            // The head is planned for the shape of the last layer's features.
            let layers = model.layers(input);
            let last = layers
                .iter()
                .rfind(|(name, _)| name.starts_with("backbone."))
                .expect("a layer");
            assert_eq!(
                last.1,
                config.model.features([height, width]).expect("features"),
                "{changes:?}"
            );
        }
    }

    #[test]
    fn memory_grows_with_the_batch_and_the_optimizer_and_frozen_layers_need_little() {
        let total = |changes: &[&str], batch| Estimate::of(&config(changes), 2, batch).total();
        let small = &["model.channels=[8, 16]", "model.pooling=average"][..];
        let (one, hundred) = (total(small, 1), total(small, 100));
        assert!(hundred > 20.0 * one, "{one} {hundred}");
        let dense =
            |more: &'static str| total(&["model.channels=[8]", "model.hidden=1000", more], 2);
        let (sgd, adam) = (
            dense("train.optimizer={ kind = 'sgd' }"),
            dense("train.optimizer={ kind = 'adam' }"),
        );
        assert!(
            adam > 1.5 * sgd && dense("train.ema_decay=0.9") > 1.1 * adam,
            "{sgd} {adam}"
        );
        let vgg = |freeze: &'static str| {
            total(&["model.architecture=vgg16", "model.hidden=4", freeze], 64)
        };
        assert!(
            vgg("model.freeze=none") > 3.0 * vgg("model.freeze=backbone"),
            "{} {}",
            vgg("model.freeze=none"),
            vgg("model.freeze=backbone")
        );
    }

    #[test]
    fn no_recipe_makes_it_overflow_and_the_largest_layer_is_named() {
        let huge = Estimate::of(
            &config(&[
                "model.channels=[4611686018427387904, 8]",
                "model.pooling=average",
            ]),
            2,
            usize::MAX,
        );
        assert!(huge.total() > 1e20 && huge.total().is_finite(), "{huge:?}");
        let dense = Estimate::of(
            &config(&["model.channels=[8]", "model.hidden=[4, 1000, 20000]"]),
            2,
            32,
        );
        assert_eq!(
            (dense.largest.name.as_str(), dense.largest.is_weights),
            ("head.hidden.2", true),
            "{dense:?}"
        );
        let wide = Estimate::of(
            &config(&["data.image_size=[2048, 2048]", "model.pooling=average"]),
            2,
            32,
        );
        assert_eq!(
            (wide.largest.name.as_str(), wide.largest.is_weights),
            ("backbone.blocks.0", false),
            "{wide:?}"
        );
    }
}
