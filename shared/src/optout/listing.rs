//! Lists an inbox as far as a refresh needs it. Somebody may put more objects into an inbox than can be listed in time.
//!
//! A refresh lists at least [`MIN_LISTED`] objects, and as many as it may read, while it looks up what is live. It goes on
//! only until it has found as many unread drops as it may read. What it has read counts as read in the next refresh, which
//! therefore gets further.

use turntable_core::{
    config::Inbox,
    error::Result,
    manifest::{InboxObject, Manifest},
    optout::consumed,
};
use turntable_sources::inbox::{self, Listing};

use crate::environment::Environment;

/// The number of objects up to which a refresh always lists the whole inbox: ten requests.
const MIN_LISTED: usize = 10_000;

/// How much of an inbox a refresh lists.
#[derive(Debug, Clone, Copy)]
pub(super) struct Enough {
    /// The number of unread drops that are enough: as many as the refresh may read.
    pub drops: usize,
}

impl Enough {
    fn objects(self) -> usize {
        self.drops.max(MIN_LISTED)
    }

    /// Lists the beginning of the inbox.
    pub async fn first(self, env: &Environment, inbox: &Inbox) -> Result<Listing> {
        inbox::list_from(&*env.objects, &inbox.location, None, self.objects()).await
    }

    /// Goes on with a listing until it has enough drops that `base` hasn't consumed, without those in `held`. If `all` is
    /// set, goes on to the end.
    pub async fn more(
        self,
        env: &Environment,
        inbox: &Inbox,
        listed: &mut Listing,
        (base, held, all): (Option<&Manifest>, &[InboxObject], bool),
    ) -> Result<()> {
        while let Some(after) = listed.last.take() {
            let unread = consumed::unread(&listed.drops, base);
            let found = unread.iter().filter(|(drop, _)| !held.contains(drop)).count();
            if found >= self.drops && !all {
                listed.last = Some(after);
                return Ok(());
            }
            let next = inbox::list_from(&*env.objects, &inbox.location, Some(&after), self.objects()).await?;
            listed.drops.extend(next.drops);
            listed.last = next.last;
        }
        Ok(())
    }
}
