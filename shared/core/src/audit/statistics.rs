//! Column statistics from a file's Parquet footer, or from the partition folders in its key.

use super::value::Value;
use crate::partition::{self, Partition};

/// The statistics for one column in one file, combined from all row groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// The number of nulls. `None` if a row group lacks the count.
    pub nulls: Option<u64>,
    pub extremes: Extremes,
}

/// The smallest and largest values in a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Extremes {
    /// Unknown, because a row group lacks the extremes, or because no check compares values of the column's type.
    Unknown,
    /// All values are null.
    NoValue,
    /// At least one value is NaN, which is neither less nor greater than any number.
    NotANumber,
    /// All values are between `min` and `max`, inclusive. If `exact` is false, at least one of the two is a truncated
    /// string.
    Between { min: Value, max: Value, exact: bool },
}

impl Statistics {
    /// Combines the statistics of two row groups.
    pub fn and(self, other: Statistics) -> Statistics {
        let nulls = self.nulls.zip(other.nulls).map(|(a, b)| a + b);
        Statistics { nulls, extremes: self.extremes.and(other.extremes) }
    }
}

impl Extremes {
    fn and(self, other: Extremes) -> Extremes {
        match (self, other) {
            (Extremes::NotANumber, _) | (_, Extremes::NotANumber) => Extremes::NotANumber,
            (Extremes::NoValue, known) | (known, Extremes::NoValue) => known,
            (
                Extremes::Between { min: min_a, max: max_a, exact: exact_a },
                Extremes::Between { min: min_b, max: max_b, exact: exact_b },
            ) => match (min_a.compare(&min_b), max_a.compare(&max_b)) {
                (Some(min), Some(max)) => Extremes::Between {
                    min: if min.is_le() { min_a } else { min_b },
                    max: if max.is_ge() { max_a } else { max_b },
                    exact: exact_a && exact_b,
                },
                _ => Extremes::Unknown,
            },
            _ => Extremes::Unknown,
        }
    }
}

/// Returns the statistics for a file's partition columns, derived from the folders in its key: each column has one
/// value and no nulls. Returns an empty list if the folders don't match `partitions`.
pub fn of_folders(partitions: &[Partition], key: &str) -> Vec<Statistics> {
    let values = partition::values_of(partitions, key).unwrap_or_default();
    let one = |(partition, text): (&Partition, &str)| {
        let value = match partition::Value::parse(partition.kind(), text) {
            Some(partition::Value::Date(days)) => Some(Value::Date(days)),
            Some(partition::Value::Integer(value)) => Some(Value::Whole(value)),
            Some(partition::Value::Text(text)) => Some(Value::Text(text.into())),
            None => None,
        };
        let between = |value: Value| Extremes::Between { min: value.clone(), max: value, exact: true };
        Statistics { nulls: Some(0), extremes: value.map_or(Extremes::Unknown, between) }
    };
    partitions.iter().zip(values).map(one).collect()
}
