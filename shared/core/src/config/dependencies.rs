//! Checks how datasets are refreshed together.

use std::collections::BTreeMap;

use super::{dataset::Dataset, read::Faults, refresh::Refresh};

/// Checks that the members of each group are refreshed at the same times, and lets them share the record.
pub fn together(datasets: &mut BTreeMap<String, Dataset>, faults: &Faults) {
    let mut first: BTreeMap<String, (String, Option<Refresh>)> = BTreeMap::new();
    for dataset in datasets.values_mut() {
        let Some(group) = &dataset.group else { continue };
        let own = || (dataset.name.clone(), dataset.refresh.clone());
        let (lead, expected) = first.entry(group.name.clone()).or_insert_with(own);
        let times = |refresh: &Refresh| (refresh.schedules.clone(), refresh.zone.clone());
        if expected.as_ref().map(times) != dataset.refresh.as_ref().map(times) {
            faults.push(
                &format!("datasets.{}.refresh", dataset.name),
                format!(
                    "expected the refresh and timezone of {lead:?}: group {group} is refreshed as one. Set them in \
                     [defaults], or the same in each member"
                ),
            );
        }
        dataset.refresh.clone_from(expected);
    }
}
