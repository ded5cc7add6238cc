//! Weights in every format that is read, beside what torchvision and Keras make of the same images;
//! and files that mean harm.

use std::{collections::BTreeMap, fs};

use burn::tensor::{Device, Tensor, TensorData};
use pixel_sampling::Image;
use safetensors::SafeTensors;

use super::*;
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

const NARROW: [&[usize]; 5] = [&[4, 6], &[6, 8], &[8, 8, 8], &[8, 10, 8], &[8, 8, 12]];
pub(crate) const SIZE: [usize; 2] = [44, 70];

pub(crate) fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// The images of `scripts/reference/backbones.py`, `[height, width, channels]` bytes each.
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

/// The images as the network sees them.
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

/// VGG with few channels and torchvision's classifier for a head.
fn narrow(batch_norm: bool, device: &Device) -> Classifier {
    let settings = Model {
        hidden: Hidden::Many(vec![10, 9]),
        ..Model::default()
    };
    let backbone = Backbone::new(vgg(3, &NARROW, batch_norm), device);
    Classifier::of(backbone, Head::new(&settings, [12, 1, 2], 5, device))
}

/// The CPU's, and a GPU where there is one; `EMBERLENS_TEST_GPU=1` makes a missing one a failure.
#[expect(
    deprecated,
    reason = "burn-ndarray: Burn 0.23 removes it; until then it is part of what this program \
              promises"
)]
pub(crate) fn devices() -> Vec<Device> {
    let mut devices = vec![Device::flex(), Device::ndarray()];
    match crate::nn::device::open(DeviceName::Gpu(None)) {
        Ok(compute) => devices.push(compute.device),
        Err(error) => assert!(std::env::var_os("EMBERLENS_TEST_GPU").is_none(), "{error}"),
    }
    devices
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
    let bytes = fs::read(golden("backbones.safetensors")).expect("there");
    let expected = SafeTensors::deserialize(&bytes).expect("whole");
    let expected = |name: &str| expected.tensor(name).expect(name).data().to_vec();
    for device in devices() {
        for (file, batch_norm, origin, name) in [
            (
                "vgg.pth",
                false,
                Origin::Library(Dialect::Torchvision),
                "vgg",
            ),
            (
                "vgg_nested.pth",
                false,
                Origin::Library(Dialect::Torchvision),
                "vgg",
            ),
            (
                "vgg_bn.pth",
                true,
                Origin::Library(Dialect::Torchvision),
                "vgg_bn",
            ),
            (
                "vgg_keras.h5",
                false,
                Origin::Library(Dialect::Keras),
                "keras",
            ),
            (
                "vgg_keras.weights.h5",
                false,
                Origin::Library(Dialect::Keras),
                "keras",
            ),
            (
                "vgg_keras_published.h5",
                false,
                Origin::Library(Dialect::Keras),
                "keras",
            ),
        ] {
            let (model, found) = load(narrow(batch_norm, &device), &golden(file)).expect(file);
            assert_eq!(found, origin, "{file}");
            let normalize = if origin == Origin::Library(Dialect::Torchvision) {
                Normalize::Imagenet
            } else {
                Normalize::Caffe
            };
            let images = input(&normalize, 2, SIZE, &device);
            assert_close(
                file,
                model.forward_features(images.clone()),
                &expected(&format!("{name}.features")),
            );
            if origin == Origin::Library(Dialect::Torchvision) {
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
}

#[test]
fn a_keras_archive_has_the_weights_of_the_file_in_it_and_a_folder_says_what_to_do() {
    let device = Device::flex();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let inner = fs::read(golden("vgg_keras.weights.h5")).expect("there");
    let features = |path: &Path| {
        let (model, origin) =
            load(narrow(false, &device), path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(origin, Origin::Library(Dialect::Keras));
        read(model.forward_features(input(&Normalize::Caffe, 2, SIZE, &device))).expect("read")
    };
    let expected = features(&golden("vgg_keras.weights.h5"));
    for is_deflated in [false, true] {
        let path = folder.path().join("model.keras");
        crate::base::io::files::write_atomic(
            &path,
            &archive::tests::archive("model.weights.h5", &inner, is_deflated),
        )
        .expect("written");
        assert_eq!(features(&path), expected);
    }
    let error = load(narrow(false, &device), folder.path())
        .expect_err("a folder")
        .to_string();
    assert!(
        error.contains("found a folder") && error.contains("model.save_weights"),
        "{error}"
    );
    crate::base::io::files::write_atomic(&folder.path().join("saved_model.pb"), b"\x08\x01")
        .expect("written");
    for path in [
        folder.path().to_owned(),
        folder.path().join("saved_model.pb"),
    ] {
        let error = load(narrow(false, &device), &path)
            .expect_err("a SavedModel")
            .to_string();
        assert!(
            error.contains("found a SavedModel") && error.contains("model.save_weights"),
            "{error}"
        );
    }
}

/// torchvision's three dense layers in the head.
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

/// [`narrow`] with the weights of a file of torchvision's.
pub(crate) fn narrow_with_classifier(file: &str, batch_norm: bool, device: &Device) -> Classifier {
    with_classifier(
        load(narrow(batch_norm, device), &golden(file))
            .expect(file)
            .0,
        &golden(file),
    )
}

#[test]
fn timms_names_are_read_and_its_head_is_left() {
    let device = Device::flex();
    let of_timm = |name: &str| {
        let (layer, part) = name.rsplit_once('.').expect("a layer");
        let layer = match layer {
            "classifier.0" => "pre_logits.fc1",
            "classifier.3" => "pre_logits.fc2",
            "classifier.6" => "head.fc",
            other => other,
        };
        format!("{layer}.{part}")
    };
    let tensors: Vec<_> = files::open(&golden("vgg.pth"))
        .expect("whole")
        .into_iter()
        .map(|(name, entry)| {
            let bytes: Vec<u8> = entry
                .read()
                .expect("read")
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            (of_timm(&name), entry.shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (
            name.as_str(),
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes)
                .expect("fits"),
        )
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    let file = safetensors::serialize(views, None::<std::collections::HashMap<String, String>>)
        .expect("written");
    crate::base::io::files::write_atomic(&path, &file).expect("written");
    let values = |path: &Path| {
        let (model, origin) = load(narrow(false, &device), path).expect("loaded");
        assert_eq!(origin, Origin::Library(Dialect::Torchvision));
        params::collect(&model)
            .into_iter()
            .map(|param| read(param.values).expect("read"))
            .collect::<Vec<_>>()
    };
    assert_eq!(values(&path), values(&golden("vgg.pth")));
}

#[test]
fn half_precision_and_names_without_features_are_read() {
    let device = Device::flex();
    let values =
        |file: &str| params::collect(&load(narrow(false, &device), &golden(file)).expect(file).0);
    for (whole, half) in values("vgg.pth")
        .into_iter()
        .zip(values("vgg_bare_f16.safetensors"))
    {
        let difference = (whole.values.clone() - half.values)
            .abs()
            .max()
            .into_scalar::<f32>();
        assert!(
            difference <= 2e-3 * whole.values.abs().max().into_scalar::<f32>(),
            "{}: {difference}",
            whole.path
        );
    }
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
            .elsewhere
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
        .map(|(index, (name, shape))| (name, formula(index, &shape), shape))
        .collect();
    let views = tensors.iter().map(|(name, bytes, shape)| {
        (
            format!("features.{name}"),
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes)
                .expect("fits"),
        )
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("weights");
    let file = safetensors::serialize(views, None::<std::collections::HashMap<String, String>>)
        .expect("written");
    crate::base::io::files::write_atomic(&path, &file).expect("written");
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
fn weights_of_another_network_are_refused_with_every_fault() {
    let device = Device::flex();
    let error = load(narrow(true, &device), &golden("vgg.pth"))
        .expect_err("no norm")
        .to_string();
    for expected in [
        "features.1.weight [4] is missing",
        "features.2.weight is superfluous",
        "features.26.bias is superfluous",
        "vgg.pth",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let wider = Classifier::of(
        Backbone::new(
            vgg(
                3,
                &[&[4, 6], &[6, 8], &[8, 8, 8], &[8, 10, 8], &[8, 8, 14]],
                false,
            ),
            &device,
        ),
        Head::new(&Model::default(), [14, 1, 2], 5, &device),
    );
    for (file, expected) in [
        (
            "vgg.pth",
            "features.28.weight has the shape [12, 8, 3, 3], expected [14, 8, 3, 3]",
        ),
        (
            "vgg_keras.h5",
            "block5_conv3/kernel has the shape [3, 3, 8, 12], expected [3, 3, 8, 14]",
        ),
    ] {
        let error = load(wider.clone(), &golden(file))
            .expect_err(file)
            .to_string();
        assert!(
            error.contains(expected) && error.matches(';').count() == 1,
            "{error}"
        );
    }
    let error = load(narrow(false, &device), &golden("backbones.safetensors"))
        .expect_err("no weights")
        .to_string();
    assert!(
        error.contains("found 6 tensors named like keras.features")
            || error.contains("tensors named like"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_cut_off_changed_or_means_harm_is_an_error_and_runs_nothing() {
    let device = Device::flex();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("weights");
    let attempt = |bytes: &[u8]| {
        crate::base::io::files::write_atomic(&path, bytes).expect("written");
        load(narrow(false, &device), &path)
    };
    for file in [
        "vgg.pth",
        "vgg_nested.pth",
        "vgg_bare_f16.safetensors",
        "vgg_keras.h5",
        "vgg_keras_published.h5",
    ] {
        let whole = fs::read(golden(file)).expect("there");
        for cut in 0..40 {
            let length = whole.len() * cut / 40;
            let error = attempt(&whole[..length]).expect_err(file).to_string();
            assert!(error.contains("weights"), "{file}, {length} bytes: {error}");
        }
        // Any byte changed: an error or other weights, never a panic.
        for change in 0..400usize {
            let mut bytes = whole.clone();
            let at = if change % 2 == 0 {
                change * 4
            } else {
                change * change * 7919
            } % bytes.len();
            bytes[at] ^= 1 << (change % 8);
            let _ = attempt(&bytes);
        }
    }
    let marker = folder.path().join("was_here");
    let code = format!("cos\nsystem\n(S'touch {}'\ntR.", marker.display());
    let huge_header = [&(1u64 << 60).to_le_bytes()[..], b"{}"].concat();
    let huge_tensor = b"{\"features.0.weight\":{\"dtype\":\"F32\",\
        \"shape\":[1099511627776],\"data_offsets\":[0,4398046511104]}}";
    let huge_tensor = [&(huge_tensor.len() as u64).to_le_bytes()[..], huge_tensor].concat();
    for (bytes, what) in [
        (code.as_bytes(), "a pickle that calls the system"),
        (&huge_header, "a header longer than the file"),
        (&huge_tensor, "a tensor longer than the file"),
        (b"".as_slice(), "nothing"),
        (b"\x89HDF\r\n\x1a\n".as_slice(), "a magic number alone"),
        (b"PK\x03\x04 and nothing more".as_slice(), "no archive"),
    ] {
        let error = attempt(bytes).expect_err(what).to_string();
        assert!(
            error.contains(&path.display().to_string()),
            "{what}: {error}"
        );
    }
    assert!(!marker.exists(), "the pickle's code ran");
}

/// `python scripts/reference/backbones.py --full DIR`, then `EMBERLENS_BACKBONES=DIR cargo test
/// --release full_width -- --ignored`.
#[test]
#[ignore = "needs two gigabytes of files that scripts/reference/backbones.py makes"]
fn full_width_networks_are_torchvisions_and_kerass() {
    let folder = std::path::PathBuf::from(
        std::env::var_os("EMBERLENS_BACKBONES").expect("the folder of the files"),
    );
    let bytes = fs::read(folder.join("full.safetensors")).expect("there");
    let expected = SafeTensors::deserialize(&bytes).expect("whole");
    let expected = |name: &str| expected.tensor(name).expect(name).data().to_vec();
    for (index, device) in devices().into_iter().enumerate() {
        // torchvision's first dense layer is larger than a buffer of some GPUs.
        let has_logits = index < 2;
        let (hidden, pooling) = if has_logits {
            (Hidden::Many(vec![4096, 4096]), Pooling::Flatten)
        } else {
            (Hidden::One(0), Pooling::Average)
        };
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
            let (model, origin) = load(
                crate::nn::networks::empty(&design, &device),
                &folder.join(file),
            )
            .expect(file);
            let normalize = if origin == Origin::Library(Dialect::Torchvision) {
                Normalize::Imagenet
            } else {
                Normalize::Caffe
            };
            let images = input(&normalize, 2, [224, 224], &device);
            assert_close(
                file,
                model.forward_features(images.clone()),
                &expected(&format!("{name}.features")),
            );
            if has_logits && origin == Origin::Library(Dialect::Torchvision) {
                let logits = with_classifier(model, &folder.join(file)).forward(images);
                assert_close(
                    file,
                    logits.reshape([2, 1000, 1, 1]),
                    &expected(&format!("{name}.logits")),
                );
            }
        }
    }
}
