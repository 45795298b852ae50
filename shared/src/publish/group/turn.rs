//! Carries a flip of a group out that is on its record, forward or back. Whoever finds one does this, from wherever it was
//! left: see the proof in [`super`].

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use tracing::{info, warn};

use super::{Ended, prepare::Ready, store};
use crate::{
    environment::World,
    publish::{
        ATTEMPTS, Cause, Look, Outcome, Scanned, busy,
        canary::{self, Answered, Returned},
        candidate, judge, refuse_swept,
        swap::{next_table, swap},
    },
};
use turntable_core::{
    config::{Checks, Dataset, Group},
    decision::Live,
    error::{Error, Kind, Result},
    group::{Flipping, Member, Memory, Step},
    layout::Generation,
    port::Update,
    record::By,
    schema::Policy,
    table::TableChange,
};

/// Tables that are moved at the same time.
const AT_ONCE: usize = 16;

/// How often all is tried before a table that Glue does not move makes the group go back.
const PATIENCE: usize = 3;

pub enum Settled {
    Done(Ended),
    /// Somebody else has finished it.
    ByOthers,
}

/// Finishes what is under way. `ready` has what was prepared before it was begun.
pub async fn settle(world: &World, group: &Group<'_>, mut ready: BTreeMap<String, Ready>) -> Result<Settled> {
    let (mut mine, mut unanswered, mut between) = (None, 0, None);
    for _ in 0..ATTEMPTS {
        let found = store::read(world, group.name).await?;
        let flipping = found.record.flipping.clone().filter(|now| mine.as_ref().is_none_or(|to| *to == now.to));
        let Some(flipping) = flipping else { return Ok(Settled::ByOthers) };
        mine = Some(flipping.to.clone());
        let way = Way { world, group, flipping: &flipping };
        if flipping.back.is_some() {
            let left = way.back().await?;
            let record = found.record.gone_back(world.clock.now(), &left);
            if found.replace(world, group.name, &record).await? {
                let why = record.went_back.map(|back| back.why).unwrap_or_default();
                let told = format!("group {} went back to where it was: {why}", group.name);
                let ended = Ended::unchanged(Outcome::Rejected, Some(flipping.to.run), vec![told]);
                return Ok(Settled::Done(Ended { between, ..ended.with_live(world, group).await? }));
            }
            continue;
        }
        let failed = match way.forward(std::mem::take(&mut ready), &mut between).await? {
            Forward::All(looks) => {
                let canaries = way.canaries(looks).await?;
                if canaries.failed.is_empty() {
                    let record = found.record.flipped(world.clock.now(), memory(group));
                    if found.replace(world, group.name, &record).await? {
                        info!(group = %group.name, run = %flipping.to.run, "all members of a group are live");
                        return Ok(Settled::Done(way.done(canaries, between)));
                    }
                    continue;
                }
                canaries.failed.join("; ")
            }
            Forward::LookAgain => continue,
            Forward::Unanswered(why) => {
                unanswered += 1;
                if unanswered < PATIENCE {
                    continue;
                }
                why
            }
            Forward::Failed(why) => why,
        };
        warn!(group = %group.name, run = %flipping.to.run, why = failed, "a group goes back");
        // Should somebody else have written meanwhile, the next look tells what.
        found.replace(world, group.name, &found.record.turned(failed)).await?;
    }
    Err(store::busy(group.name))
}

/// What the members ask for.
fn memory(group: &Group<'_>) -> Memory {
    let retain = || group.members.iter().map(|member| member.retain);
    Memory {
        sets: retain().map(|retain| retain.generations).max().unwrap_or_default(),
        drain: retain().map(|retain| retain.drain).max().unwrap_or_default(),
    }
}

/// How far all tables have come.
enum Forward<'a> {
    /// They are there, by these looks.
    All(Vec<(&'a Dataset, &'a Member, Look)>),
    LookAgain,
    /// Glue or S3 did not answer.
    Unanswered(String),
    /// It cannot be.
    Failed(String),
}

#[derive(Default)]
struct Canaries {
    failed: Vec<String>,
    told: Vec<String>,
    checks: Vec<Scanned>,
}

struct Way<'a> {
    world: &'a World,
    group: &'a Group<'a>,
    flipping: &'a Flipping,
}

impl<'a> Way<'a> {
    /// The members of the flip, as they are configured now.
    fn members(&self) -> Result<Vec<(&'a Dataset, &'a Member)>, String> {
        let of = |(name, member): (&String, &'a Member)| {
            let dataset = self.group.member(name);
            dataset.map(|dataset| (dataset, member)).ok_or_else(|| format!("{name} is no member any more"))
        };
        self.flipping.to.tables.iter().map(of).collect()
    }

    /// `between` is how long it took to move all, the first time.
    async fn forward(&self, mut ready: BTreeMap<String, Ready>, between: &mut Option<Duration>) -> Result<Forward<'a>> {
        let members = match self.members() {
            Ok(members) => members,
            Err(why) => return Ok(Forward::Failed(why)),
        };
        let moves = members.iter().map(|(dataset, member)| self.moved(dataset, member, ready.remove(&dataset.name)));
        let began = Instant::now();
        let moved: Vec<Result<bool>> = stream::iter(moves.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await;
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
        // All were live together if each still is where it was put, now that the last of them has been moved.
        let mut looks = Vec::new();
        for (dataset, member) in members {
            let look = Look::at(self.world, dataset, &member.generation).await?;
            if self.step(dataset, &look) != Step::There {
                return Ok(Forward::LookAgain);
            }
            looks.push((dataset, member, look));
        }
        Ok(Forward::All(looks))
    }

    fn step(&self, dataset: &Dataset, look: &Look) -> Step {
        self.flipping.step(&dataset.name, look.state.live.location(&dataset.home).as_ref())
    }

    /// Moves a table to where it shall be. `false`: somebody else was faster, look again.
    async fn moved(&self, dataset: &Dataset, member: &Member, ready: Option<Ready>) -> Result<bool> {
        let to = &self.flipping.to;
        let ready = match ready {
            Some(ready) => ready,
            None => {
                let look = Look::at(self.world, dataset, &member.generation).await?;
                match self.step(dataset, &look) {
                    Step::There => return Ok(true),
                    Step::Move => {}
                    Step::Elsewhere => return Err(elsewhere(dataset, &look)),
                }
                // The table's version was read before this.
                let now = store::read(self.world, self.group.name).await?.record.flipping;
                if now.as_ref() != Some(self.flipping) {
                    return Ok(false);
                }
                let policy = if to.by == By::Rollback { dataset.schema.back() } else { dataset.schema };
                self::ready(self.world, dataset, member, look, policy).await?
            }
        };
        let Ready { candidate, look, input } = ready;
        let cause = Cause { by: to.by, why: to.why.clone() };
        Ok(swap(self.world, dataset, &candidate, look, input, &cause).await?.is_some())
    }

    /// Asks all canaries that are pending, with every flip on record.
    async fn canaries(&self, looks: Vec<(&Dataset, &Member, Look)>) -> Result<Canaries> {
        let mut canaries = Canaries::default();
        for (dataset, member, look) in looks {
            let last = look.recover(self.world, dataset).await?.or_else(|| look.last_flip());
            let Some(last) = last.filter(|(_, flip)| flip.to == member.generation) else { continue };
            let Some((answered, scanned)) = canary::ask(self.world, dataset, last).await? else { continue };
            let named = |told: String| format!("{}: {told}", dataset.name);
            canaries.checks.extend(scanned.map(|scanned| Scanned { check: named(scanned.check), ..scanned }));
            match answered {
                Answered::Passed => {}
                Answered::NotAsked(told) => canaries.told.push(named(told)),
                Answered::Failed(reason) => canaries.failed.push(named(reason)),
            }
        }
        Ok(canaries)
    }

    /// Brings every table back that has been moved, and makes every version stale that was read for this flip. Gives, in
    /// words, what could not go back.
    async fn back(&self) -> Result<Vec<String>> {
        let tables: Vec<_> = self.flipping.to.tables.iter().map(|(name, member)| self.back_one(name, member)).collect();
        // One that cannot go back keeps no other from it.
        let ended: Vec<_> = stream::iter(tables).buffered(AT_ONCE).collect().await;
        let mut left = Vec::new();
        for (ended, name) in ended.into_iter().zip(self.flipping.to.tables.keys()) {
            left.extend(ended.map_err(|error| {
                let why = self.flipping.back.as_deref().unwrap_or_default();
                let text = format!("group {} goes back ({why}), and {name} has not come along", self.group.name);
                Error::new(error.kind(), text).caused_by(error)
            })?);
        }
        Ok(left)
    }

    async fn back_one(&self, name: &str, member: &Member) -> Result<Option<String>> {
        let Some(dataset) = self.group.member(name) else {
            return Ok(Some(format!("{name} is no member any more, and stays as it is")));
        };
        if !self.flipping.moves(name) {
            return Ok(None);
        }
        let from = self.flipping.from.get(name).and_then(Option::as_ref);
        let cause = Cause { by: By::Group, why: self.flipping.back.clone() };
        for _ in 0..ATTEMPTS {
            let look = Look::at(self.world, dataset, &self.oldest(dataset, member)).await?;
            match self.step(dataset, &look) {
                Step::Move => {
                    let before = Live::of(&dataset.home, from);
                    match canary::return_to(self.world, dataset, look, &before, &cause).await? {
                        Returned::There(_) => return Ok(None),
                        Returned::Stays(why) => {
                            return Ok(Some(format!("{name} stays at {}: {why}", member.generation)));
                        }
                        Returned::LookAgain => {}
                    }
                }
                step => {
                    if fenced(self.world, dataset, &look).await? {
                        let left = (step == Step::Elsewhere).then(|| elsewhere(dataset, &look));
                        return Ok(left.map(|error| format!("{name}: {}", error.message())));
                    }
                }
            }
        }
        Err(busy(dataset))
    }

    /// The older generation of those that the table may be at: since then its flips must be known.
    fn oldest(&self, dataset: &Dataset, member: &Member) -> Generation {
        let from = self.flipping.from.get(&dataset.name).and_then(Option::as_ref);
        let from = from.and_then(|from| dataset.home.parse_generation(from));
        from.into_iter().fold(member.generation, |one, other| if other.ulid < one.ulid { other } else { one })
    }

    fn done(&self, canaries: Canaries, between: Option<Duration>) -> Ended {
        let (mut live, mut previous) = (BTreeMap::new(), BTreeMap::new());
        for (name, member) in &self.flipping.to.tables {
            live.insert(name.clone(), Live::Ours(member.generation));
            if let Some(dataset) = self.group.member(name).filter(|_| self.flipping.moves(name)) {
                let from = self.flipping.from.get(name).and_then(Option::as_ref);
                previous.insert(name.clone(), Live::of(&dataset.home, from));
            }
        }
        let ended = Ended::unchanged(Outcome::Swapped, Some(self.flipping.to.run), canaries.told);
        Ended { live, previous, checks: canaries.checks, between, ..ended }
    }
}

fn elsewhere(dataset: &Dataset, look: &Look) -> Error {
    let at = look.state.live.location(&dataset.home).map_or_else(|| "gone".into(), |at| format!("at {at}"));
    Error::conflict(format!("{} is {at}, where this flip has not put it: somebody else has changed it", dataset.table))
}

/// What has passed its checks before, or is about to go back: its files are audited, and no rows.
pub async fn ready(world: &World, dataset: &Dataset, member: &Member, look: Look, policy: Policy) -> Result<Ready> {
    refuse_swept(world, dataset, &member.generation).await?;
    let candidate = candidate(world, dataset, &member.generation).await?;
    let reasons = judge(world, &candidate, &look, &Checks::default(), policy).await?.reasons();
    if !reasons.is_empty() {
        return Err(Error::rejected(reasons.join("; ")));
    }
    let input = next_table(dataset, &look, &candidate, policy);
    Ok(Ready { candidate, look, input })
}

/// Makes every version stale that was read of the table until this look. `false`: look again.
async fn fenced(world: &World, dataset: &Dataset, look: &Look) -> Result<bool> {
    let Some(table) = look.table.as_ref().filter(|table| table.token.is_some()) else { return Ok(true) };
    match world.catalog.update(table, &TableChange::default()).await {
        Ok(sent) => Ok(sent == Update::Done),
        // Whether it was carried out, the next look tells.
        Err(error) if error.kind() == Kind::Unavailable => {
            warn!(dataset = dataset.name, error = error.report(), "not fenced yet");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
