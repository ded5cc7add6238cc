//! Computes features of images with a small pretrained backbone, by which their labels are judged.
//! Uses weights that are on this machine and never downloads any.

use std::path::{Path, PathBuf};

use super::Features;
use crate::{
    base::progress::Progress,
    config::{
        Architecture, Color, Data, DeviceName, Dialect, Hidden, Loss, Model, Normalize, Pooling,
        Weights,
    },
    data::{
        Scanned,
        batches::{normalize::Normalizer, view::View},
        store::Format,
    },
    nn::{
        device::open,
        infer::average_features,
        networks::{
            build,
            classifier::{Design, Output},
        },
        pretrained::{self, Origin, locate},
    },
};

/// The backbone that is used. The others take minutes on a CPU, where the rest of an inspection
/// takes seconds.
fn cheap() -> Architecture {
    Architecture::find("squeezenet1_1").expect("it is listed")
}

/// Height and width of the images without a recipe, in pixels.
pub const SIDE: usize = 128;
/// Smallest height and width from which features are computed, in pixels. Those of smaller images
/// say little about the class.
const LEAST_SIDE: usize = 64;

/// Returns the path of the backbone's weights if they are on this machine: the file that the recipe
/// names, or the published file in the cache folder.
pub fn weights_at_hand(model: Option<&Model>) -> Option<PathBuf> {
    let of_recipe = model
        .filter(|model| model.architecture == cheap())
        .and_then(|model| locate(cheap(), &model.weights()));
    let published = cheap().entry().published.as_ref()?;
    // An interrupted download is shorter.
    let is_whole = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|found| published.bytes.contains(&found.len()))
    };
    of_recipe
        .filter(|path| path.is_file())
        .or_else(|| locate(cheap(), &Weights::Imagenet).filter(is_whole))
}

/// Computes the features of all images, in the order of the survey. Returns `None` for grayscale
/// recipes, for images smaller than 64 x 64 and for weights that don't come from torchvision or
/// timm.
///
/// # Shapes
/// The values are `[images, width]`, with the global average of each channel of the backbone.
///
/// # Errors
/// Returns an error if the weights can't be loaded or an image can't be read.
pub fn features(
    surveyed: &Scanned,
    data: &Data,
    weights: &Path,
    progress: &dyn Progress,
) -> anyhow::Result<Option<Features>> {
    let [height, width, channels] = Format::of(data).shape();
    if data.color != Color::Rgb || height.min(width) < LEAST_SIDE {
        return Ok(None);
    }
    let device = open(DeviceName::Cpu)?.device;
    // Only the backbone is evaluated, so the head is as small as possible.
    let model = Model {
        architecture: cheap(),
        pooling: Pooling::Average,
        hidden: Hidden::One(0),
        ..Model::default()
    };
    let design = Design {
        model,
        input: [channels, height, width],
        num_classes: 2,
        output: Output::of(Loss::default()),
    };
    let (model, origin) = pretrained::load(build(&design, 0, &device), weights)?;
    if origin != Origin::Library(Dialect::Torchvision) {
        // The normalization below is the one that torchvision's weights were trained with.
        return Ok(None);
    }
    let normalizer = Normalizer::fit(&Normalize::Imagenet, data.color, &surveyed.sets[0])?;
    let task = progress.items("Looking at labels");
    task.set_total(surveyed.survey.seen.len());
    let mut values = Vec::new();
    for set in surveyed.sets.iter().filter(|set| !set.images.is_empty()) {
        let view = View::plain(set, &normalizer);
        values.extend(average_features(&model, view, &device, &|count| {
            task.add(count)
        })?);
    }
    let width = values.len() / surveyed.survey.seen.len().max(1);
    Ok(Some(Features {
        words: "features of a SqueezeNet trained on ImageNet".to_owned(),
        width,
        values,
    }))
}
