//! Reads a server's address and credentials from a URL or from a secret in Secrets Manager.
//!
//! A secret is a URL or the JSON that RDS writes: `username`, `password`, `host` and, optionally, `port` (default
//! 3306), `dbname`, `ssl-mode` and `ssl-ca`. Other keys are ignored. In a URL, `ssl-mode` and `ssl-ca` are parameters:
//!
//! | `ssl-mode` | encrypted | server's certificate |
//! |---|---|---|
//! | `DISABLED` | no | |
//! | `PREFERRED` | if the server offers it | not checked |
//! | `REQUIRED` | yes | not checked |
//! | `VERIFY_IDENTITY`, the default | yes | signed by a trusted authority, for this host |
//!
//! For a loopback address with password authentication and without `ssl-ca`, the default is instead `PREFERRED` in a
//! URL and `REQUIRED` in a secret. `tls::roots` lists the values of `ssl-ca`. `VERIFY_CA` is rejected, because the
//! driver can't check the authority without checking the host.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{SignedDuration, Timestamp};
use mysql_async::{Opts, OptsBuilder, SslOpts};
use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;

use super::settings::Wanted;
use crate::{
    context::Context,
    secret,
    tls::{self, Words},
};
use turntable_core::{
    config::{Auth, Connect, Mysql, Session},
    error::{Error, Result},
    port::{Objects, TokenSigner},
};

/// The default of `connect_timeout`, which covers the connection, the handshake and the login.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The default of `keepalive`, the idle time before the first probe. A lost peer is detected within 15 minutes; with
/// the kernel's own idle time, it takes more than two hours.
const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(60);

const URL_FORMAT: &str = "mysql://USER:PASSWORD@HOST:PORT/DATABASE";

/// A server's address and the credentials and settings to connect with.
pub struct Server {
    opts: Opts,
    pub mode: SslMode,
    /// The value of `ssl-ca`.
    roots: Option<String>,
    /// The certificate authorities to trust with `VERIFY_IDENTITY`.
    trusted: Vec<CertificateDer<'static>>,
    session: Session,
    /// The session's `sql_mode`, if the dataset sets it.
    sql_mode: Option<String>,
    /// The size in bytes of the largest row that may be read.
    largest_row: usize,
    /// The setting that these details come from, `url` or `secret "…"`, for error messages.
    pub given_by: String,
}

/// A value of `ssl-mode`: see the table in the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    Disabled,
    Preferred,
    Required,
    VerifyIdentity,
}

impl FromStr for SslMode {
    type Err = String;

    fn from_str(text: &str) -> Result<SslMode, String> {
        Ok(match text.to_ascii_uppercase().replace('-', "_").as_str() {
            "DISABLED" => SslMode::Disabled,
            "PREFERRED" => SslMode::Preferred,
            "REQUIRED" => SslMode::Required,
            "VERIFY_IDENTITY" => SslMode::VerifyIdentity,
            "VERIFY_CA" => return Err("ssl-mode VERIFY_CA is not supported: use VERIFY_IDENTITY".into()),
            _ => {
                return Err(format!(
                    "unknown ssl-mode {text:?}, expected one of DISABLED, PREFERRED, REQUIRED, VERIFY_IDENTITY"
                ));
            }
        })
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SslMode::Disabled => "DISABLED",
            SslMode::Preferred => "PREFERRED",
            SslMode::Required => "REQUIRED",
            SslMode::VerifyIdentity => "VERIFY_IDENTITY",
        })
    }
}

pub const WORDS: Words = Words {
    database: "MySQL",
    mode: "ssl-mode",
    roots: "ssl-ca",
    verify: "VERIFY_IDENTITY",
    encrypt: "REQUIRED",
    disable: "DISABLED",
};

impl Server {
    /// Reads a source's connection details. With `auth = "iam"`, also signs a token and sets it as the password.
    pub async fn from_options(options: &Mysql, context: &Context) -> Result<Server> {
        let auth = options.session.auth;
        let mut server = match &options.connect {
            Connect::Url(url) => from_url(url, auth, SslMode::Preferred, "url")?,
            Connect::Secret(secret) => {
                let text = secret::text(secret, context, "a mysql:// URL").await?;
                from_secret(&text, auth, &format!("secret {:?}", secret.name))?
            }
        };
        server.trust(&*context.objects).await?;
        if let Some(warning) = server.unverified() {
            tracing::warn!(table = %context.table, "{warning}");
        }
        server.session = options.session;
        server.sql_mode.clone_from(&options.sql_mode);
        if auth == Auth::Iam {
            server.sign_in(context.iam.as_deref(), context.now).await?;
        }
        Ok(server)
    }

    /// Loads the trusted authorities, if the mode needs them.
    async fn trust(&mut self, objects: &dyn Objects) -> Result<()> {
        if self.mode == SslMode::VerifyIdentity {
            let roots = tls::roots::load(self.roots.as_deref(), &[self.host()], WORDS.roots, objects).await;
            self.trusted = roots?;
        }
        Ok(())
    }

    /// Returns a warning if the server would not be verified. Returns `None` for a server on this machine.
    pub fn unverified(&self) -> Option<String> {
        let verified = self.mode == SslMode::VerifyIdentity || tls::is_loopback(self.host());
        (!verified).then(|| tls::warning(&WORDS, &self.address(), &self.mode.to_string(), &self.given_by))
    }

    /// Signs an IAM token and sets it as the password. Fails unless the mode is `VERIFY_IDENTITY` and no password is
    /// given. The protocol sends the token in clear text, so TLS is required ("IAM database authentication", Amazon RDS
    /// User Guide).
    async fn sign_in(&mut self, signer: Option<&dyn TokenSigner>, now: Timestamp) -> Result<()> {
        let fault = |what: &str| Error::config(format!("{}: auth = \"iam\" {what}", self.given_by));
        if self.mode != SslMode::VerifyIdentity {
            return Err(fault("needs ssl-mode VERIFY_IDENTITY: anyone who intercepts a token can use it"));
        }
        if self.opts.pass().is_some_and(|password| !password.is_empty()) {
            return Err(fault("can't be combined with a password: remove one of them"));
        }
        let Some(signer) = signer else { return Err(fault("needs AWS credentials and a region")) };
        let token = signer.token(self.host(), self.opts.tcp_port(), self.user(), now).await?;
        self.opts = OptsBuilder::from_opts(self.opts.clone()).pass(Some(token)).enable_cleartext_plugin(true).into();
        Ok(())
    }

    pub fn connect_timeout(&self) -> Duration {
        positive(self.session.connect_timeout).unwrap_or(DEFAULT_CONNECT_TIMEOUT)
    }

    /// Returns how long a query waits for a lock.
    pub fn lock_timeout(&self) -> Duration {
        self.session.lock_timeout().unsigned_abs()
    }

    /// Returns the size in bytes of the largest row that may be read.
    pub fn largest_row(&self) -> usize {
        self.largest_row
    }

    /// Returns the session variables that the dataset sets.
    pub fn settings(&self) -> Wanted<'_> {
        Wanted {
            sql_mode: self.sql_mode.as_deref(),
            lock_timeout: self.lock_timeout(),
            statement_timeout: positive(self.session.statement_timeout),
        }
    }

    /// Returns `user@host:port/database`, for messages.
    pub fn name(&self) -> String {
        let database = self.opts.db_name().map(|name| format!("/{name}")).unwrap_or_default();
        format!("{}@{}{database}", self.user(), self.address())
    }

    /// Returns the server's host name.
    pub fn host(&self) -> &str {
        self.opts.ip_or_hostname()
    }

    /// Returns `host:port`, for messages.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host(), self.opts.tcp_port())
    }

    pub fn user(&self) -> &str {
        self.opts.user().unwrap_or_default()
    }

    /// Returns the host and the port.
    pub fn endpoint(&self) -> (&str, u16) {
        (self.opts.ip_or_hostname(), self.opts.tcp_port())
    }

    /// Returns the driver's options for a connection, with TLS if `encrypted`.
    pub fn options(&self, encrypted: bool) -> Opts {
        let tls = encrypted.then(|| self.tls());
        let options = OptsBuilder::from_opts(self.opts.clone())
            .ssl_opts(tls)
            // By default, the driver switches to a Unix socket if the server is on this machine.
            .prefer_socket(false)
            .stmt_cache_size(0)
            // By default, the driver rejects rows that are longer than the server's limit for statements.
            .max_allowed_packet(Some(self.largest_row))
            // Without this, the driver queries it, and a server with `sql_select_limit = 0` returns no row.
            .wait_timeout(Some(WAIT_TIMEOUT_SECONDS))
            .tcp_keepalive(Some(positive(self.session.keepalive).unwrap_or(DEFAULT_KEEPALIVE)))
            .connect_attribute("program_name", "turntable");
        options.into()
    }

    fn tls(&self) -> SslOpts {
        if self.mode != SslMode::VerifyIdentity {
            return SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true);
        }
        let roots = self.trusted.iter().map(|root| root.to_vec().into()).collect();
        SslOpts::default().with_disable_built_in_roots(true).with_root_certs(roots)
    }

    /// Checks the parts of a server's connection details and combines them. `local` is the default mode for a server on
    /// this machine with password authentication.
    fn new(
        opts: Opts,
        auth: Auth,
        mode: Option<SslMode>,
        local: SslMode,
        roots: Option<String>,
        given_by: &str,
    ) -> Result<Server> {
        let may_be_unverified = roots.is_none() && auth == Auth::Password && tls::is_loopback(opts.ip_or_hostname());
        let default_mode = if may_be_unverified { local } else { SslMode::VerifyIdentity };
        let mode = mode.unwrap_or(default_mode);
        if roots.is_some() && mode != SslMode::VerifyIdentity {
            return Err(Error::config(format!(
                "{given_by}: ssl-ca needs ssl-mode VERIFY_IDENTITY: set it, or remove ssl-ca"
            )));
        }
        if opts.ip_or_hostname().is_empty() || opts.user().is_none_or(str::is_empty) {
            return Err(Error::config(format!("{given_by}: the host or the user is missing: expected {URL_FORMAT}")));
        }
        let largest_row = largest_row(std::fs::read_to_string("/proc/meminfo").ok().as_deref());
        let (session, sql_mode, trusted, given_by) = (Session::default(), None, Vec::new(), given_by.to_owned());
        Ok(Server { opts, mode, roots, trusted, session, sql_mode, largest_row, given_by })
    }
}

/// How long a connection may be idle before the driver considers it closed. The session sets the same limit on the
/// server.
const WAIT_TIMEOUT_SECONDS: usize = 28_800;

/// The maximum size of a row in the protocol.
const MAX_ROW: usize = 1 << 30;
/// The row size that is always allowed, however small the machine is.
const MIN_ROW: usize = 64 << 20;
/// How many copies of a row memory may hold: as read, decoded, in a batch and in a Parquet page, some of which grow by
/// doubling.
const COPIES_OF_A_ROW: usize = 6;

/// Returns the size in bytes of the largest row that may be read on a machine with this `/proc/meminfo`.
fn largest_row(memory: Option<&str>) -> usize {
    let kilobytes = memory
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("MemTotal:")))
        .and_then(|total| total.trim().trim_end_matches("kB").trim_end().parse::<usize>().ok());
    kilobytes.map_or(MAX_ROW, |total| (total.saturating_mul(1024) / COPIES_OF_A_ROW).clamp(MIN_ROW, MAX_ROW))
}

fn positive(length: Option<SignedDuration>) -> Option<Duration> {
    length.and_then(|length| Duration::try_from(length).ok())
}

fn from_secret(text: &str, auth: Auth, given_by: &str) -> Result<Server> {
    let text = text.trim();
    if text.starts_with("mysql") || text.starts_with("mariadb") {
        return from_url(text, auth, SslMode::Required, given_by);
    }
    let keys = secret::Keys::parse(text, given_by, "a mysql:// URL")?;
    let needed = |key| keys.needed(key, "ssl-mode, ssl-ca");
    let port = keys.port(3306)?;
    let mode = keys.text("ssl-mode")?.map(|mode| mode.parse()).transpose();
    let mode = mode.map_err(|fault| Error::config(format!("{given_by}: {fault}")))?;
    // With IAM authentication, the password in an RDS secret is ignored.
    let password = if auth == Auth::Password { Some(needed("password")?) } else { None };
    let options = OptsBuilder::default()
        .ip_or_hostname(needed("host")?)
        .tcp_port(port)
        .user(Some(needed("username")?))
        .pass(password)
        .db_name(keys.text("dbname")?);
    Server::new(options.into(), auth, mode, SslMode::Required, keys.text("ssl-ca")?, given_by)
}

/// Parses a URL. This module handles the parameters `ssl-mode` and `ssl-ca`; the driver parses the rest. `local` is the
/// default `ssl-mode` for a server on this machine with password authentication.
fn from_url(url: &str, auth: Auth, local: SslMode, given_by: &str) -> Result<Server> {
    let fault = |what: &str| Error::config(format!("{given_by}: {what}"));
    let Some(rest) = url.strip_prefix("mysql://").or_else(|| url.strip_prefix("mariadb://")) else {
        return Err(fault(&format!("expected {URL_FORMAT}")));
    };
    let (base, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut mode, mut roots) = (None, None);
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("ssl-mode", value)) => mode = Some(value.parse().map_err(|what: String| fault(&what))?),
            Some(("ssl-ca", path)) => roots = Some(percent_decode_str(path).decode_utf8_lossy().into_owned()),
            _ => {
                // The error doesn't name the parameter, because that may be part of a password with an unescaped `?`.
                return Err(fault(
                    "unknown parameter in the URL: expected ssl-mode or ssl-ca (percent-encode ? & in the password)",
                ));
            }
        }
    }
    let opts = Opts::from_url(&format!("mysql://{base}")).map_err(|error| {
        // The driver's error names the faulty part of the URL, never the password.
        fault("not a valid MySQL URL (percent-encode / @ : ? # % in the password)").caused_by(error)
    })?;
    Server::new(opts, auth, mode, local, roots, given_by)
}

#[cfg(test)]
mod tests {
    use super::*;
    use turntable_core::error::Kind;

    fn fault(result: Result<Server>) -> String {
        let error = result.err().unwrap();
        assert_eq!(error.kind(), Kind::Config);
        error.report()
    }

    #[test]
    fn the_largest_row_depends_on_the_memory() {
        let of = |total: &str| largest_row(Some(&format!("MemTotal: {total} kB\nMemFree: 1 kB\n"))) >> 20;
        assert_eq!((of("  3080192"), of("512000"), of("10485760")), (501, 83, 1024));
        assert_eq!((of("1"), of("?"), largest_row(None)), (64, 1024, MAX_ROW));
    }

    #[test]
    fn a_secret_is_json_from_rds_or_a_url() {
        let server = from_secret(
            r#"{"engine":"mariadb","host":"db.example","username":"app","password":"p@ss","dbname":"dmp","port":3307,
                "dbInstanceIdentifier":"x"}"#,
            Auth::Password,
            "secret \"dmp/replica\"",
        );
        let server = server.unwrap();
        assert_eq!(server.name(), "app@db.example:3307/dmp");
        assert_eq!((server.mode, server.opts.pass()), (SslMode::VerifyIdentity, Some("p@ss")));
        let least =
            from_secret(r#"{"host":"h","username":"u","password":"p","ssl-ca":"/opt/ca.pem"}"#, Auth::Password, "x")
                .unwrap();
        assert_eq!((least.name().as_str(), least.mode), ("u@h:3306", SslMode::VerifyIdentity));
        let of_url = from_secret(" mysql://u:p@h/d\n", Auth::Password, "x").unwrap();
        assert_eq!((of_url.name().as_str(), of_url.mode), ("u@h:3306/d", SslMode::VerifyIdentity));
    }

    #[test]
    fn a_secret_error_names_the_key() {
        let of = |text: &str| fault(from_secret(text, Auth::Password, "secret \"dmp\""));
        assert_eq!(
            of(r#"{"username":"u","password":"p"}"#),
            "secret \"dmp\" has no key \"host\": expected username, password, host and, optionally, port, dbname, \
             ssl-mode, ssl-ca; a secret that RDS manages has no host: set host beside secret"
        );
        assert_eq!(of("hunter2"), "secret \"dmp\": expected JSON with username, password and host, or a mysql:// URL");
        assert_eq!(
            of(r#"{"username":"u","password":"p","host":"h","port":70000}"#),
            "secret \"dmp\": port must be a number from 0 to 65535"
        );
    }

    #[test]
    fn a_url_takes_the_modes_of_mysql() {
        let of = |url: &str| from_url(url, Auth::Password, SslMode::Preferred, "url").unwrap();
        let server = of("mysql://u:p%40@h/d?ssl-mode=verify_identity&ssl-ca=%2Fopt%2Fca.pem");
        assert_eq!((server.mode, server.roots.as_deref()), (SslMode::VerifyIdentity, Some("/opt/ca.pem")));
        assert_eq!(server.opts.pass(), Some("p@"));
        let server = of("mariadb://u@h:6000");
        assert_eq!((server.mode, server.name().as_str()), (SslMode::VerifyIdentity, "u@h:6000"));
        assert_eq!(of("mysql://u@h/d?ssl-mode=DISABLED").mode, SslMode::Disabled);
    }

    #[test]
    fn only_this_machine_need_not_prove_its_identity() {
        let url =
            |rest: &str| from_url(&format!("mysql://u:p@{rest}"), Auth::Password, SslMode::Preferred, "url").unwrap();
        let secret = |host: &str| {
            let text = format!(r#"{{"host":"{host}","username":"u","password":"p"}}"#);
            from_secret(&text, Auth::Password, "x").unwrap()
        };
        for (server, mode) in [
            (url("localhost/d"), SslMode::Preferred),
            (url("127.0.0.1/d"), SslMode::Preferred),
            (url("db/d"), SslMode::VerifyIdentity),
            (secret("127.0.0.1"), SslMode::Required),
            (secret("db.c0.eu-west-1.rds.amazonaws.com"), SslMode::VerifyIdentity),
        ] {
            assert_eq!((server.mode, server.unverified()), (mode, None), "{}", server.name());
        }
        // An explicit mode stays in effect, with a warning.
        for mode in ["DISABLED", "PREFERRED", "REQUIRED"] {
            let server = url(&format!("db/d?ssl-mode={mode}"));
            assert_eq!(server.mode.to_string(), mode);
            assert_eq!(
                server.unverified().unwrap(),
                format!(
                    "MySQL at db:3306: ssl-mode {mode} doesn't verify the server, so anyone on the network path can \
                     read the password and change the rows: set ssl-mode = VERIFY_IDENTITY in url"
                )
            );
        }
    }

    #[test]
    fn a_url_error_does_not_contain_the_password() {
        let of = |url: &str| fault(from_url(url, Auth::Password, SslMode::Preferred, "url"));
        assert_eq!(of("postgres://u:hunter2@h"), "url: expected mysql://USER:PASSWORD@HOST:PORT/DATABASE");
        assert_eq!(
            of("mysql://u:hunter2@h/d?ssl-mode=always"),
            "url: unknown ssl-mode \"always\", expected one of DISABLED, PREFERRED, REQUIRED, VERIFY_IDENTITY"
        );
        assert_eq!(
            of("mysql://u:hunter2@h/d?ssl-mode=VERIFY_CA"),
            "url: ssl-mode VERIFY_CA is not supported: use VERIFY_IDENTITY"
        );
        assert_eq!(
            of("mysql://u:hunter2@h/d?ssl-mode=REQUIRED&ssl-ca=x"),
            "url: ssl-ca needs ssl-mode VERIFY_IDENTITY: set it, or remove ssl-ca"
        );
        assert_eq!(
            of("mysql://h/d"),
            "url: the host or the user is missing: expected mysql://USER:PASSWORD@HOST:PORT/DATABASE"
        );
        for url in ["mysql://u:hunter2@h:port/d", "mysql://u:hun?hunter2@h/d", "mysql://u:p@h/d?hunter2=1"] {
            assert!(!of(url).contains("hunter2"), "{}", of(url));
        }
    }

    struct FixedToken;

    #[async_trait::async_trait]
    impl TokenSigner for FixedToken {
        async fn token(&self, host: &str, port: u16, user: &str, _: Timestamp) -> Result<String> {
            Ok(format!("token of {user} at {host}:{port}"))
        }
    }

    #[tokio::test]
    async fn a_token_requires_a_server_that_proves_its_identity() {
        let of = |url: &str| from_url(url, Auth::Iam, SslMode::Preferred, "url").unwrap();
        assert_eq!(of("mysql://u@h/d").mode, SslMode::VerifyIdentity);
        let secret = r#"{"host":"h","username":"u","password":"not this one"}"#;
        let secret = from_secret(secret, Auth::Iam, "x").unwrap();
        assert_eq!((secret.mode, secret.opts.pass()), (SslMode::VerifyIdentity, None));
        let signer = FixedToken;
        let now = Timestamp::UNIX_EPOCH;
        for (url, text) in [
            (
                "mysql://u@h/d?ssl-mode=REQUIRED",
                "needs ssl-mode VERIFY_IDENTITY: anyone who intercepts a token can use it",
            ),
            ("mysql://u:p@h/d", "can't be combined with a password: remove one of them"),
        ] {
            let error = of(url).sign_in(Some(&signer), now).await.unwrap_err();
            assert_eq!(error.report(), format!("url: auth = \"iam\" {text}"));
        }
        let mut server = of("mysql://u@h/d");
        server.sign_in(Some(&signer), now).await.unwrap();
        assert_eq!(server.opts.pass(), Some("token of u at h:3306"));
        assert!(server.opts.enable_cleartext_plugin());
    }
}
