//! One invocation of a function: its ID, and whether an operator's alias was invoked or the function itself.

use turntable_core::error::{Error, Result};

use crate::deadline::Deadline;

/// The alias that operators invoke and events don't. IAM tells their invocations apart by the alias's ARN.
pub const OPERATOR: &str = "operator";

/// What Lambda says about an invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Lambda's ID for the invocation. CloudTrail's data event for it says who invoked the function.
    pub request_id: String,
    /// The deployed name of the function.
    pub function: String,
    /// The alias or version that was invoked; `None` for the function itself.
    pub qualifier: Option<String>,
    pub deadline: Option<Deadline>,
}

impl Invocation {
    /// `arn` is the ARN that was invoked: `arn:aws:lambda:REGION:ACCOUNT:function:NAME`, and `:QUALIFIER` if the caller
    /// named an alias or a version.
    pub fn new(request_id: &str, arn: &str, deadline: Option<Deadline>) -> Invocation {
        let mut parts = arn.split(':').skip(6).map(str::to_owned);
        Invocation {
            request_id: request_id.into(),
            function: parts.next().unwrap_or_else(|| "FUNCTION".into()),
            qualifier: parts.next(),
            deadline,
        }
    }

    /// Fails unless the operator's alias was invoked. `request` names the request in the error message.
    pub fn ensure_operator(&self, request: &str) -> Result<()> {
        if self.qualifier.as_deref() == Some(OPERATOR) {
            return Ok(());
        }
        let Invocation { function, .. } = self;
        Err(Error::input(format!(
            "{request} is an operator's request, and {function} takes those only through its alias: invoke \
             {function}:{OPERATOR}, as `turntable` does. Permission to invoke only the function itself is not enough"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_alias_is_an_operators() {
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:turntable-flip";
        let of = |arn: &str| Invocation::new("id", arn, None).ensure_operator("a rollback");
        of(&format!("{arn}:operator")).unwrap();
        for other in ["", ":$LATEST", ":7", ":operators", ":OPERATOR", ":", ":live:operator"] {
            let error = of(&format!("{arn}{other}")).unwrap_err().report();
            assert!(error.starts_with("a rollback is an operator's request"), "{other}: {error}");
            assert!(error.contains("invoke turntable-flip:operator,"), "{other}: {error}");
        }
        // Lambda's runtime passes a sentence if the header is missing.
        of("No header lambda-runtime-invoked-function-arn found.").unwrap_err();
    }
}
