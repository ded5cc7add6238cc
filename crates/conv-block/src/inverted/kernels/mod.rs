//! The loops over a strip.

mod depthwise;
mod expand;
mod project;
mod tiles;

use self::tiles::PIXELS;
use super::strip::Strip;
use crate::simd::{Simd, per_isa};

per_isa! {
    /// Computes a strip; `memory` is working memory of [`super::strip::Plan::memory`] values.
    pub(super) fn run_strip(strip: &Strip<'_>, memory: &mut [f32]) = strip_kernel
}

/// Computes a strip's rows of all outputs. Channels are expanded, or inputs laid out in their
/// place, and convolved by vectors, to `[vector][pixel][channel]`; the gate and the last
/// convolution take all of them.
///
/// # Safety
/// The CPU must have the instruction set, and no other task may hold a strip of the same rows.
#[inline(always)]
unsafe fn strip_kernel<S: Simd, const NV: usize>(strip: &Strip<'_>, memory: &mut [f32]) {
    let (block, plan) = (strip.block, strip.plan);
    assert!(memory.len() == plan.memory(block));
    let (expanded, results) = memory.split_at_mut(2 * plan.expanded * S::LANES);
    let num_results = (strip.rows[1] - strip.rows[0]) * plan.result[1];
    let results = &mut results[..block.num_vectors() * num_results * S::LANES];
    let has_many_sums = S::SUMS >= 2 * PIXELS;
    // Padding, which no channel overwrites.
    expanded.fill(0.0);
    // SAFETY: the caller promises the instruction set and that the rows are this task's alone.
    unsafe {
        if let Some(expand) = &block.expand {
            for panel in &expand.panels {
                match (panel.vectors, has_many_sums) {
                    (1, _) => strip.expand::<S, 1, PIXELS>(panel, expanded),
                    (_, false) => strip.expand::<S, 2, { PIXELS / 2 }>(panel, expanded),
                    (_, true) => strip.expand::<S, 2, PIXELS>(panel, expanded),
                }
                let vectors = panel.first / S::LANES..panel.first / S::LANES + panel.vectors;
                for (at, vector) in vectors.enumerate() {
                    let expanded = &mut expanded[at * plan.expanded * S::LANES..];
                    strip.depthwise_vector::<S, NV>(vector, expanded, results);
                }
            }
        } else {
            for vector in 0..block.num_vectors() {
                strip.turn::<S>(vector, expanded);
                strip.depthwise_vector::<S, NV>(vector, expanded, results);
            }
        }
        if let Some(gate) = &block.gate {
            gate.apply::<S, NV>(results, num_results);
        }
        for panel in &block.project.panels {
            match (panel.vectors, has_many_sums) {
                (1, _) => strip.project::<S, NV, 1, PIXELS>(panel, results, num_results),
                (_, false) => {
                    strip.project::<S, NV, 2, { PIXELS / 2 }>(panel, results, num_results)
                }
                (_, true) => strip.project::<S, NV, 2, PIXELS>(panel, results, num_results),
            }
        }
    }
}
