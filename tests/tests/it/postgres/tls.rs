//! `sslmode`, on a server whose certificate comes from its own authority.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use tests::postgres::Postgres;
use turntable::error::Kind;

use super::{fault, fetch, run, shared};

/// Writes a server certificate for `localhost` and its key, and returns the certificate of the authority that signed
/// it.
fn certify(data: &Path) -> String {
    let (root, issuer) = authority();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(data.join("server.crt"), server.pem()).unwrap();
    std::fs::write(data.join("server.key"), key.serialize_pem()).unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(data.join("server.key"), owner_only).unwrap();
    root.pem()
}

fn authority() -> (Certificate, Issuer<'static, KeyPair>) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&key).unwrap();
    (root, Issuer::new(authority, key))
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_are_those_of_libpq() {
    let built = "SELECT 1 FROM pg_config WHERE name = 'CONFIGURE' AND setting ~ '(with-openssl|with-ssl|ssl=openssl)'";
    if run(shared().await, built).await.is_empty() {
        eprintln!("this PostgreSQL is built without TLS");
        return;
    }
    let (server, root) = tokio::task::spawn_blocking(|| {
        let mut root = String::new();
        (Postgres::start_prepared(&["ssl=on"], |data| root = certify(data)), root)
    })
    .await
    .unwrap();
    let ca: PathBuf = std::env::temp_dir().join(format!("turntable-ca-{}.pem", std::process::id()));
    std::fs::write(&ca, root).unwrap();
    let ca = ca.display().to_string();
    let other = format!("{ca}.other");
    std::fs::write(&other, authority().0.pem()).unwrap();
    let (by_address, by_name) = (server.url(), server.url().replace("127.0.0.1", "localhost"));
    let encrypted = "SELECT ssl AS s FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for (url, parameters, answer) in [
        (&by_address, "sslmode=disable".to_owned(), Some("f")),
        (&by_address, "sslmode=allow".to_owned(), Some("f")),
        (&by_address, String::new(), Some("t")),
        (&by_address, "sslmode=prefer".to_owned(), Some("t")),
        (&by_address, "sslmode=require".to_owned(), Some("t")),
        (&by_address, format!("sslmode=require&sslrootcert={ca}"), Some("t")),
        (&by_address, format!("sslmode=verify-ca&sslrootcert={ca}"), Some("t")),
        (&by_name, format!("sslmode=verify-full&sslrootcert={ca}"), Some("t")),
        (&by_address, format!("sslmode=verify-full&sslrootcert={ca}"), None),
        (&by_name, "sslmode=verify-ca&sslrootcert=/etc/hostname".to_owned(), None),
        // `prefer` connects despite an invalid certificate.
        (&by_name, format!("sslmode=prefer&sslrootcert={ca}"), Some("t")),
        (&by_name, format!("sslmode=prefer&sslrootcert={other}"), Some("f")),
        (&by_name, format!("sslmode=require&sslrootcert={other}"), None),
        (&by_name, format!("sslmode=verify-full&sslrootcert={other}"), None),
        (&by_name, "sslrootcert=system".to_owned(), None),
        (&by_name, "sslmode=require&sslrootcert=system".to_owned(), None),
        (&by_name, "sslmode=verify-full".to_owned(), None),
        (&by_name, "sslmode=verify-ca".to_owned(), None),
    ] {
        let url = format!("{url}?{parameters}");
        match answer {
            Some(answer) => assert_eq!(fetch(&url, encrypted).await.unwrap()[0][0].as_deref(), Some(answer), "{url}"),
            None => assert_eq!(fault(&url, encrypted).await.kind(), Kind::Config, "{url}"),
        }
    }
    let port = server.port();
    assert_eq!(
        fault(&format!("{by_name}?sslmode=verify-full"), encrypted).await.message(),
        format!(
            "PostgreSQL at localhost:{port}: TLS connection failed (invalid peer certificate: UnknownIssuer): check \
             sslmode and sslrootcert in url"
        )
    );
    assert_eq!(
        fault(&format!("{by_name}?sslmode=verify-ca&sslrootcert=/no/such.pem"), encrypted).await.message(),
        "sslrootcert \"/no/such.pem\" can't be read: set it to a PEM file with the trusted certificates"
    );
    assert_eq!(
        fault(&format!("{by_name}?sslmode=verify-ca&sslrootcert=/dev/null"), encrypted).await.message(),
        "sslrootcert \"/dev/null\" contains no certificate: set it to a PEM file with the trusted certificates"
    );
    assert_eq!(
        fault(&format!("{by_name}?sslmode=verify-ca"), encrypted).await.message(),
        "url: sslmode verify-ca needs sslrootcert, a PEM file with the authority: add it, or use verify-full"
    );
    assert_eq!(
        fault(&format!("{by_name}?sslmode=require&sslrootcert=system"), encrypted).await.message(),
        "url: sslrootcert \"system\" needs sslmode verify-full: anyone can get a certificate from a public authority"
    );

    // `allow` and `prefer` connect both as users that need TLS and as users that refuse it.
    run(
        &by_address,
        "CREATE ROLE plain LOGIN PASSWORD 'secret'; CREATE ROLE secure LOGIN PASSWORD 'secret';
         CREATE TABLE hba (line text);
         INSERT INTO hba VALUES ('hostnossl all plain 127.0.0.1/32 scram-sha-256'),
             ('hostssl all secure 127.0.0.1/32 scram-sha-256'), ('host all turntable 127.0.0.1/32 scram-sha-256');
         DO $$ BEGIN EXECUTE format('COPY hba TO %L', current_setting('hba_file')); END $$;
         SELECT pg_reload_conf(); SELECT pg_sleep(0.5)",
    )
    .await;
    for (role, mode, answer) in [
        ("plain", "allow", Some("f")),
        ("plain", "prefer", Some("f")),
        ("plain", "require", None),
        ("secure", "allow", Some("t")),
        ("secure", "prefer", Some("t")),
        ("secure", "disable", None),
    ] {
        let url = format!("{}?sslmode={mode}", by_address.replace("turntable:", &format!("{role}:")));
        match answer {
            Some(answer) => assert_eq!(fetch(&url, encrypted).await.unwrap()[0][0].as_deref(), Some(answer), "{url}"),
            None => assert!(fault(&url, encrypted).await.message().contains("no pg_hba.conf entry"), "{url}"),
        }
    }
    let wrong = by_address.replace(":secret@", ":wrong@") + "?sslmode=prefer";
    assert!(fault(&wrong, encrypted).await.message().contains("rejected the password"));
    let _ = std::fs::remove_file(ca);
    let _ = std::fs::remove_file(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused_where_it_is_required() {
    let url = shared().await;
    assert!(fetch(&format!("{url}?sslmode=prefer"), "SELECT 1 AS n").await.is_ok());
    let error = fault(&format!("{url}?sslmode=require"), "SELECT 1 AS n").await;
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.message().contains("TLS connection failed (server does not support TLS)"), "{}", error.message());
}
