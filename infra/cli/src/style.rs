//! Colours, which are printed only to a terminal: <https://no-color.org>.

use std::{env, io::IsTerminal};

/// How to highlight text in a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    is_on: bool,
}

impl Style {
    pub const PLAIN: Style = Style { is_on: false };

    /// Returns the style for standard output. Colours are on if it is a terminal that supports them and NO_COLOR isn't
    /// set.
    pub fn of_stdout() -> Style {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Style { is_on: std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb }
    }

    pub fn bold(self, text: &str) -> String {
        self.marked("1", text)
    }

    /// Highlights something that needs attention.
    pub fn yellow(self, text: &str) -> String {
        self.marked("33", text)
    }

    fn marked(self, code: &str, text: &str) -> String {
        if self.is_on && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_only_for_terminals() {
        assert_eq!(Style::PLAIN.bold("a"), "a");
        assert_eq!(Style { is_on: true }.yellow("a"), "\u{1b}[33ma\u{1b}[0m");
        // The tests' output isn't a terminal.
        assert_eq!(Style::of_stdout(), Style::PLAIN);
    }
}
