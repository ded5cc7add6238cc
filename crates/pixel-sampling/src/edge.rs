//! SciPy's four ways of filling what lies outside an image.

/// The values outside an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Edge {
    /// The nearest pixel: `aaaa|abcd|dddd`.
    Nearest,
    /// This value, without blending across the edge: `kkkk|abcd|kkkk`.
    Constant(f32),
    /// Mirrored about the outer edge of the outermost pixels: `dcba|abcd|dcba`.
    Reflect,
    /// Continued from the other side, where the first and the last pixel coincide: the period is
    /// one pixel short.
    Wrap,
}

impl Edge {
    /// Moves coordinates outside `0..=length - 1` inside. Does nothing for [`Self::Nearest`] and
    /// [`Self::Constant`], which [`crate::sample`] handles itself.
    #[inline(always)]
    pub(crate) fn fold(self, coordinates: &mut [f64], length: usize) {
        match self {
            Self::Nearest | Self::Constant(_) => {}
            Self::Reflect => {
                let period = 2.0 * length as f64;
                for at in coordinates {
                    let phase = modulo(*at + 0.5, period);
                    let folded = if phase < period - phase {
                        phase
                    } else {
                        period - phase
                    } - 0.5;
                    *at = if (*at >= 0.0) & (*at <= (length - 1) as f64) {
                        *at
                    } else {
                        folded
                    };
                }
            }
            Self::Wrap => {
                let period = (length - 1) as f64;
                for at in coordinates {
                    *at = if (*at >= 0.0) & (*at <= period) {
                        *at
                    } else {
                        modulo(*at, period)
                    };
                }
            }
        }
    }
}

/// Returns `at` modulo `period`, exact up to 2^31 periods away.
#[inline(always)]
fn modulo(at: f64, period: f64) -> f64 {
    const FAR: f64 = (1u32 << 31) as f64 - 1.0;
    let turns = at / period;
    let turns = if turns > -FAR { turns } else { -FAR };
    let turns = if turns < FAR { turns } else { FAR };
    // SAFETY: clamped to the range of `i32` above, where NaN becomes its lower end.
    let cut = f64::from(unsafe { turns.to_int_unchecked::<i32>() });
    let below = if cut > turns { cut - 1.0 } else { cut };
    at - below * period
}
