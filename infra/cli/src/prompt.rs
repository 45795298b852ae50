//! Asks for confirmation before something is changed.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Result;

use crate::done::{Done, code};

/// What a request would change.
pub struct Change {
    pub who: String,
    pub what: String,
    pub from: String,
    pub to: String,
    /// How to undo it.
    pub undo: String,
}

impl Change {
    pub fn shown(&self) -> String {
        let Change { who, what, from, to, undo } = self;
        format!("who   {who}\nwhat  {what}\nfrom  {from}\nto    {to}\nundo  {undo}\n")
    }
}

/// The answer to a prompt.
pub enum Answer {
    Yes,
    /// The user said no, or standard input is not a terminal.
    No(Done),
}

/// Prints a change to standard error and asks whether to continue. If `yes` is set, doesn't ask.
pub fn confirm(change: &Change, yes: bool) -> Result<Answer> {
    let mut err = io::stderr();
    write!(err, "{}", change.shown())?;
    if yes {
        return Ok(Answer::Yes);
    }
    if !io::stdin().is_terminal() {
        let err = "error: standard input is not a terminal, so you can't confirm this: pass --yes instead\n".into();
        return Ok(Answer::No(Done { err, code: code::USAGE, ..Done::default() }));
    }
    write!(err, "continue? [y/N] ")?;
    err.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(match is_yes(&line) {
        true => Answer::Yes,
        false => {
            Answer::No(Done { err: "nothing was changed\n".into(), code: code::NEEDS_A_PERSON, ..Done::default() })
        }
    })
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(is_yes("y\n") && is_yes("Yes"));
        assert!(!is_yes("") && !is_yes("no") && !is_yes("yesterday"));
    }
}
