//! Compares weights of torchvision and Keras with the features that the originals compute from the
//! same images.

use std::{collections::BTreeMap, fs};

use burn::tensor::{Device, Tensor, TensorData};
use pixel_sampling::Image;
use safetensors::SafeTensors;

use super::{formula::write_tensors, *};
use crate::{
    architecture::{Architecture, Dialect, vgg},
    config::{Color, DeviceName, Hidden, Model, Normalize, Pooling},
    data::{batches::normalize::Normalizer, set_of},
    nn::{
        infer::read,
        networks::{
            backbone::Backbone,
            classifier::{Design, Output},
            head::Head,
        },
    },
};

pub(super) const TORCHVISION: Origin = Origin::Library(Dialect::Torchvision);
pub(super) const KERAS: Origin = Origin::Library(Dialect::Keras);
const NARROW: [&[usize]; 5] = [&[4, 6], &[6, 8], &[8, 8, 8], &[8, 10, 8], &[8, 8, 12]];
pub(crate) const SIZE: [usize; 2] = [44, 70];

pub(crate) fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// Returns the images of `scripts/reference/backbones.py`, `[height, width, channels]` bytes each.
fn images(count: usize, [height, width]: [usize; 2]) -> Vec<Vec<u8>> {
    let level = |index: usize| {
        let number = (index + 1) as u64;
        ((number.wrapping_mul(number).wrapping_mul(2_654_435_761) % (1 << 32)) >> 24) as u8
    };
    let image = |image: usize| {
        let value = |place: usize| level((image * 3 + place % 3) * height * width + place / 3);
        (0..height * width * 3).map(value).collect()
    };
    (0..count).map(image).collect()
}

/// Returns the images as the network's input.
pub(crate) fn input(
    normalize: &Normalize,
    count: usize,
    size: [usize; 2],
    device: &Device,
) -> Tensor<4> {
    let images = images(count, size);
    let shape = [size[0], size[1], 3];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let normalizer = Normalizer::fit(
        normalize,
        Color::Rgb,
        &set_of(folder.path(), &images, shape),
    )
    .expect("fitted");
    let mut values = Vec::new();
    images
        .iter()
        .for_each(|image| normalizer.write(Image::new(image, shape).expect("fits"), &mut values));
    Tensor::from_data(
        TensorData::new(values, [count, 3, size[0], size[1]]),
        device,
    )
}

/// Returns a VGG with few channels and torchvision's classifier as its head.
pub(super) fn narrow(batch_norm: bool, device: &Device) -> Classifier {
    let settings = Model {
        hidden: Hidden::Many(vec![10, 9]),
        ..Model::default()
    };
    let backbone = Backbone::new(vgg(3, &NARROW, batch_norm), device);
    Classifier::of(backbone, Head::new(&settings, [12, 1, 2], 5, device))
}

/// The backends that compute on the CPU, the reference first.
#[expect(
    deprecated,
    reason = "burn-ndarray: Burn 0.23 removes it; until then it is part of what this program \
              promises"
)]
pub(crate) fn cpu_devices() -> [Device; 2] {
    [Device::flex(), Device::ndarray()]
}

/// The first GPU or software driver, for tests that are ignored because they need one.
pub(crate) fn gpu_device() -> Device {
    crate::nn::device::open(DeviceName::Gpu(None))
        .expect("a GPU or a software Vulkan driver")
        .device
}

#[track_caller]
fn assert_close(what: &str, got: Tensor<4>, expected: &[u8]) {
    let got = read(got).expect("read");
    let expected: Vec<f32> = expected
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().expect("four")))
        .collect();
    assert_eq!(got.len(), expected.len(), "{what}");
    let scale = expected
        .iter()
        .fold(0.0f32, |most, value| most.max(value.abs()));
    let worst = got
        .iter()
        .zip(&expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(
        worst <= 1e-4 * scale,
        "{what}: differs by {worst} where the largest is {scale}"
    );
}

#[test]
fn features_and_logits_are_torchvisions_and_kerass_from_every_format() {
    for device in cpu_devices() {
        compare_narrow_networks(&device);
    }
}

#[test]
#[ignore = "needs a GPU or a software Vulkan driver"]
fn features_and_logits_on_a_gpu_are_torchvisions_and_kerass() {
    compare_narrow_networks(&gpu_device());
}

fn compare_narrow_networks(device: &Device) {
    let bytes = fs::read(golden("backbones.safetensors")).expect("there");
    let expected = SafeTensors::deserialize(&bytes).expect("whole");
    let expected = |name: &str| expected.tensor(name).expect(name).data().to_vec();
    for (file, batch_norm, origin, name) in [
        ("vgg.pth", false, TORCHVISION, "vgg"),
        ("vgg_nested.pth", false, TORCHVISION, "vgg"),
        ("vgg_bn.pth", true, TORCHVISION, "vgg_bn"),
        ("vgg_keras.h5", false, KERAS, "keras"),
        ("vgg_keras.weights.h5", false, KERAS, "keras"),
        ("vgg_keras_published.h5", false, KERAS, "keras"),
    ] {
        let (model, found) = load(narrow(batch_norm, device), &golden(file)).expect(file);
        assert_eq!(found, origin, "{file}");
        let normalize = if origin == TORCHVISION {
            Normalize::Imagenet
        } else {
            Normalize::Caffe
        };
        let images = input(&normalize, 2, SIZE, device);
        assert_close(
            file,
            model.forward_features(images.clone()),
            &expected(&format!("{name}.features")),
        );
        if origin == TORCHVISION {
            let logits = with_classifier(model, &golden(file)).forward(images);
            let [count, classes] = logits.dims();
            assert_close(
                file,
                logits.reshape([count, classes, 1, 1]),
                &expected(&format!("{name}.logits")),
            );
        }
    }
}

/// Loads torchvision's three dense layers into the head.
fn with_classifier(model: Classifier, path: &Path) -> Classifier {
    let file = files::open(path).expect("whole");
    let prefix = file
        .keys()
        .find_map(|name| name.strip_suffix("features.0.weight"))
        .expect("torchvision's names");
    let mut values = BTreeMap::new();
    for (layer, position) in [("hidden.0", 0), ("hidden.1", 3), ("output", 6)] {
        let read = |part: &str| {
            let entry = &file[&format!("{prefix}classifier.{position}.{part}")];
            (entry.read().expect("read"), entry.shape.clone())
        };
        let ((weight, shape), (bias, _)) = (read("weight"), read("bias"));
        let [outputs, inputs] = shape[..] else {
            panic!("{shape:?}")
        };
        let turned = (0..weight.len())
            .map(|index| weight[index % outputs * inputs + index / outputs])
            .collect();
        values.insert(
            format!("head.{layer}.weight"),
            flat(turned, &Device::flex()),
        );
        values.insert(format!("head.{layer}.bias"), flat(bias, &Device::flex()));
    }
    let device = params::collect(&model)[0].values.device();
    params::replace(
        model,
        values
            .into_iter()
            .map(|(path, values)| (path, Tensor::from_data(values.into_data(), &device)))
            .collect(),
    )
}

/// Returns [`narrow`] with the weights of a torchvision file.
pub(crate) fn narrow_with_classifier(file: &str, batch_norm: bool, device: &Device) -> Classifier {
    with_classifier(
        load(narrow(batch_norm, device), &golden(file))
            .expect(file)
            .0,
        &golden(file),
    )
}

#[test]
fn squeezenet_is_torchvisions() {
    let device = Device::flex();
    let bytes = fs::read(golden("backbones.safetensors")).expect("there");
    let expected = SafeTensors::deserialize(&bytes).expect("whole");
    let model = Model {
        architecture: Architecture::find("squeezenet1_1").expect("listed"),
        ..Model::default()
    };
    let size = [67, 90];
    let empty = crate::nn::networks::empty(
        &Design {
            model,
            input: [3, size[0], size[1]],
            num_classes: 2,
            output: Output::Softmax,
        },
        &device,
    );
    // Weights by the script's formula, written under torchvision's names and read as any file.
    let mut shapes = BTreeMap::new();
    for (layer, inputs) in empty.network().modules() {
        let name = layer
            .foreign_names
            .torchvision
            .as_deref()
            .and_then(|name| name.strip_prefix("features."))
            .expect("all have names");
        shapes.extend(
            wanted::parts(layer, inputs)
                .into_iter()
                .map(|(part, shape)| (format!("{name}.{}", part.torch), shape)),
        );
    }
    let tensors: Vec<_> = shapes
        .into_iter()
        .enumerate()
        .map(|(index, (name, shape))| {
            let bytes = formula(index, &shape);
            (format!("features.{name}"), shape, bytes)
        })
        .collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("weights");
    write_tensors(&tensors, &path);
    let (model, _) = load(empty, &path).expect("loaded");
    let images = input(&Normalize::Imagenet, 2, size, &device);
    assert_close(
        "squeezenet",
        model.forward_features(images),
        expected
            .tensor("squeezenet.features")
            .expect("there")
            .data(),
    );
}

fn formula(index: usize, shape: &[usize]) -> Vec<u8> {
    let inputs: usize = shape.iter().skip(1).product();
    let scale = if shape.len() == 4 {
        (24.0 / inputs as f64).sqrt()
    } else {
        0.1
    };
    let value = |place: usize| {
        let number = (place + 1 + index * 1000) as u64;
        let unit = (number.wrapping_mul(number).wrapping_mul(2_654_435_761) % (1 << 32)) as f64
            / 4_294_967_296.0
            - 0.5;
        ((unit * scale) as f32).to_le_bytes()
    };
    (0..shape.iter().product()).flat_map(value).collect()
}

#[test]
#[ignore = "needs scripts/full-width, which makes two gigabytes of files for it"]
fn full_width_networks_are_torchvisions_and_kerass() {
    for device in cpu_devices() {
        let head = (Hidden::Many(vec![4096, 4096]), Pooling::Flatten);
        compare_full_width_networks(&device, head);
    }
}

/// Without torchvision's head, whose first dense layer is larger than a buffer of some GPUs.
#[test]
#[ignore = "needs a GPU and scripts/full-width, which makes two gigabytes of files for it"]
fn full_width_networks_on_a_gpu_are_torchvisions_and_kerass() {
    compare_full_width_networks(&gpu_device(), (Hidden::One(0), Pooling::Average));
}

/// Compares networks with the files in `EMBERLENS_BACKBONES`: their features, and their logits
/// where the head is torchvision's.
fn compare_full_width_networks(device: &Device, (hidden, pooling): (Hidden, Pooling)) {
    let folder = std::path::PathBuf::from(
        std::env::var_os("EMBERLENS_BACKBONES").expect("the folder of the files"),
    );
    let bytes = fs::read(folder.join("full.safetensors")).expect("there");
    let expected = SafeTensors::deserialize(&bytes).expect("whole");
    let expected = |name: &str| expected.tensor(name).expect(name).data().to_vec();
    for (file, architecture, name) in [
        ("vgg16.pth", "vgg16", "vgg16"),
        ("vgg16_bn.pth", "vgg16_bn", "vgg16_bn"),
        ("vgg16_top.h5", "vgg16", "keras"),
    ] {
        let architecture = Architecture::find(architecture).expect("listed");
        let model = Model {
            architecture,
            hidden: hidden.clone(),
            pooling,
            ..Model::default()
        };
        let design = Design {
            model,
            input: [3, 224, 224],
            num_classes: 1000,
            output: Output::Softmax,
        };
        let empty = crate::nn::networks::empty(&design, device);
        let (model, origin) = load(empty, &folder.join(file)).expect(file);
        let normalize = if origin == TORCHVISION {
            Normalize::Imagenet
        } else {
            Normalize::Caffe
        };
        let images = input(&normalize, 2, [224, 224], device);
        assert_close(
            file,
            model.forward_features(images.clone()),
            &expected(&format!("{name}.features")),
        );
        if pooling == Pooling::Flatten && origin == TORCHVISION {
            let logits = with_classifier(model, &folder.join(file)).forward(images);
            assert_close(
                file,
                logits.reshape([2, 1000, 1, 1]),
                &expected(&format!("{name}.logits")),
            );
        }
    }
}
