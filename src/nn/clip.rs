//! Clipping of gradients by the norm of all of them together.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

/// Scales all gradients by one factor so that their common norm is at most `limit`. The factor
/// stays on the device: reading it would wait for the backward pass in every step.
///
/// # Shapes
/// Each gradient is `[values]`.
pub(super) fn clip(gradients: &mut BTreeMap<String, Tensor<1>>, limit: f64) {
    let squares: Vec<_> = gradients
        .values()
        .map(|gradient| sum_of_squares(gradient.clone()))
        .collect();
    if squares.is_empty() {
        return;
    }
    let norm = Tensor::cat(squares, 0).sum().sqrt();
    // The small constant is that of PyTorch's `clip_grad_norm_`.
    let factor = ((norm + 1e-6).recip() * limit).clamp_max(1.0);
    for gradient in gradients.values_mut() {
        *gradient = gradient.clone() * factor.clone();
    }
}

/// Returns the sum of squares, summed in rows of 4,096: burn-flex sums vectors of four million
/// values and more in an order that depends on the number of threads, and the clipped gradients
/// would depend on it too.
///
/// # Shapes
/// `[values]` to `[1]`.
fn sum_of_squares(gradient: Tensor<1>) -> Tensor<1> {
    const ROW: usize = 4096;
    let squares = gradient.square();
    let [count] = squares.dims();
    let rows = count / ROW;
    let mut sums = Vec::new();
    if rows > 0 {
        sums.push(
            squares
                .clone()
                .narrow(0, 0, rows * ROW)
                .reshape([rows, ROW])
                .sum_dim(1)
                .reshape([rows]),
        );
    }
    if rows * ROW < count {
        sums.push(squares.narrow(0, rows * ROW, count - rows * ROW));
    }
    Tensor::cat(sums, 0).sum()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::nn::optim::flat;

    fn host(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().try_to_vec().expect("floats")
    }

    #[test]
    fn clipping_scales_the_whole_gradient_and_leaves_a_short_one() {
        let device = Device::flex();
        let long: Vec<f32> = vec![0.5; 10_000];
        for (limit, factor) in [(5.0, 5.0 / (50.0f32.powi(2) + 25.0).sqrt()), (100.0, 1.0)] {
            let mut gradients = BTreeMap::from([
                ("a".to_owned(), flat(long.clone(), &device)),
                ("b".to_owned(), flat(vec![3.0, -4.0], &device)),
            ]);
            clip(&mut gradients, limit);
            let got = host(gradients.remove("b").expect("there"));
            assert!(
                (got[0] - 3.0 * factor).abs() < 1e-5 && (got[1] + 4.0 * factor).abs() < 1e-5,
                "{got:?} {factor}"
            );
            assert!(
                (host(gradients.remove("a").expect("there"))[9_999] - 0.5 * factor).abs() < 1e-6
            );
        }
    }
}
