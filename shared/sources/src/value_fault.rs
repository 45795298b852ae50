//! The reasons for rejecting a value from a database.

/// Why a value was rejected. It never contains the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueFault {
    /// The value is valid, but Arrow or Athena can't represent it. The string describes the problem and the fix.
    Unrepresentable(&'static str),
    /// The value doesn't match the server's description of its column, or the format of its type.
    Malformed(&'static str),
}
