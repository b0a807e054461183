//! Bytes cut into frames.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::demand(properties::codec::holds(data)));
