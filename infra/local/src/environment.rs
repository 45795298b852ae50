//! The environment variables that child processes inherit.

/// The variables that the emulator and `aws.py` inherit from the user's environment. They include no AWS credentials,
/// profiles or endpoints, so that no process can reach AWS by mistake.
pub const INHERITED: [&str; 11] = [
    "PATH",
    "HOME",
    "JAVA_HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RUST_BACKTRACE",
    "RUST_LOG",
];
