//! Groups of datasets, and the rules that their members must follow.

use std::collections::BTreeMap;

use super::{
    dataset::Dataset,
    read::Faults,
    source::{Auth, Connect, Source},
};
use crate::layout;

/// Datasets that are exported from one snapshot and flip together.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    pub name: &'a layout::Group,
    /// All members, sorted by name.
    pub members: Vec<&'a Dataset>,
}

impl<'a> Group<'a> {
    pub fn member(&self, dataset: &str) -> Option<&'a Dataset> {
        self.members.iter().find(|member| member.name == dataset).copied()
    }
}

/// Checks that all members of a group read from the same database, because a snapshot covers only one, and that they
/// have the same location, because the group keeps its record there. Also checks that no dataset publishes to the
/// folder with that record.
pub fn together(datasets: &BTreeMap<String, Dataset>, faults: &Faults) {
    let mut first: BTreeMap<&str, &Dataset> = BTreeMap::new();
    for (name, dataset) in datasets {
        let Some(group) = &dataset.group else { continue };
        let at = format!("datasets.{name}.group");
        let Some(database) = database(&dataset.source) else {
            faults.push(
                &at,
                "expected a postgres or mysql source: a group is exported from one snapshot of one database",
            );
            continue;
        };
        let first = *first.entry(&group.name).or_insert(dataset);
        if first.group.as_ref() != Some(group) {
            faults.push(
                &at,
                format!("expected the location of {:?}: all members of group {group} must share it", first.name),
            );
        }
        if self::database(&first.source) != Some(database) {
            faults.push(
                &at,
                format!(
                    "expected the database of {:?} (the same kind of source, secret or url, and auth): group {group} \
                     is exported from one snapshot of one database",
                    first.name
                ),
            );
        }
        for other in datasets.values().filter(|other| other.paths.location().overlaps(&group.folder())) {
            faults.push(
                &at,
                format!(
                    "dataset {:?} publishes to {}, where the group keeps its record: change that dataset's table or \
                     location",
                    other.name,
                    group.folder()
                ),
            );
        }
    }
}

/// Returns what identifies the database that a source reads: its kind, its secret or URL, and its authentication
/// method. Returns `None` for sources that aren't databases.
fn database(source: &Source) -> Option<(&'static str, &Connect, Auth)> {
    match source {
        Source::Postgres(options) => Some(("postgres", &options.connect, options.session.auth)),
        Source::Mysql(options) => Some(("mysql", &options.connect, options.session.auth)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, test_support::without_positions};

    const DEFAULTS: &str = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n";

    fn entry(name: &str, source: &str) -> String {
        format!("[datasets.{name}]\ngroup = \"core\"\nsource = {{ {source} }}\n")
    }

    const HERE: &str = "postgres = { secret = \"dmp/replica\", query = \"SELECT 1\" }";

    #[test]
    fn group_of_returns_exactly_the_members() {
        let text = [DEFAULTS, &entry("b", HERE), &entry("a", HERE), &entry("c", HERE).replace("core", "rest")].concat();
        let config = Config::parse("x", &text).unwrap();
        let group = config.group_of(config.dataset("a").unwrap()).unwrap();
        assert_eq!(group.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let alone = Config::parse("x", &text.replace("group = \"core\"\n", "")).unwrap();
        assert!(alone.group_of(alone.dataset("a").unwrap()).is_none());
        assert_eq!(alone.dataset("a").unwrap().spec, config.dataset("a").unwrap().spec);
    }

    #[test]
    fn members_must_share_one_database_and_one_location() {
        let text = [
            DEFAULTS,
            &entry("a", HERE),
            &entry("b", "postgres = { secret = \"dmp/other\", query = \"SELECT 1\" }"),
            &entry("c", "files = { location = \"s3://lake/in/\" }"),
            &entry("d", HERE).replace("source", "location = \"s3://lake/more\"\nsource"),
            &entry("e", HERE).replace("source", "table = \"_groups\"\nsource"),
            &entry("f", "mysql = { secret = \"dmp/replica\", query = \"SELECT 1\" }"),
            &entry("g", "inbox = { location = \"s3://lake/inbox\", key = [\"id\"] }"),
        ];
        let database = "expected the database of \"a\" (the same kind of source, secret or url, and auth): group core \
                        is exported from one snapshot of one database";
        let record = "dataset \"e\" publishes to s3://lake/schemas/_groups/, where the group keeps its record: change \
                      that dataset's table or location";
        let source = "expected a postgres or mysql source: a group is exported from one snapshot of one database";
        let error = Config::parse("x", &text.concat()).unwrap_err();
        let expected = [
            format!("x: datasets.a.group: {record}"),
            format!("x: datasets.b.group: {database}"),
            format!("x: datasets.b.group: {record}"),
            format!("x: datasets.c.group: {source}"),
            "x: datasets.d.group: expected the location of \"a\": all members of group core must share it".into(),
            format!("x: datasets.e.group: {record}"),
            format!("x: datasets.f.group: {database}"),
            format!("x: datasets.f.group: {record}"),
            format!("x: datasets.g.group: {source}"),
        ];
        assert_eq!(without_positions(error.message()).lines().collect::<Vec<_>>(), expected);
    }
}
