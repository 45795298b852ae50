//! Runs a query, and sends its rows as record batches.

use arrow_array::RecordBatch;
use futures::StreamExt;
use mysql_async::{Row, Statement, prelude::Queryable};
use tokio::sync::mpsc::Sender;

use super::{decode::Decoder, failure, server::Server, session::Session, warnings};
use crate::background;
use turntable_core::error::{Error, Result};

/// Runs the query and sends the complete batches. The remaining rows stay in `decoder`, for [`finish`]. Fails if the
/// query raises a warning whose code is not in `allowed`.
pub async fn read(
    server: &Server,
    session: &mut Session,
    statement: Statement,
    decoder: &mut Decoder,
    allowed: &[u16],
    sender: &Sender<Result<RecordBatch>>,
) -> Result<()> {
    let mut result =
        session.conn()?.exec_iter(statement, ()).await.map_err(|error| failure::error_of(server, error))?;
    let rows = result.stream::<Row>().await.map_err(|error| failure::error_of(server, error))?;
    let mut rows = rows.ok_or_else(|| {
        let name = server.name();
        Error::corrupt(format!("MySQL at {name} described a result set but sent none: run the export again"))
    })?;
    while let Some(row) = rows.next().await {
        let row = row.map_err(|error| failure::while_reading(server, decoder.rows(), error))?;
        if let Some(batch) = decoder.push(&row)? {
            background::send(sender, batch).await?;
        }
    }
    drop(rows);
    drop(result);
    let when = format!("after {} rows", decoder.rows());
    warnings::check(session.conn()?, server, &when, allowed).await
}

/// Sends the rows that remain in the decoder as the last batch, if there are any.
pub async fn finish(mut decoder: Decoder, sender: &Sender<Result<RecordBatch>>) -> Result<()> {
    match decoder.finish()? {
        Some(batch) => background::send(sender, batch).await,
        None => Ok(()),
    }
}
