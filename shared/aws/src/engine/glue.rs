//! Runs the user's own Glue jobs.

use std::collections::BTreeMap;

use aws_sdk_glue::{
    Client,
    config::{Builder, retry::RetryConfig},
    types::{JobRun, JobRunState},
};
use jiff::{SignedDuration, Timestamp};
use turntable_core::{
    error::{Error, Result},
    layout::Location,
    port::{Progress, RunState},
    record::{JOB_LOCATION, Pending},
};

use crate::fault::fault;

pub struct Jobs(Client);

/// The largest clock difference between Turntable and Glue that [`Jobs::runs`] tolerates.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(1);

impl Jobs {
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Jobs(Client::new(config))
    }

    /// Starts a run and returns its ID. `timeout` is in minutes. The SDK's retries are off, because `StartJobRun` takes
    /// no token: sending the request twice would start two runs.
    pub async fn start(&self, job: &str, arguments: &BTreeMap<String, String>, timeout: u32) -> Result<String> {
        self.check_job(job).await?;
        let once = Builder::new().retry_config(RetryConfig::disabled());
        let sent = self
            .0
            .start_job_run()
            .job_name(job)
            .set_arguments(Some(arguments.clone().into_iter().collect()))
            .timeout(i32::try_from(timeout).unwrap_or(i32::MAX))
            .customize()
            .config_override(once)
            .send()
            .await;
        let id = match sent {
            Ok(answer) => answer.job_run_id,
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_concurrent_runs_exceeded_exception()) =>
            {
                return Err(Error::unavailable(format!(
                    "Glue job {job:?} has reached its MaxConcurrentRuns: invoke export again later, or raise the limit"
                )));
            }
            Err(error) => return Err(fault("glue:StartJobRun", job, error)),
        };
        id.ok_or_else(|| {
            Error::unavailable(format!("glue:StartJobRun for job {job:?} returned no run ID: invoke export again"))
        })
    }

    /// Checks that the job exists and that Glue doesn't retry it, because a retry by Glue would write to the same
    /// location again.
    async fn check_job(&self, job: &str) -> Result<()> {
        let sent = self.0.get_job().job_name(job).send().await;
        let found = match sent {
            Ok(answer) => answer.job,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_entity_not_found_exception()) => None,
            Err(error) => return Err(fault("glue:GetJob", job, error)),
        };
        let found = found.ok_or_else(|| {
            Error::config(format!("Glue job {job:?} does not exist in this account and region: create it first"))
        })?;
        if found.max_retries > 0 {
            return Err(Error::config(format!(
                "Glue job {job:?} has MaxRetries = {}, but a retry by Glue would write to the same location again: set \
                 it to 0 (after a failure, the next export tries again)",
                found.max_retries
            )));
        }
        Ok(())
    }

    /// Returns the IDs of all runs that were given the pending record's location as an argument.
    pub async fn runs(&self, job: &str, pending: &Pending) -> Result<Vec<String>> {
        self.runs_at(job, &pending.location, pending.as_of).await
    }

    async fn runs_at(&self, job: &str, location: &Location, since: Timestamp) -> Result<Vec<String>> {
        let mut pages = self.0.get_job_runs().job_name(job).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let runs = page.map_err(|error| fault("glue:GetJobRuns", job, error))?.job_runs.unwrap_or_default();
            // Glue lists the newest runs first, but its reference doesn't promise that, so stop only if this page is in
            // that order.
            let (first, last) = (runs.first().and_then(started), runs.last().and_then(started));
            let enough = last.is_some_and(|last| first >= Some(last) && since.duration_since(last) > MAX_CLOCK_SKEW);
            let here = runs.into_iter().filter(|run| location_argument(run).as_ref() == Some(location));
            found.extend(here.filter_map(|run| run.id));
            if enough {
                break;
            }
        }
        Ok(found)
    }

    /// Returns the progress of a run, or `None` if Glue doesn't know the run. If other runs were given the same
    /// location, a run that succeeded is reported as failed.
    pub async fn progress(&self, job: &str, id: &str) -> Result<Option<Progress>> {
        let sent = self.0.get_job_run().job_name(job).run_id(id).send().await;
        let run = match sent {
            Ok(answer) => answer.job_run,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_entity_not_found_exception()) => None,
            Err(error) => return Err(fault("glue:GetJobRun", job, error)),
        };
        let Some(run) = run else { return Ok(None) };
        let location = location_argument(&run);
        let state = match (run.job_run_state(), &location) {
            (Some(JobRunState::Succeeded), Some(location)) => {
                let since = started(&run).unwrap_or(Timestamp::MIN);
                match self.runs_at(job, location, since).await?.len() {
                    0 | 1 => RunState::Succeeded,
                    runs => RunState::Failed(Error::conflict(format!(
                        "{runs} runs of Glue job {job:?} wrote to {location}, and their files can't be told apart: \
                         invoke export again"
                    ))),
                }
            }
            (Some(JobRunState::Succeeded), None) => RunState::Succeeded,
            (Some(state), _) if is_over(state) => RunState::Failed(failed(job, id, state, run.error_message())),
            _ => RunState::Running,
        };
        Ok(Some(Progress { location, state }))
    }
}

fn is_over(state: &JobRunState) -> bool {
    use JobRunState::{Error, Expired, Failed, Stopped, Timeout};
    matches!(state, Failed | Timeout | Stopped | Error | Expired)
}

/// Returns the location that was passed to a run as an argument.
fn location_argument(run: &JobRun) -> Option<Location> {
    run.arguments()?.get(JOB_LOCATION)?.parse().ok()
}

fn started(run: &JobRun) -> Option<Timestamp> {
    Timestamp::from_second(run.started_on()?.secs()).ok()
}

/// Returns the error for a failed run. A job's message may quote a value, as in `ValueError: invalid literal …
/// 'alice'`, so only the error's name and the run's ID are kept. With the ID, anyone with access to Glue can look up
/// the full message.
fn failed(job: &str, id: &str, state: &JobRunState, message: Option<&str>) -> Error {
    let text = message.unwrap_or_default();
    let name = text.split([':', ' ', '\n']).next().unwrap_or_default();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c));
    let why = if is_name && text[name.len()..].starts_with(':') { format!(" with {name}") } else { String::new() };
    let (what, advice) = match state {
        JobRunState::Timeout => ("exceeded its timeout", "raise the timeout, or give the job more workers"),
        JobRunState::Stopped => ("was stopped before it finished", "invoke export again"),
        _ => ("failed", "fix the cause that the run's log shows, then invoke export again"),
    };
    Error::input(format!("run {id} of Glue job {job:?} {what}{why}: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_that_may_hold_a_row_value_is_not_reported() {
        let report = |message, state| failed("j", "jr_1", &state, message).message().to_owned();
        assert_eq!(
            report(Some("ValueError: invalid literal for int(): 'alice'"), JobRunState::Failed),
            "run jr_1 of Glue job \"j\" failed with ValueError: fix the cause that the run's log shows, then invoke \
             export again"
        );
        assert_eq!(
            report(Some("pyspark.errors.AnalysisException: x"), JobRunState::Error),
            "run jr_1 of Glue job \"j\" failed with pyspark.errors.AnalysisException: fix the cause that the run's log \
             shows, then invoke export again"
        );
        for message in [None, Some("alice is wrong"), Some("alice")] {
            assert_eq!(
                report(message, JobRunState::Stopped),
                "run jr_1 of Glue job \"j\" was stopped before it finished: invoke export again"
            );
        }
    }
}
