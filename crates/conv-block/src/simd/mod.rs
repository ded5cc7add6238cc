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
mod vector;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub(crate) use self::arm::Neon;
#[cfg(test)]
pub(crate) use self::portable::Lanes;
#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
pub(crate) use self::portable::Portable;
pub(crate) use self::vector::{Simd, copy_strided, copy_strided_bytes};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use self::wasm::Simd128;
#[cfg(target_arch = "x86_64")]
pub(crate) use self::x86::{Avx2, Avx512};

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
