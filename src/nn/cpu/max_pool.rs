//! SqueezeNet's max-pooling. Without autodiff on the CPU it is our own single pass over the values:
//! Burn's operation also stores the position of each maximum, and takes longer than the
//! convolutions around it.

use burn::tensor::{DType, Tensor, TensorData, module::max_pool2d, ops::MaxPoolOptions};
use rayon::prelude::*;

use super::backend::has_kernels;

/// Height and width of a window (`WINDOW`), and the step from one to the next (`STEP`).
const WINDOW: usize = 3;
const STEP: usize = 2;

/// Computes the maximum of each 3x3 window in steps of 2. A last window that reaches beyond the
/// edge counts, as with PyTorch's `ceil_mode`.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, rows, columns]`; see [`pooled`].
pub(in crate::nn) fn max_pool(x: Tensor<4>) -> Tensor<4> {
    let (device, [batch, channels, height, width]) = (x.device(), x.dims());
    if device.is_autodiff() || x.dtype() != DType::F32 || !has_kernels(&device) {
        return max_pool2d(x, MaxPoolOptions { stride: [STEP; 2], ceil_mode: true, ..MaxPoolOptions::new([WINDOW; 2]) });
    }
    let (rows, columns) = (pooled(height), pooled(width));
    let data = x.into_data();
    let values = data.as_slice::<f32>().expect("looked at above");
    let mut out = vec![0.0; batch * channels * rows * columns];
    let planes = out.par_chunks_exact_mut((rows * columns).max(1)).zip(values.par_chunks_exact((height * width).max(1)));
    planes.for_each(|(out, plane)| pool_plane(plane, width, out, columns));
    Tensor::from_data(TensorData::new(out, [batch, channels, rows, columns]), &device)
}

/// Returns the height or width after [`max_pool`].
pub(in crate::nn) fn pooled(side: usize) -> usize {
    side.saturating_sub(WINDOW).div_ceil(STEP) + 1
}

/// Pools one channel of one image.
fn pool_plane(plane: &[f32], width: usize, out: &mut [f32], columns: usize) {
    // Unlike `f32::max`, NaN wins, so that features that are no numbers are seen further on.
    let larger = |a: f32, b: f32| if a > b || a.is_nan() { a } else { b };
    let mut line = vec![0.0f32; width];
    for (row, out) in out.chunks_exact_mut(columns).enumerate() {
        let mut rows = plane[row * STEP * width..].chunks_exact(width).take(WINDOW);
        line.copy_from_slice(rows.next().expect("a window begins inside"));
        rows.for_each(|row| line.iter_mut().zip(row).for_each(|(most, value)| *most = larger(*value, *most)));
        for (out, window) in out.iter_mut().zip(line.windows(WINDOW).step_by(STEP)) {
            *out = larger(larger(window[0], window[1]), window[2]);
        }
        // The last window may reach beyond the edge.
        out[columns - 1] = line[(columns - 1) * STEP..].iter().copied().take(WINDOW).reduce(larger).expect("a window begins inside");
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;
    use crate::nn::{cpu::backend::is_host, pretrained::tests::devices};

    /// On the CPU only: the shading language of GPUs lets a compiler assume that there is no NaN,
    /// so that there a window of Burn's may lose one.
    #[test]
    fn a_value_that_is_no_number_stays_one_wherever_it_is_in_a_window() {
        for at in 0..9 {
            let mut values = [0.5f32; 15];
            values[at / 3 * 5 + at % 3] = f32::NAN;
            for device in devices().into_iter().filter(is_host) {
                let x = Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, 1, 3, 5]), &device);
                let pooled: Vec<f32> = max_pool(x).into_data().try_to_vec().expect("f32");
                assert!(pooled[0].is_nan() && (pooled[1].is_nan() || at % 3 < 2), "{at}: {pooled:?}");
            }
        }
    }

    #[test]
    fn both_ways_pool_alike_whatever_the_shape() {
        for device in devices() {
            for (height, width) in [(3, 3), (4, 7), (5, 4), (8, 8), (13, 6), (31, 54)] {
                let x = Tensor::<4>::random([2, 3, height, width], Distribution::Default, &device);
                let by_burn =
                    max_pool2d(x.clone(), MaxPoolOptions { stride: [STEP; 2], ceil_mode: true, ..MaxPoolOptions::new([WINDOW; 2]) });
                let ours = max_pool(x);
                assert_eq!((ours.dims()[2], ours.dims()[3]), (pooled(height), pooled(width)));
                assert_eq!(ours.into_data(), by_burn.into_data(), "{height}x{width}");
            }
        }
    }
}
