//! Batches that a task of their own makes.

use std::pin::Pin;

use arrow_array::RecordBatch;
use futures::{StreamExt, stream};
use tokio::{
    sync::mpsc::{self, Sender},
    task::JoinHandle,
};

use turntable_core::error::{Error, Result};
use turntable_parquet::Batches;

/// Batches that are decoded and not yet taken, per connection.
const AHEAD: usize = 2;

/// A task that must not outlive what it works for.
pub struct AbortOnDrop(pub JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs `make` in a task of its own, at once; its error is the last item. Dropping the stream ends the task, and with it
/// all that it holds. `what` the task does, for messages.
pub fn batches<F>(what: &'static str, make: impl FnOnce(Sender<Result<RecordBatch>>) -> F) -> Batches
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(AHEAD);
    let making: Pin<Box<F>> = Box::pin(make(sender.clone()));
    let task = tokio::spawn(async move {
        if let Err(error) = making.await {
            let _ = sender.send(Err(error)).await;
        }
    });
    let state = (receiver, Some(AbortOnDrop(task)));
    stream::unfold(state, move |(mut receiver, mut task)| async move {
        match receiver.recv().await {
            Some(batch) => Some((batch, (receiver, task))),
            None => {
                // A task that panicked must not look like the end of the rows.
                let panicked = (&mut task.take()?.0).await.err()?;
                let error = Error::corrupt(format!("{what} stopped: a bug")).caused_by(panicked);
                Some((Err(error), (receiver, None)))
            }
        }
    })
    .boxed()
}

pub async fn send(sender: &Sender<Result<RecordBatch>>, batch: RecordBatch) -> Result<()> {
    sender.send(Ok(batch)).await.map_err(|_| Error::unavailable("nobody takes the rows any more"))
}
