//! The names of data files, and of objects that Athena ignores.

/// Returns the name of a data file: `part-00000.parquet`.
pub fn part(number: usize) -> String {
    format!("part-{number:05}.parquet")
}

/// Returns whether Athena ignores an object, given its key relative to the table's location. Athena ignores objects if
/// a file or folder in their path begins with `_` or `.`, and empty folder markers: the location itself, a key that
/// ends in `/`, or Hadoop's `NAME_$folder$`.
pub fn is_hidden(key: &str) -> bool {
    key.is_empty()
        || key.ends_with('/')
        || key.ends_with("_$folder$")
        || key.split('/').any(|name| name.starts_with(['_', '.']))
}

/// Returns the number in the name of a data file, or `None` if [`part`] doesn't make such a name.
pub fn part_number(name: &str) -> Option<usize> {
    let number = name.strip_prefix("part-")?.strip_suffix(".parquet")?.parse().ok()?;
    (part(number) == name).then_some(number)
}
