//! Losses on logits and soft targets, with PyTorch's definitions. A batch's loss is the sum of its
//! images' weighted losses, so that the caller chooses the divisor.

use burn::tensor::{Tensor, activation};

use super::batch::Batch;
use crate::config::Loss;

/// A loss with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct LossFn {
    /// Kind of the loss.
    pub kind: Loss,
    /// Exponent of the focal loss (Lin et al. 2017, arXiv 1708.02002); unused by the others.
    pub gamma: f64,
    /// Fraction of each target that is spread evenly over all classes.
    pub label_smoothing: f64,
}

impl LossFn {
    /// Returns what the outputs are compared with: the fractions of the classes, or the images
    /// themselves.
    ///
    /// # Shapes
    /// `[batch, classes]`, or `[batch, values]`.
    pub fn targets(&self, batch: &Batch) -> Tensor<2> {
        match self.kind {
            Loss::MeanSquaredError => batch.images.clone().flatten(1, 3),
            Loss::CrossEntropy | Loss::BinaryCrossEntropy | Loss::Focal => batch.targets.clone(),
        }
    }

    /// Computes the unweighted loss of each image.
    ///
    /// # Shapes
    /// `logits` `[batch, logits]` and `targets` `[batch, classes]` to `[batch]`; for images, both
    /// are `[batch, values]`.
    pub fn per_sample(&self, logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
        let [batch, num_classes] = targets.dims();
        let spread = self.label_smoothing / num_classes as f64;
        let targets = if self.label_smoothing == 0.0 {
            targets
        } else {
            targets * (1.0 - self.label_smoothing) + spread
        };
        let each = match self.kind {
            Loss::MeanSquaredError => {
                let squares = (logits - targets).square();
                return squares.mean_dim(1).reshape([batch]);
            }
            Loss::CrossEntropy => -(targets * activation::log_softmax(logits, 1)),
            Loss::Focal => {
                let log_probs = activation::log_softmax(logits, 1);
                let ease = (log_probs.clone().exp().neg() + 1.0).clamp_min(0.0);
                // The derivative of x^gamma is infinite at 0 for gamma < 1, so the base stays above
                // 0.
                -(targets * ease.clamp_min(1e-7).powf_scalar(self.gamma) * log_probs)
            }
            Loss::BinaryCrossEntropy => {
                // log(1 + e^-|x|) + max(x, 0) - x t equals -t log s(x) - (1 - t) log(1 - s(x)) and
                // never overflows.
                let second = targets.narrow(1, 1, 1);
                let tail = (logits.clone().abs().neg().exp() + 1.0).log();
                tail + activation::relu(logits.clone()) - logits * second
            }
        };
        each.sum_dim(1).reshape([batch])
    }

    /// Computes the sum of the images' losses, each times its weight.
    ///
    /// # Shapes
    /// `logits` `[batch, logits]`, `targets` `[batch, classes]` and `weights` `[batch]` to `[1]`.
    pub fn weighted_sum(
        &self,
        logits: Tensor<2>,
        targets: Tensor<2>,
        weights: Tensor<1>,
    ) -> Tensor<1> {
        (self.per_sample(logits, targets) * weights).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// Losses per image from PyTorch 2.15 (`scripts/reference/losses.py`):
    /// `F.cross_entropy(x, t, reduction="none")`, the same with `label_smoothing=0.1`,
    /// `(1 - p)**2 * ce` with `p = softmax(x)[label]`, and
    /// `F.binary_cross_entropy_with_logits(z, t, reduction="none")`;
    /// `x = [[2, -1, 0.5], [0, 3, -2]]`, `t = [0, 2]`, `z = [1.5, -40]`, labels 0 and 1.
    #[test]
    fn losses_are_pytorchs() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]], &device);
        let targets = Tensor::<2>::from_data([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], &device);
        let binary_logits = Tensor::<2>::from_data([[1.5], [-40.0]], &device);
        let binary_targets = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 1.0]], &device);
        let cases = [
            (Loss::CrossEntropy, 0.0, [0.241_311_3, 5.054_985]),
            (Loss::CrossEntropy, 0.1, [0.391_311_35, 4.821_652]),
            (Loss::Focal, 0.0, [0.011_092_75, 4.990_714_5]),
            (Loss::BinaryCrossEntropy, 0.0, [1.701_413_3, 40.0]),
        ];
        for (kind, label_smoothing, expected) in cases {
            let loss = LossFn {
                kind,
                gamma: 2.0,
                label_smoothing,
            };
            let (logits, targets) = match kind {
                Loss::BinaryCrossEntropy => (binary_logits.clone(), binary_targets.clone()),
                _ => (logits.clone(), targets.clone()),
            };
            let got = loss
                .per_sample(logits.clone(), targets.clone())
                .into_data()
                .try_to_vec::<f32>()
                .expect("floats");
            for (got, expected) in got.iter().zip(expected) {
                assert!(
                    (got - expected).abs() < 1e-5,
                    "{kind:?} {label_smoothing}: {got}, PyTorch has {expected}"
                );
            }
            let weights = Tensor::<1>::from_data([2.0, 0.5], &device);
            let sum = loss
                .weighted_sum(logits, targets, weights)
                .into_data()
                .try_to_vec::<f32>()
                .expect("floats")[0];
            assert!(
                (sum - (2.0 * expected[0] + 0.5 * expected[1])).abs() < 1e-4,
                "{sum}"
            );
        }
    }

    /// `F.mse_loss(x, y, reduction="none").mean((1, 2, 3))` of PyTorch, and its gradient, are these
    /// by hand: the mean of the squared differences, and twice the difference over their number.
    #[test]
    fn the_error_of_an_image_is_the_mean_of_its_squared_differences() {
        let device = Device::flex().autodiff();
        let loss = LossFn {
            kind: Loss::MeanSquaredError,
            gamma: 2.0,
            label_smoothing: 0.0,
        };
        let batch = Batch {
            images: Tensor::from_data(
                [[[[0.0, 1.0]], [[2.0, 4.0]]], [[[0.5; 2]], [[0.5; 2]]]],
                &device,
            ),
            targets: Tensor::ones([2, 1], &device),
            weights: Tensor::ones([2], &device),
        };
        let targets = loss.targets(&batch);
        assert_eq!(targets.dims(), [2, 4]);
        let given = Tensor::<2>::from_data([[1.0, 1.0, 0.0, 2.0], [0.5; 4]], &device);
        let given = given.require_grad();
        let each = loss.per_sample(given.clone(), targets);
        let read = |tensor: Tensor<1>| super::super::infer::read(tensor).expect("read");
        assert_eq!(read(each.clone()), [2.25, 0.0]);
        let gradients = each.sum().backward();
        let gradient = given.grad(&gradients).expect("tracked");
        let expected = [0.5, 0.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(read(gradient.flatten(0, 1)), expected);
    }

    #[test]
    fn a_mixed_target_costs_what_its_parts_cost_by_their_shares() {
        let device = Device::flex();
        let logits = || Tensor::<2>::from_floats([[2.0, -1.0, 0.5], [0.3, 0.1, -3.0]], &device);
        let targets = |share: f32| {
            Tensor::<2>::from_floats(
                [[share, 0.0, 1.0 - share], [0.0, 1.0 - share, share]],
                &device,
            )
        };
        for kind in [Loss::CrossEntropy, Loss::Focal] {
            let loss = LossFn {
                kind,
                gamma: 2.0,
                label_smoothing: 0.1,
            };
            let each = |share| {
                super::super::infer::read(loss.per_sample(logits(), targets(share))).expect("read")
            };
            for ((mixed, one), other) in each(0.3).iter().zip(each(1.0)).zip(each(0.0)) {
                assert!(
                    (mixed - 0.3 * one - 0.7 * other).abs() < 1e-5,
                    "{kind:?}: {mixed} of {one} and {other}"
                );
            }
        }
    }
}
