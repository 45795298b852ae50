//! TLS for all databases: which certificate authorities are trusted, when a server must prove its identity, and what to
//! do if it can't.

mod advice;
pub mod roots;
mod words;

use std::net::IpAddr;

pub use advice::{advice, no_tls};
pub use words::Words;

/// Returns whether a host is this machine itself, so that the connection crosses no network.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Returns the warning about a connection that doesn't verify the server. `mode` is the mode in use, and `given_by` is
/// where it is set.
pub fn warning(words: &Words, address: &str, mode: &str, given_by: &str) -> String {
    format!(
        "{} at {address}: {} {mode} doesn't verify the server, so anyone on the network path can read the password \
         and change the rows: set {} = {} in {given_by}",
        words.database, words.mode, words.mode, words.verify
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.0.1", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "db", "10.0.0.1", "0.0.0.0", "128.0.0.1", "::2", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
