//! Thumbnails in the sizes in which they are aligned: with halved sides, and whole with a slight
//! blur.

use isa::{Isa, Work};

use crate::data::pixels::thumbnail::{SIDE, THUMBNAIL_BYTES, Thumbnail};

/// Halves the sides by means of 2 x 2 pixels.
pub(super) fn halved(look: &Thumbnail) -> Vec<f32> {
    Isa::best().run(Halves(look))
}

/// Work of [`halved`].
struct Halves<'a>(&'a Thumbnail);

impl Work for Halves<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run(self) -> Vec<f32> {
        let mut means = vec![0.0; THUMBNAIL_BYTES / 4];
        let rows = self.0.bytes().as_chunks::<SIDE>().0.as_chunks::<2>().0;
        for (means, [upper, lower]) in means.as_chunks_mut::<{ SIDE / 2 }>().0.iter_mut().zip(rows)
        {
            let mut sums = [0u16; SIDE];
            for column in 0..SIDE {
                sums[column] = u16::from(upper[column]) + u16::from(lower[column]);
            }
            for (mean, [left, right]) in means.iter_mut().zip(sums.as_chunks::<2>().0) {
                *mean = f32::from(left + right) / 4.0;
            }
        }
        means
    }
}

/// Blurs slightly (three taps of a Gaussian of 0.7 pixels), so that values change smoothly when an
/// image moves by less than a pixel.
pub(super) fn smoothed(look: &Thumbnail) -> Vec<f32> {
    let blur = |before: f32, here: f32, after: f32| 0.21 * before + 0.58 * here + 0.21 * after;
    let mut across = [[0.0; SIDE]; SIDE];
    for (out, row) in across.iter_mut().zip(look.bytes().as_chunks::<SIDE>().0) {
        let row = row.map(f32::from);
        for column in 1..SIDE - 1 {
            out[column] = blur(row[column - 1], row[column], row[column + 1]);
        }
        out[0] = blur(row[0], row[0], row[1]);
        out[SIDE - 1] = blur(row[SIDE - 2], row[SIDE - 1], row[SIDE - 1]);
    }
    let mut both = vec![0.0; THUMBNAIL_BYTES];
    for (row, out) in both.as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
        let [before, here, after] =
            [row.saturating_sub(1), row, (row + 1).min(SIDE - 1)].map(|row| &across[row]);
        for column in 0..SIDE {
            out[column] = blur(before[column], here[column], after[column]);
        }
    }
    both
}
