//! Fuzzes NDJSON as a drop and as a table's source: no input may cause a panic, and the chunk size must not change the
//! result.
//!
//! An input holds the chunk size (0: one chunk), the compression, the key and the text.

#![no_main]

#[path = "support/text.rs"]
mod text;

use libfuzzer_sys::fuzz_target;
use turntable_core::config::Format;
use turntable_sources::{files, inbox};

fuzz_target!(|input: &[u8]| {
    let (choice, input) = text::Choice::take(input, Format::Ndjson);
    choice.as_a_drop(input, inbox::text::ndjson);
    choice.as_a_source(input, files::ndjson::decode);
});
