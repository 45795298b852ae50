//! The events of engines: a query or a job's run has come to an end.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use turntable_core::{
    error::{Error, Result},
    record::Run,
};

/// The run that an event speaks of; `None` where it is no such event. What it says of the run's state is not believed:
/// it may be late, and the engine knows.
///
/// <https://docs.aws.amazon.com/athena/latest/ug/athena-events.html>,
/// <https://docs.aws.amazon.com/glue/latest/dg/automating-awsglue-with-cloudwatch-events.html>
pub fn ended(event: &Value) -> Result<Option<Run>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Query {
        query_execution_id: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Job {
        job_name: String,
        job_run_id: String,
    }
    match event.get("detail-type").and_then(Value::as_str) {
        Some("Athena Query State Change") => {
            let Query { query_execution_id: id } = detail(event, "Athena names no queryExecutionId")?;
            Ok(Some(Run::Athena { id }))
        }
        Some("Glue Job State Change") => {
            let Job { job_name: job, job_run_id: id } = detail(event, "Glue names no jobName and jobRunId")?;
            Ok(Some(Run::GlueJob { job, id }))
        }
        _ => Ok(None),
    }
}

fn detail<T: DeserializeOwned>(event: &Value, fault: &str) -> Result<T> {
    let detail = event.get("detail").cloned().unwrap_or_default();
    serde_json::from_value(detail).map_err(|error| Error::input(format!("the event of {fault}")).caused_by(error))
}
