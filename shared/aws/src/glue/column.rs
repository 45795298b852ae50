//! Converts between Glue's columns and [`Column`].

use aws_sdk_glue::types::Column as GlueColumn;
use turntable_core::schema::Column;

/// Converts a Glue column. Lower-cases the name, because Glue keeps upper-case names from older writers.
pub fn column(column: &GlueColumn) -> Column {
    Column { name: column.name.to_lowercase(), glue_type: column.r#type.clone().unwrap_or_default() }
}

#[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
pub fn glue_column(column: &Column) -> GlueColumn {
    let built = GlueColumn::builder().name(&column.name).r#type(&column.glue_type).build();
    built.expect("the only required field is the name")
}
