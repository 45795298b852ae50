//! Which changes to a table's columns a flip may make.

use super::{
    change::{Change, changes},
    column::Column,
};

/// Which changes to a table's columns a flip may make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// Allows no changes.
    #[default]
    Strict,
    /// Allows new columns, which are added at the end, and wider types, which can hold every value of the old ones.
    Additive,
    /// Allows all changes, at the operator's own risk.
    Any,
}

impl Policy {
    pub fn parse(text: &str) -> Result<Policy, String> {
        match text {
            "strict" => Ok(Policy::Strict),
            "additive" => Ok(Policy::Additive),
            "any" => Ok(Policy::Any),
            _ => Err(format!("unknown policy {text:?}, expected one of strict, additive, any")),
        }
    }

    /// Returns the policy for flipping back, which must be able to undo every change that this policy allows.
    pub fn back(self) -> Policy {
        if self == Policy::Strict { Policy::Strict } else { Policy::Any }
    }

    /// Returns the differences that this policy doesn't allow between a table's columns and those in its new files.
    pub fn refused(self, table: &[Column], files: &[Column]) -> Vec<Change> {
        changes(table, files).into_iter().filter(|change| !self.allows(change)).collect()
    }

    /// Returns a message for each difference that this policy doesn't allow. The message says which policy would allow it, if
    /// that policy keeps all data.
    pub fn against(self, table: &[Column], files: &[Column]) -> Vec<String> {
        let told = |change: Change| match self == Policy::Strict && Policy::Additive.allows(&change) {
            true => format!("schema: {change}; schema = \"additive\" in datasets.toml allows this"),
            false => format!("schema: {change}"),
        };
        self.refused(table, files).into_iter().map(told).collect()
    }

    fn allows(self, change: &Change) -> bool {
        match (self, change) {
            (Policy::Any, _) => true,
            (Policy::Additive, Change::Added { .. } | Change::Widened { .. }) => true,
            // Files store no text lengths, so a `varchar(n)` column over `string` files isn't a change.
            (Policy::Strict, Change::Widened { to, .. }) => to == "string",
            _ => false,
        }
    }

    /// Returns the columns that the table has after a flip to these files, if this policy allows the flip.
    pub fn published(self, table: &[Column], files: &[Column]) -> Vec<Column> {
        let file = |name: &str| files.iter().find(|file| file.name == name);
        match self {
            Policy::Strict => table.to_vec(),
            Policy::Additive => {
                let wide = changes(table, files);
                let is_wider =
                    |name: &str| wide.iter().any(|c| matches!(c, Change::Widened { name: n, .. } if n == name));
                let old = table.iter().map(|old| file(&old.name).filter(|_| is_wider(&old.name)).unwrap_or(old));
                let new = files.iter().filter(|new| !table.iter().any(|old| old.name == new.name));
                old.chain(new).cloned().collect()
            }
            Policy::Any if changes(table, files).is_empty() => table.to_vec(),
            Policy::Any => files.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(list: &[(&str, &str)]) -> Vec<Column> {
        list.iter().map(|(name, text)| Column { name: (*name).into(), glue_type: (*text).into() }).collect()
    }

    fn refused(policy: Policy, table: &[(&str, &str)], files: &[(&str, &str)]) -> Vec<String> {
        policy.refused(&columns(table), &columns(files)).iter().map(Change::to_string).collect()
    }

    const TABLE: [(&str, &str); 4] =
        [("id", "int"), ("name", "varchar(20)"), ("price", "decimal(10,2)"), ("day", "date")];
    const GROWN: [(&str, &str); 5] =
        [("extra", "boolean"), ("price", "decimal(12,2)"), ("name", "string"), ("day", "date"), ("id", "bigint")];

    #[test]
    fn strict_refuses_every_change() {
        assert_eq!(
            refused(Policy::Strict, &TABLE, &GROWN),
            [
                "column \"id\" is int in the table and the wider bigint in the new data",
                "column \"price\" is decimal(10,2) in the table and the wider decimal(12,2) in the new data",
                "column \"extra\" boolean is not in the table",
            ]
        );
        assert_eq!(refused(Policy::Strict, &[("a", "varchar(5)")], &[("a", "string")]), [""; 0]);
        assert_eq!(refused(Policy::Strict, &[("a", "varchar(5)")], &[("a", "varchar(6)")]).len(), 1);
        assert_eq!(Policy::Strict.published(&columns(&TABLE), &columns(&TABLE)), columns(&TABLE));
    }

    #[test]
    fn a_refusal_by_strict_names_additive_where_that_helps() {
        let table = columns(&[("id", "int"), ("name", "string")]);
        let files = columns(&[("id", "bigint"), ("extra", "date")]);
        assert_eq!(
            Policy::Strict.against(&table, &files),
            [
                "schema: column \"id\" is int in the table and the wider bigint in the new data; schema = \"additive\" in \
                 datasets.toml allows this",
                "schema: column \"name\" string is missing from the new data",
                "schema: column \"extra\" date is not in the table; schema = \"additive\" in datasets.toml allows this",
            ]
        );
        assert_eq!(
            Policy::Additive.against(&table, &files),
            ["schema: column \"name\" string is missing from the new data"]
        );
    }

    #[test]
    fn additive_widens_in_place_and_adds_new_columns_last() {
        assert_eq!(refused(Policy::Additive, &TABLE, &GROWN), [""; 0]);
        assert_eq!(
            Policy::Additive.published(&columns(&TABLE), &columns(&GROWN)),
            columns(&[
                ("id", "bigint"),
                ("name", "string"),
                ("price", "decimal(12,2)"),
                ("day", "date"),
                ("extra", "boolean")
            ])
        );
        // Another spelling of the same type stays as it is.
        let (table, files) = (columns(&[("n", "integer")]), columns(&[("n", "int")]));
        assert_eq!(Policy::Additive.published(&table, &files), table);
    }

    #[test]
    fn additive_refuses_changes_that_may_lose_data() {
        assert_eq!(
            refused(
                Policy::Additive,
                &[("id", "bigint"), ("a", "string"), ("b", "date"), ("c", "int")],
                &[("id", "int"), ("renamed", "string"), ("c", "string")]
            ),
            [
                "column \"id\" is bigint in the table and the narrower int in the new data",
                "column \"a\" string is missing from the new data, maybe renamed to \"renamed\"",
                "column \"b\" date is missing from the new data",
                "column \"c\" is int in the table and string in the new data",
            ]
        );
    }

    #[test]
    fn any_publishes_the_columns_of_the_files() {
        let files = [("renamed", "string"), ("id", "int")];
        assert_eq!(refused(Policy::Any, &TABLE, &files), [""; 0]);
        assert_eq!(Policy::Any.published(&columns(&TABLE), &columns(&files)), columns(&files));
        let (table, files) = (columns(&[("n", "integer"), ("m", "date")]), columns(&[("m", "date"), ("n", "int")]));
        assert_eq!(Policy::Any.published(&table, &files), table);
    }
}
