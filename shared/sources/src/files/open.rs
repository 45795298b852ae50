//! Opens a source's objects: determines their format and columns, and returns their rows as streams.

use std::{cmp::Reverse, sync::Arc};

use arrow_schema::{Field, FieldRef, Schema, SchemaRef};
use futures::{StreamExt, stream};

use super::{
    decode::{self, Target, Text},
    folders, infer, listing,
    object::Object,
    parquet, passthrough,
};
use crate::{
    context::{Context, Opened},
    unmatched::Unmatched,
};
use turntable_core::{
    config::{Files, Format},
    error::{Error, Result},
    manifest::TypedBy,
    port::Objects,
    schema::{Column, readable_name},
};
use turntable_parquet::Rows;
use turntable_parquet::arrow_types;

/// Opens all objects that the options name.
///
/// `Opened::as_of` is `context.now`. The objects are listed after that time, so every object that existed then is
/// included.
pub async fn open(options: &Files, context: &Context) -> Result<Opened> {
    let declared = options.columns.as_deref().map(declared_schema).transpose()?;
    let objects = &context.objects;
    let found = listing::find(options, &**objects).await?;
    let read = found.iter().flat_map(|(_, list)| list).map(|object| object.entry.clone()).collect();
    if let (Some((Format::Ndjson | Format::Parquet, list)), Some(_)) = (&found, &options.csv) {
        return Err(Error::config(format!(
            "{} is not a CSV file, but source.files.csv is set: remove source.files.csv",
            list[0]
        )));
    }
    let unmatched = Unmatched::new(options);
    if let (Some((_, list)), Some(schema), false) = (&found, &declared, options.ignore_extra) {
        check_folders(list, schema)?;
    }
    match (found, declared) {
        (Some((Format::Csv, list)), declared) => {
            open_text(options, context, Text::Csv(options.csv.clone().unwrap_or_default()), list, declared).await
        }
        (Some((Format::Ndjson, list)), declared) => {
            open_text(options, context, Text::Ndjson(options.objects), list, declared).await
        }
        (Some((Format::Parquet, list)), declared) => {
            let typed_by = if declared.is_some() { TypedBy::Declared } else { TypedBy::Source };
            let (schema, mut footers) = parquet::open(objects, list, declared, options.objects, &unmatched).await?;
            check_names(options, &schema, RENAME_OR_CHOOSE)?;
            let copies = context
                .copies
                .as_ref()
                .map(|allowed| passthrough::extract_copyable(&mut footers, &schema, allowed))
                .unwrap_or_default();
            let copies = copies.into_iter().map(parquet::Footer::copy).collect();
            let unrepresentable = Arc::new(context.unrepresentable_in(&schema, unmatched));
            let batches = |list| parquet::batches(objects.clone(), list, schema.clone(), unrepresentable.clone());
            let streams = distribute(footers, |footer| footer.size()).into_iter().map(batches).collect();
            let rows = Rows { schema, copies, streams };
            Ok(Opened { rows, as_of: context.now, typed_by, unrepresentable, is_unverified: false, objects: read })
        }
        (None, Some(schema)) => {
            let unrepresentable = context.unrepresentable(&schema);
            let (typed_by, streams) = (TypedBy::Declared, vec![stream::empty().boxed()]);
            let rows = Rows { schema, copies: Vec::new(), streams };
            Ok(Opened { rows, as_of: context.now, typed_by, unrepresentable, is_unverified: false, objects: read })
        }
        (None, None) => {
            let place = options.location();
            Err(Error::input(format!(
                "{place} has no objects: put one there, or declare source.files.columns to publish an empty table"
            )))
        }
    }
}

/// Opens CSV or NDJSON objects.
async fn open_text(
    options: &Files,
    context: &Context,
    text: Text,
    list: Vec<Object>,
    declared: Option<SchemaRef>,
) -> Result<Opened> {
    let objects = &context.objects;
    let read = list.iter().map(|object| object.entry.clone()).collect();
    let (schema, typed_by) = match declared {
        Some(schema) => (schema, TypedBy::Declared),
        None => (inferred_schema(options, objects, &text, &list).await?, TypedBy::Inferred),
    };
    let unrepresentable = Arc::new(context.unrepresentable_in(&schema, Unmatched::new(options)));
    let target = Target { text, schema: schema.clone(), typed_by, unrepresentable: unrepresentable.clone() };
    let batches = |list| decode::batches(objects.clone(), list, target.clone());
    let streams = distribute(list, |object| object.entry.size).into_iter().map(batches).collect();
    let rows = Rows { schema, copies: Vec::new(), streams };
    Ok(Opened { rows, as_of: context.now, typed_by, unrepresentable, is_unverified: false, objects: read })
}

fn declared_schema(columns: &[Column]) -> Result<SchemaRef> {
    let field = |column: &Column| Ok(Field::new(&column.name, arrow_types::parse_arrow_type(&column.glue_type)?, true));
    let fields: Result<Vec<Field>, String> = columns.iter().map(field).collect();
    Ok(Arc::new(Schema::new(fields.map_err(Error::config)?)))
}

/// Checks that the declared columns include the columns in the names of the objects' folders.
fn check_folders(list: &[Object], declared: &Schema) -> Result<()> {
    for object in list {
        if let Some(folder) = object.folders.iter().find(|folder| declared.index_of(&folder.name).is_err()) {
            let name = &folder.name;
            return Err(Error::input(format!(
                "{object}: a folder name has the column {name:?}, which source.files.columns doesn't declare: declare it, \
                 or set source.files.extra = \"ignore\" to leave it out"
            )));
        }
    }
    Ok(())
}

async fn inferred_schema(
    options: &Files,
    objects: &Arc<dyn Objects>,
    text: &Text,
    list: &[Object],
) -> Result<SchemaRef> {
    let sample = decode::sample(objects, list, text).await?;
    if sample.columns.is_empty() {
        let what = match text {
            Text::Csv(_) => "no object has a header",
            Text::Ndjson(_) => "no object has a record",
        };
        return Err(Error::input(format!(
            "{}: {what}: declare source.files.columns to publish an empty table",
            options.location()
        )));
    }
    let mut fields: Vec<FieldRef> = infer::fields(&sample.columns).iter().cloned().collect();
    let in_folders = folders::fields(list, |name| sample.columns.iter().any(|(column, _)| column == name));
    fields.extend(in_folders.into_iter().map(Arc::new));
    let schema = Schema::new(fields);
    let advice = match text {
        Text::Csv(_) => RENAME,
        Text::Ndjson(_) => RENAME_OR_CHOOSE,
    };
    check_names(options, &schema, advice)?;
    Ok(Arc::new(schema))
}

/// The advice for a column name that Glue doesn't store.
const RENAME: &str = "rename it in the files";
/// The advice for a field name that Athena can't read.
const RENAME_OR_CHOOSE: &str = "rename it in the files; or set source.files.objects = \"json\" or \"map\", so that objects \
                                within records become JSON text or maps";

/// Checks that Glue can store the columns and Athena can read them. For other sources, the export checks this, but
/// files need other advice.
fn check_names(options: &Files, schema: &Schema, advice: &str) -> Result<()> {
    let checked = arrow_types::columns(schema);
    let is_column = schema.fields().iter().any(|field| readable_name(field.name()).is_err());
    let advice = if is_column { RENAME } else { advice };
    checked.map_err(|fault| Error::input(format!("{}: {fault}: {advice}", options.location())))?;
    Ok(())
}

/// The maximum number of streams that a source's objects are distributed over. Each stream writes its own files.
const MAX_STREAMS: u64 = 4;
/// The minimum average size of a stream, in bytes. Smaller sources get fewer streams.
const MIN_STREAM_BYTES: u64 = 16 << 20;

/// Distributes the objects over streams of about the same size. Starting with the largest object, each one goes to the
/// stream that is smallest so far.
fn distribute<T>(mut list: Vec<T>, size: impl Fn(&T) -> u64) -> Vec<Vec<T>> {
    let total: u64 = list.iter().map(&size).sum();
    let streams = (total / MIN_STREAM_BYTES).min(MAX_STREAMS).min(list.len() as u64).max(1);
    if streams == 1 {
        return vec![list];
    }
    let mut groups: Vec<(u64, Vec<T>)> = (0..streams).map(|_| (0, Vec::new())).collect();
    list.sort_by_key(|object| Reverse(size(object)));
    for object in list {
        if let Some((sum, objects)) = groups.iter_mut().min_by_key(|(sum, _)| *sum) {
            *sum += size(&object);
            objects.push(object);
        }
    }
    groups.into_iter().map(|(_, objects)| objects).collect()
}
