//! What a small backbone that others trained makes of images, for a look at their labels. It must be on this machine already: nobody
//! downloads anything to look.

use std::path::{Path, PathBuf};

use super::Features;
use crate::{
    base::progress::Progress,
    config::{Architecture, Color, Data, DeviceName, Dialect, Hidden, Loss, Model, Normalize, Pooling, Weights},
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

/// The one that is cheap: the others take minutes on a CPU where everything else takes seconds.
fn cheap() -> Architecture {
    Architecture::find("squeezenet1_1").expect("it is listed")
}

/// Rows and columns of its images, where no recipe says.
pub const SIDE: usize = 128;
/// Rows and columns below which it sees nothing.
const LEAST_SIDE: usize = 64;

/// The weights of the cheap backbone, the recipe's or the published ones, if they are there.
pub fn weights_at_hand(model: Option<&Model>) -> Option<PathBuf> {
    let of_recipe = model.filter(|model| model.architecture == cheap()).and_then(|model| locate(cheap(), &model.weights()));
    let published = cheap().entry().published.as_ref()?;
    let is_whole = |path: &PathBuf| path.metadata().is_ok_and(|found| found.len() == published.bytes);
    of_recipe.filter(|path| path.is_file()).or_else(|| locate(cheap(), &Weights::Imagenet).filter(is_whole))
}

/// The features of all images; `None` where the backbone can't look at such images.
///
/// # Errors
/// Weights that can't be read; images that can't be read again.
pub fn features(surveyed: &Scanned, data: &Data, weights: &Path, progress: &dyn Progress) -> anyhow::Result<Option<Features>> {
    let [height, width, channels] = Format::of(data).shape();
    if data.color != Color::Rgb || height.min(width) < LEAST_SIDE {
        return Ok(None);
    }
    let device = open(DeviceName::Cpu)?.device;
    // A head that costs nothing: nobody asks it.
    let model = Model { architecture: cheap(), pooling: Pooling::Average, hidden: Hidden::One(0), ..Model::default() };
    let design = Design { model, input: [channels, height, width], num_classes: 2, output: Output::of(Loss::default()) };
    let (model, origin) = pretrained::load(build(&design, 0, &device), weights)?;
    if origin != Origin::Library(Dialect::Torchvision) {
        // What others expect of pixels isn't known here.
        return Ok(None);
    }
    let normalizer = Normalizer::fit(&Normalize::Imagenet, data.color, &surveyed.sets[0])?;
    let task = progress.items("Looking at labels");
    task.set_total(surveyed.survey.seen.len());
    let mut values = Vec::new();
    for set in surveyed.sets.iter().filter(|set| !set.images.is_empty()) {
        let view = View::plain(set, &normalizer);
        values.extend(average_features(&model, view, &device, &|count| task.add(count))?);
    }
    let width = values.len() / surveyed.survey.seen.len().max(1);
    Ok(Some(Features { words: "features of a SqueezeNet trained on ImageNet".to_owned(), width, values }))
}
