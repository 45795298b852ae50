//! `ssl-mode`, on a server whose certificate comes from its own authority.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tests::mariadb::Mariadb;
use turntable::error::Kind;

use super::{fault, fetch, shared};

/// Writes a server certificate for `localhost`, its key, and its authority's certificate.
fn certify(directory: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(directory.join("ca.pem"), root).unwrap();
    std::fs::write(directory.join("server.pem"), server.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_are_those_of_mysql() {
    let directory = std::env::temp_dir().join(format!("turntable-mariadb-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    certify(&directory);
    let at = directory.display().to_string();
    let settings = [format!("--ssl-cert={at}/server.pem"), format!("--ssl-key={at}/key.pem")];
    let server = tokio::task::spawn_blocking(move || Mariadb::start_with(&settings.each_ref().map(String::as_str)));
    let server = server.await.unwrap();
    let (by_address, by_name) = (server.url(), server.url().replace("127.0.0.1", "localhost"));
    let ca = format!("{at}/ca.pem");
    let encrypted =
        "SELECT variable_value > '' AS s FROM information_schema.session_status WHERE variable_name = 'ssl_cipher'";
    for (url, parameters, answer) in [
        (&by_address, "ssl-mode=DISABLED".to_owned(), Some("0")),
        (&by_address, "ssl-mode=PREFERRED".to_owned(), Some("1")),
        (&by_address, String::new(), Some("1")),
        (&by_address, "ssl-mode=REQUIRED".to_owned(), Some("1")),
        (&by_name, format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}"), Some("1")),
        (&by_name, format!("ssl-ca={ca}"), Some("1")),
        (&by_address, format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}"), None),
        (&by_name, "ssl-mode=VERIFY_IDENTITY".to_owned(), None),
        (&by_name, "ssl-ca=/etc/hostname".to_owned(), None),
    ] {
        let url = format!("{url}?{parameters}");
        match answer {
            Some(answer) => assert_eq!(fetch(&url, encrypted).await.unwrap()[0][0].as_deref(), Some(answer), "{url}"),
            None => assert_eq!(fault(&url, encrypted).await.kind(), Kind::Config, "{url}"),
        }
    }
    let text = fault(&format!("{by_address}?ssl-ca={ca}"), encrypted).await;
    assert!(
        text.message().contains("TLS connection failed (")
            && text.message().ends_with("check ssl-mode and ssl-ca in url"),
        "{text}"
    );
    let _ = std::fs::remove_dir_all(&directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused_where_tls_is_demanded() {
    let url = shared().await.url();
    assert!(fetch(&url, "SELECT 1 AS n").await.is_ok());
    let error = fault(&format!("{url}?ssl-mode=REQUIRED"), "SELECT 1 AS n").await;
    let address = url.split('@').nth(1).unwrap().replace("/shop", "");
    assert_eq!(
        error.message(),
        format!(
            "MySQL at {address}: the server doesn't offer TLS, but ssl-mode requires it: enable TLS on the server, or change ssl-mode in url"
        )
    );
}
