//! Packages template.yaml as `sam package` does: each `CodeUri` becomes the URI of the uploaded code.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, bail};
use client::workspace;

const CODE_URI: &str = "CodeUri: functions/";

/// The text of template.yaml, the only place that lists the functions. In `CodeUri: functions/export`, `export` also
/// names the crate and its binary, and is the last part of the function's deployed name.
#[derive(Debug, Clone)]
pub struct Template(String);

impl Template {
    pub fn read() -> Result<Template> {
        let path = workspace::root().join("template.yaml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let template = Template(text);
        if template.functions().is_empty() {
            bail!("template.yaml has no function: expected a line `{CODE_URI}NAME`");
        }
        Ok(template)
    }

    /// Returns the functions' short names: `export`, `flip`, …
    pub fn functions(&self) -> Vec<String> {
        self.0.lines().filter_map(function).map(str::to_owned).collect()
    }

    /// Returns the text with each function's code URI filled in; no other byte changes.
    pub fn packaged(&self, code: &BTreeMap<String, String>) -> String {
        let mut packaged = String::with_capacity(self.0.len());
        for line in self.0.split_inclusive('\n') {
            match function(line).and_then(|name| Some((name, code.get(name)?))) {
                Some((name, uri)) => {
                    packaged += &line.replace(&format!("{CODE_URI}{name}"), &format!("CodeUri: {uri}"));
                }
                None => packaged += line,
            }
        }
        packaged
    }
}

/// Returns the function that a `CodeUri` line names, or `None` for any other line.
fn function(line: &str) -> Option<&str> {
    line.trim().strip_prefix(CODE_URI)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_uris_are_replaced() {
        let template =
            Template("A:\n  CodeUri: functions/export\n  # CodeUri: functions/old\nB: functions/export\n".into());
        assert_eq!(template.functions(), ["export"]);
        let code = BTreeMap::from([("export".to_owned(), "s3://code/1".to_owned())]);
        assert_eq!(
            template.packaged(&code),
            "A:\n  CodeUri: s3://code/1\n  # CodeUri: functions/old\nB: functions/export\n"
        );
    }
}
