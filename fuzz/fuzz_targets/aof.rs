#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rdbtool::fuzz::aof(bytes));
