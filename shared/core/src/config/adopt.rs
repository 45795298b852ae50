//! The tables that a dataset may take over although Turntable doesn't publish them yet.

use super::{names::location, read::Keys};
use crate::layout::Location;

/// The value of `adopt`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Adopt {
    /// Only an operator's request may take over a table whose files are outside the dataset's own folder.
    #[default]
    No,
    /// An event may take over the table, wherever its files are.
    Any,
    /// An event may take over the table if its files are at this location.
    From(Location),
}

impl Adopt {
    /// Reads `adopt = true` or `adopt = "s3://…"`.
    pub(super) fn read(keys: &Keys) -> Adopt {
        let is_text = keys.value("adopt").is_some_and(toml::Value::is_str);
        if is_text {
            return keys.parsed("adopt", location).map_or(Adopt::No, Adopt::From);
        }
        if keys.boolean("adopt").unwrap_or(false) { Adopt::Any } else { Adopt::No }
    }

    pub(super) fn allows(&self, at: &Location) -> bool {
        match self {
            Adopt::No => false,
            Adopt::Any => true,
            Adopt::From(location) => location == at,
        }
    }
}
