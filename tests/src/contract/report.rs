//! Reports the outcome of a run as text that can be attached to an issue.

use std::{fmt, time::Duration};

/// The outcome of one clause.
pub struct Outcome {
    pub clause: &'static str,
    /// The fault. `None` if the clause holds, or differs exactly as listed.
    pub fault: Option<String>,
    /// The emulator's listed difference from AWS, if it has one.
    pub differs: Option<&'static str>,
    pub took: Duration,
}

/// The outcomes of a run.
#[derive(Default)]
pub struct Report {
    pub outcomes: Vec<Outcome>,
    /// The faults that don't belong to a clause.
    pub others: Vec<String>,
}

impl Report {
    pub fn failed(why: String) -> Report {
        Report { outcomes: Vec::new(), others: vec![why] }
    }

    pub fn faults(&self) -> Vec<String> {
        self.outcomes.iter().filter_map(|outcome| outcome.fault.clone()).chain(self.others.iter().cloned()).collect()
    }
}

impl fmt::Display for Report {
    /// Writes the report as Markdown, without account numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.outcomes.iter().filter(|outcome| outcome.fault.is_some()).count();
        writeln!(f, "{} clauses hold, {faults} do not\n", self.outcomes.len() - faults)?;
        writeln!(f, "| clause | result | ms |\n|---|---|---|")?;
        for Outcome { clause, fault, differs, took } in &self.outcomes {
            let result = match (fault, differs) {
                (Some(_), _) => "**does not hold**",
                (None, Some(_)) => "differs as listed",
                (None, None) => "holds",
            };
            writeln!(f, "| `{clause}` | {result} | {} |", took.as_millis())?;
        }
        for fault in self.faults() {
            write!(f, "\n    {}\n", without_accounts(&fault).replace('\n', "\n    "))?;
        }
        Ok(())
    }
}

/// Replaces each standalone number of exactly twelve digits. Account numbers have this form in ARNs and URLs.
fn without_accounts(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_part) {
        let end = rest[at..].find(|c| !is_part(c)).map_or(rest.len(), |length| at + length);
        let word = &rest[at..end];
        let is_account = word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_digit());
        shown += &rest[..at];
        shown += if is_account { "ACCOUNT" } else { word };
        rest = &rest[end..];
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_every_clause_and_no_account() {
        let outcome = |clause, fault: Option<&str>, differs| Outcome {
            clause,
            fault: fault.map(str::to_owned),
            differs,
            took: Duration::from_millis(12),
        };
        let outcomes = vec![
            outcome("one", None, None),
            outcome("two", None, Some("overwrites")),
            outcome(
                "three",
                Some("three does not hold: arn:aws:iam::123456789012:role/r\nquery 8b3c-424242424242"),
                None,
            ),
        ];
        assert_eq!(
            Report { outcomes, others: vec!["bucket b may be left".into()] }.to_string(),
            "2 clauses hold, 1 do not\n\n\
             | clause | result | ms |\n|---|---|---|\n\
             | `one` | holds | 12 |\n| `two` | differs as listed | 12 |\n| `three` | **does not hold** | 12 |\n\n    \
             three does not hold: arn:aws:iam::ACCOUNT:role/r\n    query 8b3c-424242424242\n\n    bucket b may be left\n"
        );
    }
}
