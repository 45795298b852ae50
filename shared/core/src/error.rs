//! One error for the whole product: what an operator can do about it, and a sentence that says what, where and how.

use std::fmt;

/// What an operator must do. It is the `errorType` of a failed invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `datasets.toml`, the environment or the Glue table must be changed.
    Config,
    /// The request or the source's data must be changed.
    Input,
    /// Somebody else was faster, or changed what is ours. Look, then run again.
    Conflict,
    /// Something did not answer. Run again.
    Unavailable,
    /// The audit failed. Live is unchanged.
    Rejected,
    /// What must not be has been found. Page somebody.
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

/// Carries names, counts and keys of objects, never the values of rows.
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

    /// The cause below, for the log. The message must not repeat it.
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Which dataset it is of, for the log, unless that is said already.
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

    /// The message and every cause below it, in one line.
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
