//! The CPU backends as slices of this process: our own convolution blocks, pooling and optimizer steps on them.

#[expect(deprecated, reason = "burn-ndarray: Burn 0.23 removes it; until then it is part of what this program promises")]
pub mod backend;
#[expect(deprecated, reason = "burn-ndarray: Burn 0.23 removes it; until then it is part of what this program promises")]
pub(super) mod conv_op;
#[expect(deprecated, reason = "burn-ndarray: Burn 0.23 removes it; until then it is part of what this program promises")]
pub(super) mod fused_step;
pub(super) mod max_pool;
