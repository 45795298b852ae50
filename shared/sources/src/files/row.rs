//! Collects rows into record batches: every row appends one value to each column.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Fields, SchemaRef};
use tokio::sync::mpsc::Sender;

use super::{
    column::{Column, Fault},
    json::Pairs,
};
use crate::unrepresentable::Unrepresentable;
use turntable_core::{error::Error, manifest::TypedBy};

/// The columns of a table, or the fields of a nested struct.
pub struct Row {
    fields: Fields,
    by_name: HashMap<String, usize>,
    columns: Vec<Column>,
    /// Which columns the current JSON object has set.
    filled: Vec<bool>,
    /// Set for whole rows only, not for nested structs.
    unrepresentable: Option<Arc<Unrepresentable>>,
}

impl Row {
    pub fn new(fields: &Fields, typed_by: TypedBy) -> Result<Self, String> {
        let column = |data_type| Column::new(data_type, typed_by);
        Ok(Self {
            fields: fields.clone(),
            by_name: fields.iter().enumerate().map(|(at, field)| (field.name().clone(), at)).collect(),
            columns: fields.iter().map(|field| column(field.data_type())).collect::<Result<_, _>>()?,
            filled: vec![false; fields.len()],
            unrepresentable: None,
        })
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Returns the index of a column by its name, in any case.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).or_else(|| self.by_name.get(&name.to_lowercase())).copied()
    }

    /// Appends a text to the column at index `at`; `None` is a null.
    pub fn push_text(&mut self, at: usize, text: Option<&[u8]>) -> Result<(), Fault> {
        match text {
            Some(text) => {
                let pushed = self.columns[at].push(text);
                self.null_if_allowed(at, pushed)
            }
            None => {
                self.columns[at].push_null();
                Ok(())
            }
        }
    }

    /// Appends a JSON object as a row. Missing names are null; a name without a column is a fault.
    pub fn push_json(&mut self, Pairs(pairs): &Pairs) -> Result<(), Fault> {
        self.filled.fill(false);
        for (place, (name, json)) in pairs.iter().enumerate() {
            // Most objects have the same keys in the same order.
            let is_expected = self.fields.get(place).is_some_and(|field| field.name() == name);
            let at = if is_expected { Some(place) } else { self.find(name) };
            let fault = |why: &str| Fault { column: name.to_lowercase(), why: why.into(), is_unrepresentable: false };
            let at = at.ok_or_else(|| {
                fault("is unknown: declare all columns in source.files.columns, or remove it from the data")
            })?;
            if std::mem::replace(&mut self.filled[at], true) {
                return Err(fault("appears twice"));
            }
            let pushed = self.columns[at].push_json(json);
            self.null_if_allowed(at, pushed)?;
        }
        for (column, _) in self.columns.iter_mut().zip(&self.filled).filter(|(_, filled)| !**filled) {
            column.push_null();
        }
        Ok(())
    }

    /// Replaces an unrepresentable value by null if the dataset's `on_unrepresentable` allows it; else returns the
    /// fault.
    fn null_if_allowed(&mut self, at: usize, pushed: Result<(), Fault>) -> Result<(), Fault> {
        let Err(fault) = pushed else { return Ok(()) };
        match &self.unrepresentable {
            Some(counted) if counted.is_null() && fault.is_unrepresentable && self.columns[at].is_scalar() => {
                self.columns[at].push_null();
                counted.count(at, 1);
                Ok(())
            }
            _ => Err(fault.inside(self.fields[at].name())),
        }
    }

    /// Appends a null to every column.
    pub fn push_null(&mut self) {
        self.columns.iter_mut().for_each(Column::push_null);
    }

    /// Returns the arrays of all columns, and starts new ones.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.columns.iter_mut().map(Column::finish).collect()
    }
}

impl Fault {
    /// Prepends the name of the enclosing column to the path.
    fn inside(mut self, name: &str) -> Self {
        self.column = if self.column.is_empty() { name.into() } else { format!("{name}.{}", self.column) };
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "column {:?} {}", self.column, self.why)
    }
}

/// Rows of a batch at most.
const MAX_BATCH_ROWS: usize = 8192;
/// Bytes of text after which a batch is complete. It keeps the arrays well below the limit of 32-bit offsets.
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
        let row = Row { unrepresentable: Some(unrepresentable), ..Row::new(schema.fields(), typed_by)? };
        Ok(Self { row, schema: schema.clone(), rows: 0, size: 0, to })
    }

    /// Counts a row that was pushed, of `size` bytes of text, and sends the batch if it is complete.
    pub fn pushed(&mut self, size: usize) -> Result<(), Gone> {
        self.rows += 1;
        self.size += size;
        if self.rows < MAX_BATCH_ROWS && self.size < MAX_BATCH_TEXT_BYTES { Ok(()) } else { self.flush() }
    }

    /// Sends the rows collected so far, if any.
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
