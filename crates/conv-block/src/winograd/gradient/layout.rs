//! Where the values of a pass lie.

use std::ops::Range;

use super::super::tiling::PLACES;
use crate::{shape::Conv, simd::Isa};

/// Tiles in a strip: a cache line of values, and of lanes.
pub(super) const STRIP: usize = 16;
/// Values that are transformed for a pass, unless a pass would have too few strips: then the sums
/// are read and written more often than is good.
const PASS_LEN: usize = 2 * 1024 * 1024;
/// Strips of a pass. The gradients of the most, at one place and for one block of outputs, fit the
/// first-level cache.
const PASS_STRIPS: [usize; 2] = [8, 16];
/// Inputs that a task multiplies with a block of outputs, and that another transforms.
pub(super) const TASK_INPUTS: usize = 48;

/// Where values lie.
#[derive(Clone, Copy)]
pub(super) struct Layout<'a> {
    pub(super) conv: &'a Conv,
    /// Outputs in a block.
    pub(super) block: usize,
    /// Strips of a pass.
    pub(super) strips: usize,
    /// Inputs that are multiplied together.
    pub(super) rows: usize,
}

impl<'a> Layout<'a> {
    pub(super) fn new(isa: Isa, conv: &'a Conv, strips: usize) -> Self {
        let of_strip = PLACES * STRIP * (conv.inputs + conv.outputs);
        let [fewest, most] = PASS_STRIPS;
        Self {
            conv,
            block: isa.block(),
            strips: (PASS_LEN / of_strip).clamp(fewest, most).min(strips),
            rows: 2 * isa.positions(),
        }
    }

    pub(super) fn blocks(&self) -> usize {
        self.conv.outputs.div_ceil(self.block)
    }

    /// Returns the number of inputs, rounded up to whole rows.
    pub(super) fn inputs(&self) -> usize {
        self.conv.inputs.next_multiple_of(self.rows)
    }

    /// Returns the inputs of each task.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let inputs = self.inputs();
        (0..inputs)
            .step_by(TASK_INPUTS)
            .map(move |first| first..(first + TASK_INPUTS).min(inputs))
    }

    /// Returns the distance between the patches of two places, each `[strip][input][tile]`. It is a
    /// cache line more than they take, because all places of a power of two would fall into the
    /// same cache set.
    pub(super) fn patches_pitch(&self) -> usize {
        self.strips * self.inputs() * STRIP + 16
    }

    /// Returns the distance between the gradients of two places, each `[block of
    /// outputs][strip][tile][output in block]`.
    pub(super) fn grads_pitch(&self) -> usize {
        self.blocks() * self.strips * STRIP * self.block + 16
    }

    /// Returns the number of a task's sums, `[place][input][output in block]`.
    pub(super) fn sums_len(&self) -> usize {
        PLACES * TASK_INPUTS * self.block
    }
}
