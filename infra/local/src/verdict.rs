//! Explains from the functions' logs why datasets are not live.

use serde_json::Value;

/// Why a dataset is not live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub dataset: String,
    /// The candidate that the audit rejected. `None` if there was none.
    pub rejected: Option<String>,
    /// The error that a function logged. `None` if no line explains it.
    pub error: Option<String>,
}

/// A dataset that is not live, and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending<'a> {
    pub dataset: &'a str,
    pub group: Option<&'a str>,
}

/// Returns a verdict for each dataset, and the errors that belong to none of them.
pub fn verdicts(pending: &[Pending], lines: &[Value]) -> (Vec<Verdict>, Vec<String>) {
    let found = pending.iter().map(|one| verdict(one, pending, lines)).collect();
    let belongs = |line: &Value| pending.iter().any(|one| field(line, "dataset") == one.dataset);
    let others = lines.iter().filter(|line| line["level"] == "ERROR" && !belongs(line));
    let mut errors: Vec<String> = others.filter_map(|line| Some(field(line, "error").as_str()?.to_owned())).collect();
    errors.dedup();
    (found, errors)
}

fn verdict(one: &Pending, pending: &[Pending], lines: &[Value]) -> Verdict {
    // A group's lines name one of its members.
    let is_member = |line: &Value| {
        let named = pending.iter().find(|other| field(line, "dataset") == other.dataset);
        named.is_some_and(|other| other.dataset == one.dataset || one.group.is_some() && other.group == one.group)
    };
    let last = |is_wanted: &dyn Fn(&Value) -> bool| lines.iter().rev().find(|line| is_member(line) && is_wanted(line));
    let rejected = last(&|line| field(line, "outcome") == "Rejected" && field(line, "dataset") == one.dataset);
    let error = last(&|line| line["level"] == "ERROR");
    let text = |line: Option<&Value>, name: &str| line.and_then(|line| field(line, name).as_str()).map(str::to_owned);
    Verdict { dataset: one.dataset.to_owned(), rejected: text(rejected, "candidate"), error: text(error, "error") }
}

/// Returns a field from a structured log line, or null.
fn field<'a>(line: &'a Value, name: &str) -> &'a Value {
    &line["fields"][name]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failed(dataset: &str, error: &str) -> Value {
        json!({ "level": "ERROR", "fields": { "message": "failed", "dataset": dataset, "error": error } })
    }

    #[test]
    fn each_dataset_gets_the_error_that_is_its_own() {
        let alone = |dataset| Pending { dataset, group: None };
        let lines = [
            json!({ "level": "INFO", "fields": { "message": "flip", "dataset": "users", "candidate": "blue-1", "outcome": "Rejected" } }),
            failed("users", "users: the candidate was rejected"),
            failed("orders", "no such table"),
            json!({ "level": "ERROR", "fields": { "message": "failed", "error": "datasets.toml is missing" } }),
            json!("thread panicked"),
        ];
        let (found, others) = verdicts(&[alone("users"), alone("orders"), alone("shops")], &lines);
        let expected = [
            ("users", Some("blue-1"), Some("users: the candidate was rejected")),
            ("orders", None, Some("no such table")),
            ("shops", None, None),
        ];
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let expected = expected.map(|(dataset, rejected, error)| Verdict {
            dataset: dataset.into(),
            rejected: owned(rejected),
            error: owned(error),
        });
        assert_eq!(found, expected);
        assert_eq!(others, ["datasets.toml is missing"]);
    }

    #[test]
    fn members_of_a_group_share_its_error() {
        let member = |dataset| Pending { dataset, group: Some("shop") };
        let pending = [member("users"), member("orders"), Pending { dataset: "other", group: None }];
        let (found, others) = verdicts(&pending, &[failed("orders", "group shop: run 1 was rejected")]);
        let errors: Vec<Option<&str>> = found.iter().map(|one| one.error.as_deref()).collect();
        assert_eq!(errors, [Some("group shop: run 1 was rejected"), Some("group shop: run 1 was rejected"), None]);
        assert_eq!(others, [""; 0]);
    }
}
