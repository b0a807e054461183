//! Parameters of every method.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::demand(properties::params::holds(data)));
