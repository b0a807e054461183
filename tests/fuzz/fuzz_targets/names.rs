//! Ids, keys and cursors.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::demand(properties::names::holds(data)));
