//! The datasets file that is run: the sample's or the user's own.

use std::{collections::BTreeSet, env, fs, path::Path};

use anyhow::{Context, Result, bail};
use turntable::config::Config;

/// The sample's file.
pub const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/datasets.toml");

/// The folder beside a datasets file whose files are put into the bucket first.
pub const BUCKET: &str = "bucket";

/// A datasets file with its `${NAME}`s replaced, checked.
pub struct Datasets {
    pub text: String,
    pub config: Config,
}

impl Datasets {
    /// `${BUCKET}` is `bucket`, every other `${NAME}` comes from the environment.
    pub fn read(path: &Path, bucket: &str) -> Result<Datasets> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
        let text = expand(&text, |name| if name == "BUCKET" { Some(bucket.into()) } else { env::var(name).ok() })
            .map_err(|missing| anyhow::anyhow!("{file}: missing in the environment: {}", missing.join(", ")))?;
        let config = Config::parse(&file, &text)?;
        if config.datasets().next().is_none() {
            bail!("{file}: no dataset is configured");
        }
        Ok(Datasets { text, config })
    }

    /// The Glue databases that must be there: Turntable makes tables, never databases.
    pub fn databases(&self) -> BTreeSet<&str> {
        self.config.datasets().map(|dataset| dataset.table.database.as_str()).collect()
    }
}

/// Replaces each `${NAME}`, except in lines that are comments. The error has every name that `value` does not know.
fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, Vec<String>> {
    let mut expanded = String::with_capacity(text.len());
    let mut missing = BTreeSet::new();
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while let Some((before, name, after)) = next(rest).filter(|_| !line.trim_start().starts_with('#')) {
            expanded += before;
            match value(name) {
                Some(value) => expanded += &value,
                None => drop(missing.insert(name.to_owned())),
            }
            rest = after;
        }
        expanded += rest;
    }
    if missing.is_empty() { Ok(expanded) } else { Err(missing.into_iter().collect()) }
}

/// The text before the first `${NAME}`, the name, and the text behind it. `${` without a name is text.
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
    fn names_are_replaced_and_nothing_else() {
        assert_eq!(
            expand("# ${B}\nx = \"${A}-$A-${A}\" ${} ${a b}\n", known).unwrap(),
            "# ${B}\nx = \"1-$A-1\" ${} ${a b}\n"
        );
    }

    #[test]
    fn all_missing_names_are_told_at_once() {
        assert_eq!(expand("${C} ${A} ${B} ${C}", known), Err(vec!["B".to_owned(), "C".to_owned()]));
    }

    #[test]
    fn the_sample_is_a_valid_datasets_file() {
        let sample = Datasets::read(Path::new(SAMPLE), "bucket").unwrap();
        assert_eq!(sample.databases().into_iter().collect::<Vec<_>>(), ["dmp"]);
        assert_eq!(sample.config.dataset("users").unwrap().table.to_string(), "dmp.users");
    }
}
