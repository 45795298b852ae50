//! Rows → record batches: columns side by side, each filled once per row.

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

/// A row, or a struct in one.
pub struct Row {
    fields: Fields,
    by_name: HashMap<String, usize>,
    columns: Vec<Column>,
    filled: Vec<bool>,
    /// Of a whole row, and not of a struct in one.
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

    /// The place of a column, by its name in any case.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).or_else(|| self.by_name.get(&name.to_lowercase())).copied()
    }

    /// Appends a text to one column; `None` is a null.
    pub fn push_text(&mut self, at: usize, text: Option<&[u8]>) -> Result<(), Fault> {
        match text {
            Some(text) => {
                let pushed = self.columns[at].push(text);
                self.or_null(at, pushed)
            }
            None => {
                self.columns[at].push_null();
                Ok(())
            }
        }
    }

    /// Appends an object to all columns. What is missing is null; what has no column is a fault.
    pub fn push_json(&mut self, Pairs(pairs): &Pairs) -> Result<(), Fault> {
        self.filled.fill(false);
        for (place, (name, json)) in pairs.iter().enumerate() {
            // Most objects have the same keys in the same order.
            let usual = self.fields.get(place).is_some_and(|field| field.name() == name);
            let at = if usual { Some(place) } else { self.find(name) };
            let fault = |why: &str| Fault { column: name.to_lowercase(), why: why.into(), is_unrepresentable: false };
            let at = at.ok_or_else(|| fault("is not known: declare all columns, or leave it out"))?;
            if std::mem::replace(&mut self.filled[at], true) {
                return Err(fault("stands there twice"));
            }
            let pushed = self.columns[at].push_json(json);
            self.or_null(at, pushed)?;
        }
        for (column, _) in self.columns.iter_mut().zip(&self.filled).filter(|(_, filled)| !**filled) {
            column.push_null();
        }
        Ok(())
    }

    /// A value that its column has no place for may be null, if the dataset says so.
    fn or_null(&mut self, at: usize, pushed: Result<(), Fault>) -> Result<(), Fault> {
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

    pub fn push_null(&mut self) {
        self.columns.iter_mut().for_each(Column::push_null);
    }

    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.columns.iter_mut().map(Column::finish).collect()
    }
}

impl Fault {
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

/// The rows of one batch at most, and about the bytes of text: so no array outgrows its 32-bit offsets.
const ROWS: usize = 8192;
const SIZE: usize = 32 << 20;

/// Collects rows, and sends them a batch at a time.
pub struct Rows {
    pub row: Row,
    schema: SchemaRef,
    rows: usize,
    size: usize,
    to: Sender<RecordBatch>,
}

/// Nobody reads any more: there is no reason to go on, and no error.
pub struct Gone;

/// Why decoding ends before the text does.
pub enum Stop {
    Error(Error),
    /// Nobody reads any more.
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

    /// A row was pushed, of so many bytes of text.
    pub fn pushed(&mut self, size: usize) -> Result<(), Gone> {
        self.rows += 1;
        self.size += size;
        if self.rows < ROWS && self.size < SIZE { Ok(()) } else { self.flush() }
    }

    pub fn flush(&mut self) -> Result<(), Gone> {
        if self.rows == 0 {
            return Ok(());
        }
        let batch = RecordBatch::try_new(self.schema.clone(), self.row.finish()).expect("columns are of the schema");
        (self.rows, self.size) = (0, 0);
        self.to.blocking_send(batch).map_err(|_| Gone)
    }
}
