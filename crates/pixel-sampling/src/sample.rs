//! The sampling loop, which processes a run of columns at a time: coordinates, then the bytes at
//! them, then the arithmetic. The first and the last step are plain loops over arrays of fixed
//! length, which the compiler vectorizes; only the loads in between are scalar. Coordinates and
//! loads are a run ahead of the arithmetic, so that their stores have completed when they are read
//! as vectors.

use std::mem::MaybeUninit;

use isa::Work;

use crate::{
    edge::Edge,
    finish::Finish,
    image::{Image, Planes},
};

/// A homogeneous map from (column, row, 1) of the output to (column, row, 1) of the source.
pub type Map = [[f64; 3]; 3];

/// The map that moves nothing.
pub const IDENTITY: Map = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// Number of columns in a run.
const RUN: usize = 32;

/// An image to sample.
pub(crate) struct Job<'a> {
    pub(crate) image: Image<'a>,
    pub(crate) map: &'a Map,
    pub(crate) edge: Edge,
    pub(crate) finish: &'a Finish,
    pub(crate) planes: Planes<'a>,
}

impl Work for Job<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        call_near(self.image.bytes);
        match (self.image.channels, self.image.planes) {
            (1, 1) => rows::<1, 1>(self),
            (1, _) => rows::<1, 3>(self),
            _ => rows::<3, 3>(self),
        }
    }
}

/// Reads one byte of each cache line, in order, which brings the image into the cache. The loads
/// that follow cross the rows and would wait for each line from main memory; without this pass they
/// took three fifths more time in total.
#[inline(always)]
fn call_near(bytes: &[u8]) {
    const LINE: usize = 64;
    std::hint::black_box(bytes.iter().step_by(LINE).fold(0, |all, byte| all ^ byte));
}

#[inline(always)]
fn rows<const CHANNELS: usize, const PLANES: usize>(mut job: Job<'_>) {
    let Image { height, width, .. } = job.image;
    let mut places = [Places::NONE; 2];
    let mut waiting: Option<[usize; 2]> = None;
    let mut current = 0;
    for row in 0..height {
        let mut start = 0;
        while start < width {
            // The last run of a row ends with the row and may repeat some columns.
            let first = if width < RUN {
                0
            } else {
                start.min(width - RUN)
            };
            coordinates::<CHANNELS>(&job, row, first, &mut places[current]);
            load::<CHANNELS>(job.image, &mut places[current]);
            current = 1 - current;
            if let Some(at) = waiting.replace([row, first]) {
                finish::<CHANNELS, PLANES>(&mut job, at, &places[current]);
            }
            start += RUN;
        }
    }
    if let Some(at) = waiting {
        finish::<CHANNELS, PLANES>(&mut job, at, &places[1 - current]);
    }
}

/// Source positions of a run's columns. Each field begins with a cache line: without the alignment,
/// which the stack doesn't give by itself, one process in five was half as fast on the main thread.
#[repr(C, align(64))]
struct Places {
    /// Not 0 if the source lies outside the image.
    outside: [u32; RUN],
    /// Offset of the upper left of the four pixels, in bytes.
    offsets: [u32; RUN],
    /// Distance of the source to the right of that pixel and below it, 0 to 1.
    shares: [[f32; RUN]; 2],
    /// Bytes of two neighboring pixels, the upper ones at the low end of a word.
    upper: [[u32; 2]; RUN],
    /// The lower ones, at the high end of a word.
    lower: [[u32; 2]; RUN],
    /// Whether any source lies outside the image.
    any_outside: bool,
}

impl Places {
    const NONE: Self = Self {
        outside: [0; RUN],
        offsets: [0; RUN],
        shares: [[0.0; RUN]; 2],
        upper: [[0; 2]; RUN],
        lower: [[0; 2]; RUN],
        any_outside: false,
    };
}

/// Computes `offsets`, `shares` and, unless the edge is the nearest pixel, `outside`.
#[inline(always)]
fn coordinates<const CHANNELS: usize>(
    job: &Job<'_>,
    row: usize,
    first: usize,
    places: &mut Places,
) {
    let Image { height, width, .. } = job.image;
    let last = [(width - 1) as f64, (height - 1) as f64];
    let (map, row) = (job.map, row as f64);
    let base = map.map(|line| line[2] + line[1] * row);
    let [mut x, mut y] = [[0.0; RUN]; 2];
    for index in 0..RUN {
        let column = f64::from((first + index) as i32);
        x[index] = base[0] + map[0][0] * column;
        y[index] = base[1] + map[1][0] * column;
    }
    if map[2] != [0.0, 0.0, 1.0] {
        for index in 0..RUN {
            // A point at or beyond the horizon is as far away as possible.
            let depth = base[2] + map[2][0] * f64::from((first + index) as i32);
            let depth = if depth > 1e-9 { depth } else { 1e-9 };
            x[index] /= depth;
            y[index] /= depth;
        }
    }
    // An affine map's coordinates are monotonic along a run, so bounds that both ends keep hold for
    // all.
    let keeps_to = |at: &[f64; RUN], last: f64| {
        let [a, b] = [at[0], at[RUN - 1]];
        (a >= 0.0) & (b >= 0.0) & (a <= last - 1.0) & (b <= last - 1.0)
    };
    let stride = (width * CHANNELS) as i32;
    if map[2] == [0.0, 0.0, 1.0] && keeps_to(&x, last[0]) && keeps_to(&y, last[1]) {
        places.any_outside = false;
        return put::<CHANNELS>(places, stride, |index| {
            // SAFETY: all coordinates are between 0 and the last pixel but one, as both ends are.
            [x[index], y[index]].map(|at| unsafe { split_inside(at) })
        });
    }
    if job.edge != Edge::Nearest {
        let mut any = 0;
        for index in 0..RUN {
            let inside = (x[index] >= 0.0)
                & (x[index] <= last[0])
                & (y[index] >= 0.0)
                & (y[index] <= last[1]);
            places.outside[index] = u32::from(!inside);
            any |= places.outside[index];
        }
        places.any_outside = any != 0;
        if places.any_outside && !matches!(job.edge, Edge::Constant(_)) {
            job.edge.fold(&mut x, width);
            job.edge.fold(&mut y, height);
        }
    }
    put::<CHANNELS>(places, stride, |index| {
        [split(x[index], last[0]), split(y[index], last[1])]
    });
}

/// Fills `offsets` and `shares` from the columns and rows that `at` returns.
#[inline(always)]
fn put<const CHANNELS: usize>(
    places: &mut Places,
    stride: i32,
    at: impl Fn(usize) -> [(i32, f32); 2],
) {
    for index in 0..RUN {
        let [(left, share_x), (top, share_y)] = at(index);
        places.offsets[index] = (top * stride + left * CHANNELS as i32) as u32;
        places.shares[0][index] = share_x;
        places.shares[1][index] = share_y;
    }
}

/// Like [`split`], for a coordinate that is inside.
///
/// # Safety
/// `at` must be between 0 and the last pixel but one.
#[inline(always)]
unsafe fn split_inside(at: f64) -> (i32, f32) {
    // SAFETY: the caller promises the range, and sides are at most 32,768.
    let pixel = unsafe { at.to_int_unchecked::<i32>() };
    (pixel, (at - f64::from(pixel)) as f32)
}

/// Splits a coordinate into the pixel before it and the distance from that pixel, 0 to 1.
/// Coordinates outside are moved to the edge. The pixel is never the last one, so that there is a
/// pixel after it.
#[inline(always)]
fn split(at: f64, last: f64) -> (i32, f32) {
    let at = if at > 0.0 { at } else { 0.0 };
    let at = if at < last { at } else { last };
    let before = if at < last - 1.0 { at } else { last - 1.0 };
    // SAFETY: the value is between 0 and 32,768; the first comparison above turns NaN into 0.
    let pixel = unsafe { before.to_int_unchecked::<i32>() };
    (pixel, (at - f64::from(pixel)) as f32)
}

/// Loads the two upper and the two lower pixels of each position.
///
/// Never inlined, so that it is compiled for the baseline: with AVX2 and AVX-512 the compiler would
/// use gathers, which take about twice as long as these loads.
#[inline(never)]
fn load<const CHANNELS: usize>(image: Image<'_>, places: &mut Places) {
    // Eight bytes are read where two or six are needed. The excess follows the upper pixels and
    // precedes the lower ones, so that it never lies outside the image.
    let below = image.width * CHANNELS + 2 * CHANNELS - 8;
    let start = image.bytes.as_ptr();
    for ((upper, lower), offset) in places
        .upper
        .iter_mut()
        .zip(&mut places.lower)
        .zip(&places.offsets)
    {
        let offset = *offset as usize;
        let read = |at: usize| {
            // SAFETY: `split` keeps positions before the last row and column, and rows have at
            // least eight bytes, so the needed pixels and the two to six bytes after the upper or
            // before the lower ones are in the image.
            unsafe { start.add(at).cast::<[u32; 2]>().read_unaligned() }.map(u32::from_le)
        };
        *upper = read(offset);
        *lower = read(offset + below);
    }
}

/// Interpolates the pixels of a run and writes them to the output.
#[inline(always)]
fn finish<const CHANNELS: usize, const PLANES: usize>(
    job: &mut Job<'_>,
    [row, first]: [usize; 2],
    places: &Places,
) {
    let width = job.image.width;
    let blended = blend::<CHANNELS>(places);
    for channel in 0..PLANES {
        let mut levels = blended[channel % CHANNELS];
        for level in &mut levels {
            *level = job.finish.apply(*level, channel);
        }
        if let (Edge::Constant(level), true) = (job.edge, places.any_outside) {
            let fill = job.finish.apply(level, channel);
            for (level, is_outside) in levels.iter_mut().zip(&places.outside) {
                *level = if *is_outside != 0 { fill } else { *level };
            }
        }
        let plane = job.finish.channels[channel].plane;
        if width < RUN {
            narrow(job.planes.part(plane, row, first, width), &levels);
        } else {
            job.planes
                .part(plane, row, first, RUN)
                .write_copy_of_slice(&levels);
        }
    }
}

/// Writes a row shorter than a run.
#[inline(never)]
fn narrow(to: &mut [MaybeUninit<f32>], levels: &[f32; RUN]) {
    to.write_copy_of_slice(&levels[..to.len()]);
}

/// Interpolates bilinearly. A flat region stays exactly flat.
#[inline(always)]
fn blend<const CHANNELS: usize>(places: &Places) -> [[f32; RUN]; CHANNELS] {
    // Separates the halves of the words, low and then high, so that each is an array to vectorize
    // over.
    let mut halves = [[[0; RUN]; 2]; 2];
    for (index, words) in places.upper.iter().zip(&places.lower).enumerate() {
        for (halves, word) in halves.iter_mut().zip([words.0, words.1]) {
            (halves[0][index], halves[1][index]) = (word[0], word[1]);
        }
    }
    let lead = 8 - 2 * CHANNELS;
    let mut levels = [[0.0; RUN]; CHANNELS];
    for (channel, levels) in levels.iter_mut().enumerate() {
        for index in 0..RUN {
            let level = |row: usize, byte: usize| {
                (halves[row][byte / 4][index] >> (8 * (byte % 4)) & 0xFF) as i32 as f32
            };
            let (a, b) = (level(0, channel), level(0, channel + CHANNELS));
            let (c, d) = (
                level(1, channel + lead),
                level(1, channel + lead + CHANNELS),
            );
            let [share_x, share_y] = [places.shares[0][index], places.shares[1][index]];
            let above = a + (b - a) * share_x;
            let below = c + (d - c) * share_x;
            levels[index] = above + (below - above) * share_y;
        }
    }
    levels
}
