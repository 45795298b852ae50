//! Holds back drops that would opt more people back in than the inbox's `max_returning` allows, until an operator lets
//! them pass. Only drops in which somebody opts in are held back, so other opt-outs never wait for the operator.

use std::{collections::HashSet, sync::Arc};

use tracing::warn;
use turntable_core::{
    config::{Dataset, Inbox},
    error::Result,
    manifest::InboxObject,
    optout::returning::Returning,
    port::Entry,
    record,
};
use turntable_sources::inbox::{self, Limits, Read, Reader};

use super::{build::Build, options::RefreshOptions};
use crate::environment::Environment;

/// The unread drops in an inbox that are held back.
#[derive(Debug, Default)]
pub(crate) struct HeldDrops {
    pub drops: Vec<InboxObject>,
    /// The number of people whom the drops would opt back in.
    pub people: u64,
}

impl HeldDrops {
    /// Returns the drops in the record that are still unread. After an operator has let the drops pass, there are none.
    pub fn of(record: Option<&Returning>, unread: &[(InboxObject, Entry)]) -> HeldDrops {
        let Some(record) = record else { return HeldDrops::default() };
        let unread: HashSet<&InboxObject> = unread.iter().map(|(drop, _)| drop).collect();
        let drops: Vec<InboxObject> = record.drops.iter().filter(|drop| unread.contains(drop)).cloned().collect();
        let people = if drops.is_empty() { 0 } else { record.people };
        HeldDrops { drops, people }
    }

    pub fn is_empty(&self) -> bool {
        self.drops.is_empty()
    }

    /// Returns the message about what is held back, and how an operator can let it pass.
    pub fn message(&self, dataset: &str, bound: u64) -> String {
        let drops = if self.drops.len() == 1 { "1 drop".into() } else { format!("{} drops", self.drops.len()) };
        format!(
            "max_returning: {drops} would bring back {people} people who opted out, expected at most {bound}, so these \
             drops are held back; all others are read. If this is right, invoke optout with {{\"dataset\":{dataset:?},\
             \"max_returning\":{people}}}; otherwise move the drops out of the inbox",
            people = self.people
        )
    }
}

/// Reads the record of drops that are held back. Returns `None` if there is none, or if the inbox has no limit.
pub(crate) async fn read(env: &Environment, dataset: &Dataset, inbox: &Inbox) -> Result<Option<Returning>> {
    match inbox.max_returning {
        Some(_) => env.record(&dataset.paths.returning()).await,
        None => Ok(None),
    }
}

/// Returns how many people this refresh may still opt back in, or `None` if there is no limit. Earlier rounds have
/// opted `returned` people back in.
pub(super) fn bound(inbox: &Inbox, ask: &RefreshOptions, returned: u64) -> Option<u64> {
    let bound = ask.max_returning.or(inbox.max_returning)?;
    Some(bound.saturating_sub(returned))
}

/// Records that the drops in `reads` in which somebody opts in are held back, in addition to the ones that were held
/// back before. Returns `None` if there is no such drop in `reads`, because then the people come from other records.
pub(super) async fn hold_back(
    env: &Environment,
    dataset: &Dataset,
    before: HeldDrops,
    reads: &[Read],
    people: u64,
    recount: Recount<'_>,
) -> Result<Option<HeldDrops>> {
    let returning = reads.iter().filter(|read| read.opts_in && !before.drops.contains(&read.drop));
    let mut drops: Vec<InboxObject> = returning.map(|read| read.drop.clone()).collect();
    if drops.is_empty() {
        return Ok(None);
    }
    drops.extend(before.drops);
    let people = match before.people {
        0 => people,
        earlier => recount.people(env, &drops).await?.unwrap_or(people + earlier),
    };
    let held = HeldDrops { drops, people };
    let record = Returning { at: env.clock.now(), people: held.people, drops: held.drops.clone() };
    env.objects.put(&dataset.paths.returning(), record::to_json(&record).into()).await?;
    warn!(dataset = dataset.name, people = held.people, drops = held.drops.len(), "drops held back by max_returning");
    Ok(Some(held))
}

/// What it takes to count the people in all held drops together, because several drops may bring back the same person.
pub(super) struct Recount<'a> {
    pub reader: &'a Reader,
    pub limits: &'a Limits,
    /// `None` if no drops were held back before.
    pub build: Option<Build>,
    pub listed: &'a [(InboxObject, Entry)],
}

impl Recount<'_> {
    /// Returns the number of people whom these drops would bring back. Returns `None` if the drops are too many to be read
    /// again.
    async fn people(self, env: &Environment, drops: &[InboxObject]) -> Result<Option<u64>> {
        let Some(build) = self.build else { return Ok(None) };
        let wanted: HashSet<&InboxObject> = drops.iter().collect();
        let again: Vec<_> = self.listed.iter().filter(|(drop, _)| wanted.contains(drop)).cloned().collect();
        let expected = again.len();
        let reader = Reader { spill: Arc::default(), ..self.reader.clone() };
        let (records, reads) = inbox::read(&env.objects, &reader, again, self.limits).await?;
        if reads.len() < expected {
            return Ok(None);
        }
        Ok(Some(build.returning(records).await?))
    }
}

/// Returns the message for a refresh that an operator requested and that would opt more people back in than allowed.
pub(super) fn too_many(dataset: &Dataset, ask: &RefreshOptions, people: u64, bound: u64) -> String {
    let dataset = &dataset.name;
    let action = if ask.reconcile { ",\"action\":\"reconcile\"" } else { "" };
    format!(
        "max_returning: this refresh would bring back {people} people who opted out, expected at most {bound}, so \
         nothing was published. If this is right, invoke optout with \
         {{\"dataset\":{dataset:?}{action},\"max_returning\":{people}}}"
    )
}
