//! A network, or several that predict together, as a PyTorch module: a Python file that loads the
//! weights of checkpoints. Layers have the names of the weights, and the file reads images as
//! `predict` does.

use pixel_sampling::Channel;
use serde_json::json;

use crate::{
    architecture::{Activation, Conv, Groups, Join, Kind, Layer, Pool, PoolKind, Shape},
    checkpoint::{Checkpoint, Meta},
    config::{Color, Pooling, Resize},
    data::batches::normalize::{Normalizer, STD_EPSILON},
    nn::networks::head::NORM_EPSILON,
};

/// The file, with words between `@` for what depends on the run.
const TEMPLATE: &str = include_str!("pytorch.py");

/// The class of several networks.
const ENSEMBLE: &str = "\
class Ensemble(nn.Module):
    \"\"\"Computes the mean of the probabilities of several networks, `[batch, classes]`.\"\"\"

    def __init__(self, networks):
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x):
        return torch.stack([probabilities(network, x) for network in self.networks]).mean(0)


";

/// Returns the Python file for checkpoints with the same layers, one or more, each with its place
/// in the folder that the file loads from: the checkpoint's own, or that of the run of several.
/// `None` if a checkpoint doesn't include its frozen layers.
pub fn pytorch(checkpoints: &[(&str, &Checkpoint)]) -> Option<String> {
    let networks = checkpoints.iter().map(|(place, it)| network(place, it));
    let networks = networks.collect::<Option<Vec<_>>>()?.join("\n");
    let meta = &checkpoints[0].1.meta;
    let module = Module::of(meta);
    let epochs = checkpoints.iter().map(|(_, it)| it.meta.epoch.to_string());
    let epochs: Vec<String> = epochs.collect();
    let [place, what, loaded, ensemble, mean] = match checkpoints.len() {
        1 => ["RUN/best", "the network", "networks[0]", "", ""],
        _ => [
            "RUN",
            "the networks",
            "Ensemble(networks)",
            ENSEMBLE,
            "    if isinstance(network, Ensemble):\n        return network(images)\n",
        ],
    };
    let [height, width] = meta.image_size;
    let mode = match meta.color {
        Color::Rgb => "RGB",
        Color::Grayscale => "L",
    };
    let words = [
        ("NAME", meta.name.replace(['\\', '"'], "'")),
        ("EPOCH", epochs.join(", ")),
        ("VERSION", env!("CARGO_PKG_VERSION").to_owned()),
        // JSON's strings and lists are Python's.
        ("CLASSES", json!(meta.classes).to_string()),
        ("NETWORKS", networks),
        ("PLACE", place.to_owned()),
        ("WHAT", what.to_owned()),
        ("LOADED", loaded.to_owned()),
        ("ENSEMBLE", ensemble.to_owned()),
        ("MEAN", mean.to_owned()),
        ("MODE", mode.to_owned()),
        ("HEIGHT", height.to_string()),
        ("WIDTH", width.to_string()),
        ("FILTER", format!("{:?}", meta.interpolation).to_uppercase()),
        ("TEMPERATURE", format!("{:?}", meta.temperature)),
        (
            "LOGITS",
            meta.design
                .output
                .num_logits(meta.classes.len())
                .to_string(),
        ),
        ("RESIZE", resize(meta.resize).to_owned()),
        ("LAYERS", module.init()),
        ("FORWARD", module.forward.join("\n")),
    ];
    let mut text = String::new();
    // Every second part is a word. What a word stands for isn't searched for others.
    for (index, part) in TEMPLATE.split('@').enumerate() {
        let word = words
            .iter()
            .find(|(word, _)| index % 2 == 1 && *word == part);
        text += word.map_or(part, |(_, value)| value);
    }
    Some(text)
}

/// Returns the line with the files of a network, and scale and offset of each channel; `None` if
/// the checkpoint doesn't include its frozen layers.
fn network(place: &str, checkpoint: &Checkpoint) -> Option<String> {
    let meta = &checkpoint.meta;
    if meta.frozen.is_some() && checkpoint.backbone.is_none() {
        return None;
    }
    let files = [
        (true, "model.safetensors"),
        (checkpoint.backbone.is_some(), "backbone.safetensors"),
        (meta.normalize.whitening.is_some(), "whitening.safetensors"),
    ];
    let files = files.iter().filter(|(is_there, _)| *is_there);
    let files: Vec<String> = files.map(|(_, name)| format!("{place}{name}")).collect();
    let affine = meta.normalize.affine();
    let each = &affine.channels[..meta.design.input[0]];
    let [scale, offset]: [Vec<f32>; 2] =
        [|it: &Channel| it.scale, |it: &Channel| it.offset].map(|of| each.iter().map(of).collect());
    Some(format!("    ({}, {scale:?}, {offset:?}),", json!(files)))
}

/// Returns the lines that bring an image to the network's size.
fn resize(how: Resize) -> &'static str {
    match how {
        Resize::Stretch => "    image = image.resize((WIDTH, HEIGHT), FILTER)",
        Resize::Crop => {
            "    scale = min(image.height / HEIGHT, image.width / WIDTH)
    height, width = min(HEIGHT * scale, image.height), min(WIDTH * scale, image.width)
    top, left = (image.height - height) / 2, (image.width - width) / 2
    box = (left, top, left + width, top + height)
    image = image.resize((WIDTH, HEIGHT), FILTER, box)"
        }
        Resize::Pad => {
            "    scale = max(image.height / HEIGHT, image.width / WIDTH)
    height = min(max(int(image.height / scale + 0.5), 1), HEIGHT)
    width = min(max(int(image.width / scale + 0.5), 1), WIDTH)
    inner = image.resize((width, height), FILTER)
    image = Image.new(MODE, (WIDTH, HEIGHT))
    image.paste(inner, ((WIDTH - width) // 2, (HEIGHT - height) // 2))"
        }
    }
}

/// The module in the making.
#[derive(Default)]
struct Module {
    /// Number of values that are whitened, if they are.
    whitened: Option<usize>,
    /// Names and constructors of the layers with weights.
    layers: Vec<String>,
    /// Lines of `forward`.
    forward: Vec<String>,
}

impl Module {
    fn of(meta: &Meta) -> Self {
        let mut module = Self::default();
        let input = meta.design.input;
        module.normalize(&meta.normalize, input);
        let model = &meta.design.model;
        let network = model.network(input[0]);
        let features = module.all(network.groups.iter().flatten(), "x", input);
        module.say(match model.pooling {
            Pooling::Flatten => "x = x.flatten(1)",
            Pooling::Average => "x = x.mean((2, 3))",
            Pooling::MaxAverage => "x = torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)",
        });
        let mut width = model.pooling.width(features);
        let norm = |module: &mut Self, index: usize, width: usize| {
            if model.head_norm {
                let norm = format!("nn.BatchNorm1d({width}, {NORM_EPSILON:?})");
                module.add(&format!("head.norms.{index}"), &norm, "x");
            }
        };
        norm(&mut module, 0, width);
        for (index, hidden) in model.hidden.widths().into_iter().enumerate() {
            let linear = format!("nn.Linear({width}, {hidden})");
            module.add(&format!("head.hidden.{index}"), &linear, "x");
            module.say("x = F.relu(x)");
            norm(&mut module, index + 1, hidden);
            width = hidden;
        }
        let outputs = meta.design.output.num_logits(meta.classes.len());
        module.add(
            "head.output",
            &format!("nn.Linear({width}, {outputs})"),
            "x",
        );
        module
    }

    /// Returns the lines that create the layers.
    fn init(&self) -> String {
        let matrix = self
            .whitened
            .map(|size| format!("        self.register_buffer(\"matrix\", torch.eye({size}))\n"));
        format!(
            "{}        layers = {{\n{}\n        }}",
            matrix.unwrap_or_default(),
            self.layers.join("\n")
        )
    }

    /// Adds a line to `forward`.
    fn say(&mut self, line: &str) {
        self.forward.push(format!("        {line}"));
    }

    /// Adds a layer with weights, and its call on the variable `x`.
    fn add(&mut self, path: &str, constructor: &str, x: &str) {
        self.layers
            .push(format!("            \"{path}\": {constructor},"));
        self.say(&format!("{x} = at(\"{path}\")({x})"));
    }

    fn normalize(&mut self, normalizer: &Normalizer, shape: Shape) {
        if normalizer.is_samplewise() {
            self.say(&format!("x = x * {:?}", normalizer.rescale));
            self.say("precise, of_image = x.double(), (1, 2, 3)");
            self.say("x = x - precise.mean(of_image, keepdim=True).float()");
        }
        if normalizer.samplewise_std {
            self.say("deviation = precise.std(of_image, correction=0, keepdim=True)");
            self.say(&format!("x = x / (deviation + {STD_EPSILON:?}).float()"));
        }
        self.say("x = x * self.scale");
        self.say("x = x + self.offset");
        if normalizer.blue_first {
            self.say("x = x.flip(1)");
        }
        if normalizer.whitening.is_some() {
            self.whitened = Some(shape.iter().product());
            self.say("x = F.linear(x.flatten(1), self.matrix).view_as(x)");
        }
    }

    /// Adds layers that act on the variable `x`, and returns the shape of their output.
    fn all<'l>(
        &mut self,
        layers: impl IntoIterator<Item = &'l Layer>,
        x: &str,
        shape: Shape,
    ) -> Shape {
        layers.into_iter().fold(shape, |shape, layer| {
            self.layer(layer, x, shape);
            let output = layer.kind.output(shape);
            output.expect("a checked configuration leaves features")
        })
    }

    /// Adds a layer. Dropout acts in training only.
    fn layer(&mut self, layer: &Layer, x: &str, shape: Shape) {
        let path = format!("backbone.{}", layer.name);
        let channels = shape[0];
        match &layer.kind {
            Kind::Conv(conv) => self.conv(&path, conv, x, shape),
            Kind::BatchNorm { epsilon, .. } => {
                self.add(
                    &path,
                    &format!("nn.BatchNorm2d({channels}, {epsilon:?})"),
                    x,
                );
            }
            Kind::LayerNorm { epsilon } => {
                self.say(&format!("{x} = {x}.movedim(1, -1)"));
                self.add(&path, &format!("nn.LayerNorm({channels}, {epsilon:?})"), x);
                self.say(&format!("{x} = {x}.movedim(-1, 1)"));
            }
            Kind::Scale => self.add(&path, &format!("Scale({channels})"), x),
            Kind::Activation(function) => self.say(&format!("{x} = {}({x})", name(*function))),
            Kind::Pool(pooled) => self.pool(*pooled, x, shape),
            Kind::Tokens {
                grid: [rows, columns],
            } => {
                self.add(&path, &format!("Tokens({channels}, {rows}, {columns})"), x);
            }
            Kind::Attention { heads } => {
                let [_, height, width] = shape;
                self.say(&format!(
                    "q, k, v = {x}.unflatten(1, (3, {heads}, -1)).flatten(4).mT.unbind(1)"
                ));
                self.say(&format!("{x} = F.scaled_dot_product_attention(q, k, v).mT"));
                self.say(&format!(
                    "{x} = {x}.flatten(1, 2).unflatten(2, ({height}, {width}))"
                ));
            }
            Kind::ClassToken => self.say(&format!("{x} = {x}[:, :, :1]")),
            Kind::GlobalAverage => self.say(&format!("{x} = {x}.mean((2, 3), keepdim=True)")),
            Kind::Upsample => unreachable!("autoencoders aren't exported"),
            Kind::Branches(join, paths) => {
                let names: Vec<String> = (0..paths.len())
                    .map(|index| format!("{x}_{index}"))
                    .collect();
                for (path, name) in paths.iter().zip(&names) {
                    self.say(&format!("{name} = {x}"));
                    self.all(path, name, shape);
                }
                self.say(&match join {
                    Join::Concat => format!("{x} = torch.cat([{}], 1)", names.join(", ")),
                    Join::Add => format!("{x} = {}", names.join(" + ")),
                    Join::Multiply => format!("{x} = {}", names.join(" * ")),
                });
            }
            Kind::DropPath(_) | Kind::Dropout(_) => {}
        }
    }

    fn conv(&mut self, path: &str, conv: &Conv, x: &str, shape: Shape) {
        let sides = [0, 1].map(|axis| {
            let (side, kernel) = (shape[axis + 1], conv.kernel[axis]);
            conv.padding.of_side(axis, side, kernel, conv.stride)
        });
        let padding = self.pad(sides, x, "0");
        let groups = match conv.groups {
            Groups::One => 1,
            Groups::Depthwise => conv.outputs,
        };
        let bias = if conv.bias { "True" } else { "False" };
        let constructor = format!(
            "nn.Conv2d({}, {}, {}, {}, {}, groups={groups}, bias={bias})",
            shape[0],
            conv.outputs,
            pair(conv.kernel),
            conv.stride,
            pair(padding)
        );
        self.add(path, &constructor, x);
    }

    fn pool(&mut self, pool: Pool, x: &str, shape: Shape) {
        let sides = [0, 1].map(|axis| {
            let side = shape[axis + 1];
            pool.padding.of_side(axis, side, pool.kernel, pool.stride)
        });
        let ceil = if pool.ceil { ", ceil_mode=True" } else { "" };
        let window = format!("{}, {}", pool.kernel, pool.stride);
        let is_even = sides.iter().all(|[before, after]| before == after);
        if pool.kind == PoolKind::AverageInside && !is_even {
            self.say(&format!("{x}_inside = torch.ones_like({x})"));
            for padded in [x, &format!("{x}_inside")] {
                self.pad(sides, padded, "0");
                self.say(&format!(
                    "{padded} = F.avg_pool2d({padded}, {window}{ceil})"
                ));
            }
            return self.say(&format!("{x} = {x} / {x}_inside"));
        }
        let (function, value, count) = match pool.kind {
            PoolKind::Max => ("max_pool2d", "-torch.inf", ""),
            PoolKind::Average => ("avg_pool2d", "0", ""),
            PoolKind::AverageInside => ("avg_pool2d", "0", ", count_include_pad=False"),
        };
        let padding = pair(self.pad(sides, x, value));
        self.say(&format!(
            "{x} = F.{function}({x}, {window}, {padding}{ceil}{count})"
        ));
    }

    /// Pads where the two ends of a side differ, and returns the padding that is left to the layer.
    fn pad(&mut self, sides: [[usize; 2]; 2], x: &str, value: &str) -> [usize; 2] {
        let [[top, bottom], [left, right]] = sides;
        if top == bottom && left == right {
            return [top, left];
        }
        self.say(&format!(
            "{x} = F.pad({x}, ({left}, {right}, {top}, {bottom}), value={value})"
        ));
        [0, 0]
    }
}

fn pair([rows, columns]: [usize; 2]) -> String {
    format!("({rows}, {columns})")
}

/// Returns PyTorch's name of a function.
fn name(function: Activation) -> &'static str {
    match function {
        Activation::Relu => "F.relu",
        Activation::Relu6 => "F.relu6",
        // Its slope is PyTorch's default, 0.01.
        Activation::LeakyRelu => "F.leaky_relu",
        Activation::Elu => "F.elu",
        Activation::Gelu => "F.gelu",
        Activation::Silu => "F.silu",
        Activation::HardSwish => "F.hardswish",
        Activation::HardSigmoid => "F.hardsigmoid",
        Activation::Sigmoid => "torch.sigmoid",
        Activation::Tanh => "torch.tanh",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{architecture::Architecture, export::onnx::tests::meta};

    fn written(meta: Meta) -> String {
        let checkpoint = Checkpoint {
            meta,
            model: Vec::new(),
            backbone: None,
        };
        pytorch(&[("", &checkpoint)]).expect("nothing is frozen")
    }

    #[test]
    fn several_networks_have_their_files_and_statistics_and_one_class_with_their_layers() {
        let network = |mean: f32| {
            let mut meta = meta();
            meta.normalize.mean = vec![mean; 3];
            meta.normalize.rescale = 1.0;
            Checkpoint {
                meta,
                model: Vec::new(),
                backbone: None,
            }
        };
        let [first, second] = [network(0.5), network(0.25)];
        let networks = [("fold-1/best/", &first), ("fold-2/best/", &second)];
        let text = pytorch(&networks).expect("nothing is frozen");
        for part in [
            "NETWORKS = [\n    ([\"fold-1/best/model.safetensors\"], [1.0, 1.0, 1.0], \
             [-0.5, -0.5, -0.5]),\n    ([\"fold-2/best/model.safetensors\"], [1.0, 1.0, 1.0], \
             [-0.25, -0.25, -0.25]),\n]\n",
            "    python FILE.py RUN IMAGE...",
            "    return Ensemble(networks).eval()\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text.matches("class Network(").count(), 1);
        assert!(!text.contains('@') && !written(meta()).contains("Ensemble"));
    }

    #[test]
    fn a_small_network_reads_like_one_written_by_hand() {
        let text = written(meta());
        for part in [
            "            \"backbone.blocks.0.conv\": \
             nn.Conv2d(3, 4, (3, 3), 1, (1, 1), groups=1, bias=True),\n            \
             \"head.output\": nn.Linear(64, 3),\n        }\n",
            "        x = at(\"backbone.blocks.0.conv\")(x)\n        x = F.relu(x)\n        \
             x = F.max_pool2d(x, 2, 2, (0, 0))\n        x = x.flatten(1)\n        \
             x = at(\"head.output\")(x)\n        return x\n",
            "    ([\"model.safetensors\"], ",
            "]\nMODE, HEIGHT, WIDTH = \"RGB\", 8, 9\nFILTER = Image.Resampling.BILINEAR\n\
             TEMPERATURE = 1.0\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains('@'), "{text}");
    }

    #[test]
    fn every_architecture_has_all_its_layers_with_weights() {
        for architecture in Architecture::all() {
            if architecture.is_list() || architecture.is_autoencoder() {
                continue;
            }
            let mut meta = meta();
            meta.design.input = [3, 84, 98];
            meta.design.model.architecture = architecture;
            meta.design.model.pooling = Pooling::Average;
            let network = meta.design.model.network(3);
            let text = written(meta);
            for (layer, _) in network.modules() {
                let is_there = text.contains(&format!("at(\"backbone.{}\")", layer.name));
                let acts_in_training_only =
                    matches!(layer.kind, Kind::DropPath(_) | Kind::Dropout(_));
                assert_eq!(is_there, !acts_in_training_only, "{}", layer.name);
            }
        }
    }

    #[test]
    fn frozen_layers_that_are_elsewhere_are_not_loaded() {
        let mut meta = meta();
        meta.frozen = Some(crate::checkpoint::Frozen {
            groups: 1,
            weights: crate::config::Weights::Imagenet,
            sha256: String::new(),
        });
        let checkpoint = Checkpoint {
            meta,
            model: Vec::new(),
            backbone: None,
        };
        assert_eq!(pytorch(&[("", &checkpoint)]), None);
    }
}
