//! Decides which drops a refresh reads, and which its manifest lists as consumed.

use std::collections::HashSet;

use crate::{
    layout::Generation,
    manifest::{Consumed, InboxObject, Manifest},
};

fn before(base: Option<&Manifest>) -> &[Consumed] {
    base.and_then(|base| base.merge.as_ref()).map_or(&[], |merge| &merge.consumed)
}

/// Returns the drops in `listed` that `base` has not consumed. `base` is live's manifest: the refresh merges the drops
/// into live.
pub fn unread<T: Clone>(listed: &[(InboxObject, T)], base: Option<&Manifest>) -> Vec<(InboxObject, T)> {
    let consumed: HashSet<&InboxObject> = before(base).iter().flat_map(|by| &by.drops).collect();
    listed.iter().filter(|(drop, _)| !consumed.contains(drop)).cloned().collect()
}

/// Returns the drops that the manifest of `next` lists as consumed: those that `base` lists and that are still in the
/// inbox, and those in `read`, which this refresh merged. `reaches` returns whether a drop would be in `listed` if it were
/// still in the inbox.
pub fn consumed<T>(
    base: Option<&Manifest>,
    next: Generation,
    (listed, reaches): (&[(InboxObject, T)], impl Fn(&InboxObject) -> bool),
    read: impl IntoIterator<Item = InboxObject>,
) -> Vec<Consumed> {
    let read: Vec<InboxObject> = read.into_iter().collect();
    let listed: HashSet<&InboxObject> = listed.iter().map(|(drop, _)| drop).collect();
    // A rebuild reads drops again that were consumed before.
    let again: HashSet<&InboxObject> = read.iter().collect();
    let mut consumed = before(base).to_vec();
    for by in &mut consumed {
        by.drops.retain(|drop| (listed.contains(drop) || !reaches(drop)) && !again.contains(drop));
    }
    consumed.push(Consumed { by: next, drops: read });
    consumed.retain(|by| !by.drops.is_empty());
    consumed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::fixture, manifest::Merge};

    fn drop(key: &str, etag: &str) -> InboxObject {
        InboxObject { key: key.into(), etag: etag.into() }
    }

    #[test]
    fn drop_is_unread_until_live_lists_it_and_delisted_when_it_leaves_the_inbox() {
        let (one, two): (Generation, Generation) =
            ("blue-00000000010000000000000000".parse().unwrap(), "green-00000000020000000000000000".parse().unwrap());
        let drops = vec![drop("a", "1"), drop("gone", "1")];
        let merge = Merge { buckets: 1, consumed: vec![Consumed { by: one, drops }], ..Merge::default() };
        let base = Manifest { merge: Some(merge), ..fixture::manifest() };
        let listed = [(drop("a", "1"), ()), (drop("a", "2"), ()), (drop("b", "1"), ())];

        let new = [listed[1].clone(), listed[2].clone()];
        assert_eq!(unread(&listed, Some(&base)), new);
        assert_eq!(unread(&listed, None), listed);

        let read = new.map(|(drop, ())| drop);
        let known = consumed(Some(&base), two, (&listed, |_| true), read.clone());
        assert_eq!(
            known,
            [Consumed { by: one, drops: vec![drop("a", "1")] }, Consumed { by: two, drops: read.to_vec() }]
        );
        assert_eq!(consumed(Some(&base), two, (&listed[1..2], |_| true), []), []);
        let beyond = consumed(Some(&base), two, (&listed[1..2], |drop| drop.key != "gone"), []);
        assert_eq!(beyond, [Consumed { by: one, drops: vec![drop("gone", "1")] }], "it may still be there");
    }
}
