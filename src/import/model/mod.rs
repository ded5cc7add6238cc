//! A classifier that Keras saved, whole, as a checkpoint of ours. Nothing in the file is run.

mod backbone;
mod chain;
mod head;
mod layer;
mod preparation;
mod weights;

use std::{collections::BTreeMap, path::Path};

use burn::tensor::Device;
use serde_json::Value;

use self::{
    backbone::Backbone,
    chain::{Chain, chain, changes_values, is_preparation},
    head::Head,
    layer::KerasLayer,
    preparation::Preparation,
    weights::Weights,
};
use crate::{
    architecture::Kind,
    checkpoint::{Checkpoint, Meta, check_imported},
    config::{self, Color, Freeze, Interpolation, Loss, Model, Normalize, Resize},
    data::batches::normalize::Normalizer,
    nn::{
        networks::{
            classifier::{Classifier, Design, Output},
            empty, params,
        },
        optim::flat,
        pretrained::{self, AtHand, Saved},
        weights::{Part, to_bytes},
    },
};

/// What a file doesn't say about its model.
#[derive(Clone, Debug)]
pub struct Unsaid {
    /// Name of the checkpoint.
    pub name: String,
    /// Class names in the order of the outputs.
    pub classes: Option<Vec<String>>,
    /// What is done to pixel values before they enter the model.
    pub normalize: Option<Normalize>,
    /// Height and width of images, for a model that takes any.
    pub image_size: Option<[usize; 2]>,
    /// How images were resized.
    pub interpolation: Interpolation,
}

/// Reads a saved model.
///
/// # Errors
/// Returns a message if the file is damaged or has layers that aren't supported, named by their
/// layer, and if more has to be said about the model.
pub fn keras_model(path: &Path, unsaid: &Unsaid) -> Result<Checkpoint, String> {
    let saved = Saved::open(path)?;
    let weights = Weights(&saved);
    let chain = chain(&saved.config)?;
    let input = input(&saved.config, unsaid.image_size)?;
    let color = if input[0] == 1 {
        Color::Grayscale
    } else {
        Color::Rgb
    };
    let parts = Parts::of(&chain, path)?;
    let (num_classes, output) = parts.head.output()?;
    let design = Design {
        model: parts.head.of(parts.trunk.model())?,
        input,
        num_classes,
        output,
    };
    let classes = classes(unsaid.classes.as_ref(), num_classes)?;
    let mut preparation = Preparation::none(input[0]);
    if !parts.trunk.prepares() {
        let layers = chain.layers.iter();
        layers
            .filter(|layer| is_preparation(&layer.class))
            .try_for_each(|layer| preparation.add(layer, &weights))?;
    }
    let normalize = normalizer(&parts.trunk, &preparation, unsaid.normalize.as_ref(), color)?;
    let meta = meta(
        unsaid,
        classes,
        preparation.before(&normalize)?,
        color,
        design,
    );
    check_imported(&meta, saved.length())?;
    let model = parts.filled(&meta.design, &weights)?;
    let model = to_bytes(&model, Part::ALL).map_err(|error| error.to_string())?;
    Ok(Checkpoint {
        meta,
        model,
        backbone: None,
    })
}

/// The part of a model before its pool.
enum Trunk {
    /// Layers one after the other.
    Listed(Backbone),
    /// One of the networks that have names.
    Known(Box<AtHand>),
}

/// A model in two parts.
struct Parts {
    trunk: Trunk,
    head: Head,
}

impl Parts {
    /// Divides the layers of the model at `path`.
    fn of(chain: &Chain, path: &Path) -> Result<Self, String> {
        let is_other = |layer: &KerasLayer| !is_preparation(&layer.class);
        let first = chain.layers.iter().position(is_other).unwrap_or_default();
        let mut behind = chain.layers[first..].iter();
        if let Some(late) = behind.find(|layer| changes_values(&layer.class)) {
            return Err(late.fault("such a layer can be imported before all others only"));
        }
        let mut layers = chain.layers.iter().filter(|layer| is_other(layer));
        let (mut listed, mut fault, mut before) = (Backbone::default(), None, Vec::new());
        let mut head = None;
        for layer in layers.by_ref() {
            head = Head::begun(layer)?;
            if head.is_some() {
                break;
            }
            before.push(layer);
            if fault.is_none() {
                fault = listed.add(layer).err();
            }
        }
        let mut head = head.ok_or(
            "found neither Flatten nor GlobalAveragePooling2D, expected one before the dense \
             layers",
        )?;
        layers.try_for_each(|layer| head.add(layer))?;
        if !chain.is_branched && fault.is_none() {
            let trunk = Trunk::Listed(listed);
            return Ok(Self { trunk, head });
        }
        let unknown = match fault {
            Some(fault) if !chain.is_branched => fault,
            _ => "found paths side by side, and by the names in this file none of the networks \
                  that model.architecture knows; the other format of model.save (.h5, .keras) may \
                  name its layers otherwise"
                .to_owned(),
        };
        let known = pretrained::identify(path).ok_or(unknown)?;
        known_whole(&known, chain, &head, &before)?;
        let trunk = Trunk::Known(Box::new(known));
        Ok(Self { trunk, head })
    }

    /// Returns the network of a design with the model's weights.
    fn filled(&self, design: &Design, weights: &Weights<'_>) -> Result<Classifier, String> {
        let [channels, height, width] = design.input;
        let network = design.model.network(channels);
        let features = network
            .features([height, width])
            .map_err(|error| error.to_string())?;
        let device = Device::flex();
        let mut model = empty(design, &device);
        let mut values = self.head.values(features, weights)?;
        match &self.trunk {
            Trunk::Listed(listed) => values.extend(listed.values(&network, weights)?),
            Trunk::Known(known) => {
                let loaded = pretrained::load(model, &known.path);
                model = loaded.map_err(|error| error.to_string())?.0;
            }
        }
        let values = values.into_iter();
        Ok(params::replace(
            model,
            values
                .map(|(path, values)| (path, flat(values, &device)))
                .collect(),
        ))
    }
}

impl Trunk {
    /// Returns the settings of `[model]` for it.
    fn model(&self) -> Model {
        match self {
            Self::Listed(listed) => listed.model(),
            // The weights come with the checkpoint.
            Self::Known(known) => Model {
                architecture: known.architecture,
                width: known.width,
                dialect: known.found.dialect,
                weights: Some(config::Weights::None),
                freeze: Some(Freeze::None),
                ..Model::default()
            },
        }
    }

    /// Returns whether Keras's network of this name prepares pixel values by itself.
    fn prepares(&self) -> bool {
        const PREPARING: [&str; 3] = ["efficientnet", "mobilenet_v3", "convnext"];
        let Self::Known(known) = self else {
            return false;
        };
        let name = known.architecture.name();
        PREPARING.iter().any(|start| name.starts_with(start))
    }
}

/// Refuses a known network with more layers than its own before the pool.
fn known_whole(
    known: &AtHand,
    chain: &Chain,
    head: &Head,
    before: &[&KerasLayer],
) -> Result<(), String> {
    // Layers of a model inside are its own. What has no weights changes nothing but dropout does.
    let is_added = |layer: &&&KerasLayer| layer.outer == layer.name && layer.class != "Dropout";
    let is_inside = before.iter().any(|layer| layer.outer != layer.name);
    if let Some(added) = before.iter().find(|layer| is_inside && is_added(layer)) {
        return Err(added.fault(format!(
            "such a layer between {} and the pool can't be imported",
            known.architecture.name()
        )));
    }
    let model = Model {
        architecture: known.architecture,
        width: known.width,
        dialect: known.found.dialect,
        ..Model::default()
    };
    let network = model.network(3);
    let is_norm = |kind: &Kind| matches!(kind, Kind::BatchNorm { .. });
    let expected = network
        .modules()
        .iter()
        .filter(|(layer, _)| is_norm(&layer.kind))
        .count();
    let found = chain.num_norms.saturating_sub(head.num_norms());
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "found {found} batch norms before the pool, expected the {expected} of {}",
        known.architecture.name()
    ))
}

/// Returns channels, height and width of the model's input.
fn input(model: &Value, said: Option<[usize; 2]>) -> Result<[usize; 3], String> {
    let shape = shape_in(model, 0)
        .ok_or("found no shape of the input, expected images of [height, width, 1 or 3]")?;
    let side = |at: usize| {
        let side = shape.get(at)?.as_u64()?;
        usize::try_from(side).ok()
    };
    let channels = side(3).filter(|channels| [1, 3].contains(channels));
    let Some(channels) = channels.filter(|_| shape.len() == 4) else {
        return Err(format!(
            "found an input of the shape {}, expected [null, height, width, 1 or 3]",
            Value::from(shape.clone())
        ));
    };
    match (side(1), side(2), said) {
        (Some(height), Some(width), None) => Ok([channels, height, width]),
        (Some(height), Some(width), Some(said)) if said == [height, width] => {
            Ok([channels, height, width])
        }
        (None, None, Some([height, width])) => Ok([channels, height, width]),
        (Some(height), Some(width), Some(_)) => Err(format!(
            "the model takes images of {height} x {width}; leave --image-size out"
        )),
        _ => Err(
            "the model takes images of any size; --image-size HEIGHT,WIDTH says which".to_owned(),
        ),
    }
}

/// Finds the shape of a model's input, `[null, height, width, channels]`: in its first layer, or
/// that of the model that its first layer is.
fn shape_in(model: &Value, depth: usize) -> Option<&Vec<Value>> {
    let config = &model["config"];
    for key in ["batch_shape", "batch_input_shape", "build_input_shape"] {
        if let Some(shape) = config[key].as_array() {
            return Some(shape);
        }
    }
    let layers = config["layers"].as_array().or_else(|| config.as_array())?;
    let first = layers.first().filter(|_| depth < 8)?;
    shape_in(first, depth + 1).or_else(|| shape_in(layers.get(1)?, depth + 1))
}

/// Returns the class names.
fn classes(said: Option<&Vec<String>>, expected: usize) -> Result<Vec<String>, String> {
    let classes = said.ok_or_else(|| {
        format!(
            "the file doesn't name its {expected} classes; --classes a,b,... names them in the \
             order of the outputs, which is Keras's alphabetical one, --data DIR takes the names \
             of its folders, --labels FILE a line for each"
        )
    })?;
    if classes.len() == expected {
        return Ok(classes.clone());
    }
    Err(format!(
        "found {} class names, expected {expected}, one for each output{}",
        classes.len(),
        if expected == 2 {
            " (or two for a single one)"
        } else {
            ""
        }
    ))
}

/// Returns what is done to pixel values before the first layer that prepares them.
fn normalizer(
    trunk: &Trunk,
    preparation: &Preparation,
    said: Option<&Normalize>,
    color: Color,
) -> Result<Normalizer, String> {
    let own = match trunk {
        Trunk::Known(known) if trunk.prepares() => known.found.normalize.as_ref(),
        _ => None,
    };
    // What a model prepares by itself gets pixel values from 0 to 255.
    let plain = Normalize::Keras(config::KerasStandardize::default());
    let normalize = match (said, own) {
        (Some(_), Some(_)) => {
            return Err("the model prepares pixel values by itself; leave --normalize out".into());
        }
        (Some(said), None) => said,
        (None, Some(own)) => own,
        (None, None) if preparation.is_there => &plain,
        (None, None) => {
            let usual = match trunk {
                Trunk::Known(known) => known.found.normalize.as_ref(),
                Trunk::Listed(_) => None,
            };
            let usual = usual.map_or(String::new(), |usual| {
                format!("; preprocess_input of this network is {usual}")
            });
            return Err(format!(
                "the file doesn't say what was done to pixel values before they entered the \
                 model; --normalize unit for rescale = 1/255, tf for /127.5 - 1, caffe, imagenet, \
                 or none{usual}"
            ));
        }
    };
    Normalizer::fixed(normalize, color).ok_or_else(|| {
        format!("found the normalization {normalize}, expected unit, tf, caffe, imagenet or none")
    })
}

fn meta(
    unsaid: &Unsaid,
    classes: Vec<String>,
    normalize: Normalizer,
    color: Color,
    design: Design,
) -> Meta {
    let loss = match design.output {
        Output::Softmax => Loss::CrossEntropy,
        Output::Sigmoid => Loss::BinaryCrossEntropy,
        Output::Image => Loss::MeanSquaredError,
    };
    Meta {
        format: Meta::format(),
        emberlens: env!("CARGO_PKG_VERSION").to_owned(),
        name: unsaid.name.clone(),
        classes,
        image_size: [design.input[1], design.input[2]],
        color,
        resize: Resize::Stretch,
        interpolation: unsaid.interpolation,
        repair: true,
        normalize,
        design,
        loss,
        focal_gamma: 2.0,
        epoch: 0,
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
