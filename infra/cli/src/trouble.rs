//! Explains in one line why a request to a stack failed, and what to do about it.

use std::fmt;

use anyhow::{Error, anyhow};

use crate::signed::Refused;

/// The error if no stack could be reached. The program's exit code is 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer(pub String);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoAnswer {}

/// The stack that a request was sent to, and whose credentials signed it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub stack: &'a str,
    /// The profile that the user named, on the command line or in the environment.
    pub profile: Option<&'a str>,
}

/// Strings in AWS's errors, and what they mean for the user. The first match counts. `{profile}` stands for the option
/// ` --profile NAME`, if there is a profile.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html>
const MEANINGS: &[(&str, &str)] = &[
    ("ExpiredToken", EXPIRED),
    ("security token included in the request is expired", EXPIRED),
    ("has expired", EXPIRED),
    ("Signature expired", CLOCK),
    ("Signature not yet current", CLOCK),
    ("security token included in the request is invalid", UNKNOWN),
    ("InvalidClientTokenId", UNKNOWN),
    ("UnrecognizedClientException", UNKNOWN),
    ("request signature we calculated does not match", UNKNOWN),
    ("feature(s) enabled: sso", SSO),
    ("cannot load AWS credentials", NONE),
    ("no AWS credentials are configured", NONE),
    ("no AWS region is set", "no AWS region is set: pass --region, or set AWS_REGION"),
];
const EXPIRED: &str =
    "the AWS credentials have expired: run `aws sso login{profile}`, or renew them, and set them again";
const SSO: &str = "this profile signs in with SSO, which turntable leaves to the AWS CLI: run `aws sso login{profile}`, then \
                   `eval \"$(aws configure export-credentials{profile} --format env)\"`";
const CLOCK: &str = "AWS rejected the request because of its time: set this machine's clock";
const UNKNOWN: &str = "AWS does not know these credentials: check --profile, AWS_PROFILE and AWS_ACCESS_KEY_ID";
const NONE: &str = "no AWS credentials were found: run `aws configure`, pass --profile, or set AWS_PROFILE. For a profile that \
                    signs in with SSO, run `eval \"$(aws configure export-credentials --format env)\"` first";

/// Returns an error that says what to do. An error that needs no explanation is returned unchanged.
pub fn explained(error: Error, asked: Asked<'_>) -> Error {
    let text = text(&error);
    let stack = asked.stack;
    if let Some((_, meaning)) = MEANINGS.iter().find(|(part, _)| text.contains(part)) {
        let profile = asked.profile.map(|name| format!(" --profile {name}")).unwrap_or_default();
        return anyhow!(NoAnswer(meaning.replace("{profile}", &profile)));
    }
    if is_missing(&text) {
        return anyhow!(NoAnswer(format!(
            "no stack {stack} was found: check --stack, --profile and --region, or deploy it first"
        )));
    }
    if is_denied(&error) {
        return anyhow!(NoAnswer(format!("these credentials are not allowed to do this: {}", message(&text))));
    }
    if text.contains("dispatch failure") || text.contains("DispatchFailure") || text.contains("timeout") {
        return anyhow!(NoAnswer(format!("stack {stack} can't be reached: {}", message(&text))));
    }
    error
}

/// Returns whether AWS refused a request because the caller may not send it.
pub fn is_denied(error: &Error) -> bool {
    let text = text(error);
    text.contains("AccessDenied") || text.contains("is not authorized to perform")
}

/// Returns whether AWS answered that there is no such function, or that it has no such alias.
pub fn is_missing_function(error: &Error) -> bool {
    let text = text(error);
    text.contains("Function not found") || text.contains("ResourceNotFoundException")
}

fn is_missing(text: &str) -> bool {
    text.contains("Stack with id") && text.contains("does not exist")
        || text.contains("Function not found")
        || text.contains("ResourceNotFoundException")
}

fn text(error: &Error) -> String {
    let refused = error.downcast_ref::<Refused>().map(|refused| format!(": {}", refused.text)).unwrap_or_default();
    format!("{error:#}{refused}")
}

/// Returns the message in an error's JSON or XML on one line. If there is none, returns the whole text.
fn message(text: &str) -> String {
    let between = |open: &str, close: &str| {
        let rest = text.split_once(open)?.1;
        Some(rest.split_once(close)?.0.to_owned())
    };
    let found = between("\"Message\":\"", "\"").or_else(|| between("\"message\":\"", "\""));
    let found = found.or_else(|| between("<Message>", "</Message>"));
    // The SDK repeats the error in Rust's debug format.
    let plain = || text.split(" (DispatchFailure(").next().unwrap_or(text).to_owned();
    let found = found.unwrap_or_else(plain);
    found.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAKE: Asked<'_> = Asked { stack: "lake", profile: None };

    fn refused(status: u16, text: &str) -> Error {
        anyhow!(Refused { status, date: None, text: text.into() }).context("cannot invoke turntable-flip")
    }

    fn told(error: Error) -> String {
        let error = explained(error, LAKE);
        assert!(error.downcast_ref::<NoAnswer>().is_some(), "{error:#}");
        error.to_string()
    }

    #[test]
    fn each_trouble_is_one_line_that_says_what_to_do() {
        let expired = r#"{"message":"The security token included in the request is expired"}"#;
        let login = "the AWS credentials have expired: run `aws sso login`, or renew them, and set them again";
        assert_eq!(told(refused(403, expired)), login);
        let with_profile = explained(refused(403, expired), Asked { profile: Some("dev"), ..LAKE });
        assert_eq!(with_profile.to_string(), login.replace("login", "login --profile dev"));
        let unknown = r#"{"message":"The security token included in the request is invalid."}"#;
        assert_eq!(told(refused(403, unknown)), UNKNOWN);
        let none = anyhow!("no providers in chain provided credentials").context("cannot load AWS credentials");
        assert_eq!(told(none), NONE);
        let missing = "no stack lake was found: check --stack, --profile and --region, or deploy it first";
        let stack =
            "<ErrorResponse>\n<Error><Code>ValidationError</Code><Message>Stack with id lake does not exist</Message>";
        assert_eq!(told(refused(400, stack)), missing);
        let function =
            r#"{"Type":"User","Message":"Function not found: arn:aws:lambda:eu-west-1:1:function:lake-flip"}"#;
        assert_eq!(told(refused(404, function)), missing);
        let denied =
            r#"{"Message":"User: arn:aws:iam::1:user/me is not authorized to perform: lambda:InvokeFunction"}"#;
        let expected = "these credentials are not allowed to do this: User: arn:aws:iam::1:user/me is not authorized to \
                        perform: lambda:InvokeFunction";
        assert_eq!(told(refused(403, denied)), expected);
        let unreachable =
            "dispatch failure: io error: Connection refused (DispatchFailure(DispatchFailure { source: 1 }))";
        let expected =
            "stack lake can't be reached: cannot invoke lake-flip: dispatch failure: io error: Connection refused";
        assert_eq!(told(anyhow!(unreachable).context("cannot invoke lake-flip")), expected);
        let other = explained(refused(500, "odd"), LAKE);
        assert_eq!(format!("{other:#}"), "cannot invoke turntable-flip: HTTP 500: odd");
    }
}
