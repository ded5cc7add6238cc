//! The weights of a saved model's layers, in this program's layout.

use super::layer::KerasLayer;
use crate::nn::pretrained::Saved;

/// A model's file, from which layers read their weights.
pub(super) struct Weights<'a>(pub(super) &'a Saved);

/// The factor and the offset of each channel that a batch norm is outside training, and what it
/// consists of.
pub(super) struct NormValues {
    pub(super) gamma: Vec<f32>,
    pub(super) beta: Vec<f32>,
    pub(super) mean: Vec<f32>,
    /// Variance, changed so that the norm is the same with another epsilon.
    pub(super) variance: Vec<f32>,
}

impl Weights<'_> {
    /// Reads a parameter of a layer: `part` in an HDF5 file, number `index` in a `.keras` one.
    ///
    /// # Errors
    /// Returns a message that names the layer if the parameter is missing or has another shape.
    pub(super) fn read(
        &self,
        layer: &KerasLayer,
        (part, index): (&str, usize),
        shape: &[usize],
    ) -> Result<Vec<f32>, String> {
        let name = self
            .name_of(layer, part, index)
            .ok_or_else(|| layer.fault(format!("the file lacks its {part}")))?;
        let read = self.0.read(&name, shape);
        read.map_err(|error| layer.fault(error))
    }

    fn name_of(&self, layer: &KerasLayer, part: &str, index: usize) -> Option<String> {
        let numbered = format!("{}/vars/{index}", layer.group);
        // Keras 2.12 and 2.13 call the groups of layers otherwise.
        let older = numbered.replace("layers/", "_layer_checkpoint_dependencies/");
        let is_it = |name: &&str| {
            let groups: Vec<_> = name.split('/').collect();
            let [top, outer, inner @ .., tensor] = groups.as_slice() else {
                return false;
            };
            *top == "model_weights"
                && *outer == layer.outer
                && (inner.contains(&layer.name.as_str()) || layer.outer == layer.name)
                && tensor.strip_suffix(":0").unwrap_or(tensor) == part
        };
        self.0
            .names()
            .find(|name| *name == numbered || *name == older)
            .or_else(|| self.0.names().find(is_it))
            .map(str::to_owned)
    }

    /// Reads a kernel of a convolution in the order `[outputs, inputs, height, width]`.
    ///
    /// # Errors
    /// Fails as [`Self::read`] does.
    pub(super) fn kernel(
        &self,
        layer: &KerasLayer,
        part: (&str, usize),
        [outputs, inputs, height, width]: [usize; 4],
        is_depthwise: bool,
    ) -> Result<Vec<f32>, String> {
        let shape = if is_depthwise {
            [height, width, outputs, 1]
        } else {
            [height, width, inputs, outputs]
        };
        let values = self.read(layer, part, &shape)?;
        let at = |index: usize| {
            let (place, rest) = (index % (height * width), index / (height * width));
            let (input, output) = (rest % inputs, rest / inputs);
            if is_depthwise {
                values[place * outputs + output]
            } else {
                values[(place * inputs + input) * outputs + output]
            }
        };
        Ok((0..values.len()).map(at).collect())
    }

    /// Reads the bias of a layer, zeros if it has none.
    ///
    /// # Errors
    /// Fails as [`Self::read`] does.
    pub(super) fn bias(
        &self,
        layer: &KerasLayer,
        index: usize,
        outputs: usize,
    ) -> Result<Vec<f32>, String> {
        if layer.flag("use_bias", true) {
            self.read(layer, ("bias", index), &[outputs])
        } else {
            Ok(vec![0.0; outputs])
        }
    }

    /// Reads a batch norm, for a layer that adds `epsilon` to the variance.
    ///
    /// # Errors
    /// Fails as [`Self::read`] does, and for a norm of another axis than the channels.
    pub(super) fn norm(
        &self,
        layer: &KerasLayer,
        channels: usize,
        epsilon: f64,
    ) -> Result<NormValues, String> {
        let (scale, center) = (layer.flag("scale", true), layer.flag("center", true));
        let index = |part: usize| {
            let is_there = [scale, center, true, true];
            is_there[..part]
                .iter()
                .filter(|is_there| **is_there)
                .count()
        };
        let read = |part: &str, at: usize, is_there: bool, otherwise: f32| {
            if is_there {
                self.read(layer, (part, index(at)), &[channels])
            } else {
                Ok(vec![otherwise; channels])
            }
        };
        let more = (layer.number("epsilon", 1e-3) - epsilon) as f32;
        let variance = read("moving_variance", 3, true, 1.0)?;
        Ok(NormValues {
            gamma: read("gamma", 0, scale, 1.0)?,
            beta: read("beta", 1, center, 0.0)?,
            mean: read("moving_mean", 2, true, 0.0)?,
            variance: variance.into_iter().map(|value| value + more).collect(),
        })
    }
}

impl NormValues {
    /// Returns the norm that changes nothing, for a layer that adds `epsilon` to the variance.
    pub(super) fn identity(channels: usize, epsilon: f64) -> Self {
        Self {
            gamma: vec![1.0; channels],
            beta: vec![0.0; channels],
            mean: vec![0.0; channels],
            variance: vec![(1.0 - epsilon) as f32; channels],
        }
    }
}
