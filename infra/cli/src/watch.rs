//! `--watch`: shows a result repeatedly.

use std::{
    io::{IsTerminal, stdout},
    time::Duration,
};

use anyhow::Result;

use crate::done::{Done, code};

/// Clears the terminal and moves to its first line.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J\u{1b}[3J";

/// Calls `ask` every `pause` and prints the result, in place if the output is a terminal. A failure is also printed,
/// and the next attempt may succeed. Ends when nobody reads the output any more.
pub async fn watch(pause: Duration, ask: impl AsyncFn() -> Result<Done>) -> Result<Done> {
    let is_terminal = stdout().is_terminal();
    loop {
        let mut done =
            ask().await.unwrap_or_else(|error| Done { err: format!("error: {error:#}\n"), ..Done::default() });
        done.out = screen(&done.out, is_terminal);
        if done.write() == Err(code::BROKEN_PIPE) {
            return Ok(Done { code: code::BROKEN_PIPE, ..Done::default() });
        }
        tokio::time::sleep(pause).await;
    }
}

/// Returns what to print for one result.
fn screen(text: &str, is_terminal: bool) -> String {
    if is_terminal { format!("{CLEAR}{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_is_cleared() {
        assert_eq!(screen("a\n", true), format!("{CLEAR}a\n"));
        assert_eq!(screen("a\n", false), "a\n");
    }
}
