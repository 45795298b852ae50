//! `sslmode`, on a server whose certificate comes from its own authority.

use std::{path::PathBuf, sync::Arc};

use rcgen::KeyPair;
use tests::{
    certificates::{Authority, write_key},
    memory::Objects,
    postgres::Postgres,
};
use turntable::{error::Kind, sources::postgres};

use super::{context, fault, fetch, options, run, shared};

/// The names in the server's certificate. On Linux, a connection to 0.0.0.0 reaches this machine, but the address is not
/// a loopback address.
const NAMES: [&str; 3] = ["localhost", "0.0.0.0", RDS];
const RDS: &str = "shop.cluster-c0.eu-west-1.rds.amazonaws.com";

const ENCRYPTED: &str = "SELECT ssl AS s FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

/// Starts a server with a certificate for [`NAMES`], if PostgreSQL is built with TLS. Returns the certificate's key too.
async fn start(authority: &Authority) -> Option<(Postgres, KeyPair)> {
    let built = "SELECT 1 FROM pg_config WHERE name = 'CONFIGURE' AND setting ~ '(with-openssl|with-ssl|ssl=openssl)'";
    if run(shared().await, built).await.is_empty() {
        eprintln!("this PostgreSQL is built without TLS");
        return None;
    }
    tokio::task::block_in_place(|| {
        let mut key = None;
        let server = Postgres::start_prepared(&["ssl=on"], |data| {
            let made = write_key(&data.join("server.key"));
            std::fs::write(data.join("server.crt"), authority.certificate(&made, &NAMES, false)).unwrap();
            key = Some(made);
        });
        Some((server, key?))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_are_those_of_libpq() {
    let authority = Authority::new();
    let Some((server, _)) = start(&authority).await else { return };
    let ca: PathBuf = std::env::temp_dir().join(format!("turntable-ca-{}.pem", std::process::id()));
    std::fs::write(&ca, &authority.pem).unwrap();
    let ca = ca.display().to_string();
    let other = format!("{ca}.other");
    std::fs::write(&other, Authority::new().pem).unwrap();
    let (by_address, by_name) = (server.url(), server.url().replace("127.0.0.1", "localhost"));
    let encrypted = ENCRYPTED;
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
            "PostgreSQL at localhost:{port}: TLS connection failed (invalid peer certificate: UnknownIssuer): put the \
             certificate of the server's authority into the stack's bucket as a PEM file and set sslrootcert = \
             s3://BUCKET/KEY in url, or set sslmode = require, which encrypts but doesn't verify the server"
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
    assert!(
        error.message().ends_with(
            "TLS connection failed (server does not support TLS): enable TLS on the server, or set sslmode = disable in \
             url; without TLS, anyone on the network path can read everything"
        ),
        "{}",
        error.message()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_elsewhere_must_prove_its_identity() {
    let authority = Authority::new();
    let Some((server, key)) = start(&authority).await else { return };
    let port = server.port();
    let elsewhere = server.url().replace("127.0.0.1", "0.0.0.0");
    let objects = Objects::default();
    for (name, pem) in [("ca.pem", authority.pem.clone()), ("other.pem", Authority::new().pem)] {
        objects.put(&format!("s3://lake/tls/{name}"), pem);
    }
    let open = async |url: &str| {
        let context = turntable::sources::Context { objects: Arc::new(objects.clone()), ..context() };
        postgres::open(&options(url, ENCRYPTED), &context).await
    };
    let message = async |url: &str| {
        let error = open(url).await.err().expect("a server that is not verified");
        assert_eq!(error.kind(), Kind::Config, "{error}");
        error.message().to_owned()
    };
    let unknown = "TLS connection failed (invalid peer certificate: UnknownIssuer)";

    // The default mode refuses an unknown authority, and an explicit mode accepts it. The authority may be in S3.
    let refused = message(&elsewhere).await;
    assert!(refused.starts_with(&format!("PostgreSQL at 0.0.0.0:{port}: {unknown}: put the certificate")), "{refused}");
    for (parameters, is_unverified) in [
        ("sslmode=require", true),
        ("sslmode=prefer", true),
        ("sslrootcert=s3://lake/tls/ca.pem", false),
        ("sslmode=require&sslrootcert=s3://lake/tls/ca.pem", false),
        ("sslrootcert=s3%3A%2F%2Flake%2Ftls%2Fca.pem&sslmode=verify-ca", false),
    ] {
        let opened = open(&format!("{elsewhere}?{parameters}")).await.unwrap();
        assert_eq!(opened.is_unverified, is_unverified, "{parameters}");
    }
    assert!(message(&format!("{elsewhere}?sslrootcert=s3://lake/tls/other.pem")).await.contains(unknown));

    // For an RDS endpoint, RDS's authorities are trusted, and this server's authority isn't one of them.
    let rds = format!("{}?hostaddr=127.0.0.1", server.url().replace("127.0.0.1", RDS));
    assert_eq!(
        message(&rds).await,
        format!(
            "PostgreSQL at {RDS}:{port}: {unknown}: it doesn't come from an authority of RDS: if RDS has new authorities, put \
             its certificate bundle into the stack's bucket and set sslrootcert = s3://BUCKET/KEY in url"
        )
    );
    let new_region = rds.replace("eu-west-1", "il-central-1");
    assert!(message(&new_region).await.contains("no certificate authorities for RDS in il-central-1: download"));
    assert!(open(&format!("{rds}&sslrootcert=s3://lake/tls/ca.pem")).await.is_ok());
    assert!(open(&format!("{rds}&sslmode=require")).await.unwrap().is_unverified);

    // A name that isn't in the certificate, and an expired certificate.
    let by_ca = "sslmode=verify-full&sslrootcert=s3://lake/tls/ca.pem";
    let wrong = message(&format!("{}?{by_ca}", server.url())).await;
    assert!(wrong.ends_with("or have the server's certificate issued for 127.0.0.1"), "{wrong}");
    let data = run(&server.url(), "SHOW data_directory").await[0][0].clone().unwrap();
    std::fs::write(PathBuf::from(data).join("server.crt"), authority.certificate(&key, &NAMES, true)).unwrap();
    run(&server.url(), "SELECT pg_reload_conf()").await;
    // The server reloads its certificate a moment later.
    let mut expired = Ok(());
    for _ in 0..100 {
        expired = open(&format!("{elsewhere}?{by_ca}")).await.map(drop);
        if expired.is_err() {
            break;
        }
        run(&server.url(), "SELECT pg_sleep(0.1)").await;
    }
    let expired = expired.expect_err("a certificate that has expired");
    assert!(expired.message().ends_with(": renew the server's certificate (on RDS, rotate it)"), "{expired}");
}
