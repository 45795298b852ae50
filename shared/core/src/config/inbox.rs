//! Reads `source = { inbox = … }`.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use toml::Value;

use super::{
    dataset::Dataset,
    inbox_rules::{accepts, quota},
    names::{column_names, columns, location},
    read::{Faults, Keys},
    source::{Inbox, Source},
};
use crate::{
    consent::{
        OCCURRED_AT, STATE,
        key::{Key, Type},
        normalize::{Normalization, Normalize},
    },
    optout::view,
};

/// Reads the options of an inbox. `source` reads the value of `reconcile`, which is itself a source.
pub(super) fn inbox(keys: Keys, source: impl FnOnce(Keys) -> Option<Source>) -> Option<Inbox> {
    let location = keys.parsed("location", location);
    let key = column_names(&keys, "key");
    let declared = keys.has("columns").then(|| columns(&keys)).flatten();
    let normalize = normalization(&keys);
    let buckets = keys.whole("buckets", 1);
    let min_interval = keys.parsed("min_interval", duration).unwrap_or_default();
    let (accepts, max_returning, quota) = (accepts(&keys), keys.whole("max_returning", 0), quota(&keys));
    let reconcile = keys.table("reconcile").and_then(source).map(Box::new);
    for missing in ["location", "key"].into_iter().filter(|name| !keys.has(name)) {
        keys.fault_here(format!("{missing} is missing"));
    }
    if buckets.is_some_and(|buckets| buckets > 1024 || !buckets.is_power_of_two()) {
        keys.fault("buckets", "expected a power of two from 1 to 1024");
    }
    if key.iter().flatten().any(|name| name == STATE || name == OCCURRED_AT) {
        keys.fault(
            "key",
            format!("{STATE} and {OCCURRED_AT} can't be key columns: every record has them in addition to the key"),
        );
    }
    let mut types = None;
    if let (Some(key), Some(declared)) = (&key, declared) {
        for column in declared.iter().filter(|column| !key.contains(&column.name)) {
            keys.fault(&format!("columns.{}", column.name), "not a column of key: declare only the key's columns");
        }
        let mut typed = Vec::new();
        for name in key {
            match declared.iter().find(|column| column.name == *name).map(|column| Type::of(&column.glue_type)) {
                Some(Some(kind)) => typed.push((name.clone(), kind)),
                Some(None) => {
                    keys.fault(&format!("columns.{name}"), "the type of a key column must be bigint, int or string")
                }
                None => {
                    keys.fault("columns", format!("{name} is missing: declare all columns of key, or remove columns"))
                }
            }
        }
        if !normalize.steps().is_empty() && typed.iter().all(|(_, kind)| *kind != Type::String) {
            keys.fault("normalize", "no key column is a string: remove normalize, or declare a key column as string");
        }
        types = Some(Key { columns: typed });
    }
    keys.finish();
    let buckets = buckets.and_then(|buckets| u32::try_from(buckets).ok());
    Some(Inbox {
        location: location?,
        key: key?,
        types,
        normalize,
        buckets,
        min_interval,
        accepts,
        max_returning,
        quota,
        reconcile,
    })
}

/// Reads `normalize`: a list of normalization steps. Returns no steps if the key is missing or its value is invalid.
fn normalization(keys: &Keys) -> Normalization {
    let Some(value) = keys.value("normalize") else { return Normalization::default() };
    let step = |value: &Value| value.as_str().and_then(Normalize::parse);
    let steps: Option<Vec<Normalize>> = value.as_array().and_then(|list| list.iter().map(step).collect());
    match steps.map(|steps| (steps.len(), Normalization::new(steps))) {
        Some((length, normalization)) if length == normalization.steps().len() => normalization,
        _ => {
            let names = Normalize::ALL.map(Normalize::as_str).join(", ");
            keys.fault("normalize", format!("expected a list of distinct names from {names}"));
            Normalization::default()
        }
    }
}

/// Parses a non-negative duration. Hours are the largest unit, because [`SignedDuration`] doesn't parse days.
fn duration(text: &str) -> Result<SignedDuration, String> {
    let parsed = text.parse::<SignedDuration>().ok().filter(|duration| !duration.is_negative());
    parsed.ok_or_else(|| {
        format!(
            "{text:?} is not a valid duration, expected one in hours or smaller units, such as \"5s\", \"2m\" or \"1h\""
        )
    })
}

/// Checks that inbox datasets have only supported checks, that no inbox overlaps a table's folder or another inbox, and
/// that no table has the name of a view.
pub(super) fn together(datasets: &BTreeMap<String, Dataset>, faults: &Faults) {
    names_of_views(datasets, faults);
    let all: Vec<&Dataset> = datasets.values().collect();
    for (at, dataset) in all.iter().enumerate() {
        let Source::Inbox(inbox) = &dataset.source else { continue };
        let checks = &dataset.checks;
        let unsupported = [!checks.not_null.is_empty(), !checks.range.is_empty(), !checks.fresh.is_empty()];
        let unsupported = unsupported.contains(&true) || !checks.unique.is_empty() || !checks.sql.is_empty();
        if unsupported || checks.canary.is_some() {
            let fault = "an inbox supports only min_rows, max_shrink and max_growth: other checks would delay opt-outs";
            faults.push(&format!("datasets.{}.checks", dataset.name), fault);
        }
        let path = format!("datasets.{}.source.inbox.location", dataset.name);
        for other in all.iter().filter(|other| other.paths.location().overlaps(&inbox.location)) {
            faults.push(
                &path,
                format!(
                    "{} overlaps the table folder of dataset {:?}: choose another location",
                    inbox.location, other.name
                ),
            );
        }
        for other in &all[at + 1..] {
            if let Source::Inbox(theirs) = &other.source
                && theirs.location.overlaps(&inbox.location)
            {
                faults.push(
                    &path,
                    format!(
                        "{} overlaps the inbox of dataset {:?}: choose another location",
                        inbox.location, other.name
                    ),
                );
            }
        }
    }
}

/// Checks that no dataset's table has the name of one of Turntable's views.
fn names_of_views(datasets: &BTreeMap<String, Dataset>, faults: &Faults) {
    for dataset in datasets.values() {
        let active = dataset.is_inbox().then(|| view::active_name(&dataset.table));
        let protected = dataset.protected.as_ref().map(|protected| view::protected_name(&protected.table));
        for view in active.into_iter().chain(protected) {
            for other in datasets.values().filter(|other| other.table == view) {
                let path = format!("datasets.{}", other.name);
                let fault = format!(
                    "{view} is the name of a view that Turntable keeps for dataset {:?}: choose another table name",
                    dataset.name
                );
                faults.push(&path, fault);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        config::{Config, Source, test_support::without_positions},
        consent::{key::Type, normalize::Normalize},
    };

    const DEFAULTS: &str = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
        [datasets.users]\nsource = { files = { location = \"s3://lake/in/\" } }\n";

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse("x", &format!("{DEFAULTS}[datasets.optouts]\n{text}"))
            .map_err(|error| without_positions(error.message()))
    }

    #[test]
    fn inbox_and_protects_are_read() {
        let config = parse(
            "source = { inbox = { location = \"s3://lake/inbox/optouts\", key = [\"User_Id\"], \
             columns = { user_id = \"bigint\" }, buckets = 16, min_interval = \"5s\", \
             reconcile = { files = { location = \"s3://lake/nightly/\" } } } }\n\
             protects = { users = \"id\" }\n",
        )
        .unwrap();
        let dataset = config.dataset("optouts").unwrap();
        let Source::Inbox(inbox) = &dataset.source else { panic!("no inbox") };
        assert_eq!(inbox.types.as_ref().unwrap().columns, [("user_id".to_owned(), Type::Bigint)]);
        assert_eq!((inbox.buckets, inbox.min_interval.as_secs()), (Some(16), 5));
        let kept = |name: &str| config.dataset(name).unwrap().retain.generations;
        assert_eq!((kept("optouts"), kept("users")), (0, 2), "an inbox keeps none, because it can't be rolled back");
        assert!(matches!(inbox.reconcile.as_deref(), Some(Source::Files(_))));
        assert_eq!(dataset.protects[0].table.to_string(), "dmp.users");
        assert_eq!(dataset.protects[0].by[0].columns, ["id"]);
        assert_eq!(config.dataset("users").unwrap().protected.as_ref(), Some(&dataset.protects[0]));
        assert!(parse("source = { inbox = { location = \"s3://lake/inbox\", key = \"user_id\" } }\n").is_ok());
    }

    #[test]
    fn normalization_needs_a_key_that_is_a_string() {
        let inbox = |text: &str| {
            let location = "location = \"s3://lake/inbox\", key = [\"a\", \"b\"]";
            let config = parse(&format!("source = {{ inbox = {{ {location}, {text} }} }}\n"))?;
            let Source::Inbox(inbox) = &config.dataset("optouts").unwrap().source else { panic!("no inbox") };
            Ok::<_, String>(inbox.normalize.steps().to_vec())
        };
        let all = vec![Normalize::Nfkc, Normalize::Trim, Normalize::Lower, Normalize::Uuid];
        assert_eq!(inbox("normalize = [\"uuid\", \"lower\", \"trim\", \"nfkc\"]"), Ok(all));
        assert_eq!(inbox("normalize = []"), Ok(Vec::new()));
        assert_eq!(
            inbox("columns = { a = \"int\", b = \"string\" }, normalize = [\"trim\"]"),
            Ok(vec![Normalize::Trim])
        );
        assert_eq!(
            inbox("columns = { a = \"int\", b = \"bigint\" }, normalize = [\"trim\"]").unwrap_err(),
            "x: datasets.optouts.source.inbox.normalize: no key column is a string: remove normalize, or declare a key column as string"
        );
        for wrong in ["\"trim\"", "[\"trim\", \"trim\"]", "[\"Trim\"]", "[1]"] {
            assert_eq!(
                inbox(&format!("normalize = {wrong}")).unwrap_err(),
                "x: datasets.optouts.source.inbox.normalize: expected a list of distinct names from nfkc, trim, lower, uuid"
            );
        }
    }

    #[test]
    fn every_fault_is_listed_with_its_path() {
        let inbox = |text: &str| parse(&format!("source = {{ inbox = {{ {text} }} }}\n")).unwrap_err();
        assert_eq!(
            inbox("buckets = 3, min_interval = \"soon\", key = [\"a\", \"A\"], bucket = 1"),
            "x: datasets.optouts.source.inbox.key: expected a column name or a list of distinct column names, found an array\n\
             x: datasets.optouts.source.inbox.min_interval: \"soon\" is not a valid duration, expected one in hours or smaller units, such as \"5s\", \"2m\" or \"1h\"\n\
             x: datasets.optouts.source.inbox: location is missing\n\
             x: datasets.optouts.source.inbox.buckets: expected a power of two from 1 to 1024\n\
             x: datasets.optouts.source.inbox: unknown key \"bucket\", expected one of location, key, columns, normalize, buckets, min_interval, accepts, max_returning, quota, reconcile"
        );
        assert_eq!(
            inbox(
                "location = \"s3://lake/schemas\", key = [\"a\", \"state\"], columns = { a = \"double\", b = \"int\" }"
            ),
            "x: datasets.optouts.source.inbox.key: state and occurred_at can't be key columns: every record has them in addition to the key\n\
             x: datasets.optouts.source.inbox.columns.b: not a column of key: declare only the key's columns\n\
             x: datasets.optouts.source.inbox.columns.a: the type of a key column must be bigint, int or string\n\
             x: datasets.optouts.source.inbox.columns: state is missing: declare all columns of key, or remove columns\n\
             x: datasets.optouts.source.inbox.location: s3://lake/schemas/ overlaps the table folder of dataset \"optouts\": choose another location\n\
             x: datasets.optouts.source.inbox.location: s3://lake/schemas/ overlaps the table folder of dataset \"users\": choose another location"
        );
        assert_eq!(
            parse(
                "source = { inbox = { location = \"s3://lake/inbox\", key = [\"a\"] } }\n\
                 protects = { users = [\"a\", \"b\"], orders = \"c\", optouts = \"a\" }\n"
            )
            .unwrap_err(),
            "x: datasets.optouts.protects.users: expected one column for each of the inbox's key columns (1), found 2\n\
             x: datasets.optouts.protects.optouts: expected the name of another dataset in this file: users\n\
             x: datasets.optouts.protects.orders: expected the name of another dataset in this file: users"
        );
    }

    #[test]
    fn no_table_has_the_name_of_a_view() {
        let inbox =
            "source = { inbox = { location = \"s3://lake/inbox\", key = [\"a\"] } }\nprotects = { users = \"a\" }\n";
        let other = |name: &str| {
            parse(&format!("{inbox}[datasets.{name}]\nsource = {{ files = {{ location = \"s3://lake/in2/\" }} }}\n"))
        };
        assert_eq!(
            other("users_protected").unwrap_err(),
            "x: datasets.users_protected: dmp.users_protected is the name of a view that Turntable keeps for dataset \
             \"users\": choose another table name"
        );
        assert!(other("optouts_active").is_err());
        assert!(other("users_active").is_ok());
    }
}
