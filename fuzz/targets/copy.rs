//! Fuzzes the decoder for PostgreSQL's COPY stream: no input may cause a panic, and the chunk size must not change the
//! result. The limit on allocations in `fuzz/run` also catches a decoder that trusts a length field.
//!
//! An input holds the chunk size (0: one chunk), the policy for unrepresentable values, the number of columns, the type
//! of each column, and the stream after its signature.

#![no_main]

use std::{fmt::Debug, sync::Arc};

use arrow_schema::{Field, Schema};
use libfuzzer_sys::fuzz_target;
use turntable_core::config::OnUnrepresentable;
use turntable_sources::{
    postgres::copy::{Decoder, Wire},
    unrepresentable::{Part, Unrepresentable},
};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

fuzz_target!(|input: &[u8]| {
    let mut input = input.iter().copied();
    let mut next = || input.next().unwrap_or_default();
    let size = usize::from(next());
    let policy = if next() % 2 == 0 { OnUnrepresentable::Error } else { OnUnrepresentable::Null };
    let wires: Vec<Wire> = (0..=next() % 4).map(|_| wire(&mut next, 3)).collect();
    let stream: Vec<u8> = SIGNATURE.iter().copied().chain(input).collect();

    let whole = decoded(&wires, policy, &[&stream]);
    if size > 0 {
        let chunks: Vec<&[u8]> = stream.chunks(size).collect();
        assert_eq!(decoded(&wires, policy, &chunks), whole);
    }
});

/// Returns every batch and the number of values that became NULL, or the error.
fn decoded(
    wires: &[Wire],
    policy: OnUnrepresentable,
    chunks: &[&[u8]],
) -> Result<impl PartialEq + Debug + use<>, String> {
    let field = |(at, wire): (usize, &Wire)| Field::new(format!("c{at}"), wire.data_type(), true);
    let schema = Arc::new(Schema::new(wires.iter().enumerate().map(field).collect::<Vec<_>>()));
    let unrepresentable = Arc::new(Unrepresentable::new("t", policy, &schema));
    let mut decoder = Decoder::new(schema, wires, unrepresentable.clone(), Part::WHOLE);
    for chunk in chunks {
        decoder.push(chunk).map_err(|error| error.report())?;
    }
    decoder.finish().map_err(|error| error.report())?;
    Ok((decoder.ready, unrepresentable.nulled()))
}

fn wire(next: &mut impl FnMut() -> u8, depth: u8) -> Wire {
    match next() % if depth == 0 { 15 } else { 18 } {
        0 => Wire::Boolean,
        1 => Wire::Int16,
        2 => Wire::Int32,
        3 => Wire::Int64,
        4 => Wire::Oid,
        5 => Wire::Float32,
        6 => Wire::Float64,
        7 => {
            let precision = 1 + next() % 38;
            Wire::Decimal { precision, scale: next() % (precision + 1) }
        }
        8 => Wire::NumericText,
        9 => Wire::Text,
        10 => Wire::Jsonb,
        11 => Wire::Uuid,
        12 => Wire::Binary,
        13 => Wire::Date,
        14 => Wire::Timestamp { utc: next() % 2 == 0 },
        15 => Wire::Hstore,
        16 => Wire::List(Box::new(wire(next, depth - 1))),
        _ => Wire::Struct((0..=next() % 3).map(|at| (format!("f{at}"), wire(next, depth - 1))).collect()),
    }
}
