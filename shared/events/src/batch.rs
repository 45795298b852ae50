//! Builds the response to an SQS event.

use aws_lambda_events::sqs::BatchItemFailure;
pub use aws_lambda_events::sqs::SqsBatchResponse;

/// Returns the response that makes SQS redeliver the messages with these ids and delete the others.
pub fn redeliver(ids: Vec<String>) -> SqsBatchResponse {
    let failure = |item_identifier| {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = item_identifier;
        failure
    };
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = ids.into_iter().map(failure).collect();
    response
}
