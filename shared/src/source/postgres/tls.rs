//! libpq's `sslmode`s, on rustls.
//!
//! | mode | encrypted | server's certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `prefer` | where the server offers it | not looked at |
//! | `require` | yes | not looked at, unless `sslrootcert` is given: then as `verify-ca` |
//! | `verify-ca` | yes | signed by a trusted authority |
//! | `verify-full` | yes | and for this host |
//!
//! Trusted are the authorities in `sslrootcert` (a PEM file), or the system's where it is absent or `system`.
//! Those of RDS are not among the system's: put AWS's bundle next to the function and name it.

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

use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    Disable,
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
            "prefer" => SslMode::Prefer,
            "require" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" => SslMode::VerifyFull,
            _ => {
                return Err(format!(
                    "unknown sslmode {text:?}, expected one of disable, prefer, require, verify-ca, verify-full"
                ));
            }
        })
    }
}

/// `roots` is `sslrootcert`.
pub fn client(mode: SslMode, roots: Option<&str>) -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config("TLS cannot be set up").caused_by(error))?;
    let trusted = match (mode, roots) {
        (SslMode::Disable | SslMode::Prefer, _) | (SslMode::Require, None) => None,
        _ => Some(trusted(roots)?),
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
