//! Finds the nonzero gradients behind pooling.

use crate::{
    shape::Conv,
    simd::{Simd, per_isa},
};

/// The nonzero gradients of a segment, output by output, each with the offset of its first run from
/// the segment's start.
pub(super) struct Lists {
    pub(super) values: Vec<f32>,
    pub(super) offsets: Vec<u32>,
    /// Number of gradients of each output.
    pub(super) counts: Vec<usize>,
    /// Room for one output: one vector more than there are cells, as whole vectors are written.
    pub(super) capacity: usize,
}

impl Lists {
    /// Makes room for `cells` gradients of each output.
    pub(super) fn new(outputs: usize, cells: usize) -> Self {
        let capacity = cells + 16;
        Self {
            values: vec![0.0; outputs * capacity],
            offsets: vec![0; outputs * capacity],
            counts: vec![0; outputs],
            capacity,
        }
    }

    /// Adds the sum of each output's gradients to its bias, in sixteen lanes.
    pub(super) fn add_sums(&self, bias: &mut [f32]) {
        for (output, bias) in bias.iter_mut().enumerate() {
            let mut lanes = [0.0f32; 16];
            for values in self.values[output * self.capacity..][..self.counts[output]].chunks(16) {
                for (lane, value) in lanes.iter_mut().zip(values) {
                    *lane += value;
                }
            }
            *bias += lanes.iter().sum::<f32>();
        }
    }
}

/// A rectangle of cells.
#[derive(Clone, Copy)]
pub(super) struct Cells {
    /// First row and the row after the last.
    pub(super) rows: [usize; 2],
    /// First column and the column after the last.
    pub(super) columns: [usize; 2],
}

/// The cells to search, and the layout of the packed image that their offsets refer to.
pub(super) struct Find<'a> {
    pub(super) conv: &'a Conv,
    /// Gradients and codes of the pooled values of all images.
    pub(super) grad: &'a [f32],
    pub(super) codes: &'a [u8],
    /// Number of the image.
    pub(super) image: usize,
    pub(super) cells: Cells,
    pub(super) columns: usize,
    pub(super) size: usize,
}

per_isa! {
    /// Lists the nonzero gradients of the cells.
    pub(super) fn find_lives(find: &Find<'_>, lists: &mut Lists) = find_kernel
}

/// Lists the nonzero gradients of the cells, output by output and row by row, with their offsets,
/// and counts those of each output.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn find_kernel<S: Simd, const NV: usize>(find: &Find<'_>, lists: &mut Lists) {
    let Find {
        conv,
        grad,
        codes,
        image,
        cells:
            Cells {
                rows: [top, bottom],
                columns: [left, right],
            },
        columns,
        size,
    } = *find;
    let (cell_rows, cell_columns) = (conv.result_size().0 / 2, conv.result_size().1 / 2);
    let mut places = [0; 16];
    places[..4].copy_from_slice(
        &[0, size, columns * size, (columns + 1) * size].map(|place| place as u32),
    );
    assert!(lists.capacity >= (bottom - top) * (right - left) + 16);
    for output in 0..conv.outputs {
        let plane = (image * conv.outputs + output) * cell_rows * cell_columns;
        let mut count = 0;
        for row in top..bottom {
            let range = plane + row * cell_columns + left..plane + row * cell_columns + right;
            let first = (2 * (row - top) * columns * size) as u32;
            let at = output * lists.capacity + count;
            // SAFETY: the caller promises the instruction set; both slices have the same range, and
            // a list has room for all cells and a vector more.
            unsafe {
                let to = (
                    lists.values.as_mut_ptr().add(at),
                    lists.offsets.as_mut_ptr().add(at),
                );
                count += S::list_lives(
                    &grad[range.clone()],
                    &codes[range],
                    [first, 2 * size as u32],
                    &places,
                    to,
                );
            }
        }
        lists.counts[output] = count;
    }
}
