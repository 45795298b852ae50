//! Parses the events that report the end of an Athena query or a Glue job run.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use turntable_core::{
    error::{Error, Result},
    record::EngineRun,
};

/// Returns the engine run that ended, or `None` for any other event. Fails if the event lacks the run's ID.
///
/// Ignores the state in the event, because an event may arrive late. The caller asks the engine for the current state
/// instead.
///
/// <https://docs.aws.amazon.com/athena/latest/ug/athena-events.html>,
/// <https://docs.aws.amazon.com/glue/latest/dg/automating-awsglue-with-cloudwatch-events.html>
pub fn ended(event: &Value) -> Result<Option<EngineRun>> {
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
            let Query { query_execution_id: id } = detail(
                event,
                "the Athena event lacks queryExecutionId: check the EventBridge rule that invokes this function",
            )?;
            Ok(Some(EngineRun::Athena { id }))
        }
        Some("Glue Job State Change") => {
            let Job { job_name: job, job_run_id: id } = detail(
                event,
                "the Glue event lacks jobName or jobRunId: check the EventBridge rule that invokes this function",
            )?;
            Ok(Some(EngineRun::GlueJob { job, id }))
        }
        _ => Ok(None),
    }
}

fn detail<T: DeserializeOwned>(event: &Value, fault: &str) -> Result<T> {
    let detail = event.get("detail").cloned().unwrap_or_default();
    serde_json::from_value(detail).map_err(|error| Error::input(fault).caused_by(error))
}
