//! Refreshes an opt-out table: load the state → read all unread drops → build the next generation → flip. If the flip
//! loses a race, the refresh starts again from the new live generation.
//!
//! After it has read `datasets.toml`, a refresh makes these round trips one after another until queries see the drops.
//! The requests on one line run concurrently:
//!
//! 1. the table, with the beginning of the inbox's listing and its record of what it has published
//! 2. live's manifest
//! 3. the unread drops, with the hold
//! 4. the changed buckets, with the copies and the flip records
//! 5. the new files
//! 6. the manifest, with the audit's listing
//! 7. `UpdateTable`
//!
//! If the inbox has no unread drops, the refresh ends after the second round trip.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    build::{self, Build},
    candidate::{self, CandidateManifest},
    options::RefreshOptions,
    pace::Pace,
    refreshed::{Refreshed, Timings},
    returning::{self, HeldDrops, Recount},
    verify::{self, Damage},
    views::expect_fewer_files,
};
use crate::{
    environment::Environment,
    publish::{self, Attempt, Attempts, Audit, Cause, Outcome, TableHead, TableState, published, views},
};
use futures::{StreamExt, TryStreamExt, stream};
use turntable_core::{
    audit::Object,
    config::{Dataset, Inbox},
    consent::accepts::States,
    decision::{self, Live, Trigger},
    error::{Error, Result},
    manifest::Manifest,
    optout::consumed,
    record::FlipOrigin,
};
use turntable_sources::inbox::{self, Read, Reader, reject};

/// The number of lost races after which a refresh fails. In each lost race, another flip succeeded, so the table still
/// made progress.
const MAX_LOST_RACES: u32 = 10;

/// Merges all unread drops into the live table. If this fails, a generation that isn't live may be left behind, but no
/// drop is lost, because the next refresh reads all of them again.
pub async fn refresh(env: &Environment, dataset: &Dataset, inbox: &Inbox, ask: &RefreshOptions) -> Result<Refreshed> {
    let mut ask = ask.clone();
    let mut pace = Pace::new(env, inbox, &ask);
    let mut before: Option<Refreshed> = None;
    let mut attempts = Attempts::on(&dataset.table).at_most(MAX_LOST_RACES);
    loop {
        // What earlier rounds have published stays published. After an error, the message is redelivered for the
        // remaining drops.
        attempts.begin()?;
        let Some(mut done) = Box::pin(once(env, dataset, inbox, &ask, &pace)).await? else {
            // A random pause keeps two refreshes that raced with each other from racing again immediately.
            let pause = (env.clock.ulid().random() % 20) as u64 + 1;
            tokio::time::sleep(Duration::from_millis(pause * u64::from(attempts.lost() + 1))).await;
            continue;
        };
        if let Some(mut before) = before.take() {
            if done.outcome != Outcome::Committed {
                if done.held_back > 0 {
                    before.held_back = done.held_back;
                    before.reasons.extend(done.reasons);
                }
                return Ok(before);
            }
            done.returning += before.returning;
            done.bytes += before.bytes;
            done.drops += before.drops;
            done.applied += before.applied;
            done.rejected += before.rejected;
            done.views_outdated |= before.views_outdated;
            done.lag = done.lag.max(before.lag);
        }
        if done.outcome != Outcome::Committed || done.is_all() {
            return Ok(done);
        }
        if pace.is_enough(&done) {
            let more = if done.unlisted { "more than " } else { "" };
            done.reasons.push(format!("{more}{} drops are left for the next refresh", done.left));
            return Ok(done);
        }
        pace.add(&done);
        (ask.patient, ask.reconcile, ask.verify) = (false, false, false);
        before = Some(done);
        attempts = Attempts::on(&dataset.table).at_most(MAX_LOST_RACES);
    }
}

/// Makes one attempt. Returns `None` if the live generation has changed since it was read; the next attempt must then
/// start from the new one.
async fn once(
    env: &Environment,
    dataset: &Dataset,
    inbox: &Inbox,
    ask: &RefreshOptions,
    pace: &Pace,
) -> Result<Option<Refreshed>> {
    let (as_of, began) = (env.clock.now(), Instant::now());
    let mut took = Timings::default();
    let enough = pace.enough();
    let (head, mut listed, record, held_back) = futures::try_join!(
        TableHead::now(env, dataset),
        enough.first(env, inbox),
        published::read(env, &inbox.location),
        returning::read(env, dataset, inbox),
    )?;
    let base = head.live_manifest.clone();
    if let (Live::Managed(live), None) = (&head.live, &base) {
        let (table, manifest) = (&dataset.table, dataset.paths.manifest(live));
        return Err(Error::corrupt(format!("{table}: the live generation {live} has no manifest: restore {manifest}")));
    }
    if head.live == Live::NoTable && !may_create(env, dataset).await? {
        return Ok(None);
    }
    let rows = base.as_ref().map_or(0, |base| base.rows);
    let ended = |outcome, reasons| Refreshed {
        returning: 0,
        held_back: 0,
        bytes: 0,
        outcome,
        generation: head.live.generation(),
        drops: 0,
        applied: 0,
        rejected: 0,
        rows,
        reasons,
        left: 0,
        unlisted: false,
        views_outdated: false,
        lag: None,
        took: Timings::default(),
    };
    let key = candidate::key(dataset, inbox, head.table.as_ref())?;
    let mut damage = match base.as_ref().filter(|base| ask.verify && base.merge.is_some()) {
        Some(base) => verify::live(env, dataset, inbox, base).await?,
        None => Damage::default(),
    };
    let live_files = base.as_ref().filter(|base| base.merge.is_some()).map(|base| views::files_with_rows(&base.files));
    let live_columns = base.as_ref().map(|base| base.columns.clone());
    // The generation that the drops are merged into. It is live, unless live is damaged.
    let base = damage.rebuild_from.take().or(base);
    // If the key's configuration has changed, the keys in the buckets are outdated. Then all rows are read as records,
    // as for a table that isn't a merge yet.
    let merges_buckets = base.as_ref().is_some_and(|base| candidate::has_mergeable_buckets(base, inbox, &key));
    let held = held_back.as_ref().map_or(&[][..], |held| &held.drops);
    enough.more(env, inbox, &mut listed, (base.as_ref(), held, !damage.is_none())).await?;
    let mut unread = consumed::unread(&listed.drops, base.as_ref());
    let held_back = if ask.max_returning.is_some() { None } else { held_back };
    let held_back = HeldDrops::of(held_back.as_ref(), &unread);
    unread.retain(|(drop, _)| !held_back.drops.contains(drop));
    let elsewhere = published::elsewhere(env, dataset, record.as_ref(), base.as_ref(), &head.live).await?;
    if merges_buckets && unread.is_empty() && !ask.reconcile && elsewhere.is_empty() && damage.is_none() {
        // An inbox that has just been moved has no record yet. Sweep writes one, but only once an hour.
        if let (None, Some(base), true) = (&record, &base, ask.verify) {
            published::write(env, dataset, inbox, base).await?;
        }
        return Ok(Some(ended(Outcome::AlreadyLive, Vec::new()).with(dataset, inbox, &held_back)));
    }
    let waits = |base: &Manifest| as_of.duration_since(base.created_at) < inbox.min_interval;
    if ask.patient && damage.is_none() && base.as_ref().is_some_and(waits) {
        return Ok(Some(ended(Outcome::Waiting, Vec::new())));
    }

    took.load = began.elapsed();
    let normalize = inbox.normalize.clone();
    let reader = Reader { key: key.clone(), states: States::default(), normalize, now: as_of, spill: Arc::default() };
    let (found, live) = (unread.len(), head.live.clone());
    let unmerged = base.as_ref().map(|base| base.location.clone()).or_else(|| live.location(&dataset.paths));
    let unmerged = unmerged.filter(|_| !merges_buckets);
    // The people who are brought back can only be counted against live's buckets. So if there is a limit, records from
    // tables are merged in a round without drops, and the next round follows immediately.
    let only_tables = inbox.max_returning.is_some() && (unmerged.is_some() || !elsewhere.is_empty());
    if only_tables {
        unread.clear();
    }
    let unchanged = ended(Outcome::Held, Vec::new());
    let limits = pace.limits(inbox, ask);
    let (hold, (mut changes, reads), more) = futures::try_join!(
        head.hold(env, dataset),
        inbox::read(&env.objects, &reader, unread, &limits),
        candidate::more(env, dataset, inbox, ask, &reader, unmerged, &elsewhere),
    )?;
    took.read = began.elapsed() - took.load;
    let oldest = reads.iter().map(|read| read.put).min();
    let bytes = reads.iter().map(|read| read.size).sum();
    let lag = || oldest.map(|oldest| env.clock.now().duration_since(oldest));
    if let Some(hold) = hold {
        return Ok(Some(Refreshed { reasons: vec![hold.reason], lag: lag(), ..unchanged }));
    }
    let generation = decision::next_merge(&dataset.paths, &live, env.clock.ulid());
    decision::beside(&live, &dataset.paths.generation(&generation))?;
    let draft = CandidateManifest {
        dataset,
        inbox,
        generation,
        as_of,
        key: &key,
        base: base.as_ref(),
        live: &live,
        elsewhere: &elsewhere,
    };

    changes.extend(more.records);
    let changes = changes.ensure_complete()?;
    let base_merge = base.clone().filter(|_| merges_buckets);
    let build = Build {
        objects: env.objects.clone(),
        key: key.clone(),
        buckets: build::buckets(base_merge.as_ref(), inbox.buckets, changes.len() as u64),
        base: base_merge,
        to: dataset.paths.generation(&generation),
    };
    let buckets = build.buckets;
    // Only a refresh that holds drops back reads some of them again.
    let again = (!held_back.is_empty()).then(|| build.clone());
    let (loaded, built, ()) =
        futures::try_join!(head.finish(env, dataset, None), build.run(changes), write_rejects(env, inbox, &reads))?;
    let people = built.changed.returning;
    if let Some(bound) = returning::bound(inbox, ask, pace.returned).filter(|bound| people > *bound && !only_tables) {
        let recount = Recount { reader: &reader, limits: &limits, build: again, listed: &listed.drops };
        return Ok(match returning::hold_back(env, dataset, held_back, &reads, people, recount).await? {
            // The next round reads the other drops.
            Some(_) if ask.max_returning.is_none() => None,
            _ => Some(Refreshed { reasons: vec![returning::too_many(dataset, ask, people, bound)], ..unchanged }),
        });
    }
    let merged = began.elapsed();
    took.merge = merged - took.load - took.read;
    // If the inbox has published more through another table, this table's last generation lacks it. So this merge goes
    // live instead of that generation.
    if elsewhere.is_empty()
        && damage.is_none()
        && publish::drift_suspected(dataset, &loaded.state.live, &loaded.recorded())
    {
        // The table may have drifted. A merge into a generation older than the last published one would lose opt-outs.
        match publish::detect_and_repair(env, dataset).await? {
            Some(ended) if ended.outcome == Outcome::Committed => return Ok(None),
            Some(ended) => return Err(Error::conflict(ended.reasons.join("; "))),
            None => {}
        }
    }
    let candidate = draft.complete(built.files, buckets, &listed, &reads, env.clock.now());

    let unlisted = listed.last.is_some();
    let ((), listed) = futures::try_join!(
        publish::complete_new(env, dataset, &candidate),
        publish::objects(&env.objects, &candidate),
    )?;
    let audited = began.elapsed();
    took.audit = audited - merged;
    let rejected = reads.iter().map(|read| read.rejects.count).sum::<u64>() + more.rejects.count;
    let files = views::files_with_rows(&candidate.files);
    if let Some(optouts) = dataset.optouts().filter(|_| live_files > Some(files)) {
        expect_fewer_files(env, dataset, &optouts, files).await;
    }
    let done = Refreshed {
        outcome: Outcome::Committed,
        generation: Some(generation),
        drops: reads.len() as u64,
        applied: built.changed.keys,
        returning: people,
        held_back: 0,
        bytes,
        rejected,
        rows: candidate.rows,
        reasons: Vec::new(),
        left: (found - reads.len()) as u64,
        unlisted,
        views_outdated: live_files != Some(files) || live_columns.as_ref() != Some(&candidate.columns),
        lag: None,
        took,
    };
    let done = done.with(dataset, inbox, &held_back);
    // Boxed, because the future is large.
    Ok(match Box::pin(flip(env, dataset, &candidate, loaded, listed)).await? {
        MergeFlip::Done => {
            Some(Refreshed { lag: lag(), took: Timings { flip: began.elapsed() - audited, ..took }, ..done })
        }
        MergeFlip::Held(reason) => Some(Refreshed { reasons: vec![reason], lag: lag(), ..unchanged }),
        MergeFlip::Rejected(reasons) => {
            Some(Refreshed { outcome: Outcome::Rejected, reasons, lag: lag(), ..unchanged })
        }
        MergeFlip::LostBase => None,
    })
}

/// Returns whether the refresh may create the table. Returns `false` if another refresh has just created it. Fails if
/// the table existed before but is missing now, because a new table would lack the drops that `sweep` has archived.
async fn may_create(env: &Environment, dataset: &Dataset) -> Result<bool> {
    let Some((_, flip)) = publish::flips(env, dataset, None).await?.pop() else { return Ok(true) };
    if env.catalog.table(&dataset.table).await?.is_some() {
        return Ok(false);
    }
    Err(Error::conflict(format!(
        "{}: the table is missing, although the dataset has flipped before: create it again with the location {}, \
         or move everything out of {} and put the archived drops back into the inbox",
        dataset.table,
        dataset.paths.generation(&flip.to),
        dataset.paths.location()
    )))
}

/// The maximum number of files with rejected records that are written at the same time.
const MAX_CONCURRENT_PUTS: usize = 16;

/// Writes a file with the rejected records for each drop that has any. This happens before a manifest lists the drop as
/// consumed, so that no rejected record is lost. A retry doesn't overwrite existing files.
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

/// The outcome of a merge's flip.
enum MergeFlip {
    Done,
    Held(String),
    Rejected(Vec<String>),
    /// The generation that the merge is based on is no longer live, so the merge must be repeated.
    LostBase,
}

/// Makes the candidate live if its base is still live. `listed` are the candidate's objects, listed after the table was
/// read.
async fn flip(
    env: &Environment,
    dataset: &Dataset,
    candidate: &Manifest,
    mut loaded: TableState,
    listed: Vec<Object>,
) -> Result<MergeFlip> {
    let cause = Cause { by: FlipOrigin::Event, why: None, request_id: env.request_id() };
    let mut audit = Audit::JustWritten(Some(listed));
    let mut attempts = Attempts::on(&dataset.table).at_most(MAX_LOST_RACES);
    while attempts.begin().is_ok() {
        let by_event = (Trigger::Event, &cause);
        match publish::attempt(env, dataset, candidate, by_event, loaded, &mut audit).await? {
            // The manifest's event may have made the candidate live first, and a later generation may be live by now.
            Attempt::Committed(_) | Attempt::AlreadyLive(_) => return Ok(MergeFlip::Done),
            Attempt::Stale(_, now) if now.state.was_live(&candidate.generation) => return Ok(MergeFlip::Done),
            Attempt::Held(hold, _) => return Ok(MergeFlip::Held(hold.reason)),
            Attempt::Rejected(reasons, _) if attempts.lost() == 0 => {
                publish::verdict::write(env, dataset, &candidate.generation, &reasons).await;
                return Ok(MergeFlip::Rejected(reasons));
            }
            Attempt::Stale(..) | Attempt::Rejected(..) => return Ok(MergeFlip::LostBase),
            Attempt::LostRace => loaded = TableState::at(env, dataset, &candidate.generation).await?,
        }
    }
    Ok(MergeFlip::LostBase)
}
