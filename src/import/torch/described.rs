//! What other parts of a recipe need to know of the network.

use notebook_reader::Place;

use super::calls::Made;
use crate::architecture::Architecture;

/// What other parts of the recipe need to know of the network.
#[derive(Debug, Default)]
pub(super) struct Network<'t> {
    /// The network of torchvision or timm.
    pub(super) base: Option<Base<'t>>,
    /// The activation that the notebook's network ends in, and where.
    pub(super) ends_in: Option<(String, Place)>,
    /// Number of the last layer's outputs.
    pub(super) units: Option<usize>,
}

/// A network of torchvision or timm.
#[derive(Debug)]
pub(super) struct Base<'t> {
    pub(super) made: Made<'t>,
    /// Its name there.
    pub(super) name: String,
    pub(super) architecture: Architecture,
    pub(super) is_pretrained: bool,
}
