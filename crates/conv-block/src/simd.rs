//! The few vector operations that the kernels are written in, once for each instruction set, and the choice among them.
//!
//! A kernel is a generic function, `inline(always)` down to the intrinsics, and [`per_isa!`] stamps it into one function with
//! the target features of each set: nothing is called through a pointer inside a loop, and no compiler flag is needed.

use crate::DEAD;

/// An instruction set that this machine has and that the kernels have a code path for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(pub(crate) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 16 lanes, 32 registers.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 8 lanes, 16 registers.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 4 lanes, 32 registers.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Whatever the compiler makes of plain loops; no fused multiply-add.
    Portable,
}

impl Isa {
    /// All that this machine has, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if !cfg!(miri) {
            if is_x86_feature_detected!("avx512f") {
                found.push(Self(Kind::Avx512));
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Self(Kind::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if !cfg!(miri) && std::arch::is_aarch64_feature_detected!("neon") {
            found.push(Self(Kind::Neon));
        }
        found.push(Self(Kind::Portable));
        found
    }

    /// The fastest that this machine has.
    pub fn best() -> Self {
        static BEST: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Self::available()[0])
    }

    /// Output channels that one register tile computes: what weights are padded to.
    pub(crate) fn block(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => 32,
            _ => 8,
        }
    }

    /// Lanes of one vector.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => 16,
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => 4,
            _ => 8,
        }
    }
}

/// Vectors of `f32`.
///
/// # Safety
/// All functions need the CPU to have the instruction set; `load` and `store` need [`Self::LANES`] values at the pointer,
/// of any alignment.
pub(crate) trait Simd: Copy {
    const LANES: usize;
    type V: Copy;
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    /// Values that lie `stride` apart.
    unsafe fn load_strided(from: *const f32, stride: usize) -> Self::V;
    /// As bytes; the values are whole numbers from 0 to 255.
    unsafe fn store_bytes(to: *mut u8, v: Self::V);
    /// The same pointer, of which the compiler knows nothing, so that it does not keep what it has read there in registers that
    /// sums need.
    #[inline(always)]
    fn hide(pointer: *const f32) -> *const f32 {
        pointer
    }
    /// Appends the gradients that live, and where they belong, to two lists, in order; returns how many. `codes[i]` below
    /// [`crate::DEAD`] belongs to `first + i * step + places[codes[i]]`. May write [`Self::LANES`] values beyond what it returns.
    #[inline(always)]
    unsafe fn list_lives(grads: &[f32], codes: &[u8], [first, step]: [u32; 2], places: &[u32; 16], lists: (*mut f32, *mut u32)) -> usize {
        // SAFETY: the caller has room for as many as there are, and more.
        unsafe { list_lives(grads, codes, [first, step], places, lists) }
    }
    /// `a * b + c`.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// A step of a running maximum that remembers where it was found: the first of equals wins, a NaN wins and stays.
    unsafe fn keep_max(best: Self::V, code: Self::V, value: Self::V, value_code: Self::V) -> (Self::V, Self::V);
    /// ReLU of the maximum; where it is not above zero, the code becomes `dead`. NaN passes.
    unsafe fn relu(best: Self::V, code: Self::V, dead: Self::V) -> (Self::V, Self::V);
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{DEAD, Simd, bytes};
    use std::arch::{asm, x86_64::*};

    #[expect(clippy::pointers_in_nomem_asm_block, reason = "the block is empty: it reads nothing")]
    #[inline(always)]
    fn hide(mut pointer: *const f32) -> *const f32 {
        // SAFETY: no instruction at all.
        unsafe { asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags)) };
        pointer
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx512;

    // SAFETY (of every body): the trait asks the caller for the instruction set and for valid pointers.
    impl Simd for Avx512 {
        const LANES: usize = 16;
        type V = __m512;
        #[inline(always)]
        fn hide(pointer: *const f32) -> *const f32 {
            hide(pointer)
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m512 {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: __m512) {
            unsafe { _mm512_storeu_ps(to, v) }
        }
        #[inline(always)]
        unsafe fn load_strided(from: *const f32, stride: usize) -> __m512 {
            unsafe {
                let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                _mm512_i32gather_ps::<4>(_mm512_mullo_epi32(lanes, _mm512_set1_epi32(stride as i32)), from)
            }
        }
        #[inline(always)]
        unsafe fn store_bytes(to: *mut u8, v: __m512) {
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
                    let lives = _mm512_mask_cmp_ps_mask::<_CMP_NEQ_UQ>(lives, grad, _mm512_setzero_ps());
                    let start = _mm512_set1_epi32((first + i as u32 * step) as i32);
                    let offset = _mm512_add_epi32(_mm512_add_epi32(start, steps), _mm512_permutexvar_epi32(code, places_of));
                    // Compressed in a register first: straight to memory is slow on some processors.
                    _mm512_storeu_ps(values.add(count), _mm512_maskz_compress_ps(lives, grad));
                    _mm512_storeu_si512(offsets.add(count).cast(), _mm512_maskz_compress_epi32(lives, offset));
                    count += lives.count_ones() as usize;
                }
                let rest = (values.add(count), offsets.add(count));
                count + super::list_lives(&grads[whole..], &codes[whole..], [first + whole as u32 * step, step], places, rest)
            }
        }
        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn keep_max(best: __m512, code: __m512, value: __m512, value_code: __m512) -> (__m512, __m512) {
            unsafe {
                let ordered = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(best, best);
                let takes = _mm512_mask_cmp_ps_mask::<_CMP_NLE_UQ>(ordered, value, best);
                (_mm512_mask_blend_ps(takes, best, value), _mm512_mask_blend_ps(takes, code, value_code))
            }
        }
        #[inline(always)]
        unsafe fn relu(best: __m512, code: __m512, dead: __m512) -> (__m512, __m512) {
            unsafe {
                let lives = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(best, _mm512_setzero_ps());
                (_mm512_maskz_mov_ps(lives, best), _mm512_mask_blend_ps(lives, dead, code))
            }
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx2;

    // SAFETY (of every body): the trait asks the caller for the instruction set and for valid pointers.
    impl Simd for Avx2 {
        const LANES: usize = 8;
        type V = __m256;
        #[inline(always)]
        fn hide(pointer: *const f32) -> *const f32 {
            hide(pointer)
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m256 {
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: __m256) {
            unsafe { _mm256_storeu_ps(to, v) }
        }
        #[inline(always)]
        unsafe fn load_strided(from: *const f32, stride: usize) -> __m256 {
            unsafe {
                let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                _mm256_i32gather_ps::<4>(from, _mm256_mullo_epi32(lanes, _mm256_set1_epi32(stride as i32)))
            }
        }
        #[inline(always)]
        unsafe fn store_bytes(to: *mut u8, v: __m256) {
            unsafe { to.cast::<[u8; 8]>().write_unaligned(bytes::<Self, 8>(v)) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn keep_max(best: __m256, code: __m256, value: __m256, value_code: __m256) -> (__m256, __m256) {
            unsafe {
                let ordered = _mm256_cmp_ps::<_CMP_ORD_Q>(best, best);
                let takes = _mm256_and_ps(ordered, _mm256_cmp_ps::<_CMP_NLE_UQ>(value, best));
                (_mm256_blendv_ps(best, value, takes), _mm256_blendv_ps(code, value_code, takes))
            }
        }
        #[inline(always)]
        unsafe fn relu(best: __m256, code: __m256, dead: __m256) -> (__m256, __m256) {
            unsafe {
                let lives = _mm256_cmp_ps::<_CMP_NLE_UQ>(best, _mm256_setzero_ps());
                (_mm256_and_ps(lives, best), _mm256_blendv_ps(dead, code, lives))
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) use arm::Neon;

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::{Simd, bytes};
    use std::arch::aarch64::*;

    #[derive(Clone, Copy)]
    pub(crate) struct Neon;

    // SAFETY (of every body): the trait asks the caller for the instruction set and for valid pointers.
    impl Simd for Neon {
        const LANES: usize = 4;
        type V = float32x4_t;
        #[inline(always)]
        unsafe fn splat(x: f32) -> float32x4_t {
            unsafe { vdupq_n_f32(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> float32x4_t {
            unsafe { vld1q_f32(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: float32x4_t) {
            unsafe { vst1q_f32(to, v) }
        }
        #[inline(always)]
        unsafe fn load_strided(from: *const f32, stride: usize) -> float32x4_t {
            unsafe { vld1q_f32([*from, *from.add(stride), *from.add(2 * stride), *from.add(3 * stride)].as_ptr()) }
        }
        #[inline(always)]
        unsafe fn store_bytes(to: *mut u8, v: float32x4_t) {
            unsafe { to.cast::<[u8; 4]>().write_unaligned(bytes::<Self, 4>(v)) }
        }
        #[inline(always)]
        unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            unsafe { vfmaq_f32(c, a, b) }
        }
        #[inline(always)]
        unsafe fn keep_max(
            best: float32x4_t,
            code: float32x4_t,
            value: float32x4_t,
            value_code: float32x4_t,
        ) -> (float32x4_t, float32x4_t) {
            unsafe {
                let ordered = vceqq_f32(best, best);
                let takes = vbicq_u32(ordered, vcleq_f32(value, best));
                (vbslq_f32(takes, value, best), vbslq_f32(takes, value_code, code))
            }
        }
        #[inline(always)]
        unsafe fn relu(best: float32x4_t, code: float32x4_t, dead: float32x4_t) -> (float32x4_t, float32x4_t) {
            unsafe {
                let dies = vcleq_f32(best, vdupq_n_f32(0.0));
                (vbslq_f32(dies, vdupq_n_f32(0.0), best), vbslq_f32(dies, dead, code))
            }
        }
    }
}

/// The lanes as bytes, by way of memory.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
unsafe fn bytes<S: Simd, const LANES: usize>(v: S::V) -> [u8; LANES] {
    let mut lanes = [0.0; LANES];
    // SAFETY: the caller has the instruction set, and there is room for all lanes.
    unsafe { S::store(lanes.as_mut_ptr(), v) };
    lanes.map(|value| value as u8)
}

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
        // SAFETY: the trait asks the caller for eight values.
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: [f32; 8]) {
        // SAFETY: the trait asks the caller for room for eight values.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_strided(from: *const f32, stride: usize) -> [f32; 8] {
        // SAFETY: the trait asks the caller for the values.
        std::array::from_fn(|i| unsafe { *from.add(i * stride) })
    }
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, v: [f32; 8]) {
        // SAFETY: the trait asks the caller for room for eight bytes.
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
}

/// [`Simd::list_lives`] without vectors, and without a branch, as half of the cells may be dead in no order.
///
/// # Safety
/// The lists have room for one more than there are gradients.
#[inline(always)]
unsafe fn list_lives(
    grads: &[f32],
    codes: &[u8],
    [first, step]: [u32; 2],
    places: &[u32; 16],
    (values, offsets): (*mut f32, *mut u32),
) -> usize {
    let (mut count, mut offset) = (0, first);
    for (grad, code) in grads.iter().zip(codes) {
        // SAFETY: `count` is at most the number of gradients before this one.
        unsafe {
            *values.add(count) = *grad;
            *offsets.add(count) = offset + places[usize::from(*code & 15)];
        }
        count += usize::from((*code < DEAD) & (*grad != 0.0));
        offset += step;
    }
    count
}

/// `out[i] = from[i * stride]`.
///
/// # Safety
/// The CPU has the instruction set; `from` has the values.
#[inline(always)]
pub(crate) unsafe fn copy_strided<S: Simd>(from: *const f32, stride: usize, out: &mut [f32]) {
    let whole = out.len() - out.len() % S::LANES;
    // SAFETY: as asked of the caller.
    unsafe {
        for i in (0..whole).step_by(S::LANES) {
            S::store(out.as_mut_ptr().add(i), S::load_strided(from.add(i * stride), stride));
        }
        for (i, out) in out.iter_mut().enumerate().skip(whole) {
            *out = *from.add(i * stride);
        }
    }
}

/// The same, as bytes.
///
/// # Safety
/// As for [`copy_strided`].
#[inline(always)]
pub(crate) unsafe fn copy_strided_bytes<S: Simd>(from: *const f32, stride: usize, out: &mut [u8]) {
    let whole = out.len() - out.len() % S::LANES;
    // SAFETY: as asked of the caller.
    unsafe {
        for i in (0..whole).step_by(S::LANES) {
            S::store_bytes(out.as_mut_ptr().add(i), S::load_strided(from.add(i * stride), stride));
        }
        for (i, out) in out.iter_mut().enumerate().skip(whole) {
            *out = *from.add(i * stride) as u8;
        }
    }
}

/// `per_isa! { fn name(args) -> T = kernel }` makes `name(isa, args)`, which runs `kernel::<S, NV>(args)` compiled for that
/// set; `NV` is the number of vectors of output channels in a tile, so that `NV * LANES` is [`Isa::block`].
macro_rules! per_isa {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $kernel:ident) => {
        $(#[$doc])*
        fn $name(isa: $crate::simd::Isa, $($arg: $ty),*) {
            use $crate::simd::Kind;
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: this function is compiled with the features; its caller has seen them.
                unsafe { $kernel::<$crate::simd::Avx512, 2>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: this function is compiled with the features; its caller has seen them.
                unsafe { $kernel::<$crate::simd::Avx2, 1>($($arg),*) }
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            unsafe fn neon($($arg: $ty),*) {
                // SAFETY: this function is compiled with the features; its caller has seen them.
                unsafe { $kernel::<$crate::simd::Neon, 2>($($arg),*) }
            }
            // SAFETY: an `Isa` comes from `available`, which asks the CPU; the kernels' own demands are their callers' arguments,
            // checked where they are built.
            unsafe {
                match isa.0 {
                    #[cfg(target_arch = "x86_64")]
                    Kind::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Kind::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "aarch64")]
                    Kind::Neon => neon($($arg),*),
                    Kind::Portable => $kernel::<$crate::simd::Portable, 1>($($arg),*),
                }
            }
        }
    };
}
pub(crate) use per_isa;
