//! Filtered tables: `as = "table"` in `protects` adds a dataset that copies the protected table without the people who
//! opted out, for readers who must see neither these people nor the list of them.
//!
//! The dataset isn't in the file. Athena builds it from the query of the protected view, after each flip of the
//! protected table or of one of its opt-out tables. All other rules for datasets apply to it, except that nothing may
//! bring an older generation back: see [`crate::decision::backwards`].

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use toml::{Table, Value};

use super::{
    adopt::Adopt,
    broken::Outline,
    checks::Checks,
    dataset::{Dataset, OnDrift, OnUnrepresentable, Parquet, Protected, Retain},
    names::identifier,
    protects::{Filtered, Protects},
    read::Faults,
    refresh::{Given, GivenAfter, Unresolved},
    source::{Athena, Source},
    spec::spec,
};
use crate::{
    layout::{TableName, TablePaths},
    optout::view,
    schema::Policy,
};

/// Adds the filtered tables' datasets, and their inputs to `refreshes`. `outlines` has every entry in the file.
pub fn derive(
    datasets: &mut BTreeMap<String, Dataset>,
    outlines: &BTreeMap<String, Outline>,
    protects: &Protects,
    refreshes: &mut BTreeMap<String, Unresolved>,
    faults: &Faults,
) {
    let protected: Vec<Protected> = datasets.values().filter_map(|dataset| dataset.protected.clone()).collect();
    for of in protected.iter().filter(|of| !of.by.is_empty()) {
        let given = protects.iter().filter_map(|(inbox, tables)| {
            let filtered = tables.get(&of.dataset)?.filtered.as_ref()?;
            Some((format!("datasets.{inbox}.protects.{}", of.dataset), filtered))
        });
        let given: Vec<(String, &Filtered)> = given.collect();
        let Some(((at, filtered), others)) = given.split_first() else { continue };
        for (other, _) in others.iter().filter(|(_, other)| other != filtered) {
            let fault = "the inboxes that protect a dataset share one filtered table: set the same table and workgroup in \
                         each, or as = \"table\" in only one";
            faults.push(other, fault);
        }
        let Some(dataset) = datasets.get(&of.dataset).and_then(|dataset| dataset_of(dataset, of, filtered)) else {
            continue;
        };
        if let Err(fault) = free(&dataset, datasets, outlines) {
            faults.push(at, fault);
            continue;
        }
        let inputs = of.by.iter().map(|by| by.optouts.dataset.clone()).chain([of.dataset.clone()]);
        let after = GivenAfter { datasets: inputs.collect(), any: true };
        let given = Given { after: vec![after], ..Given::default() };
        refreshes.insert(dataset.name.clone(), Unresolved { given, zone: TimeZone::UTC });
        datasets.insert(dataset.name.clone(), dataset);
    }
}

/// Checks that no other dataset has the filtered table's name or folder.
fn free(
    dataset: &Dataset,
    datasets: &BTreeMap<String, Dataset>,
    outlines: &BTreeMap<String, Outline>,
) -> Result<(), String> {
    let name = identifier(&dataset.name)?;
    let overlaps =
        |other: &&Dataset| other.table == dataset.table || other.paths.location().overlaps(dataset.paths.location());
    let other = datasets.values().find(overlaps).map(|other| &other.name);
    match other.or_else(|| outlines.contains_key(&name).then_some(&dataset.name)) {
        Some(other) => Err(format!(
            "the filtered table {} has the name or the folder of dataset {other:?}: set another name in table",
            dataset.table
        )),
        None => Ok(()),
    }
}

/// Returns the dataset of a filtered table. Its location and its readers are those of the protected dataset.
fn dataset_of(protected: &Dataset, of: &Protected, filtered: &Filtered) -> Option<Dataset> {
    let name = filtered.table.clone().unwrap_or_else(|| format!("{}_filtered", of.table.table));
    let table = TableName { database: of.table.database.clone(), table: name.clone() };
    let location = protected.paths.location().parent()?;
    let view = view::protected_name(&of.table);
    let settings = Table::from_iter([("filters".to_owned(), Value::String(of.table.to_string()))]);
    Some(Dataset {
        group: None,
        source: Source::Athena(Athena {
            // An export replaces this with the view's own query.
            query: format!("SELECT * FROM \"{}\".\"{}\"", view.database, view.table),
            workgroup: filtered.workgroup.clone(),
            partition_by: Vec::new(),
        }),
        // A check or a column that doesn't fit would keep people who opted out in the table.
        checks: Checks::default(),
        schema: Policy::Any,
        create: true,
        adopt: Adopt::No,
        parquet: Parquet::default(),
        partition_by: Vec::new(),
        on_unrepresentable: OnUnrepresentable::default(),
        protects: Vec::new(),
        protected: None,
        filters: Some(of.clone()),
        retain: Retain { generations: 0, ..protected.retain },
        on_drift: OnDrift::Repair,
        workgroups: protected.workgroups.clone(),
        refresh: None,
        spec: spec(&settings, OnUnrepresentable::default(), &table.database, &location),
        paths: TablePaths::new(&location, &name),
        name,
        table,
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        config::{Config, OnDrift, Source, test_support::without_positions},
        schema::Policy,
    };

    const DEFAULTS: &str = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
        [datasets.users]\ncreate = false\nretain.drain = \"2h\"\nsource = { files = { location = \"s3://lake/in/\" } }\n";

    fn inbox(name: &str, protects: &str) -> String {
        format!(
            "[datasets.{name}]\nsource.inbox = {{ location = \"s3://lake/inbox/{name}\", key = \"user_id\" }}\n\
             protects.users = {protects}\n"
        )
    }

    fn parse(entries: &[String]) -> Result<Config, String> {
        let text = format!("{DEFAULTS}{}", entries.concat());
        Config::parse("x", &text).map_err(|error| without_positions(error.message()))
    }

    const AS_TABLE: &str = "{ column = \"id\", as = \"table\", workgroup = \"etl\" }";

    #[test]
    fn as_table_adds_a_dataset_that_follows_the_table_and_every_inbox() {
        let config = parse(&[inbox("optouts", AS_TABLE), inbox("withdrawn", "\"id\"")]).unwrap();
        let dataset = config.dataset("users_filtered").unwrap();
        let Source::Athena(athena) = &dataset.source else { panic!("{:?}", dataset.source) };
        assert_eq!(
            (athena.workgroup.as_str(), athena.query.as_str()),
            ("etl", "SELECT * FROM \"dmp\".\"users_protected\"")
        );
        assert_eq!(dataset.table.to_string(), "dmp.users_filtered");
        assert_eq!(dataset.paths.location().to_string(), "s3://lake/schemas/users_filtered/");
        let refresh = dataset.refresh.as_ref().unwrap();
        let inputs: Vec<&str> = refresh.inputs().into_iter().map(|input| input.dataset.as_str()).collect();
        assert_eq!((inputs, refresh.after[0].any), (vec!["optouts", "users", "withdrawn"], true));
        let kept = (dataset.retain.generations, dataset.retain.drain.as_hours());
        assert_eq!(kept, (0, 2), "people who opted out must not stay in older generations");
        assert_eq!((dataset.schema, dataset.on_drift, dataset.create), (Policy::Any, OnDrift::Repair, true));
        assert_eq!(dataset.filters, config.dataset("users").unwrap().protected);
        for inbox in ["optouts", "withdrawn"] {
            let dependants: Vec<&str> = config.dependants(inbox).map(|dataset| dataset.name.as_str()).collect();
            assert_eq!(dependants, ["users_filtered"]);
            assert_eq!(config.dataset(inbox).unwrap().protects[0].by.len(), 2);
        }
        let renamed = AS_TABLE.replace("etl\"", "etl\", table = \"users_for_partners\"");
        let config = parse(&[inbox("optouts", &renamed)]).unwrap();
        assert_eq!(config.dataset("users_for_partners").unwrap().table.to_string(), "dmp.users_for_partners");
        assert!(config.dataset("users_filtered").is_err());
    }

    #[test]
    fn a_view_needs_no_table_of_its_own() {
        let config = parse(&[inbox("optouts", "{ column = [\"id\"], as = \"view\" }")]).unwrap();
        assert_eq!(config.datasets().count(), 2);
        assert_eq!(config.dataset("optouts").unwrap().protects[0].by[0].columns, ["id"]);
    }

    #[test]
    fn faults_name_the_inbox_and_what_to_set() {
        let at = "x: datasets.optouts.protects.users";
        let other = "[datasets.b]\ntable = \"users_filtered\"\nsource.files.location = \"s3://lake/in/\"\n".to_owned();
        let taken = "the filtered table dmp.users_filtered has the name or the folder of dataset";
        for (entries, fault) in [
            (
                vec![inbox("optouts", "{ column = \"id\", as = \"table\" }")],
                format!(
                    "{at}: workgroup is missing: set the Athena workgroup that builds the table, one of the stack's EngineWorkgroups"
                ),
            ),
            (
                vec![inbox("optouts", "{ as = \"view\" }")],
                format!("{at}: column is missing: name the column, or a list of columns, with the inbox's key"),
            ),
            (
                vec![inbox("optouts", "{ column = \"id\", as = \"copy\" }")],
                format!("{at}.as: expected \"view\" or \"table\", found \"copy\""),
            ),
            (
                vec![inbox("optouts", "{ column = \"id\", workgroup = \"etl\" }")],
                format!("{at}.workgroup: has no effect without as = \"table\": set that too, or remove this key"),
            ),
            (
                vec![inbox("optouts", "{ column = \"id\", kind = \"table\" }")],
                format!("{at}: unknown key \"kind\", expected one of column, as, table, workgroup"),
            ),
            (vec![inbox("optouts", AS_TABLE), other], format!("{at}: {taken} \"b\": set another name in table")),
            (
                vec![inbox("a", AS_TABLE), inbox("optouts", &AS_TABLE.replace("etl", "other"))],
                format!(
                    "{at}: the inboxes that protect a dataset share one filtered table: set the same table and workgroup in each, or as = \"table\" in only one"
                ),
            ),
            (
                vec![inbox("optouts", &AS_TABLE.replace("etl\"", "etl\", table = \"users_protected\""))],
                "x: datasets.users_protected: dmp.users_protected is the name of a view that Turntable keeps for dataset \"users\": choose another table name".into(),
            ),
        ] {
            assert_eq!(parse(&entries).unwrap_err(), fault);
        }
    }

    #[test]
    fn an_entry_that_is_not_read_has_its_name_too() {
        let text = format!("{DEFAULTS}{}[datasets.users_filtered]\nsource = 1\n", inbox("optouts", AS_TABLE));
        let config = Config::parse_valid("x", &text).unwrap();
        let broken: Vec<&str> = config.broken().map(|entry| entry.name.as_str()).collect();
        assert_eq!(broken, ["optouts", "users_filtered"]);
    }

    #[test]
    fn faults_in_the_protected_entry_or_an_inbox_leave_the_filtered_table() {
        for fault in ["[datasets.users.parquet]\nx = 1\n", "[datasets.optouts.retain]\nx = 1\n"] {
            let text = format!("{DEFAULTS}{}{fault}", inbox("optouts", AS_TABLE));
            let config = Config::parse_valid("x", &text).unwrap();
            assert_eq!(config.broken().count(), 1);
            assert_eq!(config.dataset("users_filtered").unwrap().filters.as_ref().unwrap().by.len(), 1, "{fault}");
        }
    }
}
