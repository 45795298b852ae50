//! Collects rows into record batches: every row appends one value to each column.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Fields, SchemaRef};
use serde_json::value::RawValue;
use tokio::sync::mpsc::Sender;

use super::{
    json::{self, Pairs, Scalar},
    scalar, text,
};
use crate::{
    column_builder::{ColumnBuilder, Values},
    unrepresentable::{ColumnPolicy, Unrepresentable},
};
use turntable_core::{error::Error, manifest::TypedBy};
use turntable_parquet::arrow_types;

/// Why a value does not fit its column. It never contains the value.
#[derive(Debug, PartialEq)]
pub struct ColumnFault {
    /// The column's name, or the path of a nested column, such as `address.city`.
    column: String,
    why: String,
    /// Whether the value has the right kind, but the type can't represent it. Always `false` for an inferred type.
    is_unrepresentable: bool,
}

impl ColumnFault {
    fn new(data_type: &DataType, canonical: bool, why: &str) -> Self {
        let glue_type = arrow_types::glue_type(data_type).map(|glue_type| glue_type.to_string()).unwrap_or_default();
        let is_unrepresentable = !canonical && text::UNREPRESENTABLE.contains(&why);
        let why = match canonical {
            false => format!("({glue_type}): {why}"),
            true => format!(
                "({glue_type}, inferred from the first records): {why}; declare the types in source.files.columns"
            ),
        };
        Self { column: String::new(), why, is_unrepresentable }
    }

    /// Prepends the name of the enclosing column to the path.
    fn inside(mut self, name: &str) -> Self {
        self.column = if self.column.is_empty() { name.into() } else { format!("{name}.{}", self.column) };
        self
    }
}

impl std::fmt::Display for ColumnFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "column {:?} {}", self.column, self.why)
    }
}

/// The columns of a table, to which rows are appended.
pub struct Row {
    fields: Fields,
    names: Names,
    columns: Vec<ColumnBuilder>,
    /// Whether to accept only text that could be inferred as the column's type.
    canonical: bool,
    unrepresentable: Arc<Unrepresentable>,
}

impl Row {
    fn new(fields: &Fields, typed_by: TypedBy, unrepresentable: Arc<Unrepresentable>) -> Result<Self, String> {
        let columns: Result<_, _> = fields.iter().map(|field| ColumnBuilder::new(field.data_type(), 0)).collect();
        let columns = columns.map_err(|of: DataType| {
            format!("Arrow type {of} can't be read from CSV or NDJSON: declare another type in source.files.columns")
        })?;
        let canonical = typed_by == TypedBy::Inferred;
        Ok(Self { fields: fields.clone(), names: Names::new(fields), columns, canonical, unrepresentable })
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Returns the index of the column with this name, regardless of letter case.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.find(name)
    }

    /// Appends a value, given as text, to the column at index `at`. `None` appends a null.
    pub fn push_text(&mut self, at: usize, text: Option<&[u8]>) -> Result<(), ColumnFault> {
        let Some(text) = text else {
            self.columns[at].append_null();
            return Ok(());
        };
        let to = &mut self.columns[at];
        push_text(to, &mut self.names.nested[at], text, self.canonical)
            .or_else(|fault| null_if_allowed(fault, to, Some(self.unrepresentable.column(at))))
            .map_err(|fault| fault.inside(self.fields[at].name()))
    }

    /// Appends a JSON object as a row. Columns whose names are missing are null; a name without a column is a fault.
    pub fn push_json(&mut self, pairs: &Pairs) -> Result<(), ColumnFault> {
        let unrepresentable = Some(&*self.unrepresentable);
        self.names.push_json(&self.fields, &mut self.columns, pairs, self.canonical, unrepresentable)
    }

    /// Returns the arrays of all columns, and empties the columns.
    #[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
    fn finish(&mut self) -> Vec<ArrayRef> {
        let array = |column: &mut ColumnBuilder| column.finish(None).expect("every text was checked to be UTF-8");
        self.columns.iter_mut().map(array).collect()
    }
}

/// The names of a table's columns, or of a struct's fields, and their indexes.
struct Names {
    by_name: HashMap<String, usize>,
    /// For each column, whether the current JSON object has set it.
    filled: Vec<bool>,
    /// For each column, the names within it.
    nested: Vec<NestedNames>,
}

/// The names of struct fields within a column, at any depth.
enum NestedNames {
    None,
    List(Box<NestedNames>),
    Map(Box<[NestedNames; 2]>),
    Struct(Names),
}

impl NestedNames {
    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::List(element) => NestedNames::List(Box::new(Self::new(element.data_type()))),
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(pair) if let [key, value] = &pair[..] => {
                    NestedNames::Map(Box::new([Self::new(key.data_type()), Self::new(value.data_type())]))
                }
                _ => NestedNames::None,
            },
            DataType::Struct(fields) => NestedNames::Struct(Names::new(fields)),
            _ => NestedNames::None,
        }
    }
}

impl Names {
    fn new(fields: &Fields) -> Self {
        Self {
            by_name: fields.iter().enumerate().map(|(at, field)| (field.name().clone(), at)).collect(),
            filled: vec![false; fields.len()],
            nested: fields.iter().map(|field| NestedNames::new(field.data_type())).collect(),
        }
    }

    /// Returns the index of the column with this name, regardless of letter case.
    fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).or_else(|| self.by_name.get(&name.to_lowercase())).copied()
    }

    /// Appends a JSON object: one value to each column. `unrepresentable` is `Some` only for whole rows, not for nested
    /// structs.
    fn push_json(
        &mut self,
        fields: &Fields,
        columns: &mut [ColumnBuilder],
        Pairs(pairs): &Pairs,
        canonical: bool,
        unrepresentable: Option<&Unrepresentable>,
    ) -> Result<(), ColumnFault> {
        self.filled.fill(false);
        for (place, (name, json)) in pairs.iter().enumerate() {
            // Most objects have the same keys in the same order.
            let is_expected = fields.get(place).is_some_and(|field| field.name() == name);
            let at = if is_expected { Some(place) } else { self.find(name) };
            let fault =
                |why: &str| ColumnFault { column: name.to_lowercase(), why: why.into(), is_unrepresentable: false };
            let at = at.ok_or_else(|| {
                fault("is unknown: declare all columns in source.files.columns, or remove it from the data")
            })?;
            if std::mem::replace(&mut self.filled[at], true) {
                return Err(fault("appears twice"));
            }
            let to = &mut columns[at];
            push_json(to, &mut self.nested[at], json, canonical)
                .or_else(|fault| null_if_allowed(fault, to, unrepresentable.map(|policy| policy.column(at))))
                .map_err(|fault| fault.inside(fields[at].name()))?;
        }
        for (column, _) in columns.iter_mut().zip(&self.filled).filter(|(_, filled)| !**filled) {
            column.append_null();
        }
        Ok(())
    }
}

/// Appends a null in place of a rejected value, if the value is unrepresentable and the dataset's `on_unrepresentable`
/// allows it. Otherwise returns the fault.
#[cold]
fn null_if_allowed(
    fault: ColumnFault,
    to: &mut ColumnBuilder,
    policy: Option<ColumnPolicy>,
) -> Result<(), ColumnFault> {
    match policy {
        Some(policy) if fault.is_unrepresentable && to.is_scalar() && policy.count_null() => {
            to.append_null();
            Ok(())
        }
        _ => Err(fault),
    }
}

/// Appends the value that the text represents. Lists, maps and structs must be JSON.
fn push_text(to: &mut ColumnBuilder, names: &mut NestedNames, text: &[u8], canonical: bool) -> Result<(), ColumnFault> {
    if to.is_scalar() {
        return push_scalar(to, text, canonical);
    }
    let json = json::parse(text).map_err(|_| ColumnFault::new(&to.data_type, canonical, "not JSON"))?;
    push_json(to, names, json, canonical)
}

fn push_scalar(to: &mut ColumnBuilder, text: &[u8], canonical: bool) -> Result<(), ColumnFault> {
    scalar::append(&mut to.values, text, canonical).map_err(|why| ColumnFault::new(&to.data_type, canonical, why))?;
    to.append_valid();
    Ok(())
}

/// Appends a JSON value. A string column accepts every value; for a value that isn't a string, it stores the JSON text.
fn push_json(
    to: &mut ColumnBuilder,
    names: &mut NestedNames,
    json: &RawValue,
    canonical: bool,
) -> Result<(), ColumnFault> {
    let text = json.get();
    if text == "null" {
        to.append_null();
        return Ok(());
    }
    let ColumnBuilder { data_type, values, .. } = &mut *to;
    let fault = |why: &str| ColumnFault::new(data_type, canonical, why);
    match (values, names) {
        (Values::List { ends, element, .. }, NestedNames::List(names)) => {
            for value in json::array(text).ok_or_else(|| fault("not a JSON array"))? {
                push_json(element, names, value, canonical)?;
            }
            ends.push(element.len()).map_err(fault)?;
        }
        (Values::Map { ends, entries, .. }, NestedNames::Map(names)) => {
            let Pairs(pairs) = json::object(text).map_err(fault)?;
            let ([keys, values], [key_names, value_names]) = (&mut **entries, &mut **names);
            for (name, json) in &pairs {
                push_text(keys, key_names, name.as_bytes(), canonical)?;
                push_json(values, value_names, json, canonical)?;
            }
            ends.push(keys.len()).map_err(fault)?;
        }
        (Values::Struct { fields, columns }, NestedNames::Struct(names)) => {
            let pairs = json::object(text).map_err(fault)?;
            names.push_json(fields, columns, &pairs, canonical, None)?;
        }
        (values, _) => match json::scalar(text) {
            Some(Scalar::Nested(_)) if !matches!(values, Values::Text(_)) => {
                return Err(fault("found an array or an object, expected a single value"));
            }
            Some(Scalar::Other(text) | Scalar::Nested(text)) => return push_scalar(to, text.as_bytes(), canonical),
            Some(Scalar::String(text)) => return push_scalar(to, text.as_bytes(), canonical),
            None => return Err(fault("invalid JSON string")),
        },
    }
    to.append_valid();
    Ok(())
}

/// The maximum number of rows in a batch.
const MAX_BATCH_ROWS: usize = 8192;
/// The size of the source's text, in bytes, at which a batch is complete. It keeps the arrays far below the limit of
/// their 32-bit offsets.
const MAX_BATCH_TEXT_BYTES: usize = 32 << 20;

/// Collects rows and sends them to a channel in batches.
pub struct Rows {
    pub row: Row,
    schema: SchemaRef,
    rows: usize,
    size: usize,
    to: Sender<RecordBatch>,
}

/// The receiver of the batches was dropped. Decoding stops without an error.
pub struct Gone;

/// Why decoding stopped before the end of the text.
pub enum Stop {
    Error(Error),
    /// The receiver of the batches was dropped.
    Gone,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Stop::Gone
    }
}

impl Rows {
    pub fn new(
        schema: &SchemaRef,
        typed_by: TypedBy,
        unrepresentable: Arc<Unrepresentable>,
        to: Sender<RecordBatch>,
    ) -> Result<Self, String> {
        let row = Row::new(schema.fields(), typed_by, unrepresentable)?;
        Ok(Self { row, schema: schema.clone(), rows: 0, size: 0, to })
    }

    /// Counts a row that was read from `size` bytes of text, and sends the batch if it is complete.
    pub fn pushed(&mut self, size: usize) -> Result<(), Gone> {
        self.rows += 1;
        self.size += size;
        if self.rows < MAX_BATCH_ROWS && self.size < MAX_BATCH_TEXT_BYTES { Ok(()) } else { self.flush() }
    }

    /// Sends the rows collected so far, if any.
    #[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
    pub fn flush(&mut self) -> Result<(), Gone> {
        if self.rows == 0 {
            return Ok(());
        }
        let batch =
            RecordBatch::try_new(self.schema.clone(), self.row.finish()).expect("columns have the schema's types");
        (self.rows, self.size) = (0, 0);
        self.to.blocking_send(batch).map_err(|_| Gone)
    }
}
