//! The inverted residual block (Sandler et al. 2018, arXiv 1801.04381) of MobileNetV2, V3 and
//! EfficientNet: a 1x1 convolution to more channels, a depthwise one, optionally a gate, a 1x1 one
//! to few channels, added to the input where the shapes allow.

use crate::architecture::{
    builder::{Names, branches, squeeze_excite, unit, unnamed},
    entry::Variant,
    layer::{Activation, ForeignNames, Join, Kind, Layer},
};

/// The hyperparameters of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// Number of input channels.
    pub(super) inputs: usize,
    /// Channels between the first and the last convolution. If they are as many as `inputs`, there
    /// is no first convolution.
    pub(super) expanded: usize,
    /// Number of output channels.
    pub(super) outputs: usize,
    /// Height and width of the depthwise kernel.
    pub(super) kernel: usize,
    /// Its stride.
    pub(super) stride: usize,
    /// Activation after the first two convolutions.
    pub(super) function: Activation,
    /// The gate, if there is one.
    pub(super) gate: Option<Gate>,
    /// Probability of stochastic depth.
    pub(super) drop_path: f64,
}

/// The gate of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    /// Channels of its first convolution.
    pub(super) reduced: usize,
    /// Activations after its two convolutions.
    pub(super) functions: [Activation; 2],
}

/// The names of a block's layers in other libraries.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockNames {
    pub(super) expand: Names,
    pub(super) depthwise: Names,
    pub(super) gate: [ForeignNames; 2],
    pub(super) project: Names,
}

impl Block {
    /// Describes the layers of the block at `path`.
    pub(super) fn layers(self, path: &str, names: &BlockNames, variant: &Variant) -> Vec<Layer> {
        let Self {
            inputs,
            expanded,
            outputs,
            kernel,
            stride,
            function,
            gate,
            drop_path,
        } = self;
        let traits = variant.traits;
        let mut main = Vec::new();
        if expanded != inputs {
            main.extend(unit(
                &format!("{path}.expand"),
                &names.expand,
                traits.conv(expanded, 1, 1),
                variant,
                Some(function),
            ));
        }
        let depthwise = traits.depthwise(expanded, kernel, stride);
        main.extend(unit(
            &format!("{path}.depthwise"),
            &names.depthwise,
            depthwise,
            variant,
            Some(function),
        ));
        main.extend(gate.map(|Gate { reduced, functions }| {
            squeeze_excite(
                &format!("{path}.gate"),
                names.gate.clone(),
                [reduced, expanded],
                functions,
            )
        }));
        main.extend(unit(
            &format!("{path}.project"),
            &names.project,
            traits.conv(outputs, 1, 1),
            variant,
            None,
        ));
        if stride > 1 || inputs != outputs {
            return main;
        }
        if drop_path > 0.0 {
            main.push(unnamed(Kind::DropPath(drop_path)));
        }
        vec![branches(path.to_owned(), Join::Add, vec![main, Vec::new()])]
    }
}

/// Collects blocks into layer groups. A group ends before each block that halves height and width.
pub(super) struct Stages {
    /// The groups so far; never empty.
    pub(super) groups: Vec<Vec<Layer>>,
    /// Number of blocks in the last group.
    count: usize,
}

impl Stages {
    /// Creates the first group from the stem.
    pub(super) fn new(stem: Vec<Layer>) -> Self {
        Self {
            groups: vec![stem],
            count: 0,
        }
    }

    /// Adds a block.
    pub(super) fn push(&mut self, block: Block, names: &BlockNames, variant: &Variant) {
        if block.stride > 1 {
            self.groups.push(Vec::new());
            self.count = 0;
        }
        let group = self.groups.len() - 1;
        let layers = block.layers(&format!("blocks.{group}.{}", self.count), names, variant);
        self.groups[group].extend(layers);
        self.count += 1;
    }

    /// Adds the last convolution as a group of its own.
    pub(super) fn finish(
        mut self,
        names: &Names,
        outputs: usize,
        function: Activation,
        variant: &Variant,
    ) -> Vec<Vec<Layer>> {
        let path = format!("blocks.{}.last", self.groups.len());
        self.groups.push(unit(
            &path,
            names,
            variant.traits.conv(outputs, 1, 1),
            variant,
            Some(function),
        ));
        self.groups
    }
}
