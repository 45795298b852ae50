//! Decodes the driver's rows into record batches.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use mysql_async::{Row as MysqlRow, Value};

use super::{append::append, charset::Charset, types::Wire};
use crate::{
    column_builder::ColumnBuilder,
    unrepresentable::{Part, Row, Unrepresentable},
    value_fault::ValueFault,
};
use turntable_core::error::{Error, Result};

/// The maximum number of rows in a batch.
const BATCH_ROWS: usize = 8192;
/// The approximate size, in bytes, at which a batch ends early.
const BATCH_BYTES: usize = 8 << 20;

/// How to decode a column: its format, and its character set. The character set is `None` if the column holds UTF-8 or
/// no text.
pub type Format = (Wire, Option<Arc<Charset>>);

const INVALID_TEXT: ValueFault = ValueFault::Malformed("text that is not valid UTF-8: cast it to BINARY in the query");

/// Decodes the rows of one query.
pub struct Decoder {
    schema: SchemaRef,
    columns: Vec<(Format, ColumnBuilder)>,
    unrepresentable: Arc<Unrepresentable>,
    part: Part,
    /// The number of rows in all finished batches.
    finished: u64,
    /// The number of rows since the last batch.
    rows: usize,
    /// The approximate size of those rows, in bytes.
    bytes: usize,
}

impl Decoder {
    #[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
    pub fn new(schema: SchemaRef, formats: Vec<Format>, unrepresentable: Arc<Unrepresentable>, part: Part) -> Decoder {
        let column = |format: Format| {
            let builder = ColumnBuilder::new(&format.0.data_type(), BATCH_ROWS);
            (format, builder.expect("every wire format has a type that Turntable writes"))
        };
        let columns = formats.into_iter().map(column).collect();
        Decoder { schema, columns, unrepresentable, part, finished: 0, rows: 0, bytes: 0 }
    }

    /// Returns the number of rows decoded so far.
    pub fn rows(&self) -> u64 {
        self.finished + self.rows as u64
    }

    /// Decodes a row, and returns the batch if the row completes one.
    pub fn push(&mut self, row: &MysqlRow) -> Result<Option<RecordBatch>> {
        if row.len() != self.columns.len() {
            return Err(Error::corrupt(format!(
                "MySQL sent {} columns in {}, but had described {}: run the export again",
                row.len(),
                self.position(self.rows),
                self.columns.len()
            )));
        }
        for at in 0..self.columns.len() {
            let value = row.as_ref(at).unwrap_or(&Value::NULL);
            self.bytes += size(value);
            let ((wire, charset), to) = &mut self.columns[at];
            let appended = match (charset, value) {
                (Some(charset), Value::Bytes(bytes)) => append_text(to, *wire, charset, bytes),
                _ => append(to, *wire, value),
            };
            match appended {
                Ok(()) => {}
                Err(ValueFault::Unrepresentable(what)) => {
                    self.unrepresentable.null(at, self.position(self.rows), what)?;
                    self.columns[at].1.append_null();
                }
                Err(fault) => return Err(self.fault(at, self.rows, fault)),
            }
        }
        self.rows += 1;
        if self.rows == BATCH_ROWS || self.bytes >= BATCH_BYTES { self.finish() } else { Ok(None) }
    }

    /// Returns the rows since the last batch as a batch, or `None` if there are none.
    pub fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let mut arrays = Vec::with_capacity(self.columns.len());
        for at in 0..self.columns.len() {
            let array = self.columns[at].1.finish(None);
            arrays.push(array.map_err(|invalid| self.fault(at, invalid.row, INVALID_TEXT))?);
        }
        let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(|error| {
            Error::corrupt("the rows from MySQL don't form a record batch: this is a bug, please report it")
                .caused_by(error)
        })?;
        self.finished += self.rows as u64;
        (self.rows, self.bytes) = (0, 0);
        Ok(Some(batch))
    }

    /// Returns a row's position in the query's result. `row` is its zero-based index in the current batch.
    fn position(&self, row: usize) -> Row {
        Row { number: self.finished + row as u64 + 1, part: self.part }
    }

    fn fault(&self, column: usize, row: usize, fault: ValueFault) -> Error {
        let (ValueFault::Unrepresentable(what) | ValueFault::Malformed(what)) = fault;
        let at = self.unrepresentable.place(column, self.position(row));
        Error::corrupt(format!("{at}: MySQL sent {what}"))
    }
}

/// Appends text in a character set other than UTF-8. Unrepresentable text leaves the column unchanged.
fn append_text(to: &mut ColumnBuilder, wire: Wire, charset: &Charset, bytes: &[u8]) -> Result<(), ValueFault> {
    let mut text = Vec::with_capacity(bytes.len() * 2);
    charset.decode(bytes, &mut text)?;
    append(to, wire, &Value::Bytes(text))
}

/// Returns a value's approximate size in bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => bytes.len(),
        _ => 8,
    }
}
