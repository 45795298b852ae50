//! Carries out the flip that is in flight according to a group's record, forward or back. Any invocation that finds a
//! flip in flight resumes it: see the proof in [`super`].

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use tracing::{info, warn};

use super::{prepare::Ready, report::GroupFlipReport, store};
use crate::{
    environment::Environment,
    publish::{
        attempts::Attempts,
        audit::judge,
        canary::{self, Answered, Returned},
        commit::{commit, next_table},
        manifests::candidate,
        report::{Cause, Outcome},
        sql_checks::Scanned,
        table_state::{TableState, ensure_not_deleting},
        views,
    },
};
use turntable_core::{
    config::{Checks, Dataset, Group},
    decision::Live,
    error::{Error, Kind, Result},
    group::{Flipping, Member, Memory, Step},
    layout::Generation,
    port::Update,
    record::FlipOrigin,
    schema::Policy,
    table::TableChange,
};

/// The maximum number of tables that are moved concurrently.
const MAX_CONCURRENT_TABLES: usize = 16;

/// The number of unanswered attempts to move all tables forward after which the group is flipped back. An attempt is
/// unanswered if Glue or S3 doesn't answer.
const MAX_UNANSWERED: usize = 3;

/// Who finished a flip.
pub enum Settled {
    /// This invocation has finished it.
    Done(GroupFlipReport),
    /// Another invocation has finished it.
    ByOthers,
}

/// Finishes the group's flip in flight, forward or back. `ready` contains the moves that this invocation prepared
/// before it started the flip, by dataset. It is empty if another invocation started the flip.
pub async fn settle(env: &Environment, group: &Group<'_>, mut ready: BTreeMap<String, Ready>) -> Result<Settled> {
    let (mut target, mut unanswered, mut between) = (None, 0, None);
    let mut attempts = Attempts::on(group.name.record());
    loop {
        attempts.begin()?;
        let found = store::read(env, group.name).await?;
        let flipping = found.record.flipping.clone().filter(|now| target.as_ref().is_none_or(|to| *to == now.to));
        let Some(flipping) = flipping else { return Ok(Settled::ByOthers) };
        target = Some(flipping.to.clone());
        let flip = GroupFlip { env, group, flipping: &flipping };
        if flipping.back.is_some() {
            let left = flip.go_back().await?;
            let record = found.record.gone_back(env.clock.now(), &left);
            if found.replace(env, group.name, &record).await? {
                let why = record.went_back.map(|back| back.why).unwrap_or_default();
                let reason = format!("group {} was flipped back to its state before this flip: {why}", group.name);
                let ended = GroupFlipReport::unchanged(Outcome::Rejected, Some(flipping.to.run), vec![reason]);
                return Ok(Settled::Done(GroupFlipReport { between, ..ended.with_live(env, group).await? }));
            }
            continue;
        }
        let failed = match flip.forward(std::mem::take(&mut ready), &mut between).await? {
            Forward::All(looks) => {
                let canaries = flip.canaries(looks).await?;
                if canaries.failed.is_empty() {
                    let record = found.record.flipped(env.clock.now(), memory(group));
                    if found.replace(env, group.name, &record).await? {
                        info!(group = %group.name, run = %flipping.to.run, "all members of a group are live");
                        return Ok(Settled::Done(flip.done(canaries, between)));
                    }
                    continue;
                }
                canaries.failed.join("; ")
            }
            Forward::LookAgain => continue,
            Forward::Unanswered(why) => {
                unanswered += 1;
                if unanswered < MAX_UNANSWERED {
                    continue;
                }
                why
            }
            Forward::Failed(why) => why,
        };
        warn!(group = %group.name, run = %flipping.to.run, why = failed, "a group's flip is being reverted");
        // If another invocation was first to replace the record, the next attempt reads the new one.
        found.replace(env, group.name, &found.record.turned(failed)).await?;
    }
}

/// Returns the limits on how long the group's record keeps earlier sets. Each is the largest value among the members.
fn memory(group: &Group<'_>) -> Memory {
    let retain = || group.members.iter().map(|member| member.retain);
    Memory {
        sets: retain().map(|retain| retain.generations).max().unwrap_or_default(),
        drain: retain().map(|retain| retain.drain).max().unwrap_or_default(),
    }
}

/// The result of moving all tables forward.
enum Forward<'a> {
    /// All tables are at their targets. Has each table's state, read after the last table was moved.
    All(Vec<(&'a Dataset, &'a Member, TableState)>),
    /// Another writer has changed a table or the group's record: reload and retry.
    LookAgain,
    /// Glue or S3 didn't answer. Has a message that names the tables.
    Unanswered(String),
    /// The flip can't be carried out. Has the reasons.
    Failed(String),
}

/// The results of the members' canaries.
#[derive(Default)]
struct Canaries {
    /// The messages from canaries that failed.
    failed: Vec<String>,
    /// The messages from canaries that got no answer.
    notes: Vec<String>,
    checks: Vec<Scanned>,
}

/// A flip in flight, as described in the group's record.
struct GroupFlip<'a> {
    env: &'a Environment,
    group: &'a Group<'a>,
    flipping: &'a Flipping,
}

impl<'a> GroupFlip<'a> {
    /// Returns the members in the flip, each with its current configuration. Fails with a message if one of them has
    /// left the group.
    fn members(&self) -> Result<Vec<(&'a Dataset, &'a Member)>, String> {
        let of = |(name, member): (&String, &'a Member)| {
            let dataset = self.group.member(name);
            let dataset = dataset.ok_or_else(|| format!("{name} is no longer a member"))?;
            // The record is trusted only if it names the members' own generations.
            if member.location != dataset.paths.generation(&member.generation) {
                return Err(format!(
                    "the group's record says that {} of {name} is at {}, which is not the generation's location",
                    member.generation, member.location
                ));
            }
            Ok((dataset, member))
        };
        self.flipping.to.tables.iter().map(of).collect()
    }

    /// Moves all tables to their targets. Prepares a table first if it is missing from `ready`. The first attempt sets
    /// `between` to the time that it took.
    async fn forward(&self, mut ready: BTreeMap<String, Ready>, between: &mut Option<Duration>) -> Result<Forward<'a>> {
        let members = match self.members() {
            Ok(members) => members,
            Err(why) => return Ok(Forward::Failed(why)),
        };
        let moves =
            members.iter().map(|(dataset, member)| self.move_forward(dataset, member, ready.remove(&dataset.name)));
        let began = Instant::now();
        let moved: Vec<Result<bool>> =
            stream::iter(moves.collect::<Vec<_>>()).buffered(MAX_CONCURRENT_TABLES).collect().await;
        between.get_or_insert(began.elapsed());
        let (mut failed, mut unanswered, mut again) = (Vec::new(), Vec::new(), false);
        for (moved, (dataset, _)) in moved.into_iter().zip(&members) {
            match moved {
                Ok(there) => again |= !there,
                Err(error) => {
                    let why = format!("{}: {}", dataset.name, error.report());
                    if error.kind() == Kind::Unavailable { unanswered.push(why) } else { failed.push(why) }
                }
            }
        }
        if !failed.is_empty() {
            return Ok(Forward::Failed(failed.join("; ")));
        }
        if !unanswered.is_empty() {
            return Ok(Forward::Unanswered(unanswered.join("; ")));
        }
        if again {
            return Ok(Forward::LookAgain);
        }
        // If all tables are still at their targets after the last one was moved, all were live at the same time.
        let mut looks = Vec::new();
        for (dataset, member) in members {
            let loaded = TableState::at(self.env, dataset, &member.generation).await?;
            if self.step(dataset, &loaded) != Step::There {
                return Ok(Forward::LookAgain);
            }
            looks.push((dataset, member, loaded));
        }
        Ok(Forward::All(looks))
    }

    fn step(&self, dataset: &Dataset, loaded: &TableState) -> Step {
        self.flipping.step(&dataset.name, loaded.state.live.location(&dataset.paths).as_ref())
    }

    /// Moves one table to its target, if it is not there yet. Returns `false` if the table or the group's record has
    /// changed in the meantime: reload and retry.
    async fn move_forward(&self, dataset: &Dataset, member: &Member, ready: Option<Ready>) -> Result<bool> {
        let to = &self.flipping.to;
        let ready = match ready {
            Some(ready) => ready,
            None => {
                let loaded = TableState::at(self.env, dataset, &member.generation).await?;
                match self.step(dataset, &loaded) {
                    Step::There => return Ok(true),
                    Step::Move => {}
                    Step::Elsewhere => return Err(moved_by_others(dataset, &loaded)),
                }
                // The record must be read after the table's `VersionId`: see the proof in `mod.rs`.
                let now = store::read(self.env, self.group.name).await?.record.flipping;
                if now.as_ref() != Some(self.flipping) {
                    return Ok(false);
                }
                let goes_back = matches!(to.by, FlipOrigin::Rollback | FlipOrigin::Repair);
                let policy = if goes_back { dataset.schema.back() } else { dataset.schema };
                self::ready(self.env, dataset, member, loaded, policy).await?
            }
        };
        let Ready { candidate, loaded, input } = ready;
        let cause = Cause { by: to.by, why: to.why.clone(), request_id: to.request_id.clone() };
        Ok(commit(self.env, dataset, &candidate, loaded, input, &cause).await?.is_some())
    }

    /// Ensures that each member's flip has a record, and runs the canaries that are pending.
    async fn canaries(&self, looks: Vec<(&Dataset, &Member, TableState)>) -> Result<Canaries> {
        let mut canaries = Canaries::default();
        for (dataset, member, loaded) in looks {
            let last = loaded.recover(self.env, dataset).await?.or_else(|| loaded.last_flip());
            let Some(last) = last.filter(|(_, flip)| flip.to == member.generation) else { continue };
            let Some((answered, scanned)) = canary::ask(self.env, dataset, last).await? else { continue };
            let named = |message: String| format!("{}: {message}", dataset.name);
            canaries.checks.extend(scanned.map(|scanned| Scanned { check: named(scanned.check), ..scanned }));
            match answered {
                Answered::Passed => {}
                Answered::NotAsked(message) => canaries.notes.push(named(message)),
                Answered::Failed(reason) => canaries.failed.push(named(reason)),
            }
        }
        Ok(canaries)
    }

    /// Moves back all tables that this flip has moved, and fences all tables that it hasn't moved yet, so that every
    /// `VersionId` that was read for this flip is stale.
    ///
    /// Returns a message for each table that can't be moved back.
    async fn go_back(&self) -> Result<Vec<String>> {
        let tables: Vec<_> =
            self.flipping.to.tables.iter().map(|(name, member)| self.move_back(name, member)).collect();
        // An error for one table must not stop the others from being moved back.
        let ended: Vec<_> = stream::iter(tables).buffered(MAX_CONCURRENT_TABLES).collect().await;
        let mut left = Vec::new();
        for (ended, name) in ended.into_iter().zip(self.flipping.to.tables.keys()) {
            left.extend(ended.map_err(|error| {
                let why = self.flipping.back.as_deref().unwrap_or_default();
                let text = format!(
                    "group {} is being flipped back ({why}), but {name} could not be moved back",
                    self.group.name
                );
                Error::new(error.kind(), text).caused_by(error)
            })?);
        }
        Ok(left)
    }

    async fn move_back(&self, name: &str, member: &Member) -> Result<Option<String>> {
        let Some(dataset) = self.group.member(name) else {
            return Ok(Some(format!("{name} is no longer a member, and stays as it is")));
        };
        if !self.flipping.moves(name) {
            return Ok(None);
        }
        let from = self.flipping.from.get(name).and_then(Option::as_ref);
        let cause = Cause { by: FlipOrigin::Group, why: self.flipping.back.clone(), request_id: self.env.request_id() };
        let mut attempts = Attempts::on(&dataset.table);
        loop {
            attempts.begin()?;
            let loaded = TableState::at(self.env, dataset, &self.oldest(dataset, member)).await?;
            match self.step(dataset, &loaded) {
                Step::Move => {
                    let before = Live::of(&dataset.paths, from);
                    match canary::return_to(self.env, dataset, loaded, &before, &cause).await? {
                        Returned::There(_) => return Ok(None),
                        Returned::Stays(why) => {
                            return Ok(Some(format!("{name} stays at {}: {why}", member.generation)));
                        }
                        Returned::LookAgain => {}
                    }
                }
                step => {
                    if fence(self.env, dataset, &loaded).await? {
                        let left = (step == Step::Elsewhere).then(|| moved_by_others(dataset, &loaded));
                        return Ok(left.map(|error| format!("{name}: {}", error.message())));
                    }
                }
            }
        }
    }

    /// Returns the older of the two generations between which the flip moves the table. The flip records since the
    /// start of that generation must be loaded.
    fn oldest(&self, dataset: &Dataset, member: &Member) -> Generation {
        let from = self.flipping.from.get(&dataset.name).and_then(Option::as_ref);
        let from = from.and_then(|from| dataset.paths.parse_generation(from));
        from.into_iter().fold(member.generation, |one, other| if other.ulid < one.ulid { other } else { one })
    }

    fn done(&self, canaries: Canaries, between: Option<Duration>) -> GroupFlipReport {
        let (mut live, mut previous) = (BTreeMap::new(), BTreeMap::new());
        for (name, member) in &self.flipping.to.tables {
            live.insert(name.clone(), Live::Managed(member.generation));
            if let Some(dataset) = self.group.member(name).filter(|_| self.flipping.moves(name)) {
                let from = self.flipping.from.get(name).and_then(Option::as_ref);
                previous.insert(name.clone(), Live::of(&dataset.paths, from));
            }
        }
        let ended = GroupFlipReport::unchanged(Outcome::Committed, Some(self.flipping.to.run), canaries.notes);
        GroupFlipReport { live, previous, checks: canaries.checks, between, ..ended }
    }
}

fn moved_by_others(dataset: &Dataset, loaded: &TableState) -> Error {
    let at = loaded.state.live.location(&dataset.paths).map_or_else(|| "gone".into(), |at| format!("at {at}"));
    Error::conflict(format!(
        "{} is {at}, where this flip did not put it: something outside Turntable changed it, so check the table",
        dataset.table
    ))
}

/// Audits only the structure of a member's generation, and returns everything that its `UpdateTable` needs. Fails with
/// `Rejected` if the audit fails.
///
/// The generation has already passed its checks: before this flip started or, for a rollback, before it first went
/// live.
pub async fn ready(
    env: &Environment,
    dataset: &Dataset,
    member: &Member,
    loaded: TableState,
    policy: Policy,
) -> Result<Ready> {
    ensure_not_deleting(env, dataset, &member.generation).await?;
    let candidate = candidate(env, dataset, &member.generation).await?;
    let input = next_table(dataset, &loaded, &candidate, policy);
    let mut reasons = judge(env, &candidate, &loaded, &Checks::default(), policy).await?.reasons();
    reasons.extend(views::against(env, dataset, &input).await?);
    if !reasons.is_empty() {
        return Err(Error::rejected(reasons.join("; ")));
    }
    Ok(Ready { candidate, loaded, input })
}

/// Fences the table, so that every `VersionId` that was read before is stale. Returns `false` if the fence may have
/// failed: reload and retry. A table that doesn't exist needs no fence.
async fn fence(env: &Environment, dataset: &Dataset, loaded: &TableState) -> Result<bool> {
    let Some(table) = loaded.table.as_ref().filter(|table| table.token.is_some()) else { return Ok(true) };
    match env.catalog.update(table, &TableChange::default()).await {
        Ok(sent) => Ok(sent == Update::Done),
        // Whether or not the update was made, the next attempt sends another one.
        Err(error) if error.kind() == Kind::Unavailable => {
            warn!(dataset = dataset.name, error = error.report(), "table not fenced yet");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
