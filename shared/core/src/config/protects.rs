//! Reads `protects`: the datasets whose tables an inbox protects.

use std::collections::BTreeMap;

use toml::Value;

use super::{
    broken::Outline,
    dataset::{Dataset, Protected, ProtectedBy},
    engines::workgroup,
    names::{column_names, column_names_of, identifier},
    read::{Faults, Keys, described},
    source::Source,
};

/// The values of `protects`, by inbox and dataset.
pub type Protects = BTreeMap<String, BTreeMap<String, Protect>>;

/// How an inbox protects a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protect {
    /// The columns in the dataset's table that contain the inbox's key.
    pub columns: Vec<String>,
    /// The table that readers get instead of the view, if any.
    pub filtered: Option<Filtered>,
}

/// The options of `as = "table"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filtered {
    /// The table's name, which is also the dataset's. `None` means `PROTECTED_filtered`.
    pub table: Option<String>,
    /// The workgroup in which Athena builds the table.
    pub workgroup: String,
}

/// Reads `protects = { users = "id" }`: the names of datasets, and the columns in them that contain the inbox's key.
/// [`together`] resolves the names once all datasets are known.
pub fn read(keys: &Keys, source: Option<&Source>) -> BTreeMap<String, Protect> {
    let Some(value) = keys.value("protects") else { return BTreeMap::new() };
    let Some(table) = value.as_table() else {
        keys.fault("protects", format!("expected a table such as {{ users = \"id\" }}, found {}", described(value)));
        return BTreeMap::new();
    };
    let key = match source {
        Some(Source::Inbox(inbox)) => Some(inbox.key.len()),
        Some(_) => {
            keys.fault("protects", "only a dataset with source.inbox can protect others: remove it");
            None
        }
        None => None,
    };
    let all = Keys::new(keys.at("protects"), table, keys.faults());
    let mut protects = BTreeMap::new();
    for (dataset, value) in table {
        let Some(protect) = entry(&all, dataset, value) else { continue };
        let found = protect.columns.len();
        match key.filter(|key| *key != found) {
            Some(key) => {
                let fault = format!("expected one column for each of the inbox's key columns ({key}), found {found}");
                all.fault(dataset, fault);
            }
            None => drop(protects.insert(dataset.clone(), protect)),
        }
    }
    protects
}

/// Reads `"id"`, `["a", "b"]` or `{ column = "id", as = "table", … }`.
fn entry(all: &Keys, dataset: &str, value: &Value) -> Option<Protect> {
    let Some(table) = value.as_table() else {
        let columns = column_names_of(value);
        if columns.is_none() {
            let found = described(value);
            all.fault(dataset, format!("expected a column name or a list of distinct column names, found {found}"));
        }
        return Some(Protect { columns: columns?, filtered: None });
    };
    let keys = Keys::new(all.at(dataset), table, all.faults());
    let columns = column_names(&keys, "column");
    if !keys.has("column") {
        keys.fault_here("column is missing: name the column, or a list of columns, with the inbox's key");
    }
    let filtered = filtered(&keys);
    keys.finish();
    Some(Protect { columns: columns?, filtered })
}

/// Reads `as`, `table` and `workgroup`. Returns `None` if readers get only the view.
fn filtered(keys: &Keys) -> Option<Filtered> {
    let is_table = keys.parsed("as", |text| match text {
        "view" => Ok(false),
        "table" => Ok(true),
        _ => Err(format!("expected \"view\" or \"table\", found {text:?}")),
    });
    let table = keys.parsed("table", identifier);
    let workgroup = keys.parsed("workgroup", workgroup);
    let has_workgroup = keys.has("workgroup");
    if is_table == Some(true) {
        if !has_workgroup {
            keys.fault_here(
                "workgroup is missing: set the Athena workgroup that builds the table, one of the stack's EngineWorkgroups",
            );
        }
        return Some(Filtered { table, workgroup: workgroup? });
    }
    if is_table == Some(false) || !keys.has("as") {
        for (key, given) in [("table", keys.has("table")), ("workgroup", has_workgroup)] {
            if given {
                keys.fault(key, "has no effect without as = \"table\": set that too, or remove this key");
            }
        }
    }
    None
}

/// Resolves `protects`. `outlines` has every entry in the file.
pub fn together(
    datasets: &mut BTreeMap<String, Dataset>,
    outlines: &BTreeMap<String, Outline>,
    protects: &Protects,
    faults: &Faults,
) {
    let mut all: BTreeMap<String, Protected> = BTreeMap::new();
    for (inbox, tables) in protects {
        for (protected, Protect { columns, .. }) in tables {
            let Some(dataset) = datasets.get(protected).filter(|_| protected != inbox) else {
                // An entry that could not be read has its own faults.
                if protected != inbox && outlines.contains_key(protected) {
                    continue;
                }
                let others: Vec<&str> = datasets.keys().filter(|name| *name != inbox).map(String::as_str).collect();
                let fault = match others.as_slice() {
                    [] => "expected the name of another dataset, but this file has no other".into(),
                    others => format!("expected the name of another dataset in this file: {}", others.join(", ")),
                };
                faults.push(&format!("datasets.{inbox}.protects.{protected}"), &fault);
                continue;
            };
            let new = || Protected { dataset: protected.clone(), table: dataset.table.clone(), by: Vec::new() };
            let optouts = datasets.get(inbox).and_then(Dataset::optouts);
            let by = optouts.map(|optouts| ProtectedBy { optouts, columns: columns.clone() });
            all.entry(protected.clone()).or_insert_with(new).by.extend(by);
        }
    }
    for dataset in datasets.values_mut() {
        dataset.protected = all.get(&dataset.name).cloned();
        let names = protects.get(&dataset.name).into_iter().flat_map(BTreeMap::keys);
        dataset.protects = names.filter_map(|name| all.get(name)).cloned().collect();
    }
}
