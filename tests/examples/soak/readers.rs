//! Readers that query without a pause, and count what they see.

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    lake::Lake,
    oracle::{Question, Seen},
};

#[derive(Debug, Default)]
pub struct Tally {
    pub ok: u64,
    pub failed: u64,
    pub mixed: u64,
    pub came_back: u64,
    pub longest: Duration,
    /// The number of correct answers, by question.
    pub by_question: BTreeMap<Question, u64>,
    /// Descriptions of the first few faults that the readers saw.
    pub complaints: Vec<String>,
}

impl Tally {
    pub fn complain(&mut self, complaint: String) {
        if self.complaints.len() < 5 {
            self.complaints.push(complaint);
        }
    }

    pub fn add(mut self, other: Tally) -> Tally {
        self.ok += other.ok;
        self.failed += other.failed;
        self.mixed += other.mixed;
        self.came_back += other.came_back;
        self.longest = self.longest.max(other.longest);
        other
            .by_question
            .into_iter()
            .for_each(|(question, times)| *self.by_question.entry(question).or_default() += times);
        other.complaints.into_iter().for_each(|complaint| self.complain(complaint));
        self
    }
}

/// Asks one question after the other until the run ends, starting with the question that `number` selects.
pub async fn read(lake: &Lake, number: usize) -> Tally {
    let mut tally = Tally::default();
    for turn in number.. {
        let question = Question::ALL[turn % Question::ALL.len()];
        let acknowledged = lake.acknowledged.load(Ordering::SeqCst);
        let began = Instant::now();
        let answer = lake.rows(question.sql()).await;
        tally.longest = tally.longest.max(began.elapsed());
        match answer.map(|rows| question.judge(&rows, acknowledged)) {
            Ok(Seen::Whole) => {
                tally.ok += 1;
                *tally.by_question.entry(question).or_default() += 1;
            }
            Ok(Seen::Mixed(what)) => {
                tally.mixed += 1;
                tally.complain(what);
            }
            Ok(Seen::CameBack(what)) => {
                tally.came_back += 1;
                tally.complain(what);
            }
            Err(error) => {
                tally.failed += 1;
                tally.complain(format!("{question:?}: {error:#}"));
            }
        }
        if lake.is_over() {
            break;
        }
    }
    tally
}

/// How long [`read_late`] waits between listing files and reading them.
const LATE: Duration = Duration::from_secs(5);

/// Acts like a long query, again and again: lists the files of the live generation, and reads them later.
pub async fn read_late(lake: &Lake) -> Tally {
    let mut tally = Tally::default();
    while !lake.is_over() {
        match long(lake).await {
            Ok(()) => tally.ok += 1,
            Err(error) => {
                tally.failed += 1;
                tally.complain(format!("a long query: {error:#}"));
            }
        }
    }
    tally
}

async fn long(lake: &Lake) -> Result<()> {
    let table = lake.stack.glue.get_table().database_name("dmp").name("users").send().await?;
    let location = table.table.and_then(|table| table.storage_descriptor?.location).context("no location")?;
    let prefix = location.splitn(4, '/').nth(3).context("no location in S3")?.to_owned();
    let files = lake.stack.s3.list_objects_v2().bucket(&lake.stack.bucket).prefix(&prefix).send().await?;
    tokio::time::sleep(LATE).await;
    for file in files.contents() {
        let (key, etag) = (file.key().context("no key")?, file.e_tag().context("no ETag")?);
        let get = lake.stack.s3.get_object().bucket(&lake.stack.bucket).key(key).if_match(etag);
        get.send().await.with_context(|| format!("cannot read {key}, which existed {} s ago", LATE.as_secs()))?;
    }
    Ok(())
}
