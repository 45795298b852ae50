//! libpq's `sslmode`s, on rustls.
//!
//! | mode | encrypted | server's certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `allow` | where the server does not let us in otherwise | not looked at, unless `sslrootcert` is given |
//! | `prefer` | unless the server does not offer it, or does not let us in with it | as above |
//! | `require` | yes | as above |
//! | `verify-ca` | yes | signed by an authority of `sslrootcert` |
//! | `verify-full` | yes | and for this host |
//!
//! `sslrootcert` is a PEM file; where it is given, every mode wants a certificate that one of its authorities has signed.
//! `sslrootcert=system` stands for the system's authorities, and for `verify-full`: anybody has a certificate of theirs
//! for some host. Where it is absent, `verify-full` takes the system's, and `verify-ca` is refused (libpq would look into
//! a home directory, and a function has none). Those of RDS are not among the system's: put AWS's bundle next to the
//! function and name it. Unlike libpq's, a certificate without subject alternative names is for no host.

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
    /// What holds where `sslmode` or `sslrootcert` may have been left out; `usual` is the mode without either.
    pub fn of(given: Option<SslMode>, roots: Option<&str>, usual: SslMode) -> Result<SslMode, String> {
        let system = roots == Some("system");
        let mode = given.unwrap_or(if system { SslMode::VerifyFull } else { usual });
        match mode {
            SslMode::VerifyCa if roots.is_none() => {
                Err("sslmode verify-ca needs sslrootcert, the PEM file of the authority; or use verify-full".into())
            }
            SslMode::Disable | SslMode::VerifyFull => Ok(mode),
            _ if system => {
                Err("sslrootcert \"system\" needs sslmode verify-full: anybody has a certificate of a public \
                                authority"
                    .into())
            }
            _ => Ok(mode),
        }
    }
}

/// `roots` is `sslrootcert`.
pub fn client(mode: SslMode, roots: Option<&str>) -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config("TLS cannot be set up").caused_by(error))?;
    let trusted = match (mode, roots) {
        (SslMode::VerifyCa | SslMode::VerifyFull, _) | (_, Some(_)) => Some(trusted(roots)?),
        (_, None) => None,
    };
    if let (SslMode::VerifyFull, Some(trusted)) = (mode, &trusted) {
        return Ok(builder.with_root_certificates(trusted.clone()).with_no_client_auth());
    }
    let authority = match trusted {
        Some(trusted) => Some(
            WebPkiServerVerifier::builder_with_provider(trusted.into(), provider.clone())
                .build()
                .map_err(|error| Error::config("TLS cannot be set up").caused_by(error))?,
        ),
        None => None,
    };
    let verifier = Arc::new(AnyHost { authority, provider });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn trusted(roots: Option<&str>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match roots {
        Some(path) if path != "system" => {
            let broken = |error| Error::config(format!("sslrootcert {path:?} cannot be read")).caused_by(error);
            for certificate in CertificateDer::pem_file_iter(Path::new(path)).map_err(broken)? {
                let refused = |error| Error::config(format!("sslrootcert {path:?} is refused")).caused_by(error);
                store.add(certificate.map_err(broken)?).map_err(refused)?;
            }
        }
        // A certificate of the system's that is broken is no reason not to use the others.
        _ => drop(store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if store.is_empty() {
        let place = roots.unwrap_or("system");
        return Err(Error::config(format!("sslrootcert {place:?} holds no certificate: name a PEM file that does")));
    }
    Ok(store)
}

/// Accepts a certificate for whatever host: any at all, or one that an authority has signed.
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
        // The name is looked at last: who fails there has been signed.
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
