//! SIMD of WebAssembly. There is no detection at run time: a module with these instructions runs
//! where they exist, so the set is there if the crate is compiled with `simd128`.

use std::arch::wasm32::*;

use super::vector::{Simd, bytes};

#[derive(Clone, Copy)]
pub(crate) struct Simd128;

impl Simd for Simd128 {
    const LANES: usize = 4;
    // Machines with SSE have 16 registers.
    const SUMS: usize = 12;
    type V = v128;
    #[inline(always)]
    unsafe fn splat(x: f32) -> v128 {
        f32x4_splat(x)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> v128 {
        // SAFETY: the caller promises a readable vector at `from`.
        unsafe { v128_load(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: v128) {
        // SAFETY: the caller promises room for a vector at `to`.
        unsafe { v128_store(to.cast(), v) }
    }
    #[inline(always)]
    unsafe fn load_strided(from: *const f32, stride: usize) -> v128 {
        // SAFETY: the caller promises readable values.
        unsafe {
            f32x4(
                *from,
                *from.add(stride),
                *from.add(2 * stride),
                *from.add(3 * stride),
            )
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, v: v128) {
        // SAFETY: the caller promises room for 4 bytes at `to`.
        unsafe { to.cast::<[u8; 4]>().write_unaligned(bytes::<Self, 4>(v)) }
    }
    /// Rounds twice: only relaxed SIMD has a fused multiply-add, whose results differ by machine.
    #[inline(always)]
    unsafe fn fma(a: v128, b: v128, c: v128) -> v128 {
        f32x4_add(f32x4_mul(a, b), c)
    }
    #[inline(always)]
    unsafe fn keep_max(best: v128, code: v128, value: v128, value_code: v128) -> (v128, v128) {
        let ordered = f32x4_eq(best, best);
        let takes = v128_andnot(ordered, f32x4_le(value, best));
        (
            v128_bitselect(value, best, takes),
            v128_bitselect(value_code, code, takes),
        )
    }
    #[inline(always)]
    unsafe fn relu(best: v128, code: v128, dead: v128) -> (v128, v128) {
        let dies = f32x4_le(best, f32x4_splat(0.0));
        (v128_andnot(best, dies), v128_bitselect(dead, code, dies))
    }
    #[inline(always)]
    unsafe fn at_most(value: v128, limit: v128) -> v128 {
        // The limit where it is smaller, so that a NaN value passes.
        f32x4_pmin(value, limit)
    }
    #[inline(always)]
    unsafe fn sum(v: v128) -> f32 {
        let pairs = f32x4_add(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
        f32x4_extract_lane::<0>(pairs) + f32x4_extract_lane::<1>(pairs)
    }
}
