//! One network of an explainer, prepared for the maps of a method.

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};

use super::{Map, Method};
use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    config::Weights,
    metrics::softmax,
    nn::{
        NnError,
        infer::read,
        networks::{
            build,
            classifier::{Classifier, Design},
            params, paths,
        },
    },
};

/// An error in explaining a network.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// An error of the checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An error of the network or its device.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// A layer group that the network doesn't have.
    #[error("found no layer group {found}, expected one of: {known}")]
    Layer {
        /// The requested layer group.
        found: usize,
        /// The layer groups of the network.
        known: String,
    },
}

/// A network and a method to explain it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Network with autodiff. It is frozen: no parameter has a gradient, batch norm uses its
    /// running statistics and dropout is off.
    pub(super) model: Classifier,
    /// Network without autodiff, for the layers before the map.
    pub(super) plain: Classifier,
    pub(super) design: Design,
    temperature: f64,
    pub(super) method: Method,
    /// Number of layer groups before the map.
    pub(super) groups: usize,
}

impl Member {
    /// Prepares the network of a checkpoint on `device` (without autodiff).
    ///
    /// The map is computed at the output of layer group `layer`, counted from 0; by default the
    /// last one whose output has at least four rows and columns.
    ///
    /// # Errors
    /// Returns an error if the weights can't be loaded or the network has no such layer group.
    pub(super) fn new(
        checkpoint: &Checkpoint,
        device: &Device,
        method: Method,
        layer: Option<usize>,
    ) -> Result<Self, ExplainError> {
        let model = checkpoint.network(&device.clone().autodiff())?;
        Self::of(
            model,
            checkpoint.meta.design.clone(),
            checkpoint.meta.temperature,
            method,
            layer,
        )
    }

    /// Prepares a network. `model` is with autodiff.
    pub(super) fn of(
        model: Classifier,
        design: Design,
        temperature: f64,
        method: Method,
        layer: Option<usize>,
    ) -> Result<Self, ExplainError> {
        let model = model.freeze();
        let mut member = Self {
            plain: model.valid(),
            model,
            design,
            temperature,
            method,
            groups: 0,
        };
        let count = member.plain.num_groups();
        member.groups = match layer {
            Some(found) if found >= count => {
                let words = |group: usize| {
                    let [height, width] = member.map_size(group + 1);
                    format!("{group} ({height}x{width})")
                };
                return Err(ExplainError::Layer {
                    found,
                    known: (0..count).map(words).collect::<Vec<_>>().join(", "),
                });
            }
            Some(layer) => layer + 1,
            None => {
                let [channels, height, width] = member.design.input;
                let network = member.design.model.network(channels);
                network.groups_before_map([height, width])
            }
        };
        Ok(member)
    }

    /// Returns the rows and columns of the map after the first `groups` layer groups.
    pub(super) fn map_size(&self, groups: usize) -> [usize; 2] {
        self.plain.map_size(groups, self.design.input)
    }

    /// Returns the layer group that the map is of, with its rows and columns; the input for
    /// occlusion.
    pub(super) fn layer(&self) -> String {
        if self.method == Method::Occlusion {
            return "input".to_owned();
        }
        let [height, width] = self.map_size(self.groups);
        format!("backbone.blocks.{} ({height}x{width})", self.groups - 1)
    }

    /// Returns the map of the evidence for `classes[i]` in image `i`.
    ///
    /// # Shapes
    /// `images` is `[batch, channels, height, width]`, flattened and normalized.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub(super) fn explain(&self, images: &[f32], classes: &[usize]) -> Result<Vec<Map>, NnError> {
        match self.method {
            Method::Occlusion => self
                .each(images)
                .zip(classes)
                .map(|(image, class)| self.occlude(image, *class))
                .collect(),
            method => self.activation_maps(method, self.upload(images), classes),
        }
    }

    /// Returns the probabilities of each image, with the temperature of the checkpoint.
    ///
    /// # Shapes
    /// `images` is `[batch, channels, height, width]`, flattened and normalized.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub(super) fn probabilities(&self, images: &[f32]) -> Result<Vec<Vec<f64>>, NnError> {
        let scaled = |row: Vec<f32>| {
            row.iter()
                .map(|logit| f64::from(*logit) / self.temperature)
                .collect::<Vec<_>>()
        };
        Ok(self
            .logits(images)?
            .into_iter()
            .map(scaled)
            .map(|row| softmax(&row))
            .collect())
    }

    /// Returns the same for a network whose head and last `groups` layer groups have
    /// random weights. Its maps must differ if maps depend on what was learned (Adebayo et al.
    /// 2018, arXiv 1810.03292).
    pub(super) fn randomized(&self, groups: usize, seed: u64) -> Self {
        let mut design = self.design.clone();
        // `build` leaves a backbone zero if its weights come from a file.
        design.model.weights = Some(Weights::None);
        let first = self.plain.num_groups() - groups;
        let drawn = params::collect(&build(&design, seed, &self.device())).into_iter();
        let is_replaced =
            |param: &params::Named| paths::group(&param.path).is_none_or(|group| group >= first);
        let values = drawn
            .filter(is_replaced)
            .map(|param| (param.path, param.values))
            .collect();
        let model = params::replace(self.model.clone(), values).freeze();
        Self {
            plain: model.valid(),
            model,
            ..self.clone()
        }
    }

    /// Returns the number of layer groups.
    pub(super) fn num_groups(&self) -> usize {
        self.plain.num_groups()
    }

    /// Returns the number of values of an image.
    fn num_values(&self) -> usize {
        self.design.input.iter().product()
    }

    /// Iterates over the images of a batch.
    fn each<'a>(&self, images: &'a [f32]) -> impl Iterator<Item = &'a [f32]> {
        images.chunks_exact(self.num_values())
    }

    /// Uploads a batch of images.
    ///
    /// # Shapes
    /// Returns `[batch, channels, height, width]`.
    fn upload(&self, images: &[f32]) -> Tensor<4> {
        let [channels, height, width] = self.design.input;
        let count = images.len() / self.num_values();
        Tensor::from_data(
            TensorData::new(images.to_vec(), [count, channels, height, width]),
            &self.device(),
        )
    }

    fn device(&self) -> Device {
        params::collect(&self.plain)[0].values.device()
    }

    /// Returns one logit per class for each image; a network with one logit has 0 for the first
    /// class.
    pub(super) fn logits(&self, images: &[f32]) -> Result<Vec<Vec<f32>>, NnError> {
        let features = self
            .plain
            .forward_frozen(0..self.plain.num_groups(), self.upload(images));
        let logits = read(self.plain.forward_head(features))?;
        Ok(self
            .design
            .output
            .per_class(&logits, self.design.num_classes))
    }
}

/// Returns the mean of what networks give.
pub(super) fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;
    use crate::{
        config::{Architecture, Hidden, Model, Normalize},
        nn::{
            networks::classifier::Output,
            pretrained::tests::{
                SIZE, cpu_devices, golden, gpu_device, input, narrow_with_classifier,
            },
        },
    };

    fn floats(bytes: &[u8]) -> Vec<f32> {
        bytes
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four")))
            .collect()
    }

    #[track_caller]
    fn assert_close(what: &str, got: &[f32], expected: &[f32], scale: f32) {
        assert_eq!(got.len(), expected.len(), "{what}");
        let worst = got
            .iter()
            .zip(expected)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(
            worst <= 1e-4 * scale,
            "{what}: differs by {worst}, the scale is {scale}"
        );
    }

    #[test]
    fn activation_maps_are_those_of_pytorch_grad_cam() {
        for device in cpu_devices() {
            compare_activation_maps(&device);
        }
    }

    #[test]
    #[ignore = "needs a GPU or a software Vulkan driver"]
    fn activation_maps_on_a_gpu_are_those_of_pytorch_grad_cam() {
        compare_activation_maps(&gpu_device());
    }

    /// `scripts/reference/grad_cam.py` made the expected maps with pytorch-grad-cam.
    fn compare_activation_maps(device: &Device) {
        let bytes = std::fs::read(golden("grad_cam.safetensors")).expect("there");
        let expected = SafeTensors::deserialize(&bytes).expect("whole");
        let design = Design {
            model: Model::default(),
            input: [3, SIZE[0], SIZE[1]],
            num_classes: 5,
            output: Output::Softmax,
        };
        let values_of = |name: &str| {
            let tensor = expected.tensor(name).ok()?;
            Some(floats(tensor.data()))
        };
        let methods = [
            ("grad_cam", Method::GradCam),
            ("grad_cam_plus_plus", Method::GradCamPlusPlus),
            ("layer_cam", Method::LayerCam),
        ];
        let (mut seen, mut enlarged) = (0, 0);
        let images = read(input(&Normalize::Imagenet, 2, SIZE, device)).expect("read");
        for (net, batch_norm) in [("vgg", false), ("vgg_bn", true)] {
            let model = narrow_with_classifier(
                &format!("{net}.pth"),
                batch_norm,
                &device.clone().autodiff(),
            );
            for ((name, method), group) in methods
                .iter()
                .flat_map(|method| [2, 4].map(|group| (method, group)))
            {
                let explainer =
                    Member::of(model.clone(), design.clone(), 1.0, *method, Some(group))
                        .expect("there");
                for class in 0..5 {
                    let key = format!("{net}.{name}.{group}.{class}");
                    let maps = explainer.explain(&images, &[class; 2]).expect("explained");
                    let raw = values_of(&format!("{key}.raw")).expect("there");
                    let scale = raw.iter().fold(0.0f32, |most, value| most.max(value.abs()));
                    let values: Vec<f32> = maps.iter().flat_map(|map| map.values.clone()).collect();
                    assert_close(&key, &values, &raw, scale);
                    seen += 1;
                    let Some(whole) = values_of(&format!("{key}.map")) else {
                        continue;
                    };
                    let shown: Vec<f32> = maps.iter().flat_map(|map| map.at_size(SIZE)).collect();
                    assert_close(&format!("{key}, enlarged"), &shown, &whole, 1.0);
                    enlarged += 1;
                }
            }
        }
        assert_eq!(seen, 60);
        assert!(enlarged >= 6, "{enlarged}");
    }

    #[test]
    fn the_last_map_that_places_anything_is_found_and_a_wrong_layer_is_an_error() {
        let device = Device::flex().autodiff();
        let design = |side: usize| Design {
            model: Model {
                channels: Some(vec![2, 3, 4]),
                ..Model::default()
            },
            input: [1, side, side + 5],
            num_classes: 2,
            output: Output::Sigmoid,
        };
        for (side, expected) in [
            (40, "backbone.blocks.2 (5x5)"),
            (20, "backbone.blocks.1 (5x6)"),
            (9, "backbone.blocks.0 (4x7)"),
        ] {
            let model = build(&design(side), 1, &device);
            let explainer =
                Member::of(model.clone(), design(side), 1.0, Method::GradCam, None).expect("found");
            assert_eq!(explainer.layer(), expected);
            let error = Member::of(model, design(side), 1.0, Method::GradCam, Some(3))
                .expect_err("three groups")
                .to_string();
            assert!(
                error.contains("no layer group 3") && error.contains("0 ("),
                "{error}"
            );
        }
    }

    #[test]
    fn every_architecture_is_explained() {
        for architecture in Architecture::all().filter(|found| !found.is_autoencoder()) {
            let (side, expected) = match architecture.name() {
                "squeezenet1_1" => (72, "backbone.blocks.3 (4x4)"),
                "vgg16_bn" => (32, "backbone.blocks.2 (4x4)"),
                "inception_v3" => (107, "backbone.blocks.3 (5x5)"),
                // Their first group divides height and width by four.
                "densenet121" | "convnext_tiny" => (64, "backbone.blocks.2 (4x4)"),
                // The class token of the last block alone is its feature.
                "dinov2_s" => (56, "backbone.blocks.10 (4x4)"),
                _ => (64, "backbone.blocks.3 (4x4)"),
            };
            let blocks = "[[layers]]\nconv = 4\n[[layers]]\nmax_pool = 2\n".repeat(4);
            let listed: Model = toml::from_str(&blocks).expect("layers");
            let layers = if architecture.is_list() {
                listed.layers
            } else {
                Vec::new()
            };
            let model = Model {
                architecture,
                weights: Some(Weights::None),
                hidden: Hidden::One(0),
                layers,
                ..Model::default()
            };
            let design = Design {
                model,
                input: [3, side, side],
                num_classes: 3,
                output: Output::Softmax,
            };
            let image: Vec<f32> = (0..3 * side * side)
                .map(|at| ((at * 7919 + at * at) % 255) as f32 / 127.0 - 1.0)
                .collect();
            let network = build(&design, 2, &Device::flex().autodiff());
            for method in [Method::GradCam, Method::GradCamPlusPlus, Method::LayerCam] {
                let explainer =
                    Member::of(network.clone(), design.clone(), 1.0, method, None).expect("found");
                assert_eq!(explainer.layer(), expected);
                let map = explainer
                    .explain(&image, &[1])
                    .expect("explained")
                    .swap_remove(0);
                assert!(
                    map.values.iter().all(|value| value.is_finite())
                        && map.values.iter().any(|value| *value != 0.0),
                    "{expected}"
                );
            }
        }
    }

    /// With one logit, evidence for one class is evidence against the other; a network with new
    /// random layers is another one.
    #[test]
    fn both_classes_of_one_logit_are_explained_and_random_layers_are_others() {
        let design = Design {
            model: Model {
                channels: Some(vec![4, 4]),
                batch_norm: Some(true),
                ..Model::default()
            },
            input: [1, 20, 26],
            num_classes: 2,
            output: Output::Sigmoid,
        };
        let image: Vec<f32> = (0..20 * 26)
            .map(|at| ((at * at * 7919) % 255) as f32 / 255.0)
            .collect();
        for method in [Method::GradCam, Method::LayerCam, Method::Occlusion] {
            let model = build(&design, 3, &Device::flex().autodiff());
            let explainer = Member::of(model, design.clone(), 1.0, method, None).expect("found");
            let map = |explainer: &Member, class| {
                explainer
                    .explain(&image, &[class])
                    .expect("explained")
                    .swap_remove(0)
            };
            let (first, second) = (map(&explainer, 0), map(&explainer, 1));
            if method != Method::LayerCam {
                let sum = first
                    .values
                    .iter()
                    .zip(&second.values)
                    .map(|(a, b)| (a + b).abs())
                    .fold(0.0, f32::max);
                assert!(
                    sum < 1e-5 && first.values.iter().any(|value| value.abs() > 1e-4),
                    "{method:?}: {sum}"
                );
            }
            assert_eq!(
                map(&explainer.randomized(2, 3), 1),
                second,
                "{method:?}: the same seed draws the same network"
            );
            assert_ne!(map(&explainer.randomized(0, 4), 1), second, "{method:?}");
            let p = explainer.probabilities(&image).expect("computed");
            assert!((p[0].iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
}
