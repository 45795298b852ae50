//! Decodes the `COPY … (FORMAT binary)` stream into record batches.
//!
//! The stream consists of a header, rows and a trailer. A row consists of the number of its fields, then the length and
//! bytes of each field (PostgreSQL's manual, "COPY", "Binary Format"). The input may be split anywhere. Between chunks,
//! only an incomplete header or field is kept.

use std::{collections::VecDeque, sync::Arc};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::{append::append, wire::Wire};
use crate::{
    column_builder::ColumnBuilder,
    unrepresentable::{Part, Row, Unrepresentable},
    value_fault::ValueFault,
};
use turntable_core::error::{Error, Result};

/// The maximum number of rows in a batch.
const BATCH_ROWS: usize = 8192;
/// The number of received bytes at which a batch ends early.
const BATCH_BYTES: usize = 8 << 20;

const INVALID_TEXT: ValueFault = ValueFault::Unrepresentable("text that is not valid UTF-8: cast it to bytea");

const WITHOUT_UNICODE: ValueFault = ValueFault::Unrepresentable(
    "text with a character that the server can't convert to UTF-8: replace it in the query, or select convert_to(…)",
);

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Converts the text of a column from the database's encoding to UTF-8. A value without a UTF-8 form becomes invalid
/// UTF-8.
pub type Conversion = Box<dyn FnMut(&mut ColumnBuilder) -> Result<()> + Send>;

/// Decodes one COPY stream.
pub struct Decoder {
    schema: SchemaRef,
    columns: Vec<(Wire, ColumnBuilder)>,
    unrepresentable: Arc<Unrepresentable>,
    part: Part,
    /// Set if the server sends text in an encoding other than UTF-8.
    conversion: Option<Conversion>,
    expected: Expected,
    /// The start of an incomplete header or field.
    carry: Vec<u8>,
    /// The number of rows in all finished batches.
    finished: u64,
    /// The number of rows since the last batch.
    rows: usize,
    /// The number of bytes received since the last batch.
    bytes: usize,
    /// Finished batches, for the caller to take.
    pub ready: VecDeque<RecordBatch>,
}

#[derive(Clone, Copy)]
enum Expected {
    Signature,
    Row,
    /// The field with this index.
    Field(usize),
    End,
}

impl Decoder {
    #[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
    pub fn new(schema: SchemaRef, wires: &[Wire], unrepresentable: Arc<Unrepresentable>, part: Part) -> Decoder {
        let column = |wire: &Wire| {
            let builder = ColumnBuilder::new(&wire.data_type(), BATCH_ROWS);
            (wire.clone(), builder.expect("every wire format has a type that Turntable writes"))
        };
        Decoder {
            schema,
            columns: wires.iter().map(column).collect(),
            unrepresentable,
            part,
            conversion: None,
            expected: Expected::Signature,
            carry: Vec::new(),
            finished: 0,
            rows: 0,
            bytes: 0,
            ready: VecDeque::new(),
        }
    }

    /// Makes the decoder convert all text.
    pub fn with_conversion(self, conversion: Option<Conversion>) -> Decoder {
        Decoder { conversion, ..self }
    }

    /// Returns the number of complete rows so far.
    pub fn rows(&self) -> u64 {
        self.finished + self.rows as u64
    }

    /// Decodes the next bytes of the stream, and puts the batches that they complete into `ready`.
    pub fn push(&mut self, chunk: &[u8]) -> Result<()> {
        self.bytes += chunk.len();
        if self.carry.is_empty() {
            let rest = self.decode(chunk)?;
            self.carry.extend_from_slice(rest);
            return Ok(());
        }
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(chunk);
        let left = self.decode(&carry)?.len();
        carry.drain(..carry.len() - left);
        self.carry = carry;
        Ok(())
    }

    /// Checks that the stream ended with its trailer, and puts the last batch into `ready`.
    pub fn finish(&mut self) -> Result<()> {
        match self.expected {
            Expected::End => self.finish_batch(),
            _ => Err(self.malformed("it ends before its trailer")),
        }
    }

    /// Decodes all complete fields and returns the remaining bytes.
    fn decode<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8]> {
        loop {
            match self.expected {
                Expected::Signature => {
                    // The flags and the length of the header extension follow. PostgreSQL sends zeros.
                    let Some((head, rest)) = bytes.split_first_chunk::<19>() else { return Ok(bytes) };
                    if !head.starts_with(SIGNATURE) || head[SIGNATURE.len()..].iter().any(|byte| *byte != 0) {
                        return Err(self.malformed("its header doesn't match the binary format"));
                    }
                    bytes = rest;
                    self.expected = Expected::Row;
                }
                Expected::Row => {
                    let Some((count, rest)) = bytes.split_first_chunk() else { return Ok(bytes) };
                    let count = i16::from_be_bytes(*count);
                    self.expected = match usize::try_from(count) {
                        Ok(count) if count == self.columns.len() => Expected::Field(0),
                        Err(_) if count == -1 => Expected::End,
                        _ => return Err(self.malformed("the number of fields in a row differs from the query's")),
                    };
                    bytes = rest;
                }
                Expected::Field(first) => {
                    for at in first..self.columns.len() {
                        match field(bytes) {
                            Ok(Some((Some(value), rest))) => {
                                let ((wire, to), policy) = (&mut self.columns[at], self.unrepresentable.column(at));
                                append(to, wire, value, policy).map_err(|fault| self.fault(at, self.rows, fault))?;
                                bytes = rest;
                            }
                            Ok(Some((None, rest))) => {
                                self.columns[at].1.append_null();
                                bytes = rest;
                            }
                            Ok(None) => {
                                self.expected = Expected::Field(at);
                                return Ok(bytes);
                            }
                            Err(fault) => return Err(self.fault(at, self.rows, fault)),
                        }
                    }
                    self.expected = Expected::Row;
                    self.rows += 1;
                    if self.rows == BATCH_ROWS || self.bytes >= BATCH_BYTES {
                        self.finish_batch()?;
                    }
                }
                Expected::End if bytes.is_empty() => return Ok(bytes),
                Expected::End => return Err(self.malformed("it continues after its trailer")),
            }
        }
    }

    /// Puts the rows since the last batch into `ready` as a batch, if there are any.
    fn finish_batch(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        if let Some(convert) = &mut self.conversion {
            self.columns.iter_mut().try_for_each(|(_, column)| convert(column))?;
        }
        let invalid_text = if self.conversion.is_some() { WITHOUT_UNICODE } else { INVALID_TEXT };
        let mut arrays = Vec::with_capacity(self.columns.len());
        for at in 0..self.columns.len() {
            let array = self.columns[at].1.finish(self.unrepresentable.column(at).counter());
            arrays.push(array.map_err(|invalid| self.fault(at, invalid.row, invalid_text))?);
        }
        let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(|error| {
            Error::corrupt("the rows from PostgreSQL don't form a record batch: this is a bug, please report it")
                .caused_by(error)
        })?;
        self.ready.push_back(batch);
        self.finished += self.rows as u64;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    /// Returns the error for a value. `row` is the zero-based index of its row in the current batch.
    fn fault(&self, column: usize, row: usize, fault: ValueFault) -> Error {
        let row = Row { number: self.finished + row as u64 + 1, part: self.part };
        match fault {
            ValueFault::Unrepresentable(what) => self.unrepresentable.error(column, row, what),
            ValueFault::Malformed(what) => {
                let at = self.unrepresentable.place(column, row);
                Error::corrupt(format!("{at}: PostgreSQL sent {what}"))
            }
        }
    }

    fn malformed(&self, what: &str) -> Error {
        Error::corrupt(format!(
            "PostgreSQL's COPY stream is malformed after {} rows, because {what}: run the export again",
            self.rows()
        ))
    }
}

/// Returns the next field's value (`None` for null) and the bytes after it. Returns `None` if the field is incomplete.
#[inline]
#[allow(clippy::type_complexity, reason = "an alias would hide the structure")]
fn field(bytes: &[u8]) -> Result<Option<(Option<&[u8]>, &[u8])>, ValueFault> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    match i32::from_be_bytes(*length) {
        -1 => Ok(Some((None, rest))),
        length => match usize::try_from(length) {
            Ok(length) => Ok(rest.split_at_checked(length).map(|(value, rest)| (Some(value), rest))),
            Err(_) => Err(ValueFault::Malformed("a field with a negative length")),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Array;
    use arrow_schema::{Field, Schema};

    use super::*;
    use turntable_core::{config::OnUnrepresentable, error::Kind};

    fn every_wire() -> Vec<Wire> {
        vec![
            Wire::Boolean,
            Wire::Int16,
            Wire::Int32,
            Wire::Int64,
            Wire::Oid,
            Wire::Float32,
            Wire::Float64,
            Wire::Decimal { precision: 10, scale: 2 },
            Wire::NumericText,
            Wire::Text,
            Wire::Jsonb,
            Wire::Uuid,
            Wire::Binary,
            Wire::Date,
            Wire::Timestamp { utc: true },
            Wire::List(Box::new(Wire::Text)),
            Wire::Struct(vec![("a".into(), Wire::Int32), ("b".into(), Wire::List(Box::new(Wire::Int16)))]),
            Wire::Hstore,
        ]
    }

    fn decoder() -> Decoder {
        decoder_with(OnUnrepresentable::Error)
    }

    fn decoder_with(policy: OnUnrepresentable) -> Decoder {
        let wires = every_wire();
        let field = |(at, wire): (usize, &Wire)| Field::new(format!("c{at}"), wire.data_type(), true);
        let schema = Schema::new(wires.iter().enumerate().map(field).collect::<Vec<_>>());
        let unrepresentable = Unrepresentable::new("dmp.t", policy, &schema);
        Decoder::new(Arc::new(schema), &wires, Arc::new(unrepresentable), Part::WHOLE)
    }

    fn sized(value: &[u8]) -> Vec<u8> {
        [&(value.len() as i32).to_be_bytes(), value].concat()
    }

    fn words(words: &[i32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// Returns a valid value of each wire format, in the order of `every_wire`.
    fn values() -> Vec<Vec<u8>> {
        let null = words(&[-1]);
        let list = |element: &[u8]| [&words(&[1, 1, 25, 2, 1]), element, &null].concat();
        vec![
            vec![1],
            vec![0, 7],
            words(&[7]),
            words(&[0, 7]),
            words(&[-7]),
            1.5_f32.to_be_bytes().into(),
            1.5_f64.to_be_bytes().into(),
            [2_u16, 0, 0, 2, 12, 3400].iter().flat_map(|word| word.to_be_bytes()).collect(),
            [1_u16, 0, 0, 0, 7].iter().flat_map(|word| word.to_be_bytes()).collect(),
            "日本".into(),
            b"\x01{}".into(),
            vec![0xab; 16],
            vec![0, 255],
            words(&[-1]),
            words(&[0, 0]),
            list(&sized("日".as_bytes())),
            [words(&[2, 23]), sized(&words(&[5])), words(&[1005]), sized(&list(&sized(&[0, 5])))].concat(),
            [words(&[2]), sized(b"a"), sized(b"b"), sized(b"c"), null.clone()].concat(),
        ]
    }

    fn stream(rows: usize) -> Vec<u8> {
        let mut bytes = [&SIGNATURE[..], &[0; 8]].concat();
        for row in 0..rows {
            bytes.extend((values().len() as i16).to_be_bytes());
            for value in values() {
                bytes.extend(if row % 3 == 2 { words(&[-1]) } else { sized(&value) });
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    fn decode(chunks: &[&[u8]]) -> Result<Vec<RecordBatch>> {
        let mut decoder = decoder();
        for chunk in chunks {
            decoder.push(chunk)?;
        }
        decoder.finish()?;
        Ok(decoder.ready.into())
    }

    #[test]
    fn chunks_may_end_anywhere() {
        let stream = stream(4);
        let whole = decode(&[&stream]).unwrap();
        assert_eq!(whole.iter().map(RecordBatch::num_rows).sum::<usize>(), 4);
        for at in 0..=stream.len() {
            let (one, other) = stream.split_at(at);
            assert_eq!(decode(&[one, other]).unwrap(), whole);
        }
        assert_eq!(decode(&stream.chunks(1).collect::<Vec<_>>()).unwrap(), whole);
    }

    #[test]
    fn batches_end_at_the_row_limit() {
        let batches = decode(&[&stream(BATCH_ROWS + 1)]).unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [BATCH_ROWS, 1]);
        assert!(decode(&[&stream(0)]).unwrap().is_empty());
    }

    #[test]
    fn a_truncated_stream_is_an_error() {
        let stream = stream(2);
        for at in 0..stream.len() {
            let error = decode(&[&stream[..at]]).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt);
            let text = "rows, because it ends before its trailer: run the export again";
            assert!(error.message().ends_with(text), "{}", error.message());
        }
        let error = decode(&[&stream, &[0]]).unwrap_err();
        let text = "PostgreSQL's COPY stream is malformed after 2 rows, because it continues after its trailer: run the \
                    export again";
        assert_eq!(error.message(), text);
    }

    #[test]
    fn a_truncated_value_names_its_column_and_row() {
        for (column, value) in values().iter().enumerate() {
            // Text and bytes are valid at any length.
            let any = matches!(every_wire()[column], Wire::Text | Wire::Binary | Wire::Jsonb);
            for length in (0..value.len()).filter(|_| !any) {
                let mut bytes = stream(1);
                bytes.truncate(bytes.len() - 2);
                bytes.extend((values().len() as i16).to_be_bytes());
                for (other, whole) in values().iter().enumerate() {
                    bytes.extend(sized(if other == column { &value[..length] } else { whole }));
                }
                let error = decode(&[&bytes]).unwrap_err();
                assert_eq!(error.kind(), Kind::Corrupt);
                assert!(
                    error
                        .message()
                        .starts_with(&format!("table dmp.t, column \"c{column}\", row 2: PostgreSQL sent a"))
                );
            }
        }
    }

    #[test]
    fn random_bytes_do_not_panic() {
        let sound = stream(3);
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed as usize
        };
        for _ in 0..20_000 {
            let mut bytes = sound.clone();
            for _ in 0..=random() % 4 {
                let at = 19 + random() % (bytes.len() - 19);
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, random() as u8][random() % 6];
            }
            let at = random() % bytes.len();
            let _ = decode(&[&bytes[..at], &bytes[at..]]);
        }
    }

    #[test]
    fn a_false_length_allocates_nothing() {
        let mut decoder = decoder();
        let lie = [&SIGNATURE[..], &[0; 8], &(values().len() as i16).to_be_bytes(), &words(&[i32::MAX])].concat();
        decoder.push(&lie).unwrap();
        decoder.push(&[0; 100]).unwrap();
        assert!(decoder.carry.capacity() < 1000);
    }

    #[test]
    fn invalid_utf8_names_its_row_or_becomes_null() {
        let mut values = values();
        values[9] = vec![0xe6, 0x97];
        let mut bytes = stream(2);
        bytes.truncate(bytes.len() - 2);
        bytes.extend((values.len() as i16).to_be_bytes());
        values.iter().for_each(|value| bytes.extend(sized(value)));
        bytes.extend((-1_i16).to_be_bytes());
        let error = decode(&[&bytes]).unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert_eq!(
            error.message(),
            "table dmp.t, column \"c9\", row 3: text that is not valid UTF-8: cast it to bytea, or set \
             on_unrepresentable = \"null\" to store NULL"
        );
        let mut lenient = decoder_with(OnUnrepresentable::Null);
        lenient.push(&bytes).unwrap();
        lenient.finish().unwrap();
        let column = lenient.ready[0].column(9);
        assert_eq!((0..3).map(|row| column.is_null(row)).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(lenient.unrepresentable.nulled(), [("c9".to_owned(), 1)].into());
    }
}
