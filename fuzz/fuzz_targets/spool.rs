#![no_main]
#![allow(dead_code, reason = "the lists of outcomes are for the tests of the server")]

#[path = "../entries/spool.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    entry::run(data);
});
