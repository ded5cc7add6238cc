//! Plain loops for any machine.

use super::vector::Simd;

/// Vectors of `N` values.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<const N: usize>;

/// As many lanes as AVX2 has.
pub(crate) type Portable = Lanes<8>;

impl<const N: usize> Simd for Lanes<N> {
    const LANES: usize = N;
    const SUMS: usize = 24;
    type V = [f32; N];
    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; N] {
        [x; N]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; N] {
        // SAFETY: the caller promises `N` readable values.
        unsafe { from.cast::<[f32; N]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: [f32; N]) {
        // SAFETY: the caller promises room for `N` values.
        unsafe { to.cast::<[f32; N]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_strided(from: *const f32, stride: usize) -> [f32; N] {
        // SAFETY: the caller promises that each value can be read.
        std::array::from_fn(|i| unsafe { *from.add(i * stride) })
    }
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, v: [f32; N]) {
        // SAFETY: the caller promises room for `N` bytes.
        unsafe {
            to.cast::<[u8; N]>()
                .write_unaligned(v.map(|value| value as u8))
        }
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn keep_max(
        best: [f32; N],
        code: [f32; N],
        value: [f32; N],
        value_code: [f32; N],
    ) -> ([f32; N], [f32; N]) {
        let takes: [bool; N] =
            std::array::from_fn(|i| !best[i].is_nan() && (value[i] > best[i] || value[i].is_nan()));
        (
            std::array::from_fn(|i| if takes[i] { value[i] } else { best[i] }),
            std::array::from_fn(|i| if takes[i] { value_code[i] } else { code[i] }),
        )
    }
    #[inline(always)]
    unsafe fn relu(best: [f32; N], code: [f32; N], dead: [f32; N]) -> ([f32; N], [f32; N]) {
        (
            std::array::from_fn(|i| if best[i] <= 0.0 { 0.0 } else { best[i] }),
            std::array::from_fn(|i| if best[i] <= 0.0 { dead[i] } else { code[i] }),
        )
    }
    #[inline(always)]
    unsafe fn at_most(value: [f32; N], limit: [f32; N]) -> [f32; N] {
        std::array::from_fn(|i| {
            if value[i] > limit[i] {
                limit[i]
            } else {
                value[i]
            }
        })
    }
    #[inline(always)]
    unsafe fn sum(v: [f32; N]) -> f32 {
        v.iter().sum()
    }
}
