//! The few vector operations that the kernels are written in, for each instruction set, and the
//! choice among the sets at run time.
//!
//! A kernel is a generic function that is `inline(always)` down to the intrinsics. [`per_isa!`]
//! compiles it into one function per set, with the set's target features, so that no loop calls
//! through a pointer and no compiler flag is needed.

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
mod portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::mem::MaybeUninit;

#[cfg(target_arch = "aarch64")]
pub(crate) use self::arm::Neon;
#[cfg(test)]
pub(crate) use self::portable::Lanes;
#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
pub(crate) use self::portable::Portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use self::wasm::Simd128;
#[cfg(target_arch = "x86_64")]
pub(crate) use self::x86::{Avx2, Avx512};
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
    /// 4 lanes, of WebAssembly.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
    /// Plain loops for any machine, without fused multiply-add. Where the set is known when the
    /// crate is compiled, as in WebAssembly, they are left out.
    #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
    Portable,
    /// Plain loops with the lanes and blocks of AVX-512, so that tests on any machine see them.
    #[cfg(test)]
    Lanes16,
    /// Plain loops with the lanes and blocks of NEON.
    #[cfg(test)]
    Lanes4,
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
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        found.push(Self(Kind::Simd128));
        #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
        found.push(Self(Kind::Portable));
        #[cfg(test)]
        found.extend([Self(Kind::Lanes16), Self(Kind::Lanes4)]);
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
            #[cfg(test)]
            Kind::Lanes16 => 32,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => 16,
            _ => 8,
        }
    }

    /// Returns the most positions in a row of a tile; see [`crate::tile::positions`].
    pub(crate) fn positions(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => 3,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Kind::Simd128 => 3,
            #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
            _ => 6,
        }
    }

    /// Returns the number of lanes of a vector.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => 16,
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => 4,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Kind::Simd128 => 4,
            #[cfg(test)]
            Kind::Lanes16 => 16,
            #[cfg(test)]
            Kind::Lanes4 => 4,
            #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
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
    /// Number of vectors of sums that a tile may have, so that they stay in registers.
    const SUMS: usize;
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
    unsafe fn list_lives(
        grads: &[f32],
        codes: &[u8],
        [first, step]: [u32; 2],
        places: &[u32; 16],
        lists: (*mut f32, *mut u32),
    ) -> usize {
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
    unsafe fn keep_max(
        best: Self::V,
        code: Self::V,
        value: Self::V,
        value_code: Self::V,
    ) -> (Self::V, Self::V);
    /// Applies ReLU to the maximum; where it is not above zero, the code becomes `dead`. NaN
    /// passes.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    unsafe fn relu(best: Self::V, code: Self::V, dead: Self::V) -> (Self::V, Self::V);
    /// Returns the smaller one of value and limit. A NaN value passes.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    unsafe fn at_most(value: Self::V, limit: Self::V) -> Self::V;
    /// Returns the sum of the lanes.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    unsafe fn sum(v: Self::V) -> f32;
}

/// Returns the lanes as bytes, by way of memory.
///
/// # Safety
/// The CPU must have the instruction set, and `LANES` be its number of lanes.
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
))]
#[inline(always)]
unsafe fn bytes<S: Simd, const LANES: usize>(v: S::V) -> [u8; LANES] {
    let mut lanes = [0.0; LANES];
    // SAFETY: the caller promises the instruction set, and `lanes` has room for all lanes.
    unsafe { S::store(lanes.as_mut_ptr(), v) };
    lanes.map(|value| value as u8)
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
pub(crate) unsafe fn copy_strided<S: Simd>(
    from: *const f32,
    stride: usize,
    out: &mut [MaybeUninit<f32>],
) {
    let whole = out.len() - out.len() % S::LANES;
    // SAFETY: as promised by the caller; stores end within `whole`.
    unsafe {
        for i in (0..whole).step_by(S::LANES) {
            S::store(
                out.as_mut_ptr().add(i).cast(),
                S::load_strided(from.add(i * stride), stride),
            );
        }
        for (i, out) in out.iter_mut().enumerate().skip(whole) {
            out.write(*from.add(i * stride));
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
            S::store_bytes(
                out.as_mut_ptr().add(i),
                S::load_strided(from.add(i * stride), stride),
            );
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
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $kernel:ident) => {
        $(#[$doc])*
        $vis fn $name(isa: $crate::simd::Isa, $($arg: $ty),*) {
            use $crate::simd::Kind;
            /// Runs the kernel, compiled for AVX-512F.
            ///
            /// # Safety
            /// The CPU must have AVX-512F.
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: this function is compiled with the feature, which its caller has
                // detected.
                unsafe { $kernel::<$crate::simd::Avx512, 2>($($arg),*) }
            }
            /// Runs the kernel, compiled for AVX2 and FMA.
            ///
            /// # Safety
            /// The CPU must have AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: this function is compiled with the features, which its caller has
                // detected.
                unsafe { $kernel::<$crate::simd::Avx2, 2>($($arg),*) }
            }
            /// Runs the kernel, compiled for NEON.
            ///
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
                    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
                    Kind::Simd128 => $kernel::<$crate::simd::Simd128, 2>($($arg),*),
                    #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
                    Kind::Portable => $kernel::<$crate::simd::Portable, 1>($($arg),*),
                    #[cfg(test)]
                    Kind::Lanes16 => $kernel::<$crate::simd::Lanes<16>, 2>($($arg),*),
                    #[cfg(test)]
                    Kind::Lanes4 => $kernel::<$crate::simd::Lanes<4>, 2>($($arg),*),
                }
            }
        }
    };
}
pub(crate) use per_isa;
