//! Defines the views that readers use: the people who are opted out now, and other tables without them.
//!
//! # A view fails closed
//!
//! Athena returns no rows and no error for a table whose files are gone. A protected view would then show everybody
//! again. So each view counts the opt-out table's files, and its query fails if there are fewer than the last refresh
//! has published. The count is in the view, so a refresh that changes it also updates the view.
//!
//! # Which values match
//!
//! Numbers are compared as numbers whatever their types, and text is compared with numbers through `TRY_CAST`, so that
//! `1.0` in a double column and `007` in a text column match the keys 1 and 7. `decimal(38,6)` holds every key and
//! every whole number in such a column exactly.

use std::{fmt::Write, slice};

use serde::{Deserialize, Serialize};

use crate::{
    consent::{
        ConsentState, OCCURRED_AT, STATE,
        normalize::{Normalization, Normalize},
    },
    layout::{Location, TableName},
    schema::{Change, Column, GlueType, changes, sql_type},
};

/// A view in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub name: TableName,
    /// The view's query, in Athena's SQL.
    pub query: String,
    /// The columns that the query returns, with Glue's types. Athena stores them with the view, and rejects queries of
    /// the view once its query returns columns that can't be converted to them.
    pub columns: Vec<Column>,
    /// The inboxes whose people the view leaves out, with their opt-out tables.
    pub leaves_out: Vec<Inbox>,
}

/// An inbox, and the opt-out table that it is published to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbox {
    pub location: Location,
    /// `DATABASE.TABLE`.
    pub table: String,
}

impl View {
    /// Returns the inboxes whose people `stored` leaves out but this view would show again. Two inboxes are the same if
    /// they have the same location or the same table, so a moved inbox or a renamed table is not among them.
    pub fn lacks<'a>(&self, stored: &'a View) -> Vec<&'a Inbox> {
        let known =
            |old: &Inbox| self.leaves_out.iter().any(|new| new.location == old.location || new.table == old.table);
        stored.leaves_out.iter().filter(|old| !known(old)).collect()
    }
}

/// The state of an opt-out table that a view depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptoutState {
    pub inbox: Location,
    pub table: TableName,
    /// The key's columns with their Glue types.
    pub key: Vec<Column>,
    /// How strings are normalized before they are compared.
    pub normalize: Normalization,
    /// The number of files that have rows. The view fails if there are fewer. 0 if the table is empty, or if it is
    /// unmanaged.
    pub files: u64,
}

/// An opt-out table, and the columns of the protected table that hold its key, in the key's order.
#[derive(Debug, Clone, Copy)]
pub struct Protection<'a> {
    pub optouts: &'a OptoutState,
    pub columns: &'a [String],
}

/// Returns the name of the view of people who are opted out now.
pub fn active_name(optouts: &TableName) -> TableName {
    TableName { table: format!("{}_active", optouts.table), ..optouts.clone() }
}

/// Returns the name of the view of a protected table.
pub fn protected_name(table: &TableName) -> TableName {
    TableName { table: format!("{}_protected", table.table), ..table.clone() }
}

/// Returns the view of the people who are opted out now, with their key, their state and its `occurred_at`.
pub fn active(optouts: &OptoutState) -> View {
    let column = |name: &str, glue_type: &str| Column { name: name.into(), glue_type: glue_type.into() };
    let mut columns = optouts.key.clone();
    columns.extend([column(STATE, "string"), column(OCCURRED_AT, "timestamp")]);
    let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let mut query = format!(
        "SELECT {} FROM {} WHERE {} <> '{}'",
        names.join(", "),
        of(&optouts.table),
        quoted(STATE),
        ConsentState::OptedIn.as_str()
    );
    // A condition on the rows would not be evaluated if all files were gone.
    if let Some(complete) = complete(optouts) {
        let nulls = columns.iter().map(|column| {
            let sql_type = sql_type(&column.glue_type).unwrap_or_else(|| "varchar".into());
            format!("CAST(NULL AS {sql_type})")
        });
        let nulls: Vec<String> = nulls.collect();
        let _ = write!(
            query,
            " UNION ALL SELECT {} FROM (SELECT {complete} AS complete) WHERE NOT complete",
            nulls.join(", ")
        );
    }
    View { name: active_name(&optouts.table), query, columns, leaves_out: Vec::new() }
}

/// Returns whether a key of an opt-out table can match a column of a protected table, by their Glue types.
pub fn can_match(key: &str, column: &str) -> bool {
    matches!(Kind::of(key), Some(Kind::Integer | Kind::Text)) && Kind::of(column).is_some()
}

/// Returns the view of a table with these columns, without the people who are opted out in any of the opt-out tables.
/// Rows whose key is null stay, because they match no opt-out.
///
/// Fails if the table lacks a key column, or if its type can never match the key. The errors name the column.
pub fn protected(table: &TableName, columns: &[Column], protections: &[Protection<'_>]) -> Result<View, Vec<String>> {
    build(table, &columns.iter().map(Selected::as_is).collect::<Vec<_>>(), protections)
}

/// Returns the view that works on the table both before and after a flip: it has the columns that exist in both, and
/// casts those whose types differ. Returns `None` if the view of the table before the flip works after it too.
///
/// Fails as [`protected`] does.
pub fn bridging(
    table: &TableName,
    before: &[Column],
    after: &[Column],
    protections: &[Protection<'_>],
) -> Result<Option<View>, Vec<String>> {
    let new = |old: &Column| after.iter().find(|new| new.name == old.name);
    if before.iter().all(|old| new(old).is_some_and(|new| new.glue_type == old.glue_type)) {
        return Ok(None);
    }
    let selected: Vec<Selected> = before.iter().filter_map(|old| Some(Selected::in_both(old, new(old)?))).collect();
    build(table, &selected, protections).map(Some)
}

/// A column of the protected table in a view.
struct Selected {
    name: String,
    /// The type of the view's column, in Glue's spelling.
    glue_type: String,
    /// What the column can be compared with, or `None` for nothing.
    kind: Option<Kind>,
    /// Whether the view casts the column to `glue_type`.
    cast: bool,
    /// Whether the column is padded with spaces, as Athena's `char(n)` is.
    padded: bool,
}

/// How a column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    /// A number that may have a fraction.
    Number,
    Text,
    /// The type changes from one of these kinds to another while the view is used.
    Mixed,
}

impl Kind {
    fn of(glue_type: &str) -> Option<Kind> {
        match GlueType::parse(glue_type).ok()? {
            GlueType::String => Some(Kind::Text),
            GlueType::Float | GlueType::Double | GlueType::Decimal { .. } => Some(Kind::Number),
            other => other.integer_width().map(|_| Kind::Integer),
        }
    }
}

impl Selected {
    fn as_is(column: &Column) -> Selected {
        Selected {
            name: column.name.clone(),
            glue_type: column.glue_type.clone(),
            kind: Kind::of(&column.glue_type),
            cast: false,
            padded: column.glue_type.trim_start().to_ascii_lowercase().starts_with("char"),
        }
    }

    fn in_both(old: &Column, new: &Column) -> Selected {
        if old.glue_type == new.glue_type {
            return Selected::as_is(old);
        }
        let (before, after) = (Kind::of(&old.glue_type), Kind::of(&new.glue_type));
        let widened = matches!(changes(slice::from_ref(old), slice::from_ref(new))[..], [Change::Widened { .. }]);
        Selected {
            name: old.name.clone(),
            // Athena can cast every scalar type to varchar, so no query fails whichever type the table has.
            glue_type: if widened { new.glue_type.clone() } else { "string".into() },
            kind: before.zip(after).map(|(before, after)| if before == after { before } else { Kind::Mixed }),
            cast: true,
            padded: false,
        }
    }

    fn sql(&self) -> String {
        let column = format!("t.{}", quoted(&self.name));
        match sql_type(&self.glue_type).filter(|_| self.cast) {
            None => column,
            Some(sql_type) => format!("CAST({column} AS {sql_type}) AS {}", quoted(&self.name)),
        }
    }
}

fn build(table: &TableName, selected: &[Selected], protections: &[Protection<'_>]) -> Result<View, Vec<String>> {
    let mut faults = Vec::new();
    let mut query = format!(
        "SELECT {} FROM {} t WHERE ",
        selected.iter().map(Selected::sql).collect::<Vec<_>>().join(", "),
        of(table)
    );
    for (at, Protection { optouts, columns }) in protections.iter().enumerate() {
        let mut same = Vec::new();
        for (key, name) in optouts.key.iter().zip(*columns) {
            match selected.iter().find(|column| column.name == *name) {
                Some(column) => match equal(key, column, &optouts.normalize) {
                    Some(equal) => same.push(equal),
                    None => faults.push(format!(
                        "{table} has column {name:?} of type {}, which can't match the key {:?} ({}) of {}",
                        column.glue_type, key.name, key.glue_type, optouts.table
                    )),
                },
                None => {
                    faults.push(format!("{table} has no column {name:?}, which holds the key of {}", optouts.table))
                }
            }
        }
        if at > 0 {
            query.push_str(" AND ");
        }
        if let Some(guard) = complete(optouts) {
            let _ = write!(query, "{guard} AND ");
        }
        let _ = write!(
            query,
            "NOT EXISTS (SELECT 1 FROM {} o WHERE {} AND o.{} <> '{}')",
            of(&optouts.table),
            same.join(" AND "),
            quoted(STATE),
            ConsentState::OptedIn.as_str()
        );
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let columns = selected.iter().map(|one| Column { name: one.name.clone(), glue_type: one.glue_type.clone() });
    let inbox =
        |one: &Protection<'_>| Inbox { location: one.optouts.inbox.clone(), table: one.optouts.table.to_string() };
    let leaves_out = protections.iter().map(inbox).collect();
    Ok(View { name: protected_name(table), query, columns: columns.collect(), leaves_out })
}

/// Returns the condition that the opt-out table has all its files, or `None` if their number is unknown or 0.
///
/// The condition is true or fails with an error that says what is missing, because a view that returned no rows would
/// look like an empty table.
fn complete(optouts: &OptoutState) -> Option<String> {
    let OptoutState { table, files, .. } = optouts;
    let found = r#"count(DISTINCT "$path")"#;
    (*files > 0).then(|| {
        format!(
            "(SELECT CASE WHEN {found} >= {files} THEN true ELSE CAST('{} has lost opt-outs: it has ' || \
             CAST({found} AS varchar) || ' of {files} files' AS boolean) END FROM {})",
            table.to_string().replace('\'', "''"),
            of(table)
        )
    })
}

/// The type in which values are compared that are not both integers or both text.
const NUMBER: &str = "decimal(38,6)";

/// Returns the condition that an opt-out `o` has the key of a row `t`, or `None` if the types can never match.
fn equal(key: &Column, column: &Selected, normalize: &Normalization) -> Option<String> {
    let (out, row) = (format!("o.{}", quoted(&key.name)), format!("t.{}", quoted(&column.name)));
    let text = match column.padded {
        true => format!("rtrim(CAST({row} AS varchar))"),
        false => row.clone(),
    };
    let as_number = format!("TRY_CAST(trim({out}) AS {NUMBER})");
    Some(match (Kind::of(&key.glue_type)?, column.kind?) {
        (Kind::Integer, Kind::Integer) => format!("{out} = {row}"),
        (Kind::Integer, Kind::Number) => format!("CAST({out} AS {NUMBER}) = TRY_CAST({row} AS {NUMBER})"),
        (Kind::Integer, Kind::Text) => format!("CAST({out} AS {NUMBER}) = TRY_CAST(trim({text}) AS {NUMBER})"),
        (Kind::Integer, Kind::Mixed) => {
            format!("CAST({out} AS {NUMBER}) = TRY_CAST(trim(CAST({row} AS varchar)) AS {NUMBER})")
        }
        (Kind::Text, Kind::Integer | Kind::Number) => format!("{as_number} = TRY_CAST({row} AS {NUMBER})"),
        (Kind::Text, Kind::Text) => format!("{} = {}", normalized(&out, normalize), normalized(&text, normalize)),
        (Kind::Text, Kind::Mixed) => format!(
            "({out} = CAST({row} AS varchar) OR {as_number} = TRY_CAST(trim(CAST({row} AS varchar)) AS {NUMBER}))"
        ),
        (Kind::Number | Kind::Mixed, _) => return None,
    })
}

/// Returns the SQL that normalizes a string, for a comparison. The opt-out table's keys are normalized too, because
/// Athena's functions and Turntable's may differ in rare characters.
fn normalized(text: &str, normalize: &Normalization) -> String {
    normalize.steps().iter().fold(text.to_owned(), |sql, step| match step {
        Normalize::Nfkc => format!("normalize({sql}, NFKC)"),
        Normalize::Trim => format!("trim({sql})"),
        Normalize::Lower => format!("lower({sql})"),
        // The spellings of a UUID differ in letter case, hyphens, braces and the prefix of a URN.
        Normalize::Uuid => ["urn:uuid:", "-", "{", "}"]
            .iter()
            .fold(format!("lower(trim({sql}))"), |sql, part| format!("replace({sql}, '{part}', '')")),
    })
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

    fn table(name: &str) -> TableName {
        TableName { database: "dmp".into(), table: name.into() }
    }

    fn optouts(name: &str, key: &str, files: u64) -> OptoutState {
        OptoutState {
            inbox: format!("s3://lake/inbox/{name}").parse().unwrap(),
            table: table(name),
            key: columns(key),
            normalize: Normalization::default(),
            files,
        }
    }

    fn column(name: &str, glue_type: &str) -> Column {
        Column { name: name.into(), glue_type: glue_type.into() }
    }

    /// Parses columns such as `id int, name string`.
    fn columns(text: &str) -> Vec<Column> {
        text.split(", ").map(|one| one.split_once(' ').unwrap()).map(|(name, kind)| column(name, kind)).collect()
    }

    /// Builds the view of `users` with these columns, protected by `optouts` with a key of this type.
    fn users(key: &str, files: u64, columns: &[Column]) -> Result<View, Vec<String>> {
        let optouts = optouts("optouts", &format!("user_id {key}"), files);
        protected(&table("users"), columns, &[Protection { optouts: &optouts, columns: &["id".to_owned()] }])
    }

    #[test]
    fn views_have_the_expected_sql() {
        let view = active(&optouts("optouts", "user_id bigint", 0));
        assert_eq!(
            (view.name.to_string().as_str(), view.query.as_str()),
            (
                "dmp.optouts_active",
                "SELECT \"user_id\", \"state\", \"occurred_at\" FROM \"dmp\".\"optouts\" WHERE \"state\" <> 'opted_in'"
            )
        );
        assert_eq!(view.columns, columns("user_id bigint, state string, occurred_at timestamp"));
        let view = users("bigint", 0, &[column("id", "int"), column("a\"b", "string")]).unwrap();
        assert_eq!(
            (view.name.to_string().as_str(), view.query.as_str()),
            (
                "dmp.users_protected",
                "SELECT t.\"id\", t.\"a\"\"b\" FROM \"dmp\".\"users\" t WHERE NOT EXISTS (SELECT 1 FROM \
                 \"dmp\".\"optouts\" o WHERE o.\"user_id\" = t.\"id\" AND o.\"state\" <> 'opted_in')"
            )
        );
    }

    #[test]
    fn view_fails_if_the_opt_out_table_has_fewer_files_than_published() {
        let guard = "(SELECT CASE WHEN count(DISTINCT \"$path\") >= 16 THEN true ELSE CAST('dmp.optouts has lost \
                     opt-outs: it has ' || CAST(count(DISTINCT \"$path\") AS varchar) || ' of 16 files' AS boolean) END \
                     FROM \"dmp\".\"optouts\")";
        let view = users("bigint", 16, &[column("id", "bigint")]).unwrap();
        assert!(view.query.contains(&format!("WHERE {guard} AND NOT EXISTS")), "{}", view.query);
        let view = active(&optouts("optouts", "user_id bigint", 16));
        let checked = format!(
            " UNION ALL SELECT CAST(NULL AS bigint), CAST(NULL AS varchar), CAST(NULL AS timestamp) FROM (SELECT {guard} AS \
             complete) WHERE NOT complete"
        );
        assert!(view.query.ends_with(&checked), "{}", view.query);
    }

    #[test]
    fn keys_are_compared_as_numbers_unless_both_are_text() {
        let of = |key, column_type| {
            let view = users(key, 0, &[column("id", column_type)]).unwrap();
            let (_, rest) = view.query.split_once(" o WHERE ").unwrap();
            rest.split_once(" AND o.\"state\"").unwrap().0.to_owned()
        };
        let number = "CAST(o.\"user_id\" AS decimal(38,6))";
        let text = "TRY_CAST(trim(o.\"user_id\") AS decimal(38,6))";
        for (key, column, expected) in [
            ("bigint", "smallint", "o.\"user_id\" = t.\"id\"".to_owned()),
            ("int", "double", format!("{number} = TRY_CAST(t.\"id\" AS decimal(38,6))")),
            ("bigint", "decimal(12,2)", format!("{number} = TRY_CAST(t.\"id\" AS decimal(38,6))")),
            ("bigint", "string", format!("{number} = TRY_CAST(trim(t.\"id\") AS decimal(38,6))")),
            (
                "bigint",
                "char(9)",
                format!("{number} = TRY_CAST(trim(rtrim(CAST(t.\"id\" AS varchar))) AS decimal(38,6))"),
            ),
            ("string", "bigint", format!("{text} = TRY_CAST(t.\"id\" AS decimal(38,6))")),
            ("string", "float", format!("{text} = TRY_CAST(t.\"id\" AS decimal(38,6))")),
            ("string", "varchar(36)", "o.\"user_id\" = t.\"id\"".to_owned()),
            ("string", "char(36)", "o.\"user_id\" = rtrim(CAST(t.\"id\" AS varchar))".to_owned()),
        ] {
            assert_eq!(of(key, column), expected, "{key} and {column}");
            assert!(can_match(key, column));
        }
    }

    #[test]
    fn both_sides_are_normalized() {
        let normalize = Normalization::new([Normalize::Uuid, Normalize::Lower, Normalize::Nfkc, Normalize::Trim]);
        let optouts = OptoutState { normalize, ..optouts("optouts", "user_id string", 0) };
        let protections = [Protection { optouts: &optouts, columns: &["id".to_owned()] }];
        let query = protected(&table("users"), &columns("id string"), &protections).unwrap().query;
        let sql = |column: &str| {
            format!(
                "replace(replace(replace(replace(lower(trim(lower(trim(normalize({column}, NFKC))))), 'urn:uuid:', ''), \
                 '-', ''), '{{', ''), '}}', '')"
            )
        };
        let expected = format!(" o WHERE {} = {} AND o.", sql("o.\"user_id\""), sql("t.\"id\""));
        assert!(query.contains(&expected), "{query}");
    }

    #[test]
    fn key_columns_that_are_missing_or_never_match_are_refused() {
        assert_eq!(
            users("bigint", 0, &[column("user", "bigint")]).unwrap_err(),
            ["dmp.users has no column \"id\", which holds the key of dmp.optouts"]
        );
        for never in ["boolean", "date", "timestamp", "binary", "array<int>"] {
            assert!(!can_match("string", never));
            assert_eq!(
                users("string", 0, &[column("id", never)]).unwrap_err(),
                [format!(
                    "dmp.users has column \"id\" of type {never}, which can't match the key \"user_id\" (string) of \
                     dmp.optouts"
                )]
            );
        }
    }

    #[test]
    fn every_inbox_that_protects_a_table_is_in_its_view() {
        let (one, two) = (optouts("optouts", "user_id bigint", 2), optouts("withdrawn", "region string, no int", 2));
        let (id, both) = (["id".to_owned()], ["region".to_owned(), "id".to_owned()]);
        let protections = [Protection { optouts: &one, columns: &id }, Protection { optouts: &two, columns: &both }];
        let query = protected(&table("users"), &columns("id bigint, region string"), &protections).unwrap().query;
        assert!(query.contains("FROM \"dmp\".\"optouts\" o WHERE o.\"user_id\" = t.\"id\" AND"), "{query}");
        assert!(
            query
                .contains("FROM \"dmp\".\"withdrawn\" o WHERE o.\"region\" = t.\"region\" AND o.\"no\" = t.\"id\" AND"),
            "{query}"
        );
        assert_eq!((query.matches("$path").count(), query.matches("NOT EXISTS").count()), (4, 2));
    }

    #[test]
    fn view_that_would_return_people_again_is_recognised() {
        let of = |all: &[&OptoutState]| {
            let id = ["id".to_owned()];
            let protections: Vec<Protection> = all.iter().map(|optouts| Protection { optouts, columns: &id }).collect();
            protected(&table("users"), &columns("id bigint"), &protections).unwrap()
        };
        let (one, two) = (optouts("optouts", "user_id bigint", 1), optouts("withdrawn", "user_id bigint", 1));
        let renamed = OptoutState { table: table("opt_outs"), ..one.clone() };
        let moved = OptoutState { inbox: "s3://lake/elsewhere".parse().unwrap(), ..one.clone() };
        let stored = of(&[&one, &two]);
        assert!(of(&[&two, &one]).lacks(&stored).is_empty());
        assert!(of(&[&renamed, &two]).lacks(&stored).is_empty());
        assert!(of(&[&moved, &two]).lacks(&stored).is_empty());
        let lacks = of(&[&one]);
        let lacks: Vec<String> = lacks.lacks(&stored).iter().map(|inbox| inbox.location.to_string()).collect();
        assert_eq!(lacks, ["s3://lake/inbox/withdrawn/"]);
    }

    #[test]
    fn bridging_view_works_before_and_after_a_flip() {
        let optouts = optouts("optouts", "user_id bigint", 0);
        let protections = [Protection { optouts: &optouts, columns: &["id".to_owned()] }];
        let of = |before: &str, after: &str| bridging(&table("users"), &columns(before), &columns(after), &protections);
        assert_eq!(of("id int, a string", "id int, a string").unwrap(), None);
        assert_eq!(of("id int", "id int, a string").unwrap(), None, "the old view works on a table with more columns");
        let view = of("id int, gone date, n int, d double", "id bigint, n string, d double").unwrap().unwrap();
        assert_eq!(view.columns, columns("id bigint, n string, d double"));
        assert!(
            view.query.starts_with(
                "SELECT CAST(t.\"id\" AS bigint) AS \"id\", CAST(t.\"n\" AS varchar) AS \"n\", t.\"d\" FROM"
            ),
            "{}",
            view.query
        );
        assert!(view.query.contains("o.\"user_id\" = t.\"id\""), "{}", view.query);
        let mixed = of("id int", "id string").unwrap().unwrap().query;
        assert!(mixed.contains("TRY_CAST(trim(CAST(t.\"id\" AS varchar)) AS decimal(38,6))"), "{mixed}");
        assert!(of("id int, a int", "a int").is_err(), "the key column is gone");
    }
}
