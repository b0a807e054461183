//! Messages told for what they are.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::demand(properties::envelope::holds(data)));
