//! The warnings of a statement. A warning says that the server has truncated, changed or replaced a value, so it is an
//! error unless the dataset allows its code.

use std::collections::BTreeMap;

use mysql_async::{Conn, Value, prelude::Queryable};

use super::{codes, failure, server::Server, value::text};
use turntable_core::error::{Error, Result};

/// The codes of notes that say that a value was truncated or replaced. Other notes are about the statement.
const LOSSY_NOTES: [u16; 7] = [1264, 1265, 1292, 1366, 1406, 1916, 1917];

/// The codes of warnings about the statement's text, not about values: deprecated syntax and character sets.
const ABOUT_SYNTAX: [u16; 4] = [1287, 1681, 3719, 3778];

/// A warning as `SHOW WARNINGS` returns it.
struct Warning {
    is_note: bool,
    code: u16,
    message: String,
}

/// Fails if the last statement on the connection has raised a warning whose code is not in `allowed`. `when` says, for
/// the message, when the server raised it.
pub async fn check(conn: &mut Conn, server: &Server, when: &str, allowed: &[u16]) -> Result<()> {
    let failed = |error| failure::error_of(server, error);
    // The server counts all warnings, but keeps only max_error_count of them.
    let total: Option<Value> = conn.query_first("SHOW COUNT(*) WARNINGS").await.map_err(failed)?;
    let total = total.and_then(|total| text(&total).parse().ok()).unwrap_or_default();
    let found: Vec<(Value, Value, Value)> = conn.query("SHOW WARNINGS").await.map_err(failed)?;
    let warning = |(level, code, message): &(Value, Value, Value)| Warning {
        is_note: text(level) == "Note",
        code: text(code).parse().unwrap_or_default(),
        message: text(message),
    };
    let found: Vec<Warning> = found.iter().map(warning).collect();
    match fault(&found, total, allowed) {
        None => Ok(()),
        Some(fault) => Err(Error::input(format!("MySQL at {}: {when}: {fault}", server.name()))),
    }
}

/// Describes the warnings that are not allowed, by their codes. Returns `None` if there are none. `total` is the number
/// of all warnings, including those that the server didn't keep.
fn fault(found: &[Warning], total: usize, allowed: &[u16]) -> Option<String> {
    let mut counts: BTreeMap<u16, (usize, &str)> = BTreeMap::new();
    for Warning { is_note, code, message } in found {
        let is_harmless = ABOUT_SYNTAX.contains(code) || (*is_note && !LOSSY_NOTES.contains(code));
        if !is_harmless && !allowed.contains(code) {
            counts.entry(*code).or_insert((0, message)).0 += 1;
        }
    }
    if counts.is_empty() {
        return (total > found.len()).then(|| {
            format!(
                "the server raised {total} warnings and keeps {}, so it is unknown whether the others are allowed: change \
                 the query so that it raises fewer, or let the user raise max_error_count (in MySQL, GRANT \
                 SESSION_VARIABLES_ADMIN)",
                found.len()
            )
        });
    }
    let shown: Vec<String> = counts.iter().map(|(code, (count, message))| shown(*code, *count, message)).collect();
    let codes: Vec<String> = counts.keys().map(u16::to_string).collect();
    Some(format!(
        "the server raised warnings: {}. Values may have been cut or replaced, so nothing was published: run the query \
         and SHOW WARNINGS in a client, and correct the query or the data; or accept these warnings with \
         allow_warnings = [{}]",
        shown.join("; "),
        codes.join(", ")
    ))
}

/// Describes the warnings with one code: the code, its name, how many there are and, if it can't contain a row's value,
/// the first message.
fn shown(code: u16, count: usize, message: &str) -> String {
    let name = codes::name(code).map(|name| format!(" {name}")).unwrap_or_default();
    let times = if count == 1 { String::new() } else { format!(", {count} times") };
    let message = if codes::is_safe(code) { format!(" ({message})") } else { String::new() };
    format!("{code}{name}{times}{message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(found: &[(&str, u16, &str)], allowed: &[u16]) -> Option<String> {
        let found: Vec<Warning> = found
            .iter()
            .map(|(level, code, message)| Warning {
                is_note: *level == "Note",
                code: *code,
                message: (*message).to_owned(),
            })
            .collect();
        fault(&found, found.len(), allowed)
    }

    #[test]
    fn a_warning_is_named_by_its_code_and_never_shows_a_value() {
        let found = [
            ("Warning", 1292, "Truncated incorrect DOUBLE value: 'hunter2'"),
            ("Warning", 1260, "Row 3 was cut by GROUP_CONCAT()"),
            ("Warning", 1292, "Truncated incorrect DOUBLE value: 'hunter3'"),
        ];
        assert_eq!(
            of(&found, &[]).unwrap(),
            "the server raised warnings: 1260 ER_CUT_VALUE_GROUP_CONCAT (Row 3 was cut by GROUP_CONCAT()); 1292 \
             ER_TRUNCATED_WRONG_VALUE, 2 times. Values may have been cut or replaced, so nothing was published: run \
             the query and SHOW WARNINGS in a client, and correct the query or the data; or accept these warnings \
             with allow_warnings = [1260, 1292]"
        );
        assert!(of(&found, &[1292]).unwrap().ends_with("allow_warnings = [1260]"));
        assert_eq!(of(&found, &[1260, 1292]), None);
    }

    #[test]
    fn a_note_counts_only_if_it_says_that_a_value_was_cut() {
        assert_eq!(of(&[("Note", 1105, "Cannot use key"), ("Warning", 1287, "deprecated")], &[]), None);
        assert!(of(&[("Note", 1916, "Got overflow when converting '1e30' to SIGNED BIGINT")], &[]).is_some());
        assert!(of(&[("Error", 1105, "…")], &[]).is_some());
    }

    #[test]
    fn warnings_that_the_server_has_dropped_are_not_taken_for_allowed() {
        let kept = || Warning { is_note: false, code: 1260, message: String::new() };
        let found = [kept(), kept()];
        assert!(fault(&found, 3, &[1260]).unwrap().starts_with("the server raised 3 warnings and keeps 2, so"));
        assert!(fault(&[], 1, &[1260]).is_some());
        assert_eq!(fault(&found, 2, &[1260]), None);
    }
}
