//! The error for images that a network can't take.

use std::fmt;

/// The error for an image or feature map that is too small for a layer, doesn't divide into its
/// patches, or doesn't fit the others of a sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// Entry of the recipe's list of layers, or else position of the layer in the network, counted
    /// from 1.
    pub position: usize,
    /// Description of the layer, such as `max_pool 2`.
    pub layer: String,
    /// Height and width that reach the layer.
    pub found: [usize; 2],
    /// Height and width of the image.
    pub image: [usize; 2],
    /// Side of the patches that the layer divides images into, if it does.
    pub patch: Option<usize>,
}

impl ShapeError {
    /// Describes what was expected: the nearest sizes of whole patches, or larger images.
    pub fn expected(&self) -> String {
        let Some(patch) = self.patch else {
            return "larger images".to_owned();
        };
        let below = self
            .image
            .map(|side| (side / patch).max(1).saturating_mul(patch));
        let above = self
            .image
            .map(|side| side.div_ceil(patch).max(1).saturating_mul(patch));
        let nearest = if below == above {
            format!("{below:?}")
        } else {
            format!("{below:?} or {above:?}")
        };
        format!("multiples of {patch}, such as {nearest}")
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([height, width], [rows, columns]) = (self.found, self.image);
        write!(
            f,
            "layer {}, {}: {height} x {width} ",
            self.position, self.layer
        )?;
        match self.patch {
            Some(patch) => write!(f, "doesn't divide into patches of {patch} x {patch}"),
            None => write!(f, "is left of {rows} x {columns}"),
        }
    }
}
