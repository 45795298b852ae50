//! `query`: what is in the tables, asked of the Athena endpoint that `up` runs.

use anyhow::Result;

use crate::{Deployment, emulator, reader, table::aligned, up};

/// The result as lines of text, its head first. A null is empty.
pub async fn query(sql: &str) -> Result<String> {
    let athena = aws_sdk_athena::Client::new(&emulator::config("test", &up::endpoints()?.athena));
    let output = format!("s3://{}/athena/", Deployment::in_account("test").scratch());
    let lines = reader::lines(&athena, &output, sql).await?;
    let cells = |line: &'_ Vec<Option<String>>| line.iter().map(|cell| cell.clone().unwrap_or_default()).collect();
    let lines: Vec<Vec<String>> = lines.iter().map(cells).collect();
    let lines: Vec<Vec<&str>> = lines.iter().map(|line| line.iter().map(String::as_str).collect()).collect();
    Ok(aligned(&lines, &[]))
}
