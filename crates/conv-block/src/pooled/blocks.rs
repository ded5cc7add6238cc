//! The blocks of inputs that are processed at a time, and the order of their weights.

use crate::{shape::Conv, simd::Isa};

/// The blocks of inputs that are processed at a time; the last one may be smaller.
pub(super) struct Blocks {
    lanes: usize,
    pub(super) size: usize,
    inputs: usize,
}

impl Blocks {
    /// Divides the inputs into blocks for an instruction set.
    pub(super) fn new(isa: Isa, inputs: usize) -> Self {
        let lanes = isa.lanes();
        // At most twelve vectors per run, which is what `segment` has code for.
        Self {
            lanes,
            size: inputs.min(if lanes == 4 { 16 } else { 32 }),
            inputs,
        }
    }

    /// Returns the number of blocks.
    pub(super) fn count(&self) -> usize {
        self.inputs.div_ceil(self.size)
    }

    /// Returns the number of inputs in a block.
    pub(super) fn size_of(&self, block: usize) -> usize {
        self.size.min(self.inputs - block * self.size)
    }

    /// Returns the number of vectors in a run of a block.
    pub(super) fn vectors(&self, block: usize) -> usize {
        (3 * self.size_of(block)).div_ceil(self.lanes)
    }

    /// Returns the number of values in the three runs of one output and block.
    pub(super) fn runs_len(&self, block: usize) -> usize {
        3 * self.vectors(block) * self.lanes
    }

    /// Returns the index at which a block starts among the runs of all blocks and outputs:
    /// `[block][output][kernel row][run]`.
    pub(super) fn runs_start(&self, block: usize, outputs: usize) -> usize {
        (0..block).map(|b| self.runs_len(b) * outputs).sum()
    }
}

/// Returns the index of the weight `[output][index]` among the runs.
pub(super) fn run_index(conv: &Conv, blocks: &Blocks, output: usize, index: usize) -> usize {
    let (input, row, column) = (index / 9, index % 9 / 3, index % 3);
    let block = input / blocks.size;
    let run = column * blocks.size_of(block) + input % blocks.size;
    blocks.runs_start(block, conv.outputs)
        + output * blocks.runs_len(block)
        + row * blocks.runs_len(block) / 3
        + run
}

/// Packs the weights as runs.
pub(super) fn pack_runs(conv: &Conv, blocks: &Blocks, weight: &[f32], len: usize) -> Vec<f32> {
    let mut runs = vec![0.0; len];
    for (output, weight) in weight.chunks_exact(conv.inputs * 9).enumerate() {
        for (index, value) in weight.iter().enumerate() {
            runs[run_index(conv, blocks, output, index)] = *value;
        }
    }
    runs
}
