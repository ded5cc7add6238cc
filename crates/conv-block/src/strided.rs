//! The gradient of the input of a convolution with stride 2. Every second row and column of it
//! depends on the same part of the kernel, so that it is four convolutions of the gradient with
//! small kernels, where one with the whole kernel would multiply three zeros of four.

use rayon::prelude::*;

use crate::{
    dense::{self, Dense},
    rows::Rows,
    shape::{Conv, Tail},
    simd::Isa,
};

/// Every second row or column of the input.
#[derive(Clone, Copy)]
struct Phase {
    /// The first of them, and their number.
    first: usize,
    count: usize,
    /// The first row or column of the kernel that meets them. Every second one does.
    tap: usize,
    /// Zeros before the gradient.
    padding: isize,
}

impl Phase {
    /// Returns the phase of a side of the input that begins with its row or column `first`.
    fn new(conv: &Conv, first: usize, side: usize) -> Self {
        let tap = (first + conv.padding) % 2;
        let taps = conv.kernel.div_ceil(2);
        Self {
            first,
            count: side.saturating_sub(first).div_ceil(2),
            tap,
            padding: taps as isize - 1 - ((first + conv.padding - tap) / 2) as isize,
        }
    }
}

/// Computes the gradient of the input from that of the result, for a stride of 2.
pub(crate) fn input_gradient(isa: Isa, conv: &Conv, weight: &[f32], grad: &dyn Rows) -> Vec<f32> {
    let mut input = vec![0.0; conv.input_len()];
    for row in [0, 1].map(|first| Phase::new(conv, first, conv.height)) {
        for column in [0, 1].map(|first| Phase::new(conv, first, conv.width)) {
            // A kernel of 1 meets one phase only.
            if row.tap < conv.kernel && column.tap < conv.kernel && row.count * column.count > 0 {
                let values = gradient_of(isa, conv, weight, grad, [row, column]);
                spread(conv, [row, column], &values, &mut input);
            }
        }
    }
    input
}

/// Computes the gradient of the rows and columns of two phases, `[images, inputs, rows, columns]`.
fn gradient_of(
    isa: Isa,
    conv: &Conv,
    weight: &[f32],
    grad: &dyn Rows,
    [rows, columns]: [Phase; 2],
) -> Vec<f32> {
    let (kernel, taps) = (conv.kernel, conv.kernel.div_ceil(2));
    let weights = dense::pack_weights(
        isa,
        [conv.inputs, conv.outputs, taps],
        |input, output, row, column| {
            // Rotated by 180 degrees; a phase may have a row or column less than its kernel.
            let [row, column] =
                [(row, rows), (column, columns)].map(|(at, phase)| 2 * (taps - 1 - at) + phase.tap);
            if row < kernel && column < kernel {
                weight[((output * conv.inputs + input) * kernel + row) * kernel + column]
            } else {
                0.0
            }
        },
    );
    let dense = Dense {
        images: conv.images,
        inputs: conv.outputs,
        in_size: conv.result_size(),
        outputs: conv.inputs,
        out_size: (rows.count, columns.count),
        kernel: taps,
        stride: 1,
        padding: [rows.padding, columns.padding],
        source: grad,
        weights: &weights,
        bias: &vec![0.0; conv.inputs.next_multiple_of(isa.block())],
        tail: Tail::Linear,
    };
    dense::run(isa, &dense, &mut [])
}

/// Copies the values of two phases to their places.
fn spread(conv: &Conv, [rows, columns]: [Phase; 2], values: &[f32], input: &mut [f32]) {
    let planes = input
        .par_chunks_exact_mut(conv.height * conv.width)
        .zip(values.par_chunks_exact(rows.count * columns.count));
    planes.for_each(|(input, values)| {
        let to = input
            .chunks_exact_mut(conv.width)
            .skip(rows.first)
            .step_by(2);
        for (to, from) in to.zip(values.chunks_exact(columns.count)) {
            let to = to.iter_mut().skip(columns.first).step_by(2);
            to.zip(from).for_each(|(to, from)| *to = *from);
        }
    });
}
