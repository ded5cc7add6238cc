//! What is made of the input before the convolution.

use crate::{shape::Tail, simd::Simd, tile::apply_tail};

/// A factor and an offset for each input channel, and a tail without pooling: what is made of the
/// input before the convolution.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// The factors.
    pub scale: &'a [f32],
    /// The offsets.
    pub shift: &'a [f32],
    /// What follows.
    pub tail: Tail,
}

impl Before<'_> {
    /// Replaces whole vectors of a channel's values.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    #[inline(always)]
    pub(super) unsafe fn apply<S: Simd>(&self, channel: usize, values: &mut [f32]) {
        for vector in values.chunks_exact_mut(S::LANES) {
            // SAFETY: as promised by the caller.
            unsafe {
                let (scale, shift) = (S::splat(self.scale[channel]), S::splat(self.shift[channel]));
                let mut value = [S::fma(S::load(vector.as_ptr()), scale, shift)];
                apply_tail::<S>(&mut value, self.tail);
                S::store(vector.as_mut_ptr(), value[0]);
            }
        }
    }
}
