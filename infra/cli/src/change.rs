//! `flip`, `rollback`, `hold` and `release`: change what is live, or whether it may change.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    dataset::Dataset,
    done::Done,
    prompt::{Answer, Change, confirm},
    status::{next_step, overview},
    target::{Format, Function, Stack, Target},
};

/// What to do with a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Flip { generation: String },
    Rollback { generation: Option<String>, reason: Option<String> },
    Hold { reason: String },
    Release { reason: Option<String> },
}

impl Action {
    /// Returns the request to `flip`.
    pub fn request(&self, dataset: &str) -> Value {
        let mut request = json!({ "dataset": dataset });
        let mut set = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                request[name] = value.into();
            }
        };
        match self {
            Action::Flip { generation } => set("generation", Some(generation)),
            Action::Rollback { generation, reason } => {
                set("action", Some("rollback"));
                set("generation", generation.as_deref());
                set("reason", reason.as_deref());
            }
            Action::Hold { reason } => {
                set("action", Some("hold"));
                set("reason", Some(reason));
            }
            Action::Release { reason } => {
                set("action", Some("release"));
                set("reason", reason.as_deref());
            }
        }
        request
    }

    /// Returns the outcomes that mean that the request did what it should.
    pub fn wanted(&self) -> &'static [&'static str] {
        match self {
            Action::Flip { .. } | Action::Rollback { .. } => &["swapped", "already_live"],
            Action::Hold { .. } => &["held"],
            Action::Release { .. } => &["status"],
        }
    }
}

/// Carries out an action. Asks first if it changes what is live.
pub async fn change(target: &Target, dataset: &str, action: &Action, yes: bool, format: Format) -> Result<Done> {
    let stack = target.connect().await?;
    if matches!(action, Action::Flip { .. } | Action::Rollback { .. }) {
        let (before, _) = Dataset::status(&stack, dataset).await?;
        let change = planned(&before, action, who(&stack).await, &target.options());
        if let Answer::No(done) = confirm(&change, yes)? {
            return Ok(done);
        }
    }
    let answer = stack.invoke(Function::Flip, &action.request(dataset)).await?;
    let done = Dataset::read(&answer)?;
    let is_done = action.wanted().contains(&done.outcome.as_str());
    let mut text = match format {
        Format::Json => format!("{answer}\n"),
        Format::Table => shown(&done, action, &target.options()),
    };
    if is_done && format == Format::Table && matches!(action, Action::Release { .. }) {
        // The dataset is released, whatever becomes of this request.
        let overview = overview(&stack).await;
        text += &overview.map(|(all, _)| next_step(&all, dataset, &target.options())).unwrap_or_default();
    }
    Ok(Done::with(text).needing_attention(!is_done))
}

async fn who(stack: &Stack) -> String {
    stack.described().await
}

/// Describes what the action will change.
pub fn planned(before: &Dataset, action: &Action, who: String, options: &str) -> Change {
    let name = &before.dataset;
    let (what, to) = match action {
        Action::Rollback { generation, .. } => {
            let to = generation.as_deref().or(before.previous.as_deref());
            let to = to.map_or_else(|| "the generation that was live before".into(), |to| before.described(Some(to)));
            ("roll back", to)
        }
        Action::Flip { generation } => ("flip", before.described(Some(generation))),
        Action::Hold { .. } | Action::Release { .. } => ("change", String::new()),
    };
    let what = match &before.group {
        None => format!("{what} {name}"),
        Some(group) => {
            let members: Vec<&str> = group.live.keys().map(String::as_str).collect();
            format!("{what} {name} and its group {}: {}", group.name, members.join(", "))
        }
    };
    let undo = undo(name, before.live.as_deref(), options);
    Change { who, what, from: before.described(before.live.as_deref()), to, undo }
}

/// Returns how to undo a change: the command that makes `live` live again or, if there is none, other instructions.
fn undo(dataset: &str, live: Option<&str>, options: &str) -> String {
    match live {
        None => "not possible: there is no table to go back to".into(),
        Some(location) if location.starts_with("s3://") => {
            format!("set the table's location back to {location}; Turntable does not manage it")
        }
        Some(generation) => format!("turntable flip {dataset} {generation}{options}"),
    }
}

/// Describes what an action has done.
pub fn shown(done: &Dataset, action: &Action, options: &str) -> String {
    let name = &done.dataset;
    let mut text = match action {
        Action::Hold { reason } if done.outcome == "held" => {
            format!("{name} is held: {reason}\nundo  turntable release {name}{options}\n")
        }
        Action::Release { .. } if done.outcome == "status" => {
            format!("{name} is released; the next export may go live\n")
        }
        Action::Hold { .. } | Action::Release { .. } => format!("{name}: {}\n", done.outcome),
        Action::Flip { .. } | Action::Rollback { .. } => moved(done, options),
    };
    text.extend(done.reasons.iter().map(|reason| format!("  {reason}\n")));
    text
}

/// Describes what is live after a flip or a rollback.
fn moved(done: &Dataset, options: &str) -> String {
    let one = |name: &str, before: Option<&str>, live: Option<&str>| {
        let live = live.unwrap_or("no table");
        match before {
            Some(before) if done.outcome == "swapped" => format!("{name}: {before} → {live}\n"),
            _ if done.outcome == "swapped" => format!("{name}: → {live}\n"),
            _ => format!("{name}: {live} stays live ({})\n", done.outcome.replace('_', " ")),
        }
    };
    let mut text = match &done.group {
        None => one(&done.dataset, done.previous.as_deref(), done.live.as_deref()),
        Some(group) => {
            let before = |name: &str| group.previous.get(name).and_then(Option::as_deref);
            group.live.iter().map(|(name, live)| one(name, before(name), live.as_deref())).collect()
        }
    };
    if done.outcome == "swapped" {
        text += &format!("undo  {}\n", undo(&done.dataset, done.previous.as_deref(), options));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREEN: &str = "green-01JDA00000000000000000000B";
    const BLUE: &str = "blue-01JDA00000000000000000000A";

    fn dataset(outcome: &str, live: &str, previous: &str) -> Dataset {
        let known = json!({
            "generation": BLUE, "state": "replaced", "as_of": "2026-11-21T02:00:00Z", "age_seconds": 1, "rows": 1_100, "bytes": 88,
        });
        let answer = json!({
            "dataset": "users", "outcome": outcome, "live": live, "previous": previous, "reasons": [], "generations": [known],
        });
        Dataset::read(&answer).unwrap()
    }

    #[test]
    fn requests_are_those_of_the_wire() {
        let request = |action: Action| action.request("users");
        assert_eq!(request(Action::Flip { generation: "g".into() }), json!({ "dataset": "users", "generation": "g" }));
        assert_eq!(
            request(Action::Rollback { generation: None, reason: None }),
            json!({ "dataset": "users", "action": "rollback" })
        );
        assert_eq!(
            request(Action::Rollback { generation: Some("g".into()), reason: Some("r".into()) }),
            json!({ "dataset": "users", "action": "rollback", "generation": "g", "reason": "r" })
        );
        assert_eq!(
            request(Action::Hold { reason: "r".into() }),
            json!({ "dataset": "users", "action": "hold", "reason": "r" })
        );
        assert_eq!(request(Action::Release { reason: None }), json!({ "dataset": "users", "action": "release" }));
    }

    #[test]
    fn a_prompt_says_who_changes_what_and_how_to_undo_it() {
        let action = Action::Rollback { generation: None, reason: None };
        let change =
            planned(&dataset("status", GREEN, BLUE), &action, "me, on stack lake in eu-west-1".into(), " --aws");
        let expected = format!(
            "who   me, on stack lake in eu-west-1\nwhat  roll back users\nfrom  {GREEN}\nto    {BLUE} (1,100 rows)\n\
             undo  turntable flip users {GREEN} --aws\n"
        );
        assert_eq!(change.shown(), expected);
        assert_eq!(undo("users", None, ""), "not possible: there is no table to go back to");
        let old = "set the table's location back to s3://lake/old/; Turntable does not manage it";
        assert_eq!(undo("users", Some("s3://lake/old/"), ""), old);
    }

    #[test]
    fn outcomes_say_what_is_live_and_how_to_undo_it() {
        let flip = Action::Flip { generation: BLUE.into() };
        let expected = format!("users: {GREEN} → {BLUE}\nundo  turntable flip users {GREEN} --stack lake\n");
        assert_eq!(shown(&dataset("swapped", BLUE, GREEN), &flip, " --stack lake"), expected);
        let expected = format!("users: {BLUE} stays live (already live)\n");
        assert_eq!(shown(&dataset("already_live", BLUE, GREEN), &flip, ""), expected);
        let hold = Action::Hold { reason: "a restore".into() };
        let expected = "users is held: a restore\nundo  turntable release users\n";
        assert_eq!(shown(&dataset("held", BLUE, GREEN), &hold, ""), expected);
        let release = Action::Release { reason: None };
        let expected = "users is released; the next export may go live\n";
        assert_eq!(shown(&dataset("status", BLUE, GREEN), &release, ""), expected);
    }

    #[test]
    fn a_group_is_shown_with_all_its_members() {
        let mut done = dataset("swapped", BLUE, GREEN);
        let group = json!({ "name": "shop", "live": { "orders": "g2", "users": BLUE }, "previous": { "orders": "g1", "users": GREEN } });
        done.group = Some(serde_json::from_value(group).unwrap());
        let flip = Action::Flip { generation: BLUE.into() };
        let expected = format!("orders: g1 → g2\nusers: {GREEN} → {BLUE}\nundo  turntable flip users {GREEN}\n");
        assert_eq!(shown(&done, &flip, ""), expected);
        let what = planned(&done, &flip, "me".into(), "").what;
        assert_eq!(what, "flip users and its group shop: orders, users");
    }
}
