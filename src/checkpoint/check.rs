//! Checks whether this program could have written a `meta.json`: each value against bounds and
//! against the others, before memory is allocated for what they describe.

use std::{collections::BTreeSet, fmt};

use super::{
    decisions::check_fitted,
    fault::{Checked, Fault, require},
    meta::Meta,
};
use crate::{
    architecture::Kind,
    config::{Color, MOST_KERNEL_WEIGHTS, Pooling},
    nn::networks::classifier::{Design, Output},
};

/// Sides of images in pixels, the range that the configuration accepts.
const SIDES: std::ops::RangeInclusive<usize> = 8..=4096;

/// Checks every field of `meta` against its bounds and the other fields.
pub(super) fn check(meta: &Meta) -> Checked {
    check_classes(meta)?;
    check_images(meta)?;
    check_design(meta)?;
    check_fitted(meta)?;
    check_files(meta)?;
    require(
        meta.focal_gamma.is_finite() && meta.focal_gamma >= 0.0,
        "focal_gamma",
        meta.focal_gamma,
        "a number of 0 or more",
    )?;
    let bad = meta
        .metrics
        .iter()
        .find(|(_, value)| value.is_some_and(|value| !value.is_finite()));
    bad.map_or(Ok(()), |(name, value)| {
        require(
            false,
            &format!("metrics.{name}"),
            value,
            "a number, or null",
        )
    })
}

fn check_classes(meta: &Meta) -> Checked {
    let classes = &meta.classes;
    let (least, words) = match meta.design.output {
        Output::Image => (1, "one name or more"),
        Output::Softmax | Output::Sigmoid => (2, "two names or more"),
    };
    require(classes.len() >= least, "classes", classes, words)?;
    let distinct: BTreeSet<&String> = classes.iter().collect();
    require(
        distinct.len() == classes.len(),
        "classes",
        classes,
        "distinct names",
    )
}

fn check_images(meta: &Meta) -> Checked {
    require(
        meta.image_size.iter().all(|side| SIDES.contains(side)),
        "image_size",
        meta.image_size,
        "[height, width], each from 8 to 4096",
    )?;
    let (normalize, channels) = (&meta.normalize, meta.color.channels());
    let rescale = normalize.rescale;
    require(
        (rescale as f32).is_normal(),
        "normalize.rescale",
        rescale,
        "a factor on pixel values other than 0",
    )?;
    for (field, values) in [
        ("normalize.mean", &normalize.mean),
        ("normalize.std", &normalize.std),
    ] {
        require(
            values.len() == channels,
            field,
            values,
            format!("{channels} of them, one per channel"),
        )?;
        require(
            values.iter().all(|value| value.is_finite()),
            field,
            values,
            "finite numbers",
        )?;
    }
    require(
        normalize.std.iter().all(|std| *std > 0.0),
        "normalize.std",
        &normalize.std,
        "numbers above 0",
    )
}

fn check_design(meta: &Meta) -> Checked {
    let Design {
        model,
        input,
        num_classes,
        output,
    } = &meta.design;
    let [height, width] = meta.image_size;
    let expected = [meta.color.channels(), height, width];
    require(
        *input == expected,
        "design.input",
        input,
        format!("{expected:?}, the channels of `color` and `image_size`"),
    )?;
    require(
        *num_classes == meta.classes.len(),
        "design.num_classes",
        num_classes,
        format!("{}, the number of `classes`", meta.classes.len()),
    )?;
    require(
        *output == Output::of(meta.loss),
        "design.output",
        output,
        format!("{:?}, which goes with `loss`", Output::of(meta.loss)),
    )?;
    // One logit tells two classes apart, no more.
    let fits = *output != Output::Sigmoid || *num_classes == 2;
    require(
        fits,
        "design.output",
        output,
        "Softmax for any number of classes but two",
    )?;
    check_reconstruction(meta)?;
    check_list(meta)?;
    check_network(meta)?;
    require(
        !model.hidden.widths().contains(&0),
        "design.model.hidden",
        &model.hidden,
        "widths above 0, or 0 alone",
    )?;
    require(
        (0.0..1.0).contains(&model.dropout),
        "design.model.dropout",
        model.dropout,
        "a fraction from 0 to below 1",
    )?;
    let groups = model.num_groups();
    meta.frozen.as_ref().map_or(Ok(()), |frozen| {
        require(
            (1..=groups).contains(&frozen.groups),
            "frozen.groups",
            frozen.groups,
            format!("1 to {groups}, the layer groups"),
        )?;
        require_digest("frozen.sha256", &frozen.sha256)
    })
}

/// Checks that an autoencoder, and no other network, gives images, and that they can be turned back
/// into pixels.
fn check_reconstruction(meta: &Meta) -> Checked {
    let Design { model, input, .. } = &meta.design;
    let is_image = meta.design.output == Output::Image;
    require(
        model.architecture.is_autoencoder() == is_image,
        "design.output",
        meta.design.output,
        "Image for an autoencoder alone",
    )?;
    if !is_image {
        return Ok(());
    }
    require(
        model.hidden.widths().is_empty() && model.pooling == Pooling::Flatten,
        "design.model",
        &model.hidden,
        "no head for an autoencoder",
    )?;
    let given = model.network(input[0]).features(meta.image_size);
    require(
        given.as_ref().is_ok_and(|shape| shape == input),
        "image_size",
        meta.image_size,
        "a size that halves as often as there are blocks",
    )?;
    require(
        meta.normalize.finish().is_some(),
        "normalize",
        &meta.normalize,
        "one that is the same for each image",
    )
}

/// Checks what the architecture is made with, and whether an image is large enough for it.
fn check_network(meta: &Meta) -> Checked {
    let model = &meta.design.model;
    if model.architecture.is_of_recipe() && !model.architecture.is_list() {
        let channels = model.channels();
        let are_possible = !channels.is_empty() && !channels.contains(&0);
        require(
            are_possible,
            "design.model.channels",
            &channels,
            "one number above 0 for each block",
        )?;
    } else {
        require_unset("channels", model.channels.as_ref())?;
        require_unset("batch_norm", model.batch_norm.as_ref())?;
    }
    if !model.architecture.is_of_recipe() {
        require(
            meta.color == Color::Rgb,
            "color",
            meta.color,
            "\"rgb\" for this architecture",
        )?;
    }
    let leaves_features = model.features(meta.image_size).is_ok();
    if model.architecture.is_list() {
        require(
            leaves_features,
            "design.model.layers",
            &model.layers,
            "layers for which enough of the image is left",
        )?;
    }
    require(
        leaves_features,
        "design.model.channels",
        model.channels(),
        "fewer blocks, each of which halves the image",
    )?;
    if meta.frozen.is_none() {
        return Ok(());
    }
    // The files don't bound frozen convolutions.
    let weights = model.network(meta.design.input[0]).num_kernel_weights();
    require(
        weights < MOST_KERNEL_WEIGHTS,
        "design.model",
        weights,
        format!("fewer than {MOST_KERNEL_WEIGHTS} frozen weights"),
    )
}

/// Returns a fault that names a key of the model if it is set.
fn require_unset(key: &str, value: Option<&impl fmt::Debug>) -> Checked {
    require(
        value.is_none(),
        &format!("design.model.{key}"),
        value,
        "none for this architecture",
    )
}

/// Checks a list of layers. What it describes is bounded by itself, since frozen convolutions
/// aren't in the files.
fn check_list(meta: &Meta) -> Checked {
    let model = &meta.design.model;
    if !model.architecture.is_list() {
        require(
            model.layers.is_empty(),
            "design.model.layers",
            &model.layers,
            "none for this architecture",
        )?;
        require_unset("activation", model.activation.as_ref())?;
        require_unset("norm_epsilon", model.norm_epsilon.as_ref())?;
        return require_unset("norm_momentum", model.norm_momentum.as_ref());
    }
    let fault = model.layers_fault(meta.color.channels());
    fault.map_or(Ok(()), |wrong| {
        Err(Fault::of(
            &format!("design.model.{}", wrong.key),
            &wrong.found,
            wrong.expected,
        ))
    })
}

fn check_files(meta: &Meta) -> Checked {
    for (name, sha256) in &meta.files {
        let is_plain = !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.');
        require(is_plain, "files", name, "names of files of the checkpoint")?;
        require_digest(&format!("files.{name}"), sha256)?;
    }
    let Some(run) = &meta.run else { return Ok(()) };
    require(!run.id.is_empty(), "run.id", &run.id, "a name")?;
    require(
        !run.splits.is_empty() && run.splits.iter().all(|split| is_digest(split)),
        "run.splits",
        &run.splits,
        "SHA-256s",
    )
}

fn require_digest(field: &str, text: &str) -> Checked {
    require(is_digest(text), field, text, "a SHA-256")
}

/// Whether a text is a SHA-256 in hexadecimal.
fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|letter| letter.is_ascii_hexdigit())
}

/// Checks that a network isn't larger than the files with its weights, which have `bytes` in total.
// Four bytes a weight: the files hold 32-bit floats.
pub(super) fn check_size(meta: &Meta, bytes: u64) -> Checked {
    let (needed, there) = (
        num_weights(&meta.design, meta.frozen.is_some()),
        u128::from(bytes) / 4,
    );
    require(
        needed <= there,
        "design.model",
        needed,
        format!("{there} weights at most, which the checkpoint's files have room for"),
    )
}

/// Returns a lower bound of the number of weights of a network: those of its dense layers, and of
/// its convolutions unless they are frozen.
fn num_weights(design: &Design, is_frozen: bool) -> u128 {
    let model = &design.model;
    let network = model.network(design.input[0]);
    let mut sum = 0u128;
    let mut add =
        |inputs: u128, outputs: u128| sum = sum.saturating_add(inputs.saturating_mul(outputs));
    for (layer, inputs) in network.modules() {
        if let (Kind::Conv(conv), false) = (&layer.kind, is_frozen) {
            let [outputs, inputs, height, width] =
                conv.weight_shape(inputs).map(|side| side as u128);
            add(inputs.saturating_mul(height * width), outputs);
        }
    }
    let features = network
        .features([design.input[1], design.input[2]])
        .unwrap_or_default();
    let mut inputs = model.pooling.width(features) as u128;
    for outputs in model
        .hidden
        .widths()
        .into_iter()
        .chain([design.output.num_logits(design.num_classes)])
    {
        add(inputs, outputs as u128);
        inputs = outputs as u128;
    }
    sum
}
