//! Does the network learn what it should, and nothing where there is nothing to learn? Steps taken
//! in this process.

use std::collections::BTreeMap;

use burn::tensor::Device;
use emberlens::{
    config::{Hidden, Loss, Model, Optimizer, Pooling},
    data::batches::{batch::HostBatch, order},
    nn::{
        infer::read,
        loss::LossFn,
        networks::{
            build,
            classifier::{Classifier, Design, NetworkInput, Output},
            params,
        },
        optim::OptimizerState,
        weights::{Part, from_bytes, to_bytes},
    },
    ranks::Ranks,
    train::{StepInput, Stepper},
};

const CLASSES: usize = 3;
const INPUT: [usize; 3] = [2, 14, 10];

fn design(output: Output, num_classes: usize) -> Design {
    let model = Model {
        channels: Some(vec![6, 8]),
        hidden: Hidden::One(12),
        dropout: 0.0,
        pooling: Pooling::Flatten,
        ..Model::default()
    };
    Design {
        model,
        input: INPUT,
        num_classes,
        output,
    }
}

fn stepper(kind: Loss, num_classes: usize) -> Stepper {
    Stepper {
        device: Device::flex().autodiff(),
        network_input: NetworkInput {
            shape: INPUT,
            group: 0,
        },
        frozen: 0,
        layer_factor: 1.0,
        loss: LossFn {
            kind,
            gamma: 2.0,
            label_smoothing: 0.0,
        },
        class_weights: vec![1.0; num_classes],
        clip_norm: None,
        seed: 3,
        ranks: Ranks::Alone,
    }
}

/// `count` noise images of classes in turn.
fn batch(count: usize, num_classes: usize, from: usize) -> HostBatch {
    let size: usize = INPUT.iter().product();
    let mut state = from as u32 * 7919 + 17;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let images = (0..count * size).map(|_| noise()).collect();
    let mut targets = vec![0.0; count * num_classes];
    (0..count).for_each(|index| targets[index * num_classes + (from + index) % num_classes] = 1.0);
    HostBatch {
        images,
        targets,
        weights: vec![1.0; count],
        draws: order::in_order(count),
    }
}

/// One step; the mean loss before it.
fn step(
    model: Classifier,
    optimizer: &mut OptimizerState,
    stepper: &Stepper,
    batches: Vec<HostBatch>,
    learning_rate: f64,
) -> (Classifier, f32) {
    let count: usize = batches.iter().map(HostBatch::len).sum();
    let input = StepInput {
        num_batches: batches.len(),
        num_images: count,
        batches,
        network_input: stepper.network_input,
        epoch: 0,
        first_batch: 0,
        step: 0,
        learning_rate,
    };
    let (model, output) = stepper
        .step(model, optimizer, None, input)
        .expect("a rank alone");
    let sum: f32 = output
        .losses
        .into_iter()
        .map(|loss| read(loss).expect("read")[0])
        .sum();
    (model, sum / count as f32)
}

fn values(model: &Classifier) -> BTreeMap<String, Vec<f32>> {
    params::collect(model)
        .into_iter()
        .map(|param| (param.path, read(param.values).expect("read")))
        .collect()
}

#[test]
fn the_loss_begins_near_the_logarithm_of_the_number_of_classes() {
    let (stepper, mut optimizer) = (
        stepper(Loss::CrossEntropy, CLASSES),
        OptimizerState::new(&Optimizer::default()),
    );
    let model = build(&design(Output::Softmax, CLASSES), 1, &stepper.device);
    let (_, loss) = step(
        model,
        &mut optimizer,
        &stepper,
        vec![batch(60, CLASSES, 0)],
        0.0,
    );
    assert!((loss - (CLASSES as f32).ln()).abs() < 0.25, "{loss}");
}

#[test]
fn every_loss_learns_one_batch_by_heart() {
    for (kind, output, num_classes) in [
        (Loss::CrossEntropy, Output::Softmax, 3),
        (Loss::Focal, Output::Softmax, 3),
        (Loss::BinaryCrossEntropy, Output::Sigmoid, 2),
    ] {
        let (stepper, mut optimizer) = (
            stepper(kind, num_classes),
            OptimizerState::new(&Optimizer::default()),
        );
        let mut model = build(&design(output, num_classes), 1, &stepper.device);
        let mut last = f32::NAN;
        for _ in 0..150 {
            (model, last) = step(
                model,
                &mut optimizer,
                &stepper,
                vec![batch(9, num_classes, 0)],
                5e-3,
            );
        }
        assert!(last < 0.02, "{kind:?}: {last}");
    }
}

#[test]
fn accumulated_batches_make_the_step_of_one_large_batch() {
    let stepper = stepper(Loss::CrossEntropy, CLASSES);
    let optimizer = || {
        OptimizerState::new(&toml::from_str("kind = 'sgd'\nlearning_rate = 0.1").expect("parsed"))
    };
    let whole = batch(10, CLASSES, 0);
    let size: usize = INPUT.iter().product();
    let part = |from: usize, to: usize| HostBatch {
        images: whole.images[from * size..to * size].to_vec(),
        targets: whole.targets[from * CLASSES..to * CLASSES].to_vec(),
        weights: vec![1.0; to - from],
        draws: order::in_order(to - from),
    };
    let start = || build(&design(Output::Softmax, CLASSES), 1, &stepper.device);
    let (one, _) = step(
        start(),
        &mut optimizer(),
        &stepper,
        vec![whole.clone()],
        0.1,
    );
    // The last part is smaller: it must not count for more.
    let (three, _) = step(
        start(),
        &mut optimizer(),
        &stepper,
        vec![part(0, 4), part(4, 8), part(8, 10)],
        0.1,
    );
    for (name, values_one) in values(&one) {
        let values_three = &values(&three)[&name];
        let largest = values_one
            .iter()
            .zip(values_three)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(largest < 1e-5, "{name}: {largest}");
    }
}

#[test]
fn weights_survive_safetensors_and_others_are_refused_with_every_fault() {
    let device = Device::flex();
    let small = design(Output::Softmax, CLASSES);
    let mut normed = small.clone();
    normed.model.batch_norm = Some(true);
    for design in [&small, &normed] {
        let model = build(design, 5, &device);
        let bytes = to_bytes(&model, Part::ALL).expect("written");
        assert_eq!(
            bytes,
            to_bytes(&model, Part::ALL).expect("written"),
            "the same weights give the same bytes"
        );
        let loaded = from_bytes(build(design, 6, &device), &bytes, Part::ALL).expect("loaded");
        assert_eq!(values(&loaded), values(&model));
    }
    let bytes = to_bytes(&build(&normed, 5, &device), Part::ALL).expect("written");
    let error = from_bytes(build(&small, 5, &device), &bytes, Part::ALL)
        .expect_err("another network")
        .to_string();
    for expected in [
        "blocks.0.conv.bias [6] is missing",
        "blocks.0.norm.weight is superfluous",
        "blocks.1.norm.running_var is superfluous",
    ] {
        assert!(error.contains(expected), "{error}");
    }
    let mut wider = small.clone();
    wider.model.hidden = Hidden::One(13);
    let bytes = to_bytes(&build(&wider, 5, &device), Part::ALL).expect("written");
    let error = from_bytes(build(&small, 5, &device), &bytes, Part::ALL)
        .expect_err("another shape")
        .to_string();
    assert!(
        error.contains("head.hidden.0.bias has the shape [13], expected [12]"),
        "{error}"
    );
    assert!(from_bytes(build(&small, 5, &device), b"no", Part::ALL).is_err());
}

#[test]
fn weight_decay_leaves_biases_and_norm_layers_alone() {
    let stepper = stepper(Loss::CrossEntropy, CLASSES);
    let mut normed = design(Output::Softmax, CLASSES);
    normed.model.batch_norm = Some(true);
    let run = |decay: f64| {
        let settings =
            toml::from_str(&format!("kind = 'adamw'\nweight_decay = {decay}")).expect("parsed");
        let model = build(&normed, 1, &stepper.device);
        values(
            &step(
                model,
                &mut OptimizerState::new(&settings),
                &stepper,
                vec![batch(6, CLASSES, 0)],
                0.01,
            )
            .0,
        )
    };
    let (with, without) = (run(0.5), run(0.0));
    for (name, values) in &with {
        let is_weight = name.ends_with("conv.weight")
            || name == "head.hidden.0.weight"
            || name == "head.output.weight";
        assert_eq!(values != &without[name], is_weight, "{name}");
    }
}
