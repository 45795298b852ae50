//! The outcome of a request for a group.

use std::{collections::BTreeMap, time::Duration};

use turntable_core::{config::Group, decision::Live, error::Result};
use ulid::Ulid;

use crate::{
    environment::Environment,
    publish::{report::Outcome, sql_checks::Scanned, table_state},
};

/// The outcome of a request for a group, and what is live afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFlipReport {
    pub outcome: Outcome,
    pub run: Option<Ulid>,
    pub reasons: Vec<String>,
    /// What is live now, by dataset. Contains only members whose tables were read.
    pub live: BTreeMap<String, Live>,
    /// What was live before, by dataset, if this request changed it.
    pub previous: BTreeMap<String, Live>,
    /// The checks that ran in Athena, with the number of bytes that each scanned.
    pub checks: Vec<Scanned>,
    /// How long this invocation's first attempt to move all tables forward took, including their flip records. `None`
    /// if it made no attempt.
    pub between: Option<Duration>,
}

impl GroupFlipReport {
    pub(super) fn unchanged(outcome: Outcome, run: Option<Ulid>, reasons: Vec<String>) -> GroupFlipReport {
        let (live, previous) = (BTreeMap::new(), BTreeMap::new());
        GroupFlipReport { outcome, run, reasons, live, previous, checks: Vec::new(), between: None }
    }

    /// Reads what is live now for each member, and adds it to the report.
    pub(super) async fn with_live(self, env: &Environment, group: &Group<'_>) -> Result<GroupFlipReport> {
        let mut live = BTreeMap::new();
        for member in &group.members {
            live.insert(member.name.clone(), table_state::live(env, member).await?);
        }
        Ok(GroupFlipReport { live, ..self })
    }
}
