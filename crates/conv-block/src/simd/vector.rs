//! Vectors of one instruction set: the operations that each set has, and loops made of them.

use std::mem::MaybeUninit;

use crate::shape::DEAD;

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
pub(super) unsafe fn bytes<S: Simd, const LANES: usize>(v: S::V) -> [u8; LANES] {
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
pub(super) unsafe fn list_lives(
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
