//! template.yaml, packaged as `sam package` does it: each `CodeUri` becomes the place of the uploaded code.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, bail};

use crate::workspace;

const CODE: &str = "CodeUri: functions/";

/// The text of template.yaml. It is the only list of functions: the folder that a `CodeUri` names is also the name of
/// the crate and of its binary, and ends the function's name.
#[derive(Debug, Clone)]
pub struct Template(String);

impl Template {
    pub fn read() -> Result<Template> {
        let path = workspace::root().join("template.yaml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let template = Template(text);
        if template.functions().is_empty() {
            bail!("template.yaml has no function: expected `{CODE}NAME`");
        }
        Ok(template)
    }

    /// `export`, `flip`, …
    pub fn functions(&self) -> Vec<String> {
        self.0.lines().filter_map(function).map(str::to_owned).collect()
    }

    /// The text with each function's code at its place, and not another byte changed.
    pub fn packaged(&self, code: &BTreeMap<String, String>) -> String {
        let mut packaged = String::with_capacity(self.0.len());
        for line in self.0.split_inclusive('\n') {
            match function(line).and_then(|name| Some((name, code.get(name)?))) {
                Some((name, place)) => {
                    packaged += &line.replace(&format!("{CODE}{name}"), &format!("CodeUri: {place}"));
                }
                None => packaged += line,
            }
        }
        packaged
    }
}

/// The function whose code this line names.
fn function(line: &str) -> Option<&str> {
    line.trim().strip_prefix(CODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_code_is_replaced() {
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
