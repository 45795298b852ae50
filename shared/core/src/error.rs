//! Turntable's only error type. Its kind says what an operator must do; its message says what failed and why.

use std::fmt;

/// What an operator must do about an error. Lambda reports the kind as the `errorType` of a failed invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Change `datasets.toml`, the environment or the Glue table.
    Config,
    /// Change the request or the source's data.
    Input,
    /// The invocation lost a race, or somebody changed a managed object. Check the state, then invoke the function
    /// again.
    Conflict,
    /// A service did not answer. Invoke the function again.
    Unavailable,
    /// The audit failed, and live is unchanged. Correct the source's data or the dataset's checks.
    Rejected,
    /// The invocation found a state that must not exist. Somebody must investigate.
    Corrupt,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Config => "Config",
            Kind::Input => "Input",
            Kind::Conflict => "Conflict",
            Kind::Unavailable => "Unavailable",
            Kind::Rejected => "Rejected",
            Kind::Corrupt => "Corrupt",
        }
    }
}

/// An error with its kind, message, dataset and cause. It contains names, counts and object keys, but never a row's
/// values.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    dataset: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), dataset: None, source: None }
    }

    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Kind::Input, message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(Kind::Rejected, message)
    }

    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(Kind::Corrupt, message)
    }

    /// Adds the underlying cause, for the log. The message must not repeat it.
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Sets the dataset, for the log, unless it is set already.
    pub fn of(mut self, dataset: &str) -> Self {
        self.dataset.get_or_insert_with(|| dataset.into());
        self
    }

    pub fn dataset(&self) -> Option<&str> {
        self.dataset.as_deref()
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the message and every cause below it, in one line.
    pub fn report(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
