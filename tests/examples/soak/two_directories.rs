//! The older design under the same load: two directories that are overwritten in turn, and a table that switches
//! between them. Its failures prove that the readers notice faults.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use arrow_array::{Int64Array, RecordBatch};
use aws_sdk_glue::types::{Column, SerDeInfo, StorageDescriptor, TableInput};
use parquet::arrow::ArrowWriter;
use tokio::time::sleep;

use crate::{lake::Lake, oracle};

const FILES: u64 = 8;
/// The pause after each file, so that writing a day takes about a second. The next day starts as soon as the table has
/// been switched.
const PACE: Duration = Duration::from_millis(1000 / FILES);

pub async fn write(lake: &Lake) -> Result<()> {
    for day in 1.. {
        publish(lake, day, PACE).await?;
        if lake.is_over() {
            break;
        }
    }
    Ok(())
}

/// Overwrites the directory that isn't live, then makes it live.
async fn publish(lake: &Lake, day: u64, pace: Duration) -> Result<()> {
    let colour = if day.is_multiple_of(2) { "blue" } else { "green" };
    for file in 0..FILES {
        lake.stack.put(&format!("old/{colour}/part-{file:05}.parquet"), part(day, file)?).await?;
        sleep(pace).await;
    }
    let update = lake.stack.glue.update_table().database_name("dmp").table_input(table(lake, colour)?);
    update.send().await.context("cannot write the older design's table")?;
    Ok(())
}

pub async fn create(lake: &Lake) -> Result<()> {
    let create = lake.stack.glue.create_table().database_name("dmp").table_input(table(lake, "blue")?);
    create.send().await.context("cannot write the older design's table")?;
    publish(lake, 0, Duration::ZERO).await
}

/// Returns how many queries failed or didn't see exactly one day, and how many there were in all.
pub async fn read(lake: &Lake) -> (u64, u64) {
    const SQL: &str = "SELECT count(*), min(day), max(day), min(id), sum(id) FROM dmp.old";
    let (mut wrong, mut all) = (0, 0);
    while !lake.is_over() {
        let answer = lake.rows(SQL).await;
        let seen = answer.map(|rows| oracle::Question::Users.judge(&rows, 0));
        wrong += u64::from(!matches!(seen, Ok(oracle::Seen::Whole)));
        all += 1;
    }
    (wrong, all)
}

fn part(day: u64, file: u64) -> Result<Vec<u8>> {
    let ids = (1..=oracle::rows(day)).filter(|id| id % FILES == file).map(|id| id as i64);
    let ids = Int64Array::from_iter_values(ids);
    let days = Int64Array::from_value(day as i64, ids.len());
    let batch = RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("day", Arc::new(days) as _)])?;
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(bytes)
}

fn table(lake: &Lake, colour: &str) -> Result<TableInput> {
    let column = |name: &str| Column::builder().name(name).r#type("bigint").build();
    let hive = "org.apache.hadoop.hive.ql.io.parquet";
    let storage = StorageDescriptor::builder()
        .location(format!("s3://{}/old/{colour}/", lake.stack.bucket))
        .columns(column("id")?)
        .columns(column("day")?)
        .input_format(format!("{hive}.MapredParquetInputFormat"))
        .output_format(format!("{hive}.MapredParquetOutputFormat"))
        .serde_info(SerDeInfo::builder().serialization_library(format!("{hive}.serde.ParquetHiveSerDe")).build())
        .build();
    Ok(TableInput::builder().name("old").table_type("EXTERNAL_TABLE").storage_descriptor(storage).build()?)
}
