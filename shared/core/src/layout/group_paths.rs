//! The S3 paths of a group's record.

use std::fmt;

use super::location::{Key, Location};

/// A group of datasets: its name, and the folder that contains the members' tables.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group {
    pub name: String,
    prefix: Location,
}

impl Group {
    pub fn new(prefix: &Location, name: &str) -> Self {
        Group { name: name.into(), prefix: prefix.clone() }
    }

    /// Returns the folder that contains the records of all groups under this prefix.
    pub fn folder(&self) -> Location {
        self.prefix.folder("_groups")
    }

    /// Returns the key of the group's record, which says which generations belong together and whether a flip is under
    /// way.
    pub fn record(&self) -> Key {
        self.folder().key(&format!("{}.json", self.name))
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::TablePaths;

    #[test]
    fn group_records_lie_beside_the_tables() {
        let prefix = "s3://lake/schemas".parse().unwrap();
        let (group, paths) = (Group::new(&prefix, "core"), TablePaths::new(&prefix, "users"));
        assert_eq!(group.record().to_string(), "s3://lake/schemas/_groups/core.json");
        assert!(!group.folder().overlaps(paths.location()));
    }
}
