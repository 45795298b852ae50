//! Collects rows into record batches: every row appends one value to each column.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Fields, SchemaRef};
use serde_json::value::RawValue;
use tokio::sync::mpsc::Sender;

use super::{
    json::{self, Pairs, Scalar},
    object::Folder,
    scalar, text,
};
use crate::{
    column_builder::{ColumnBuilder, Values},
    unmatched::Unmatched,
    unrepresentable::{ColumnPolicy, Unrepresentable},
};
use turntable_core::{error::Error, manifest::TypedBy};
use turntable_parquet::arrow_types;

/// Why a value doesn't fit its column. Never contains the value.
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
            true if why == text::NOT_UTF8 => format!("({glue_type}, inferred from the first records): {why}"),
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
    /// Whether to accept only text that type inference would recognize as the column's type.
    canonical: bool,
    unrepresentable: Arc<Unrepresentable>,
    /// For each column, the object's folder with that name, if it has one.
    folders: Vec<Option<Folder>>,
}

impl Row {
    fn new(fields: &Fields, typed_by: TypedBy, unrepresentable: Arc<Unrepresentable>) -> Result<Self, String> {
        let columns: Result<_, _> = fields.iter().map(|field| ColumnBuilder::new(field.data_type(), 0)).collect();
        let columns = columns.map_err(|of: DataType| {
            format!("Arrow type {of} can't be read from CSV or NDJSON: declare another type in source.files.columns")
        })?;
        let canonical = typed_by == TypedBy::Inferred;
        let folders = vec![None; fields.len()];
        Ok(Self { fields: fields.clone(), names: Names::new(fields), columns, canonical, unrepresentable, folders })
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Returns the index of the column with this name, regardless of letter case.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.find(name)
    }

    /// Returns whether the value of the column at index `at` comes from the object's folders.
    pub fn is_in_folders(&self, at: usize) -> bool {
        self.folders[at].is_some()
    }

    /// Returns the fault for a value that the column at index `at` can't hold.
    pub fn fault(&self, at: usize, why: &str) -> ColumnFault {
        let field = &self.fields[at];
        ColumnFault::new(field.data_type(), self.canonical, why).inside(field.name())
    }

    /// Returns the policy for columns that only the file or only the table has.
    pub fn unmatched(&self) -> &Unmatched {
        &self.unrepresentable.unmatched
    }

    /// Appends the value of the column at index `at` for a row that doesn't contain the column: the value from the
    /// folders, or null.
    pub fn push_absent(&mut self, at: usize) -> Result<(), ColumnFault> {
        let to = &mut self.columns[at];
        let how = How { canonical: false, unmatched: &self.unrepresentable.unmatched };
        match self.folders[at].as_ref().and_then(|folder| folder.value.as_ref()) {
            Some(text) => push_text(to, &mut self.names.nested[at], text.as_bytes(), how)
                .map_err(|fault| fault.inside(self.fields[at].name())),
            None => {
                to.append_null();
                Ok(())
            }
        }
    }

    /// Appends a value, given as text, to the column at index `at`. `None` appends a null.
    pub fn push_text(&mut self, at: usize, text: Option<&[u8]>) -> Result<(), ColumnFault> {
        let Some(text) = text else {
            self.columns[at].append_null();
            return Ok(());
        };
        let to = &mut self.columns[at];
        let how = How { canonical: self.canonical, unmatched: &self.unrepresentable.unmatched };
        push_text(to, &mut self.names.nested[at], text, how)
            .or_else(|fault| null_if_allowed(fault, to, Some(self.unrepresentable.column(at))))
            .map_err(|fault| fault.inside(self.fields[at].name()))
    }

    /// Appends a JSON object as a row. A column that the object doesn't name gets its value from the folders, or null.
    /// A name without a column is an error, or is left out and counted.
    pub fn push_json(&mut self, pairs: &Pairs) -> Result<(), ColumnFault> {
        let how = How { canonical: self.canonical, unmatched: &self.unrepresentable.unmatched };
        self.names.push_json(&self.fields, &mut self.columns, pairs, how, Some(&self.unrepresentable))?;
        for at in 0..self.columns.len() {
            if !self.names.filled[at] {
                self.push_absent(at)?;
            }
        }
        Ok(())
    }

    /// Returns the arrays of all columns, and empties the columns.
    #[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
    fn finish(&mut self) -> Vec<ArrayRef> {
        let array = |column: &mut ColumnBuilder| column.finish(None).expect("every text was checked to be UTF-8");
        self.columns.iter_mut().map(array).collect()
    }
}

/// How to read values.
#[derive(Clone, Copy)]
struct How<'a> {
    /// See [`Row::canonical`].
    canonical: bool,
    unmatched: &'a Unmatched,
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

    /// Returns the index of the column or field with this name, regardless of letter case.
    fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).or_else(|| self.by_name.get(&name.to_lowercase())).copied()
    }

    /// Appends a JSON object's values to the columns that it names. `unrepresentable` is `Some` only for whole rows,
    /// not for nested structs.
    fn push_json(
        &mut self,
        fields: &Fields,
        columns: &mut [ColumnBuilder],
        Pairs(pairs): &Pairs,
        how: How,
        unrepresentable: Option<&Unrepresentable>,
    ) -> Result<(), ColumnFault> {
        self.filled.fill(false);
        for (place, (name, json)) in pairs.iter().enumerate() {
            // Most objects have the same keys in the same order.
            let is_expected = fields.get(place).is_some_and(|field| field.name() == name);
            let at = if is_expected { Some(place) } else { self.find(name) };
            let fault =
                |why: &str| ColumnFault { column: name.to_lowercase(), why: why.into(), is_unrepresentable: false };
            let Some(at) = at else {
                if how.unmatched.ignore_extra {
                    how.unmatched.count_ignored(&name.to_lowercase(), 1);
                    continue;
                }
                return Err(fault(
                    "is unknown: declare all columns in source.files.columns (extra = \"ignore\" leaves out any \
                     others), or remove it from the data",
                ));
            };
            if std::mem::replace(&mut self.filled[at], true) {
                return Err(fault("appears twice"));
            }
            let to = &mut columns[at];
            push_json(to, &mut self.nested[at], json, how)
                .or_else(|fault| null_if_allowed(fault, to, unrepresentable.map(|policy| policy.column(at))))
                .map_err(|fault| fault.inside(fields[at].name()))?;
        }
        Ok(())
    }
}

/// Appends a null instead of a rejected value, if the value is unrepresentable and the dataset's `on_unrepresentable`
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
fn push_text(to: &mut ColumnBuilder, names: &mut NestedNames, text: &[u8], how: How) -> Result<(), ColumnFault> {
    let canonical = how.canonical;
    if to.is_scalar() {
        return push_scalar(to, text, canonical);
    }
    let json = json::parse(text).map_err(|_| ColumnFault::new(&to.data_type, canonical, "not JSON"))?;
    push_json(to, names, json, how)
}

fn push_scalar(to: &mut ColumnBuilder, text: &[u8], canonical: bool) -> Result<(), ColumnFault> {
    scalar::append(&mut to.values, text, canonical).map_err(|why| ColumnFault::new(&to.data_type, canonical, why))?;
    to.append_valid();
    Ok(())
}

/// Appends a JSON value. A string column accepts every value; for a value that isn't a string, it stores the JSON text.
fn push_json(to: &mut ColumnBuilder, names: &mut NestedNames, json: &RawValue, how: How) -> Result<(), ColumnFault> {
    let text = json.get();
    if text == "null" {
        to.append_null();
        return Ok(());
    }
    let canonical = how.canonical;
    let ColumnBuilder { data_type, values, .. } = &mut *to;
    let fault = |why: &str| ColumnFault::new(data_type, canonical, why);
    match (values, names) {
        (Values::List { ends, element, .. }, NestedNames::List(names)) => {
            for value in json::array(text).ok_or_else(|| fault("not a JSON array"))? {
                push_json(element, names, value, how)?;
            }
            ends.push(element.len()).map_err(fault)?;
        }
        (Values::Map { ends, entries, .. }, NestedNames::Map(names)) => {
            let Pairs(pairs) = json::object(text).map_err(fault)?;
            let ([keys, values], [key_names, value_names]) = (&mut **entries, &mut **names);
            for (name, json) in &pairs {
                push_text(keys, key_names, name.as_bytes(), how)?;
                push_json(values, value_names, json, how)?;
            }
            ends.push(keys.len()).map_err(fault)?;
        }
        (Values::Struct { fields, columns }, NestedNames::Struct(names)) => {
            let pairs = json::object(text).map_err(fault)?;
            names.push_json(fields, columns, &pairs, how, None)?;
            for (column, _) in columns.iter_mut().zip(&names.filled).filter(|(_, filled)| !**filled) {
                column.append_null();
            }
        }
        (Values::Float32(_) | Values::Float64(_), _) if json::is_not_finite(text) => {
            let spelt = json::as_written(text).as_bytes();
            scalar::append(&mut to.values, spelt, false)
                .map_err(|why| ColumnFault::new(&to.data_type, canonical, why))?;
        }
        _ if json::has_not_finite(text) => return Err(fault("NaN or Infinity, which only float and double can hold")),
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
    /// The columns that the object lacks. They are null in its rows.
    pub missing: Vec<String>,
    /// The columns that only the object or its folder names have. They are left out.
    pub ignored: Vec<String>,
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
        let (missing, ignored) = (Vec::new(), Vec::new());
        Ok(Self { row, schema: schema.clone(), rows: 0, size: 0, to, missing, ignored })
    }

    /// Sets the object's folders, whose values fill columns that the object itself doesn't have.
    pub fn set_folders(&mut self, folders: &[Folder]) {
        for folder in folders {
            match self.row.find(&folder.name) {
                Some(at) => self.row.folders[at] = Some(folder.clone()),
                None => self.ignored.push(folder.name.clone()),
            }
        }
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
        let (rows, unmatched) = (self.rows as u64, self.row.unmatched());
        self.missing.iter().for_each(|column| unmatched.count_missing(column, rows));
        self.ignored.iter().for_each(|name| unmatched.count_ignored(name, rows));
        let batch =
            RecordBatch::try_new(self.schema.clone(), self.row.finish()).expect("columns have the schema's types");
        (self.rows, self.size) = (0, 0);
        self.to.blocking_send(batch).map_err(|_| Gone)
    }
}
