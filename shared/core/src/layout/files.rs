//! The names of data files, and of files that Athena ignores.

/// Returns the name of a data file: `part-00000.parquet`.
pub fn part(number: usize) -> String {
    format!("part-{number:05}.parquet")
}

/// Returns whether Athena ignores the key: a file or folder in its path begins with `_` or `.`, or the object is an
/// empty folder marker (a key that ends in `/`, or Hadoop's `NAME_$folder$`).
pub fn is_hidden(key: &str) -> bool {
    key.is_empty()
        || key.ends_with('/')
        || key.ends_with("_$folder$")
        || key.split('/').any(|name| name.starts_with(['_', '.']))
}

/// Returns the number in the name of a data file; `None` if the name is not one that [`part`] makes.
pub fn part_number(name: &str) -> Option<usize> {
    let number = name.strip_prefix("part-")?.strip_suffix(".parquet")?.parse().ok()?;
    (part(number) == name).then_some(number)
}
