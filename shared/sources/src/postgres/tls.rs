//! Implements libpq's `sslmode`s with rustls.
//!
//! | mode | encrypted | server's certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `allow` | only if the server rejects an unencrypted connection | not checked, unless `sslrootcert` is given |
//! | `prefer` | unless the server doesn't offer TLS, or rejects an encrypted connection | as above |
//! | `require` | yes | as above |
//! | `verify-ca` | yes | signed by an authority in `sslrootcert` |
//! | `verify-full` | yes | as above, and issued for this host |
//!
//! `sslrootcert` is a PEM file. If it is given, every encrypted connection requires a certificate signed by one of its
//! authorities. `sslrootcert=system` means the system's authorities. It requires `verify-full`, because anyone can get
//! a certificate for a host of their own from a public authority. Without `sslrootcert`, `verify-full` uses the
//! system's authorities, and `verify-ca` is refused (libpq would look in the home directory, and a function has none).
//! The system's authorities don't include RDS's: put AWS's bundle next to the function and set `sslrootcert` to its
//! path. Unlike in libpq, a certificate without subject alternative names matches no host.

use std::{path::Path, str::FromStr, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use turntable_core::error::{Error, Result};

/// A value of `sslmode`: see the table in the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl FromStr for SslMode {
    type Err = String;

    fn from_str(text: &str) -> Result<SslMode, String> {
        Ok(match text {
            "disable" => SslMode::Disable,
            "allow" => SslMode::Allow,
            "prefer" => SslMode::Prefer,
            "require" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" => SslMode::VerifyFull,
            _ => {
                return Err(format!(
                    "unknown sslmode {text:?}, expected one of disable, allow, prefer, require, verify-ca, verify-full"
                ));
            }
        })
    }
}

impl SslMode {
    /// Returns the effective mode for the given `sslmode` and `sslrootcert`. Without `sslmode`, the mode is
    /// `verify-full` if `sslrootcert` is `system`, and `default_mode` otherwise. Fails for `verify-ca` without
    /// `sslrootcert`, and for `system` with any mode except `verify-full` and `disable`.
    pub fn effective(given: Option<SslMode>, roots: Option<&str>, default_mode: SslMode) -> Result<SslMode, String> {
        let system = roots == Some("system");
        let mode = given.unwrap_or(if system { SslMode::VerifyFull } else { default_mode });
        match mode {
            SslMode::VerifyCa if roots.is_none() => {
                Err("sslmode verify-ca needs sslrootcert, a PEM file with the authority: add it, or use \
                                verify-full"
                    .into())
            }
            SslMode::Disable | SslMode::VerifyFull => Ok(mode),
            _ if system => {
                Err("sslrootcert \"system\" needs sslmode verify-full: anyone can get a certificate from a \
                                public authority"
                    .into())
            }
            _ => Ok(mode),
        }
    }
}

/// Builds the TLS configuration for a mode. `roots` is the value of `sslrootcert`. Fails if the trusted authorities
/// can't be loaded.
pub fn client(mode: SslMode, roots: Option<&str>) -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(
        |error| Error::config("the TLS client can't be set up: this is a bug, please report it").caused_by(error),
    )?;
    let trusted = match (mode, roots) {
        (SslMode::VerifyCa | SslMode::VerifyFull, _) | (_, Some(_)) => Some(trusted(roots)?),
        (_, None) => None,
    };
    if let (SslMode::VerifyFull, Some(trusted)) = (mode, &trusted) {
        return Ok(builder.with_root_certificates(trusted.clone()).with_no_client_auth());
    }
    let authority = match trusted {
        Some(trusted) => Some(
            WebPkiServerVerifier::builder_with_provider(trusted.into(), provider.clone()).build().map_err(|error| {
                Error::config("the trusted certificates can't be used for TLS: check sslrootcert").caused_by(error)
            })?,
        ),
        None => None,
    };
    let verifier = Arc::new(AnyHost { authority, provider });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Loads the trusted certificate authorities: those in the PEM file `roots`, or the system's if `roots` is `None` or
/// "system". Fails if there are none.
fn trusted(roots: Option<&str>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match roots {
        Some(path) if path != "system" => {
            let broken = |error| {
                Error::config(format!(
                    "sslrootcert {path:?} can't be read: set it to a PEM file with the trusted certificates"
                ))
                .caused_by(error)
            };
            for certificate in CertificateDer::pem_file_iter(Path::new(path)).map_err(broken)? {
                let refused = |error| {
                    Error::config(format!("sslrootcert {path:?} contains an invalid certificate: remove or replace it"))
                        .caused_by(error)
                };
                store.add(certificate.map_err(broken)?).map_err(refused)?;
            }
        }
        // Skip the system's certificates that don't parse and use the others.
        _ => drop(store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if store.is_empty() {
        let place = roots.unwrap_or("system");
        return Err(Error::config(format!(
            "sslrootcert {place:?} contains no certificate: set it to a PEM file with the trusted certificates"
        )));
    }
    Ok(store)
}

/// A certificate verifier that ignores the host name. With an `authority`, the certificate must be valid and signed by
/// it; without, any certificate is accepted.
#[derive(Debug)]
struct AnyHost {
    authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        // The host name is checked last, so a certificate that fails only this check is otherwise valid.
        match authority.verify_server_cert(certificate, intermediates, host, ocsp, now) {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
