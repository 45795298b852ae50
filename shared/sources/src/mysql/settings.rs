//! The session's variables. Whatever the server, the user or `init_connect` sets, a query's rows are the same: each
//! variable that could change, truncate or stop a result gets a fixed value. docs/mysql.md lists them.

use std::{collections::BTreeMap, time::Duration};

use mysql_async::{Conn, Error as MysqlError, Value, prelude::Queryable};

use super::value::text;

/// The variables with a fixed value: the name, and the value as `SHOW VARIABLES` prints it. A server knows only some of
/// them.
const FIXED: [(&str, &str); 15] = [
    // Truncates the result of GROUP_CONCAT. `max_allowed_packet` truncates it too, with a warning.
    ("group_concat_max_len", "1073741824"),
    // Makes ORDER BY compare only the beginning of long strings, and so do GROUP BY and DISTINCT where rows are sorted
    // for them.
    ("max_sort_length", "1024"),
    // Limits the rows of a recursive query, in MariaDB.
    ("max_recursive_iterations", "4294967295"),
    // The number of decimal places in a quotient.
    ("div_precision_increment", "4"),
    // These affect WEEK(date), the names of days and months, and the meaning of REGEXP.
    ("default_week_format", "0"),
    ("lc_time_names", "en_US"),
    ("default_regex_flags", ""),
    // If on, `WHERE id IS NULL` would find the last inserted row.
    ("sql_auto_is_null", "OFF"),
    // Affects window functions on floating-point numbers.
    ("windowing_use_high_precision", "ON"),
    // With a time here, every query on a system-versioned table would return old rows.
    ("system_versioning_asof", "DEFAULT"),
    // The number of warnings that the server keeps, and whether it counts notes as warnings.
    ("max_error_count", "65535"),
    ("sql_notes", "ON"),
    // How long the connection may be idle while rows are uploaded.
    ("wait_timeout", "28800"),
    ("idle_transaction_timeout", "0"),
    ("idle_readonly_transaction_timeout", "0"),
];

/// The `sql_mode` flags for every session. They refuse what MySQL and MariaDB refuse by default.
const SQL_MODE: &str = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";

/// A mode that can only refuse queries, so the server's choice stays in effect.
const ONLY_FULL_GROUP_BY: &str = "ONLY_FULL_GROUP_BY";

/// The value of `old_mode` that changes what `CAST(time AS datetime)` returns.
const ZERO_DATE_TIME_CAST: &str = "ZERO_DATE_TIME_CAST";

/// The longest lock timeout, in seconds, that the servers accept.
const MAX_LOCK_SECONDS: u64 = 31_536_000;

/// The error code for a variable that the user may not set: `ER_SPECIFIC_ACCESS_DENIED_ERROR`.
const MISSING_PRIVILEGE: u16 = 1227;

/// The session settings that the dataset's options require.
pub struct Wanted<'a> {
    pub sql_mode: Option<&'a str>,
    pub lock_timeout: Duration,
    pub statement_timeout: Option<Duration>,
}

/// Sets the variables that differ from what the session needs. Some variables require a privilege to set; a user
/// doesn't need it if their values are already right.
pub async fn apply(conn: &mut Conn, wanted: &Wanted<'_>) -> Result<(), MysqlError> {
    let found: Vec<(Value, Value)> = conn.query("SHOW SESSION VARIABLES").await?;
    let found = found.iter().map(|(name, value)| (text(name).to_lowercase(), text(value))).collect();
    let of = |changes: Vec<String>, name: &str| changes.into_iter().partition::<Vec<_>, _>(|one| one.starts_with(name));
    // The mode comes first, because it decides what the other values mean: '' may be NULL.
    let (mode, others) = of(changes(&found, wanted), "sql_mode");
    let (count, others) = of(others, "max_error_count");
    for changes in [mode, others] {
        if !changes.is_empty() {
            conn.query_drop(format!("SET SESSION {}", changes.join(", "))).await?;
        }
    }
    for change in count {
        match conn.query_drop(format!("SET SESSION {change}")).await {
            // In MySQL, this needs a privilege. Without it, the server keeps fewer warnings, which their check notices.
            Err(MysqlError::Server(error)) if error.code == MISSING_PRIVILEGE => {}
            set => set?,
        }
    }
    // `init_connect` may have stopped the clock, which decides `as_of`.
    let stopped: Option<Option<i64>> = conn.query_first("SELECT abs(timestampdiff(SECOND, sysdate(), now()))").await?;
    if stopped.flatten().is_some_and(|seconds| seconds > 1) {
        conn.query_drop("SET SESSION timestamp = DEFAULT").await?;
    }
    Ok(())
}

/// Sets the `sql_mode` that a query needs, on a session that may have run another dataset's query.
pub async fn apply_mode(conn: &mut Conn, sql_mode: Option<&str>) -> Result<(), MysqlError> {
    let found: Option<(Value, Value)> = conn.query_first("SHOW SESSION VARIABLES LIKE 'sql_mode'").await?;
    let now = found.map(|(_, value)| text(&value)).unwrap_or_default();
    let mode = mode(&now, sql_mode);
    if now.eq_ignore_ascii_case(&mode) {
        return Ok(());
    }
    conn.query_drop(format!("SET SESSION sql_mode = {}", literal(&mode))).await
}

/// Returns the `sql_mode` that a session needs.
fn mode(now: &str, sql_mode: Option<&str>) -> String {
    match sql_mode {
        Some(mode) => mode.to_owned(),
        None if now.split(',').any(|flag| flag == ONLY_FULL_GROUP_BY) => format!("{ONLY_FULL_GROUP_BY},{SQL_MODE}"),
        None => SQL_MODE.to_owned(),
    }
}

/// Returns assignments for the variables whose values aren't what the session needs.
fn changes(found: &BTreeMap<String, String>, wanted: &Wanted) -> Vec<String> {
    let mut changes = Vec::new();
    let mut set = |name: &str, value: &str| {
        if found.get(name).is_some_and(|now| !now.eq_ignore_ascii_case(value)) {
            changes.push(format!("{name} = {}", literal(value)));
        }
    };
    for (name, value) in FIXED {
        set(name, value);
    }
    if let Some(now) = found.get("sql_mode") {
        set("sql_mode", &mode(now, wanted.sql_mode));
    }
    if let Some(now) = found.get("old_mode") {
        let rest: Vec<&str> = now.split(',').filter(|flag| *flag != ZERO_DATE_TIME_CAST).collect();
        set("old_mode", &rest.join(","));
    }
    let lock = wanted.lock_timeout.as_secs().clamp(1, MAX_LOCK_SECONDS).to_string();
    set("lock_wait_timeout", &lock);
    set("innodb_lock_wait_timeout", &lock);
    if let Some(limit) = wanted.statement_timeout {
        // MySQL limits only SELECT, in milliseconds; MariaDB limits any statement, in seconds.
        set("max_statement_time", &format!("{:.6}", limit.as_secs_f64()));
        if !found.contains_key("max_statement_time") {
            set("max_execution_time", &limit.as_millis().to_string());
        }
    }
    changes
}

/// Returns a value as SQL: a number or a word as it is, and anything else in quotes.
fn literal(value: &str) -> String {
    let bare = value.parse::<f64>().is_ok() || matches!(value, "ON" | "OFF" | "DEFAULT");
    if bare { value.to_owned() } else { format!("'{}'", value.replace('\\', "").replace('\'', "''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(found: &[(&str, &str)], wanted: &Wanted) -> Vec<String> {
        let found = found.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        changes(&found, wanted)
    }

    const PLAIN: Wanted = Wanted { sql_mode: None, lock_timeout: Duration::from_secs(60), statement_timeout: None };

    #[test]
    fn only_variables_that_the_server_knows_and_that_differ_are_set() {
        let found = [("max_error_count", "64"), ("sql_notes", "ON"), ("lock_wait_timeout", "86400")];
        assert_eq!(of(&found, &PLAIN), ["max_error_count = 65535", "lock_wait_timeout = 60"]);
    }

    #[test]
    fn sql_mode_is_fixed_unless_the_dataset_sets_it() {
        let mode = |now: &str, wanted: Option<&str>| {
            of(&[("sql_mode", now)], &Wanted { sql_mode: wanted, ..PLAIN }).join("; ")
        };
        assert_eq!(mode("ANSI_QUOTES,ORACLE", None), format!("sql_mode = '{SQL_MODE}'"));
        assert_eq!(mode(SQL_MODE, None), "");
        let grouped = format!("sql_mode = 'ONLY_FULL_GROUP_BY,{SQL_MODE}'");
        assert_eq!(mode("ONLY_FULL_GROUP_BY,NO_ZERO_DATE", None), grouped);
        assert_eq!(mode("", Some("ANSI_QUOTES")), "sql_mode = 'ANSI_QUOTES'");
        assert_eq!(mode("ANSI_QUOTES", Some("")), "sql_mode = ''");
        assert_eq!(
            of(&[("old_mode", "ZERO_DATE_TIME_CAST,UTF8_IS_UTF8MB3")], &PLAIN),
            ["old_mode = 'UTF8_IS_UTF8MB3'"]
        );
    }

    #[test]
    fn the_page_lists_every_variable() {
        let page = include_str!("../../../../docs/mysql.md");
        for (name, _) in FIXED {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn the_statement_timeout_has_the_unit_of_its_server() {
        let wanted = Wanted { statement_timeout: Some(Duration::from_millis(1500)), ..PLAIN };
        assert_eq!(of(&[("max_statement_time", "0.000000")], &wanted), ["max_statement_time = 1.500000"]);
        assert_eq!(of(&[("max_execution_time", "0")], &wanted), ["max_execution_time = 1500"]);
    }
}
