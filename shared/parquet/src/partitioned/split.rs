//! Splits rows into partitions.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    Array, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray, cast::AsArray, types::ArrowPrimitiveType,
};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::interleave::interleave;
use turntable_core::{
    error::{Error, Result},
    partition::{Kind, MAX_PARTITIONS, Value},
};

/// A batch and its position in the source.
pub(super) struct Placed {
    pub batch: RecordBatch,
    /// The stream's index, from 0, and the number of streams.
    pub stream: (usize, usize),
    /// The number of the batch's first row in the stream, from 1.
    pub row: u64,
}

/// The indexes, in the source's schema, of the columns that become folders (`at`) and of those that stay in the files
/// (`rest`).
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub at: Vec<(usize, Kind)>,
    pub rest: Vec<usize>,
    /// The schema of `rest`.
    pub schema: SchemaRef,
    /// The table's name, for error messages.
    pub table: String,
}

/// Assigns rows to partitions. Numbers the partitions from 0, in the order in which they first appear.
pub(super) struct Splitter {
    keys: Keys,
    /// For each folder column, its distinct values, numbered from 0.
    values: Vec<NumberedValues>,
    /// For each folder column, the number of each partition that the columns up to this one form. The key is the
    /// partition's number at the preceding column, and the number of the value in this column.
    levels: Vec<HashMap<(u32, u32), u32>>,
    /// For each map in `levels`, the values of each partition that it numbers, indexed by that number.
    names: Vec<Vec<Vec<Value>>>,
}

#[derive(Default)]
struct NumberedValues {
    whole: HashMap<i64, u32>,
    texts: HashMap<String, u32>,
    values: Vec<Value>,
}

/// Rows of one partition.
pub(super) struct Piece {
    pub partition: usize,
    pub batch: RecordBatch,
}

impl Splitter {
    pub(super) fn new(keys: Keys) -> Self {
        let count = keys.at.len();
        Self {
            keys,
            values: (0..count).map(|_| NumberedValues::default()).collect(),
            levels: vec![HashMap::new(); count],
            names: vec![Vec::new(); count],
        }
    }

    /// Returns the values of each partition seen so far, indexed by its number.
    pub(super) fn partitions(&self) -> &[Vec<Value>] {
        self.names.last().map_or(&[], Vec::as_slice)
    }

    /// Splits the rows by partition. Within a partition they stay in source order, and the folder columns are dropped.
    pub(super) fn split(&mut self, chunk: &[Placed]) -> Result<Vec<Piece>> {
        let mut rows: HashMap<u32, Vec<(usize, usize)>> = HashMap::new();
        let mut pieces = Vec::new();
        for (at, placed) in chunk.iter().enumerate() {
            let numbers = self.partition_numbers(placed)?;
            for run in numbers.chunk_by(|a, b| a.1 == b.1) {
                rows.entry(run[0].1).or_default().extend(run.iter().map(|(row, _)| (at, *row)));
            }
        }
        let mut touched: Vec<_> = rows.into_iter().collect();
        touched.sort_unstable_by_key(|(partition, _)| *partition);
        let rest: Vec<RecordBatch> = chunk
            .iter()
            .map(|placed| placed.batch.project(&self.keys.rest))
            .collect::<Result<_, _>>()
            .map_err(|error| self.split_error(error))?;
        if let [(partition, _)] = touched.as_slice() {
            let partition = *partition as usize;
            return Ok(rest.into_iter().map(|batch| Piece { partition, batch }).collect());
        }
        for (partition, rows) in touched {
            let batch = interleave_rows(&self.keys.schema, &rest, &rows).map_err(|error| self.split_error(error))?;
            pieces.push(Piece { partition: partition as usize, batch });
        }
        Ok(pieces)
    }

    /// Returns each row's index in its batch and the number of its partition.
    fn partition_numbers(&mut self, placed: &Placed) -> Result<Vec<(usize, u32)>> {
        let mut numbers: Vec<(usize, u32)> = (0..placed.batch.num_rows()).map(|row| (row, 0)).collect();
        for level in 0..self.keys.at.len() {
            let mut last = None;
            let values = self.value_numbers(level, placed)?;
            for ((_, number), value) in numbers.iter_mut().zip(values) {
                let step = (*number, value);
                *number = match last {
                    Some((same, number)) if same == step => number,
                    _ => self.partition_number(level, step)?,
                };
                last = Some((step, *number));
            }
        }
        Ok(numbers)
    }

    fn partition_number(&mut self, level: usize, step: (u32, u32)) -> Result<u32> {
        if let Some(known) = self.levels[level].get(&step) {
            return Ok(*known);
        }
        let number = self.names[level].len();
        if number == MAX_PARTITIONS {
            return Err(Error::input(format!(
                "{}: partition_by creates more than {MAX_PARTITIONS} partitions, and each needs at least one file: \
                 partition by fewer or coarser columns",
                self.keys.table
            )));
        }
        let mut name = match level {
            0 => Vec::new(),
            _ => self.names[level - 1][step.0 as usize].clone(),
        };
        name.push(self.values[level].values[step.1 as usize].clone());
        self.names[level].push(name);
        self.levels[level].insert(step, number as u32);
        Ok(number as u32)
    }

    /// Returns, for each row, the number of its value in the folder column at `level`. Fails if a value can't be a
    /// folder.
    fn value_numbers(&mut self, level: usize, placed: &Placed) -> Result<Vec<u32>> {
        let (at, kind) = self.keys.at[level];
        let column = placed.batch.column(at);
        if column.null_count() > 0 {
            let row = (0..column.len()).find(|row| column.is_null(*row)).unwrap_or_default();
            let fault =
                "is NULL, which can't be a folder: filter these rows out in the source's query, or give them a value";
            return Err(self.value_error(placed, at, row, fault));
        }
        let known = &mut self.values[level];
        let numbers = match kind {
            Kind::Date => match column.as_any().downcast_ref::<Date32Array>() {
                Some(days) => known.whole_numbers(days, i64::from, Value::date),
                None => return Err(self.type_error(at)),
            },
            Kind::Integer => {
                if let Some(values) = column.as_any().downcast_ref::<Int64Array>() {
                    known.whole_numbers(values, |value| value, |value| Ok(Value::Integer(value)))
                } else if let Some(values) = column.as_any().downcast_ref::<Int32Array>() {
                    known.whole_numbers(values, i64::from, |value| Ok(Value::Integer(value.into())))
                } else {
                    return Err(self.type_error(at));
                }
            }
            Kind::Enum => match column.as_string_opt::<i32>() {
                Some(texts) => known.text_numbers(texts),
                None => return Err(self.type_error(at)),
            },
        };
        numbers.map_err(|(row, fault)| self.value_error(placed, at, row, &fault))
    }

    fn value_error(&self, placed: &Placed, at: usize, row: usize, fault: &str) -> Error {
        let ordinal = placed.row + row as u64;
        let stream = match placed.stream {
            (_, 1) => String::new(),
            (at, count) => format!(" of part {} of {count}", at + 1),
        };
        let schema = placed.batch.schema_ref();
        let column = schema.field(at).name();
        Error::input(format!("{}: partition_by: column {column:?} of row {ordinal}{stream} {fault}", self.keys.table))
    }

    fn type_error(&self, at: usize) -> Error {
        Error::corrupt(format!(
            "{}: column {at} has an unexpected Arrow type: this is a bug, please report it",
            self.keys.table
        ))
    }

    fn split_error(&self, error: ArrowError) -> Error {
        Error::corrupt(format!(
            "{}: rows can't be split into partitions: this is a bug, please report it",
            self.keys.table
        ))
        .caused_by(error)
    }
}

/// A row's index in its batch, and why its value can't be a folder.
type ValueError = (usize, String);

impl NumberedValues {
    fn whole_numbers<T: ArrowPrimitiveType>(
        &mut self,
        column: &arrow_array::PrimitiveArray<T>,
        whole: impl Fn(T::Native) -> i64,
        value: impl Fn(T::Native) -> Result<Value, String>,
    ) -> Result<Vec<u32>, ValueError> {
        let mut last = None;
        let mut numbers = Vec::with_capacity(column.len());
        for (row, native) in column.values().iter().enumerate() {
            let key = whole(*native);
            let number = match last {
                Some((same, number)) if same == key => number,
                _ => match self.whole.get(&key) {
                    Some(known) => *known,
                    None => {
                        let number = self.add(value(*native).map_err(|fault| (row, fault))?);
                        self.whole.insert(key, number);
                        number
                    }
                },
            };
            last = Some((key, number));
            numbers.push(number);
        }
        Ok(numbers)
    }

    fn text_numbers(&mut self, column: &StringArray) -> Result<Vec<u32>, ValueError> {
        let mut last: Option<(&str, u32)> = None;
        let mut numbers = Vec::with_capacity(column.len());
        for (row, text) in column.iter().flatten().enumerate() {
            let number = match last {
                Some((same, number)) if same == text => number,
                _ => match self.texts.get(text) {
                    Some(known) => *known,
                    None => {
                        let number = self.add(Value::text(text).map_err(|fault| (row, fault))?);
                        self.texts.insert(text.to_owned(), number);
                        number
                    }
                },
            };
            last = Some((text, number));
            numbers.push(number);
        }
        Ok(numbers)
    }

    fn add(&mut self, value: Value) -> u32 {
        self.values.push(value);
        self.values.len() as u32 - 1
    }
}

/// Copies the rows, each given as (batch, row), into one new batch.
fn interleave_rows(
    schema: &SchemaRef,
    from: &[RecordBatch],
    rows: &[(usize, usize)],
) -> Result<RecordBatch, ArrowError> {
    let column = |at: usize| {
        let columns: Vec<&dyn Array> = from.iter().map(|batch| batch.column(at).as_ref()).collect();
        interleave(&columns, rows)
    };
    let columns = (0..schema.fields().len()).map(column).collect::<Result<_, _>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns)
}
