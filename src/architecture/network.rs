//! A network without its head, in layer groups, and how its layers are enumerated.

use super::{
    layer::{Join, Kind, Layer, Shape},
    shape_error::ShapeError,
};

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

    /// Returns the rows and columns of the map that each layer group gives, for images of the given
    /// height and width: those of its output or, if that is tokens, of the patches among them.
    ///
    /// # Errors
    /// Returns an error that names the first layer for which too little of the image is left.
    pub fn map_sizes(&self, image: [usize; 2]) -> Result<Vec<[usize; 2]>, ShapeError> {
        let mut sizes = vec![image; self.groups.len()];
        let mut patches = None;
        for placed in self.walk(image)? {
            let [_, rows, columns] = placed.output;
            if let Kind::Tokens { .. } = placed.layer.kind {
                let [_, rows, columns] = placed.input;
                patches = Some([rows, columns]);
            }
            let of_tokens =
                patches.filter(|[height, width]| [rows, columns] == [1 + height * width, 1]);
            sizes[placed.group] = of_tokens.unwrap_or([rows, columns]);
        }
        Ok(sizes)
    }

    /// Returns the number of layer groups before a map of evidence: up to the last one whose map
    /// has at least four rows and columns, or all if none has, for images of the given height and
    /// width.
    pub fn groups_before_map(&self, image: [usize; 2]) -> usize {
        let sizes = self.map_sizes(image).unwrap_or_default();
        let last = sizes
            .iter()
            .rposition(|[rows, columns]| *rows.min(columns) >= LEAST_MAP_SIDE);
        last.map_or(self.groups.len(), |index| index + 1)
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
        patch: layer.kind.patch(),
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
        | Kind::Tokens { .. }
        | Kind::DropPath(_)
        | Kind::Dropout(_) => {
            found.push((layer, channels));
            channels
        }
        Kind::Attention { .. } => channels / 3,
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
