//! Partitions as Athena projects them: the columns that become folders, and the table parameters that describe their
//! values.
//!
//! The projection types come from Athena's guide, "Supported types for partition projection":
//! <https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html>. The guide doesn't say
//! which column types a projection accepts. Trino's implementation of the same properties accepts `enum` only for text
//! types, and `integer` for `int`, `bigint` and text types (`io.trino.plugin.hive.aws.athena.projection`).

mod value;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil;
use serde::{Deserialize, Serialize};

use crate::{layout::Location, schema::Column};
pub use value::{Kind, Value};

/// A partition column of a generation, and the values that Athena projects for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    #[serde(flatten)]
    pub column: Column,
    pub projection: Projection,
}

/// The values that Athena projects for a column. A range goes from the smallest to the largest value in the data, with
/// the longest step that includes every value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Projection {
    /// A range of dates, with both ends included. `interval` is in days.
    Date {
        first: civil::Date,
        last: civil::Date,
        interval: u64,
    },
    Integer {
        first: i64,
        last: i64,
        interval: u64,
    },
    Enum {
        values: BTreeSet<String>,
    },
}

/// The most partitions that a table's projection may describe, whether or not they have rows. Athena lists the folder
/// of every projected partition that a query doesn't exclude, so a larger projection would slow queries down.
pub const MAX_PROJECTED_PARTITIONS: u64 = 100_000;

/// The most partitions that a generation may have. Each partition has at least one file, and the audit reads the footer
/// of every file.
pub const MAX_PARTITIONS: usize = 10_000;

/// The maximum length of a table parameter's value, in bytes, according to Glue's `TableInput` reference.
const MAX_PARAMETER_BYTES: usize = 512_000;

impl Partition {
    /// Returns the partition column with a projection of the values in the data. If there are no values, projects a
    /// value that no row has, because a projection must not be empty. Fails if the values of an enum don't fit into one
    /// table parameter.
    pub fn of(column: Column, kind: Kind, values: &BTreeSet<Value>) -> Result<Partition, String> {
        let whole = || values.iter().filter_map(Value::whole);
        let (first, last) = (whole().min().unwrap_or(0), whole().max().unwrap_or(0));
        let interval = whole().map(|value| value.abs_diff(first)).fold(0, gcd).max(1);
        let projection = match kind {
            Kind::Date => Projection::Date { first: value::date(first)?, last: value::date(last)?, interval },
            Kind::Integer => Projection::Integer { first, last, interval },
            Kind::Enum if values.is_empty() => Projection::Enum { values: ["none".to_owned()].into() },
            Kind::Enum => Projection::Enum { values: values.iter().map(ToString::to_string).collect() },
        };
        let partition = Partition { column, projection };
        match partition.parameters().values().any(|value| value.len() > MAX_PARAMETER_BYTES) {
            true => Err(format!(
                "column {:?} has too many distinct values for an enum projection, because a Glue table parameter has \
                 at most {MAX_PARAMETER_BYTES} bytes: partition by a coarser column",
                partition.column.name
            )),
            false => Ok(partition),
        }
    }

    /// Returns whether Athena projects the value `text`, spelled as in a folder name.
    pub fn has(&self, text: &str) -> bool {
        let in_step = |value: i64, first: i64, last: i64, interval: u64| {
            (first..=last).contains(&value) && value.abs_diff(first).is_multiple_of(interval.max(1))
        };
        match (&self.projection, Value::parse(self.kind(), text)) {
            (Projection::Enum { values }, _) => values.contains(text),
            (Projection::Integer { first, last, interval }, Some(Value::Integer(value))) => {
                in_step(value, *first, *last, *interval)
            }
            (Projection::Date { first, last, interval }, Some(Value::Date(day))) => {
                in_step(day.into(), value::days(*first).into(), value::days(*last).into(), *interval)
            }
            _ => false,
        }
    }

    pub fn kind(&self) -> Kind {
        match self.projection {
            Projection::Date { .. } => Kind::Date,
            Projection::Integer { .. } => Kind::Integer,
            Projection::Enum { .. } => Kind::Enum,
        }
    }

    /// Returns how many values Athena projects.
    pub fn count(&self) -> u64 {
        let steps = |first: i64, last: i64, interval: u64| (last.abs_diff(first) / interval.max(1)).saturating_add(1);
        match &self.projection {
            Projection::Enum { values } => values.len() as u64,
            Projection::Integer { first, last, interval } => steps(*first, *last, *interval),
            Projection::Date { first, last, interval } => {
                steps(value::days(*first).into(), value::days(*last).into(), *interval)
            }
        }
    }

    /// Returns the smallest projected value, spelled as in a folder name.
    pub fn first(&self) -> String {
        match &self.projection {
            Projection::Date { first, .. } => first.to_string(),
            Projection::Integer { first, .. } => first.to_string(),
            Projection::Enum { values } => values.first().cloned().unwrap_or_default(),
        }
    }

    /// Returns the table parameters that describe this column.
    pub fn parameters(&self) -> BTreeMap<String, String> {
        let properties: Vec<(&str, String)> = match &self.projection {
            Projection::Date { first, last, interval } => vec![
                ("type", "date".into()),
                ("format", "yyyy-MM-dd".into()),
                ("range", format!("{first},{last}")),
                ("interval", interval.to_string()),
                ("interval.unit", "DAYS".into()),
            ],
            Projection::Integer { first, last, interval } => vec![
                ("type", "integer".into()),
                ("range", format!("{first},{last}")),
                ("interval", interval.to_string()),
            ],
            Projection::Enum { values } => vec![
                ("type", "enum".into()),
                ("values", values.iter().map(String::as_str).collect::<Vec<_>>().join(",")),
            ],
        };
        properties
            .into_iter()
            .map(|(key, value)| (format!("{}{key}", parameters_of(&self.column.name)), value))
            .collect()
    }
}

/// Returns the prefix of a partition column's table parameters: `projection.COLUMN.`.
pub fn parameters_of(column: &str) -> String {
    format!("projection.{column}.")
}

/// Returns the `storage.location.template` for a table at this location. It contains every partition column, as Athena
/// requires.
pub fn template<'a>(location: &Location, columns: impl IntoIterator<Item = &'a str>) -> String {
    let folders: String = columns.into_iter().map(|name| format!("{name}=${{{name}}}/")).collect();
    format!("{location}{folders}")
}

/// Returns the folder of a partition, relative to the location: `dt=2024-01-31/country=jp/`. Athena inserts values into
/// the template unescaped, so this function doesn't escape them either. [`Value::text`] rejects values that would need
/// escaping.
pub fn folder<'a>(partition: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    partition.into_iter().map(|(name, value)| format!("{name}={value}/")).collect()
}

/// Returns the partition values in a file's key, outermost folder first. `key` is relative to the generation's
/// location. Returns `None` if the file isn't directly in a folder of these partitions.
pub fn values_of<'a>(partitions: &[Partition], key: &'a str) -> Option<Vec<&'a str>> {
    folders_of(partitions.iter().map(|partition| partition.column.name.as_str()), key)
}

/// Like [`values_of`], but takes the names of the partition columns.
pub fn folders_of<'a, 'n>(columns: impl Iterator<Item = &'n str>, key: &'a str) -> Option<Vec<&'a str>> {
    let mut rest = key;
    let mut values = Vec::new();
    for column in columns {
        let (folder, below) = rest.split_once('/')?;
        values.push(folder.strip_prefix(column)?.strip_prefix('=')?);
        rest = below;
    }
    (!rest.is_empty() && !rest.contains('/')).then_some(values)
}

/// Returns how many partitions Athena projects, or an error if there are more than [`MAX_PROJECTED_PARTITIONS`].
/// `existing`, the number of partitions that have rows, appears only in the error message.
pub fn projected(partitions: &[Partition], existing: usize) -> Result<u64, String> {
    let count = partitions.iter().map(Partition::count).fold(1, u64::saturating_mul);
    if count <= MAX_PROJECTED_PARTITIONS {
        return Ok(count);
    }
    let names: Vec<&str> = partitions.iter().map(|partition| partition.column.name.as_str()).collect();
    Err(format!(
        "partition_by {}: Athena would project {count} partitions, but only {existing} have rows and the limit is \
         {MAX_PROJECTED_PARTITIONS}: partition by fewer or coarser columns, remove outlier values, or cast a sparse column to \
         string",
        names.join(", ")
    ))
}

/// Returns the greatest common divisor of `a` and `b`.
fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
