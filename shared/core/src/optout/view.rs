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
    /// The columns that the query returns, with Glue's types. Athena stores them with the view, and rejects queries on
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
/// Fails if the table lacks a column for the key, or if that column's type can never match the key. The errors name the
/// column.
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
    /// How the column is compared; `None` if it can't match any key.
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
        let (same, wrong) = same_key(table, selected, optouts, columns);
        faults.extend(wrong);
        if at > 0 {
            query.push_str(" AND ");
        }
        if let Some(guard) = complete(optouts) {
            let _ = write!(query, "{guard} AND ");
        }
        let _ = write!(query, "NOT EXISTS (SELECT 1 FROM {} o WHERE {same} AND {})", of(&optouts.table), is_out());
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

/// Returns the SQL condition that an opt-out `o` has the same key as a row `t`, and a list of problems with the row's
/// columns.
fn same_key(
    table: &TableName,
    selected: &[Selected],
    optouts: &OptoutState,
    columns: &[String],
) -> (String, Vec<String>) {
    let (mut same, mut faults) = (Vec::new(), Vec::new());
    for (key, name) in optouts.key.iter().zip(columns) {
        match selected.iter().find(|column| column.name == *name) {
            Some(column) => match equal(key, column, &optouts.normalize) {
                Some(equal) => same.push(equal),
                None => faults.push(format!(
                    "{table} has column {name:?} of type {}, which can't match the key {:?} ({}) of {}",
                    column.glue_type, key.name, key.glue_type, optouts.table
                )),
            },
            None => faults.push(format!("{table} has no column {name:?}, which holds the key of {}", optouts.table)),
        }
    }
    (same.join(" AND "), faults)
}

/// Returns an SQL condition that is true if the person in the row with the alias `o` has opted out.
fn is_out() -> String {
    format!("o.{} <> '{}'", quoted(STATE), ConsentState::OptedIn.as_str())
}

/// Returns the query that counts the people who opted out, and how many of their keys are in no row of the protected
/// table.
///
/// Fails like [`protected`].
pub fn unmatched(table: &TableName, columns: &[Column], protection: &Protection<'_>) -> Result<String, Vec<String>> {
    let selected: Vec<Selected> = columns.iter().map(Selected::as_is).collect();
    let (same, faults) = same_key(table, &selected, protection.optouts, protection.columns);
    if !faults.is_empty() {
        return Err(faults);
    }
    let out = format!("SELECT count(*) FROM {} o WHERE {}", of(&protection.optouts.table), is_out());
    Ok(format!("SELECT ({out}), ({out} AND NOT EXISTS (SELECT 1 FROM {} t WHERE {same}))", of(table)))
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

/// The type in which two values are compared, unless both are integers or both are text.
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
mod tests;
