//! What is written, read back: operators, weights, names and metadata for a table of runs.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;

use super::*;
use crate::{
    architecture::{Architecture, Kind},
    config::{Color, Hidden, Interpolation, Loss, Pooling, Resize, Weights},
    data::{Whitening, batches::normalize::Normalizer},
    metrics::{Coverage, Threshold},
    nn::networks::{build as network_of, classifier::Design},
};

const UNIT: Normalizer = Normalizer {
    rescale: 1.0 / 255.0,
    samplewise_center: false,
    samplewise_std: false,
    mean: Vec::new(),
    std: Vec::new(),
    blue_first: false,
    whitening: None,
};

/// The metadata of a small network of three classes for color images.
pub(in crate::export) fn meta() -> Meta {
    let model = crate::config::Model {
        channels: Some(vec![4]),
        hidden: Hidden::One(0),
        weights: Some(Weights::None),
        ..crate::config::Model::default()
    };
    Meta {
        format: Meta::format(),
        emberlens: "0.0.0".to_owned(),
        name: "small".to_owned(),
        classes: ["a", "b's \"best\"\n", "ç\\"].map(str::to_owned).to_vec(),
        image_size: [8, 9],
        color: Color::Rgb,
        resize: Resize::Stretch,
        interpolation: Interpolation::Bilinear,
        repair: false,
        normalize: Normalizer {
            mean: vec![0.0; 3],
            std: vec![1.0; 3],
            ..UNIT
        },
        design: Design {
            model,
            input: [3, 8, 9],
            num_classes: 3,
            output: Output::Softmax,
        },
        loss: Loss::CrossEntropy,
        focal_gamma: 2.0,
        epoch: 3,
        metrics: BTreeMap::new(),
        temperature: 1.0,
        threshold: None,
        coverage: None,
        novelty: None,
        reconstruction: None,
        frozen: None,
        run: None,
        files: BTreeMap::new(),
    }
}

/// What is written for this metadata and a network drawn for it, read back.
fn exported(meta: Meta, form: Preprocess, half: bool) -> Model {
    exported_together(&[(meta, 1)], form, half)
}

/// What is written for several networks, each given by its metadata and the seed of its weights.
pub(super) fn exported_together(networks: &[(Meta, u64)], form: Preprocess, half: bool) -> Model {
    let network = |(meta, seed): &(Meta, u64)| {
        let checkpoint = Checkpoint {
            meta: meta.clone(),
            model: vec![1, 2, 3],
            backbone: None,
        };
        (checkpoint, network_of(&meta.design, *seed, &Device::flex()))
    };
    let (checkpoints, models): (Vec<_>, Vec<_>) = networks.iter().map(network).unzip();
    let bytes = onnx(&checkpoints, &models, form, half).expect("written");
    let model = Model::decode(&bytes[..]).expect("read back");
    check(graph_of(&model));
    model
}

pub(super) fn graph_of(model: &Model) -> &proto::Graph {
    model.graph.as_ref().expect("a graph")
}

pub(super) fn operators(model: &Model) -> Vec<&str> {
    let nodes = graph_of(model).node.iter();
    nodes.map(|node| node.op_type.as_str()).collect()
}

/// Every value is made once, and before it is used; every constant is used.
fn check(graph: &proto::Graph) {
    let names = |values: &[proto::ValueInfo]| -> Vec<String> {
        values.iter().map(|value| value.name.clone()).collect()
    };
    let mut known: BTreeSet<String> = names(&graph.input).into_iter().collect();
    let constants: BTreeSet<_> = graph.initializer.iter().map(|it| it.name.clone()).collect();
    assert_eq!(
        constants.len(),
        graph.initializer.len(),
        "names are used once"
    );
    known.extend(constants.iter().cloned());
    let mut used = BTreeSet::new();
    check_nodes(&graph.node, &mut known, &mut used);
    used.extend(names(&graph.output));
    let nodes = graph.node.iter();
    assert!(
        nodes
            .flat_map(|node| &node.output)
            .all(|output| used.contains(output))
    );
    assert!(
        constants.is_subset(&used),
        "{:?}",
        constants.difference(&used)
    );
    assert_eq!(names(&graph.output), ["probabilities", "logits"]);
    assert!(names(&graph.output).iter().all(|name| known.contains(name)));
}

fn check_nodes(nodes: &[proto::Node], known: &mut BTreeSet<String>, used: &mut BTreeSet<String>) {
    for node in nodes {
        for input in &node.input {
            assert!(known.contains(input), "{input} of {}", node.name);
            used.insert(input.clone());
        }
        for branch in node
            .attribute
            .iter()
            .filter_map(|attribute| attribute.g.as_ref())
        {
            let mut inner = known.clone();
            check_nodes(&branch.node, &mut inner, used);
            assert!(inner.contains(&branch.output[0].name));
        }
        for output in &node.output {
            assert!(known.insert(output.clone()), "{output} is made twice");
        }
    }
}

#[test]
fn every_architecture_is_exported_with_each_of_its_layers_and_weights() {
    for architecture in Architecture::all().filter(|found| !found.is_autoencoder()) {
        let layers = "[[layers]]\nconv = 4\nbatch_norm = true\n[[layers]]\nmax_pool = 2\n";
        let mut meta = meta();
        let size = match architecture.name() {
            "inception_v3" => [80, 83],
            "dinov2_s" => [42, 56],
            _ => [40, 43],
        };
        meta.design.input = [3, size[0], size[1]];
        meta.design.model.architecture = architecture;
        meta.design.model.pooling = Pooling::Average;
        if architecture.is_list() {
            let listed: crate::config::Model = toml::from_str(layers).expect("layers");
            meta.design.model.layers = listed.layers;
        }
        let network = meta.design.model.network(3);
        let model = exported(meta, Preprocess::None, false);
        let of_kind = |is_it: fn(&Kind) -> bool| {
            let modules = network.modules().into_iter();
            modules.filter(|(layer, _)| is_it(&layer.kind)).count()
        };
        let operators = operators(&model);
        let num = |name: &str| operators.iter().filter(|found| **found == name).count();
        let name = architecture.name();
        assert_eq!(
            num("Conv"),
            of_kind(|kind| matches!(kind, Kind::Conv(_))),
            "{name}"
        );
        let norms = of_kind(|kind| matches!(kind, Kind::BatchNorm { .. }));
        assert_eq!(num("BatchNormalization"), norms, "{name}");
        let norms = of_kind(|kind| matches!(kind, Kind::LayerNorm { .. }));
        assert_eq!(num("Sqrt"), norms, "{name}");
        let kernels = graph_of(&model).initializer.iter();
        let weights: i64 = kernels
            .filter(|tensor| tensor.dims.len() == 4)
            .map(|tensor| tensor.dims.iter().product::<i64>())
            .sum();
        assert_eq!(weights as u128, network.num_kernel_weights(), "{name}");
    }
}

#[test]
fn every_way_of_resizing_is_a_graph_and_computes_in_the_type_of_its_form() {
    for resize in [Resize::Stretch, Resize::Pad, Resize::Crop] {
        for filter in [
            Interpolation::Nearest,
            Interpolation::Box,
            Interpolation::Bilinear,
            Interpolation::Hamming,
            Interpolation::Bicubic,
            Interpolation::Lanczos,
        ] {
            for form in [Preprocess::Exact, Preprocess::Float32] {
                let mut meta = meta();
                (meta.resize, meta.interpolation) = (resize, filter);
                (meta.color, meta.design.input[0]) = (Color::Grayscale, 1);
                (meta.normalize.mean, meta.normalize.std) = (vec![0.0], vec![1.0]);
                let model = exported(meta, form, false);
                let case = format!("{resize:?} {filter:?} {form:?}");
                let doubles = graph_of(&model)
                    .initializer
                    .iter()
                    .any(|tensor| tensor.data_type == DataType::Double as i32);
                assert_eq!(doubles, form == Preprocess::Exact, "{case}");
                let operators = operators(&model);
                let orders = form == Preprocess::Exact && filter != Interpolation::Nearest;
                assert_eq!(operators.contains(&"If"), orders, "{case}");
                assert_eq!(operators.contains(&"Pad"), resize == Resize::Pad, "{case}");
                let input = &graph_of(&model).input[0];
                let tensor = input
                    .r#type
                    .as_ref()
                    .and_then(|kind| kind.tensor_type.as_ref());
                let tensor = tensor.expect("a tensor");
                assert_eq!(tensor.elem_type, DataType::Uint8 as i32, "{case}");
            }
        }
    }
}

#[test]
fn a_normalization_has_the_steps_that_it_needs() {
    let unit = meta().normalize;
    let standard = Normalizer {
        mean: vec![0.5, 0.4, 0.3],
        ..unit.clone()
    };
    let caffe = Normalizer {
        rescale: 1.0,
        blue_first: true,
        ..standard.clone()
    };
    let centered = Normalizer {
        samplewise_center: true,
        ..unit.clone()
    };
    let samplewise = Normalizer {
        samplewise_std: true,
        ..centered.clone()
    };
    let whitened = Normalizer {
        whitening: Some(Whitening {
            matrix: vec![0.5; 216 * 216],
        }),
        ..standard.clone()
    };
    let mut own = vec!["Mul", "ReduceMean", "Sub", "ReduceMean", "Sub"];
    let only_centered = own.clone();
    own.extend(["Mul", "ReduceMean", "Sqrt", "Add", "Div"]);
    for (normalize, steps) in [
        (unit, vec!["Mul"]),
        (standard, vec!["Mul", "Add"]),
        (caffe, vec!["Add", "Gather"]),
        (centered, only_centered),
        (samplewise, own),
        (whitened, vec!["Mul", "Add", "Flatten", "Gemm", "Reshape"]),
    ] {
        let model = exported(
            Meta {
                normalize,
                ..meta()
            },
            Preprocess::None,
            false,
        );
        let network = ["Conv", "Relu", "MaxPool", "Flatten", "Gemm", "Softmax"];
        assert_eq!(operators(&model), [&steps[..], &network].concat());
    }
}

#[test]
fn heads_and_outputs_are_those_of_the_run() {
    let mut deep = meta();
    deep.design.model.pooling = Pooling::MaxAverage;
    deep.design.model.hidden = Hidden::Many(vec![5, 4]);
    deep.design.model.head_norm = true;
    deep.temperature = 1.5;
    let norm = "BatchNormalization";
    let pooled = [
        "GlobalMaxPool",
        "GlobalAveragePool",
        "Concat",
        "Flatten",
        norm,
    ];
    let hidden = [
        "Gemm", "Relu", norm, "Gemm", "Relu", norm, "Gemm", "Div", "Softmax",
    ];
    let mut binary = meta();
    binary.classes.pop();
    binary.design.num_classes = 2;
    binary.design.output = Output::Sigmoid;
    let single = [
        "Flatten", "Gemm", "Sigmoid", "Sub", "Concat", "Mul", "Concat",
    ];
    for (meta, expected) in [
        (deep, [&pooled[..], &hidden].concat()),
        (binary, single.to_vec()),
    ] {
        let model = exported(meta, Preprocess::None, false);
        assert_eq!(operators(&model)[4..], expected);
    }
}

#[test]
fn a_model_names_its_classes_and_what_was_fitted() {
    let mut meta = meta();
    meta.temperature = 1.25;
    meta.threshold = Some(Threshold {
        class: "a".to_owned(),
        sensitivity: 0.95,
        probability: 0.25,
        fitted_on: 40,
    });
    meta.coverage = Some(Coverage {
        coverage: 0.9,
        probability: 0.125,
        fitted_on: 100,
    });
    let model = exported(meta, Preprocess::Exact, false);
    let found: BTreeMap<_, _> = model
        .metadata_props
        .iter()
        .map(|property| (property.key.as_str(), property.value.as_str()))
        .collect();
    for (key, value) in [
        ("names", r#"{0: 'a', 1: 'b\'s "best"\n', 2: 'ç\\'}"#),
        ("classes", r#"["a","b's \"best\"\n","ç\\"]"#),
        ("preprocess", "exact"),
        ("image_size", "[8,9]"),
        ("color", "rgb"),
        ("resize", "stretch"),
        ("interpolation", "bilinear"),
        ("architecture", "small_cnn"),
        ("temperature", "1.25"),
        ("epoch", "3"),
        (
            "sha256",
            "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81",
        ),
    ] {
        assert_eq!(found.get(key), Some(&value), "{key}");
    }
    for (key, probability) in [("threshold", 0.25), ("coverage", 0.125)] {
        let fitted: serde_json::Value = serde_json::from_str(found[key]).expect("JSON");
        assert_eq!(fitted["probability"], probability, "{key}");
    }
}

#[test]
fn halves_are_kernels_and_matrices_that_fit() {
    let model = exported(meta(), Preprocess::None, true);
    for tensor in &graph_of(&model).initializer {
        let is_half = tensor.data_type == DataType::Float16 as i32;
        let is_weight = tensor.name.ends_with(".weight");
        assert_eq!(is_half, is_weight, "{}", tensor.name);
        let values = tensor.dims.iter().product::<i64>() as usize;
        assert!(!is_half || tensor.raw_data.len() == 2 * values);
    }
    let bytes: Vec<u8> = [1.0f32, 1e5]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, 2], &bytes);
    let file = safetensors::serialize([("head.output.weight", view.expect("two values"))], None);
    let file = file.expect("written");
    let weights = SafeTensors::deserialize(&file).expect("read");
    let refused = check_halves(&weights).expect_err("too large").to_string();
    assert_eq!(
        refused,
        "head.output.weight has a weight of 1e5, and float16 ends at 65504; leave out --half"
    );
}
