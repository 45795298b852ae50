//! Finds INT96 columns, in which Spark and others write timestamps, and maps them to timestamps in a chosen unit.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use parquet::{basic::Type, schema::types::SchemaDescriptor};

/// Returns the index of the top-level column of every INT96 leaf. An index repeats if the column has several.
pub fn int96_columns(leaves: &SchemaDescriptor) -> Vec<usize> {
    let is_int96 = |leaf: &usize| leaves.column(*leaf).physical_type() == Type::INT96;
    (0..leaves.num_columns()).filter(is_int96).map(|leaf| leaves.get_column_root_idx(leaf)).collect()
}

/// Returns the schema with INT96 columns as timestamps in this unit, or `None` if there are no INT96 columns. In
/// nanoseconds, the default, timestamps after the year 2262 would overflow.
pub fn int96_in(unit: TimeUnit, leaves: &SchemaDescriptor, schema: &Schema) -> Option<SchemaRef> {
    let roots = int96_columns(leaves);
    if roots.is_empty() {
        return None;
    }
    let field =
        |(at, field): (usize, &Arc<Field>)| if roots.contains(&at) { in_unit(unit, field) } else { field.clone() };
    Some(Arc::new(Schema::new(schema.fields().iter().enumerate().map(field).collect::<Fields>())))
}

fn in_unit(unit: TimeUnit, field: &Arc<Field>) -> Arc<Field> {
    let data_type = match field.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, None) => DataType::Timestamp(unit, None),
        DataType::List(element) => DataType::List(in_unit(unit, element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| in_unit(unit, field)).collect()),
        DataType::Map(entries, sorted) => DataType::Map(in_unit(unit, entries), *sorted),
        other => other.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}
