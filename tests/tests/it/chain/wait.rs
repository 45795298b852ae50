//! Distinguishes a slow wait from a hopeless one, so that a failing test doesn't use up its whole patience.
//!
//! A wait is given up early only while the stack is idle: none of the test's invocations is unanswered, no message is
//! queued or in flight, no engine runs and no schedule has just fired. Then either the awaited thing has been refused
//! (a candidate was rejected or an export failed), or the stack has changed nothing for [`STANDSTILL`].

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt;
use serde_json::json;
use turntable::layout::{Generation, Key, Location, TablePaths};

use super::{Chain, PATIENCE, USERS, sqs, users};

/// How long an idle stack may stay unchanged before a wait is hopeless. An event is answered within a second or two if
/// the machine isn't busy.
const STANDSTILL: Duration = Duration::from_secs(30);
/// How often a wait looks for a reason to give up. Most waits end before the first look.
const INTERVAL: Duration = Duration::from_secs(2);
/// How many looks in a row must find the same refusal before a wait is hopeless.
const LOOKS: u32 = 3;
/// How long the stack counts as busy after the schedule was fired: the emulator checks for due schedules every ten
/// seconds.
const SCHEDULED: Duration = Duration::from_secs(20);

/// What a wait has found so far in its looks. In each look, it checks for a reason to give up.
pub struct Looks {
    next: Instant,
    /// A refusal, and how many looks in a row have found it.
    refused: Option<(String, u32)>,
    /// The state of the stack that every look since this time has found.
    unchanged: Option<(Trace, Instant)>,
}

/// Everything about a stack that an invocation may change: how many lines are logged, and the keys in the bucket.
#[derive(PartialEq)]
struct Trace {
    lines: usize,
    keys: Vec<String>,
}

impl Looks {
    pub fn new() -> Looks {
        Looks { next: Instant::now() + 2 * INTERVAL, refused: None, unchanged: None }
    }

    /// Returns why the wait is hopeless, or `None` if it isn't or if no look is due. `refusal` returns why the awaited
    /// thing was refused, if it was.
    pub async fn hopeless(&mut self, chain: &Chain, refusal: &impl AsyncFn() -> Option<String>) -> Option<String> {
        if Instant::now() < self.next {
            return None;
        }
        self.next = Instant::now() + INTERVAL;
        if chain.is_busy().await {
            (self.refused, self.unchanged) = (None, None);
            return None;
        }
        let looks =
            |why: &String| self.refused.as_ref().filter(|(before, _)| before == why).map_or(0, |(_, looks)| *looks);
        self.refused = refusal().await.map(|why| (why.clone(), looks(&why) + 1));
        if let Some((why, LOOKS..)) = &self.refused {
            return Some(format!("it was refused: {why}"));
        }
        let now = chain.trace().await;
        match &self.unchanged {
            Some((before, since)) if *before == now => (since.elapsed() > STANDSTILL)
                .then(|| format!("the stack is idle, and has changed nothing for {} s", STANDSTILL.as_secs())),
            _ => {
                self.unchanged = Some((now, Instant::now()));
                None
            }
        }
    }
}

impl Chain {
    /// Returns whether something is under way that may lead to what a test waits for.
    async fn is_busy(&self) -> bool {
        if self.unanswered() > 0 || self.fired_within(SCHEDULED) {
            return true;
        }
        for queue in ["ExportQueueUrl", "OptoutQueueUrl"] {
            if sqs::depth(self, &self.outputs[queue]).await != (0, 0) {
                return true;
            }
        }
        let keys = self.keys("").await;
        let mut runs = keys.iter().filter(|key| key.contains("/_pending/") && !key.ends_with(".failed.json"));
        runs.any(|run| {
            let ends = [run.replace(".json", ".failed.json"), run.replace("/_pending/", "/_manifests/")];
            !ends.iter().any(|end| keys.contains(end))
        })
    }

    async fn trace(&self) -> Trace {
        let mut lines = 0;
        for function in self.functions.keys() {
            lines += self.logs(function, 0).await.unwrap_or_else(|error| panic!("{error:#}")).len();
        }
        Trace { lines, keys: self.keys("").await }
    }

    /// Returns the log line that says why no location other than `before` goes live: `flip` has rejected the newest
    /// candidate, or there is none and `export` has failed since `before` was built.
    pub async fn refusal(&self, table: &str, before: Option<&Location>) -> Option<String> {
        let paths = self.paths(table);
        let manifests = self.keys(&paths.manifests().prefix).await;
        let generation = |key: String| TablePaths::parse_manifest(&Key { bucket: self.bucket.clone(), key });
        let newest = manifests.into_iter().filter_map(generation).map(|(_, generation)| generation);
        let newest: Option<Generation> = newest.max_by_key(|generation| generation.ulid);
        if let Some(candidate) = newest.filter(|newest| before != Some(&paths.generation(newest))) {
            let refused = |outcome: &str| ["Rejected", "Stale", "Held"].contains(&outcome);
            let lines = self.lines("flip", "flip").await.into_iter();
            let mut lines = lines.filter(|line| line["candidate"] == candidate.to_string());
            return lines.find(|line| line["outcome"].as_str().is_some_and(refused)).map(|line| line.to_string());
        }
        let since = newest.map_or(0, |generation| turntable::layout::time_of(generation.ulid).as_millisecond());
        let lines = self.logs("export", since).await.unwrap_or_else(|error| panic!("{error:#}"));
        let mut fields = lines.into_iter().map(|mut line| line["fields"].take());
        let failed = fields.find(|fields| fields["message"] == "export failed" && fields["dataset"] == table);
        failed.map(|fields| fields.to_string())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_rejected_candidate_ends_early() {
    let chain = Chain::start(&format!("{USERS}checks = {{ min_rows = 50 }}\n")).await;
    chain.put("source/users/users.csv", users(10, 1)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    let started = Instant::now();
    let panic = AssertUnwindSafe(chain.next("users", None)).catch_unwind().await.unwrap_err();
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("it was refused: ") && text.contains("Rejected"), "{text}");
}
