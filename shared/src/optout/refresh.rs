//! One refresh: load the state → read every unread drop → build the next generation → flip. If the flip loses the race,
//! the refresh starts again on the new live generation.
//!
//! After `datasets.toml`, these round trips follow one after another, from the event to the query that sees the drop:
//!
//! 1. the table, with the inbox's listing
//! 2. live's manifest
//! 3. the unread drops, with the hold
//! 4. the changed buckets, with the copies and the flip records
//! 5. the new files
//! 6. the manifest, with the audit's listing
//! 7. `UpdateTable`
//!
//! A refresh of an inbox without unread drops ends after the second.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::SignedDuration;

use super::{
    build::{self, Build},
    candidate::{self, CandidateManifest},
};
use crate::{
    environment::Environment,
    publish::{self, Cause, Outcome, TableHead, TableState},
};
use turntable_core::{
    audit::{self, Evidence, Object},
    config::{Dataset, Inbox},
    decision::{self, Decision, Live, Trigger},
    error::{Error, Result},
    layout::Generation,
    manifest::Manifest,
    optout::consumed,
    port::{Entry, Put, Secrets, TokenSigner},
    record::FlipOrigin,
};
use turntable_sources::inbox::{self, ENOUGH, Read, Reader, reject};

/// The options of a refresh.
#[derive(Clone)]
pub struct RefreshOptions {
    /// End as waiting if live is younger than the dataset's `min_interval`.
    pub patient: bool,
    /// Also merge all records of the dataset's `reconcile` source.
    pub reconcile: bool,
    /// The number of records, approximately, after which a refresh leaves the remaining drops for its next attempt.
    pub max_records: usize,
    /// The secrets for the source to reconcile with.
    pub secrets: Option<Arc<dyn Secrets>>,
    pub iam: Option<Arc<dyn TokenSigner>>,
}

impl Default for RefreshOptions {
    fn default() -> Self {
        RefreshOptions { patient: false, reconcile: false, max_records: ENOUGH, secrets: None, iam: None }
    }
}

/// The result of a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    pub outcome: Outcome,
    /// The live generation now; `None` if live is unmanaged or there is no table.
    pub generation: Option<Generation>,
    /// The number of drops that this refresh consumed.
    pub drops: u64,
    /// The number of keys that are new or whose consent record changed.
    pub applied: u64,
    /// The number of records that were set aside.
    pub rejected: u64,
    /// The rows of the live table; 0 if unknown.
    pub rows: u64,
    pub reasons: Vec<String>,
    /// The number of drops that remain for the next refresh.
    pub left: u64,
    /// Whether this refresh created the table.
    pub created: bool,
    /// The age of the oldest drop that was read, when the drops went live, or at the end if nothing went live.
    pub lag: Option<SignedDuration>,
    pub took: Timings,
}

/// The durations of a refresh's steps, in its last attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Loading the table, live's manifest and the inbox's listing.
    pub loaded: Duration,
    /// Reading the unread drops.
    pub read: Duration,
    /// Reading, merging, writing and copying the buckets.
    pub merge: Duration,
    /// Writing the manifest, and the audit.
    pub audit: Duration,
    /// `UpdateTable` and the flip record.
    pub flip: Duration,
}

/// How many times a refresh retries after it has lost the race to another flip. Each time, the other flip succeeded.
const MAX_ATTEMPTS: u32 = 10;

/// Brings every unread drop into the live table. An error may leave a generation that is not live, but no drop is lost:
/// the next refresh reads all of them again.
pub async fn refresh(env: &Environment, dataset: &Dataset, inbox: &Inbox, ask: &RefreshOptions) -> Result<Refreshed> {
    let mut ask = ask.clone();
    let mut before: Option<Refreshed> = None;
    let mut lost = 0;
    while lost < MAX_ATTEMPTS {
        let Some(mut done) = once(env, dataset, inbox, &ask).await? else {
            lost += 1;
            // A random pause, so that two refreshes that race don't race again at once.
            let pause = (env.clock.ulid().random() % 20) as u64 + 1;
            tokio::time::sleep(Duration::from_millis(pause * u64::from(lost))).await;
            continue;
        };
        if let Some(before) = before {
            if done.outcome != Outcome::Committed {
                return Ok(before);
            }
            done.drops += before.drops;
            done.applied += before.applied;
            done.rejected += before.rejected;
            done.created |= before.created;
            done.lag = done.lag.max(before.lag);
        }
        if done.outcome != Outcome::Committed || done.left == 0 {
            return Ok(done);
        }
        (ask.patient, ask.reconcile) = (false, false);
        before = Some(done);
    }
    Err(Error::conflict(format!("{}: lost the race to other flips {MAX_ATTEMPTS} times: run again", dataset.table)))
}

/// Makes one attempt. Returns `None` if it lost the race to another flip.
async fn once(env: &Environment, dataset: &Dataset, inbox: &Inbox, ask: &RefreshOptions) -> Result<Option<Refreshed>> {
    let (as_of, began) = (env.clock.now(), Instant::now());
    let mut took = Timings::default();
    let (head, listed) = futures::try_join!(TableHead::now(env, dataset), inbox::list(&*env.objects, &inbox.location))?;
    let base = head.live_manifest.clone();
    if let (Live::Managed(live), None) = (&head.live, &base) {
        return Err(Error::corrupt(format!("{}: the live generation {live} has no manifest", dataset.table)));
    }
    if head.live == Live::NoTable {
        refuse_lost_table(env, dataset).await?;
    }
    let ended = |outcome, reasons| Refreshed {
        outcome,
        generation: head.live.generation(),
        drops: 0,
        applied: 0,
        rejected: 0,
        rows: base.as_ref().map_or(0, |base| base.rows),
        reasons,
        left: 0,
        created: false,
        lag: None,
        took: Timings::default(),
    };
    let merged = base.as_ref().and_then(|base| base.merge.as_ref());
    let unread = consumed::unread(&listed, base.as_ref());
    if merged.is_some() && unread.is_empty() && !ask.reconcile {
        return Ok(Some(ended(Outcome::AlreadyLive, Vec::new())));
    }
    let waits = |base: &Manifest| as_of.duration_since(base.created_at) < inbox.min_interval;
    if ask.patient && base.as_ref().is_some_and(waits) {
        return Ok(Some(ended(Outcome::Waiting, Vec::new())));
    }

    took.loaded = began.elapsed();
    let key = candidate::key(dataset, inbox, head.table.as_ref())?;
    let reader = Reader { key: key.clone(), now: as_of, spill: Arc::default() };
    let (found, live) = (unread.len(), head.live.clone());
    let unchanged = ended(Outcome::Held, Vec::new());
    let (hold, (mut changes, reads), more) = futures::try_join!(
        head.hold(env, dataset),
        inbox::read(&env.objects, &reader, unread, ask.max_records),
        candidate::more(env, dataset, inbox, ask, &reader, &live, merged.is_some()),
    )?;
    took.read = began.elapsed() - took.loaded;
    let oldest = reads.iter().map(|read| read.put).min();
    let lag = || oldest.map(|oldest| env.clock.now().duration_since(oldest));
    if let Some(hold) = hold {
        return Ok(Some(Refreshed { reasons: vec![hold.reason], lag: lag(), ..unchanged }));
    }
    let generation = decision::next_merge(&dataset.paths, &live, env.clock.ulid());
    decision::beside(&live, &dataset.paths.generation(&generation))?;
    let draft = CandidateManifest { dataset, generation, as_of, key: &key, base: base.as_ref(), live: &live };

    changes.extend(more.records);
    let changes = changes.whole()?;
    let base_merge = base.clone().filter(|base| base.merge.is_some());
    let build = Build {
        objects: env.objects.clone(),
        key: key.clone(),
        buckets: build::buckets(base_merge.as_ref(), inbox.buckets, changes.len() as u64),
        base: base_merge,
        to: dataset.paths.generation(&generation),
    };
    let buckets = build.buckets;
    let (loaded, built, ()) =
        futures::try_join!(head.finish(env, dataset, None), build.run(changes), write_rejects(env, inbox, &reads))?;
    let merged = began.elapsed();
    took.merge = merged - took.loaded - took.read;
    if publish::drift_suspected(dataset, &loaded.state.live, &loaded.recorded()) {
        // The table may have drifted. A merge on an older generation than the last published one would forget opt-outs.
        match publish::detect_and_repair(env, dataset).await? {
            Some(ended) if ended.outcome == Outcome::Committed => return Ok(None),
            Some(ended) => return Err(Error::conflict(ended.reasons.join("; "))),
            None => {}
        }
    }
    let candidate = draft.complete(built.files, buckets, &listed, &reads, env.clock.now());

    let (_, objects) = futures::try_join!(complete(env, dataset, &candidate), objects(env, &candidate))?;
    let reasons = verdict(env, dataset, &candidate, &objects, &loaded);
    let audited = began.elapsed();
    took.audit = audited - merged;
    if !reasons.is_empty() {
        return Ok(Some(Refreshed { outcome: Outcome::Rejected, reasons, lag: lag(), ..unchanged }));
    }
    let rejected = reads.iter().map(|read| read.rejects.count).sum::<u64>() + more.rejects.count;
    let done = Refreshed {
        outcome: Outcome::Committed,
        generation: Some(generation),
        drops: reads.len() as u64,
        applied: built.applied,
        rejected,
        rows: candidate.rows,
        reasons: Vec::new(),
        left: (found - reads.len()) as u64,
        created: live == Live::NoTable,
        lag: None,
        took,
    };
    Ok(flip(env, dataset, &candidate, loaded).await?.map(|outcome| match outcome {
        Flipped::Done => Refreshed { lag: lag(), took: Timings { flip: began.elapsed() - audited, ..took }, ..done },
        Flipped::Held(reason) => Refreshed { reasons: vec![reason], lag: lag(), ..unchanged },
    }))
}

/// Returns an error if the table existed and is missing now. A new table would lack the drops that `sweep` has
/// archived.
async fn refuse_lost_table(env: &Environment, dataset: &Dataset) -> Result<()> {
    match publish::flips(env, dataset, None).await?.pop() {
        None => Ok(()),
        Some((_, flip)) => Err(Error::conflict(format!(
            "{}: the table is missing, although the dataset has flipped before: create it again with the location {}, \
             or move everything out of {} and put the archived drops back into the inbox",
            dataset.table,
            dataset.paths.generation(&flip.to),
            dataset.paths.location()
        ))),
    }
}

/// How many files of rejected records are written at the same time.
const MAX_CONCURRENT_PUTS: usize = 16;

/// Writes the rejected records of each drop, before the manifest that lists the drop as consumed, so that no rejected
/// record is lost. A retry writes nothing new.
async fn write_rejects(env: &Environment, inbox: &Inbox, reads: &[Read]) -> Result<()> {
    let files = reads.iter().filter_map(|read| {
        let json = read.rejects.to_json(&read.drop)?;
        let key = reject::key(&inbox.location, &read.drop);
        tracing::warn!(drop = read.drop.key, rejected = read.rejects.count, at = %key, "records rejected");
        Some((key, json))
    });
    stream::iter(files)
        .map(|(key, json)| async move { env.objects.put_new(&key, json.into()).await.map(drop) })
        .buffer_unordered(MAX_CONCURRENT_PUTS)
        .try_collect()
        .await
}

/// Writes the manifest, which completes the generation.
async fn complete(env: &Environment, dataset: &Dataset, candidate: &Manifest) -> Result<()> {
    let key = dataset.paths.manifest(&candidate.generation);
    match env.objects.put_new(&key, candidate.to_json().into()).await? {
        Put::Created => Ok(()),
        Put::Exists => Err(Error::corrupt(format!("{key}: this generation already exists: run again"))),
    }
}

async fn objects(env: &Environment, candidate: &Manifest) -> Result<Vec<Object>> {
    let listed = env.objects.list(&candidate.location, None).await?;
    let object = |entry: Entry| Object {
        key: entry.key.key[candidate.location.prefix.len()..].to_owned(),
        bytes: entry.size,
        etag: entry.etag,
    };
    Ok(listed.into_iter().map(object).collect())
}

/// Runs the audit without the footers, because this process has just written the files, or copied them from audited
/// files on the condition of their ETags. If the `flip` function handles the manifest's event first, it reads the
/// footers too.
fn verdict(
    env: &Environment,
    dataset: &Dataset,
    candidate: &Manifest,
    objects: &[Object],
    loaded: &TableState,
) -> Vec<String> {
    let columns = loaded.table.as_ref().map(|table| table.columns.as_slice());
    audit::verdict(&Evidence {
        now: env.clock.now(),
        policy: dataset.schema,
        manifest: candidate,
        objects,
        footers: &[],
        table: columns,
        partition_keys: None,
        live_rows: loaded.live_manifest.as_ref().map(|live| live.rows),
        checks: &dataset.checks,
    })
    .reasons()
}

enum Flipped {
    Done,
    Held(String),
}

/// Makes the candidate live if its base is still live. Returns `None` if the base is no longer live.
async fn flip(
    env: &Environment,
    dataset: &Dataset,
    candidate: &Manifest,
    mut loaded: TableState,
) -> Result<Option<Flipped>> {
    let cause = Cause { by: FlipOrigin::Event, why: None };
    for attempt in 0..MAX_ATTEMPTS {
        match decision::flip(&dataset.paths, candidate, &loaded.state, Trigger::Event)? {
            // This `VersionId` was read after the audit, so the audit must be repeated: see the proof in
            // `crate::sweep`.
            Decision::Flip if attempt > 0 => {
                publish::ensure_not_deleting(env, dataset, &candidate.generation).await?;
                let objects = objects(env, candidate).await?;
                if !verdict(env, dataset, candidate, &objects, &loaded).is_empty() {
                    return Ok(None);
                }
            }
            Decision::Flip => {}
            // The manifest's event made the candidate live first, and by now a later generation may be live.
            Decision::AlreadyLive => return Ok(Some(Flipped::Done)),
            Decision::Stale(_) if loaded.state.was_live(&candidate.generation) => return Ok(Some(Flipped::Done)),
            Decision::Stale(_) => return Ok(None),
            Decision::Held(hold) => return Ok(Some(Flipped::Held(hold.reason))),
        }
        let input = publish::next_table(dataset, &loaded, candidate, dataset.schema);
        if publish::commit(env, dataset, candidate, loaded, input, &cause).await?.is_some() {
            return Ok(Some(Flipped::Done));
        }
        loaded = TableState::at(env, dataset, &candidate.generation).await?;
    }
    Ok(None)
}
