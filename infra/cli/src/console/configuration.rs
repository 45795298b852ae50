//! The data of the configuration's page: the text of `datasets.toml` without passwords, and the errors in it.

use anyhow::Result;
use serde::Serialize;

use super::{
    redacted::redacted,
    stack::{Connected, Deployed},
};

/// `datasets.toml`, as the page shows it.
#[derive(Debug, Serialize)]
pub struct Configuration {
    /// The object in S3.
    pub at: String,
    /// The text, with its passwords hidden.
    pub text: String,
    pub faults: Vec<Fault>,
}

/// An error in the file.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The line, from 1. `None` if the error has no position in the file.
    pub line: Option<usize>,
    pub message: String,
}

/// Reads the configuration.
pub async fn configuration(connected: &Connected) -> Result<Configuration> {
    Ok(of(&connected.deployed().await?))
}

fn of(deployed: &Deployed) -> Configuration {
    let at = deployed.at.to_string();
    let lines: Vec<String> = match &deployed.config {
        Ok(config) => config.broken().flat_map(|entry| entry.faults.iter().cloned()).collect(),
        Err(report) => report.lines().map(str::to_owned).collect(),
    };
    let mut faults: Vec<Fault> = lines.iter().map(|line| fault(&at, &redacted(line))).collect();
    faults.sort_by_key(|fault| fault.line);
    Configuration { text: redacted(&deployed.text), at, faults }
}

/// Reads `FILE:LINE:COLUMN: message`.
fn fault(file: &str, text: &str) -> Fault {
    let placed = || {
        let (line, rest) = text.strip_prefix(file)?.strip_prefix(':')?.split_once(':')?;
        let (_column, message) = rest.split_once(": ")?;
        Some((line.parse().ok()?, message))
    };
    match placed() {
        Some((line, message)) => Fault { line: Some(line), message: message.to_owned() },
        None => Fault { line: None, message: text.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use turntable::config::Config;

    use super::*;

    #[test]
    fn faults_have_their_lines() {
        let text = "[defaults]\ndatabase = \"d\"\nlocation = \"s3://lake/s\"\n\n[datasets.users]\n\
                    source = { files = { location = \"s3://lake/in/\" } }\nreload = 1\n\n[datasets.orders]\n\
                    source = { files = { location = \"s3://lake/in2/\" } }\n";
        let at = "s3://lake/datasets.toml".parse().unwrap();
        let config = Config::parse("s3://lake/datasets.toml", text).map_err(|error| error.report());
        let shown = of(&Deployed { at, text: text.into(), config });
        assert_eq!((shown.text.as_str(), shown.faults.len()), (text, 1));
        assert_eq!(shown.faults[0].line, Some(7), "{:?}", shown.faults);
        assert!(shown.faults[0].message.contains("reload"), "{:?}", shown.faults);
        let none = fault("s3://lake/datasets.toml", "no place");
        assert_eq!(none, Fault { line: None, message: "no place".into() });
    }

    #[test]
    fn no_password_reaches_the_page() {
        let text = "[datasets.users]\nsource = { postgres = { url = \"postgres://me:hunter2@db/app\", query = \"SELECT 1\" } }\n";
        let at = "s3://lake/datasets.toml".parse().unwrap();
        let config = Config::parse("s3://lake/datasets.toml", text).map_err(|error| error.report());
        let shown = serde_json::to_string(&of(&Deployed { at, text: text.into(), config })).unwrap();
        assert!(shown.contains("postgres://me:") && !shown.contains("hunter2"), "{shown}");
    }
}
