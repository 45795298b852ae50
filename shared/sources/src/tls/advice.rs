//! The advice on what to do about a failed TLS connection.

use rustls::{CertificateError, Error as TlsError};
use turntable_core::rds;

use super::{roots, words::Words};

/// Returns what to do about a TLS error. `host` is the server's host name, and `given_by` is where its settings are.
pub fn advice(words: &Words, error: Option<&TlsError>, host: &str, given_by: &str) -> String {
    let Words { mode, roots, verify, encrypt, .. } = words;
    let Some(TlsError::InvalidCertificate(fault)) = error else {
        return format!("check {mode} and {roots} in {given_by}");
    };
    match fault {
        // A signature is bad if the certificate comes from another authority with the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => unknown_issuer(words, host, given_by),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "connect by a name in the certificate (on RDS, the endpoint's), or have the server's certificate issued \
                 for {host}"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew the server's certificate (on RDS, rotate it)".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "correct the server's certificate, or the clock of this machine".into()
        }
        _ => format!(
            "replace the server's certificate, or change {mode} from {verify} to {encrypt} in {given_by}, which encrypts \
             but doesn't verify the server"
        ),
    }
}

/// Returns what to do about a server that doesn't offer TLS.
pub fn no_tls(words: &Words, given_by: &str) -> String {
    format!(
        "enable TLS on the server, or set {} = {} in {given_by}; without TLS, anyone on the network path can read \
         everything",
        words.mode, words.disable
    )
}

fn unknown_issuer(words: &Words, host: &str, given_by: &str) -> String {
    let Words { mode, roots: key, encrypt, .. } = words;
    match rds::region(host) {
        Some(region) if !roots::knows(region) => format!(
            "this version of Turntable has no certificate authorities for RDS in {region}: download the region's \
             certificate bundle (\"Using SSL/TLS to encrypt a connection to a DB instance\", Amazon RDS User Guide), put it \
             into the stack's bucket and set {key} = s3://BUCKET/KEY in {given_by}"
        ),
        Some(_) => format!(
            "it doesn't come from an authority of RDS: if RDS has new authorities, put its certificate bundle into the \
             stack's bucket and set {key} = s3://BUCKET/KEY in {given_by}"
        ),
        None => format!(
            "put the certificate of the server's authority into the stack's bucket as a PEM file and set {key} = \
             s3://BUCKET/KEY in {given_by}, or set {mode} = {encrypt}, which encrypts but doesn't verify the server"
        ),
    }
}
