//! Handles columns that a file lacks, and columns that the table lacks. `missing` and `extra` in `source.files` decide
//! whether they are an error, or are counted.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use turntable_core::config::Files;

/// The maximum number of names that are counted individually. Records may have any number of names.
const MAX_NAMES: usize = 1000;
/// The name under which all other names are counted.
const OTHERS: &str = "…";

/// The policy for one table, and the counts. All streams of a source share it.
#[derive(Debug, Default)]
pub struct Unmatched {
    /// Whether a column that a file lacks is null in the file's rows. Otherwise it is an error.
    pub missing_is_null: bool,
    /// Whether columns that the table lacks are left out. Otherwise they are an error.
    pub ignore_extra: bool,
    missing: Mutex<BTreeMap<String, u64>>,
    ignored: Mutex<BTreeMap<String, u64>>,
}

impl Unmatched {
    pub fn new(options: &Files) -> Self {
        let Files { missing_is_null, ignore_extra, .. } = *options;
        Self { missing_is_null, ignore_extra, ..Self::default() }
    }

    /// Counts the rows in which the column is null, because their file lacks it.
    pub fn count_missing(&self, column: &str, rows: u64) {
        count(&self.missing, column, rows);
    }

    /// Counts the rows whose value under this name was left out.
    pub fn count_ignored(&self, name: &str, rows: u64) {
        count(&self.ignored, name, rows);
    }

    /// Returns how many rows lacked each column so far. Leaves out columns that no row lacked.
    pub fn missing(&self) -> BTreeMap<String, u64> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how many values were left out so far, by name in lower case.
    pub fn ignored(&self) -> BTreeMap<String, u64> {
        self.ignored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn count(counts: &Mutex<BTreeMap<String, u64>>, name: &str, rows: u64) {
    if rows == 0 {
        return;
    }
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let name = if counts.len() < MAX_NAMES || counts.contains_key(name) { name } else { OTHERS };
    match counts.get_mut(name) {
        Some(count) => *count += rows,
        None => {
            counts.insert(name.to_owned(), rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_one_by_one_up_to_a_limit() {
        let unmatched = Unmatched::default();
        for at in 0..=MAX_NAMES + 1 {
            unmatched.count_ignored(&format!("n{at}"), 2);
            unmatched.count_ignored("n0", 0);
        }
        unmatched.count_ignored("n0", 1);
        let ignored = unmatched.ignored();
        assert_eq!((ignored.len(), ignored["n0"], ignored[OTHERS]), (MAX_NAMES + 1, 3, 4));
        assert!(unmatched.missing().is_empty());
    }
}
