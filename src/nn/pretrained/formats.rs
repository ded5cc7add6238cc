//! Tests weights in every format and under every library's names, and files that belong to another
//! network, are damaged or malicious.

use std::fs;

use burn::tensor::Device;

use super::{
    formula::write_tensors,
    tests::{KERAS, SIZE, TORCHVISION, golden, input, narrow},
    *,
};
use crate::{
    architecture::vgg,
    base::io::files::write_atomic,
    config::{Model, Normalize},
    nn::{
        infer::read,
        networks::{backbone::Backbone, head::Head},
    },
};

#[test]
fn a_keras_archive_has_the_weights_of_the_file_in_it_and_a_folder_says_what_to_do() {
    let device = Device::flex();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let inner = fs::read(golden("vgg_keras.weights.h5")).expect("there");
    let features = |path: &Path| {
        let (model, origin) =
            load(narrow(false, &device), path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(origin, KERAS);
        read(model.forward_features(input(&Normalize::Caffe, 2, SIZE, &device))).expect("read")
    };
    let expected = features(&golden("vgg_keras.weights.h5"));
    for is_deflated in [false, true] {
        let path = folder.path().join("model.keras");
        write_atomic(
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
    write_atomic(&folder.path().join("saved_model.pb"), b"\x08\x01").expect("written");
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
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    write_tensors(&tensors, &path);
    let values = |path: &Path| {
        let (model, origin) = load(narrow(false, &device), path).expect("loaded");
        assert_eq!(origin, TORCHVISION);
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
        write_atomic(&path, bytes).expect("written");
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
