//! The names of a database's TLS settings.

/// A database's names for its TLS settings and their values.
pub struct Words {
    /// The name of the database, for messages.
    pub database: &'static str,
    /// The setting for the mode.
    pub mode: &'static str,
    /// The setting for the trusted authorities.
    pub roots: &'static str,
    /// The mode that verifies the certificate and the host.
    pub verify: &'static str,
    /// The mode that encrypts but verifies nothing.
    pub encrypt: &'static str,
    /// The mode without TLS.
    pub disable: &'static str,
}
