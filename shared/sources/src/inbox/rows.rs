//! Converts Arrow batches into records.

use arrow_array::{
    Array, ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray, cast::AsArray,
};
use arrow_buffer::NullBuffer;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, TimeUnit};

use super::{
    reader::{ParsedDrop, Reader},
    record::{Records, state, too_many},
};
use turntable_core::{
    consent::{
        OCCURRED_AT,
        key::{Type, Value},
    },
    error::{Error, Result},
};

/// Collects records from batches with the key's columns, `state` and `occurred_at`.
pub struct Rows<'a> {
    records: Records<'a>,
    row: u64,
    max_rows: u64,
}

impl<'a> Rows<'a> {
    /// Returns an empty collection. Pushing more than `max_rows` rows is an error.
    pub fn new(reader: &'a Reader, max_rows: u64) -> Self {
        Rows { records: Records::new(reader), row: 0, max_rows }
    }

    pub fn finish(self) -> Result<ParsedDrop> {
        self.records.finish()
    }

    /// Adds a batch's rows. Fails if a column is missing or has the wrong type. `what` names the source in errors.
    pub fn push(&mut self, what: &str, batch: &RecordBatch) -> Result<()> {
        if self.row + batch.num_rows() as u64 > self.max_rows {
            return Err(too_many(&what));
        }
        let Reader { key, normalize, .. } = self.records.reader();
        let names = Records::names(key);
        let columns = names.iter().map(|name| column(what, batch, name, &names)).collect::<Result<Vec<_>>>()?;
        let keys = columns.iter().zip(&key.columns).zip(&names);
        let keys = keys.map(|((array, (_, kind)), name)| KeyColumn::from_array(what, array, name, *kind));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let states = text(what, columns[keys.len()], names[keys.len()])?;
        let times = time(what, columns[keys.len() + 1])?;
        for row in 0..batch.num_rows() {
            self.row += 1;
            let bytes = self.records.begin();
            let filled = keys.iter().enumerate().try_for_each(|(at, values)| {
                let reason = |why: &str| format!("{} {why}", names[at]);
                match values.at(row).map_err(reason)? {
                    Value::Text(text) => {
                        let text = normalize.apply(text).map_err(reason)?;
                        key.push(at, Value::Text(&text), bytes).map_err(reason)
                    }
                    whole => key.push(at, whole, bytes).map_err(reason),
                }
            });
            let word = filled.and_then(|()| {
                if states.is_null(row) {
                    return Err("state is missing".into());
                }
                let state = state(states.value(row).trim())?;
                if times.is_null(row) {
                    return Err(format!("{OCCURRED_AT} is missing or not an RFC 3339 timestamp"));
                }
                Ok((state, times.value(row)))
            });
            self.records.end(self.row, word);
        }
        Ok(())
    }
}

enum KeyColumn {
    /// The numbers, with null for each that doesn't fit into 64 bits; and separately, which values are null in the
    /// file.
    Whole(Int64Array, Option<NullBuffer>),
    Text(StringViewArray),
}

impl KeyColumn {
    fn from_array(what: &str, array: &ArrayRef, name: &str, kind: Type) -> Result<KeyColumn> {
        if kind == Type::String {
            return text(what, array, name).map(KeyColumn::Text);
        }
        // Databases that have no type for large whole numbers export them as DECIMAL(38,0).
        let is_whole = match array.data_type() {
            DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
                *scale == 0
            }
            of => of.is_integer(),
        };
        if !is_whole {
            return Err(wrong_type(what, name, array, kind.glue()));
        }
        let whole = cast(what, name, array, &DataType::Int64)?;
        Ok(KeyColumn::Whole(whole.as_primitive().clone(), array.logical_nulls()))
    }

    /// Returns a row's value, or the reason why it has no valid value.
    fn at(&self, row: usize) -> std::result::Result<Value<'_>, &'static str> {
        const MISSING: &str = "is missing";
        match self {
            KeyColumn::Whole(array, _) if array.is_valid(row) => Ok(Value::Whole(array.value(row))),
            KeyColumn::Whole(_, Some(nulls)) if nulls.is_null(row) => Err(MISSING),
            KeyColumn::Whole(..) => Err("is not a whole number in the type's range"),
            KeyColumn::Text(array) if array.is_null(row) || array.value(row).is_empty() => Err(MISSING),
            KeyColumn::Text(array) => Ok(Value::Text(array.value(row))),
        }
    }
}

fn column<'a>(what: &str, batch: &'a RecordBatch, name: &str, names: &[&str]) -> Result<&'a ArrayRef> {
    let schema = batch.schema_ref();
    let at = schema.fields().iter().position(|field| field.name().eq_ignore_ascii_case(name));
    let missing = || Error::input(format!("{what}: the column {name} is missing: expected {}", names.join(", ")));
    at.map(|at| batch.column(at)).ok_or_else(missing)
}

/// Returns a string column as views, so that a long string in a dictionary isn't copied for each row that contains it.
fn text(what: &str, array: &ArrayRef, name: &str) -> Result<StringViewArray> {
    let kind = match array.data_type() {
        DataType::Dictionary(_, value) => value,
        other => other,
    };
    if !matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        return Err(wrong_type(what, name, array, "string"));
    }
    Ok(cast(what, name, array, &DataType::Utf8View)?.as_string_view().clone())
}

/// Returns a timestamp or string column as microseconds since 1970. Timestamps without a time zone are UTC, as in
/// Athena. Strings that are not RFC 3339 become null.
fn time(what: &str, array: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    if matches!(array.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        let texts = text(what, array, OCCURRED_AT)?;
        let parse = |text: &str| Some(text.trim().parse::<jiff::Timestamp>().ok()?.as_microsecond());
        return Ok(texts.iter().map(|text| text.and_then(parse)).collect());
    }
    if !matches!(array.data_type(), DataType::Timestamp(..)) {
        return Err(wrong_type(what, OCCURRED_AT, array, "timestamp"));
    }
    Ok(cast(what, OCCURRED_AT, array, &DataType::Timestamp(TimeUnit::Microsecond, None))?.as_primitive().clone())
}

/// Casts an array. Values that the target type can't represent become null.
fn cast(what: &str, name: &str, array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    cast_with_options(array, to, &options).map_err(|fault| {
        let from = array.data_type();
        Error::input(format!("{what}: column {name} of type {from} can't be converted to {to}: write another type"))
            .caused_by(fault)
    })
}

fn wrong_type(what: &str, name: &str, array: &ArrayRef, expected: &str) -> Error {
    Error::input(format!("{what}: column {name} has the type {}, expected {expected}", array.data_type()))
}
