//! The raw TOML → datasets, and every fault on the way.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::{
    Auth, Connect, Dataset, Mysql, OnUnflip, OnUnrepresentable, Parquet, Postgres, Retain, Session, Source, checks,
    engines,
    files::files,
    group, inbox,
    read::{Fault, Faults, Keys, described},
};
use crate::{
    name::{Group, Home, Location, TableName},
    schema::{self, Column, Policy},
};

pub fn check(text: &str) -> (BTreeMap<String, Dataset>, Vec<Fault>) {
    let faults = Faults::default();
    let mut datasets = BTreeMap::new();
    match text.parse::<Table>() {
        Ok(table) => datasets = file(&table, &faults),
        Err(error) => faults.syntax(error.span().map_or(0, |span| span.start), error.message()),
    }
    (datasets, faults.into_inner())
}

fn file(table: &Table, faults: &Faults) -> BTreeMap<String, Dataset> {
    let mut datasets = BTreeMap::new();
    let root = Keys::new("", table, faults);
    let defaults = root.table("defaults").map(|keys| {
        let defaults = Defaults::read(&keys);
        keys.finish();
        defaults
    });
    let defaults = defaults.unwrap_or_default();
    match root.value("datasets") {
        Some(Value::Table(entries)) if !entries.is_empty() => {
            for (name, entry) in entries {
                if let Some(dataset) = dataset(name, entry, &defaults, faults) {
                    datasets.insert(name.clone(), dataset);
                }
            }
        }
        Some(other) if !other.is_table() => {
            faults.push("datasets", format!("expected a table, found {}", described(other)));
        }
        _ => faults.push("datasets", "missing: expected at least one [datasets.NAME]"),
    }
    root.finish();
    shared_homes(&datasets, faults);
    inbox::together(&mut datasets, faults);
    group::together(&datasets, faults);
    datasets
}

/// What a dataset may leave to `[defaults]`.
#[derive(Default, Clone)]
struct Defaults {
    database: Option<String>,
    location: Option<Location>,
    create: Option<bool>,
    schema: Option<Policy>,
    row_group_mb: Option<u64>,
    file_mb: Option<u64>,
    on_unflip: Option<OnUnflip>,
    on_unrepresentable: Option<OnUnrepresentable>,
    retain: Kept,
    workgroups: Option<Vec<String>>,
}

/// `retain`, as far as it is given.
#[derive(Default, Clone, Copy)]
struct Kept {
    generations: Option<u64>,
    drain: Option<SignedDuration>,
    abandoned: Option<SignedDuration>,
    max_age: Option<SignedDuration>,
}

impl Kept {
    fn read(keys: Keys) -> Self {
        let kept = Kept {
            generations: keys.whole("generations", 0),
            drain: keys.duration("drain"),
            abandoned: keys.duration("abandoned"),
            max_age: keys.duration("max_age"),
        };
        if kept.abandoned.is_some_and(|abandoned| abandoned < LEAST_ABANDONED) {
            keys.fault("abandoned", "expected 1h or more: a run that is under way looks like one that has died");
        }
        keys.finish();
        kept
    }

    fn or(self, below: Kept) -> Kept {
        Kept {
            generations: self.generations.or(below.generations),
            drain: self.drain.or(below.drain),
            abandoned: self.abandoned.or(below.abandoned),
            max_age: self.max_age.or(below.max_age),
        }
    }

    /// Of an inbox nothing is kept for a rollback, which is refused.
    fn retain(self, is_inbox: bool) -> Retain {
        let usual = Retain::default();
        Retain {
            generations: self.generations.unwrap_or(if is_inbox { 0 } else { usual.generations }),
            drain: self.drain.unwrap_or(usual.drain),
            abandoned: self.abandoned.unwrap_or(usual.abandoned),
            max_age: self.max_age.unwrap_or(usual.max_age),
        }
    }
}

const LEAST_ABANDONED: SignedDuration = SignedDuration::from_hours(1);

impl Defaults {
    fn read(keys: &Keys) -> Self {
        let parquet = keys.table("parquet");
        let size = |key| parquet.as_ref().and_then(|keys: &Keys| keys.whole(key, 1));
        let defaults = Defaults {
            database: keys.parsed("database", identifier),
            location: keys.parsed("location", location),
            create: keys.boolean("create"),
            schema: keys.parsed("schema", Policy::parse),
            row_group_mb: size("row_group_mb"),
            file_mb: size("file_mb"),
            on_unflip: keys.parsed("on_unflip", OnUnflip::parse),
            on_unrepresentable: keys.parsed("on_unrepresentable", OnUnrepresentable::parse),
            retain: keys.table("retain").map(Kept::read).unwrap_or_default(),
            workgroups: keys.strings("workgroups").map(|names| names.into_iter().map(str::to_owned).collect()),
        };
        if let Some(parquet) = parquet {
            parquet.finish();
        }
        defaults
    }

    fn or(self, below: &Defaults) -> Defaults {
        Defaults {
            database: self.database.or_else(|| below.database.clone()),
            location: self.location.or_else(|| below.location.clone()),
            create: self.create.or(below.create),
            schema: self.schema.or(below.schema),
            row_group_mb: self.row_group_mb.or(below.row_group_mb),
            file_mb: self.file_mb.or(below.file_mb),
            on_unflip: self.on_unflip.or(below.on_unflip),
            on_unrepresentable: self.on_unrepresentable.or(below.on_unrepresentable),
            retain: self.retain.or(below.retain),
            workgroups: self.workgroups.or_else(|| below.workgroups.clone()),
        }
    }

    fn parquet(&self) -> Parquet {
        let usual = Parquet::default();
        let bytes = |mb: Option<u64>, usual| mb.map_or(usual, |mb| mb.saturating_mul(1 << 20));
        Parquet {
            row_group_size: bytes(self.row_group_mb, usual.row_group_size),
            file_size: bytes(self.file_mb, usual.file_size),
        }
    }
}

fn dataset(name: &str, entry: &Value, defaults: &Defaults, faults: &Faults) -> Option<Dataset> {
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
    let protects = inbox::protects(&keys, source.as_ref());
    let partition_by = partition_by(&keys, source.as_ref());
    engines::writes_itself(&keys, source.as_ref());
    let group = keys.parsed("group", identifier);
    let checks = keys.table("checks").map(checks::read).unwrap_or_default();
    for (key, missing) in [("database", settings.database.is_none()), ("location", settings.location.is_none())] {
        if missing && !table.contains_key(key) {
            keys.fault_here(format!("{key} is missing, here and in [defaults]"));
        }
    }
    let is_inbox = matches!(source, Some(Source::Inbox(_)));
    if is_inbox && table.contains_key("on_unrepresentable") {
        keys.fault("on_unrepresentable", "an inbox sets bad records aside, and needs no such word");
    }
    let on_unrepresentable = settings.on_unrepresentable.unwrap_or_default();
    if is_inbox && table.get("on_unflip").and_then(Value::as_str) == Some("report") {
        keys.fault("on_unflip", "an inbox is always repaired: a published opt-out stays published");
    }
    let on_unflip = if is_inbox { OnUnflip::Repair } else { settings.on_unflip.unwrap_or_default() };
    let retain = settings.retain.retain(is_inbox);
    for (key, least) in [("drain", retain.drain), ("abandoned", retain.abandoned)] {
        if retain.max_age < least {
            let fault =
                format!("max_age {:#} is shorter than {key} {least:#}: nothing may go before that", retain.max_age);
            keys.fault("retain", fault);
        }
    }
    keys.finish();
    let (database, location) = (settings.database.clone()?, settings.location.clone()?);
    Some(Dataset {
        name: name.into(),
        group: group.map(|group| Group::new(&location, &group)),
        home: Home::new(&location, &table_name),
        spec: spec(table, on_unrepresentable, &database, &location),
        table: TableName { database, table: table_name },
        source: source?,
        checks,
        schema: settings.schema.unwrap_or_default(),
        create: settings.create.unwrap_or(true),
        parquet: settings.parquet(),
        partition_by,
        on_unrepresentable,
        protects,
        on_unflip,
        retain,
        workgroups: settings.workgroups.unwrap_or_else(|| vec!["primary".into()]),
    })
}

/// `partition_by = ["dt"]`. Whether there are such columns, the source tells.
fn partition_by(keys: &Keys, source: Option<&Source>) -> Vec<String> {
    let columns = folders(keys);
    if keys.has("partition_by") && matches!(source, Some(Source::Inbox(_))) {
        keys.fault("partition_by", "an inbox has files of its own order, by its key, and cannot be partitioned");
    }
    match source {
        Some(Source::Athena(athena)) if !athena.partition_by.is_empty() => {
            if keys.has("partition_by") {
                keys.fault("partition_by", "stands in source.athena too: leave one of them out");
            }
            athena.partition_by.clone()
        }
        _ => columns,
    }
}

/// The names of `partition_by`, lower case.
pub(super) fn folders(keys: &Keys) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for name in keys.strings("partition_by").unwrap_or_default() {
        let name = name.to_lowercase();
        if let Err(fault) = identifier(&name) {
            keys.fault("partition_by", format!("a folder is called like its column, and {fault}"));
        } else if columns.contains(&name) {
            keys.fault("partition_by", format!("{name:?} stands there twice"));
        } else {
            columns.push(name);
        }
    }
    columns
}

fn source(keys: &Keys) -> Option<Source> {
    if !keys.has("source") {
        keys.fault_here(
            "source is missing, expected source = { postgres = … }, { mysql = … }, { files = … }, { inbox = … }, { athena = \
             … } or { glue_job = … }",
        );
        return None;
    }
    one_of(keys.table("source")?, true)
}

/// A source's options, under the name of its kind. What a source is reconciled with is one whose rows are read.
pub(super) fn one_of(source: Keys, all: bool) -> Option<Source> {
    const READ: [&str; 3] = ["postgres", "mysql", "files"];
    const ALL: [&str; 6] = ["postgres", "mysql", "files", "inbox", "athena", "glue_job"];
    let kinds = if all { &ALL[..] } else { &READ };
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
            "inbox" => inbox::inbox(keys).map(Source::Inbox),
            "athena" => engines::athena(keys).map(Source::Athena),
            _ => engines::glue_job(keys).map(Source::GlueJob),
        }
    };
    // All of them, for the faults of each.
    let sources: Vec<Source> = kinds.iter().filter_map(read).collect();
    source.finish();
    sources.into_iter().next()
}

/// A server has a hundred connections by default, and other users.
const MOST_CONNECTIONS: u32 = 32;

fn postgres(keys: Keys) -> Option<Postgres> {
    let secret = keys.string("secret").map(|name| Connect::Secret(name.into()));
    let url = keys.string("url").map(|url| Connect::Url(url.into()));
    let query = keys.string("query").map(|query| query.trim().trim_end_matches(';').to_owned());
    let parallel = keys.whole("parallel", 1).unwrap_or(1);
    let split_by = keys.string("split_by").map(str::to_owned);
    if parallel > MOST_CONNECTIONS.into() {
        keys.fault("parallel", format!("expected at most {MOST_CONNECTIONS} connections, found {parallel}"));
    }
    if keys.has("secret") == keys.has("url") {
        keys.fault_here("expected exactly one of secret, url");
    }
    if !keys.has("query") {
        keys.fault_here("query is missing");
    }
    let session = session(&keys);
    keys.finish();
    let parallel = u32::try_from(parallel).unwrap_or(MOST_CONNECTIONS);
    Some(Postgres { connect: secret.or(url)?, query: query?, parallel, split_by, session })
}

fn session(keys: &Keys) -> Session {
    let length = |key| {
        let length = keys.duration(key);
        if length.is_some_and(|length| length < SignedDuration::from_secs(1)) {
            keys.fault(key, "expected 1s or more");
        }
        length
    };
    let auth = keys.parsed("auth", |text| match text {
        "password" => Ok(Auth::Password),
        "iam" => Ok(Auth::Iam),
        _ => Err(format!("expected \"password\" or \"iam\", found {text:?}")),
    });
    Session {
        auth: auth.unwrap_or_default(),
        connect_timeout: length("connect_timeout"),
        statement_timeout: length("statement_timeout"),
        keepalive: length("keepalive"),
    }
}

fn mysql(keys: Keys) -> Option<Mysql> {
    let secret = keys.string("secret").map(|name| Connect::Secret(name.into()));
    let url = keys.string("url").map(|url| Connect::Url(url.into()));
    let query = keys.string("query").map(|query| query.trim().trim_end_matches(';').to_owned());
    if keys.whole("parallel", 1).is_some_and(|parallel| parallel > 1) {
        keys.fault(
            "parallel",
            "expected 1: MySQL and MariaDB have no snapshot that several connections share, and without one they would \
             not see the same moment",
        );
    }
    let split_by = keys.string("split_by").map(str::to_owned);
    if keys.has("secret") == keys.has("url") {
        keys.fault_here("expected exactly one of secret, url");
    }
    if !keys.has("query") {
        keys.fault_here("query is missing");
    }
    let session = session(&keys);
    keys.finish();
    Some(Mysql { connect: secret.or(url)?, query: query?, split_by, session })
}

/// `columns = { id = "bigint", name = "string" }`, in the order in which they stand.
pub(super) fn columns(keys: &Keys) -> Option<Vec<Column>> {
    let value = keys.value("columns")?;
    let Some(table) = value.as_table().filter(|table| !table.is_empty()) else {
        keys.fault("columns", format!("expected a table of NAME = \"TYPE\", found {}", described(value)));
        return None;
    };
    let mut columns: Vec<Column> = Vec::new();
    for (name, value) in table {
        let path = keys.at(&format!("columns.{name}"));
        let Some(text) = value.as_str() else {
            keys.faults().push(&path, format!("expected a type such as \"bigint\", found {}", described(value)));
            continue;
        };
        match schema::arrow_type(text).and_then(|data_type| schema::glue_type(&data_type)) {
            Ok(glue_type) => columns.push(Column { name: name.to_lowercase(), glue_type }),
            Err(fault) => keys.faults().push(&path, fault),
        }
    }
    let mut seen = BTreeSet::new();
    for column in columns.iter().filter(|column| !seen.insert(&column.name)) {
        keys.fault("columns", format!("{:?} stands there twice (Glue's names are lower case)", column.name));
    }
    Some(columns)
}

pub(super) fn location(text: &str) -> Result<Location, String> {
    text.parse::<Location>().map_err(|error| error.message().to_owned())
}

/// Glue's databases and tables, as Athena can name them without quotes.
fn identifier(text: &str) -> Result<String, String> {
    let good = text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if good {
        return Ok(text.into());
    }
    Err(format!("{text:?} is no name for a table: expected a-z, 0-9 and _, not a digit first, at most 128"))
}

/// Two tables in one place would sweep and flip each other, and so would one below the other.
fn shared_homes(datasets: &BTreeMap<String, Dataset>, faults: &Faults) {
    let mut tables: BTreeMap<String, &Dataset> = BTreeMap::new();
    for dataset in datasets.values() {
        if let Some(one) = tables.insert(dataset.table.to_string(), dataset) {
            let fault = format!("publishes {} as {:?} does", one.table, one.name);
            faults.push(&format!("datasets.{}", dataset.name), fault);
        }
    }
    // Sorted by location, what lies under another follows it, with nothing but others of the same in between: ten thousand
    // datasets are not compared with each other.
    let mut sorted: Vec<&Dataset> = datasets.values().collect();
    sorted.sort_by_key(|dataset| (&dataset.home.location().bucket, &dataset.home.location().prefix));
    let mut above: Vec<&Dataset> = Vec::new();
    for dataset in sorted {
        while above.pop_if(|above| !above.home.location().overlaps(dataset.home.location())).is_some() {}
        for one in &above {
            let (one, other) = if one.name < dataset.name { (*one, dataset) } else { (dataset, *one) };
            if one.table != other.table {
                let fault = format!("lies at {}, which overlaps {:?}", other.home.location(), one.name);
                faults.push(&format!("datasets.{}", other.name), fault);
            }
        }
        above.push(dataset);
    }
}

/// Keys of a source that do not decide what its rows are.
const HOW: [&str; 10] = [
    "url",
    "secret",
    "parallel",
    "split_by",
    "auth",
    "connect_timeout",
    "statement_timeout",
    "keepalive",
    "workgroup",
    "timeout",
];

/// The hash of what decides the content; how to reach the source is left out, and with it every password.
fn spec(table: &Table, unrepresentable: OnUnrepresentable, database: &str, location: &Location) -> String {
    let mut table = table.clone();
    if unrepresentable == OnUnrepresentable::Null {
        table.insert("on_unrepresentable".into(), "null".into());
    }
    for key in ["retain", "workgroups", "group"] {
        table.remove(key);
    }
    if let Some(Value::Table(source)) = table.get_mut("source") {
        for (_, options) in source.iter_mut() {
            if let Value::Table(options) = options {
                for how in HOW {
                    options.remove(how);
                }
            }
        }
    }
    let text = serde_json::json!([database, location, table]).to_string();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use crate::{
        config::{Auth, Config, OnUnrepresentable, Retain, Session, Source, without_positions},
        error::Kind,
        schema::Policy,
    };

    fn faults(text: &str) -> String {
        let error = Config::parse("datasets.toml", text).unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        without_positions(error.message())
    }

    const DEFAULTS: &str = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n";

    #[test]
    fn all_faults_are_listed_at_once_each_with_its_path() {
        let text = format!(
            "{DEFAULTS}retian = 1\n\
             [datasets.users]\nsource = {{ postgres = {{ secret = \"x\", query = \"SELECT 1\", splitby = \"id\" }} }}\n\
             checks = {{ min_row = 1, max_shrink = 20 }}\n\
             [datasets.Orders]\nsource = {{ mongo = {{}} }}\n\
             [datasets.items]\ntable = \"users\"\nsource = {{ files = {{ location = \"lake/items\", columns = {{ id = \"bigit\" }} }} }}\n"
        );
        assert_eq!(
            faults(&text),
            "datasets.toml: defaults: unknown key \"retian\", expected one of parquet, database, location, create, schema, on_unflip, on_unrepresentable, retain, workgroups\n\
             datasets.toml: datasets.users.source.postgres: unknown key \"splitby\", expected one of secret, url, query, parallel, split_by, auth, connect_timeout, statement_timeout, keepalive\n\
             datasets.toml: datasets.users.checks.max_shrink: expected a number from 0 to 1, found a whole number\n\
             datasets.toml: datasets.users.checks: unknown key \"min_row\", expected one of min_rows, max_shrink, max_growth, not_null, range, fresh, unique, sql, canary\n\
             datasets.toml: datasets.Orders: \"Orders\" is no name for a table: expected a-z, 0-9 and _, not a digit first, at most 128\n\
             datasets.toml: datasets.Orders.source: expected exactly one of postgres, mysql, files, inbox, athena, glue_job, found 0\n\
             datasets.toml: datasets.Orders.source: unknown key \"mongo\", expected one of postgres, mysql, files, inbox, athena, glue_job\n\
             datasets.toml: datasets.items.source.files.location: \"lake/items\" is no location of S3, expected s3://BUCKET/PREFIX/ or s3://BUCKET/KEY\n\
             datasets.toml: datasets.items.source.files.columns.id: \"bigit\" is no Glue type (at character 6)"
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(faults(""), "datasets.toml: datasets: missing: expected at least one [datasets.NAME]");
        assert_eq!(
            faults("[datasets.users]\n"),
            "datasets.toml: datasets.users: source is missing, expected source = { postgres = … }, { mysql = … }, { files = … }, { inbox = … }, { athena = … } or { glue_job = … }\n\
             datasets.toml: datasets.users: database is missing, here and in [defaults]\n\
             datasets.toml: datasets.users: location is missing, here and in [defaults]"
        );
        assert_eq!(
            faults(&format!("{DEFAULTS}[datasets.users]\nsource = {{ postgres = {{ query = 7 }} }}\n")),
            "datasets.toml: datasets.users.source.postgres.query: expected a string that is not empty, found a whole number\n\
             datasets.toml: datasets.users.source.postgres: expected exactly one of secret, url"
        );
    }

    #[test]
    fn the_schema_policy_of_the_dataset_comes_before_the_default() {
        let text = |own: &str| {
            format!(
                "{DEFAULTS}schema = \"additive\"\n[datasets.a]\n{own}source = {{ files = {{ location = \"s3://lake/in/\" }} }}\n"
            )
        };
        let policy = |own: &str| Config::parse("x", &text(own)).unwrap().dataset("a").unwrap().schema;
        assert_eq!((policy(""), policy("schema = \"any\"\n")), (Policy::Additive, Policy::Any));
        assert_eq!(
            faults(&text("schema = \"loose\"\n")),
            "datasets.toml: datasets.a.schema: unknown policy \"loose\", expected one of strict, additive, any"
        );
    }

    #[test]
    fn what_becomes_of_unrepresentable_values_is_said_and_part_of_the_spec() {
        let files = "source = { files = { location = \"s3://lake/in/\" } }\n";
        let inbox = "source = { inbox = { location = \"s3://lake/inbox\", key = \"id\" } }\n";
        let of = |above: &str, own: &str| {
            let text = format!("{DEFAULTS}{above}[datasets.a]\n{own}{files}[datasets.b]\n{inbox}");
            let config = Config::parse("x", &text).unwrap();
            let dataset = config.dataset("a").unwrap();
            (dataset.on_unrepresentable, dataset.spec.clone())
        };
        let null = "on_unrepresentable = \"null\"\n";
        assert_eq!(of("", "").0, OnUnrepresentable::Error);
        assert_eq!(of(null, "").0, OnUnrepresentable::Null);
        assert_eq!(of(null, "on_unrepresentable = \"error\"\n").0, OnUnrepresentable::Error);
        assert_eq!(of(null, "").1, of("", null).1);
        assert_ne!(of(null, "").1, of("", "").1);
        assert_eq!(
            faults(&format!("{DEFAULTS}on_unrepresentable = \"skip\"\n[datasets.b]\n{null}{inbox}")),
            "datasets.toml: defaults.on_unrepresentable: expected \"error\" or \"null\", found \"skip\"\n\
             datasets.toml: datasets.b.on_unrepresentable: an inbox sets bad records aside, and needs no such word"
        );
    }

    #[test]
    fn mysql_has_the_keys_of_postgres_and_one_connection() {
        let of = |more: &str| {
            let source = format!("{{ mysql = {{ url = \"mysql://u@h/d\", query = \"SELECT 1;\"{more} }} }}");
            format!("{DEFAULTS}[datasets.users]\nsource = {source}\n")
        };
        let config = Config::parse("x", &of(", split_by = \"id\", parallel = 1, statement_timeout = \"10m\"")).unwrap();
        let Source::Mysql(mysql) = config.dataset("users").unwrap().source.clone() else { panic!("not mysql") };
        assert_eq!((mysql.query.as_str(), mysql.split_by.as_deref()), ("SELECT 1", Some("id")));
        assert_eq!(mysql.session.statement_timeout.map(|limit| limit.as_secs()), Some(600));
        assert_eq!(
            faults(&of(", parallel = 4, paralel = 4")),
            "datasets.toml: datasets.users.source.mysql.parallel: expected 1: MySQL and MariaDB have no snapshot that \
             several connections share, and without one they would not see the same moment\n\
             datasets.toml: datasets.users.source.mysql: unknown key \"paralel\", expected one of secret, url, query, \
             parallel, split_by, auth, connect_timeout, statement_timeout, keepalive"
        );
    }

    #[test]
    fn every_fault_says_its_line_and_column() {
        let text = "[defaults]\n  databases = \"dmp\"\n[datasets.users]\nlocation = \"s3://lake/x\"\n\
                    source.files = { location = \"s3://猫/\", formats = \"csv\" }\n\n[dataset]\n";
        assert_eq!(
            Config::parse("datasets.toml", text).unwrap_err().message(),
            "datasets.toml:2:3: defaults: unknown key \"databases\", expected one of parquet, database, location, create, schema, on_unflip, on_unrepresentable, retain, workgroups\n\
             datasets.toml:5:40: datasets.users.source.files: unknown key \"formats\", expected one of location, format, columns, csv\n\
             datasets.toml:3:11: datasets.users: database is missing, here and in [defaults]\n\
             datasets.toml:7:2: unknown key \"dataset\", expected one of defaults, datasets"
        );
    }

    #[test]
    fn what_is_no_toml_says_the_line_and_the_column() {
        let error = Config::parse("datasets.toml", "[defaults]\ndatabase = dmp\n").unwrap_err();
        assert!(error.message().starts_with("datasets.toml:2:12: "), "{error}");
    }

    #[test]
    fn places_are_those_of_the_text_before_its_names_were_replaced() {
        let written = "[datasets.a]\ndatabase = \"d\"\nsource.mysql = { url = \"${U}\", queries = \"\" }\n";
        let text = written.replace("${U}", "mysql://somebody@somewhere/something");
        let error = Config::parse_expanded("f", &text, written).unwrap_err();
        assert!(error.message().contains("f:3:32: datasets.a.source.mysql: unknown key \"queries\""), "{error}");
    }

    #[test]
    fn two_datasets_never_share_a_table() {
        let source = "source = { files = { location = \"s3://lake/in/\" } }";
        let text = format!("{DEFAULTS}[datasets.a]\n{source}\n[datasets.b]\ntable = \"a\"\n{source}\n");
        assert_eq!(faults(&text), "datasets.toml: datasets.b: publishes dmp.a as \"a\" does");
        let text =
            format!("{DEFAULTS}[datasets.a]\n{source}\n[datasets.b]\nlocation = \"s3://lake/schemas/a\"\n{source}\n");
        assert_eq!(faults(&text), "datasets.toml: datasets.b: lies at s3://lake/schemas/a/b/, which overlaps \"a\"");
        // What lies beside, with a name that begins alike, comes in between in no order that matters.
        let under = |name: &str, folder: &str| {
            format!("[datasets.{name}]\nlocation = \"s3://lake/schemas/{folder}\"\n{source}\n")
        };
        let text =
            format!("{DEFAULTS}[datasets.a]\n{source}\n{}{}{}", under("b", "a"), under("c", "a"), under("d", "a-d"));
        assert_eq!(
            faults(&text),
            "datasets.toml: datasets.b: lies at s3://lake/schemas/a/b/, which overlaps \"a\"\n\
             datasets.toml: datasets.c: lies at s3://lake/schemas/a/c/, which overlaps \"a\""
        );
    }

    #[test]
    fn what_is_kept_falls_back_to_the_defaults_one_by_one() {
        let source = "source = { files = { location = \"s3://lake/in/\" } }";
        let text = format!(
            "{DEFAULTS}retain = {{ generations = 5, drain = \"90m\" }}\nworkgroups = [\"bi\"]\n\
             [datasets.a]\nretain = {{ drain = \"4h 10m\", max_age = \"2w\" }}\n{source}\n"
        );
        let config = Config::parse("x", &text).unwrap();
        let dataset = config.dataset("a").unwrap();
        let hours = jiff::SignedDuration::from_hours;
        let drain = jiff::SignedDuration::from_mins(250);
        assert_eq!(dataset.retain, Retain { generations: 5, drain, abandoned: hours(24), max_age: hours(14 * 24) });
        assert_eq!(dataset.workgroups, ["bi"]);
    }

    #[test]
    fn a_promise_that_cannot_be_kept_is_refused() {
        let source = "source = { files = { location = \"s3://lake/in/\" } }";
        let text = format!(
            "{DEFAULTS}[datasets.a]\nretain = {{ drain = \"2h\", abandoned = \"59m\", max_age = \"119m\" }}\n\
             workgroups = [\"\"]\n{source}\n\
             [datasets.b]\nretain = {{ drain = \"1 fortnight\", abandoned = \"-2h\", max_age = \"23h\", min_age = 1 }}\n{source}\n"
        );
        assert_eq!(
            faults(&text),
            "datasets.toml: datasets.a.retain.abandoned: expected 1h or more: a run that is under way looks like one that has died\n\
             datasets.toml: datasets.a.workgroups: expected a list of strings that are not empty, found an array\n\
             datasets.toml: datasets.a.retain: max_age 1h 59m is shorter than drain 2h: nothing may go before that\n\
             datasets.toml: datasets.b.retain.drain: \"1 fortnight\" is no length of time, expected one such as \"90m\", \"1h\" or \"30d\"\n\
             datasets.toml: datasets.b.retain.abandoned: \"-2h\" is no length of time, expected one such as \"90m\", \"1h\" or \"30d\"\n\
             datasets.toml: datasets.b.retain: unknown key \"min_age\", expected one of generations, drain, abandoned, max_age\n\
             datasets.toml: datasets.b.retain: max_age 23h is shorter than abandoned 24h: nothing may go before that"
        );
    }

    #[test]
    fn the_spec_knows_the_query_and_not_the_password() {
        let spec = |url: &str, query: &str| {
            let text =
                format!("{DEFAULTS}[datasets.a]\nsource = {{ postgres = {{ url = {url:?}, query = {query:?} }} }}\n");
            Config::parse("x", &text).unwrap().dataset("a").unwrap().spec.clone()
        };
        assert_eq!(spec("postgres://a:1@h/d", "SELECT 1"), spec("postgres://a:2@h/d", "SELECT 1"));
        assert_ne!(spec("postgres://a:1@h/d", "SELECT 1"), spec("postgres://a:1@h/d", "SELECT 2"));
    }

    #[test]
    fn a_query_may_be_read_in_parts() {
        let of = |more: &str| {
            let text = format!(
                "{DEFAULTS}[datasets.a]\nsource = {{ postgres = {{ secret = \"x\", query = \"SELECT 1\"{more} }} }}\n"
            );
            Config::parse("x", &text).map(|config| config.dataset("a").unwrap().clone())
        };
        let parts = |more| match of(more).unwrap().source {
            Source::Postgres(options) => (options.parallel, options.split_by),
            _ => unreachable!(),
        };
        assert_eq!(parts(""), (1, None));
        assert_eq!(parts(", parallel = 4, split_by = \"id\""), (4, Some("id".into())));
        assert_eq!(of("").unwrap().spec, of(", parallel = 4, split_by = \"id\"").unwrap().spec);
        let session = ", auth = \"iam\", connect_timeout = \"3s\", statement_timeout = \"1h\", keepalive = \"30s\"";
        let (read, seconds) = (of(session).unwrap(), |seconds| Some(jiff::SignedDuration::from_secs(seconds)));
        let Source::Postgres(options) = &read.source else { unreachable!() };
        let (connect_timeout, statement_timeout, keepalive) = (seconds(3), seconds(3600), seconds(30));
        assert_eq!(options.session, Session { auth: Auth::Iam, connect_timeout, statement_timeout, keepalive });
        assert_eq!(of("").unwrap().spec, read.spec);
        assert_eq!(
            without_positions(of(", auth = \"kerberos\", keepalive = \"1ms\"").unwrap_err().message()),
            "x: datasets.a.source.postgres.auth: expected \"password\" or \"iam\", found \"kerberos\"\n\
             x: datasets.a.source.postgres.keepalive: expected 1s or more"
        );
        assert_eq!(
            without_positions(of(", parallel = 33").unwrap_err().message()),
            "x: datasets.a.source.postgres.parallel: expected at most 32 connections, found 33"
        );
    }
}
