//! Loads the certificate authorities that a server's certificate may be signed by.
//!
//! | setting | authorities |
//! |---|---|
//! | a path | those in this PEM file |
//! | `s3://BUCKET/KEY` | those in this PEM object |
//! | `system` | the system's |
//! | `rds` | Amazon's for RDS and Aurora, and its public ones, which RDS Proxy and Aurora Serverless v1 use |
//! | none | `rds` for RDS host names, `system` for all others |
//!
//! RDS's own authorities are private, so no system has them (Using SSL/TLS to encrypt a connection to a DB instance or
//! cluster, Amazon RDS User Guide). RDS Proxy uses AWS Certificate Manager ("Amazon RDS Proxy", the same guide).

use std::path::Path;

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{Error as PemError, PemObject},
    },
};
use turntable_core::{
    error::{Error, Result},
    layout::Key,
    port::Objects,
    rds,
};

const RDS: &[u8] = include_bytes!("rds.pem");
const AMAZON: &[u8] = include_bytes!("amazon.pem");

/// Returns whether RDS's authorities for a region are included.
pub fn knows(region: &str) -> bool {
    let name = format!("# Amazon RDS {region} Root CA ");
    RDS.windows(name.len()).any(|text| text == name.as_bytes())
}

/// Loads the trusted certificate authorities. `given` is the value of the setting named `setting`, and `hosts` are the
/// servers' host names. Fails if there are none.
pub async fn load(
    given: Option<&str>,
    hosts: &[&str],
    setting: &str,
    objects: &dyn Objects,
) -> Result<Vec<CertificateDer<'static>>> {
    let found = match given {
        Some("system") => system(),
        Some("rds") => amazons()?,
        Some(place) => given_at(place, setting, objects).await?,
        None => {
            let of_rds = hosts.iter().filter(|host| rds::region(host).is_some()).count();
            let mut found = if of_rds > 0 { amazons()? } else { Vec::new() };
            if of_rds < hosts.len() {
                found.extend(system());
            }
            found
        }
    };
    if found.is_empty() {
        let place = given.unwrap_or("system");
        return Err(Error::config(format!(
            "{setting} {place:?} contains no certificate: set it to a PEM file with the trusted certificates"
        )));
    }
    Ok(found)
}

/// Reads the authorities from a path or from S3.
async fn given_at(place: &str, setting: &str, objects: &dyn Objects) -> Result<Vec<CertificateDer<'static>>> {
    let unreadable = || {
        Error::config(format!("{setting} {place:?} can't be read: set it to a PEM file with the trusted certificates"))
    };
    let broken = |error: PemError| unreadable().caused_by(error);
    let found: Result<Vec<_>, PemError> = if place.starts_with("s3://") {
        let key: Key = place.parse().map_err(|error| unreadable().caused_by(error))?;
        let text = objects.get(&key).await?.ok_or_else(|| {
            Error::config(format!(
                "{setting} {place:?} doesn't exist: put a PEM file with the trusted certificates there"
            ))
        })?;
        CertificateDer::pem_slice_iter(&text).collect()
    } else {
        CertificateDer::pem_file_iter(Path::new(place)).map_err(broken)?.collect()
    };
    let found = found.map_err(broken)?;
    for certificate in &found {
        RootCertStore::empty().add(certificate.clone()).map_err(|error| {
            Error::config(format!("{setting} {place:?} contains an invalid certificate: remove or replace it"))
                .caused_by(error)
        })?;
    }
    Ok(found)
}

/// Returns the system's authorities. Leaves out those that don't parse.
fn system() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs().certs;
    found.into_iter().filter(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok()).collect()
}

fn amazons() -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, PemError> =
        CertificateDer::pem_slice_iter(RDS).chain(CertificateDer::pem_slice_iter(AMAZON)).collect();
    found.map_err(|error| {
        Error::corrupt("the certificate authorities of RDS can't be read: this is a bug, please report it")
            .caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use turntable_core::{error::Kind, memory::objects::Objects as InMemory};

    #[tokio::test]
    async fn hosts_of_rds_have_amazons_authorities() {
        let objects = InMemory::default();
        let load = async |given, hosts: &[&str]| load(given, hosts, "sslrootcert", &objects).await.unwrap().len();
        let host = "shop.cluster-c0.eu-west-1.rds.amazonaws.com";
        assert_eq!((load(None, &[host]).await, load(Some("rds"), &["db"]).await), (84 + 5, 84 + 5));
        assert_eq!(load(None, &[host, "db"]).await, 84 + 5 + system().len());
        assert_eq!(load(None, &["db"]).await, load(Some("system"), &[host]).await);
        assert!(
            RDS.len() > 100_000 && amazons().unwrap().iter().all(|one| RootCertStore::empty().add(one.clone()).is_ok())
        );
        assert!(knows("eu-west-1") && knows("ap-northeast-1") && !knows("il-central-1") && !knows("eu-west"));
    }

    #[tokio::test]
    async fn a_fault_names_the_setting() {
        let objects = InMemory::default();
        objects.put("s3://lake/empty.pem", "no certificate");
        for (given, text) in [
            (
                "s3://lake/none.pem",
                "ssl-ca \"s3://lake/none.pem\" doesn't exist: put a PEM file with the trusted certificates there",
            ),
            (
                "s3://lake/empty.pem",
                "ssl-ca \"s3://lake/empty.pem\" contains no certificate: set it to a PEM file with the trusted certificates",
            ),
            ("s3://lake", "ssl-ca \"s3://lake\" can't be read: set it to a PEM file with the trusted certificates"),
        ] {
            let error = load(Some(given), &["db"], "ssl-ca", &objects).await.unwrap_err();
            assert_eq!((error.message(), error.kind()), (text, Kind::Config));
        }
    }
}
