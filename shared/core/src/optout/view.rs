//! Builds the SQL for the views that readers use: the people who are opted out now, and other tables without them.

use crate::{
    config::{Dataset, Protect},
    consent::{ConsentState, OCCURRED_AT, STATE},
    layout::TableName,
    schema::{Column, GlueType},
};

/// A view to create in Athena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub name: TableName,
    /// The query after `CREATE OR REPLACE VIEW … AS`.
    pub query: String,
}

impl View {
    pub fn create(&self) -> String {
        format!("CREATE OR REPLACE VIEW {} AS {}", quoted(&self.name.table), self.query)
    }
}

/// Returns the view of the people who are opted out now, with their key, their state and its `occurred_at`.
pub fn active(dataset: &Dataset, key: &[Column]) -> View {
    let columns: Vec<String> =
        key.iter().map(|column| column.name.as_str()).chain([STATE, OCCURRED_AT]).map(quoted).collect();
    let name = TableName { table: format!("{}_active", dataset.table.table), ..dataset.table.clone() };
    let query = format!(
        "SELECT {} FROM {} WHERE {} <> '{}'",
        columns.join(", "),
        of(&dataset.table),
        quoted(STATE),
        ConsentState::OptedIn.as_str()
    );
    View { name, query }
}

/// Returns the view of another table without the people who are opted out. Rows whose key is null stay, because they
/// match no opt-out.
///
/// Integers are compared as integers, whatever their widths. If the types of a key column differ otherwise, both values
/// are compared as text. Fails if the other table lacks a key column, and names the column.
pub fn protected(dataset: &Dataset, key: &[Column], protect: &Protect, columns: &[Column]) -> Result<View, String> {
    let mut same = Vec::new();
    for (ours, theirs) in key.iter().zip(&protect.columns) {
        let column = columns.iter().find(|column| column.name == *theirs);
        let column = column.ok_or_else(|| format!("{} has no column {theirs:?}", protect.table))?;
        let (out, row) = (format!("o.{}", quoted(&ours.name)), format!("t.{}", quoted(theirs)));
        let alike = column.glue_type == ours.glue_type || (is_whole(&column.glue_type) && is_whole(&ours.glue_type));
        same.push(if alike {
            format!("{out} = {row}")
        } else {
            format!("CAST({out} AS varchar) = CAST({row} AS varchar)")
        });
    }
    let name = TableName { table: format!("{}_protected", protect.table.table), ..protect.table.clone() };
    let names: Vec<String> = columns.iter().map(|column| format!("t.{}", quoted(&column.name))).collect();
    let query = format!(
        "SELECT {} FROM {} t WHERE NOT EXISTS (SELECT 1 FROM {} o WHERE {} AND o.{} <> '{}')",
        names.join(", "),
        of(&protect.table),
        of(&dataset.table),
        same.join(" AND "),
        quoted(STATE),
        ConsentState::OptedIn.as_str()
    );
    Ok(View { name, query })
}

fn is_whole(glue_type: &str) -> bool {
    GlueType::parse(glue_type).is_ok_and(|found| found.integer_width().is_some())
}

fn of(table: &TableName) -> String {
    format!("{}.{}", quoted(&table.database), quoted(&table.table))
}

/// Returns an identifier in double quotes, as Athena's `SELECT` expects it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn views_have_the_expected_sql() {
        let config = Config::parse(
            "x",
            "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/s\"\n\
             [datasets.users]\nsource = { files = { location = \"s3://lake/in/\" } }\n\
             [datasets.optouts]\nsource = { inbox = { location = \"s3://lake/inbox\", key = \"user_id\" } }\n\
             protects = { users = \"id\" }\n",
        )
        .unwrap();
        let dataset = config.dataset("optouts").unwrap();
        let column = |name: &str, kind: &str| Column { name: name.into(), glue_type: kind.into() };
        let key = [column("user_id", "bigint")];
        assert_eq!(
            active(dataset, &key).create(),
            "CREATE OR REPLACE VIEW \"optouts_active\" AS SELECT \"user_id\", \"state\", \"occurred_at\" \
             FROM \"dmp\".\"optouts\" WHERE \"state\" <> 'opted_in'"
        );
        let of = |kind| protected(dataset, &key, &dataset.protects[0], &[column("id", kind), column("a\"b", "string")]);
        assert_eq!(
            of("bigint").unwrap().create(),
            "CREATE OR REPLACE VIEW \"users_protected\" AS SELECT t.\"id\", t.\"a\"\"b\" FROM \"dmp\".\"users\" t \
             WHERE NOT EXISTS (SELECT 1 FROM \"dmp\".\"optouts\" o WHERE o.\"user_id\" = t.\"id\" \
             AND o.\"state\" <> 'opted_in')"
        );
        assert_eq!(of("int"), of("bigint"));
        assert!(of("string").unwrap().query.contains("CAST(o.\"user_id\" AS varchar) = CAST(t.\"id\" AS varchar)"));
        let lacking = protected(dataset, &key, &dataset.protects[0], &[column("user", "bigint")]);
        assert_eq!(lacking.unwrap_err(), "dmp.users has no column \"id\"");
    }
}
