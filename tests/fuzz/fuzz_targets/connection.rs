//! A whole connection: bytes in, answers out.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::demand(properties::connection::holds(data)));
