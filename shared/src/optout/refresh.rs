//! One refresh: look → every unread drop → next generation → flip; again on the new live where somebody was faster.
//!
//! Round trips one after the other, from the nudge to the query that sees it, beside `datasets.toml`: the table, with
//! the inbox's listing; live's manifest; the unread drops, with the hold; the touched buckets, with the copies and the
//! flips; the new files; the manifest, with the audit's listing; `UpdateTable`. An inbox of nothing new ends after the
//! second.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::SignedDuration;

use super::{
    build::{self, Build},
    draft::{self, Draft},
};
use crate::{
    environment::World,
    publish::{self, Begun, Cause, Look, Outcome},
};
use turntable_core::{
    audit::{self, Evidence, Object},
    config::{Dataset, Inbox},
    decision::{self, Decision, Live, Who},
    error::{Error, Result},
    layout::Generation,
    manifest::Manifest,
    optout::consumed,
    port::{Entry, Put, Secrets, TokenSigner},
    record::By,
};
use turntable_sources::inbox::{self, ENOUGH, Read, Reader, reject};

/// Why a refresh runs.
#[derive(Clone, Default)]
pub struct Ask {
    /// Keep to the dataset's `min_interval`.
    pub patient: bool,
    /// Merge the whole of the dataset's `reconcile` source too.
    pub reconcile: bool,
    /// For a source to reconcile with.
    pub secrets: Option<Arc<dyn Secrets>>,
    pub iam: Option<Arc<dyn TokenSigner>>,
}

/// How a refresh ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    pub outcome: Outcome,
    /// What is live now, if it is ours.
    pub generation: Option<Generation>,
    /// Consumed by this refresh.
    pub drops: u64,
    /// Keys that are new or whose word has changed.
    pub applied: u64,
    pub rejected: u64,
    /// Of the live table; 0 where it is not known.
    pub rows: u64,
    pub reasons: Vec<String>,
    /// Drops that were left for the next refresh.
    pub left: u64,
    /// Whether there was no table before.
    pub created: bool,
    /// How long ago the oldest of the drops that were read was put: when they were live, or, where nothing went live, at
    /// the end.
    pub lag: Option<SignedDuration>,
    pub took: Took,
}

/// Where the time of a refresh went: of the last attempt, where there were several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Took {
    /// The table, live's manifest, the inbox's listing.
    pub look: Duration,
    /// The unread drops.
    pub read: Duration,
    /// Buckets: read, merged, written, copied.
    pub merge: Duration,
    /// The manifest and the audit.
    pub audit: Duration,
    /// `UpdateTable` and its record.
    pub flip: Duration,
}

/// How often a refresh begins again because somebody else has flipped meanwhile. Each time somebody got through.
const ATTEMPTS: u32 = 10;

/// Brings every unread drop into the live table. An error may leave a generation that is not live; nothing is lost,
/// and the next refresh has it all.
pub async fn refresh(world: &World, dataset: &Dataset, inbox: &Inbox, ask: &Ask) -> Result<Refreshed> {
    let mut ask = ask.clone();
    let mut before: Option<Refreshed> = None;
    let mut lost = 0;
    while lost < ATTEMPTS {
        let Some(mut done) = once(world, dataset, inbox, &ask).await? else {
            lost += 1;
            // Two that always meet would meet again.
            let pause = (world.clock.ulid().random() % 20) as u64 + 1;
            tokio::time::sleep(Duration::from_millis(pause * u64::from(lost))).await;
            continue;
        };
        if let Some(before) = before {
            if done.outcome != Outcome::Swapped {
                return Ok(before);
            }
            done.drops += before.drops;
            done.applied += before.applied;
            done.rejected += before.rejected;
            done.created |= before.created;
            done.lag = done.lag.max(before.lag);
        }
        if done.outcome != Outcome::Swapped || done.left == 0 {
            return Ok(done);
        }
        (ask.patient, ask.reconcile) = (false, false);
        before = Some(done);
    }
    Err(Error::conflict(format!("{}: somebody else flipped {ATTEMPTS} times meanwhile: run again", dataset.table)))
}

/// `None`: somebody else has flipped meanwhile.
async fn once(world: &World, dataset: &Dataset, inbox: &Inbox, ask: &Ask) -> Result<Option<Refreshed>> {
    let (as_of, began) = (world.clock.now(), Instant::now());
    let mut took = Took::default();
    let (begun, listed) =
        futures::try_join!(Begun::now(world, dataset), inbox::list(&*world.objects, &inbox.location))?;
    let base = begun.live_manifest.clone();
    if let (Live::Ours(live), None) = (&begun.live, &base) {
        return Err(Error::corrupt(format!("{}: live is {live}, which has no manifest", dataset.table)));
    }
    if begun.live == Live::NoTable {
        refuse_lost_table(world, dataset).await?;
    }
    let ended = |outcome, reasons| Refreshed {
        outcome,
        generation: begun.live.generation(),
        drops: 0,
        applied: 0,
        rejected: 0,
        rows: base.as_ref().map_or(0, |base| base.rows),
        reasons,
        left: 0,
        created: false,
        lag: None,
        took: Took::default(),
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

    took.look = began.elapsed();
    let key = draft::key(dataset, inbox, begun.table.as_ref())?;
    let reader = Reader { key: key.clone(), now: as_of, spill: Arc::default() };
    let (found, live) = (unread.len(), begun.live.clone());
    let unchanged = ended(Outcome::Held, Vec::new());
    let (hold, (mut news, reads), more) = futures::try_join!(
        begun.hold(world, dataset),
        inbox::read(&world.objects, &reader, unread, ENOUGH),
        draft::more(world, dataset, inbox, ask, &reader, &live, merged.is_some()),
    )?;
    took.read = began.elapsed() - took.look;
    let oldest = reads.iter().map(|read| read.put).min();
    let lag = || oldest.map(|oldest| world.clock.now().duration_since(oldest));
    if let Some(hold) = hold {
        return Ok(Some(Refreshed { reasons: vec![hold.reason], lag: lag(), ..unchanged }));
    }
    let generation = decision::next_merge(&dataset.home, &live, world.clock.ulid());
    decision::beside(&live, &dataset.home.generation(&generation))?;
    let draft = Draft { dataset, generation, as_of, key: &key, base: base.as_ref(), live: &live };

    news.extend(more.records);
    let news = news.whole()?;
    let base_merge = base.clone().filter(|base| base.merge.is_some());
    let build = Build {
        objects: world.objects.clone(),
        key: key.clone(),
        buckets: build::buckets(base_merge.as_ref(), inbox.buckets, news.len() as u64),
        base: base_merge,
        to: dataset.home.generation(&generation),
    };
    let buckets = build.buckets;
    let (look, built, ()) =
        futures::try_join!(begun.finish(world, dataset, None), build.run(news), write_rejects(world, inbox, &reads))?;
    let merged = began.elapsed();
    took.merge = merged - took.look - took.read;
    if publish::suspected(dataset, &look.state.live, &look.recorded()) {
        // A merge with an older table than the last one that was published would forget opt-outs.
        match publish::watch(world, dataset).await? {
            Some(ended) if ended.outcome == Outcome::Swapped => return Ok(None),
            Some(ended) => return Err(Error::conflict(ended.reasons.join("; "))),
            None => {}
        }
    }
    let candidate = draft.complete(built.files, buckets, &listed, &reads, world.clock.now());

    let (_, objects) = futures::try_join!(complete(world, dataset, &candidate), objects(world, &candidate))?;
    let reasons = verdict(world, dataset, &candidate, &objects, &look);
    let audited = began.elapsed();
    took.audit = audited - merged;
    if !reasons.is_empty() {
        return Ok(Some(Refreshed { outcome: Outcome::Rejected, reasons, lag: lag(), ..unchanged }));
    }
    let rejected = reads.iter().map(|read| read.rejects.count).sum::<u64>() + more.rejects.count;
    let done = Refreshed {
        outcome: Outcome::Swapped,
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
    Ok(flip(world, dataset, &candidate, look).await?.map(|outcome| match outcome {
        Flipped::Done => Refreshed { lag: lag(), took: Took { flip: began.elapsed() - audited, ..took }, ..done },
        Flipped::Held(reason) => Refreshed { reasons: vec![reason], lag: lag(), ..unchanged },
    }))
}

/// A table that was there and is gone is not begun anew: the drops that `sweep` has archived would be missing in it.
async fn refuse_lost_table(world: &World, dataset: &Dataset) -> Result<()> {
    match publish::flips(world, dataset, None).await?.pop() {
        None => Ok(()),
        Some((_, flip)) => Err(Error::conflict(format!(
            "{}: there is no such table, although the dataset has flipped: create it again with the location {}, or move \
             everything away that lies in {} and put the archived drops back into the inbox",
            dataset.table,
            dataset.home.generation(&flip.to),
            dataset.home.location()
        ))),
    }
}

/// Rejects that are written at the same time.
const AT_ONCE: usize = 16;

/// Before the manifest that consumes the drops: a reject is never lost. A run again writes nothing new.
async fn write_rejects(world: &World, inbox: &Inbox, reads: &[Read]) -> Result<()> {
    let files = reads.iter().filter_map(|read| {
        let json = read.rejects.to_json(&read.drop)?;
        let key = reject::key(&inbox.location, &read.drop);
        tracing::warn!(drop = read.drop.key, rejected = read.rejects.count, at = %key, "records rejected");
        Some((key, json))
    });
    stream::iter(files)
        .map(|(key, json)| async move { world.objects.put_new(&key, json.into()).await.map(drop) })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// With the manifest, and not before, there is a generation.
async fn complete(world: &World, dataset: &Dataset, candidate: &Manifest) -> Result<()> {
    let key = dataset.home.manifest(&candidate.generation);
    match world.objects.put_new(&key, candidate.to_json().into()).await? {
        Put::Created => Ok(()),
        Put::Exists => Err(Error::corrupt(format!("{key}: another run has used this run's name; run again"))),
    }
}

async fn objects(world: &World, candidate: &Manifest) -> Result<Vec<Object>> {
    let listed = world.objects.list(&candidate.location, None).await?;
    let object = |entry: Entry| Object {
        key: entry.key.key[candidate.location.prefix.len()..].to_owned(),
        bytes: entry.size,
        etag: entry.etag,
    };
    Ok(listed.into_iter().map(object).collect())
}

/// All of the audit but the footers: this process has just written the files, or copied them from audited ones by
/// their ETag. `flip` reads the footers too, should it come first.
fn verdict(world: &World, dataset: &Dataset, candidate: &Manifest, objects: &[Object], look: &Look) -> Vec<String> {
    let columns = look.table.as_ref().map(|table| table.columns.as_slice());
    audit::verdict(&Evidence {
        now: world.clock.now(),
        policy: dataset.schema,
        manifest: candidate,
        objects,
        footers: &[],
        table: columns,
        partition_keys: None,
        live_rows: look.live_manifest.as_ref().map(|live| live.rows),
        checks: &dataset.checks,
    })
    .reasons()
}

enum Flipped {
    Done,
    Held(String),
}

/// Makes the candidate live while its base is. `None`: the base is not live any more.
async fn flip(world: &World, dataset: &Dataset, candidate: &Manifest, mut look: Look) -> Result<Option<Flipped>> {
    let cause = Cause { by: By::Event, why: None };
    for attempt in 0..ATTEMPTS {
        match decision::flip(&dataset.home, candidate, &look.state, Who::Event)? {
            // This `VersionId` is younger than the audit: see the proof in `crate::sweep`.
            Decision::Flip if attempt > 0 => {
                publish::refuse_swept(world, dataset, &candidate.generation).await?;
                let objects = objects(world, candidate).await?;
                if !verdict(world, dataset, candidate, &objects, &look).is_empty() {
                    return Ok(None);
                }
            }
            Decision::Flip => {}
            // The manifest's event was faster, and by now the next one may be live.
            Decision::AlreadyLive => return Ok(Some(Flipped::Done)),
            Decision::Stale(_) if look.state.was_live(&candidate.generation) => return Ok(Some(Flipped::Done)),
            Decision::Stale(_) => return Ok(None),
            Decision::Held(hold) => return Ok(Some(Flipped::Held(hold.reason))),
        }
        let input = publish::next_table(dataset, &look, candidate, dataset.schema);
        if publish::swap(world, dataset, candidate, look, input, &cause).await?.is_some() {
            return Ok(Some(Flipped::Done));
        }
        look = Look::at(world, dataset, &candidate.generation).await?;
    }
    Ok(None)
}
