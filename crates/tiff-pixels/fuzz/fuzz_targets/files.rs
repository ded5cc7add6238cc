//! Decodes any bytes: the result must be pixels of the announced size, or an error.
//! `cargo +nightly fuzz run files` in `crates/tiff-pixels`; `scripts/fuzz` brings seeds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tiff_pixels::Tiff;

/// Memory in bytes above which an image isn't decoded. Larger ones slow the search down.
const MOST_BYTES: u64 = 16 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Ok(tiff) = Tiff::open(bytes) else { return };
    assert!(!tiff.mode().is_empty());
    let [height, width] = tiff.size();
    if tiff.memory().is_ok_and(|memory| memory <= MOST_BYTES)
        && let Ok(pixels) = tiff.decode()
    {
        assert_eq!(pixels.bytes.len(), height * width * pixels.channels);
    }
});
