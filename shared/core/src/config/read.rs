//! Reads the keys of a TOML table one by one, and collects all faults. A key that is never read is reported as unknown.

use std::cell::RefCell;

use jiff::{SignedDuration, Span, SpanRelativeTo};
use toml::{Table, Value};

/// One problem in the file, with its position.
pub struct Fault {
    pub at: At,
    /// The message to show. It starts with the key path, if there is one.
    pub message: String,
}

pub enum At {
    /// The path of a key.
    Key(String),
    /// A byte offset in a file that isn't valid TOML.
    Byte(usize),
}

/// The faults found so far.
#[derive(Default)]
pub struct Faults(RefCell<Vec<Fault>>);

impl Faults {
    pub fn push(&self, path: &str, fault: impl std::fmt::Display) {
        self.add(At::Key(path.into()), path, fault);
    }

    /// Adds a fault whose message names the table at `path`, but whose position is that of `key` in this table.
    fn push_key(&self, path: &str, key: &str, fault: impl std::fmt::Display) {
        self.add(At::Key(child_path(path, key)), path, fault);
    }

    pub fn syntax(&self, byte: usize, fault: &str) {
        self.0.borrow_mut().push(Fault { at: At::Byte(byte), message: fault.into() });
    }

    fn add(&self, at: At, path: &str, fault: impl std::fmt::Display) {
        let message = if path.is_empty() { fault.to_string() } else { format!("{path}: {fault}") };
        self.0.borrow_mut().push(Fault { at, message });
    }

    pub fn into_inner(self) -> Vec<Fault> {
        self.0.into_inner()
    }
}

fn child_path(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}

/// A TOML table whose keys are read one by one. A method that expects a certain type adds a fault and returns `None` if
/// the value has another type. A missing value is also `None`, without a fault.
pub struct Keys<'a> {
    path: String,
    table: &'a Table,
    faults: &'a Faults,
    /// The keys that have been read so far, in order. The file may lack some of them.
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Keys<'a> {
    pub fn new(path: impl Into<String>, table: &'a Table, faults: &'a Faults) -> Self {
        Self { path: path.into(), table, faults, known: RefCell::default() }
    }

    /// Returns the full path of a key in this table.
    pub fn at(&self, key: &str) -> String {
        child_path(&self.path, key)
    }

    pub fn fault(&self, key: &str, fault: impl std::fmt::Display) {
        self.faults.push(&self.at(key), fault);
    }

    /// Adds a fault for the whole table.
    pub fn fault_here(&self, fault: impl std::fmt::Display) {
        self.faults.push(&self.path, fault);
    }

    pub fn faults(&self) -> &'a Faults {
        self.faults
    }

    pub fn has(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    pub fn value(&self, key: &'static str) -> Option<&'a Value> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Reads a value with `read`. If `read` returns `None`, adds a fault that says what was expected.
    fn typed<T>(&self, key: &'static str, expected: &str, read: impl Fn(&'a Value) -> Option<T>) -> Option<T> {
        let value = self.value(key)?;
        let read = read(value);
        if read.is_none() {
            self.fault(key, format!("expected {expected}, found {}", described(value)));
        }
        read
    }

    /// Reads a non-empty string.
    pub fn string(&self, key: &'static str) -> Option<&'a str> {
        self.typed(key, "a non-empty string", |value| value.as_str().filter(|text| !text.trim().is_empty()))
    }

    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// Reads a whole number that is at least `least`.
    pub fn whole(&self, key: &'static str, least: u64) -> Option<u64> {
        self.typed(key, &format!("a whole number, {least} or more"), |value| {
            value.as_integer().and_then(|number| u64::try_from(number).ok()).filter(|number| *number >= least)
        })
    }

    /// Reads a number from 0 to 1.
    pub fn part(&self, key: &'static str) -> Option<f64> {
        let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        let found = self.typed(key, "a number from 0 to 1", number)?;
        if (0.0..=1.0).contains(&found) {
            return Some(found);
        }
        self.fault(key, format!("expected a fraction from 0 to 1, such as 0.2 for 20 %, found {found}"));
        None
    }

    /// Reads a finite number that is at least 0.
    pub fn number(&self, key: &'static str) -> Option<f64> {
        self.typed(key, "a number, 0 or more", |value| {
            let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))?;
            (number >= 0.0 && number.is_finite()).then_some(number)
        })
    }

    /// Reads a list of non-empty strings.
    pub fn strings(&self, key: &'static str) -> Option<Vec<&'a str>> {
        let text = |value: &'a Value| value.as_str().filter(|text| !text.trim().is_empty());
        let read = |value: &'a Value| value.as_array()?.iter().map(text).collect();
        self.typed(key, "a list of non-empty strings", read)
    }

    /// Reads a nested table whose keys are names chosen by the user. Returns each name in lower case, as Glue stores
    /// it, with its path relative to this table, and its value.
    pub fn entries(&self, key: &'static str) -> impl Iterator<Item = (String, String, &'a Value)> {
        let table = self.typed(key, "a table", Value::as_table);
        table.into_iter().flatten().map(move |(name, value)| (name.to_lowercase(), format!("{key}.{name}"), value))
    }

    /// Returns all entries in this table. For tables whose keys are names chosen by the user.
    pub fn all(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.table.iter()
    }

    /// Reads a nested table.
    pub fn table(&self, key: &'static str) -> Option<Keys<'a>> {
        let table = self.typed(key, "a table", Value::as_table)?;
        Some(Keys::new(self.at(key), table, self.faults))
    }

    /// Reads a non-empty string and parses it. An error from `parse` becomes a fault at the key.
    pub fn parsed<T>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.taken(key, parse(self.string(key)?))
    }

    /// Unwraps a parsed value. An error becomes a fault at the key.
    pub fn taken<T>(&self, key: &str, parsed: Result<T, String>) -> Option<T> {
        parsed.map_err(|fault| self.fault(key, fault)).ok()
    }

    /// Reads a non-negative duration, such as `90m`, `1h 30m` or `30d`. A day has 24 hours.
    pub fn duration(&self, key: &'static str) -> Option<SignedDuration> {
        self.parsed(key, |text| {
            let span: Option<Span> = text.parse().ok();
            span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok())
                .filter(|length| !length.is_negative())
                .ok_or_else(|| {
                    format!("{text:?} is not a valid duration, expected one such as \"90m\", \"1h\" or \"30d\"")
                })
        })
    }

    /// Adds an "unknown key" fault for each key that was never read.
    pub fn finish(self) {
        let known = self.known.into_inner();
        let mut expected: Vec<&str> = Vec::new();
        for key in &known {
            if !expected.contains(key) {
                expected.push(key);
            }
        }
        for key in self.table.keys().filter(|key| !known.contains(&key.as_str())) {
            let fault = format!("unknown key {key:?}, expected one of {}", expected.join(", "));
            self.faults.push_key(&self.path, key, fault);
        }
    }
}

/// Returns a description of the value's type, never the value itself, which may be a password.
pub fn described(value: &Value) -> &'static str {
    match value {
        Value::String(text) if text.trim().is_empty() => "an empty string",
        Value::String(_) => "a string",
        Value::Integer(number) if *number < 0 => "a negative number",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "an array",
        Value::Table(_) => "a table",
    }
}
