//! The code blocks in the Markdown pages, and the commands in them.

/// The programs that the pages' commands run. A line that looks like a command for another program fails
/// `tests/tests/it/pages`.
const PROGRAMS: [&str; 20] = [
    ".ci/tool",
    "V/bin/pip",
    "V/bin/python",
    "V/bin/turntable",
    "ask",
    "aws",
    "cargo",
    "cd",
    "fuzz/run",
    "gh",
    "git",
    "just",
    "pip",
    "python",
    "python3",
    "sam",
    "sha256sum",
    "tar",
    "terraform",
    "turntable",
];
/// Languages of fenced blocks that aren't shell scripts.
const NO_SHELL: [&str; 6] = ["hcl", "json", "python", "sql", "toml", "yaml"];

/// One block of code, indented or fenced.
pub struct Block {
    /// The heading above it.
    pub heading: String,
    /// The fence's language, or an empty string without a fence.
    pub language: String,
    /// The lines without their common indentation.
    pub lines: Vec<String>,
}

/// A command that a page tells the reader to run.
#[derive(Debug, Clone)]
pub struct Instruction {
    pub heading: String,
    /// The command on one line, without the remark after it.
    pub command: String,
}

impl Block {
    /// Joins the lines of one command: those that follow a `\`, and the body of a function.
    fn joined(&self) -> Vec<String> {
        let mut joined: Vec<String> = Vec::new();
        for line in &self.lines {
            match joined.last_mut() {
                Some(last)
                    if last.ends_with('\\') || last.ends_with('{') || last.contains("{\n") && !last.ends_with('}') =>
                {
                    *last = format!("{last}\n{line}");
                }
                _ => joined.push(line.clone()),
            }
        }
        joined
    }

    pub fn instructions(&self) -> Vec<Instruction> {
        if NO_SHELL.contains(&self.language.as_str()) {
            return Vec::new();
        }
        let commands = self.joined().into_iter().flat_map(|text| commands(&text));
        commands.map(|command| Instruction { heading: self.heading.clone(), command }).collect()
    }

    /// Returns the lines that look like a command for a program that isn't in `PROGRAMS`.
    pub fn suspects(&self) -> Vec<String> {
        if NO_SHELL.contains(&self.language.as_str()) {
            return Vec::new();
        }
        let mut lines = self.joined();
        lines.retain(|line| {
            let first = line.split_whitespace().next().unwrap_or_default();
            let program = first.chars().all(|letter| letter.is_ascii_lowercase() || "-_./".contains(letter));
            program && !first.is_empty() && line.contains(" --") && commands(line).is_empty()
        });
        lines
    }
}

/// Returns the commands in a line. Text after two or more spaces is a remark, unless it starts with `or: `.
fn commands(text: &str) -> Vec<String> {
    let line: Vec<&str> = text.lines().map(|line| line.trim_end_matches('\\').trim()).collect();
    let line = line.join(" ");
    let parts = line.split("  ").flat_map(|part| part.split(" # ").next()).map(str::trim);
    let commands =
        parts.enumerate().filter_map(|(at, part)| if at == 0 { Some(part) } else { part.strip_prefix("or: ") });
    commands.filter(|command| is_command(command)).map(str::to_owned).collect()
}

/// Returns whether a line is a command for one of `PROGRAMS`. Assignments may come first.
pub fn is_command(line: &str) -> bool {
    let word = program(line).split(' ').next().unwrap_or_default();
    PROGRAMS.contains(&word) || word.split_once("=$(").is_some_and(|(_, of)| PROGRAMS.contains(&of))
}

/// Returns the command without the assignments before it.
pub fn program(mut line: &str) -> &str {
    while let Some((_, rest)) = line.split_once(' ').filter(|(word, _)| is_assignment(word)) {
        line = rest;
    }
    line
}

fn is_assignment(word: &str) -> bool {
    let named =
        |name: &str| !name.is_empty() && name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
    word.split_once('=').is_some_and(|(name, value)| named(name) && !value.starts_with("$("))
}
