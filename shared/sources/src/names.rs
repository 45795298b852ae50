//! A query's column names, as Glue stores them.

use std::collections::BTreeSet;

use turntable_core::error::{Error, Result};

/// Returns the names in lower case, as Glue stores them. Fails with a list of all missing and duplicate names.
/// `unnamed` takes a column's 0-based index and returns true if the query does not name that column.
pub fn lower_case(names: &[&str], unnamed: impl Fn(usize) -> bool) -> Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut faults = Vec::new();
    let mut lower = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let name = name.to_lowercase();
        if name.is_empty() || unnamed(at) {
            faults.push(format!("column {} of the query has no name: give it one with AS", at + 1));
        } else if !seen.insert(name.clone()) {
            faults.push(format!(
                "the query has two columns named {name:?} (Glue's names are lower case): rename one with AS"
            ));
        }
        lower.push(name);
    }
    if faults.is_empty() { Ok(lower) } else { Err(Error::input(faults.join("; "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_needs_a_unique_name() {
        assert_eq!(lower_case(&["Id", "名前"], |_| false).unwrap(), ["id", "名前"]);
        assert_eq!(
            lower_case(&["id", "?column?", "ID"], |at| at == 1).unwrap_err().message(),
            "column 2 of the query has no name: give it one with AS; the query has two columns named \"id\" (Glue's \
             names are lower case): rename one with AS"
        );
    }
}
