//! Checks how datasets are refreshed together: the members of a group, and datasets that are built from other datasets.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    broken::Outline,
    dataset::Dataset,
    read::Faults,
    refresh::{After, GivenAfter, Input, Refresh, Unresolved},
};

/// Sets `refresh` in each dataset. All members of a group share one refresh record. Checks that the members of each
/// group are refreshed together, that the inputs exist, and that no dataset is an input of itself, directly or through
/// others. `outlines` has every entry in the file.
pub fn together(
    datasets: &mut BTreeMap<String, Dataset>,
    outlines: &BTreeMap<String, Outline>,
    given: &BTreeMap<String, Unresolved>,
    faults: &Faults,
) {
    groups_agree(datasets, given, faults);
    let mut found = BTreeMap::new();
    for (name, dataset) in &*datasets {
        let Some(Unresolved { given, zone }) = given.get(name) else { continue };
        let after = given.after.iter().map(|after| resolved((datasets, outlines), name, after, faults)).collect();
        let record = lead(datasets, dataset).paths.refresh();
        let (schedules, on_put) = (given.schedules.clone(), given.on_put);
        found.insert(name.clone(), Refresh { schedules, after, on_put, zone: zone.clone(), record });
    }
    for (name, refresh) in found {
        if let Some(dataset) = datasets.get_mut(&name) {
            dataset.refresh = Some(refresh);
        }
    }
    circles(&edges(datasets), faults);
}

fn groups_agree(datasets: &BTreeMap<String, Dataset>, given: &BTreeMap<String, Unresolved>, faults: &Faults) {
    let mut first: BTreeMap<&str, (&str, Option<&Unresolved>)> = BTreeMap::new();
    for (name, dataset) in datasets {
        let Some(group) = &dataset.group else { continue };
        let own = given.get(name);
        let (lead, expected) = *first.entry(&group.name).or_insert((name, own));
        if expected != own {
            faults.push(
                &format!("datasets.{name}.refresh"),
                format!(
                    "expected the refresh and timezone of {lead:?}: group {group} is refreshed as one. Set them in \
                     [defaults], or the same in each member"
                ),
            );
        }
    }
}

/// Looks up the datasets that an entry of `after` names.
fn resolved(
    (datasets, outlines): (&BTreeMap<String, Dataset>, &BTreeMap<String, Outline>),
    of: &str,
    after: &GivenAfter,
    faults: &Faults,
) -> After {
    let input = |name: &String| {
        let Some(dataset) = datasets.get(name) else {
            let fault = match outlines.contains_key(name) {
                true => format!("the entry of {name:?} has errors itself, so its table is not known"),
                false => format!("no dataset {name:?} is configured"),
            };
            faults.push(&format!("datasets.{of}.refresh.after"), fault);
            return None;
        };
        Some(Input { dataset: name.clone(), table: dataset.table.clone(), paths: dataset.paths.clone() })
    };
    After { inputs: after.datasets.iter().filter_map(input).collect(), any: after.any }
}

/// Returns the dataset itself, or the first member of its group.
fn lead<'a>(datasets: &'a BTreeMap<String, Dataset>, dataset: &'a Dataset) -> &'a Dataset {
    let Some(group) = &dataset.group else { return dataset };
    datasets.values().find(|other| other.group.as_ref() == Some(group)).unwrap_or(dataset)
}

/// Returns the inputs of each dataset. Each group is represented by its first member.
fn edges(datasets: &BTreeMap<String, Dataset>) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for dataset in datasets.values() {
        let inputs = dataset.refresh.iter().flat_map(Refresh::inputs);
        let leads = inputs.filter_map(|input| Some(lead(datasets, datasets.get(&input.dataset)?).name.as_str()));
        let leads: BTreeSet<&str> = leads.collect();
        if !leads.is_empty() {
            edges.entry(&lead(datasets, dataset).name).or_default().extend(leads);
        }
    }
    edges
}

/// Reports each cycle of inputs once.
fn circles(edges: &BTreeMap<&str, BTreeSet<&str>>, faults: &Faults) {
    let mut done = BTreeSet::new();
    for start in edges.keys() {
        // The path from `start`, and the inputs of each dataset on it that are still to be visited.
        let (mut path, mut on_path): (Vec<(&str, Vec<&str>)>, _) = (Vec::new(), BTreeSet::new());
        let mut visit = Some(*start);
        loop {
            if let Some(name) = visit.filter(|name| !done.contains(name)) {
                if on_path.insert(name) {
                    path.push((name, edges.get(name).into_iter().flatten().copied().collect()));
                } else {
                    let circle = path.iter().map(|(name, _)| *name).skip_while(|on_path| *on_path != name);
                    let circle: Vec<&str> = circle.chain([name]).collect();
                    faults.push(
                        &format!("datasets.{name}.refresh.after"),
                        format!("these datasets wait for each other, so none is ever due: {}", circle.join(" after ")),
                    );
                }
            }
            let Some((name, inputs)) = path.last_mut() else { break };
            visit = inputs.pop();
            if visit.is_none() {
                done.insert(*name);
                on_path.remove(*name);
                path.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{
        Config,
        test_support::{DEFAULTS, faults},
    };

    fn entry(name: &str, refresh: &str) -> String {
        format!("[datasets.{name}]\n{refresh}source = {{ files = {{ location = \"s3://lake/in/\" }} }}\n")
    }

    fn file(entries: &[(&str, &str)]) -> String {
        let entries = entries.iter().map(|(name, refresh)| entry(name, refresh));
        std::iter::once(DEFAULTS.to_owned()).chain(entries).collect()
    }

    #[test]
    fn inputs_are_looked_up_and_a_list_combines() {
        let text = file(&[
            ("orders", ""),
            ("prices", ""),
            (
                "sales",
                "refresh = [\"rate(1 day)\", { after = [\"prices\", \"orders\"] }, { after = [\"prices\"], any = true }]\n",
            ),
        ]);
        let config = Config::parse("f", &text).unwrap();
        let refresh = config.dataset("sales").unwrap().refresh.clone().unwrap();
        let after: Vec<_> = refresh
            .after
            .iter()
            .map(|after| (after.inputs.iter().map(|input| input.dataset.as_str()).collect::<Vec<_>>(), after.any))
            .collect();
        assert_eq!(after, [(vec!["orders", "prices"], false), (vec!["prices"], true)]);
        assert_eq!(refresh.schedules.len(), 1);
        assert_eq!(
            refresh.inputs().iter().map(|input| input.table.to_string()).collect::<Vec<_>>(),
            ["dmp.orders", "dmp.prices"]
        );
        let dependants = |name: &str| config.dependants(name).map(|one| one.name.clone()).collect::<Vec<_>>();
        assert_eq!((dependants("orders"), dependants("sales")), (vec!["sales".into()], vec![]));
    }

    #[test]
    fn faults_name_the_inputs() {
        let after = |names: &str| format!("refresh = {{ after = [{names}] }}\n");
        let circle = |text: &str| format!("these datasets wait for each other, so none is ever due: {text}");
        for (entries, expected) in [
            (vec![("a", after("\"b\""))], "datasets.a.refresh.after: no dataset \"b\" is configured".to_owned()),
            (vec![("a", after(""))], "datasets.a.refresh.after: names no dataset: name at least one".into()),
            (vec![("a", after("\"a\""))], format!("datasets.a.refresh.after: {}", circle("a after a"))),
            (
                vec![("a", after("\"b\"")), ("b", after("\"c\"")), ("c", after("\"b\", \"d\"")), ("d", String::new())],
                format!("datasets.b.refresh.after: {}", circle("b after c after b")),
            ),
            (
                vec![("a", "refresh = { any = true }\n".into())],
                "datasets.a.refresh: after and on_put are missing: name the datasets after whose flips this one is refreshed, or set on_put = true\n\
                 datasets.toml: datasets.a.refresh.any: says how many of the datasets in after must flip: set after too, or remove it"
                    .into(),
            ),
            (
                vec![("a", "refresh = { before = [\"b\"], after = [\"b\"] }\n".into()), ("b", String::new())],
                "datasets.a.refresh: unknown key \"before\", expected one of after, any, on_put, settle".into(),
            ),
        ] {
            let entries: Vec<(&str, &str)> = entries.iter().map(|(name, refresh)| (*name, refresh.as_str())).collect();
            assert_eq!(faults(&file(&entries)), format!("datasets.toml: {expected}"));
        }
        let inherited = format!("{DEFAULTS}{}{}", after("\"a\""), entry("a", ""));
        assert_eq!(
            faults(&inherited),
            "datasets.toml: defaults.refresh: { after = … } lists the inputs of one dataset: set it in that dataset"
        );
    }

    #[test]
    fn a_dataset_whose_input_could_not_be_read_is_not_used() {
        let text = file(&[("b", "refresh = { after = [\"a\"] }\n"), ("c", "")]) + "[datasets.a]\nsource = 1\n";
        let config = Config::parse_valid("f", &text).unwrap();
        assert_eq!(config.datasets().map(|dataset| dataset.name.as_str()).collect::<Vec<_>>(), ["c"]);
        let fault = config.dataset("b").unwrap_err().report();
        assert!(fault.contains("datasets.b.refresh.after: the entry of \"a\" has errors itself"), "{fault}");
    }

    #[test]
    fn a_long_chain_of_inputs_is_no_circle() {
        let mut text = DEFAULTS.to_owned() + &entry("d0", "");
        for at in 1..3000 {
            text += &entry(&format!("d{at}"), &format!("refresh = {{ after = [\"d{}\"] }}\n", at - 1));
        }
        assert_eq!(Config::parse("f", &text).unwrap().datasets().count(), 3000);
    }

    #[test]
    fn a_group_can_not_wait_for_its_own_member() {
        let member = |name: &str| {
            format!(
                "[datasets.{name}]\ngroup = \"core\"\nrefresh = {{ after = [\"b\"] }}\n\
                 source = {{ postgres = {{ secret = \"s\", query = \"SELECT 1\" }} }}\n"
            )
        };
        assert_eq!(
            faults(&[DEFAULTS, &member("a"), &member("b")].concat()),
            "datasets.toml: datasets.a.refresh.after: these datasets wait for each other, so none is ever due: a after a"
        );
    }
}
