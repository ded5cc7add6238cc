//! A Keras notebook: the network that is trained last, on what, and how.

mod applications;
mod images;
mod layers;
mod network;
mod runs;
mod sources;
mod training;

use super::{arguments::Import, error::ImportError};

/// Adds the recipe's keys, and what is to be said of the notebook.
pub(super) fn import(import: &mut Import<'_>) -> Result<(), ImportError> {
    let run = runs::find(import)?;
    let layers = layers::of_model(import, &run.model);
    let data = images::import(import, &run, &layers);
    let network = network::import(import, &run, &layers);
    images::normalize(import, &data, &layers, &network);
    images::augment(import, &data, &layers);
    training::phases(import, &run, &layers, &network);
    training::import(import, &run, &network);
    Ok(())
}
