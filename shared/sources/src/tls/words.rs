//! The names of a database's TLS settings.

/// What a database calls its TLS settings and their values.
pub struct Words {
    /// The name of the database, for messages.
    pub database: &'static str,
    /// The setting of the mode.
    pub mode: &'static str,
    /// The setting of the trusted authorities.
    pub roots: &'static str,
    /// The mode that verifies the certificate and the host.
    pub verify: &'static str,
    /// The mode that encrypts and verifies nothing.
    pub encrypt: &'static str,
    /// The mode without TLS.
    pub disable: &'static str,
}
