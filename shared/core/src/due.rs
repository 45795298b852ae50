//! Decides which datasets are due: because a scheduled time has passed since their last due time, or because their
//! inputs have flipped.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    config::{After, Config, Refresh},
    layout::Generation,
};

/// For each dataset, the last due time that has been queued: `_stacks/STACK/refresh.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastDue {
    /// By dataset, or by a group's first member. A dataset that is new starts with the time at which it was first seen.
    pub datasets: BTreeMap<String, Timestamp>,
}

/// A dataset, or the first member of a group, and the time at which it was due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub dataset: String,
    pub at: Timestamp,
}

/// Returns whether any dataset has a schedule of its own.
pub fn has_schedules(config: &Config) -> bool {
    config.datasets().any(|dataset| dataset.refresh.as_ref().is_some_and(|refresh| !refresh.schedules.is_empty()))
}

/// Returns what has become due by `now`, and the last due times to store once it is queued. A dataset that has missed
/// several due times is due once, at the last of them.
pub fn due(config: &Config, last: &LastDue, now: Timestamp) -> (Vec<Due>, LastDue) {
    let (mut found, mut next) = (Vec::new(), LastDue::default());
    for dataset in config.leads() {
        let Some(refresh) = dataset.refresh.as_ref().filter(|refresh| !refresh.schedules.is_empty()) else { continue };
        let since = last.datasets.get(&dataset.name).copied();
        let due = since.and_then(|since| refresh.latest(since, now));
        found.extend(due.map(|at| Due { dataset: dataset.name.clone(), at }));
        next.datasets.insert(dataset.name.clone(), due.or(since).unwrap_or(now));
    }
    (found, next)
}

/// The generation of each of a dataset's inputs, by the input's name. An input that has no managed generation is left
/// out.
pub type Inputs = BTreeMap<String, Generation>;

/// Returns whether a dataset must be built again, because its inputs have flipped since it was built. `built` has the
/// inputs of its newest complete generation, and is empty if there is none. `live` has the inputs' live generations.
///
/// An input that was rolled back is older than what the dataset was built from, and doesn't count as flipped.
pub fn is_due_after(refresh: &Refresh, built: &Inputs, live: &Inputs) -> bool {
    refresh.after.iter().any(|after| match after.any {
        true => flipped(after, built, live).next().is_some(),
        false => flipped(after, built, live).count() == after.inputs.len(),
    })
}

/// Returns the inputs of an entry that have flipped since the dataset was built.
fn flipped<'a>(after: &'a After, built: &'a Inputs, live: &'a Inputs) -> impl Iterator<Item = &'a str> {
    let names = after.inputs.iter().map(|input| input.dataset.as_str());
    names.filter(|name| match (built.get(*name), live.get(*name)) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(built), Some(live)) => live.ulid > built.ulid,
    })
}

/// Returns the inputs that must still flip before the dataset is due, for the entry of `after` that lacks the fewest.
/// `None` if `after` has no entry.
pub fn awaited<'a>(refresh: &'a Refresh, built: &'a Inputs, live: &'a Inputs) -> Option<Vec<&'a str>> {
    let missing = |after: &'a After| -> Vec<&'a str> {
        let flipped: Vec<&str> = flipped(after, built, live).collect();
        after.inputs.iter().map(|input| input.dataset.as_str()).filter(|name| !flipped.contains(name)).collect()
    };
    refresh.after.iter().map(missing).min_by_key(Vec::len)
}

/// Returns the inputs that have been rolled back since a generation was built from them. Each comes with the generation
/// that was read from it, and with its live generation.
pub fn rolled_back(built: &Inputs, live: &Inputs) -> Vec<(String, Generation, Generation)> {
    let older = built.iter().filter_map(|(name, built)| {
        let live = live.get(name).filter(|live| live.ulid < built.ulid)?;
        Some((name.clone(), *built, *live))
    });
    older.collect()
}

#[cfg(test)]
mod tests {
    use ulid::Ulid;

    use super::*;
    use crate::layout::Colour;

    /// Returns inputs whose generations are as old as these numbers.
    fn inputs(of: &[(&str, u64)]) -> Inputs {
        let generation = |age: u64| Generation { colour: Colour::Blue, ulid: Ulid::from_parts(age, 0) };
        of.iter().map(|(name, age)| ((*name).to_owned(), generation(*age))).collect()
    }

    #[test]
    fn a_dataset_is_due_when_all_or_any_inputs_have_flipped_since_it_was_built() {
        let refresh = |after: &str| {
            let files = "source = { files = { location = \"s3://lake/in/\" } }\n";
            let text = format!(
                "[defaults]\ndatabase = \"d\"\nlocation = \"s3://lake/s\"\n[datasets.a]\n{files}[datasets.b]\n{files}\
                 [datasets.c]\n{files}refresh = {after}\n"
            );
            Config::parse("f", &text).unwrap().dataset("c").unwrap().refresh.clone().unwrap()
        };
        let all = refresh("{ after = [\"a\", \"b\"] }");
        let any = refresh("{ after = [\"a\", \"b\"], any = true }");
        let either = refresh("[{ after = [\"a\", \"b\"] }, { after = [\"b\"] }]");
        let built = [("a", 5), ("b", 5)];
        for (built, live, expected) in [
            (&[][..], &[("a", 1)][..], [false, true, false]),
            (&[], &[("a", 1), ("b", 1)], [true; 3]),
            (&built, &built, [false; 3]),
            (&built, &[("a", 6), ("b", 5)], [false, true, false]),
            (&built, &[("a", 5), ("b", 6)], [false, true, true]),
            (&built, &[("a", 6), ("b", 6)], [true; 3]),
            (&built, &[("a", 4), ("b", 6)], [false, true, true]),
            (&built, &[("a", 4), ("b", 4)], [false; 3]),
            (&built, &[("b", 6)], [false, true, true]),
        ] {
            let (built, live) = (inputs(built), inputs(live));
            let found = [&all, &any, &either].map(|refresh| is_due_after(refresh, &built, &live));
            assert_eq!(found, expected, "{built:?} {live:?}");
        }
        let (before, now) = (inputs(&built), inputs(&[("a", 6), ("b", 4)]));
        assert_eq!(awaited(&all, &before, &now), Some(vec!["b"]));
        let back: Vec<String> = rolled_back(&before, &now).into_iter().map(|(name, _, _)| name).collect();
        assert_eq!(back, ["b"]);
    }
}
