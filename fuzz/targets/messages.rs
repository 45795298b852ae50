//! Fuzzes the splitter for the PostgreSQL server's messages: the chunk size must not change the result, and no byte may
//! be invented or reordered.
//!
//! An input holds the chunk size (0: one chunk) and the bytes that the server sends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turntable_sources::postgres::copy::Messages;

fuzz_target!(|input: &[u8]| {
    let Some((size, sent)) = input.split_first() else { return };
    let whole = split(&[sent]);
    if *size > 0 {
        let chunks: Vec<&[u8]> = sent.chunks(usize::from(*size)).collect();
        assert_eq!(split(&chunks), whole);
    }
    let (rows, others, _) = whole;
    assert!(rows.len() + others.len() <= sent.len());
    for part in [rows, others] {
        let mut left = sent.iter();
        assert!(part.iter().all(|byte| left.any(|sent| sent == byte)), "bytes that were not sent, or in another order");
    }
});

fn split(chunks: &[&[u8]]) -> (Vec<u8>, Vec<u8>, bool) {
    let (mut messages, mut rows, mut others) = (Messages::default(), Vec::new(), Vec::new());
    for chunk in chunks {
        messages.split(chunk, &mut rows, &mut others);
    }
    (rows, others, messages.has_ended())
}
