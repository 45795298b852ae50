//! Separates the entries that have errors from the valid ones, so that errors in one entry don't stop the other
//! datasets.

use std::collections::BTreeMap;

use super::{dataset::Dataset, source::Source};

/// An entry of `datasets.toml` that has errors, or that must not be used because another entry has errors. Nothing is
/// published for it until they are corrected.
#[derive(Debug, Clone)]
pub struct BrokenEntry {
    pub name: String,
    /// Each error, as `file:line:column: key.path: message`.
    pub faults: Vec<String>,
    /// The parts of the dataset that could be read. `None` if its source, database or location is unknown.
    pub dataset: Option<Dataset>,
    /// The name of the dataset's Glue database, if it could be read.
    pub database: Option<String>,
}

/// What is known about an entry, even if it has errors.
#[derive(Debug, Clone, Default)]
pub struct Outline {
    pub database: Option<String>,
    pub group: Option<String>,
}

/// Returns the name of the entry that the key path `path` belongs to, or `None` if it belongs to no entry. Names can
/// contain dots, so several can match; the longest one counts.
pub fn entry_of<'a>(path: &str, outlines: &'a BTreeMap<String, Outline>) -> Option<&'a str> {
    let rest = path.strip_prefix("datasets.")?;
    let is_within =
        |name: &&String| rest.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    outlines.keys().filter(is_within).max_by_key(|name| name.len()).map(String::as_str)
}

/// Removes the entries in `faults` from `datasets`. Also removes the entries that can't be used without them: the other
/// members of their groups, and datasets that share a table, a folder or an inbox with one of them, because it isn't
/// known which of the two owns it.
pub fn separate(
    datasets: &mut BTreeMap<String, Dataset>,
    outlines: &BTreeMap<String, Outline>,
    mut faults: BTreeMap<String, Vec<String>>,
) -> BTreeMap<String, BrokenEntry> {
    let named: Vec<String> = faults.keys().cloned().collect();
    for broken in &named {
        let group = outlines.get(broken).and_then(|outline| outline.group.as_ref());
        let dataset = datasets.get(broken);
        for other in datasets.values().filter(|other| !named.contains(&other.name)) {
            let in_group = group.is_some_and(|group| {
                outlines.get(&other.name).and_then(|outline| outline.group.as_ref()) == Some(group)
            });
            let why = match dataset {
                _ if in_group => "the members of a group flip together",
                Some(dataset) if shares(dataset, other) => "both would write to the same place",
                _ => continue,
            };
            let fault = format!("datasets.{}: skipped, because {broken:?} has errors, and {why}", other.name);
            faults.entry(other.name.clone()).or_default().push(fault);
        }
    }
    let broken = faults.into_iter().map(|(name, faults)| {
        let dataset = datasets.remove(&name);
        let database = outlines.get(&name).and_then(|outline| outline.database.clone());
        (name.clone(), BrokenEntry { name, faults, dataset, database })
    });
    let broken = broken.collect();
    for dataset in datasets.values_mut() {
        // If no inbox that protects the table could be read, its view is left unchanged.
        if dataset.protected.as_ref().is_some_and(|protected| protected.by.is_empty()) {
            dataset.protected = None;
        }
        dataset.protects.retain(|protected| !protected.by.is_empty());
    }
    broken
}

/// Returns whether two datasets publish to the same table, or whether their folders or inboxes overlap.
fn shares(one: &Dataset, other: &Dataset) -> bool {
    let places = |dataset: &Dataset| {
        let mut places = vec![dataset.paths.location().clone()];
        if let Source::Inbox(inbox) = &dataset.source {
            places.push(inbox.location.clone());
        }
        places
    };
    let theirs = places(other);
    one.table == other.table || places(one).iter().any(|place| theirs.iter().any(|their| place.overlaps(their)))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const DEFAULTS: &str = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n";

    fn parse(entries: &str) -> Config {
        Config::parse_valid("f", &format!("{DEFAULTS}{entries}")).unwrap()
    }

    fn names(config: &Config) -> (Vec<&str>, Vec<&str>) {
        let valid = config.datasets().map(|dataset| dataset.name.as_str()).collect();
        (valid, config.broken().map(|entry| entry.name.as_str()).collect())
    }

    const INBOX: &str = "[datasets.optouts]\nprotects = { users = \"id\" }\n\
        source.inbox = { location = \"s3://lake/inbox/optouts\", key = \"id\" }\n";
    const USERS: &str = "[datasets.users]\nsource.files.location = \"s3://lake/in/users/\"\n";

    #[test]
    fn fault_in_one_entry_leaves_the_others() {
        let config = parse(&format!("{INBOX}{USERS}checks = {{ max_shrink = 7 }}\n[datasets.orders]\nsource = 1\n"));
        assert_eq!(names(&config), (vec!["optouts"], vec!["orders", "users"]));
        let refused = config.dataset("users").unwrap_err().report();
        assert!(refused.contains("f:9:") && refused.contains("max_shrink"), "{refused}");
        assert!(config.dataset("nobody").unwrap_err().report().contains("no dataset"));
        assert_eq!(config.databases().into_iter().collect::<Vec<_>>(), ["dmp"]);
        assert!(config.known().any(|dataset| dataset.name == "users"));
        // The inbox still keeps the view of a table whose entry has a fault.
        assert_eq!(config.dataset("optouts").unwrap().protects[0].by.len(), 1);
        assert!(config.ensure_valid().is_err() && parse(USERS).ensure_valid().is_ok());
    }

    #[test]
    fn inbox_works_without_the_entry_that_it_protects_and_the_table_without_its_inbox() {
        let config = parse(&format!("{INBOX}[datasets.users]\nsource = 1\n"));
        assert_eq!(names(&config), (vec!["optouts"], vec!["users"]));
        let config = parse(&format!("{USERS}{}", INBOX.replace("key", "kye")));
        assert_eq!(names(&config), (vec!["users"], vec!["optouts"]));
        assert!(config.dataset("users").unwrap().protected.is_none(), "the view stays as it is");
        let config = parse(&format!("{USERS}{INBOX}checks = {{ unique = [\"id\"] }}\n"));
        assert_eq!(names(&config), (vec!["users"], vec!["optouts"]));
        assert_eq!(config.dataset("users").unwrap().protected.as_ref().unwrap().by.len(), 1);
    }

    #[test]
    fn entries_that_depend_on_one_with_faults_are_not_used_either() {
        let member = |name: &str, more: &str| {
            format!(
                "[datasets.{name}]\ngroup = \"core\"\nsource.postgres = {{ secret = \"s\", query = \"SELECT 1\" }}\n{more}"
            )
        };
        let config = parse(&format!("{}{}{USERS}", member("a", ""), member("b", "schema = \"loose\"\n")));
        assert_eq!(names(&config), (vec!["users"], vec!["a", "b"]));
        assert!(config.broken().next().unwrap().faults[0].contains("the members of a group flip together"));
        let config =
            parse(&format!("{USERS}[datasets.other]\ntable = \"users\"\nsource.files.location = \"s3://b/\"\n{INBOX}"));
        assert_eq!(names(&config), (vec!["optouts"], vec!["other", "users"]));
    }

    #[test]
    fn fault_that_concerns_the_whole_file_is_an_error() {
        for text in ["x = 1\n", "[defaults]\nretian = 1\n", "[datasets", "[datasets.users]\nsource = 1\n", ""] {
            let defaults = if text.contains("[defaults]") { "" } else { DEFAULTS };
            let users = if text.contains("users") { "" } else { USERS };
            assert!(
                Config::parse_valid("f", &format!("{text}{defaults}{users}")).is_err() || text.is_empty(),
                "{text}"
            );
        }
    }
}
