//! Plain loops for any machine.

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Simd for Portable {
    const LANES: usize = 8;
    type V = [f32; 8];
    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 8] {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 8] {
        // SAFETY: the caller promises eight readable values.
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: [f32; 8]) {
        // SAFETY: the caller promises room for eight values.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_strided(from: *const f32, stride: usize) -> [f32; 8] {
        // SAFETY: the caller promises that each value can be read.
        std::array::from_fn(|i| unsafe { *from.add(i * stride) })
    }
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, v: [f32; 8]) {
        // SAFETY: the caller promises room for eight bytes.
        unsafe { to.cast::<[u8; 8]>().write_unaligned(v.map(|value| value as u8)) }
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn keep_max(best: [f32; 8], code: [f32; 8], value: [f32; 8], value_code: [f32; 8]) -> ([f32; 8], [f32; 8]) {
        let takes: [bool; 8] = std::array::from_fn(|i| !best[i].is_nan() && (value[i] > best[i] || value[i].is_nan()));
        (
            std::array::from_fn(|i| if takes[i] { value[i] } else { best[i] }),
            std::array::from_fn(|i| if takes[i] { value_code[i] } else { code[i] }),
        )
    }
    #[inline(always)]
    unsafe fn relu(best: [f32; 8], code: [f32; 8], dead: [f32; 8]) -> ([f32; 8], [f32; 8]) {
        (
            std::array::from_fn(|i| if best[i] <= 0.0 { 0.0 } else { best[i] }),
            std::array::from_fn(|i| if best[i] <= 0.0 { dead[i] } else { code[i] }),
        )
    }
    #[inline(always)]
    unsafe fn at_most(value: [f32; 8], limit: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| if value[i] > limit[i] { limit[i] } else { value[i] })
    }
}
