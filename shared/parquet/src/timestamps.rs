//! Finds and converts INT96, the type in which Spark and others write timestamps.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use parquet::{basic::Type, schema::types::SchemaDescriptor};

/// Returns the indexes of the top-level columns that are or contain INT96, one entry per INT96 leaf.
pub fn int96_columns(leaves: &SchemaDescriptor) -> Vec<usize> {
    let is_int96 = |leaf: &usize| leaves.column(*leaf).physical_type() == Type::INT96;
    (0..leaves.num_columns()).filter(is_int96).map(|leaf| leaves.get_column_root_idx(leaf)).collect()
}

/// Returns the schema with INT96 as microseconds, or `None` without INT96. As nanoseconds, the year 9999 overflows.
pub fn with_micros(leaves: &SchemaDescriptor, schema: &Schema) -> Option<SchemaRef> {
    let roots = int96_columns(leaves);
    if roots.is_empty() {
        return None;
    }
    let field =
        |(at, field): (usize, &Arc<Field>)| if roots.contains(&at) { int96_as_micros(field) } else { field.clone() };
    Some(Arc::new(Schema::new(schema.fields().iter().enumerate().map(field).collect::<Fields>())))
}

fn int96_as_micros(field: &Arc<Field>) -> Arc<Field> {
    let data_type = match field.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::List(element) => DataType::List(int96_as_micros(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(int96_as_micros).collect()),
        DataType::Map(entries, sorted) => DataType::Map(int96_as_micros(entries), *sorted),
        other => other.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}
