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
//! `tls::roots` lists the values of `sslrootcert`. If it is given, every encrypted connection requires a certificate
//! signed by one of its authorities. `system` is refused with any encrypting mode except `verify-full`, because anyone
//! can get a certificate for their own host from a public authority. So is `verify-ca` with Amazon's authorities, some of
//! which are public. Without `sslrootcert`, `verify-ca` is refused too (libpq would look in the home directory, and a
//! function has none).
//!
//! Unlike in libpq, the default is `verify-full`, except for Unix sockets and loopback addresses, and a certificate
//! without subject alternative names matches no host.

use std::{fmt, str::FromStr, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::tls::Words;
use turntable_core::error::{Error, Result};

pub const WORDS: Words = Words {
    database: "PostgreSQL",
    mode: "sslmode",
    roots: "sslrootcert",
    verify: "verify-full",
    encrypt: "require",
    disable: "disable",
};

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

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        })
    }
}

impl SslMode {
    /// Returns whether the mode connects only to servers whose certificate is signed by a trusted authority.
    pub fn verifies(self, roots: Option<&str>) -> bool {
        match self {
            SslMode::Disable | SslMode::Allow | SslMode::Prefer => false,
            SslMode::Require => roots.is_some(),
            SslMode::VerifyCa | SslMode::VerifyFull => true,
        }
    }

    /// Returns the effective mode for the given `sslmode` and `sslrootcert`. Without `sslmode`, the mode is
    /// `verify-full` if `sslrootcert` is `system`, and `default_mode` otherwise. Fails for `verify-ca` without
    /// `sslrootcert` or with Amazon's authorities, and for `system` with any mode except `verify-full` and `disable`.
    /// `is_rds` says whether all hosts are RDS's, whose authorities are Amazon's unless `sslrootcert` names others.
    pub fn effective(
        given: Option<SslMode>,
        roots: Option<&str>,
        default_mode: SslMode,
        is_rds: bool,
    ) -> Result<SslMode, String> {
        let system = roots == Some("system");
        let mode = given.unwrap_or(if system { SslMode::VerifyFull } else { default_mode });
        match mode {
            SslMode::VerifyCa if roots == Some("rds") || roots.is_none() && is_rds => {
                Err("sslmode verify-ca can't be used with Amazon's authorities, because some of them are public and sign \
                     certificates for anyone's host: use verify-full, or set sslrootcert to a PEM file with the authority \
                     of this database"
                    .into())
            }
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

/// Builds the TLS configuration for a mode. Without `trusted` authorities, any certificate is accepted.
pub fn client(mode: SslMode, trusted: Option<&[CertificateDer<'static>]>) -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(
        |error| Error::config("the TLS client can't be set up: this is a bug, please report it").caused_by(error),
    )?;
    let trusted = trusted.map(|certificates| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates.iter().cloned());
        store
    });
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
