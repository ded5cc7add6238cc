//! The interface for JavaScript: numbers and buffers in the module's memory. A call that can fail
//! returns 0 if it did; what it has found, or why it failed, is in [`result`].

#![expect(unreachable_pub, reason = "the page calls these functions")]

use std::cell::RefCell;

use crate::{Engine, Map, webp_orientation};

thread_local! {
    static STATE: RefCell<State> = const {
        RefCell::new(State {
            engine: None,
            result: Vec::new(),
        })
    };
}

struct State {
    engine: Option<Engine>,
    /// What the last call has left.
    result: Vec<u8>,
}

/// Returns a buffer of `length` bytes for an argument. The call that takes it frees it.
#[unsafe(no_mangle)]
pub extern "C" fn alloc(length: usize) -> *mut u8 {
    Box::into_raw(vec![0u8; length].into_boxed_slice()).cast()
}

/// Takes back a buffer of [`alloc`].
///
/// # Safety
/// `buffer` must come from `alloc(length)`, and not have been taken back.
unsafe fn taken(buffer: *mut u8, length: usize) -> Vec<u8> {
    // SAFETY: as promised by the caller.
    unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(buffer, length)) }.into_vec()
}

/// Returns where the result of the last call is.
#[unsafe(no_mangle)]
pub extern "C" fn result() -> *const u8 {
    STATE.with_borrow(|state| state.result.as_ptr())
}

/// Returns the number of its bytes.
#[unsafe(no_mangle)]
pub extern "C" fn result_length() -> usize {
    STATE.with_borrow(|state| state.result.len())
}

/// Reads a model. Another one joins those that were read before.
///
/// # Safety
/// As for [`taken`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn load(buffer: *mut u8, length: usize) -> bool {
    // SAFETY: as promised by the caller.
    let bytes = unsafe { taken(buffer, length) };
    STATE.with_borrow_mut(|state| {
        let loaded = match &mut state.engine {
            Some(engine) => engine.add(&bytes),
            None => Engine::new(&bytes).map(|engine| state.engine = Some(engine)),
        };
        state.finish(loaded.map(|()| Vec::new()))
    })
}

/// Decodes a file.
///
/// # Safety
/// As for [`taken`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(buffer: *mut u8, length: usize) -> bool {
    // SAFETY: as promised by the caller.
    let file = unsafe { taken(buffer, length) };
    with(|engine| engine.open(&file).map(|()| Vec::new()))
}

/// Returns the orientation of an image that the browser decodes, for [`take`].
///
/// # Safety
/// As for [`taken`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orientation(buffer: *mut u8, length: usize) -> u8 {
    // SAFETY: as promised by the caller.
    webp_orientation(&unsafe { taken(buffer, length) })
}

/// Takes the pixels of an image, `[height, width, 4]`, and EXIF's number of its orientation.
///
/// # Safety
/// As for [`taken`], for `height * width * 4` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn take(
    buffer: *mut u8,
    height: usize,
    width: usize,
    orientation: u8,
) -> bool {
    // SAFETY: as promised by the caller.
    let rgba = unsafe { taken(buffer, height * width * 4) };
    with(|engine| {
        engine.take(rgba, [height, width], orientation);
        Ok(Vec::new())
    })
}

/// Computes the probability of each class, as float32.
#[unsafe(no_mangle)]
pub extern "C" fn probabilities() -> bool {
    with(|engine| Ok(bytes(&engine.probabilities()?)))
}

/// Computes the map of a class: as float32, its rows and columns, the part of the image that it
/// covers, and its values.
#[unsafe(no_mangle)]
pub extern "C" fn map(class: usize) -> bool {
    with(|engine| {
        let Map { size, values, part } = engine.map(class);
        let head = size.map(|side| side as f32);
        Ok(bytes(&[&head[..], &part, &values].concat()))
    })
}

/// Makes a small image: its height and width as 32-bit numbers, and its pixels, four bytes each.
#[unsafe(no_mangle)]
pub extern "C" fn thumbnail(side: usize) -> bool {
    with(|engine| {
        let (size, pixels) = engine.thumbnail(side);
        let mut found: Vec<u8> = size
            .iter()
            .flat_map(|side| (*side as u32).to_le_bytes())
            .collect();
        found.extend(pixels);
        Ok(found)
    })
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn with(work: impl FnOnce(&mut Engine) -> Result<Vec<u8>, String>) -> bool {
    STATE.with_borrow_mut(|state| {
        let found = match &mut state.engine {
            Some(engine) => work(engine),
            None => Err("no model is loaded".to_owned()),
        };
        state.finish(found)
    })
}

impl State {
    fn finish(&mut self, found: Result<Vec<u8>, String>) -> bool {
        let is_done = found.is_ok();
        self.result = found.unwrap_or_else(String::into_bytes);
        is_done
    }
}
