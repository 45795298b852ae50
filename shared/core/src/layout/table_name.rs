//! The names of Glue tables.

use std::{fmt, str::FromStr};

use ulid::Ulid;

use crate::error::{Error, Result};

/// The database and name of a Glue table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    pub database: String,
    pub table: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database, self.table)
    }
}

impl FromStr for TableName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('.') {
            Some((database, table)) if !database.is_empty() && !table.is_empty() && !table.contains('.') => {
                Ok(TableName { database: database.into(), table: table.into() })
            }
            _ => Err(Error::input(format!("{text:?} is not a table's full name: expected DATABASE.TABLE"))),
        }
    }
}

/// The prefix of the names of audit tables. An audit registers its candidate as a temporary table with this prefix, so
/// that Athena can query it.
pub const AUDIT_TABLES: &str = "turntable_audit_";

/// Returns the name of an audit table, `turntable_audit_DATASET_ULID`, in lower case, as Glue stores names. Each audit
/// has its own ULID, so no two audits share a table.
pub fn audit_table(dataset: &str, audit: Ulid) -> String {
    format!("{AUDIT_TABLES}{dataset}_{}", audit.to_string().to_lowercase())
}

/// Returns the ULID of the audit that a table was registered for, or `None` if the table isn't an audit table.
pub fn parse_audit_table(table: &str) -> Option<Ulid> {
    let (_, audit) = table.strip_prefix(AUDIT_TABLES)?.rsplit_once('_')?;
    Ulid::from_string(&audit.to_uppercase()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ULID: &str = "01JDA00000000000000000000A";

    #[test]
    fn audit_table_name_holds_its_ulid_and_fits_into_glue() {
        let audit = Ulid::from_string(ULID).unwrap();
        assert_eq!(audit_table("my_users", audit), "turntable_audit_my_users_01jda00000000000000000000a");
        assert_eq!(parse_audit_table(&audit_table("my_users", audit)), Some(audit));
        assert!(audit_table(&"d".repeat(128), audit).len() <= 255);
        for foreign in ["users", "turntable_audit_users", "turntable_audit_users_01jda", "turntable_audit_"] {
            assert_eq!(parse_audit_table(foreign), None, "{foreign}");
        }
    }
}
