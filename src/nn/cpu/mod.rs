//! Our own operations on the CPU backends, which read and write their tensors as slices:
//! convolution blocks, batch norm, sums, pooling, whole blocks of networks that don't learn, and
//! optimizer steps.

#![expect(
    deprecated,
    reason = "burn-ndarray: Burn 0.23 removes it; until then it is part of what this program \
              promises"
)]

pub mod backend;
pub(super) mod block;
pub(super) mod conv_op;
pub(super) mod fused_step;
pub(super) mod inference;
pub(super) mod norm;
pub(super) mod pool;
pub(super) mod sum;
