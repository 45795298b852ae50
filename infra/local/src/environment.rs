//! The environment variables that child processes inherit.

/// Variables that the emulator's processes get from the user's environment. AWS credentials, profiles and endpoints are
/// not among them.
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
