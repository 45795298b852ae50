//! `optout`: reads an inbox now, and makes what it says live.

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    done::Done,
    prompt::{Answer, Change, confirm},
    table::thousands,
    target::{Format, Function, Target},
};

/// What to read, and how many people that may bring back.
#[derive(Debug, Clone, Copy)]
pub struct Optout<'a> {
    pub dataset: &'a str,
    /// Whether to compare with the whole `reconcile` source too.
    pub reconcile: bool,
    /// How many people this refresh may bring back, instead of the inbox's `max_returning`.
    pub max_returning: Option<u64>,
    /// Whether to bring people back without asking.
    pub yes: bool,
}

/// `optout`'s answer, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Refreshed {
    dataset: String,
    outcome: String,
    generation: Option<String>,
    drops: u64,
    applied: u64,
    rejected: u64,
    #[serde(default)]
    returning: u64,
    #[serde(default)]
    held_back: u64,
    rows: u64,
    #[serde(default)]
    reasons: Vec<String>,
}

impl Optout<'_> {
    fn request(&self) -> Value {
        let mut request = json!({ "dataset": self.dataset });
        if self.reconcile {
            request["action"] = "reconcile".into();
        }
        if let Some(people) = self.max_returning {
            request["max_returning"] = people.into();
        }
        request
    }

    /// Describes what a refresh that may bring people back changes.
    fn planned(&self, people: u64, who: String) -> Change {
        Change {
            who,
            what: format!("refresh {}, and bring people back", self.dataset),
            from: "the people who are out now".into(),
            to: format!(
                "up to {} of them are back, and queries of the protected views return their rows",
                thousands(people)
            ),
            undo: "only new opt-outs of the same people".into(),
        }
    }
}

/// Refreshes an inbox. Asks first if that may bring more people back than the inbox allows.
pub async fn optout(target: &Target, wanted: &Optout<'_>, format: Format) -> Result<Done> {
    let stack = target.connect().await?;
    if let Some(people) = wanted.max_returning
        && let Answer::No(done) = confirm(&wanted.planned(people, stack.described().await), wanted.yes)?
    {
        return Ok(done);
    }
    let answer = stack.invoke(Function::Optout, &wanted.request()).await?;
    let refreshed = Refreshed::deserialize(&answer)?;
    let text = match format {
        Format::Json => format!("{answer}\n"),
        Format::Table => shown(&refreshed),
    };
    Ok(Done::with(text).needing_attention(refreshed.needs_a_person()))
}

impl Refreshed {
    fn needs_a_person(&self) -> bool {
        matches!(self.outcome.as_str(), "held" | "rejected") || self.held_back > 0 || self.rejected > 0
    }
}

fn shown(refreshed: &Refreshed) -> String {
    let Refreshed { dataset, outcome, generation, drops, applied, rejected, returning, held_back, rows, reasons } =
        refreshed;
    let live = match (outcome.as_str(), generation) {
        ("swapped", Some(generation)) => format!("{generation} is live"),
        ("already_live", Some(generation)) => format!("{generation} stays live"),
        (other, Some(generation)) => format!("{generation} stays live ({})", other.replace('_', " ")),
        (other, None) => format!("no table ({})", other.replace('_', " ")),
    };
    let mut text = format!("{dataset}: {live}, with {} rows\n", thousands(*rows));
    for (number, what) in [
        (*drops, "drops were read"),
        (*applied, "people are new or have changed"),
        (*returning, "people are back"),
        (*held_back, "people would be back, and are held out: see max_returning"),
        (*rejected, "records can't be read, so these people are not opted out"),
    ] {
        if number > 0 {
            text += &format!("  {} {what}\n", thousands(number));
        }
    }
    text.extend(reasons.iter().map(|reason| format!("  {reason}\n")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Optout<'_> = Optout { dataset: "optouts", reconcile: false, max_returning: None, yes: false };

    #[test]
    fn requests_are_those_of_the_wire() {
        assert_eq!(ASKED.request(), json!({ "dataset": "optouts" }));
        assert_eq!(
            Optout { reconcile: true, max_returning: Some(7), ..ASKED }.request(),
            json!({ "dataset": "optouts", "action": "reconcile", "max_returning": 7 })
        );
    }

    #[test]
    fn a_prompt_says_that_people_come_back() {
        let expected = "\
who   me
what  refresh optouts, and bring people back
from  the people who are out now
to    up to 12,000 of them are back, and queries of the protected views return their rows
undo  only new opt-outs of the same people
";
        assert_eq!(ASKED.planned(12_000, "me".into()).shown(), expected);
    }

    fn read(answer: Value) -> Refreshed {
        serde_json::from_value(answer).unwrap()
    }

    #[test]
    fn each_number_has_its_line() {
        let all = read(json!({
            "dataset": "optouts", "outcome": "swapped", "generation": "blue-1", "drops": 3, "applied": 1_200, "rejected": 2,
            "returning": 4, "held_back": 5, "rows": 12_345, "reasons": ["a reason"],
        }));
        let expected = "\
optouts: blue-1 is live, with 12,345 rows
  3 drops were read
  1,200 people are new or have changed
  4 people are back
  5 people would be back, and are held out: see max_returning
  2 records can't be read, so these people are not opted out
  a reason
";
        assert_eq!(shown(&all), expected);
        assert!(all.needs_a_person());
        let none = json!({
            "dataset": "optouts", "outcome": "already_live", "generation": "blue-1", "drops": 0, "applied": 0, "rejected": 0,
            "rows": 1,
        });
        let none = read(none);
        assert_eq!(shown(&none), "optouts: blue-1 stays live, with 1 rows\n");
        assert!(!none.needs_a_person());
        let held = json!({
            "dataset": "optouts", "outcome": "held", "generation": null, "drops": 0, "applied": 0, "rejected": 0, "rows": 0,
        });
        assert_eq!(shown(&read(held)), "optouts: no table (held), with 0 rows\n");
    }
}
