//! Measures how many rows per second the decoders for PostgreSQL's COPY, CSV and NDJSON turn into Arrow, without I/O.
//!
//! `cargo run --release -p turntable-sources --example decode_speed [ROUNDS]`

use std::{
    error::Error,
    fmt::Write,
    io::Cursor,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use jiff::Timestamp;
use tokio::sync::mpsc;
use turntable_core::{
    config::{Csv, OnUnrepresentable},
    layout::Entry,
    manifest::TypedBy,
};
use turntable_sources::{
    files::{
        self,
        input::Input,
        object::{Compression, Object},
        row::{Rows, Stop},
    },
    postgres::copy::{Decoder, Wire},
    unrepresentable::{Part, Unrepresentable},
};

/// The number of rows that are decoded per round.
const ROWS: usize = 200_000;

/// The number of bytes that are passed to the COPY decoder at once.
const CHUNK_BYTES: usize = 32 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::args().nth(1).map_or(Ok(15), |rounds| rounds.parse())?;
    let flat = [
        Wire::Int32,
        Wire::Int64,
        Wire::Text,
        Wire::Timestamp { utc: true },
        Wire::Decimal { precision: 10, scale: 2 },
        Wire::Boolean,
        Wire::Float64,
        Wire::Uuid,
    ];
    let nested = [
        Wire::Int64,
        Wire::List(Box::new(Wire::Int32)),
        Wire::Struct(vec![("a".into(), Wire::Int32), ("b".into(), Wire::Text)]),
        Wire::Hstore,
    ];
    for (name, wires) in [("COPY, 8 columns", &flat[..]), ("COPY, nested", &nested)] {
        let stream = copy_stream(wires);
        report(name, rounds, || decode_copy(wires, &stream))?;
    }
    let csv = text(|row| {
        format!("{row},{},name {row},2024-01-02 03:04:05Z,{}.50,true,{row}.25,\"a, {row}\"\n", row << 20, row % 1000)
    });
    let csv = format!("a,b,c,d,e,f,g,h\n{csv}");
    report("CSV, 8 columns", rounds, || {
        decode_text(&csv, flat_schema(), |object, input, rows| {
            files::csv::decode(object, input, &Csv::default(), TypedBy::Declared, rows)
        })
    })?;
    let json = text(|row| {
        format!(
            "{{\"a\":{row},\"b\":{},\"c\":\"name {row}\",\"d\":\"2024-01-02T03:04:05Z\",\"e\":{}.50,\"f\":true,\
             \"g\":{row}.25,\"h\":null}}\n",
            row << 20,
            row % 1000
        )
    });
    report("NDJSON, 8 columns", rounds, || decode_text(&json, flat_schema(), files::ndjson::decode))?;
    let json = text(|row| format!("{{\"a\":{row},\"b\":[1,2,{row}],\"c\":{{\"x\":{row},\"y\":\"name\"}}}}\n"));
    report("NDJSON, nested", rounds, || decode_text(&json, nested_schema(), files::ndjson::decode))
}

/// Runs the decoder `rounds` times and prints the speed of the fastest round, in rows per second.
fn report(
    name: &str,
    rounds: usize,
    mut decode: impl FnMut() -> Result<usize, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        assert_eq!(decode()?, ROWS);
        best = best.min(start.elapsed());
    }
    println!("{name:<20} {:>12.0} rows/s", ROWS as f64 / best.as_secs_f64());
    Ok(())
}

fn decode_copy(wires: &[Wire], stream: &[u8]) -> Result<usize, Box<dyn Error>> {
    let field = |(at, wire): (usize, &Wire)| Field::new(format!("c{at}"), wire.data_type(), true);
    let schema = Arc::new(Schema::new(wires.iter().enumerate().map(field).collect::<Vec<_>>()));
    let unrepresentable = Arc::new(Unrepresentable::new("t", OnUnrepresentable::Error, &schema));
    let mut decoder = Decoder::new(schema, wires, unrepresentable, Part::WHOLE);
    let mut rows = 0;
    for chunk in stream.chunks(CHUNK_BYTES) {
        decoder.push(chunk)?;
        rows += decoder.ready.drain(..).map(|batch| batch.num_rows()).sum::<usize>();
    }
    decoder.finish()?;
    Ok(rows + decoder.ready.iter().map(|batch| batch.num_rows()).sum::<usize>())
}

fn decode_text(
    text: &str,
    schema: SchemaRef,
    decode: impl Fn(&Object, Input, &mut Rows) -> Result<(), Stop>,
) -> Result<usize, Box<dyn Error>> {
    let (key, size) = ("s3://b/a".parse()?, text.len() as u64);
    let entry = Entry { key, size, etag: String::new(), modified: Timestamp::UNIX_EPOCH };
    let object = Object::new(entry, Compression::None);
    // The channel holds more batches than the text has, so that sending never waits.
    let (to, mut from) = mpsc::channel(1000);
    let unrepresentable = Arc::new(Unrepresentable::new("t", OnUnrepresentable::Error, &schema));
    let mut rows = Rows::new(&schema, TypedBy::Declared, unrepresentable, to)?;
    let input = Box::new(Cursor::new(text.to_owned().into_bytes()));
    match decode(&object, input, &mut rows).and_then(|()| Ok(rows.flush()?)) {
        Ok(()) => Ok(std::iter::from_fn(|| from.try_recv().ok()).map(|batch| batch.num_rows()).sum()),
        Err(Stop::Error(error)) => Err(error.into()),
        Err(Stop::Gone) => Err("the receiver was dropped".into()),
    }
}

fn flat_schema() -> SchemaRef {
    let types = [
        DataType::Int32,
        DataType::Int64,
        DataType::Utf8,
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Decimal128(10, 2),
        DataType::Boolean,
        DataType::Float64,
        DataType::Utf8,
    ];
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    Arc::new(Schema::new(names.into_iter().zip(types).map(|(name, of)| Field::new(name, of, true)).collect::<Vec<_>>()))
}

fn nested_schema() -> SchemaRef {
    let element = Arc::new(Field::new("element", DataType::Int64, true));
    let inner = vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Utf8, true)];
    Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::List(element), true),
        Field::new("c", DataType::Struct(inner.into()), true),
    ]))
}

fn text(line: impl Fn(usize) -> String) -> String {
    (0..ROWS).fold(String::new(), |mut text, row| {
        // Writing to a `String` can't fail.
        let _ = text.write_str(&line(row));
        text
    })
}

fn copy_stream(wires: &[Wire]) -> Vec<u8> {
    let mut stream = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for row in 0..ROWS {
        stream.extend((wires.len() as i16).to_be_bytes());
        for wire in wires {
            stream.extend(sized(&value(wire, row)));
        }
    }
    stream.extend((-1_i16).to_be_bytes());
    stream
}

fn sized(value: &[u8]) -> Vec<u8> {
    [&(value.len() as i32).to_be_bytes(), value].concat()
}

/// Returns a value in the format that PostgreSQL sends.
fn value(wire: &Wire, row: usize) -> Vec<u8> {
    let words = |words: &[i32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    match wire {
        Wire::Boolean => vec![(row % 2) as u8],
        Wire::Int32 => words(&[row as i32]),
        Wire::Float64 => (row as f64).to_be_bytes().into(),
        Wire::Decimal { .. } => {
            let digits = [2, 0, 0, 2, (row % 10_000) as u16, 3400];
            digits.iter().flat_map(|word| word.to_be_bytes()).collect()
        }
        Wire::Text => format!("name {row}").into_bytes(),
        Wire::Uuid => vec![row as u8; 16],
        Wire::List(_) => [words(&[1, 0, 23, 2, 1]), sized(&words(&[7])), sized(&words(&[row as i32]))].concat(),
        Wire::Struct(_) => [words(&[2, 23]), sized(&words(&[7])), words(&[25]), sized(b"text")].concat(),
        Wire::Hstore => [words(&[1]), sized(b"key"), sized(b"value")].concat(),
        _ => (row as i64).to_be_bytes().into(),
    }
}
