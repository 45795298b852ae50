//! NDJSON, as a drop and as a table's source: whatever comes, in whatever chunks, no panic and the same answer.
//!
//! An input is the size of the chunks (0: all at once), a compression, a key, and the text.

#![no_main]

#[path = "support/text.rs"]
mod text;

use libfuzzer_sys::fuzz_target;
use turntable::{
    config::Format,
    source::{files, inbox},
};

fuzz_target!(|input: &[u8]| {
    let (choice, input) = text::Choice::take(input, Format::Ndjson);
    choice.as_a_drop(input, inbox::text::ndjson);
    choice.as_a_source(input, files::ndjson::decode);
});
