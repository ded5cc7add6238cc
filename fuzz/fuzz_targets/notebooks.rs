//! `cargo +nightly fuzz run notebooks`; `scripts/fuzz` brings seeds.

#![no_main]

#[expect(dead_code, reason = "one door of several")]
#[path = "../doors.rs"]
mod doors;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    doors::notebooks(bytes);
});
