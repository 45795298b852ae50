//! Reads a datasets.toml and replaces its `${NAME}` placeholders.

use std::{env, fs, path::Path};

use anyhow::{Context, Result, bail};
use turntable::config::{Config, LAPTOP_ONLY, Position};

/// A valid datasets.toml, before and after its placeholders are replaced.
pub struct Datasets {
    /// The text as it is in the file.
    pub written: String,
    /// The text with the placeholders replaced, except in comment lines.
    pub text: String,
    pub config: Config,
}

impl Datasets {
    /// Reads and parses a file. `${BUCKET}` becomes `bucket`, and every other `${NAME}` becomes the value of that
    /// environment variable. The error has a line for each fault.
    pub fn read(path: &Path, bucket: &str) -> Result<Datasets> {
        let file = path.display().to_string();
        let written = fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
        let known = |name: &str| if name == "BUCKET" { Some(bucket.into()) } else { env::var(name).ok() };
        let (text, missing) = expand(&written, known);
        let missing = missing
            .into_iter()
            .map(|(name, position)| format!("{file}:{position}: ${{{name}}} is not set in the environment"));
        let mut faults: Vec<String> = missing.collect();
        match Config::parse_expanded(&file, &text, &written) {
            Ok(config) if faults.is_empty() => return Ok(Datasets { written, text, config }),
            Ok(_) => {}
            Err(error) => {
                let report = error.report();
                // A placeholder without a value is already reported.
                let is_reported = |line: &&str| !faults.is_empty() && line.ends_with(LAPTOP_ONLY);
                let others: Vec<String> = report.lines().filter(|line| !is_reported(line)).map(str::to_owned).collect();
                faults.extend(others);
            }
        }
        bail!("{}", faults.join("\n"))
    }
}

/// Replaces each `${NAME}`, except in comment lines. A placeholder whose name has no `value` stays as it is. Returns
/// the text, and each name without a value with the position of its first use.
fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> (String, Vec<(String, Position)>) {
    let mut expanded = String::with_capacity(text.len());
    let mut missing: Vec<(String, Position)> = Vec::new();
    let mut begin = 0;
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while let Some((before, name, after)) = next(rest).filter(|_| !line.trim_start().starts_with('#')) {
            expanded += before;
            match value(name) {
                Some(value) => expanded += &value,
                None => {
                    expanded += &format!("${{{name}}}");
                    if missing.iter().all(|(known, _)| known != name) {
                        let at = begin + line.len() - rest.len() + before.len();
                        missing.push((name.to_owned(), Position::of(text, at)));
                    }
                }
            }
            rest = after;
        }
        expanded += rest;
        begin += line.len();
    }
    (expanded, missing)
}

/// Splits at the first `${NAME}` into the text before it, the name, and the text after it. A `${` that no valid name
/// and `}` follow is ordinary text.
fn next(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices("${").find_map(|(at, open)| {
        let (name, after) = text[at + open.len()..].split_once('}')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_name.then_some((&text[..at], name, after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Option<String> {
        (name == "A").then(|| "1".into())
    }

    #[test]
    fn only_names_are_replaced() {
        let (expanded, missing) = expand("# ${B}\nx = \"${A}-$A-${A}\" ${} ${a b}\n", known);
        assert_eq!((expanded.as_str(), missing.len()), ("# ${B}\nx = \"1-$A-1\" ${} ${a b}\n", 0));
    }

    #[test]
    fn all_missing_names_are_reported_with_their_positions() {
        let (expanded, missing) = expand("猫 ${C} ${A}\n ${B} ${C}", known);
        assert_eq!(expanded, "猫 ${C} 1\n ${B} ${C}");
        let missing: Vec<String> = missing.iter().map(|(name, at)| format!("{name} {at}")).collect();
        assert_eq!(missing, ["C 1:3", "B 2:2"]);
    }
}
