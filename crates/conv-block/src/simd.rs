//! The few vector operations that the kernels are written in, for each instruction set, and the
//! choice among the sets at run time.
//!
//! A kernel is a generic function that is `inline(always)` down to the intrinsics. [`per_isa!`]
//! compiles it into one function per set, with the set's target features, so that no loop calls
//! through a pointer and no compiler flag is needed.

use crate::DEAD;

/// An instruction set that this machine has and the kernels support.
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
    /// Plain loops for any machine, without fused multiply-add.
    Portable,
}

impl Isa {
    /// Returns all sets that this machine has, the fastest first.
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

    /// Returns the fastest set that this machine has.
    pub fn best() -> Self {
        static BEST: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Self::available()[0])
    }

    /// Returns the number of output channels that one register tile computes, to which weights are
    /// padded.
    pub(crate) fn block(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => 32,
            _ => 8,
        }
    }

    /// Returns the number of lanes of a vector.
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

/// Vectors of `f32` of one instruction set.
///
/// # Safety
/// All functions require the CPU to have the instruction set. Pointers must be valid for
/// [`Self::LANES`] values and may have any alignment.
pub(crate) trait Simd: Copy {
    /// Number of values in a vector.
    const LANES: usize;
    /// A vector.
    type V: Copy;
    /// Returns a vector of equal values.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    unsafe fn splat(x: f32) -> Self::V;
    /// Loads consecutive values.
    ///
    /// # Safety
    /// The CPU must have the instruction set; `from` must be valid for reads of all lanes.
    unsafe fn load(from: *const f32) -> Self::V;
    /// Stores consecutive values.
    ///
    /// # Safety
    /// The CPU must have the instruction set; `to` must be valid for writes of all lanes.
    unsafe fn store(to: *mut f32, v: Self::V);
    /// Loads values that are `stride` apart.
    ///
    /// # Safety
    /// The CPU must have the instruction set; each value must be readable, and `stride` be less
    /// than 2^27, as gathers take 32-bit offsets.
    unsafe fn load_strided(from: *const f32, stride: usize) -> Self::V;
    /// Stores the lanes as bytes; they must hold whole numbers from 0 to 255.
    ///
    /// # Safety
    /// The CPU must have the instruction set; `to` must be valid for writes of a byte per lane.
    unsafe fn store_bytes(to: *mut u8, v: Self::V);
    /// Returns the same pointer, but hides from the compiler where it comes from. The compiler then
    /// doesn't keep values it has read there in registers that the sums need.
    #[inline(always)]
    fn hide(pointer: *const f32) -> *const f32 {
        pointer
    }
    /// Appends the gradients of active cells that aren't zero, and the offsets that they belong to,
    /// to two lists in order, and returns their number. A code `codes[i]` below [`crate::DEAD`]
    /// stands for the offset `first + i * step + places[codes[i]]`.
    ///
    /// # Safety
    /// The CPU must have the instruction set. `codes` must be as long as `grads`, and the lists
    /// have room for a vector more than there are gradients, as whole vectors are written.
    #[inline(always)]
    unsafe fn list_lives(grads: &[f32], codes: &[u8], [first, step]: [u32; 2], places: &[u32; 16], lists: (*mut f32, *mut u32)) -> usize {
        // SAFETY: the caller has provided room for all gradients and a vector more.
        unsafe { list_lives(grads, codes, [first, step], places, lists) }
    }
    /// Returns `a * b + c`, rounded once where the set can.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Updates a running maximum and its code. The first of equal values wins; a NaN wins and
    /// stays.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    unsafe fn keep_max(best: Self::V, code: Self::V, value: Self::V, value_code: Self::V) -> (Self::V, Self::V);
    /// Applies ReLU to the maximum; where it is not above zero, the code becomes `dead`. NaN
    /// passes.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    unsafe fn relu(best: Self::V, code: Self::V, dead: Self::V) -> (Self::V, Self::V);
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{DEAD, Simd, bytes};
    use std::arch::{asm, x86_64::*};

    /// See [`Simd::hide`].
    #[expect(clippy::pointers_in_nomem_asm_block, reason = "the block is empty: it reads nothing")]
    #[inline(always)]
    fn hide(mut pointer: *const f32) -> *const f32 {
        // SAFETY: the block has no instruction; it only makes the compiler forget what it knows of
        // the pointer.
        unsafe { asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags)) };
        pointer
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx512;

    impl Simd for Avx512 {
        const LANES: usize = 16;
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
                _mm512_i32gather_ps::<4>(_mm512_mullo_epi32(lanes, _mm512_set1_epi32(stride as i32)), from)
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
                    let lives = _mm512_mask_cmp_ps_mask::<_CMP_NEQ_UQ>(lives, grad, _mm512_setzero_ps());
                    let start = _mm512_set1_epi32((first + i as u32 * step) as i32);
                    let offset = _mm512_add_epi32(_mm512_add_epi32(start, steps), _mm512_permutexvar_epi32(code, places_of));
                    // Compress in a register first: compressing straight to memory is slow on some
                    // processors.
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
            // SAFETY: the caller promises AVX-512F.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn keep_max(best: __m512, code: __m512, value: __m512, value_code: __m512) -> (__m512, __m512) {
            // SAFETY: the caller promises AVX-512F.
            unsafe {
                let ordered = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(best, best);
                let takes = _mm512_mask_cmp_ps_mask::<_CMP_NLE_UQ>(ordered, value, best);
                (_mm512_mask_blend_ps(takes, best, value), _mm512_mask_blend_ps(takes, code, value_code))
            }
        }
        #[inline(always)]
        unsafe fn relu(best: __m512, code: __m512, dead: __m512) -> (__m512, __m512) {
            // SAFETY: the caller promises AVX-512F.
            unsafe {
                let lives = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(best, _mm512_setzero_ps());
                (_mm512_maskz_mov_ps(lives, best), _mm512_mask_blend_ps(lives, dead, code))
            }
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx2;

    impl Simd for Avx2 {
        const LANES: usize = 8;
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
                _mm256_i32gather_ps::<4>(from, _mm256_mullo_epi32(lanes, _mm256_set1_epi32(stride as i32)))
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
        unsafe fn keep_max(best: __m256, code: __m256, value: __m256, value_code: __m256) -> (__m256, __m256) {
            // SAFETY: the caller promises AVX2 and FMA.
            unsafe {
                let ordered = _mm256_cmp_ps::<_CMP_ORD_Q>(best, best);
                let takes = _mm256_and_ps(ordered, _mm256_cmp_ps::<_CMP_NLE_UQ>(value, best));
                (_mm256_blendv_ps(best, value, takes), _mm256_blendv_ps(code, value_code, takes))
            }
        }
        #[inline(always)]
        unsafe fn relu(best: __m256, code: __m256, dead: __m256) -> (__m256, __m256) {
            // SAFETY: the caller promises AVX2 and FMA.
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

    impl Simd for Neon {
        const LANES: usize = 4;
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
            unsafe { vld1q_f32([*from, *from.add(stride), *from.add(2 * stride), *from.add(3 * stride)].as_ptr()) }
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
                (vbslq_f32(takes, value, best), vbslq_f32(takes, value_code, code))
            }
        }
        #[inline(always)]
        unsafe fn relu(best: float32x4_t, code: float32x4_t, dead: float32x4_t) -> (float32x4_t, float32x4_t) {
            // SAFETY: the caller promises NEON.
            unsafe {
                let dies = vcleq_f32(best, vdupq_n_f32(0.0));
                (vbslq_f32(dies, vdupq_n_f32(0.0), best), vbslq_f32(dies, dead, code))
            }
        }
    }
}

/// Returns the lanes as bytes, by way of memory.
///
/// # Safety
/// The CPU must have the instruction set, and `LANES` be its number of lanes.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
unsafe fn bytes<S: Simd, const LANES: usize>(v: S::V) -> [u8; LANES] {
    let mut lanes = [0.0; LANES];
    // SAFETY: the caller promises the instruction set, and `lanes` has room for all lanes.
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
}

/// The scalar form of [`Simd::list_lives`]. It has no branch, because half of the cells may be
/// inactive in no order that a processor could predict.
///
/// # Safety
/// The lists must have room for as many values as there are gradients.
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
        // SAFETY: `count` is at most the number of gradients before this one, so it is inside the
        // lists.
        unsafe {
            *values.add(count) = *grad;
            *offsets.add(count) = offset + places[usize::from(*code & 15)];
        }
        count += usize::from((*code < DEAD) & (*grad != 0.0));
        offset += step;
    }
    count
}

/// Copies `out[i] = from[i * stride]`.
///
/// # Safety
/// The CPU must have the instruction set, each value must be readable, and `stride` be less than
/// 2^27.
#[inline(always)]
pub(crate) unsafe fn copy_strided<S: Simd>(from: *const f32, stride: usize, out: &mut [f32]) {
    let whole = out.len() - out.len() % S::LANES;
    // SAFETY: as promised by the caller; stores end within `whole`.
    unsafe {
        for i in (0..whole).step_by(S::LANES) {
            S::store(out.as_mut_ptr().add(i), S::load_strided(from.add(i * stride), stride));
        }
        for (i, out) in out.iter_mut().enumerate().skip(whole) {
            *out = *from.add(i * stride);
        }
    }
}

/// Copies `out[i] = from[i * stride]` as bytes.
///
/// # Safety
/// As for [`copy_strided`].
#[inline(always)]
pub(crate) unsafe fn copy_strided_bytes<S: Simd>(from: *const f32, stride: usize, out: &mut [u8]) {
    let whole = out.len() - out.len() % S::LANES;
    // SAFETY: as promised by the caller; stores end within `whole`.
    unsafe {
        for i in (0..whole).step_by(S::LANES) {
            S::store_bytes(out.as_mut_ptr().add(i), S::load_strided(from.add(i * stride), stride));
        }
        for (i, out) in out.iter_mut().enumerate().skip(whole) {
            *out = *from.add(i * stride) as u8;
        }
    }
}

/// `per_isa! { fn name(args) = kernel }` defines `name(isa, args)`, which runs
/// `kernel::<S, NV>(args)` compiled for the given set. `NV` is the number of vectors of output
/// channels in a tile, so that `NV * LANES` is [`Isa::block`].
macro_rules! per_isa {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $kernel:ident) => {
        $(#[$doc])*
        fn $name(isa: $crate::simd::Isa, $($arg: $ty),*) {
            use $crate::simd::Kind;
            /// # Safety
            /// The CPU must have AVX-512F.
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: this function is compiled with the feature, which its caller has
                // detected.
                unsafe { $kernel::<$crate::simd::Avx512, 2>($($arg),*) }
            }
            /// # Safety
            /// The CPU must have AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: this function is compiled with the features, which its caller has
                // detected.
                unsafe { $kernel::<$crate::simd::Avx2, 1>($($arg),*) }
            }
            /// # Safety
            /// The CPU must have NEON.
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            unsafe fn neon($($arg: $ty),*) {
                // SAFETY: this function is compiled with the feature, which its caller has
                // detected.
                unsafe { $kernel::<$crate::simd::Neon, 2>($($arg),*) }
            }
            // SAFETY: an `Isa` comes from `available`, which has detected the set on this CPU. The
            // kernels check the lengths they rely on; their other demands are met where their
            // arguments are built.
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
