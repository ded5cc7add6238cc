//! A network without its classification head, built from its description.

use std::ops::Range;

use burn::{
    module::Module,
    nn::BatchNorm,
    tensor::{Device, Tensor},
};

use super::{
    layers::{self, Layer},
    paths,
    prepared::{self, Prepared},
    steps::{self, Step},
};
use crate::architecture::Network;

/// A network without its classification head.
#[derive(Module, Debug)]
pub(in crate::nn) struct Backbone {
    layers: Vec<Layer>,
    #[module(skip)]
    network: Network,
    /// The steps of each layer group.
    #[module(skip)]
    groups: Vec<Vec<Step>>,
}

/// A layer group of a backbone whose weights don't change between calls.
#[derive(Debug)]
pub(in crate::nn) struct PreparedGroup<'a> {
    steps: Vec<Prepared<'a>>,
    layers: &'a [Layer],
}

impl PreparedGroup<'_> {
    /// Returns its steps.
    #[cfg(test)]
    pub(super) fn steps(&self) -> &[Prepared<'_>] {
        &self.steps
    }

    /// Runs the layer group.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub(in crate::nn) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        prepared::run(&self.steps, self.layers, x)
    }
}

impl Backbone {
    /// Creates the network with zero kernels and biases.
    pub(in crate::nn) fn new(network: Network, device: &Device) -> Self {
        let mut next = 0;
        let groups = network
            .groups
            .iter()
            .map(|layers| steps::find(layers, &mut next))
            .collect();
        Self {
            layers: layers::create(&network, device),
            network,
            groups,
        }
    }

    /// Returns the description.
    pub(in crate::nn) fn network(&self) -> &Network {
        &self.network
    }

    /// Runs the given layer groups, counted from the input, one after the other.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub(in crate::nn) fn forward(&self, groups: Range<usize>, x: Tensor<4>) -> Tensor<4> {
        groups.fold(x, |x, group| self.prepared(group).forward(x))
    }

    /// Prepares the weights of a layer group for several calls.
    pub(in crate::nn) fn prepared(&self, group: usize) -> PreparedGroup<'_> {
        PreparedGroup {
            steps: prepared::prepare(&self.groups[group], &self.layers),
            layers: &self.layers,
        }
    }

    /// Runs a layer group as networks that learn do.
    #[cfg(test)]
    pub(super) fn forward_step_by_step(&self, group: usize, x: Tensor<4>) -> Tensor<4> {
        let steps = self.groups[group].iter();
        steps.fold(x, |x, step| step.run(&self.layers, x))
    }

    /// Whether the layer called `name` is a batch norm that keeps its statistics and gains in
    /// training.
    pub(in crate::nn) fn has_frozen_norm(&self, name: &str) -> bool {
        let mut modules = self.network.modules().into_iter().zip(&self.layers);
        let found = modules.find(|((layer, _), _)| layer.name == name);
        found.is_some_and(
            |(_, layer)| matches!(layer, Layer::BatchNorm(norm) if !norm.training.is_enabled()),
        )
    }

    /// Lists the batch norms behind the first `frozen` layer groups that learn in training.
    pub(in crate::nn) fn learning_norms(&self, frozen: usize) -> Vec<&BatchNorm> {
        let modules = self.network.modules().into_iter().zip(&self.layers);
        let learning = modules.filter_map(|((layer, _), module)| match module {
            Layer::BatchNorm(norm) if norm.training.is_enabled() => {
                let path = format!("backbone.{}", layer.name);
                (!paths::is_frozen(&path, frozen)).then_some(norm)
            }
            _ => None,
        });
        learning.collect()
    }

    /// Returns the network with batch norms that keep their statistics and gains in training.
    pub(in crate::nn) fn with_frozen_norms(mut self) -> Self {
        let freeze = |layer: Layer| {
            if let Layer::BatchNorm(norm) = layer {
                Layer::BatchNorm(norm.freeze())
            } else {
                layer
            }
        };
        self.layers = self.layers.into_iter().map(freeze).collect();
        self
    }
}
