//! Datasets that belong together: what must be true of all members of a group.

use std::collections::BTreeMap;

use super::{Auth, Connect, Dataset, Source, read::Faults};
use crate::layout;

/// Datasets that are exported from one snapshot and flip together.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    pub name: &'a layout::Group,
    /// In the order of their names.
    pub members: Vec<&'a Dataset>,
}

impl<'a> Group<'a> {
    pub fn member(&self, dataset: &str) -> Option<&'a Dataset> {
        self.members.iter().find(|member| member.name == dataset).copied()
    }
}

/// One snapshot is of one database, and one record stands beside all the tables.
pub fn together(datasets: &BTreeMap<String, Dataset>, faults: &Faults) {
    let mut first: BTreeMap<&str, &Dataset> = BTreeMap::new();
    for (name, dataset) in datasets {
        let Some(group) = &dataset.group else { continue };
        let at = format!("datasets.{name}.group");
        let Some(database) = database(&dataset.source) else {
            faults.push(&at, "expected a source of postgres or mysql: a group is one snapshot of one database");
            continue;
        };
        let first = *first.entry(&group.name).or_insert(dataset);
        if first.group.as_ref() != Some(group) {
            faults.push(&at, format!("expected the location of {:?}, which is of {group} too", first.name));
        }
        if self::database(&first.source) != Some(database) {
            faults.push(
                &at,
                format!(
                    "expected the database of {:?}, which is of {group} too (the same kind of source, secret or url, \
                     and auth): a group is one snapshot of one database",
                    first.name
                ),
            );
        }
        for other in datasets.values().filter(|other| other.home.location().overlaps(&group.folder())) {
            faults.push(&at, format!("its record would lie in {}, where {:?} publishes", group.folder(), other.name));
        }
    }
}

/// Which database a source reads, and as whom.
fn database(source: &Source) -> Option<(&'static str, &Connect, Auth)> {
    match source {
        Source::Postgres(options) => Some(("postgres", &options.connect, options.session.auth)),
        Source::Mysql(options) => Some(("mysql", &options.connect, options.session.auth)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, without_positions};

    const DEFAULTS: &str = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n";

    fn entry(name: &str, source: &str) -> String {
        format!("[datasets.{name}]\ngroup = \"core\"\nsource = {{ {source} }}\n")
    }

    const HERE: &str = "postgres = { secret = \"dmp/replica\", query = \"SELECT 1\" }";

    #[test]
    fn a_group_has_its_members_and_no_others() {
        let text = [DEFAULTS, &entry("b", HERE), &entry("a", HERE), &entry("c", HERE).replace("core", "rest")].concat();
        let config = Config::parse("x", &text).unwrap();
        let group = config.group_of(config.dataset("a").unwrap()).unwrap();
        assert_eq!(group.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let alone = Config::parse("x", &text.replace("group = \"core\"\n", "")).unwrap();
        assert!(alone.group_of(alone.dataset("a").unwrap()).is_none());
        assert_eq!(alone.dataset("a").unwrap().spec, config.dataset("a").unwrap().spec);
    }

    #[test]
    fn a_group_is_of_one_database_and_in_one_place() {
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
        let of_one = "which is of core too (the same kind of source, secret or url, and auth): a group is one snapshot of \
                      one database";
        let record = "its record would lie in s3://lake/schemas/_groups/, where \"e\" publishes";
        let error = Config::parse("x", &text.concat()).unwrap_err();
        let expected = [
            format!("x: datasets.a.group: {record}"),
            format!("x: datasets.b.group: expected the database of \"a\", {of_one}"),
            format!("x: datasets.b.group: {record}"),
            "x: datasets.c.group: expected a source of postgres or mysql: a group is one snapshot of one database"
                .into(),
            "x: datasets.d.group: expected the location of \"a\", which is of core too".into(),
            format!("x: datasets.e.group: {record}"),
            format!("x: datasets.f.group: expected the database of \"a\", {of_one}"),
            format!("x: datasets.f.group: {record}"),
            "x: datasets.g.group: expected a source of postgres or mysql: a group is one snapshot of one database"
                .into(),
        ];
        assert_eq!(without_positions(error.message()).lines().collect::<Vec<_>>(), expected);
    }
}
