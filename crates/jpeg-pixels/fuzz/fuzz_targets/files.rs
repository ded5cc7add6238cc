//! Decodes any bytes: the result must be pixels of the announced size, or an error.
//! `cargo +nightly fuzz run files` in `crates/jpeg-pixels`, with some JPEGs as a corpus.

#![no_main]

use jpeg_pixels::Jpeg;
use libfuzzer_sys::fuzz_target;

/// Largest image that is decoded, in pixels. Larger ones slow the search down.
const MOST_PIXELS: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Ok(jpeg) = Jpeg::open(bytes) else { return };
    let [height, width] = jpeg.size();
    if height * width > MOST_PIXELS {
        return;
    }
    let decoded = jpeg
        .decode()
        .map(|decoded| decoded.pixels)
        .or_else(|_| Jpeg::open(bytes)?.repair());
    if let Ok(pixels) = decoded {
        assert_eq!([pixels.height, pixels.width], [height, width]);
        assert_eq!(pixels.bytes.len(), height * width * pixels.channels);
    }
});
