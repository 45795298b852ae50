//! CSV, NDJSON and Parquet in S3: one object, or all under a prefix.
//!
//! Column types are declared, or inferred from the first records, or Parquet's own. Whatever does not fit them is an
//! error that names the object, the line and the column, never the value.

mod column;
mod csv;
mod decode;
mod infer;
mod input;
mod json;
mod listing;
mod ndjson;
mod records;
mod row;
mod text;

use std::{cmp::Reverse, sync::Arc};

use arrow_schema::{Field, Schema, SchemaRef};
use futures::{StreamExt, stream};

use self::{
    decode::{Target, Text},
    listing::Object,
};
use super::{Context, Opened};
use crate::{
    config::{Files, Format},
    error::{Error, Result},
    manifest::TypedBy,
    schema::{self, Column},
};

/// `as_of` is the moment before the objects were listed: all that was there by then is in.
pub async fn open(options: &Files, context: &Context) -> Result<Opened> {
    let declared = options.columns.as_deref().map(declared).transpose()?;
    let (text, list) = match (listing::find(options, &*context.objects).await?, &declared) {
        (Some((Format::Csv, list)), _) => (Text::Csv, list),
        (Some((Format::Ndjson, list)), _) => (Text::Ndjson, list),
        (Some((Format::Parquet, _)), _) => return Err(Error::unavailable("Parquet is not read yet")),
        (None, Some(schema)) => {
            let streams = vec![stream::empty().boxed()];
            return Ok(Opened { schema: schema.clone(), as_of: context.now, typed_by: TypedBy::Declared, streams });
        }
        (None, None) => {
            return Err(Error::input(format!(
                "{}: no objects; an empty table needs its columns declared",
                options.location()
            )));
        }
    };
    let (schema, typed_by) = match declared {
        Some(schema) => (schema, TypedBy::Declared),
        None => (inferred(options, context, text, &list).await?, TypedBy::Inferred),
    };
    let target = Target { text, schema: schema.clone(), typed_by };
    let batches = |list| decode::batches(context.objects.clone(), list, target.clone());
    Ok(Opened { schema, as_of: context.now, typed_by, streams: deal(list).into_iter().map(batches).collect() })
}

fn declared(columns: &[Column]) -> Result<SchemaRef> {
    let field = |column: &Column| Ok(Field::new(&column.name, schema::arrow_type(&column.glue_type)?, true));
    let fields: Result<Vec<Field>, String> = columns.iter().map(field).collect();
    Ok(Arc::new(Schema::new(fields.map_err(Error::config)?)))
}

async fn inferred(options: &Files, context: &Context, text: Text, list: &[Object]) -> Result<SchemaRef> {
    let sample = decode::sample(&context.objects, list, text).await?;
    if sample.columns.is_empty() {
        let what = match text {
            Text::Csv => "no object has a header",
            Text::Ndjson => "no object has a record",
        };
        return Err(Error::input(format!("{}: {what}; an empty table needs its columns declared", options.location())));
    }
    Ok(Arc::new(Schema::new(infer::fields(&sample.columns))))
}

/// How many streams at most, and how many bytes each must have to be worth a stream: each writes files of its own.
const STREAMS: u64 = 4;
const WORTH: u64 = 16 << 20;

/// Deals the objects out to streams of about the same size.
fn deal(mut list: Vec<Object>) -> Vec<Vec<Object>> {
    let total: u64 = list.iter().map(|object| object.entry.size).sum();
    let streams = (total / WORTH).min(STREAMS).min(list.len() as u64).max(1) as usize;
    if streams == 1 {
        return vec![list];
    }
    let mut dealt: Vec<(u64, Vec<Object>)> = (0..streams).map(|_| (0, Vec::new())).collect();
    list.sort_by_key(|object| Reverse(object.entry.size));
    for object in list {
        if let Some((size, objects)) = dealt.iter_mut().min_by_key(|(size, _)| *size) {
            *size += object.entry.size;
            objects.push(object);
        }
    }
    dealt.into_iter().map(|(_, objects)| objects).collect()
}
