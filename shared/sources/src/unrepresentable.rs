//! Handles values that Arrow or Athena can't represent. The dataset's `on_unrepresentable` decides whether such a value
//! is an error, or becomes NULL and is counted.

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use arrow_schema::Schema;

use crate::unmatched::Unmatched;
use turntable_core::{config::OnUnrepresentable, error::Error};

/// The policy for one table, and the number of values in each column that became NULL. All streams of a source share
/// it.
#[derive(Debug)]
pub struct Unrepresentable {
    table: String,
    policy: OnUnrepresentable,
    columns: Vec<(String, AtomicU64)>,
    /// The policy for columns that only the files or only the table has.
    pub unmatched: Unmatched,
}

/// The position of a row, for error messages.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The row's number within `part`, from 1.
    pub number: u64,
    pub part: Part,
}

/// One of the streams that a source is split into. With several streams, rows are numbered only within their part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The part's number, from 1.
    pub number: usize,
    /// The number of parts.
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

/// The policy for one column, including its nested values.
#[derive(Debug, Clone, Copy)]
pub struct ColumnPolicy<'a> {
    unrepresentable: &'a Unrepresentable,
    column: usize,
}

impl<'a> ColumnPolicy<'a> {
    /// Returns the counter of the values that became NULL, or `None` if unrepresentable values are an error.
    pub fn counter(self) -> Option<&'a AtomicU64> {
        self.unrepresentable.is_null().then(|| &self.unrepresentable.columns[self.column].1)
    }

    /// Returns whether an unrepresentable value becomes NULL, and counts it if so.
    pub fn count_null(self) -> bool {
        self.counter().map(|counter| counter.fetch_add(1, Ordering::Relaxed)).is_some()
    }
}

impl Unrepresentable {
    /// Creates the policy, with all counts at 0. `table` names the table in error messages.
    pub fn new(table: impl Into<String>, policy: OnUnrepresentable, schema: &Schema) -> Self {
        let columns = schema.fields().iter().map(|field| (field.name().clone(), AtomicU64::new(0)));
        Self { table: table.into(), policy, columns: columns.collect(), unmatched: Unmatched::default() }
    }

    /// Sets the policy for columns that only the files or only the table has.
    pub fn with_unmatched(self, unmatched: Unmatched) -> Self {
        Self { unmatched, ..self }
    }

    /// Returns whether unrepresentable values become NULL.
    pub fn is_null(&self) -> bool {
        self.policy == OnUnrepresentable::Null
    }

    /// Returns the policy for the column at this index.
    pub fn column(&self, column: usize) -> ColumnPolicy<'_> {
        ColumnPolicy { unrepresentable: self, column }
    }

    /// Adds `values` to the number of the column's values that became NULL.
    pub fn count(&self, column: usize, values: u64) {
        self.columns[column].1.fetch_add(values, Ordering::Relaxed);
    }

    /// Handles one unrepresentable value. `Ok` means that the value was counted and that the caller must write NULL.
    /// `what` describes the problem and the fix, for the error message; it must not contain the value.
    pub fn null(&self, column: usize, row: impl fmt::Display, what: &str) -> Result<(), Error> {
        match self.policy {
            OnUnrepresentable::Null => {
                self.count(column, 1);
                Ok(())
            }
            OnUnrepresentable::Error => Err(self.error(column, row, what)),
        }
    }

    /// Returns the error for an unrepresentable value.
    pub fn error(&self, column: usize, row: impl fmt::Display, what: &str) -> Error {
        let place = self.place(column, row);
        Error::input(format!("{place}: {what}, or set on_unrepresentable = \"null\" to store NULL"))
    }

    /// Returns a value's position for error messages, such as `table dmp.users, column "born", row 7`.
    pub fn place(&self, column: usize, row: impl fmt::Display) -> String {
        format!("table {}, column {:?}, {row}", self.table, self.columns[column].0)
    }

    /// Returns how many values became NULL so far, by column. Leaves out columns without any.
    pub fn nulled(&self) -> BTreeMap<String, u64> {
        let counts = self.columns.iter().map(|(name, count)| (name.clone(), count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}
