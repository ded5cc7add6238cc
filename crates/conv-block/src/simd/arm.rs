//! NEON.

use std::arch::aarch64::*;

use super::vector::{Simd, bytes};

#[derive(Clone, Copy)]
pub(crate) struct Neon;

impl Simd for Neon {
    const LANES: usize = 4;
    const SUMS: usize = 24;
    type V = float32x4_t;
    #[inline(always)]
    unsafe fn splat(x: f32) -> float32x4_t {
        // SAFETY: the caller promises NEON.
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> float32x4_t {
        // SAFETY: the caller promises NEON and a readable vector at `from`.
        unsafe { vld1q_f32(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: float32x4_t) {
        // SAFETY: the caller promises NEON and room for a vector at `to`.
        unsafe { vst1q_f32(to, v) }
    }
    #[inline(always)]
    unsafe fn load_strided(from: *const f32, stride: usize) -> float32x4_t {
        // SAFETY: the caller promises NEON and readable values.
        unsafe {
            vld1q_f32(
                [
                    *from,
                    *from.add(stride),
                    *from.add(2 * stride),
                    *from.add(3 * stride),
                ]
                .as_ptr(),
            )
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, v: float32x4_t) {
        // SAFETY: the caller promises NEON and room for 4 bytes at `to`.
        unsafe { to.cast::<[u8; 4]>().write_unaligned(bytes::<Self, 4>(v)) }
    }
    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: the caller promises NEON.
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    unsafe fn keep_max(
        best: float32x4_t,
        code: float32x4_t,
        value: float32x4_t,
        value_code: float32x4_t,
    ) -> (float32x4_t, float32x4_t) {
        // SAFETY: the caller promises NEON.
        unsafe {
            let ordered = vceqq_f32(best, best);
            let takes = vbicq_u32(ordered, vcleq_f32(value, best));
            (
                vbslq_f32(takes, value, best),
                vbslq_f32(takes, value_code, code),
            )
        }
    }
    #[inline(always)]
    unsafe fn relu(
        best: float32x4_t,
        code: float32x4_t,
        dead: float32x4_t,
    ) -> (float32x4_t, float32x4_t) {
        // SAFETY: the caller promises NEON.
        unsafe {
            let dies = vcleq_f32(best, vdupq_n_f32(0.0));
            (
                vbslq_f32(dies, vdupq_n_f32(0.0), best),
                vbslq_f32(dies, dead, code),
            )
        }
    }
    #[inline(always)]
    unsafe fn at_most(value: float32x4_t, limit: float32x4_t) -> float32x4_t {
        // SAFETY: the caller promises NEON. A NaN on either side passes.
        unsafe { vminq_f32(value, limit) }
    }
    #[inline(always)]
    unsafe fn sum(v: float32x4_t) -> f32 {
        // SAFETY: the caller promises NEON.
        unsafe { vaddvq_f32(v) }
    }
}
