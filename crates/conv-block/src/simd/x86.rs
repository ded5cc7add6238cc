//! AVX-512 and AVX2.

use std::arch::{asm, x86_64::*};

use super::vector::{self, Simd, bytes};
use crate::shape::DEAD;

/// See [`Simd::hide`].
#[expect(
    clippy::pointers_in_nomem_asm_block,
    reason = "the block is empty: it reads nothing"
)]
#[inline(always)]
fn hide(mut pointer: *const f32) -> *const f32 {
    // SAFETY: the block has no instruction; it only makes the compiler forget what it knows of
    // the pointer.
    unsafe {
        asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags))
    };
    pointer
}

#[derive(Clone, Copy)]
pub(crate) struct Avx512;

impl Simd for Avx512 {
    const LANES: usize = 16;
    const SUMS: usize = 24;
    type V = __m512;
    #[inline(always)]
    fn hide(pointer: *const f32) -> *const f32 {
        hide(pointer)
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: the caller promises AVX-512F.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: the caller promises AVX-512F and a readable vector at `from`.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m512) {
        // SAFETY: the caller promises AVX-512F and room for a vector at `to`.
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn load_strided(from: *const f32, stride: usize) -> __m512 {
        // SAFETY: the caller promises AVX-512F, readable values and offsets that fit 32 bits.
        unsafe {
            let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            _mm512_i32gather_ps::<4>(
                _mm512_mullo_epi32(lanes, _mm512_set1_epi32(stride as i32)),
                from,
            )
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, v: __m512) {
        // SAFETY: the caller promises AVX-512F and room for 16 bytes at `to`.
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(v))) }
    }
    #[inline(always)]
    unsafe fn list_lives(
        grads: &[f32],
        codes: &[u8],
        [first, step]: [u32; 2],
        places: &[u32; 16],
        (values, offsets): (*mut f32, *mut u32),
    ) -> usize {
        // SAFETY: the caller promises AVX-512F and lists with room for a vector more than there
        // are gradients; loads end within `whole`, which both slices reach.
        unsafe {
            let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let steps = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(step as i32));
            let places_of = _mm512_loadu_si512(places.as_ptr().cast());
            let whole = grads.len() - grads.len() % 16;
            let mut count = 0;
            for i in (0..whole).step_by(16) {
                let grad = _mm512_loadu_ps(grads.as_ptr().add(i));
                let code = _mm512_cvtepu8_epi32(_mm_loadu_si128(codes.as_ptr().add(i).cast()));
                let lives = _mm512_cmplt_epu32_mask(code, _mm512_set1_epi32(i32::from(DEAD)));
                let lives =
                    _mm512_mask_cmp_ps_mask::<_CMP_NEQ_UQ>(lives, grad, _mm512_setzero_ps());
                let start = _mm512_set1_epi32((first + i as u32 * step) as i32);
                let offset = _mm512_add_epi32(
                    _mm512_add_epi32(start, steps),
                    _mm512_permutexvar_epi32(code, places_of),
                );
                // Compress in a register first: compressing straight to memory is slow on some
                // processors.
                _mm512_storeu_ps(values.add(count), _mm512_maskz_compress_ps(lives, grad));
                _mm512_storeu_si512(
                    offsets.add(count).cast(),
                    _mm512_maskz_compress_epi32(lives, offset),
                );
                count += lives.count_ones() as usize;
            }
            let rest = (values.add(count), offsets.add(count));
            count
                + vector::list_lives(
                    &grads[whole..],
                    &codes[whole..],
                    [first + whole as u32 * step, step],
                    places,
                    rest,
                )
        }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the caller promises AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn keep_max(
        best: __m512,
        code: __m512,
        value: __m512,
        value_code: __m512,
    ) -> (__m512, __m512) {
        // SAFETY: the caller promises AVX-512F.
        unsafe {
            let ordered = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(best, best);
            let takes = _mm512_mask_cmp_ps_mask::<_CMP_NLE_UQ>(ordered, value, best);
            (
                _mm512_mask_blend_ps(takes, best, value),
                _mm512_mask_blend_ps(takes, code, value_code),
            )
        }
    }
    #[inline(always)]
    unsafe fn relu(best: __m512, code: __m512, dead: __m512) -> (__m512, __m512) {
        // SAFETY: the caller promises AVX-512F.
        unsafe {
            let lives = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(best, _mm512_setzero_ps());
            (
                _mm512_maskz_mov_ps(lives, best),
                _mm512_mask_blend_ps(lives, dead, code),
            )
        }
    }
    #[inline(always)]
    unsafe fn at_most(value: __m512, limit: __m512) -> __m512 {
        // SAFETY: the caller promises the instruction set. Where one of the two is NaN the second
        // is taken.
        unsafe { _mm512_min_ps(limit, value) }
    }
    #[inline(always)]
    unsafe fn sum(v: __m512) -> f32 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_reduce_add_ps(v) }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Avx2;

impl Simd for Avx2 {
    const LANES: usize = 8;
    const SUMS: usize = 12;
    type V = __m256;
    #[inline(always)]
    fn hide(pointer: *const f32) -> *const f32 {
        hide(pointer)
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        // SAFETY: the caller promises AVX2 and FMA.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: the caller promises AVX2 and FMA and a readable vector at `from`.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m256) {
        // SAFETY: the caller promises AVX2 and FMA and room for a vector at `to`.
        unsafe { _mm256_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn load_strided(from: *const f32, stride: usize) -> __m256 {
        // SAFETY: the caller promises AVX2 and FMA, readable values and offsets that fit 32
        // bits.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_i32gather_ps::<4>(
                from,
                _mm256_mullo_epi32(lanes, _mm256_set1_epi32(stride as i32)),
            )
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, v: __m256) {
        // SAFETY: the caller promises AVX2 and FMA and room for 8 bytes at `to`.
        unsafe { to.cast::<[u8; 8]>().write_unaligned(bytes::<Self, 8>(v)) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the caller promises AVX2 and FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn keep_max(
        best: __m256,
        code: __m256,
        value: __m256,
        value_code: __m256,
    ) -> (__m256, __m256) {
        // SAFETY: the caller promises AVX2 and FMA.
        unsafe {
            let ordered = _mm256_cmp_ps::<_CMP_ORD_Q>(best, best);
            let takes = _mm256_and_ps(ordered, _mm256_cmp_ps::<_CMP_NLE_UQ>(value, best));
            (
                _mm256_blendv_ps(best, value, takes),
                _mm256_blendv_ps(code, value_code, takes),
            )
        }
    }
    #[inline(always)]
    unsafe fn relu(best: __m256, code: __m256, dead: __m256) -> (__m256, __m256) {
        // SAFETY: the caller promises AVX2 and FMA.
        unsafe {
            let lives = _mm256_cmp_ps::<_CMP_NLE_UQ>(best, _mm256_setzero_ps());
            (
                _mm256_and_ps(lives, best),
                _mm256_blendv_ps(dead, code, lives),
            )
        }
    }
    #[inline(always)]
    unsafe fn at_most(value: __m256, limit: __m256) -> __m256 {
        // SAFETY: the caller promises the instruction set. Where one of the two is NaN the second
        // is taken.
        unsafe { _mm256_min_ps(limit, value) }
    }
    #[inline(always)]
    unsafe fn sum(v: __m256) -> f32 {
        // SAFETY: the caller promises the instruction set.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)))
        }
    }
}
