//! The target `records`: see `windlass::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| windlass::fuzzing::run("records", input));
