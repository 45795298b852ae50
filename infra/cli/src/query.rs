//! `query`: runs a statement on the Athena endpoint that `up` runs.

use anyhow::Result;

use crate::{athena, laptop, table::aligned};

/// Returns the result as aligned lines of text, with the column names first. NULL is shown as an empty cell.
pub async fn query(sql: &str) -> Result<String> {
    let client = aws_sdk_athena::Client::new(&laptop::endpoints()?.athena_config());
    let output = format!("s3://{}/athena/", laptop::scratch_bucket(laptop::BUCKET));
    let lines = athena::lines(&client, &output, sql).await?;
    let lines: Vec<Vec<&str>> =
        lines.iter().map(|line| line.iter().map(|cell| cell.as_deref().unwrap_or_default()).collect()).collect();
    Ok(aligned(&lines, &[]))
}
