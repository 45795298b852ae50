//! Counts the people who opted out but match no row in a protected table. If nobody matches, the key is probably wrong.

use std::time::Duration;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use turntable_core::{
    config::{Dataset, Place, Protected},
    error::{Error, Result},
    layout::Key,
    record,
};

use super::condition::{Condition, Topic};
use crate::{
    environment::{self, Environment},
    publish::views::unmatched_query,
};

/// The content of `_stacks/STACK/matches/DATASET.json`: the counts for one inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matches {
    pub at: Timestamp,
    pub tables: Vec<TableMatches>,
}

/// The counts for one protected table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableMatches {
    pub table: String,
    /// The number of people who opted out. `None` if they could not be counted, or if a table doesn't exist yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<u64>,
    /// The number of people who opted out but match no row in the table. `None` in the same cases as `out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmatched: Option<u64>,
    /// A message if nobody who opted out matches a row. `None` otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Why the people could not be counted. `None` if there was no error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The maximum number of concurrent queries, and the time after which `status` cancels a query.
const MAX_CONCURRENT_QUERIES: usize = 4;
const MAX_QUERY_TIME: Duration = Duration::from_secs(20);

/// The maximum time that `status` waits for a count, which includes the query and the requests around it.
const MAX_COUNT_TIME: Duration = Duration::from_secs(25);

/// Runs one Athena query per protected table, and stores the counts for the status of all datasets. If a table can't be
/// counted in time, it has an error instead.
pub(super) async fn count(env: &Environment, dataset: &Dataset) -> Matches {
    // Boxed, because otherwise the compiler can't prove that the stream's future is `Send`.
    let mut counts: Vec<BoxFuture<'_, TableMatches>> = Vec::new();
    for of in &dataset.protects {
        counts.push(count_in(env, dataset, of).boxed());
    }
    let tables = stream::iter(counts).buffered(MAX_CONCURRENT_QUERIES).collect().await;
    let matches = Matches { at: env.clock.now(), tables };
    if let Some(key) = key(env, dataset)
        && matches.tables.iter().any(|table| table.out.is_some())
        && let Err(error) = keep(env, &key, &matches).await
    {
        tracing::warn!(dataset = dataset.name, error = error.report(), "matches not recorded");
    }
    matches
}

/// Records the counts. If a table couldn't be counted now, keeps its last count, so that no warning disappears.
async fn keep(env: &Environment, key: &Key, counted: &Matches) -> Result<()> {
    let earlier = env.record::<Matches>(key).await?.map(|found| found.tables).unwrap_or_default();
    let last = |table: &TableMatches| earlier.iter().find(|earlier| earlier.table == table.table).cloned();
    let tables = counted.tables.iter().map(|table| match table.error {
        Some(_) => last(table).unwrap_or_else(|| table.clone()),
        None => table.clone(),
    });
    let kept = Matches { at: counted.at, tables: tables.collect() };
    env.objects.put(key, record::to_json(&kept).into()).await
}

async fn count_in(env: &Environment, dataset: &Dataset, of: &Protected) -> TableMatches {
    let empty = TableMatches { table: of.table.to_string(), out: None, unmatched: None, warning: None, error: None };
    match timeout(MAX_COUNT_TIME, counts(env, dataset, of)).await {
        Ok(Ok(None)) => empty,
        Ok(Ok(Some((out, unmatched)))) => {
            let warning = (out > 0 && unmatched == out).then(|| {
                format!(
                    "{}: none of the {out} people who opted out has a row in {}: check that protects names the right \
                     column, and that both tables write the key in the same way (normalize)",
                    dataset.name, of.table
                )
            });
            TableMatches { out: Some(out), unmatched: Some(unmatched), warning, ..empty }
        }
        Ok(Err(error)) => TableMatches { error: Some(error.report()), ..empty },
        Err(_) => {
            let error = format!("Athena took longer than {} s: request the status again", MAX_COUNT_TIME.as_secs());
            TableMatches { error: Some(error), ..empty }
        }
    }
}

async fn counts(env: &Environment, dataset: &Dataset, of: &Protected) -> Result<Option<(u64, u64)>> {
    let Some(query) = unmatched_query(env, of, &dataset.name).await? else { return Ok(None) };
    let answer = env.query.run_within(&of.table.database, &query, MAX_QUERY_TIME).await?;
    let number = |at: usize| answer.rows.first()?.get(at)?.as_deref()?.parse().ok();
    let (Some(out), Some(unmatched)) = (number(0), number(1)) else {
        return Err(Error::corrupt(format!("Athena didn't return two counts for {}: try again", of.table)));
    };
    Ok(Some((out, unmatched)))
}

/// Returns a condition for each table that, at the last count, had no row of anybody who opted out.
pub(super) async fn conditions(env: &Environment, dataset: &Dataset) -> Result<Vec<Condition>> {
    if dataset.protects.is_empty() {
        return Ok(Vec::new());
    }
    let Some(key) = key(env, dataset) else { return Ok(Vec::new()) };
    let Some(found) = env.record::<Matches>(&key).await? else { return Ok(Vec::new()) };
    let is_protected = |table: &TableMatches| dataset.protects.iter().any(|of| of.table.to_string() == table.table);
    let warned = found.tables.into_iter().filter(is_protected).filter_map(|table| Some((table.table, table.warning?)));
    Ok(warned
        .map(|(table, warning)| {
            let message = format!(
                "{warning}. Counted at {}; to count again, invoke flip with {{\"dataset\":{:?},\"action\":\"status\"}}",
                found.at, dataset.name
            );
            Condition::new(Topic::MatchNothing, format!("{}:{table}", dataset.name), message).since(Some(found.at))
        })
        .collect())
}

fn key(env: &Environment, dataset: &Dataset) -> Option<Key> {
    let Place::S3(datasets) = &env.datasets else { return None };
    let stack = environment::optional("STACK").unwrap_or_else(|| "default".into());
    Some(Key { bucket: datasets.bucket.clone(), key: format!("_stacks/{stack}/matches/{}.json", dataset.name) })
}
