//! Working memory that a thread keeps between tasks, aligned to cache lines, and a pointer that parallel tasks may share.

use std::cell::RefCell;

/// Values that a packed strip of a picture should not exceed, so that it stays in a core's second-level cache.
pub(crate) const STRIP_LEN: usize = 96 * 1024;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "read as plain `f32`")] [f32; 16]);

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` on `len` values of whatever content, aligned to 64 bytes. Calls may be nested.
pub(crate) fn with_scratch<T>(len: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut lines = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    let num_lines = len.div_ceil(16);
    if lines.len() < num_lines {
        lines.resize(num_lines, Line([0.0; 16]));
    }
    // SAFETY: a `Line` is sixteen `f32` without padding, and `len` of them fit.
    let values = unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<f32>(), len) };
    let result = work(values);
    FREE.with_borrow_mut(|free| free.push(lines));
    result
}

/// A buffer that parallel tasks write to, each its own part.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: only `slice` gives access, and its callers keep the parts apart.
unsafe impl<T: Send> Send for SharedMut<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<T> {}

impl<T> SharedMut<T> {
    pub(crate) fn new(values: &mut [T]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len() }
    }

    /// # Safety
    /// No two live slices overlap, and the buffer outlives them.
    #[expect(clippy::mut_from_ref, reason = "the caller keeps the parts of the tasks apart")]
    pub(crate) unsafe fn slice(&self, from: usize, len: usize) -> &mut [T] {
        assert!(from + len <= self.len);
        // SAFETY: inside the buffer; the caller promises that nothing else looks at it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}
