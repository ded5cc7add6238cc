//! A network without its head, in layer groups, and how its layers are enumerated.

use super::layer::{Join, Kind, Layer, Shape, ShapeError};

/// Minimum number of rows and columns of a map of evidence, if a layer group has that many: smaller
/// maps locate nothing.
const LEAST_MAP_SIDE: usize = 4;

/// A network without its classification head. Layers are frozen, and given learning rates, by layer
/// group.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Number of channels of the images.
    pub inputs: usize,
    /// The layers of each group, from the input to the features.
    pub groups: Vec<Vec<Layer>>,
}

/// A layer with the shapes of its input and output.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// The layer.
    pub layer: &'a Layer,
    /// Index of its layer group, counted from the input.
    pub group: usize,
    /// Shape of its input.
    pub input: Shape,
    /// Shape of its output.
    pub output: Shape,
}

impl Network {
    /// Lists the layers in the order in which they run, for images of the given height and width.
    /// Layers of parallel paths come before the layer that joins them.
    ///
    /// # Errors
    /// Returns an error that names the first layer for which too little of the image is left.
    pub fn walk(&self, [height, width]: [usize; 2]) -> Result<Vec<Placed<'_>>, ShapeError> {
        let mut walk = Walk {
            image: [height, width],
            placed: Vec::new(),
        };
        let mut shape = [self.inputs, height, width];
        let mut first = 0;
        for (group, layers) in self.groups.iter().enumerate() {
            shape = walk.through(layers, group, first, shape)?;
            first += layers.len();
        }
        Ok(walk.placed)
    }

    /// Returns channels, height and width of the features, for images of the given height and
    /// width.
    ///
    /// # Errors
    /// Returns an error that names the first layer for which too little of the image is left.
    pub fn features(&self, [height, width]: [usize; 2]) -> Result<Shape, ShapeError> {
        let mut shape = [self.inputs, height, width];
        for (position, layer) in self.groups.iter().flatten().enumerate() {
            shape = output(layer, position, shape, [height, width])?;
        }
        Ok(shape)
    }

    /// Returns the number of layer groups before a map of evidence: up to the last one whose output
    /// has at least four rows and columns, or all if none has, for images of the given height and
    /// width.
    pub fn groups_before_map(&self, [height, width]: [usize; 2]) -> usize {
        let mut shape = [self.inputs, height, width];
        let mut found = self.groups.len();
        for (index, layers) in self.groups.iter().enumerate() {
            let through = |shape: Shape, layer: &Layer| layer.kind.output(shape);
            let Some(output) = layers.iter().try_fold(shape, through) else {
                break;
            };
            shape = output;
            if shape[1].min(shape[2]) >= LEAST_MAP_SIDE {
                found = index + 1;
            }
        }
        found
    }

    /// Returns the number of values that enter or leave the widest layer of a group, for input of
    /// the given shape, and the shape of the group's output; `None` if the input is too small.
    pub fn widest_of_group(&self, group: usize, input: Shape) -> Option<(usize, Shape)> {
        widest(&self.groups[group], input)
    }

    /// Lists the layers that have weights or act in training only, in the order in which they run,
    /// each with its number of input channels.
    pub fn modules(&self) -> Vec<(&Layer, usize)> {
        let mut found = Vec::new();
        self.groups
            .iter()
            .flatten()
            .fold(self.inputs, |channels, layer| {
                modules(layer, channels, &mut found)
            });
        found
    }

    /// Returns the number of weights in the kernels of all convolutions.
    pub fn num_kernel_weights(&self) -> u128 {
        let weights = |(layer, inputs): (&Layer, usize)| match &layer.kind {
            Kind::Conv(conv) => conv
                .weight_shape(inputs)
                .into_iter()
                .fold(1, |product: u128, side| {
                    product.saturating_mul(side as u128)
                }),
            _ => 0,
        };
        self.modules()
            .into_iter()
            .map(weights)
            .fold(0, u128::saturating_add)
    }
}

/// Enumerates the layers of a network with their shapes.
struct Walk<'a> {
    /// Height and width of the image.
    image: [usize; 2],
    /// The layers so far.
    placed: Vec<Placed<'a>>,
}

impl<'a> Walk<'a> {
    /// Enumerates layers one after the other. `first` is the position of the first of them among
    /// the top-level layers.
    fn through(
        &mut self,
        layers: &'a [Layer],
        group: usize,
        first: usize,
        mut shape: Shape,
    ) -> Result<Shape, ShapeError> {
        for (position, layer) in layers.iter().enumerate() {
            let next = output(layer, first + position, shape, self.image)?;
            if let Kind::Branches(_, paths) = &layer.kind {
                for path in paths {
                    self.through(path, group, first + position, shape)?;
                }
            }
            self.placed.push(Placed {
                layer,
                group,
                input: shape,
                output: next,
            });
            shape = next;
        }
        Ok(shape)
    }
}

/// Returns the number of values before or behind the widest of some layers, and the shape behind
/// the last.
fn widest(layers: &[Layer], input: Shape) -> Option<(usize, Shape)> {
    let len = |shape: Shape| shape.iter().product::<usize>();
    let (mut most, mut shape) = (len(input), input);
    for layer in layers {
        if let Kind::Branches(_, paths) = &layer.kind {
            for path in paths {
                most = most.max(widest(path, shape)?.0);
            }
        }
        shape = layer.kind.output(shape)?;
        most = most.max(len(shape));
    }
    Some((most, shape))
}

fn output(
    layer: &Layer,
    index: usize,
    shape: Shape,
    image: [usize; 2],
) -> Result<Shape, ShapeError> {
    let position = layer.entry.unwrap_or(index + 1);
    let failed = || ShapeError {
        position,
        layer: layer.kind.words(),
        found: [shape[1], shape[2]],
        image,
    };
    layer.kind.output(shape).ok_or_else(failed)
}

/// Adds a layer, or those within it, and returns the number of channels after it. Unlike height and
/// width, channels are the same for images of any size.
fn modules<'a>(layer: &'a Layer, channels: usize, found: &mut Vec<(&'a Layer, usize)>) -> usize {
    match &layer.kind {
        Kind::Conv(conv) => {
            found.push((layer, channels));
            conv.outputs
        }
        Kind::BatchNorm { .. }
        | Kind::LayerNorm { .. }
        | Kind::Scale
        | Kind::DropPath(_)
        | Kind::Dropout(_) => {
            found.push((layer, channels));
            channels
        }
        Kind::Branches(join, paths) => {
            let through = |path: &'a Vec<Layer>| {
                path.iter()
                    .fold(channels, |channels, layer| modules(layer, channels, found))
            };
            let outputs: Vec<usize> = paths.iter().map(through).collect();
            if *join == Join::Concat {
                outputs.iter().sum()
            } else {
                outputs.first().copied().unwrap_or(channels)
            }
        }
        _ => channels,
    }
}
