//! Issues server certificates from a test authority.

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// A certificate authority.
pub struct Authority {
    /// The authority's own certificate, as PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    #[expect(clippy::new_without_default, reason = "each authority has another key")]
    pub fn new() -> Authority {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut authority = CertificateParams::new(Vec::new()).expect("an authority");
        authority.distinguished_name.push(DnType::CommonName, format!("authority {}", COUNT.fetch_add(1, Relaxed)));
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = authority.self_signed(&key).expect("an authority").pem();
        Authority { pem, issuer: Issuer::new(authority, key) }
    }

    /// Issues a certificate for these host names or addresses, and returns it as PEM.
    pub fn certificate(&self, key: &KeyPair, names: &[&str], is_expired: bool) -> String {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut server = CertificateParams::new(names).expect("a certificate");
        if is_expired {
            server.not_after = date_time_ymd(2020, 1, 1);
        }
        server.signed_by(key, &self.issuer).expect("a certificate").pem()
    }
}

/// Creates a key, and writes it to a file that only its owner may read.
pub fn write_key(to: &Path) -> KeyPair {
    let key = KeyPair::generate().expect("a key");
    std::fs::write(to, key.serialize_pem()).expect("a key's file");
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(to, owner_only).expect("a key's file");
    key
}
