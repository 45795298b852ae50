//! What a person may do from the page. Each action is first described, then confirmed with its reason.

use std::io::{Write, stderr};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::stack::{Connected, now};
use crate::{
    change::{self, Action},
    dataset::{Dataset, at},
    export,
    prompt::Change,
    table::thousands,
    target::Function,
};

/// The longest reason that is accepted, in characters.
const MAX_REASON: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Rollback,
    /// Make a generation live.
    Flip,
    Hold,
    Release,
    Export,
    /// Let people come back whom the inbox's `max_returning` holds back.
    Return,
}

/// A request from the page.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub action: Kind,
    pub dataset: String,
    #[serde(default)]
    pub generation: Option<String>,
    /// The number of people who may come back.
    #[serde(default)]
    pub people: Option<u64>,
    #[serde(default)]
    pub reason: String,
    /// What was live when the effect was shown. If something else is live by now, nothing is done.
    #[serde(default)]
    pub seen: Option<String>,
}

/// What an action would change.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    pub who: String,
    pub what: String,
    pub from: String,
    pub to: String,
    pub undo: String,
    /// Where the reason is kept.
    pub kept: &'static str,
    /// What is live now, to send back with the confirmation.
    pub seen: Option<String>,
    /// The generation that would be live, to send back with the confirmation.
    pub generation: Option<String>,
}

impl Wanted {
    /// Returns the reason without white space around it.
    fn reason(&self) -> Result<String> {
        let reason = self.reason.trim();
        ensure!(!reason.is_empty(), "a reason is missing: others will ask why");
        ensure!(reason.chars().count() <= MAX_REASON, "the reason is longer than {MAX_REASON} characters");
        Ok(reason.to_owned())
    }

    /// Returns the change that a command of the same name would make. `None` if the request is not for the function
    /// `flip`.
    fn change(&self, reason: String) -> Result<Option<Action>> {
        let generation = self.generation.clone();
        Ok(Some(match self.action {
            Kind::Rollback => Action::Rollback { generation, reason: Some(reason) },
            Kind::Flip => Action::Flip { generation: generation.context("the generation to make live is missing")? },
            Kind::Hold => Action::Hold { reason },
            Kind::Release => Action::Release { reason: Some(reason) },
            Kind::Export | Kind::Return => return Ok(None),
        }))
    }

    /// Says where the reason is kept. The requests for some actions have no field for it.
    fn kept(&self) -> &'static str {
        match self.action {
            Kind::Rollback | Kind::Hold => "on record with the dataset, and in the terminal of the console",
            Kind::Flip | Kind::Release | Kind::Export | Kind::Return => "only in the terminal of the console",
        }
    }
}

/// Returns what the action would change, and changes nothing.
pub async fn effect(connected: &Connected, wanted: &Wanted, options: &str) -> Result<Effect> {
    let (before, _) = Dataset::status(&connected.stack, &wanted.dataset).await?;
    let who = connected.stack.described().await;
    let change = described(&before, wanted, who, options)?;
    let Change { who, what, from, to, undo } = change;
    let generation = target(&before, wanted);
    Ok(Effect { who, what, from, to, undo, kept: wanted.kept(), seen: before.live, generation })
}

/// Returns the generation that a flip or a rollback goes to. For a rollback to the previous generation, also returns
/// its name: with the name, a repeated request rolls back no further.
fn target(before: &Dataset, wanted: &Wanted) -> Option<String> {
    let is_managed = |name: &&String| !name.starts_with("s3://");
    match wanted.action {
        Kind::Rollback => wanted.generation.clone().or_else(|| before.previous.as_ref().filter(is_managed).cloned()),
        _ => wanted.generation.clone(),
    }
}

fn described(before: &Dataset, wanted: &Wanted, who: String, options: &str) -> Result<Change> {
    let name = &before.dataset;
    let live = before.described(before.live.as_deref());
    let change = |what: String, from: String, to: &str, undo: String| Change {
        who: who.clone(),
        what,
        from,
        to: to.into(),
        undo,
    };
    Ok(match wanted.action {
        Kind::Rollback | Kind::Flip => match wanted.change(String::new())? {
            Some(action) => change::planned(before, &action, who, options),
            None => bail!("{name}: this action is not for flip"),
        },
        Kind::Hold => {
            let undo = format!("turntable release {name}{options}");
            change(
                held(before, "hold"),
                format!("{live}, and new generations go live"),
                "the same, until it is released",
                undo,
            )
        }
        Kind::Release => {
            let hold = before.hold.as_ref().map(|hold| format!("held since {}: {}", at(hold.at), hold.reason));
            let undo = format!("turntable hold {name} --reason '…'{options}");
            let from = hold.unwrap_or_else(|| "not held".into());
            change(held(before, "release"), from, "new generations go live again", undo)
        }
        Kind::Export => {
            let undo = format!("turntable rollback {name}{options}");
            change(held(before, "export"), live, "a new generation, which goes live if its audit passes", undo)
        }
        Kind::Return => {
            let people = wanted.people.context("the number of people who may come back is missing")?;
            let what = format!("let up to {} people who opted out come back in {name}", thousands(people));
            change(
                what,
                live,
                "a new generation, in which they are no longer out",
                "nothing can: they must opt out again".into(),
            )
        }
    })
}

/// Names an action and the datasets that it concerns: a group's members go together.
fn held(before: &Dataset, what: &str) -> String {
    match &before.group {
        None => format!("{what} {}", before.dataset),
        Some(group) => format!("{what} {} and its group {}", before.dataset, group.name),
    }
}

/// Carries out an action, prints it in the terminal, and returns what happened. Fails if something else is live than when
/// the effect was shown.
pub async fn carry_out(connected: &Connected, wanted: &Wanted, options: &str) -> Result<String> {
    let reason = wanted.reason()?;
    let effect = effect(connected, wanted, options).await?;
    ensure!(
        effect.seen == wanted.seen,
        "{}: {} is live now, which is not what the confirmation showed: nothing was changed, start the action again",
        wanted.dataset,
        effect.seen.as_deref().unwrap_or("no table")
    );
    log(&format!("{}: {}. Reason: {reason}", effect.who, effect.what));
    let done = send(connected, wanted, reason, options).await;
    log(match &done {
        Ok(text) => text,
        Err(_) => "it failed: the page shows why",
    });
    done
}

async fn send(connected: &Connected, wanted: &Wanted, reason: String, options: &str) -> Result<String> {
    let (stack, dataset) = (&connected.stack, &wanted.dataset);
    if let Some(action) = wanted.change(reason)? {
        let answer = stack.invoke(Function::Flip, &action.request(dataset)).await?;
        let done = Dataset::read(&answer)?;
        let text = change::shown(&done, &action, options);
        ensure!(action.wanted().contains(&done.outcome.as_str()), "{}", text.trim_end());
        return Ok(text);
    }
    if wanted.action == Kind::Export {
        // A list is queued, so the page need not wait for the export.
        let answer = stack.invoke(Function::Export, &json!({ "dataset": [dataset] })).await?;
        return Ok(export::shown(&answer, options));
    }
    let request = json!({ "dataset": dataset, "max_returning": wanted.people });
    let answer: Value = stack.invoke(Function::Optout, &request).await?;
    let outcome = answer["outcome"].as_str().unwrap_or("done").replace('_', " ");
    Ok(format!("{dataset}: {outcome}\n"))
}

/// Prints a line on standard error. A failure to print it is ignored, so that the action is done all the same.
fn log(text: &str) {
    let lines = text.trim_end().replace('\n', "\n  ");
    let text: String = lines.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let _ = writeln!(stderr(), "{}  {text}", at(now()));
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREEN: &str = "green-01JDA00000000000000000000B";

    fn before() -> Dataset {
        let answer = json!({ "dataset": "users", "outcome": "status", "live": GREEN, "previous": "blue-1", "generations": [
            { "generation": GREEN, "state": "live", "as_of": "2026-11-21T02:00:00Z", "age_seconds": 1, "rows": 1_100, "bytes": 88 },
        ] });
        Dataset::read(&answer).unwrap()
    }

    fn wanted(action: &str) -> Wanted {
        serde_json::from_value(json!({ "action": action, "dataset": "users", "people": 1200, "generation": "blue-1" }))
            .unwrap()
    }

    #[test]
    fn each_action_says_who_changes_what_and_how_to_undo_it() {
        let shown = |action| described(&before(), &wanted(action), "me".into(), " --aws").unwrap().shown();
        let live = format!("{GREEN} (1,100 rows)");
        let expected = format!(
            "who   me\nwhat  roll back users\nfrom  {live}\nto    blue-1\nundo  turntable flip users {GREEN} --aws\n"
        );
        assert_eq!(shown("rollback"), expected);
        let expected = format!(
            "who   me\nwhat  hold users\nfrom  {live}, and new generations go live\nto    the same, until it is released\n\
             undo  turntable release users --aws\n"
        );
        assert_eq!(shown("hold"), expected);
        assert!(shown("flip").contains("what  flip users\n") && shown("release").contains("from  not held\n"));
        assert!(shown("export").contains("undo  turntable rollback users --aws\n"));
        assert!(shown("return").contains("what  let up to 1,200 people who opted out come back in users\n"));
    }

    #[test]
    fn a_rollback_names_the_generation_before() {
        let unnamed = Wanted { generation: None, ..wanted("rollback") };
        assert_eq!(target(&before(), &unnamed).as_deref(), Some("blue-1"));
        let unmanaged = Dataset { previous: Some("s3://lake/old/".into()), ..before() };
        assert_eq!(target(&unmanaged, &unnamed), None);
        let named = Wanted { generation: Some("blue-0".into()), ..wanted("rollback") };
        assert_eq!(target(&before(), &named).as_deref(), Some("blue-0"));
    }

    #[test]
    fn every_action_needs_a_reason() {
        let reason = |text: &str| Wanted { reason: text.into(), ..wanted("export") }.reason();
        assert!(reason(" \n").is_err() && reason(&"x".repeat(501)).is_err());
        assert_eq!(reason(" wrong prices ").unwrap(), "wrong prices");
    }

    #[test]
    fn unknown_actions_and_fields_are_refused() {
        for request in
            [json!({ "action": "drop", "dataset": "users" }), json!({ "action": "hold", "dataset": "users", "x": 1 })]
        {
            assert!(serde_json::from_value::<Wanted>(request).is_err());
        }
    }
}
