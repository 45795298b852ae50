//! Partitions as Athena projects them: the columns that became folders, and what the table says of their values.
//!
//! What may be projected, and how, is of Athena's guide, "Supported types for partition projection":
//! <https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html>. Which column types a
//! projection takes is not said there; Trino's own reading of the same properties takes `enum` for texts only, and
//! `integer` for `int`, `bigint` and texts (`io.trino.plugin.hive.aws.athena.projection`).

mod value;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil;
use serde::{Deserialize, Serialize};

use crate::{layout::Location, schema::Column};
pub use value::{Kind, Value};

/// One partition column of a generation, and which values Athena shall look for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    #[serde(flatten)]
    pub column: Column,
    pub projection: Projection,
}

/// The ranges follow the data: from the smallest to the largest value, in the longest step that meets all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Projection {
    /// `interval` is in days.
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

/// How many partitions a projection may have, there or not: Athena lists each that a query does not exclude.
pub const MOST_PROJECTED: u64 = 100_000;

/// How many partitions a generation may have: each is an object at least, and the audit reads each one's footer.
pub const MOST_PARTITIONS: usize = 10_000;

/// Bytes of a table's parameter, by the reference of Glue's `TableInput`.
const LONGEST_PARAMETER: usize = 512_000;

impl Partition {
    /// Of the values that the data has. Without any, a value that no row has: a projection must not be empty.
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
        match partition.parameters().values().any(|value| value.len() > LONGEST_PARAMETER) {
            true => Err(format!(
                "column {:?} has too many different values for an enum projection: a parameter of a Glue table has at \
                 most {LONGEST_PARAMETER} bytes, so partition by a coarser column",
                partition.column.name
            )),
            false => Ok(partition),
        }
    }

    /// Whether Athena looks for this value, which is a folder's text.
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

    /// How many values Athena looks for.
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

    /// The smallest of the values, as a folder has it.
    pub fn first(&self) -> String {
        match &self.projection {
            Projection::Date { first, .. } => first.to_string(),
            Projection::Integer { first, .. } => first.to_string(),
            Projection::Enum { values } => values.first().cloned().unwrap_or_default(),
        }
    }

    /// The table's parameters about this column.
    pub fn parameters(&self) -> BTreeMap<String, String> {
        let said: Vec<(&str, String)> = match &self.projection {
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
        said.into_iter().map(|(key, value)| (format!("{}{key}", parameters_of(&self.column.name)), value)).collect()
    }
}

/// What all parameters about a column begin with.
pub fn parameters_of(column: &str) -> String {
    format!("projection.{column}.")
}

/// `storage.location.template` of a table at this location: every partition column stands in it, as Athena demands.
pub fn template<'a>(location: &Location, columns: impl IntoIterator<Item = &'a str>) -> String {
    let folders: String = columns.into_iter().map(|name| format!("{name}=${{{name}}}/")).collect();
    format!("{location}{folders}")
}

/// The folder of a partition, relative to the location: `dt=2024-01-31/country=jp/`. Athena puts a value into the
/// template as it is, so nothing in it is escaped; [`Value::text`] refuses what would have to be.
pub fn folder<'a>(partition: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    partition.into_iter().map(|(name, value)| format!("{name}={value}/")).collect()
}

/// The values of a file's partition, by its key relative to the location; `None` where it lies in no folder of these
/// columns.
pub fn values_of<'a>(partitions: &[Partition], key: &'a str) -> Option<Vec<&'a str>> {
    folders_of(partitions.iter().map(|partition| partition.column.name.as_str()), key)
}

/// As [`values_of`], by the names of the columns.
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

/// How many partitions Athena looks for; the error says that these are too many for the `existing` ones.
pub fn projected(partitions: &[Partition], existing: usize) -> Result<u64, String> {
    let count = partitions.iter().map(Partition::count).fold(1, u64::saturating_mul);
    if count <= MOST_PROJECTED {
        return Ok(count);
    }
    let names: Vec<&str> = partitions.iter().map(|partition| partition.column.name.as_str()).collect();
    Err(format!(
        "partition_by {}: Athena would look for {count} partitions, where {existing} have rows and {MOST_PROJECTED} are \
         the most: partition by fewer or coarser columns, or leave out stray values, or make a sparse column a string",
        names.join(", ")
    ))
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
