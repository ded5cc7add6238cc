//! Pooling with every padding. A maximum on the CPU is our own single pass over the values: Burn's
//! operation also stores the position of each maximum, and takes longer than the convolutions
//! around it. The backward pass looks for the positions again, in an input that others keep anyway.

use std::ops::Range;

use burn::{
    backend::{
        Backend, Dispatch, Flex, TensorMetadata as _, backend_extension, tensor::FloatTensor,
    },
    tensor::{
        DType, Shape, Tensor,
        module::{avg_pool2d, max_pool2d},
        ops::{AvgPoolOptions, MaxPoolOptions, PadMode},
    },
};
use burn_autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn_ndarray::NdArray;
use rayon::prelude::*;

use super::backend::{HostBackend, has_kernels};
use crate::architecture::{Pool, PoolKind};

/// Pools each channel.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, rows, columns]`, by [`Pool::output`].
///
/// # Panics
/// Panics if the image is smaller than the window.
pub(in crate::nn) fn pool(x: Tensor<4>, shape: Pool) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let sides = [(0, height), (1, width)].map(|(axis, side)| {
        shape
            .padding
            .of_side(axis, side, shape.kernel, shape.stride)
    });
    if shape.kind == PoolKind::Max && x.dtype() == DType::F32 && has_kernels(&x.device()) {
        return Tensor::from_dispatch(Dispatch::max_pool(
            x.into_dispatch(),
            Windows {
                shape,
                before: sides.map(|[before, _]| before),
            },
        ));
    }
    let padding = sides.map(|[before, after]| (before, after));
    let (kernel, stride) = ([shape.kernel; 2], [shape.stride; 2]);
    let average = |count_include_pad| {
        avg_pool2d(
            x.clone(),
            AvgPoolOptions {
                stride,
                padding,
                count_include_pad,
                ceil_mode: shape.ceil,
                ..AvgPoolOptions::new(kernel)
            },
        )
    };
    match shape.kind {
        PoolKind::Max => max_pool2d(
            x,
            MaxPoolOptions {
                stride,
                padding,
                ceil_mode: shape.ceil,
                ..MaxPoolOptions::new(kernel)
            },
        ),
        PoolKind::Average => average(true),
        PoolKind::AverageInside => average(false),
    }
}

/// Pads height and width with zeros, `[before, after]` each.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, rows, columns]`.
pub(in crate::nn) fn pad(x: Tensor<4>, rows: [usize; 2], columns: [usize; 2]) -> Tensor<4> {
    x.pad(
        (columns[0], columns[1], rows[0], rows[1]),
        PadMode::Constant(0.0),
    )
}

/// The windows of a maximum, the first of which begin `before` rows and columns outside.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Windows {
    shape: Pool,
    before: [usize; 2],
}

/// The maximum as an extension of Burn's backends.
#[backend_extension(Flex, NdArray, Autodiff)]
pub(in crate::nn) trait PoolOps: Backend {
    /// See [`pool`].
    fn max_pool(x: FloatTensor<Self>, windows: Windows) -> FloatTensor<Self>;
}

macro_rules! on_slices {
    ($($backend:ty)*) => {$(
        impl PoolOps for $backend {
            fn max_pool(x: FloatTensor<Self>, windows: Windows) -> FloatTensor<Self> {
                windows.forward::<Self>(&Self::contiguous(x))
            }
        }
    )*};
}

on_slices!(Flex NdArray);

impl<B: HostBackend + PoolOps, C: CheckpointStrategy> PoolOps for Autodiff<B, C> {
    fn max_pool(x: FloatTensor<Self>, windows: Windows) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct MaxPool;

        impl<B: HostBackend> Backward<B, 1> for MaxPool {
            type State = (Windows, FloatTensor<B>, FloatTensor<B>);

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let grad = B::contiguous(grads.consume::<B>(&ops.node));
                let (windows, x, output) = &ops.state;
                if let [Some(node)] = ops.parents {
                    grads.register::<B>(node.id, windows.backward::<B>(x, output, &grad));
                }
            }
        }

        let node = x.node();
        let x = B::contiguous(x.into_primitive());
        let output = windows.forward::<B>(&x);
        match MaxPool.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((windows, x, output.clone()), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

impl Windows {
    fn forward<B: HostBackend>(self, x: &FloatTensor<B>) -> FloatTensor<B> {
        let [batch, channels, height, width]: [usize; 4] = x.shape().dims();
        let [rows, columns] = self
            .shape
            .output([height, width])
            .expect("the description was checked for images of this size");
        let mut out = vec![0.0; batch * channels * rows * columns];
        let planes = out
            .par_chunks_exact_mut(rows * columns)
            .zip(B::values(x).par_chunks_exact(height * width));
        planes.for_each(|(out, plane)| max_of_windows(plane, width, self, out, columns));
        B::tensor(out, Shape::new([batch, channels, rows, columns]))
    }

    /// Computes the gradient of `x`: that of each maximum goes to its first position in its window.
    ///
    /// # Shapes
    /// `x` is `[batch, channels, height, width]`, `output` and `grad` are `[batch, channels, rows,
    /// columns]`; returns the shape of `x`.
    fn backward<B: HostBackend>(
        self,
        x: &FloatTensor<B>,
        output: &FloatTensor<B>,
        grad: &FloatTensor<B>,
    ) -> FloatTensor<B> {
        let ([_, _, height, width], [_, _, rows, columns]): ([usize; 4], [usize; 4]) =
            (x.shape().dims(), output.shape().dims());
        let values = B::values(x);
        let mut of_x = vec![0.0; values.len()];
        let of_outputs = B::values(output)
            .par_chunks_exact(rows * columns)
            .zip(B::values(grad).par_chunks_exact(rows * columns));
        let planes = of_x
            .par_chunks_exact_mut(height * width)
            .zip(values.par_chunks_exact(height * width))
            .zip(of_outputs);
        planes.for_each(|((of_x, plane), (output, grad))| {
            for (at, (most, grad)) in output.iter().zip(grad).enumerate() {
                let inside = self.inside(at % columns, 1, width);
                let is_it = |value: &f32| value == most || value.is_nan();
                let place = self.inside(at / columns, 0, height).find_map(|row| {
                    let start = row * width + inside.start;
                    plane[start..row * width + inside.end]
                        .iter()
                        .position(is_it)
                        .map(|column| start + column)
                });
                of_x[place.expect("the maximum is in its window")] += grad;
            }
        });
        B::tensor(of_x, x.shape())
    }

    /// Returns the part of a window that lies inside along an axis.
    fn inside(self, at: usize, axis: usize, side: usize) -> Range<usize> {
        let (start, before) = (at * self.shape.stride, self.before[axis]);
        start.saturating_sub(before)..(start + self.shape.kernel - before).min(side)
    }
}

/// Pools one channel of one image.
fn max_of_windows(plane: &[f32], width: usize, windows: Windows, out: &mut [f32], columns: usize) {
    // Unlike `f32::max`, NaN wins, so that features that are no numbers are seen further on.
    let larger = |a: f32, b: f32| if a > b || a.is_nan() { a } else { b };
    let (height, Windows { shape, before }) = (plane.len() / width, windows);
    // Windows that lie inside whole.
    let inside = before[1].div_ceil(shape.stride)
        ..columns.min((width + before[1]).saturating_sub(shape.kernel) / shape.stride + 1);
    let mut line = vec![0.0f32; width];
    for (row, out) in out.chunks_exact_mut(columns).enumerate() {
        let rows = windows.inside(row, 0, height);
        line.copy_from_slice(&plane[rows.start * width..][..width]);
        for row in plane[..rows.end * width]
            .chunks_exact(width)
            .skip(rows.start + 1)
        {
            line.iter_mut()
                .zip(row)
                .for_each(|(most, value)| *most = larger(*value, *most));
        }
        if shape.kernel == 3 && shape.stride == 2 && !inside.is_empty() {
            // The window of most networks, whose length the compiler must know to be fast.
            let first = inside.start * 2 - before[1];
            let triples = line[first..].windows(3).step_by(2);
            out[inside.clone()]
                .iter_mut()
                .zip(triples)
                .for_each(|(out, w)| *out = larger(larger(w[0], w[1]), w[2]));
        } else {
            let whole = inside.clone();
            whole.for_each(|at| {
                out[at] = line[windows.inside(at, 1, width)]
                    .iter()
                    .copied()
                    .fold(f32::NEG_INFINITY, larger)
            });
        }
        for at in (0..inside.start.min(columns)).chain(inside.end.max(inside.start)..columns) {
            out[at] = line[windows.inside(at, 1, width)]
                .iter()
                .copied()
                .reduce(larger)
                .expect("a window reaches inside");
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, TensorData};

    use super::*;
    use crate::{
        architecture::Padding,
        nn::{
            infer::read,
            pretrained::tests::{cpu_devices, gpu_device},
        },
    };

    const THREE: Pool = Pool {
        kind: PoolKind::Max,
        kernel: 3,
        stride: 2,
        padding: Padding::Valid,
        ceil: true,
    };

    /// On the CPU only: the shading language of GPUs lets a compiler assume that there is no NaN,
    /// so that there a window of Burn's may lose one.
    #[test]
    fn a_value_that_is_no_number_stays_one_wherever_it_is_in_a_window() {
        for at in 0..9 {
            let mut values = [0.5f32; 15];
            values[at / 3 * 5 + at % 3] = f32::NAN;
            for device in cpu_devices() {
                let x =
                    Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, 1, 3, 5]), &device);
                let pooled: Vec<f32> = pool(x, THREE).into_data().try_to_vec().expect("f32");
                assert!(
                    pooled[0].is_nan() && (pooled[1].is_nan() || at % 3 < 2),
                    "{at}: {pooled:?}"
                );
            }
        }
    }

    #[test]
    fn every_pool_is_that_of_a_plain_loop() {
        for device in cpu_devices() {
            compare_with_a_plain_loop(&device);
        }
    }

    #[test]
    #[ignore = "needs a GPU or a software Vulkan driver"]
    fn every_pool_on_a_gpu_is_that_of_a_plain_loop() {
        compare_with_a_plain_loop(&gpu_device());
    }

    /// With and without autodiff, which take different ways.
    fn compare_with_a_plain_loop(device: &Device) {
        let paddings = [Padding::Valid, Padding::Same, Padding::Each([1, 1])];
        for (height, width) in [(3, 3), (4, 7), (5, 4), (8, 8), (13, 6), (31, 54)] {
            let x = Tensor::<4>::random(
                [2, 3, height, width],
                Distribution::Normal(0.0, 1.0),
                device,
            );
            let values = read(x.clone()).expect("read");
            for kind in [PoolKind::Max, PoolKind::Average, PoolKind::AverageInside] {
                for (kernel, stride, ceil) in [
                    (2, 2, false),
                    (3, 2, false),
                    (3, 2, true),
                    (3, 1, false),
                    (3, 3, false),
                ] {
                    for padding in paddings {
                        if ceil && (padding != Padding::Valid || kind != PoolKind::Max)
                            || padding == Padding::Each([1, 1]) && kernel == 2 && height < 4
                        {
                            continue;
                        }
                        let shape = Pool {
                            kind,
                            kernel,
                            stride,
                            padding,
                            ceil,
                        };
                        let expected = plain(&values, [height, width], shape);
                        for x in [x.clone(), Tensor::from_inner(x.clone())] {
                            let got = read(pool(x, shape)).expect("read");
                            assert_eq!(got.len(), expected.len(), "{shape:?} {height}x{width}");
                            let worst = got
                                .iter()
                                .zip(&expected)
                                .map(|(a, b)| (a - b).abs())
                                .fold(0.0, f32::max);
                            assert!(worst < 1e-5, "{shape:?} {height}x{width}: {worst}");
                        }
                    }
                }
            }
        }
    }

    /// Of equal values, too, in windows that overlap.
    #[test]
    fn the_gradient_of_a_maximum_goes_to_its_first_position() {
        for device in [Device::flex(), Device::ndarray()].map(Device::autodiff) {
            for padding in [Padding::Valid, Padding::Same, Padding::Each([1, 1])] {
                let ([height, width], shape) = (
                    [5, 8],
                    Pool {
                        kind: PoolKind::Max,
                        kernel: 3,
                        stride: 2,
                        padding,
                        ceil: false,
                    },
                );
                let values: Vec<f32> = (0..2 * height * width)
                    .map(|at| ((at * 7919 + at * at * 31) % 5) as f32 - 3.0)
                    .collect();
                let x = Tensor::<4>::from_data(
                    TensorData::new(values.clone(), [1, 2, height, width]),
                    &device,
                )
                .require_grad();
                let pooled = pool(x.clone(), shape);
                let [_, _, rows, columns] = pooled.dims();
                let factors: Vec<f32> = (0..2 * rows * columns).map(|at| at as f32 + 1.0).collect();
                let of_pooled = Tensor::from_data(
                    TensorData::new(factors.clone(), [1, 2, rows, columns]),
                    &device,
                );
                let grads = (pooled * of_pooled).sum().backward();
                let found: Vec<f32> = x
                    .grad(&grads)
                    .expect("tracked")
                    .into_data()
                    .try_to_vec()
                    .expect("f32");
                let before = [(0, height), (1, width)]
                    .map(|(axis, side)| padding.of_side(axis, side, 3, 2)[0]);
                let mut expected = vec![0.0; values.len()];
                for (at, factor) in factors.iter().enumerate() {
                    let (plane, row, column) =
                        (at / (rows * columns), at / columns % rows, at % columns);
                    let window = (0..9).filter_map(|step| {
                        let y = (row * 2 + step / 3)
                            .checked_sub(before[0])
                            .filter(|y| *y < height)?;
                        let x = (column * 2 + step % 3)
                            .checked_sub(before[1])
                            .filter(|x| *x < width)?;
                        Some((plane * height + y) * width + x)
                    });
                    let first = window
                        .reduce(|best, at| if values[at] > values[best] { at } else { best })
                        .expect("a window reaches inside");
                    expected[first] += factor;
                }
                assert_eq!(found, expected, "{padding:?}");
            }
        }
    }

    fn plain(values: &[f32], [height, width]: [usize; 2], shape: Pool) -> Vec<f32> {
        let [rows, columns] = shape.output([height, width]).expect("fits");
        let before = [(0, height), (1, width)].map(|(axis, side)| {
            shape
                .padding
                .of_side(axis, side, shape.kernel, shape.stride)[0]
        });
        let mut out = Vec::new();
        for plane in values.chunks_exact(height * width) {
            for (row, column) in
                (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)))
            {
                let inside = |start: usize, before: usize, side: usize| {
                    (0..shape.kernel).filter_map(move |step| {
                        (start + step).checked_sub(before).filter(|at| *at < side)
                    })
                };
                let window: Vec<f32> = inside(row * shape.stride, before[0], height)
                    .flat_map(|y| {
                        inside(column * shape.stride, before[1], width)
                            .map(move |x| plane[y * width + x])
                    })
                    .collect();
                let sum: f32 = window.iter().sum();
                out.push(match shape.kind {
                    PoolKind::Max => window.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                    PoolKind::Average => sum / (shape.kernel * shape.kernel) as f32,
                    PoolKind::AverageInside => sum / window.len() as f32,
                });
            }
        }
        out
    }
}
