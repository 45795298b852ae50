//! Fuzzes the parser of Parquet page headers: no input causes a panic, and for a header that begins with three numbers
//! in Thrift's compact protocol, the parser returns the second number or refuses the header.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turntable_sources::inbox::pages::uncompressed_size;

/// Appends a non-negative number as a zigzag varint.
fn push(bytes: &mut Vec<u8>, number: u32) {
    let mut rest = u64::from(number) << 1;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

fuzz_target!(|input: &[u8]| {
    let _ = uncompressed_size(input);
    let Some((numbers, rest)) = input.split_first_chunk::<12>() else { return };
    let number = |at: usize| u32::from_le_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]) >> 1;
    let mut header = Vec::new();
    for at in [0, 4, 8] {
        header.push(0x15);
        push(&mut header, number(at));
    }
    header.extend_from_slice(rest);
    // What follows may say the same once more, or be malformed.
    assert!(uncompressed_size(&header).is_none_or(|size| size == number(4)));
});
