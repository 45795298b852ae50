//! `ssl-mode`, on a server whose certificate comes from its own authority.

use std::{path::PathBuf, sync::Arc};

use rcgen::KeyPair;
use tests::{
    certificates::{Authority, write_key},
    mariadb::Mariadb,
    memory::Objects,
};
use turntable::{
    error::Kind,
    sources::{Context, mysql},
};

use super::{context, fault, fetch, is_skipped, options, shared};

/// The names in the server's certificate. On Linux, a connection to 0.0.0.0 reaches this machine, but the address is not
/// a loopback address.
const NAMES: [&str; 2] = ["localhost", "0.0.0.0"];

/// Returns a query for whether the connection is encrypted.
fn encrypted(server: &Mariadb) -> String {
    let schema = if server.is_mysql() { "performance_schema" } else { "information_schema" };
    format!("SELECT variable_value > '' AS s FROM {schema}.session_status WHERE variable_name = 'ssl_cipher'")
}

/// A server with a certificate for [`NAMES`], and the folder with the certificate and its key.
struct Certified {
    server: Mariadb,
    directory: PathBuf,
    key: KeyPair,
}

impl Certified {
    fn start(name: &str, authority: &Authority) -> Certified {
        let directory = std::env::temp_dir().join(format!("turntable-mariadb-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("ca.pem"), &authority.pem).unwrap();
        let key = write_key(&directory.join("key.pem"));
        std::fs::write(directory.join("server.pem"), authority.certificate(&key, &NAMES, false)).unwrap();
        let at = directory.display();
        let settings = [format!("--ssl-cert={at}/server.pem"), format!("--ssl-key={at}/key.pem")];
        let server = tokio::task::block_in_place(|| Mariadb::start_with(&settings.each_ref().map(String::as_str)));
        Certified { server, directory, key }
    }
}

impl Drop for Certified {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_are_those_of_mysql() {
    let certified = Certified::start("modes", &Authority::new());
    let server = &certified.server;
    let (by_address, by_name) = (server.url(), server.url().replace("127.0.0.1", "localhost"));
    let ca = certified.directory.join("ca.pem").display().to_string();
    let encrypted = &encrypted(server);
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
            && text.message().ends_with("or have the server's certificate issued for 127.0.0.1"),
        "{text}"
    );
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
            "MySQL at {address}: the server doesn't offer TLS, but ssl-mode REQUIRED requires it: enable TLS on the server, \
             or set ssl-mode = DISABLED in url; without TLS, anyone on the network path can read everything"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_elsewhere_must_prove_its_identity() {
    let authority = Authority::new();
    let certified = Certified::start("elsewhere", &authority);
    let elsewhere = certified.server.url().replace("127.0.0.1", "0.0.0.0");
    let objects = Objects::default();
    for (name, pem) in [("ca.pem", authority.pem.clone()), ("other.pem", Authority::new().pem)] {
        objects.put(&format!("s3://lake/tls/{name}"), pem);
    }
    let open = async |url: &str| {
        let context = Context { objects: Arc::new(objects.clone()), ..context() };
        mysql::open(&options(url, &encrypted(&certified.server)), &context).await
    };
    let message = async |url: &str| {
        let error = open(url).await.err().expect("a server that is not verified");
        assert_eq!(error.kind(), Kind::Config, "{error}");
        error.message().to_owned()
    };

    // The default mode refuses an unknown authority, and an explicit mode accepts it. The authority may be in S3.
    let refused = message(&elsewhere).await;
    assert!(
        refused.ends_with(
            "put the certificate of the server's authority into the stack's bucket as a PEM file and set ssl-ca = \
             s3://BUCKET/KEY in url, or set ssl-mode = REQUIRED, which encrypts but doesn't verify the server"
        ),
        "{refused}"
    );
    for (parameters, is_unverified) in [
        ("ssl-mode=REQUIRED", true),
        ("ssl-mode=PREFERRED", true),
        ("ssl-mode=DISABLED", true),
        ("ssl-ca=s3://lake/tls/ca.pem", false),
    ] {
        let opened = open(&format!("{elsewhere}?{parameters}")).await.unwrap();
        assert_eq!(opened.is_unverified, is_unverified, "{parameters}");
    }
    let other = message(&format!("{elsewhere}?ssl-ca=s3://lake/tls/other.pem")).await;
    assert!(other.contains("UnknownIssuer"), "{other}");

    // An expired certificate.
    if is_skipped(&certified.server, "way to load an expired certificate") {
        return;
    }
    let expired = authority.certificate(&certified.key, &NAMES, true);
    std::fs::write(certified.directory.join("server.pem"), expired).unwrap();
    tokio::task::block_in_place(|| certified.server.run("FLUSH SSL"));
    let expired = message(&format!("{elsewhere}?ssl-ca=s3://lake/tls/ca.pem")).await;
    assert!(expired.ends_with(": renew the server's certificate (on RDS, rotate it)"), "{expired}");
}
