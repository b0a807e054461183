//! What a shell's terminal shows.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::demand(properties::terminal::holds(data)));
