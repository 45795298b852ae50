//! Loads the status of one inbox.

use jiff::Timestamp;
use serde::Serialize;
use turntable_core::{
    config::{Dataset, Inbox},
    error::Result,
    layout::{Key, Location},
    manifest::Manifest,
    optout::{
        consumed,
        published::Published,
        view::{active_name, protected_name},
    },
};
use turntable_sources::inbox;

use super::matches::{self, TableMatches};
use crate::{
    environment::Environment,
    optout::returning::{self, HeldDrops},
    publish::{
        published,
        views::{ViewState, compare_active, compare_protected},
    },
};

/// The status of an inbox, and of the views that leave out the people in it.
#[derive(Debug, Clone, Serialize)]
pub struct InboxStatus {
    /// The number of keys in the live table, whatever their state. `None` if live is unmanaged.
    pub keys: Option<u64>,
    /// The number of drops that the live table doesn't contain yet.
    pub unread: u64,
    /// A message about the drops that `max_returning` holds back, with the request that lets them pass. These drops are
    /// unread. `None` if no drops are held back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<String>,
    /// When the oldest unread drop was uploaded. `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_unread: Option<Timestamp>,
    /// When the newest drop in the inbox was uploaded. Archived drops don't count. `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_drop: Option<Timestamp>,
    /// The number of drops with rejected records in `_rejected/`. They count until somebody deletes these objects.
    pub rejected: u64,
    /// The record of what the inbox has published. `None` before the first sweep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
    pub views: Vec<ViewStatus>,
    /// For each protected table, the number of people who opted out but have no row in it. Athena counts them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<TableMatches>,
}

/// The state of one view.
#[derive(Debug, Clone, Serialize)]
pub struct ViewStatus {
    pub view: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ViewState>,
    /// Why the view can't be compared or created. `None` if it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Loads the status of an inbox. `live` is the live generation's manifest, if it is managed.
pub async fn status(
    env: &Environment,
    dataset: &Dataset,
    inbox: &Inbox,
    live: Option<&Manifest>,
) -> Result<InboxStatus> {
    let rejects = inbox.location.folder("_rejected");
    let (listed, rejected, published, record) = futures::try_join!(
        inbox::list(&*env.objects, &inbox.location),
        env.objects.list(&rejects, None),
        published::read(env, &inbox.location),
        returning::read(env, dataset, inbox),
    )?;
    let unread = consumed::unread(&listed, live);
    let held = HeldDrops::of(record.as_ref(), &unread);
    let mut views = Vec::new();
    if let Some(optouts) = dataset.optouts() {
        views.push(ViewStatus::of(active_name(&optouts.table).to_string(), compare_active(env, &optouts).await));
    }
    for protected in &dataset.protects {
        let name = protected_name(&protected.table).to_string();
        views.push(ViewStatus::of(name, compare_protected(env, protected).await));
    }
    Ok(InboxStatus {
        keys: live.map(|live| live.rows),
        unread: unread.len() as u64,
        held_back: inbox.max_returning.filter(|_| !held.is_empty()).map(|bound| held.message(&dataset.name, bound)),
        oldest_unread: unread.iter().map(|(_, entry)| entry.modified).min(),
        last_drop: listed.iter().map(|(_, entry)| entry.modified).max(),
        rejected: rejected.iter().filter(|entry| is_reject(&rejects, &entry.key)).count() as u64,
        published,
        views,
        matches: matches::count(env, dataset).await.tables,
    })
}

/// Returns whether an object in `rejects`, an inbox's folder `_rejected/`, lists a drop's rejects.
fn is_reject(rejects: &Location, key: &Key) -> bool {
    key.key.strip_prefix(&rejects.prefix).is_some_and(inbox::control::is_reject)
}

impl ViewStatus {
    fn of(view: String, state: Result<ViewState>) -> ViewStatus {
        match state {
            Ok(state) => ViewStatus { view, state: Some(state), error: None },
            Err(error) => ViewStatus { view, state: None, error: Some(error.report()) },
        }
    }
}
