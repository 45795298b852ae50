//! Values that Arrow or Athena has no place for: an error, or NULL and counted, as the dataset has it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use arrow_schema::Schema;

use turntable_core::{config::OnUnrepresentable, error::Error};

/// What becomes of such values in one table, and how many became NULL, by column. All streams of a source share it.
#[derive(Debug)]
pub struct Unrepresentable {
    table: String,
    policy: OnUnrepresentable,
    columns: Vec<(String, AtomicU64)>,
}

/// Which row, for a message.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Counted from 1, in its stream.
    pub number: u64,
    pub part: Part,
}

/// One of the streams that a source is read in. Where they are several, no row has a number in the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Counted from 1.
    pub number: usize,
    pub of: usize,
}

impl Part {
    pub const WHOLE: Part = Part { number: 1, of: 1 };
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}", self.number)?;
        match self.part {
            Part { of: 1, .. } => Ok(()),
            Part { number, of } => write!(f, " of part {number} of {of}"),
        }
    }
}

impl Unrepresentable {
    /// `table` is the one that is built, for messages.
    pub fn new(table: impl Into<String>, policy: OnUnrepresentable, schema: &Schema) -> Self {
        let columns = schema.fields().iter().map(|field| (field.name().clone(), AtomicU64::new(0)));
        Self { table: table.into(), policy, columns: columns.collect() }
    }

    /// Whether they become NULL.
    pub fn is_null(&self) -> bool {
        self.policy == OnUnrepresentable::Null
    }

    /// So many values of the column have become NULL.
    pub fn count(&self, column: usize, values: u64) {
        self.columns[column].1.fetch_add(values, Ordering::Relaxed);
    }

    /// One value: counted, and the caller writes NULL; or the error, where the dataset wants one. `what` says what is
    /// wrong and what to do about it, never the value.
    pub fn null(&self, column: usize, row: impl fmt::Display, what: &str) -> Result<(), Error> {
        match self.policy {
            OnUnrepresentable::Null => {
                self.count(column, 1);
                Ok(())
            }
            OnUnrepresentable::Error => Err(self.error(column, row, what)),
        }
    }

    pub fn error(&self, column: usize, row: impl fmt::Display, what: &str) -> Error {
        let place = self.place(column, row);
        Error::input(format!("{place}: {what}, or let it be NULL by on_unrepresentable = \"null\""))
    }

    /// `table dmp.users, column "born", row 7`.
    pub fn place(&self, column: usize, row: impl fmt::Display) -> String {
        format!("table {}, column {:?}, {row}", self.table, self.columns[column].0)
    }

    /// Values that became NULL so far, by column; columns without any are left out.
    pub fn nulled(&self) -> BTreeMap<String, u64> {
        let counts = self.columns.iter().map(|(name, count)| (name.clone(), count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}
