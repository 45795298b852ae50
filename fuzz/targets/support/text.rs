//! Decodes one text as a drop and as a table's source, in one piece and in chunks, and compares the results.

use std::{
    io::{self, BufReader, Read},
    sync::Arc,
};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use jiff::Timestamp;
use turntable_core::{
    config::{Format, OnUnrepresentable},
    consent::{
        key::{Key, Type},
        normalize::{Normalization, Normalize},
    },
    error::Result,
    layout::Entry,
    manifest::TypedBy,
};
use turntable_sources::{
    files::{
        input::{self, Input},
        object::{Compression, Object},
        row::{Rows, Stop},
    },
    inbox::{self, ParsedDrop, Reader},
    unrepresentable::Unrepresentable,
};

/// How a text is decoded, chosen by the first three bytes of an input.
pub struct Choice {
    chunk: usize,
    compression: Compression,
    key: Key,
    normalize: Normalization,
    format: Format,
    /// A byte for the fuzz target's own choices.
    pub other: u8,
}

impl Choice {
    /// Splits an input into the choice and the text.
    pub fn take(input: &[u8], format: Format) -> (Choice, &[u8]) {
        let (head, text) = input.split_at(input.len().min(3));
        let byte = |at: usize| head.get(at).copied().unwrap_or_default();
        let compression = match byte(1) % 8 {
            0 => Compression::Gzip,
            1 => Compression::Zstd,
            2 => Compression::Bzip2,
            3 => Compression::Snappy,
            _ => Compression::None,
        };
        let column = |name: &str, kind| (name.to_owned(), kind);
        let columns = match byte(1) / 8 % 4 {
            0 => vec![column("id", Type::Bigint)],
            1 => vec![column("id", Type::Int)],
            2 => vec![column("id", Type::String)],
            _ => vec![column("tenant", Type::String), column("id", Type::Bigint)],
        };
        let steps = if byte(1) & 128 == 0 { 0 } else { 3 };
        let normalize = Normalization::new(Normalize::ALL.into_iter().take(steps));
        let key = Key { columns };
        (Choice { chunk: byte(0).into(), compression, key, normalize, format, other: byte(2) }, text)
    }

    pub fn typed_by(&self) -> TypedBy {
        if self.other & 64 == 0 { TypedBy::Declared } else { TypedBy::Inferred }
    }

    fn object(&self, text: &[u8]) -> Object {
        let key = match self.format {
            Format::Csv => "s3://b/a.csv",
            _ => "s3://b/a.ndjson",
        };
        let (key, size) = (key.parse().expect("a valid key"), text.len() as u64);
        let entry = Entry { key, size, etag: String::new(), modified: Timestamp::UNIX_EPOCH };
        Object::new(entry, self.compression)
    }

    /// Returns whether the text is compressed. In a damaged stream, the chunk size decides whether the decoder first
    /// meets the damage or an earlier error in the text, so results may differ.
    fn is_compressed(&self) -> bool {
        self.compression != Compression::None
    }

    /// Returns the chunk sizes that must give the same result.
    fn chunks(&self) -> impl Iterator<Item = usize> + use<> {
        [usize::MAX, self.chunk].into_iter().filter(|chunk| *chunk > 0)
    }

    pub fn as_a_drop(&self, text: &[u8], read: impl Fn(&Object, Input, &Reader) -> Result<ParsedDrop>) {
        let (now, spill) = (Timestamp::from_second(1_800_000_000).expect("a valid time"), Arc::default());
        let reader = Reader {
            key: self.key.clone(),
            states: Default::default(),
            normalize: self.normalize.clone(),
            now,
            spill,
        };
        let object = self.object(text);
        let parsed = |chunk| {
            let result = input::open(&object, Dribble::new(text, chunk), inbox::text::MAX_ZSTD_WINDOW_LOG)
                .and_then(|input| read(&object, input, &reader));
            result.map(|drop| (drop.records.len(), drop.rejects)).map_err(|error| error.report())
        };
        let all: Vec<_> = self.chunks().map(parsed).collect();
        assert!(self.is_compressed() || all.iter().all(|one| *one == all[0]), "{all:?}");
    }

    pub fn as_a_source(&self, text: &[u8], decode: impl Fn(&Object, Input, &mut Rows) -> Result<(), Stop>) {
        let (object, schema) = (self.object(text), schema());
        let decoded = |chunk| -> Result<Vec<RecordBatch>, String> {
            // Inputs are so short that their batches never fill the channel.
            let (to, mut from) = tokio::sync::mpsc::channel(64);
            let counted = Arc::new(Unrepresentable::new("t", OnUnrepresentable::Null, &schema));
            let mut rows = Rows::new(&schema, self.typed_by(), counted, to)?;
            let input = input::open(&object, Dribble::new(text, chunk), inbox::text::MAX_ZSTD_WINDOW_LOG)
                .map_err(|error| error.report())?;
            match decode(&object, input, &mut rows).and_then(|()| Ok(rows.flush()?)) {
                Ok(()) => Ok(std::iter::from_fn(|| from.try_recv().ok()).collect()),
                Err(Stop::Error(error)) => Err(error.report()),
                Err(Stop::Gone) => panic!("the receiver was dropped"),
            }
        };
        let all: Vec<_> = self.chunks().map(decoded).collect();
        assert!(self.is_compressed() || all.iter().all(|one| same(one, &all[0])), "{all:?}");
    }
}

/// Returns whether two results are equal. Also accepts equal debug output, because NaN doesn't equal itself.
fn same(one: &Result<Vec<RecordBatch>, String>, other: &Result<Vec<RecordBatch>, String>) -> bool {
    one == other || format!("{one:?}") == format!("{other:?}")
}

/// Returns a schema with columns of many types, and with short names that the fuzzer can find.
fn schema() -> SchemaRef {
    use DataType::*;
    let inner = Fields::from(vec![Field::new("x", Int32, true), Field::new("y", Utf8, true)]);
    let types = [
        Int64,
        Utf8,
        Boolean,
        Int8,
        Float64,
        Decimal128(10, 2),
        Date32,
        Timestamp(TimeUnit::Microsecond, None),
        Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Binary,
        List(Arc::new(Field::new("element", Int64, true))),
        Struct(inner),
    ];
    let field = |(at, of): (usize, DataType)| Field::new(char::from(b'a' + at as u8), of, true);
    Arc::new(Schema::new(types.into_iter().enumerate().map(field).collect::<Vec<_>>()))
}

/// A reader that returns at most `chunk` bytes per call.
struct Dribble {
    text: Vec<u8>,
    at: usize,
    chunk: usize,
}

impl Dribble {
    fn new(text: &[u8], chunk: usize) -> BufReader<Dribble> {
        BufReader::with_capacity(1 << 12, Dribble { text: text.to_vec(), at: 0, chunk })
    }
}

impl Read for Dribble {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let length = (self.text.len() - self.at).min(self.chunk).min(to.len());
        to[..length].copy_from_slice(&self.text[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
