//! Every network beside the original of torchvision, timm and Keras: weights by a formula under the
//! original's own names, the same images, equal features and gradients
//! (`scripts/reference/networks.py`).

use std::{collections::HashMap, path::Path};

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    find, identify, load,
    tests::{devices, golden},
};
use crate::{
    architecture::{Architecture, Dialect},
    config::{Hidden, Model, Pooling},
    nn::{
        infer::read,
        networks::{
            classifier::{Design, Output},
            empty, params,
        },
    },
};

use Dialect::{Keras, Timm, TimmTf, Torchvision};

/// The networks of each library that have stored features, whose layers they have, and their width.
const NETWORKS: [(&str, &str, Dialect, Option<f64>); 41] = [
    ("torchvision.resnet18", "resnet18", Torchvision, None),
    ("torchvision.resnet34", "resnet34", Torchvision, None),
    ("torchvision.resnet50", "resnet50", Torchvision, None),
    ("torchvision.resnet101", "resnet101", Torchvision, None),
    (
        "torchvision.mobilenet_v2",
        "mobilenet_v2",
        Torchvision,
        None,
    ),
    (
        "torchvision.mobilenet_v3_small",
        "mobilenet_v3_small",
        Torchvision,
        None,
    ),
    (
        "torchvision.mobilenet_v3_large",
        "mobilenet_v3_large",
        Torchvision,
        None,
    ),
    (
        "torchvision.efficientnet_b0",
        "efficientnet_b0",
        Torchvision,
        None,
    ),
    (
        "torchvision.efficientnet_b2",
        "efficientnet_b2",
        Torchvision,
        None,
    ),
    ("torchvision.densenet121", "densenet121", Torchvision, None),
    ("torchvision.vgg19", "vgg19", Torchvision, None),
    (
        "torchvision.convnext_tiny",
        "convnext_tiny",
        Torchvision,
        None,
    ),
    ("timm.mobilenetv1_100", "mobilenet_v1", Timm, None),
    ("timm.mobilenetv1_100_tf", "mobilenet_v1", TimmTf, None),
    ("timm.mobilenetv2_100", "mobilenet_v2", Timm, None),
    ("timm.mobilenetv2_100_tf", "mobilenet_v2", TimmTf, None),
    (
        "timm.mobilenetv2_035_tf",
        "mobilenet_v2",
        TimmTf,
        Some(0.35),
    ),
    (
        "timm.tf_efficientnet_lite0",
        "efficientnet_lite0",
        TimmTf,
        None,
    ),
    (
        "timm.tf_efficientnet_lite2",
        "efficientnet_lite2",
        TimmTf,
        None,
    ),
    ("timm.efficientnet_b0", "efficientnet_b0", Timm, None),
    ("timm.tf_efficientnet_b0", "efficientnet_b0", TimmTf, None),
    (
        "timm.mobilenetv3_small_100",
        "mobilenet_v3_small",
        Timm,
        None,
    ),
    (
        "timm.tf_mobilenetv3_large_100",
        "mobilenet_v3_large",
        TimmTf,
        None,
    ),
    ("timm.resnet18", "resnet18", Torchvision, None),
    ("timm.resnet50", "resnet50", Torchvision, None),
    ("timm.densenet121", "densenet121", Torchvision, None),
    ("timm.convnext_tiny", "convnext_tiny", Timm, None),
    ("keras.resnet50", "resnet50", Keras, None),
    ("keras.resnet101", "resnet101", Keras, None),
    ("keras.mobilenet", "mobilenet_v1", Keras, None),
    ("keras.mobilenetv2", "mobilenet_v2", Keras, None),
    ("keras.mobilenetv2_035", "mobilenet_v2", Keras, Some(0.35)),
    ("keras.mobilenetv3small", "mobilenet_v3_small", Keras, None),
    ("keras.mobilenetv3large", "mobilenet_v3_large", Keras, None),
    ("keras.efficientnetb0", "efficientnet_b0", Keras, None),
    ("keras.densenet121", "densenet121", Keras, None),
    ("keras.vgg19", "vgg19", Keras, None),
    ("keras.convnexttiny", "convnext_tiny", Keras, None),
    (
        "torchvision.inception_v3",
        "inception_v3",
        Torchvision,
        None,
    ),
    ("timm.inception_v3", "inception_v3", Torchvision, None),
    (
        "torchvision.densenet121_published",
        "densenet121",
        Torchvision,
        None,
    ),
];

/// A number from 0 to 1 by the formula of the script.
fn unit(name: &str, index: usize) -> f64 {
    let hash = name.bytes().fold(2_166_136_261u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    let mut x = hash.wrapping_add((index as u32).wrapping_mul(2_654_435_761));
    x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    f64::from(x ^ (x >> 16)) / 4_294_967_296.0
}

/// A tensor by the formula of the script, whose kind its name and shape tell.
fn values(name: &str, shape: &[usize], gain: f64) -> Vec<f32> {
    let plain = name.strip_suffix(":0").unwrap_or(name);
    let is_keras = name.contains('/');
    let ends = |endings: &[&str]| endings.iter().any(|ending| plain.ends_with(ending));
    let inputs = match *shape {
        [height, width, _, _]
            if is_keras
                && ["depthwise", "dwconv", "conv_dw"]
                    .iter()
                    .any(|part| plain.contains(part)) =>
        {
            height * width
        }
        [height, width, inputs, _] if is_keras => height * width * inputs,
        [_, ref rest @ ..] if shape.len() == 4 => rest.iter().product(),
        [inputs, outputs] => {
            if is_keras {
                inputs
            } else {
                outputs
            }
        }
        _ => 1,
    };
    let value = |u: f64| match shape.len() {
        _ if ends(&["num_batches_tracked"]) => 0.0,
        _ if ends(&["running_var", "moving_variance"]) => 0.5 + u,
        _ if ends(&["running_mean", "moving_mean"]) => (u - 0.5) * 0.4,
        4 => (u - 0.5) * 2.0 * (3.0 * gain / inputs as f64).sqrt(),
        2 => (u - 0.5) * 2.0 * (3.0 / inputs as f64).sqrt(),
        1 if is_layer_scale(plain, is_keras) => u - 0.5,
        1 if ends(&["weight", "gamma"]) => 0.5 + u,
        1 => (u - 0.5) * 0.2,
        _ => u - 0.5,
    };
    (0..shape.iter().product())
        .map(|index| value(unit(name, index)) as f32)
        .collect()
}

fn is_layer_scale(name: &str, is_keras: bool) -> bool {
    name.contains("layer_scale") || !is_keras && name.ends_with(".gamma")
}

/// Writes the weights under the original's names, as safetensors.
fn write(tensors: &[(String, Vec<usize>)], gain: f64, path: &Path) {
    let bytes = |(name, shape): &(String, Vec<usize>)| {
        values(name, shape, gain)
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let all: Vec<_> = tensors
        .iter()
        .map(|tensor| (&tensor.0, &tensor.1, bytes(tensor)))
        .collect();
    let views = all.iter().map(|(name, shape, bytes)| {
        (
            name.as_str(),
            TensorView::new(Dtype::F32, (*shape).clone(), bytes).expect("fits"),
        )
    });
    let file = safetensors::serialize(views, None::<HashMap<String, String>>).expect("written");
    crate::base::io::files::write_atomic(path, &file).expect("written");
}

fn floats(file: &SafeTensors<'_>, name: &str) -> Option<Vec<f32>> {
    let view = file.tensor(name).ok()?;
    Some(
        view.data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().expect("four")))
            .collect(),
    )
}

/// Largest difference of features, as a fraction of the largest feature.
const FEATURES: f32 = 1e-4;

/// Norm of the difference of gradients, as a fraction of the gradient's norm: at most for both
/// images together, and for the one that agrees better. In single precision a value may land on the
/// other side of a ReLU's bend than in the original's double precision, which moves the gradient of
/// that image by a hundredth: Keras's own MobileNetV2 in single precision is 1.1e-2 from itself in
/// double precision, by one image, in which a value lies 6e-7 from a bend. A wrong layer moves
/// both.
const GRADIENT: [f64; 2] = [2e-2, 2e-3];

fn assert_features(what: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let scale = expected
        .iter()
        .fold(0.0f32, |most, value| most.max(value.abs()));
    let worst = got
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(
        scale > 1e-3 && worst <= FEATURES * scale,
        "{what}: differs by {worst} where the largest is {scale}"
    );
}

fn assert_gradient(what: &str, got: &[f32], expected: &[f32]) {
    const IMAGES: usize = 2;
    assert_eq!(
        (got.len(), got.len() % IMAGES),
        (expected.len(), 0),
        "{what}"
    );
    let norm = |values: &[f32]| {
        values
            .iter()
            .map(|value| f64::from(*value).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    let differences: Vec<f32> = got.iter().zip(expected).map(|(a, b)| a - b).collect();
    let relative =
        |at: std::ops::Range<usize>| norm(&differences[at.clone()]) / norm(&expected[at]).max(1e-3);
    let (all, half) = (got.len(), got.len() / IMAGES);
    let found = [relative(0..all), relative(0..half).min(relative(half..all))];
    assert!(
        found
            .iter()
            .zip(GRADIENT)
            .all(|(found, most)| *found <= most),
        "{what}: differs by {found:?}, at most {GRADIENT:?}"
    );
}

/// Compares one network on one device.
fn compare(file: &str, architecture: &str, dialect: Dialect, width: Option<f64>, device: &Device) {
    // The published DenseNet has the same features under older names.
    let bytes = std::fs::read(golden(&format!(
        "networks/{}.safetensors",
        file.trim_end_matches("_published")
    )))
    .expect(file);
    let (_, header) = SafeTensors::read_metadata(&bytes).expect(file);
    let metadata = header.metadata().as_ref().expect("the script writes it");
    let mut tensors: Vec<(String, Vec<usize>)> =
        serde_json::from_str(&metadata["tensors"]).expect(file);
    let input: [usize; 4] = serde_json::from_str(&metadata["input"]).expect(file);
    let expected = SafeTensors::deserialize(&bytes).expect(file);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("weights.safetensors");
    write(&tensors, metadata["gain"].parse().expect(file), &path);
    if file.ends_with("_published") {
        rename_as_published(&mut tensors, &path);
    }
    let architecture = Architecture::find(architecture).expect("listed");
    let model = Model {
        architecture,
        dialect: Some(dialect),
        width,
        hidden: Hidden::One(0),
        pooling: Pooling::Average,
        ..Model::default()
    };
    let told = find(architecture, &model.network(3), None, &path).expect(file);
    assert!(
        told.dialect == Some(dialect) || dialect == TimmTf || dialect == Timm,
        "{file}: {told:?}"
    );
    let identified = identify(&path).expect(file);
    assert_eq!(
        (identified.architecture, identified.width),
        (architecture, width),
        "{file}"
    );
    let design = Design {
        model,
        input: [input[1], input[2], input[3]],
        num_classes: 2,
        output: Output::Softmax,
    };
    let (model, _) = load(empty(&design, device), &path).expect(file);
    let count = input.iter().product();
    let images: Vec<f32> = (0..count)
        .map(|index| ((unit("input", index) - 0.5) * 4.0) as f32)
        .collect();
    let images =
        |device: &Device| Tensor::<4>::from_data(TensorData::new(images.clone(), input), device);
    let features = model.forward_features(images(device));
    assert_features(
        &format!("{file} on {device:?}"),
        &read(features).expect("read"),
        &floats(&expected, "features").expect(file),
    );
    let Some(gradient) = floats(&expected, "input_gradient") else {
        return;
    };
    // With frozen norms, as the original in inference mode, and without dropout.
    let device = device.clone().autodiff();
    let (model, _) = load(empty(&design, &device), &path).expect(file);
    let x = images(&device).require_grad();
    let features = model.freeze().forward_features(x.clone());
    let shape = features.dims();
    let cotangent: Vec<f32> = (0..shape.iter().product())
        .map(|index| (unit("cotangent", index) - 0.5) as f32)
        .collect();
    let cotangent = Tensor::<4>::from_data(TensorData::new(cotangent, shape), &device);
    let gradients = (features * cotangent).sum().backward();
    let got = x.grad(&gradients).expect("the input's gradient");
    assert_gradient(
        &format!("{file}'s gradient on {device:?}"),
        &read(got).expect("read"),
        &gradient,
    );
}

/// The names of the file that torchvision publishes, `denselayer1.norm.1` for `denselayer1.norm1`.
fn rename_as_published(tensors: &mut [(String, Vec<usize>)], path: &Path) {
    let bytes = std::fs::read(path).expect("written above");
    let file = SafeTensors::deserialize(&bytes).expect("whole");
    let renamed = |name: &str| {
        let is_dense = name.contains("denselayer");
        let mut name = name.to_owned();
        for part in ["norm1", "norm2", "conv1", "conv2"]
            .into_iter()
            .filter(|_| is_dense)
        {
            name = name.replace(
                &format!(".{part}."),
                &format!(".{}.{}.", &part[..4], &part[4..]),
            );
        }
        name
    };
    let views: Vec<_> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| (renamed(&name), view))
        .collect();
    assert!(views.iter().any(|(name, _)| name.contains(".norm.1.")));
    let written = safetensors::serialize(views, None::<HashMap<String, String>>).expect("written");
    crate::base::io::files::write_atomic(path, &written).expect("written");
    tensors
        .iter_mut()
        .for_each(|(name, _)| *name = renamed(name));
}

/// On burn-flex all of them, on the other devices one of each kind of block.
#[test]
fn features_and_gradients_are_those_of_the_originals() {
    const EVERYWHERE: [&str; 5] = [
        "torchvision.resnet18",
        "torchvision.mobilenet_v3_small",
        "timm.tf_efficientnet_lite0",
        "keras.resnet50",
        "torchvision.densenet121",
    ];
    for (index, device) in devices().into_iter().enumerate() {
        for (file, architecture, dialect, width) in NETWORKS {
            if index == 0 || EVERYWHERE.contains(&file) {
                compare(file, architecture, dialect, width, &device);
            }
        }
    }
}

/// Keras's own `save_weights` numbers the layers of each kind in the network's order.
#[test]
fn layers_that_keras_only_numbers_are_found() {
    let device = Device::flex();
    for (file, architecture) in [
        ("keras.mobilenet", "mobilenet_v1"),
        ("keras.mobilenetv2", "mobilenet_v2"),
        ("keras.mobilenetv3small", "mobilenet_v3_small"),
        ("keras.efficientnetb0", "efficientnet_b0"),
        ("keras.densenet121", "densenet121"),
    ] {
        let bytes = std::fs::read(golden(&format!("networks/{file}.safetensors"))).expect(file);
        let (_, header) = SafeTensors::read_metadata(&bytes).expect(file);
        let metadata = header.metadata().as_ref().expect("the script writes it");
        let tensors: Vec<(String, Vec<usize>)> =
            serde_json::from_str(&metadata["tensors"]).expect(file);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [named, numbered] = ["named", "numbered"].map(|name| folder.path().join(name));
        write(&tensors, metadata["gain"].parse().expect(file), &named);
        renumber(&tensors, &named, &numbered);
        let architecture = Architecture::find(architecture).expect("listed");
        let model = Model {
            architecture,
            dialect: Some(Keras),
            hidden: Hidden::One(0),
            pooling: Pooling::Average,
            ..Model::default()
        };
        let design = Design {
            model,
            input: [3, 64, 64],
            num_classes: 2,
            output: Output::Softmax,
        };
        let [by_name, by_number] = [&named, &numbered].map(|path| {
            let (model, _) = load(empty(&design, &device), path)
                .unwrap_or_else(|error| panic!("{file}: {error}"));
            params::collect(&model)
                .into_iter()
                .map(|param| read(param.values).expect("read"))
                .collect::<Vec<_>>()
        });
        assert!(by_name == by_number, "{file}");
    }
}

/// Writes the tensors of `named` as `layers/conv2d_1/vars/0` and so on.
fn renumber(tensors: &[(String, Vec<usize>)], named: &Path, numbered: &Path) {
    let bytes = std::fs::read(named).expect("written above");
    let file = SafeTensors::deserialize(&bytes).expect("whole");
    let kind = |name: &str, shape: &[usize]| match name.rsplit('/').next().expect("a name") {
        "depthwise_kernel:0" => Some("depthwise_conv2d"),
        "kernel:0" if shape.len() == 4 => Some("conv2d"),
        "gamma:0" => Some("batch_normalization"),
        _ => None,
    };
    let (mut counts, mut group, mut part) = (HashMap::<&str, usize>::new(), String::new(), 0);
    let mut views = Vec::new();
    for (name, shape) in tensors
        .iter()
        .filter(|(name, _)| !name.starts_with("normalization/"))
    {
        if let Some(kind) = kind(name, shape) {
            let count = counts.entry(kind).or_default();
            (group, part) = (
                if *count == 0 {
                    kind.to_owned()
                } else {
                    format!("{kind}_{count}")
                },
                0,
            );
            *count += 1;
        }
        views.push((
            format!("layers/{group}/vars/{part}"),
            file.tensor(name).expect("written above"),
        ));
        part += 1;
    }
    let written = safetensors::serialize(views, None::<HashMap<String, String>>).expect("written");
    crate::base::io::files::write_atomic(numbered, &written).expect("written");
}
