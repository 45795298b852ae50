//! The result of sweeping one dataset: its log line, its metrics, and its part of the answer.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};
use turntable_core::{
    config::{Dataset, Refresh, Source},
    layout::Generation,
    port::Unfinished,
    sweep::Plan,
};

use super::{
    act::Done,
    answer::{Item, Skipped, Swept},
    archive::Archived,
    contents::TableContents,
    environment::Limits,
};
use crate::metric::{Metric, emit, emit_for_stack};

#[derive(Default)]
pub struct Report {
    dataset: String,
    skipped: Option<String>,
    deleted: Vec<Item>,
    kept: Vec<Item>,
    generations: usize,
    objects: usize,
    /// The dataset's `retain.max_age`, in seconds.
    max_age: i64,
    /// Seconds since the earliest replacement of a generation that still exists. `None` if there is no such generation.
    oldest_replaced: Option<i64>,
    /// The live generation's age. `None` for an inbox, or if live is unmanaged.
    live: Option<LiveAge>,
    /// Drops that were moved to the archive. `None` if none were.
    archived: Option<Item>,
    more: bool,
}

impl Report {
    /// Returns the report on a dataset that was skipped for `reason`.
    pub fn skipped(dataset: &Dataset, now: Timestamp, loaded: &TableContents, reason: String) -> Report {
        let live = live_age(dataset, now, loaded);
        Report { dataset: dataset.name.clone(), skipped: Some(reason), live, ..Report::default() }
    }

    /// Returns the report for a dry run: what a sweep would do.
    pub fn planned(
        dataset: &Dataset,
        now: Timestamp,
        loaded: &TableContents,
        plan: &Plan,
        uploads: &[Unfinished],
    ) -> Report {
        let objects = plan.go.iter().map(|(generation, _)| loaded.state.generations[generation].objects.len()).sum();
        let all = Done { generations: plan.go.len(), objects, more: false };
        Report::done(dataset, now, loaded, plan, uploads, &all)
    }

    /// Returns the report for a sweep: what it has done.
    pub fn done(
        dataset: &Dataset,
        now: Timestamp,
        loaded: &TableContents,
        plan: &Plan,
        uploads: &[Unfinished],
        done: &Done,
    ) -> Report {
        let paths = &dataset.paths;
        let item = |location: String, reason: String, objects: u64, bytes: u64| Item {
            dataset: dataset.name.clone(),
            location,
            reason,
            objects,
            bytes,
            until: None,
        };
        let generation = |generation: &Generation, reason: String| {
            let found = &loaded.state.generations[generation];
            item(paths.generation(generation).to_string(), reason, found.objects.len() as u64, found.bytes)
        };
        let gone = plan.go.iter().take(done.generations);
        let mut deleted: Vec<Item> = gone.map(|(name, reason)| generation(name, reason.to_string())).collect();
        if !plan.records.is_empty() {
            let reason = "flip records of generations that were deleted long ago";
            deleted.push(item(paths.flips().to_string(), reason.into(), plan.records.len() as u64, 0));
        }
        deleted.extend(uploads.iter().map(|upload| {
            item(upload.key.to_string(), format!("an unfinished upload, started at {}", upload.initiated), 0, 0)
        }));
        let kept = plan.kept.iter();
        let mut kept: Vec<Item> = kept
            .map(|kept| Item { until: kept.until, ..generation(&kept.generation, kept.reason.to_string()) })
            .collect();
        let (objects, bytes) = loaded.unknown;
        if objects > 0 {
            kept.push(item(paths.location().to_string(), "unmanaged: never deleted".into(), objects, bytes));
        }
        Report {
            dataset: dataset.name.clone(),
            skipped: None,
            deleted,
            kept,
            generations: done.generations,
            objects: done.objects,
            max_age: dataset.retain.max_age.as_secs(),
            oldest_replaced: plan.oldest_replaced.map(|at| now.duration_since(at).as_secs()),
            live: live_age(dataset, now, loaded),
            archived: None,
            more: done.more,
        }
    }

    /// Adds the drops that were moved to the archive or, in a dry run, would be moved.
    pub fn with_archived(self, dataset: &Dataset, archived: Archived) -> Report {
        let Source::Inbox(inbox) = &dataset.source else { return self };
        let item = (archived.drops > 0).then(|| Item {
            dataset: dataset.name.clone(),
            location: inbox.location.to_string(),
            reason: "drops that have been in the table for longer than drain".into(),
            objects: archived.drops,
            bytes: archived.bytes,
            until: None,
        });
        Report { archived: item, more: self.more || archived.more, ..self }
    }

    fn metrics(&self, bytes: u64) -> Vec<(Metric, f64)> {
        let beyond = |oldest: i64| (oldest - self.max_age).max(0);
        let oldest = self.oldest_replaced.unwrap_or(0);
        let swept = [
            (Metric::SweptBytes, bytes as f64),
            (Metric::OldestReplaced, oldest as f64),
            (Metric::BeyondMaxAge, beyond(oldest) as f64),
        ];
        let swept = swept.into_iter().filter(|_| self.skipped.is_none());
        self.live.map(|live| (Metric::LiveAge, live.age as f64)).into_iter().chain(swept).collect()
    }

    /// Logs the report, emits its metrics unless it is a dry run, and adds it to the answer.
    pub fn log_and_add(self, now: Timestamp, limits: &Limits, swept: &mut Swept, took: Duration) {
        let bytes: u64 = self.deleted.iter().map(|item| item.bytes).sum();
        let (dry_run, seconds) = (swept.dry_run, took.as_secs_f64());
        let metrics = self.metrics(bytes);
        if !dry_run && !metrics.is_empty() {
            emit(now, &self.dataset, &metrics);
        }
        if let Some(live) = self.live.filter(|_| !dry_run) {
            emit_for_stack(now, &self.dataset, &[(Metric::LiveOverdue, live.overdue(limits) as f64)]);
        }
        match self.skipped {
            Some(reason) => {
                warn!(dataset = self.dataset, dry_run, skipped = reason, seconds, "sweep");
                swept.skipped.push(Skipped { dataset: self.dataset, reason, error: None });
            }
            None => info!(
                dataset = self.dataset,
                dry_run,
                generations = self.generations,
                objects = self.objects,
                bytes,
                kept = self.kept.len(),
                archived = self.archived.as_ref().map_or(0, |item| item.objects),
                oldest_replaced_seconds = self.oldest_replaced,
                more = self.more,
                seconds,
                "sweep"
            ),
        }
        swept.bytes += bytes;
        swept.more |= self.more;
        swept.deleted.extend(self.deleted);
        swept.kept.extend(self.kept);
        swept.archived.extend(self.archived);
    }
}

/// The live generation's age, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LiveAge {
    age: i64,
    /// The age above which the live generation is overdue. `None` if the stack's schedule refreshes the dataset.
    allowed: Option<i64>,
}

impl LiveAge {
    /// Returns by how many seconds the live generation is older than allowed, or 0.
    fn overdue(self, limits: &Limits) -> i64 {
        (self.age - self.allowed.unwrap_or(limits.live_age.as_secs())).max(0)
    }
}

/// Returns the age of the live generation's snapshot. `None` for an inbox, or if live is unmanaged. An opt-out table
/// gets older only because no drop arrives, which is not a problem. For inboxes there is the metric `OptoutLag`
/// instead.
fn live_age(dataset: &Dataset, now: Timestamp, loaded: &TableContents) -> Option<LiveAge> {
    let scheduled = !matches!(dataset.source, Source::Inbox(_));
    let live = loaded.live_manifest.as_ref().filter(|_| scheduled)?;
    age(dataset.refresh.as_ref(), live.snapshot_at(), now)
}

/// How late a refresh may be, however long its interval is.
const MAX_DELAY: SignedDuration = SignedDuration::from_hours(24);

/// Returns the age of a snapshot. If the dataset has schedules of its own, the age counts from the first due time after
/// the snapshot, so that a table that is due once a month isn't overdue before. The allowed age is then the time to the
/// following due time, but at most a day. `None` if the dataset is refreshed only by hand, after its inputs or by puts.
fn age(refresh: Option<&Refresh>, snapshot: Timestamp, now: Timestamp) -> Option<LiveAge> {
    let Some(refresh) = refresh else {
        return Some(LiveAge { age: now.duration_since(snapshot).as_secs(), allowed: None });
    };
    if refresh.schedules.is_empty() {
        return None;
    }
    let due = refresh.next(snapshot).unwrap_or(now);
    let interval = refresh.next(due).map_or(MAX_DELAY, |next| next.duration_since(due));
    let age = now.duration_since(due.min(now)).as_secs();
    Some(LiveAge { age, allowed: Some(interval.min(MAX_DELAY).as_secs()) })
}

#[cfg(test)]
mod tests {
    use turntable_core::config::Config;

    use super::*;

    #[test]
    fn the_age_counts_from_the_first_due_time_that_live_has_missed() {
        let age = |refresh: &str, snapshot: &str, now: &str| {
            let text = format!(
                "[datasets.a]\ndatabase = \"d\"\nlocation = \"s3://lake/s\"\n{refresh}\n\
                 source.files = {{ location = \"s3://lake/in/\" }}\n"
            );
            let config = Config::parse("f", &text).unwrap();
            let refresh = config.dataset("a").unwrap().refresh.clone();
            let age = super::age(refresh.as_ref(), snapshot.parse().unwrap(), now.parse().unwrap());
            age.map(|live| (live.age, live.overdue(&Limits::default())))
        };
        let (noon, evening, hour) = ("2026-11-30T12:00:00Z", "2026-11-30T18:00:00Z", 3600);
        for (refresh, snapshot, expected) in [
            ("", noon, Some((6 * hour, 0))),
            ("", "2026-11-29T12:00:00Z", Some((30 * hour, 4 * hour))),
            ("refresh = \"rate(1 hour)\"", noon, Some((5 * hour, 4 * hour))),
            ("refresh = \"rate(1 hour)\"", "2026-11-30T16:00:01Z", Some((hour, 0))),
            ("refresh = \"rate(5 minutes)\"", "2026-11-30T17:30:00Z", Some((1500, 1200))),
            ("refresh = \"cron(0 0 1 * ? *)\"", "2026-11-05T00:00:00Z", Some((0, 0))),
            (
                "refresh = \"cron(0 0 1 * ? *)\"",
                "2026-10-05T00:00:00Z",
                Some((30 * 24 * hour - 6 * hour, 29 * 24 * hour - 6 * hour)),
            ),
            ("refresh = \"at(2026-11-30T16:00:00)\"", noon, Some((2 * hour, 0))),
            ("refresh = \"at(2026-11-30T10:00:00)\"", noon, Some((0, 0))),
            ("refresh = \"manual\"", noon, None),
            ("refresh = { on_put = true }", noon, None),
            ("refresh = [{ on_put = true }, \"rate(1 hour)\"]", noon, Some((5 * hour, 4 * hour))),
        ] {
            assert_eq!(age(refresh, snapshot, evening), expected, "{refresh} {snapshot}");
        }
    }

    fn metric(report: &Report, name: Metric) -> Option<f64> {
        report.metrics(0).into_iter().find(|(metric, _)| *metric == name).map(|(_, value)| value)
    }

    #[test]
    fn beyond_max_age_is_the_time_that_the_oldest_replaced_generation_is_overdue() {
        let report = |oldest_replaced| Report { max_age: 3600, oldest_replaced, ..Report::default() };
        for (oldest, beyond) in [(None, 0.0), (Some(3600), 0.0), (Some(3601), 1.0), (Some(9000), 5400.0)] {
            assert_eq!(metric(&report(oldest), Metric::BeyondMaxAge), Some(beyond), "{oldest:?}");
        }
        assert_eq!(metric(&report(Some(9000)), Metric::OldestReplaced), Some(9000.0));
        let skipped = Report { skipped: Some("a hold".into()), ..report(Some(9000)) };
        assert_eq!(metric(&skipped, Metric::BeyondMaxAge), None, "a skipped dataset was not checked");
    }
}
