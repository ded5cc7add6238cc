//! Compiles plain loops once per instruction set and chooses among them at run time. There are no
//! intrinsics, and all sets give the same bits: none of them includes fused multiply-add, which
//! rounds differently.
//!
//! `pulp` chooses among sets in the same way. Here, tests put another set in the best one's place
//! through any layer of calls ([`Isa::as_best`]), and no set with fused multiply-add is chosen. The
//! sets of `conv-block` are others: its kernels are written in vector operations, with it.

use std::cell::Cell;

/// Work that is compiled once per instruction set. `run` and everything it calls must be
/// `inline(always)`, or it is compiled for the baseline.
pub trait Work {
    /// Type of the result.
    type Output;

    /// Does the work.
    fn run(self) -> Self::Output;
}

/// An instruction set that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Kind);

thread_local! {
    /// The set that [`Isa::best`] returns on this thread instead of the fastest.
    static IN_PLACE: Cell<Option<Isa>> = const { Cell::new(None) };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every machine of the architecture has: SSE2 on x86-64, NEON on AArch64. WebAssembly has
    /// no detection at run time; with `simd128` switched on, its vectors are in here.
    Baseline,
}

impl Isa {
    /// Returns all sets that this machine has, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if !cfg!(miri) {
            // Extensions that came with AVX2, except on a few machines; each is tested, because the
            // code below is compiled with all of them.
            let has_avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt");
            let has_avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if has_avx2 && has_avx512 {
                found.push(Self(Kind::Avx512));
            }
            if has_avx2 {
                found.push(Self(Kind::Avx2));
            }
        }
        found.push(Self(Kind::Baseline));
        found
    }

    /// Returns the fastest set that this machine has, or the one that takes its place during
    /// [`Self::as_best`].
    pub fn best() -> Self {
        static BEST: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
        IN_PLACE
            .get()
            .unwrap_or_else(|| *BEST.get_or_init(|| Self::available()[0]))
    }

    /// Makes this set the best one on this thread while `work` runs, so that tests can compare sets
    /// through any layer of calls.
    pub fn as_best<T>(self, work: impl FnOnce() -> T) -> T {
        struct Before(Option<Isa>);
        impl Drop for Before {
            fn drop(&mut self) {
                IN_PLACE.set(self.0);
            }
        }
        let _before = Before(IN_PLACE.replace(Some(self)));
        work()
    }

    /// Does the work with this instruction set.
    pub fn run<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` is created by `available` only, which has detected the features on
            // this CPU.
            Kind::Avx512 => unsafe { run_avx512(work) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kind::Avx2 => unsafe { run_avx2(work) },
            Kind::Baseline => work.run(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi1,bmi2,lzcnt")]
fn run_avx512<W: Work>(work: W) -> W::Output {
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
fn run_avx2<W: Work>(work: W) -> W::Output {
    work.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sum whose result must not depend on the set.
    struct Sum<'a>(&'a [f32]);

    impl Work for Sum<'_> {
        type Output = f32;

        #[inline(always)]
        fn run(self) -> f32 {
            self.0.iter().map(|value| value * 3.0 + 0.1).sum()
        }
    }

    #[test]
    fn every_set_gives_the_same_bits_and_the_best_is_the_first() {
        let values: Vec<f32> = (0..1000u16).map(|index| f32::from(index).sqrt()).collect();
        let all = Isa::available();
        assert_eq!(all[0], Isa::best());
        let sums: Vec<u32> = all
            .iter()
            .map(|isa| isa.run(Sum(&values)).to_bits())
            .collect();
        assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
    }

    #[test]
    fn another_set_is_the_best_for_a_while_even_where_the_work_panics() {
        let (best, last) = (Isa::best(), *Isa::available().last().expect("the baseline"));
        assert_eq!(last.as_best(Isa::best), last);
        let panicked = std::panic::catch_unwind(|| {
            last.as_best(|| assert_eq!(Isa::best(), best, "as it should"))
        });
        assert!(panicked.is_err() || last == best);
        assert_eq!(Isa::best(), best);
    }
}
