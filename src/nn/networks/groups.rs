//! The interface of a backbone: its layer groups from input to output, and the names that other
//! libraries give its layers.

use burn::tensor::Tensor;

/// Name of a layer and its output shape, `[channels, height, width]`.
pub(in crate::nn) type LayerShape = (String, [usize; 3]);

/// The names of a convolution and of its norm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::nn) struct LayerName {
    /// Path in the backbone, such as `blocks.0.1`; the parameters are below it, under `conv` and
    /// `norm`.
    pub(in crate::nn) ours: String,
    /// Names in other libraries' weight files, if they have this network.
    pub(in crate::nn) elsewhere: Option<ForeignName>,
}

/// The names of a layer in other libraries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::nn) struct ForeignName {
    /// Path in torchvision and timm, without the leading `features.`.
    pub(in crate::nn) torch: String,
    /// Path of its batch norm there.
    pub(in crate::nn) torch_norm: Option<String>,
    /// Name in Keras, if Keras has this network.
    pub(in crate::nn) keras: Option<String>,
}

/// A backbone in layer groups. Its parameters must be in a field `blocks` with one element per
/// group, because freezing and learning rates find a parameter's group by its path.
pub(in crate::nn) trait Groups {
    /// Returns the number of layer groups.
    fn num_groups(&self) -> usize;

    /// Runs one group, counted from the input.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    fn forward_group(&self, index: usize, x: Tensor<4>) -> Tensor<4>;

    /// Lists the layers for images of `[channels, height, width]`; the last has the shape of the
    /// features.
    fn layers(&self, input: [usize; 3]) -> Vec<LayerShape>;

    /// Lists the convolutions with their names.
    fn names(&self) -> Vec<LayerName>;
}
