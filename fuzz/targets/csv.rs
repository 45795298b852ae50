//! Fuzzes CSV as a drop and as a table's source: no input may cause a panic, and the chunk size must not change the
//! result.
//!
//! An input holds the chunk size (0: one chunk), the compression, the key, the dialect and the text.

#![no_main]

#[path = "support/text.rs"]
mod text;

use libfuzzer_sys::fuzz_target;
use turntable_core::config::{Csv, Dialect, Format};
use turntable_sources::{files, inbox};

fuzz_target!(|input: &[u8]| {
    let (choice, input) = text::Choice::take(input, Format::Csv);
    choice.as_a_drop(input, inbox::csv::csv);
    choice.as_a_source(input, |object, input, rows| {
        let dialect = match choice.other % 3 {
            0 => Dialect::default(),
            1 => Dialect { delimiter: b'\t', quote: None, escape: b'"' },
            _ => Dialect { delimiter: b';', quote: Some(b'\''), escape: b'\\' },
        };
        let options = Csv { dialect, header: choice.other % 2 == 0, ..Csv::default() };
        files::csv::decode(object, input, &options, choice.typed_by(), rows)
    });
});
