//! `ask`: invokes a function with a request in JSON. It can send any request, also one that has no command.

use std::io::{IsTerminal, stdout};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    done::Done,
    target::{Function, Target},
};

/// Sends a request. Returns the answer as JSON: indented for a terminal, otherwise on one line.
pub async fn ask(target: &Target, function: Function, request: &str) -> Result<Done> {
    let request = parsed(request)?;
    let answer = target.connect().await?.invoke(function, &request).await?;
    Ok(Done::with(match stdout().is_terminal() {
        true => format!("{}\n", serde_json::to_string_pretty(&answer)?),
        false => format!("{answer}\n"),
    }))
}

/// Parses a request, so that an invalid one fails before anything is sent.
fn parsed(request: &str) -> Result<Value> {
    let request: Value = serde_json::from_str(request)
        .with_context(|| format!("the request {request:?} is not JSON: write it as '{{\"dataset\": \"users\"}}'"))?;
    ensure!(
        request.is_object(),
        "the request {request} is not a JSON object: write it as '{{\"dataset\": \"users\"}}'"
    );
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_requests_are_refused_before_anything_is_sent() {
        assert_eq!(parsed("{}").unwrap(), serde_json::json!({}));
        let told = |request: &str| format!("{:#}", parsed(request).unwrap_err());
        assert_eq!(
            told("{dataset: users}"),
            "the request \"{dataset: users}\" is not JSON: write it as '{\"dataset\": \"users\"}': key must be a string at \
             line 1 column 2"
        );
        assert!(told("").starts_with("the request \"\" is not JSON"));
        assert_eq!(told("[]"), "the request [] is not a JSON object: write it as '{\"dataset\": \"users\"}'");
    }
}
