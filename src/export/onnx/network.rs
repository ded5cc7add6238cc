//! The layers of a network as nodes, from its description, so that every backbone is exported
//! without code of its own.

use burn::tensor::{Device, Tensor, TensorData};

use super::{
    graph::{Graph, Value, float, int, ints},
    proto::DataType,
};
use crate::{
    architecture::{Activation, Conv, Groups, Join, Kind, Layer, Network, Pool, PoolKind, Shape},
    config::{Model, Pooling},
    nn::networks::{head::NORM_EPSILON, layers::added},
};

/// Computes the features of images.
///
/// # Shapes
/// `[batch, channels, height, width]` in and out; `shape` is that of an image.
pub(super) fn backbone(graph: &mut Graph<'_>, network: &Network, x: Value, shape: Shape) -> Value {
    layers(graph, network.groups.iter().flatten(), x, shape)
}

/// Computes the logits of features.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, logits]`.
pub(super) fn head(graph: &mut Graph<'_>, model: &Model, features: &Value) -> Value {
    let features = match model.pooling {
        Pooling::Flatten => features.clone(),
        Pooling::Average => graph.unary("GlobalAveragePool", features),
        Pooling::MaxAverage => {
            let max = graph.unary("GlobalMaxPool", features);
            let average = graph.unary("GlobalAveragePool", features);
            graph.node("Concat", &[&max, &average], vec![int("axis", 1)])
        }
    };
    let mut x = graph.node("Flatten", &[&features], vec![int("axis", 1)]);
    let norm = |graph: &mut Graph<'_>, index: usize, x: Value| {
        if model.head_norm {
            batch_norm(graph, &format!("head.norms.{index}"), &x, NORM_EPSILON)
        } else {
            x
        }
    };
    x = norm(graph, 0, x);
    for index in 0..model.hidden.widths().len() {
        let hidden = linear(graph, &format!("head.hidden.{index}"), &x);
        let active = graph.unary("Relu", &hidden);
        x = norm(graph, index + 1, active);
    }
    linear(graph, "head.output", &x)
}

fn layers<'l>(
    graph: &mut Graph<'_>,
    layers: impl IntoIterator<Item = &'l Layer>,
    x: Value,
    shape: Shape,
) -> Value {
    let through = |(x, shape): (Value, Shape), layer: &Layer| {
        let output = layer.kind.output(shape);
        (
            self::layer(graph, layer, x, shape),
            output.expect("a checked configuration leaves features"),
        )
    };
    layers.into_iter().fold((x, shape), through).0
}

/// Computes a layer for input of the given shape. Dropout acts in training only.
fn layer(graph: &mut Graph<'_>, layer: &Layer, x: Value, shape: Shape) -> Value {
    let path = format!("backbone.{}", layer.name);
    match &layer.kind {
        Kind::Conv(shaped) => conv(graph, &path, &x, shaped, shape),
        Kind::BatchNorm { epsilon, .. } => batch_norm(graph, &path, &x, *epsilon),
        Kind::LayerNorm { epsilon } => layer_norm(graph, &path, &x, *epsilon),
        Kind::Scale => {
            let scale = channels_of(graph, &format!("{path}.scale"));
            graph.binary("Mul", &x, &scale)
        }
        Kind::Activation(function) => activation(graph, *function, &x),
        Kind::Pool(shaped) => pool(graph, &x, *shaped, shape),
        Kind::GlobalAverage => graph.unary("GlobalAveragePool", &x),
        Kind::Tokens { grid } => tokens(graph, &path, &x, *grid, shape),
        Kind::Attention { heads } => attention(graph, &x, *heads, shape),
        Kind::ClassToken => {
            let first = graph.integers(&[0]);
            graph.node("Gather", &[&x, &first], vec![int("axis", 2)])
        }
        Kind::Upsample => unreachable!("autoencoders aren't exported"),
        Kind::Branches(join, paths) => {
            let outputs: Vec<Value> = paths
                .iter()
                .map(|path| layers(graph, path, x.clone(), shape))
                .collect();
            joined(graph, *join, &outputs)
        }
        Kind::DropPath(_) | Kind::Dropout(_) => x,
    }
}

fn conv(graph: &mut Graph<'_>, path: &str, x: &Value, conv: &Conv, shape: Shape) -> Value {
    let weight = graph.weight(&format!("{path}.weight"));
    let bias = conv.bias.then(|| graph.weight(&format!("{path}.bias")));
    let padding = [0, 1].map(|axis| {
        let side = shape[axis + 1];
        conv.padding
            .of_side(axis, side, conv.kernel[axis], conv.stride)
    });
    let groups = match conv.groups {
        Groups::One => 1,
        Groups::Depthwise => conv.outputs,
    };
    let attributes = vec![
        ints("kernel_shape", &conv.kernel),
        ints("strides", &[conv.stride; 2]),
        ints("pads", &pads(padding)),
        int("group", groups as i64),
    ];
    let inputs: Vec<&Value> = [x, &weight].into_iter().chain(bias.as_ref()).collect();
    graph.node("Conv", &inputs, attributes)
}

fn pool(graph: &mut Graph<'_>, x: &Value, pool: Pool, shape: Shape) -> Value {
    let padding = [0, 1].map(|axis| {
        let side = shape[axis + 1];
        pool.padding.of_side(axis, side, pool.kernel, pool.stride)
    });
    let mut attributes = vec![
        ints("kernel_shape", &[pool.kernel; 2]),
        ints("strides", &[pool.stride; 2]),
        ints("pads", &pads(padding)),
        int("ceil_mode", pool.ceil.into()),
    ];
    let operator = match pool.kind {
        PoolKind::Max => "MaxPool",
        PoolKind::Average => {
            attributes.push(int("count_include_pad", 1));
            "AveragePool"
        }
        PoolKind::AverageInside => "AveragePool",
    };
    graph.node(operator, &[x], attributes)
}

/// Returns `[top, left, bottom, right]`.
fn pads([rows, columns]: [[usize; 2]; 2]) -> [usize; 4] {
    [rows[0], columns[0], rows[1], columns[1]]
}

fn batch_norm(graph: &mut Graph<'_>, path: &str, x: &Value, epsilon: f64) -> Value {
    let names = ["weight", "bias", "running_mean", "running_var"];
    let parameters = names.map(|name| graph.weight(&format!("{path}.{name}")));
    let inputs: Vec<&Value> = [x].into_iter().chain(&parameters).collect();
    graph.node(
        "BatchNormalization",
        &inputs,
        vec![float("epsilon", epsilon)],
    )
}

/// Normalizes the channels of each position; the operator for it came with a later opset.
fn layer_norm(graph: &mut Graph<'_>, path: &str, x: &Value, epsilon: f64) -> Value {
    let over_channels = || vec![ints("axes", &[1]), int("keepdims", 1)];
    let mean = graph.node("ReduceMean", &[x], over_channels());
    let centered = graph.binary("Sub", x, &mean);
    let squares = graph.binary("Mul", &centered, &centered);
    let variance = graph.node("ReduceMean", &[&squares], over_channels());
    let variance = graph.binary("Add", &variance, epsilon);
    let deviation = graph.unary("Sqrt", &variance);
    let normal = graph.binary("Div", &centered, &deviation);
    let [gain, bias] = ["weight", "bias"].map(|name| channels_of(graph, &format!("{path}.{name}")));
    let scaled = graph.binary("Mul", &normal, &gain);
    graph.binary("Add", &scaled, &bias)
}

/// Returns a weight for each channel as `[channels, 1, 1]`.
fn channels_of(graph: &mut Graph<'_>, name: &str) -> Value {
    let weight = graph.weight(name);
    let sides = graph.integers(&[1, 2]);
    graph.binary("Unsqueeze", &weight, &sides)
}

/// Puts a class token before the patches, which are `grid` rows and columns in the weights, and
/// adds the embeddings of their positions.
fn tokens(
    graph: &mut Graph<'_>,
    path: &str,
    patches: &Value,
    grid: [usize; 2],
    [channels, height, width]: Shape,
) -> Value {
    let of_file = |name: &str, count: usize| {
        let values = graph.values(&format!("{path}.{name}"));
        let values = TensorData::new(values, [1, count, channels]);
        Tensor::<3>::from_data(values, &Device::flex())
    };
    let class = of_file("cls_token", 1);
    let embeddings = of_file("pos_embed", 1 + grid[0] * grid[1]);
    let added = added(class, embeddings, grid, [height, width]).into_data();
    let added: Vec<f32> = added.try_to_vec().expect("computed in this process");
    let count = 1 + height * width;
    let column = graph.integers(&[0, channels as i64, -1, 1]);
    let patches = graph.binary("Reshape", patches, &column);
    let pads = graph.integers(&[0, 0, 1, 0, 0, 0, 0, 0]);
    let tokens = graph.binary("Pad", &patches, &pads);
    let added = graph.array(path, &[channels, count, 1], &added);
    graph.binary("Add", &tokens, &added)
}

/// Lets each position attend to all, for input of the queries, keys and values of all heads.
fn attention(
    graph: &mut Graph<'_>,
    x: &Value,
    heads: usize,
    [channels, height, width]: Shape,
) -> Value {
    let of_head = channels / 3 / heads;
    let apart = graph.integers(&[0, 3, heads as i64, of_head as i64, -1]);
    let parts = graph.binary("Reshape", x, &apart);
    let [queries, keys, values] = [0.0, 1.0, 2.0].map(|part| {
        let part = graph.number(part, DataType::Int64);
        graph.node("Gather", &[&parts, &part], vec![int("axis", 1)])
    });
    let turned = |graph: &mut Graph<'_>, x: &Value| {
        graph.node("Transpose", &[x], vec![ints("perm", &[0, 1, 3, 2])])
    };
    let queries = turned(graph, &queries);
    let products = graph.binary("MatMul", &queries, &keys);
    let products = graph.binary("Mul", &products, 1.0 / (of_head as f64).sqrt());
    let weights = graph.node("Softmax", &[&products], vec![int("axis", 3)]);
    let weights = turned(graph, &weights);
    let mean = graph.binary("MatMul", &values, &weights);
    let sides = [0, channels / 3, height, width].map(|side| side as i64);
    let sides = graph.integers(&sides);
    graph.binary("Reshape", &mean, &sides)
}

fn activation(graph: &mut Graph<'_>, function: Activation, x: &Value) -> Value {
    let sixth = || vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)];
    match function {
        Activation::Relu => graph.unary("Relu", x),
        Activation::Relu6 => graph.clip(x, 0.0, 6.0),
        Activation::LeakyRelu => graph.node("LeakyRelu", &[x], vec![float("alpha", 0.01)]),
        Activation::Elu => graph.node("Elu", &[x], vec![float("alpha", 1.0)]),
        Activation::Gelu => {
            let share = graph.binary("Div", x, std::f64::consts::SQRT_2);
            let share = graph.unary("Erf", &share);
            let share = graph.binary("Add", &share, 1.0);
            let product = graph.binary("Mul", x, &share);
            graph.binary("Mul", &product, 0.5)
        }
        Activation::Silu => {
            let share = graph.unary("Sigmoid", x);
            graph.binary("Mul", x, &share)
        }
        Activation::HardSwish => {
            let share = graph.node("HardSigmoid", &[x], sixth());
            graph.binary("Mul", x, &share)
        }
        Activation::HardSigmoid => graph.node("HardSigmoid", &[x], sixth()),
        Activation::Sigmoid => graph.unary("Sigmoid", x),
        Activation::Tanh => graph.unary("Tanh", x),
    }
}

fn joined(graph: &mut Graph<'_>, join: Join, outputs: &[Value]) -> Value {
    let operator = match join {
        Join::Concat => {
            let inputs: Vec<&Value> = outputs.iter().collect();
            return graph.node("Concat", &inputs, vec![int("axis", 1)]);
        }
        Join::Add => "Add",
        Join::Multiply => "Mul",
    };
    let reduced = outputs
        .iter()
        .cloned()
        .reduce(|a, b| graph.binary(operator, &a, &b));
    reduced.expect("a sum or product has paths")
}

fn linear(graph: &mut Graph<'_>, path: &str, x: &Value) -> Value {
    let [weight, bias] = ["weight", "bias"].map(|name| graph.weight(&format!("{path}.{name}")));
    graph.node("Gemm", &[x, &weight, &bias], vec![int("transB", 1)])
}
