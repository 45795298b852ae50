//! Decodes a source in a separate task and returns the batches as a stream.

use std::pin::Pin;

use arrow_array::RecordBatch;
use futures::{StreamExt, stream};
use tokio::{
    sync::mpsc::{self, Sender},
    task::JoinHandle,
};

use turntable_core::error::{Error, Result};
use turntable_parquet::Batches;

/// The maximum number of decoded batches that wait in one stream for the reader.
const MAX_BUFFERED_BATCHES: usize = 2;

/// The handle of a task. Dropping the handle aborts the task.
pub struct AbortOnDrop(pub JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs `make` in a separate task and returns the batches that it sends as a stream. If `make` fails or panics, the
/// last item is an error. Dropping the stream aborts the task and drops everything that the task owns. `what` names the
/// work in error messages.
pub fn batches<F>(what: &'static str, make: impl FnOnce(Sender<Result<RecordBatch>>) -> F) -> Batches
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(MAX_BUFFERED_BATCHES);
    let run: Pin<Box<F>> = Box::pin(make(sender.clone()));
    let task = tokio::spawn(async move {
        if let Err(error) = run.await {
            let _ = sender.send(Err(error)).await;
        }
    });
    let state = (receiver, Some(AbortOnDrop(task)));
    stream::unfold(state, move |(mut receiver, mut task)| async move {
        match receiver.recv().await {
            Some(batch) => Some((batch, (receiver, task))),
            None => {
                // Without this error, a panic would look like the end of the rows.
                let panicked = (&mut task.take()?.0).await.err()?;
                let error = Error::corrupt(format!(
                    "{what} failed, because the task panicked: this is a bug, please report it"
                ))
                .caused_by(panicked);
                Some((Err(error), (receiver, None)))
            }
        }
    })
    .boxed()
}

/// Sends a batch to the stream. Fails if the stream has been dropped.
pub async fn send(sender: &Sender<Result<RecordBatch>>, batch: RecordBatch) -> Result<()> {
    let stopped =
        |_| Error::unavailable("the export stopped before it had read all rows from the source: run the export again");
    sender.send(Ok(batch)).await.map_err(stopped)
}
