//! Scratch memory that threads reuse between tasks, aligned to cache lines, a slice that parallel
//! tasks share, and vectors that are filled without being cleared first.

use std::{cell::RefCell, mem::MaybeUninit};

/// Number of values that a packed strip of an image should not exceed, so that it stays in a core's
/// second-level cache.
pub(crate) const STRIP_LEN: usize = 96 * 1024;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "read as plain `f32`")] [f32; 16]);

thread_local! {
    // Stacks of buffers, since calls may be nested.
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `len` values of unspecified content, aligned to 64 bytes. Calls may be nested.
pub(crate) fn with_scratch<T>(len: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    let num_lines = len.div_ceil(16);
    let mut lines = FREE.with_borrow_mut(|free| take_fitting(free, num_lines));
    if lines.len() < num_lines {
        lines.resize(num_lines, Line([0.0; 16]));
    }
    // SAFETY: a `Line` is sixteen initialized `f32` without padding, and `lines` holds at least
    // `len` of them; `lines` is not used until `values` is dropped.
    let values = unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<f32>(), len) };
    let result = work(values);
    FREE.with_borrow_mut(|free| free.push(lines));
    result
}

/// Takes the smallest buffer that is large enough out of `free`, else the largest. Any other choice
/// would let all of them grow to the size of the largest.
fn take_fitting(free: &mut Vec<Vec<Line>>, num_lines: usize) -> Vec<Line> {
    let large_enough = (0..free.len())
        .filter(|at| free[*at].len() >= num_lines)
        .min_by_key(|at| free[*at].len());
    let chosen = large_enough.or_else(|| (0..free.len()).max_by_key(|at| free[*at].len()));
    chosen.map_or_else(Vec::new, |at| free.swap_remove(at))
}

/// Returns a vector of the values that `fill` writes. Zeros would be written to memory first, which
/// takes as long as the arithmetic of a layer with few channels.
///
/// # Safety
/// `fill` must write all values.
pub(crate) unsafe fn filled<T: Copy>(
    len: usize,
    fill: impl FnOnce(&mut [MaybeUninit<T>]),
) -> Vec<T> {
    let mut values: Vec<T> = Vec::with_capacity(len);
    if cfg!(test) {
        // Values that tests notice: no number as `f32`.
        // SAFETY: there is room for so many.
        unsafe { values.as_mut_ptr().write_bytes(0xff, len) };
    }
    fill(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: there is room for so many, and the caller promises that all were written.
    unsafe { values.set_len(len) };
    values
}

/// Returns the same values as ones to be written.
///
/// # Safety
/// Whatever is written must be initialized.
pub(crate) unsafe fn as_unfilled(values: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: the layout is the same, and the caller keeps the values initialized.
    unsafe { &mut *(std::ptr::from_mut(values) as *mut [MaybeUninit<f32>]) }
}

/// A slice that parallel tasks write to, each its own part.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: the pointer is dereferenced in `slice` only, whose caller keeps the parts of the tasks
// apart.
unsafe impl<T: Send> Send for SharedMut<T> {}
// SAFETY: as above; a shared reference gives no access but through `slice`.
unsafe impl<T: Send> Sync for SharedMut<T> {}

impl<T> SharedMut<T> {
    /// Shares `values`. The caller must not use them while parts are in use.
    pub(crate) fn new(values: &mut [T]) -> Self {
        Self {
            start: values.as_mut_ptr(),
            len: values.len(),
        }
    }

    /// Returns `len` values from `from` on.
    ///
    /// # Panics
    /// Panics if the part is not inside the slice.
    ///
    /// # Safety
    /// No two parts in use at a time may overlap, and the shared slice must outlive them.
    #[expect(
        clippy::mut_from_ref,
        reason = "the caller keeps the parts of the tasks apart"
    )]
    pub(crate) unsafe fn slice(&self, from: usize, len: usize) -> &mut [T] {
        assert!(from + len <= self.len);
        // SAFETY: the part is inside the slice; the caller promises that it is alive and that
        // nothing else accesses the part.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}
