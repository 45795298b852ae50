//! Defines and formats the report.

use serde::Serialize;
use turntable::{bucket_settings::Severity, error::Error};

use crate::table::table;

/// The result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// The subject works, but not as it should, or its state couldn't be read.
    Warning,
    /// Turntable can't work, or data would be lost.
    Fault,
}

impl From<Severity> for Status {
    fn from(severity: Severity) -> Status {
        match severity {
            Severity::Warning => Status::Warning,
            Severity::Fault => Status::Fault,
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The name of the check, such as `bucket-versioning`.
    pub check: &'static str,
    /// What was checked, such as a bucket, a workgroup or a dataset.
    pub subject: String,
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What the operator must do about it. Empty if there is nothing to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub todo: String,
}

impl Line {
    pub fn ok(check: &'static str, subject: impl Into<String>, found: impl Into<String>) -> Line {
        Line { check, subject: subject.into(), status: Status::Ok, found: found.into(), todo: String::new() }
    }

    pub fn warning(
        check: &'static str,
        subject: impl Into<String>,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Line {
        Line { status: Status::Warning, todo: todo.into(), ..Line::ok(check, subject, found) }
    }

    pub fn fault(
        check: &'static str,
        subject: impl Into<String>,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Line {
        Line { status: Status::Fault, todo: todo.into(), ..Line::ok(check, subject, found) }
    }

    /// Returns the line for something that couldn't be read. `permission` is the permission that reading it requires.
    pub fn unread(check: &'static str, subject: impl Into<String>, why: impl Into<String>, permission: &str) -> Line {
        Line::warning(
            check,
            subject,
            format!("not read: {}", why.into()),
            format!("allow {permission} and run doctor again"),
        )
    }
}

/// The results of all checks.
#[derive(Debug, Serialize)]
pub struct Report {
    pub stack: String,
    pub lines: Vec<Line>,
}

impl Report {
    pub fn has_faults(&self) -> bool {
        self.lines.iter().any(|line| line.status == Status::Fault)
    }

    /// Returns a table with one row for each line, followed by what the operator must do.
    pub fn shown(&self) -> String {
        let word = |status| match status {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Fault => "fault",
        };
        let row =
            |line: &Line| [word(line.status).to_owned(), line.check.into(), line.subject.clone(), line.found.clone()];
        let rows: Vec<[String; 4]> = self.lines.iter().map(row).collect();
        let text = table(["", "check", "of", "found"], [false; 4], &rows);
        let mut shown = String::new();
        // The first line of the table is its header.
        for (at, row) in text.lines().enumerate() {
            shown += &format!("{row}\n");
            let line = at.checked_sub(1).and_then(|at| self.lines.get(at));
            if let Some(line) = line.filter(|line| !line.todo.is_empty()) {
                shown += &format!("         → {}\n", line.todo);
            }
        }
        let count = |status| self.lines.iter().filter(|line| line.status == status).count();
        shown += &format!(
            "\n{} ok, {} warnings, {} faults\n",
            count(Status::Ok),
            count(Status::Warning),
            count(Status::Fault)
        );
        shown
    }
}

/// Returns the error's message on one line.
pub fn one_line(error: &Error) -> String {
    error.report().replace('\n', "; ")
}

/// Returns whether an error message says that AWS denied the request. Turntable's clients all use the word `denied`.
pub fn is_denied(text: &str) -> bool {
    text.contains("denied") || text.contains("AccessDenied") || text.contains("not authorized")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_what_to_do() {
        let lines = vec![
            Line::ok("clock", "this machine", "0 s off"),
            Line::fault("glue-database", "dmp", "it does not exist", "create it"),
        ];
        let report = Report { stack: "turntable".into(), lines };
        let expected = "\
         check          of            found
ok     clock          this machine  0 s off
fault  glue-database  dmp           it does not exist
         → create it

1 ok, 0 warnings, 1 faults
";
        assert_eq!(report.shown().trim_start(), expected.trim_start());
        assert!(report.has_faults());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            json["lines"][0],
            serde_json::json!({ "check": "clock", "subject": "this machine", "status": "ok", "found": "0 s off" })
        );
        assert_eq!((&json["lines"][1]["status"], &json["lines"][1]["todo"]), (&"fault".into(), &"create it".into()));
    }
}
