//! Parses the text of `datasets.toml` into datasets, and collects all errors in it.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{
    adopt::Adopt,
    broken::Outline,
    checks,
    database::{mysql, postgres},
    dataset::{Dataset, OnDrift},
    dependencies, engines,
    files::files,
    filtered, group, inbox,
    names::{folders, identifier},
    protects::{self, Protects},
    puts,
    read::{Fault, Faults, Keys, described},
    refresh::{self, Unresolved},
    settings::Defaults,
    source::Source,
    spec::spec,
};
use crate::layout::{Group, TableName, TablePaths};

/// What was read from a `datasets.toml`. A dataset that has errors must not be used.
#[derive(Default)]
pub struct Checked {
    /// The datasets that could be read.
    pub datasets: BTreeMap<String, Dataset>,
    /// What is known about each entry, even if it has errors.
    pub outlines: BTreeMap<String, Outline>,
    pub faults: Vec<Fault>,
}

/// Parses the text of a `datasets.toml`.
pub fn check(text: &str) -> Checked {
    let faults = Faults::default();
    let mut checked = Checked::default();
    match text.parse::<Table>() {
        Ok(table) => {
            checked.outlines = outlines(&table);
            checked.datasets = file(&table, &checked.outlines, &faults);
            for dataset in checked.datasets.values().filter(|dataset| dataset.filters.is_some()) {
                let outline = Outline { database: Some(dataset.table.database.clone()), group: None };
                checked.outlines.entry(dataset.name.clone()).or_insert(outline);
            }
        }
        Err(error) => faults.syntax(error.span().map_or(0, |span| span.start), error.message()),
    }
    Checked { faults: faults.into_inner(), ..checked }
}

/// Returns the outline of each entry: the values that can be read without checking the entry.
fn outlines(table: &Table) -> BTreeMap<String, Outline> {
    let text = |table: &Table, key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
    let database = table.get("defaults").and_then(Value::as_table).and_then(|defaults| text(defaults, "database"));
    let outline = |entry: &Value| {
        let entry = entry.as_table();
        Outline {
            database: entry.and_then(|entry| text(entry, "database")).or_else(|| database.clone()),
            group: entry.and_then(|entry| text(entry, "group")),
        }
    };
    let entries = table.get("datasets").and_then(Value::as_table).into_iter().flatten();
    entries.map(|(name, entry)| (name.clone(), outline(entry))).collect()
}

fn file(table: &Table, outlines: &BTreeMap<String, Outline>, faults: &Faults) -> BTreeMap<String, Dataset> {
    let mut datasets = BTreeMap::new();
    let root = Keys::new("", table, faults);
    let defaults = root.table("defaults").map(|keys| {
        let defaults = Defaults::read(&keys);
        keys.finish();
        defaults
    });
    let mut defaults = defaults.unwrap_or_default();
    if let Some(refresh) = defaults.refresh.as_mut().filter(|refresh| !refresh.after.is_empty()) {
        faults.push("defaults.refresh", "{ after = … } lists the inputs of one dataset: set it in that dataset");
        refresh.after.clear();
    }
    if defaults.refresh.as_mut().is_some_and(|refresh| refresh.on_put.take().is_some()) {
        faults.push("defaults.refresh", "on_put applies to the files of one dataset: set it in that dataset");
    }
    // An invalid key in [defaults] is reported there, so it must not also be reported as missing from each dataset.
    let given =
        |key: &str| table.get("defaults").and_then(Value::as_table).is_some_and(|given| given.contains_key(key));
    let (mut protects, mut refreshes) = (BTreeMap::new(), BTreeMap::new());
    match root.value("datasets") {
        Some(Value::Table(entries)) if !entries.is_empty() => {
            for (name, entry) in entries {
                if let Some(dataset) = dataset(name, entry, &defaults, given, (&mut protects, &mut refreshes), faults) {
                    datasets.insert(name.clone(), dataset);
                }
            }
        }
        Some(other) if !other.is_table() => {
            faults.push("datasets", format!("expected a table, found {}", described(other)));
        }
        _ => faults.push("datasets", "no dataset is configured: add at least one [datasets.NAME]"),
    }
    root.finish();
    overlapping_folders(&datasets, faults);
    protects::together(&mut datasets, outlines, &protects, faults);
    filtered::derive(&mut datasets, outlines, &protects, &mut refreshes, faults);
    inbox::together(&datasets, faults);
    group::together(&datasets, faults);
    dependencies::together(&mut datasets, outlines, &refreshes, faults);
    datasets
}

/// Reads one dataset. Returns `None` if its entry isn't a table, or if its source, database or location is missing or
/// invalid. `given` returns whether a key is set in `[defaults]`, even to an invalid value. Adds the values of
/// `protects` and `refresh` to the two maps, because they name other datasets.
fn dataset(
    name: &str,
    entry: &Value,
    defaults: &Defaults,
    given: impl Fn(&str) -> bool,
    (protects, refreshes): (&mut Protects, &mut BTreeMap<String, Unresolved>),
    faults: &Faults,
) -> Option<Dataset> {
    let path = format!("datasets.{name}");
    if let Err(fault) = identifier(name) {
        faults.push(&path, fault);
    }
    let Some(table) = entry.as_table() else {
        faults.push(&path, format!("expected a table, found {}", described(entry)));
        return None;
    };
    let keys = Keys::new(path, table, faults);
    let settings = Defaults::read(&keys).or(defaults);
    let table_name = keys.parsed("table", identifier).unwrap_or_else(|| name.into());
    let source = source(&keys);
    protects.insert(name.into(), protects::read(&keys, source.as_ref()));
    let partition_by = partition_by(&keys, source.as_ref());
    engines::writes_itself(&keys, source.as_ref());
    let group = keys.parsed("group", identifier);
    let adopt = Adopt::read(&keys);
    let checks = keys.table("checks").map(checks::read).unwrap_or_default();
    for (key, missing) in [("database", settings.database.is_none()), ("location", settings.location.is_none())] {
        if missing && !table.contains_key(key) && !given(key) {
            keys.fault_here(format!("{key} is missing: set it here or in [defaults]"));
        }
    }
    let is_inbox = matches!(source, Some(Source::Inbox(_)));
    if is_inbox && table.contains_key("on_unrepresentable") {
        keys.fault(
            "on_unrepresentable",
            "not supported for an inbox, which always sets invalid records aside: remove it",
        );
    }
    let on_unrepresentable = settings.on_unrepresentable.unwrap_or_default();
    for key in ["on_drift", "on_unflip"] {
        if is_inbox && table.get(key).and_then(Value::as_str) == Some("report") {
            keys.fault(
                key,
                "an inbox is always repaired, because a published opt-out must stay published: set it to \"repair\" or \
                 remove it",
            );
        }
    }
    let on_drift = if is_inbox { OnDrift::Repair } else { settings.on_drift.unwrap_or_default() };
    let retain = settings.retain.retain(is_inbox);
    for (key, least) in [("drain", retain.drain), ("abandoned", retain.abandoned)] {
        if retain.max_age < least {
            let fault = format!(
                "max_age {:#} is shorter than {key} {least:#}, before which sweep deletes no generation: raise max_age \
                 or lower {key}",
                retain.max_age
            );
            keys.fault("retain", fault);
        }
    }
    let refresh = refresh::combined(&keys, settings.refresh.clone(), settings.timezone.clone()).filter(|_| !is_inbox);
    refreshes.extend(refresh.map(|refresh| (name.to_owned(), refresh)));
    if settings.refresh.as_ref().is_some_and(|refresh| refresh.on_put.is_some()) {
        puts::check(&keys, source.as_ref(), settings.location.as_ref(), &table_name);
    }
    if is_inbox && table.contains_key("refresh") {
        keys.fault("refresh", "not supported for an inbox, which its drops and OptoutSchedule refresh: remove it");
    }
    keys.finish();
    let (database, location) = (settings.database.clone()?, settings.location.clone()?);
    let paths = TablePaths::new(&location, &table_name);
    Some(Dataset {
        name: name.into(),
        group: group.map(|group| Group::new(&location, &group)),
        refresh: None,
        paths,
        spec: spec(table, on_unrepresentable, &database, &location),
        table: TableName { database, table: table_name },
        source: source?,
        checks,
        schema: settings.schema.unwrap_or_default(),
        create: settings.create.unwrap_or(true),
        adopt,
        parquet: settings.parquet(),
        partition_by,
        on_unrepresentable,
        protects: Vec::new(),
        protected: None,
        filters: None,
        on_drift,
        retain,
        workgroups: settings.workgroups.unwrap_or_else(|| vec!["primary".into()]),
    })
}

/// Returns the partition columns, from `partition_by` in the dataset or in `source.athena`. Whether the source has
/// these columns is checked only when it is read.
fn partition_by(keys: &Keys, source: Option<&Source>) -> Vec<String> {
    let columns = folders(keys);
    if keys.has("partition_by") && matches!(source, Some(Source::Inbox(_))) {
        keys.fault(
            "partition_by",
            "an inbox can't be partitioned, because its files are divided by the key: remove it",
        );
    }
    match source {
        Some(Source::Athena(athena)) if !athena.partition_by.is_empty() => {
            if keys.has("partition_by") {
                keys.fault("partition_by", "also set in source.athena: remove one of the two");
            }
            athena.partition_by.clone()
        }
        _ => columns,
    }
}

fn source(keys: &Keys) -> Option<Source> {
    if !keys.has("source") {
        keys.fault_here(
            "source is missing: set source = { postgres = … }, { mysql = … }, { files = … }, { inbox = … }, { athena = … } \
             or { glue_job = … }",
        );
        return None;
    }
    one_of(keys.table("source")?, true)
}

/// Reads a source: a table with exactly one kind of source as its key, such as `{ postgres = … }`. If `all` is false,
/// as for `reconcile`, only `postgres`, `mysql` and `files` are allowed.
fn one_of(source: Keys, all: bool) -> Option<Source> {
    const ROW_SOURCES: [&str; 3] = ["postgres", "mysql", "files"];
    const ALL: [&str; 6] = ["postgres", "mysql", "files", "inbox", "athena", "glue_job"];
    let kinds = if all { &ALL[..] } else { &ROW_SOURCES };
    let given = kinds.iter().filter(|kind| source.has(kind)).count();
    if given != 1 {
        source.fault_here(format!("expected exactly one of {}, found {given}", kinds.join(", ")));
    }
    let read = |kind: &&'static str| {
        let keys = source.table(kind)?;
        match *kind {
            "postgres" => postgres(keys).map(Source::Postgres),
            "mysql" => mysql(keys).map(Source::Mysql),
            "files" => files(keys).map(Source::Files),
            "inbox" => inbox::inbox(keys, |source| one_of(source, false)).map(Source::Inbox),
            "athena" => engines::athena(keys).map(Source::Athena),
            _ => engines::glue_job(keys).map(Source::GlueJob),
        }
    };
    // If several kinds are given, all are read, so that the faults in each are reported.
    let sources: Vec<Source> = kinds.iter().filter_map(read).collect();
    source.finish();
    sources.into_iter().next()
}

/// Checks that no two datasets publish to the same Glue table or to overlapping folders. Otherwise, each would flip and
/// sweep the other's generations.
fn overlapping_folders(datasets: &BTreeMap<String, Dataset>, faults: &Faults) {
    let mut tables: BTreeMap<String, &Dataset> = BTreeMap::new();
    for dataset in datasets.values() {
        if let Some(one) = tables.insert(dataset.table.to_string(), dataset) {
            let fault = format!(
                "table {} already belongs to dataset {:?}: choose another table or database",
                one.table, one.name
            );
            faults.push(&format!("datasets.{}", dataset.name), fault);
        }
    }
    // Sorted like this, a folder is directly followed by all folders inside it. So each dataset is compared only with
    // the folders that contain it, and 10,000 datasets don't need 50 million comparisons.
    let mut sorted: Vec<&Dataset> = datasets.values().collect();
    sorted.sort_by_key(|dataset| (&dataset.paths.location().bucket, &dataset.paths.location().prefix));
    let mut above: Vec<&Dataset> = Vec::new();
    for dataset in sorted {
        while above.pop_if(|above| !above.paths.location().overlaps(dataset.paths.location())).is_some() {}
        for one in &above {
            let (one, other) = if one.name < dataset.name { (*one, dataset) } else { (dataset, *one) };
            if one.table != other.table {
                let fault = format!(
                    "its folder {} overlaps the folder of dataset {:?}: choose another location or table",
                    other.paths.location(),
                    one.name
                );
                faults.push(&format!("datasets.{}", other.name), fault);
            }
        }
        above.push(dataset);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{
        Config,
        test_support::{DEFAULTS, faults},
    };

    #[test]
    fn all_faults_are_listed_together_with_their_paths() {
        let text = format!(
            "{DEFAULTS}retian = 1\n\
             [datasets.users]\nsource = {{ postgres = {{ secret = \"x\", query = \"SELECT 1\", splitby = \"id\" }} }}\n\
             checks = {{ min_row = 1, max_shrink = 20 }}\n\
             [datasets.Orders]\nsource = {{ mongo = {{}} }}\n\
             [datasets.items]\ntable = \"users\"\nsource = {{ files = {{ location = \"lake/items\", columns = {{ id = \"bigit\" }} }} }}\n"
        );
        assert_eq!(
            faults(&text),
            "datasets.toml: defaults: unknown key \"retian\", expected one of parquet, database, location, create, schema, on_drift, on_unflip, on_unrepresentable, retain, workgroups, refresh, timezone\n\
             datasets.toml: datasets.users.source.postgres: unknown key \"splitby\", expected one of secret, url, query, parallel, split_by, host, dbname, sslmode, sslrootcert, port, lock_timeout, row_security, auth, connect_timeout, statement_timeout, keepalive\n\
             datasets.toml: datasets.users.checks.max_shrink: expected a fraction from 0 to 1, such as 0.2 for 20 %, found 20\n\
             datasets.toml: datasets.users.checks: unknown key \"min_row\", expected one of min_rows, max_shrink, max_growth, not_null, range, fresh, unique, sql, canary\n\
             datasets.toml: datasets.Orders: \"Orders\" is not a valid name: use at most 128 characters of a-z, 0-9 and _, and don't begin with a digit\n\
             datasets.toml: datasets.Orders.source: expected exactly one of postgres, mysql, files, inbox, athena, glue_job, found 0\n\
             datasets.toml: datasets.Orders.source: unknown key \"mongo\", expected one of postgres, mysql, files, inbox, athena, glue_job\n\
             datasets.toml: datasets.items.source.files.location: \"lake/items\" is not an S3 location, expected s3://BUCKET/PREFIX/ or s3://BUCKET/KEY\n\
             datasets.toml: datasets.items.source.files.columns.id: \"bigit\" is not a Glue type (error at character 6)"
        );
    }

    #[test]
    fn missing_keys_are_reported() {
        assert_eq!(faults(""), "datasets.toml: datasets: no dataset is configured: add at least one [datasets.NAME]");
        assert_eq!(
            faults("[datasets.users]\n"),
            "datasets.toml: datasets.users: source is missing: set source = { postgres = … }, { mysql = … }, { files = … }, { inbox = … }, { athena = … } or { glue_job = … }\n\
             datasets.toml: datasets.users: database is missing: set it here or in [defaults]\n\
             datasets.toml: datasets.users: location is missing: set it here or in [defaults]"
        );
        assert_eq!(
            faults(&format!("{DEFAULTS}[datasets.users]\nsource = {{ postgres = {{ query = 7 }} }}\n")),
            "datasets.toml: datasets.users.source.postgres.query: expected a non-empty string, found a whole number\n\
             datasets.toml: datasets.users.source.postgres: set exactly one of secret and url"
        );
    }

    #[test]
    fn every_fault_has_a_line_and_column() {
        let text = "[defaults]\n  databases = \"dmp\"\n[datasets.users]\nlocation = \"s3://lake/x\"\n\
                    source.files = { location = \"s3://猫/\", formats = \"csv\" }\n\n[dataset]\n";
        assert_eq!(
            Config::parse("datasets.toml", text).unwrap_err().message(),
            "datasets.toml:2:3: defaults: unknown key \"databases\", expected one of parquet, database, location, create, schema, on_drift, on_unflip, on_unrepresentable, retain, workgroups, refresh, timezone\n\
             datasets.toml:5:40: datasets.users.source.files: unknown key \"formats\", expected one of location, format, columns, csv, objects, missing, extra\n\
             datasets.toml:3:11: datasets.users: database is missing: set it here or in [defaults]\n\
             datasets.toml:7:2: unknown key \"dataset\", expected one of defaults, datasets"
        );
    }

    #[test]
    fn toml_syntax_error_has_a_line_and_column() {
        let error = Config::parse("datasets.toml", "[defaults]\ndatabase = dmp\n").unwrap_err();
        assert!(error.message().starts_with("datasets.toml:2:12: "), "{error}");
    }

    #[test]
    fn positions_refer_to_the_text_before_expansion() {
        let written = "[datasets.a]\ndatabase = \"d\"\nsource.mysql = { url = \"${U}\", queries = \"\" }\n";
        let text = written.replace("${U}", "mysql://somebody@somewhere/something");
        let error = Config::parse_expanded("f", &text, written).unwrap_err();
        assert!(error.message().contains("f:3:32: datasets.a.source.mysql: unknown key \"queries\""), "{error}");
    }

    #[test]
    fn two_datasets_cannot_share_a_table_or_overlap() {
        let source = "source = { files = { location = \"s3://lake/in/\" } }";
        let text = format!("{DEFAULTS}[datasets.a]\n{source}\n[datasets.b]\ntable = \"a\"\n{source}\n");
        assert_eq!(
            faults(&text),
            "datasets.toml: datasets.b: table dmp.a already belongs to dataset \"a\": choose another table or database"
        );
        let text =
            format!("{DEFAULTS}[datasets.a]\n{source}\n[datasets.b]\nlocation = \"s3://lake/schemas/a\"\n{source}\n");
        assert_eq!(
            faults(&text),
            "datasets.toml: datasets.b: its folder s3://lake/schemas/a/b/ overlaps the folder of dataset \"a\": choose another location or table"
        );
        // The sibling `a-d` starts with `a` but doesn't overlap it. The overlaps of `b` and `c` with `a` are still
        // found.
        let under = |name: &str, folder: &str| {
            format!("[datasets.{name}]\nlocation = \"s3://lake/schemas/{folder}\"\n{source}\n")
        };
        let text =
            format!("{DEFAULTS}[datasets.a]\n{source}\n{}{}{}", under("b", "a"), under("c", "a"), under("d", "a-d"));
        assert_eq!(
            faults(&text),
            "datasets.toml: datasets.b: its folder s3://lake/schemas/a/b/ overlaps the folder of dataset \"a\": choose another location or table\n\
             datasets.toml: datasets.c: its folder s3://lake/schemas/a/c/ overlaps the folder of dataset \"a\": choose another location or table"
        );
    }
}
