//! Reads a server's address and credentials from a URL or from a secret in Secrets Manager.
//!
//! A secret is a URL or the JSON that RDS writes: `username`, `password`, `host` and, optionally, `port` (default
//! 5432), `dbname` (default "postgres"), `sslmode` and `sslrootcert`. Other keys are ignored. `sslmode` defaults to
//! "verify-full". For a server on this machine with password authentication, it instead defaults to "prefer" in a URL,
//! as in libpq, and to "require" in a secret.

use std::time::Duration;

use jiff::SignedDuration;
use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use tokio_postgres::config::Host;

use super::{
    settings,
    tls::{SslMode, WORDS},
};
use crate::{context::Context, secret, tls};
use turntable_core::{
    config::{Auth, Connect, Postgres, Session},
    error::{Error, Result},
    port::Objects,
    rds,
};

/// A server's address and the credentials and settings to connect with.
pub struct Server {
    pub options: tokio_postgres::Config,
    pub mode: SslMode,
    /// The value of `sslrootcert`.
    roots: Option<String>,
    /// The certificate authorities to trust. `None` if the certificate isn't checked.
    pub trusted: Option<Vec<CertificateDer<'static>>>,
    /// The `SET` statements for the settings that the transaction relies on.
    pub settings: String,
    /// How long a statement waits for a lock, in seconds, for messages.
    pub lock_timeout: i64,
    /// The setting that these details come from, `url` or `secret "…"`, for error messages.
    pub given_by: String,
}

/// The default of `connect_timeout`, which limits how long connecting to each host may take.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The default of `keepalive`, the idle time before the first probe. With six probes at ten-second intervals, a lost
/// peer is detected within two minutes; with the kernel's own settings, it takes more than two hours.
const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(60);
/// The driver's own default. If the parsed URL has this value, the URL itself sets no keepalive.
const DRIVER_DEFAULT_KEEPALIVE: Duration = Duration::from_secs(2 * 60 * 60);

impl Server {
    /// Reads a source's connection details. With `auth = "iam"`, also signs a token and sets it as the password.
    pub async fn from_options(options: &Postgres, context: &Context) -> Result<Server> {
        let auth = options.session.auth;
        let mut server = match &options.connect {
            Connect::Url(url) => from_url(url, auth, "url")?,
            Connect::Secret(secret) => {
                let text = secret::text(secret, context, "a postgres:// URL").await?;
                from_secret(&text, auth, &format!("secret {:?}", secret.name))?
            }
        };
        server.trust(&*context.objects).await?;
        if let Some(warning) = server.unverified() {
            tracing::warn!(table = %context.table, "{warning}");
        }
        server.apply(&options.session);
        server.settings = settings::statements(options);
        if auth == Auth::Iam {
            server.sign_in(context).await?;
        }
        Ok(server)
    }

    /// Loads the trusted authorities, if the mode or `sslrootcert` needs them.
    async fn trust(&mut self, objects: &dyn Objects) -> Result<()> {
        let verifies = self.mode.verifies(self.roots.as_deref());
        if verifies || (self.roots.is_some() && self.mode != SslMode::Disable) {
            let hosts = hosts(&self.options);
            let trusted = tls::roots::load(self.roots.as_deref(), &hosts, WORDS.roots, objects).await?;
            self.trusted = Some(trusted);
        }
        Ok(())
    }

    /// Returns a warning if the server would not be verified. Returns `None` for a server on this machine.
    pub fn unverified(&self) -> Option<String> {
        let verified = self.mode.verifies(self.roots.as_deref()) || is_local(&self.options);
        (!verified).then(|| tls::warning(&WORDS, &self.address(), &self.mode.to_string(), &self.given_by))
    }

    /// Returns the first host's name, for messages.
    pub fn host(&self) -> &str {
        hosts(&self.options).first().copied().unwrap_or_default()
    }

    /// Signs an IAM token and sets it as the password. Fails unless the mode verifies the server's certificate, no
    /// password is given, and there is exactly one host.
    async fn sign_in(&mut self, context: &Context) -> Result<()> {
        let fault = |what: &str| Error::config(format!("{}: auth = \"iam\" {what}", self.given_by));
        if !matches!(self.mode, SslMode::VerifyCa | SslMode::VerifyFull) {
            return Err(fault("needs sslmode verify-full or verify-ca: anyone who intercepts a token can use it"));
        }
        if self.options.get_password().is_some() {
            return Err(fault("can't be combined with a password: remove one of them"));
        }
        let [Host::Tcp(host)] = self.options.get_hosts() else { return Err(fault("needs exactly one host")) };
        let Some(signer) = &context.iam else { return Err(fault("needs AWS credentials and a region")) };
        let port = self.options.get_ports().first().copied().unwrap_or(5432);
        let token = signer.token(host, port, self.options.get_user().unwrap_or_default(), context.now).await?;
        self.options.password(token);
        Ok(())
    }

    /// Applies the dataset's settings, which override those in the URL.
    fn apply(&mut self, session: &Session) {
        let positive = |length: Option<SignedDuration>| length.and_then(|length| Duration::try_from(length).ok());
        if let Some(length) = positive(session.connect_timeout) {
            self.options.connect_timeout(length);
        }
        if let Some(length) = positive(session.keepalive) {
            self.options.keepalives(true).keepalives_idle(length);
        }
        self.lock_timeout = session.lock_timeout().as_secs();
    }

    /// Returns `user@host:port/database`, for messages.
    pub fn name(&self) -> String {
        let user = self.options.get_user().unwrap_or_default();
        let database = self.options.get_dbname().unwrap_or(user);
        format!("{user}@{}/{database}", self.address())
    }

    /// Returns `host:port` for each host, or the path of a Unix socket, separated by commas, for messages.
    pub fn address(&self) -> String {
        let ports = self.options.get_ports();
        let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        let hosts = self.options.get_hosts().iter().enumerate().map(|(at, host)| match host {
            Host::Tcp(host) => format!("{host}:{}", port(at)),
            Host::Unix(path) => path.display().to_string(),
        });
        hosts.collect::<Vec<_>>().join(",")
    }

    fn new(mut options: tokio_postgres::Config, mode: SslMode, roots: Option<String>, given_by: &str) -> Server {
        if options.get_connect_timeout().is_none() {
            options.connect_timeout(DEFAULT_CONNECT_TIMEOUT);
        }
        options.application_name("turntable");
        if options.get_keepalives_idle() == DRIVER_DEFAULT_KEEPALIVE {
            options.keepalives_idle(DEFAULT_KEEPALIVE);
        }
        if options.get_keepalives_interval().is_none() {
            options.keepalives_interval(DEFAULT_KEEPALIVE / 6).keepalives_retries(6);
        }
        // As in libpq, Unix sockets are not encrypted.
        let local =
            options.get_hosts().iter().all(|host| matches!(host, Host::Unix(_))) && options.get_hostaddrs().is_empty();
        let mode = if local { SslMode::Disable } else { mode };
        Server {
            options,
            mode,
            roots,
            trusted: None,
            settings: String::new(),
            lock_timeout: 0,
            given_by: given_by.to_owned(),
        }
    }
}

fn from_secret(text: &str, auth: Auth, given_by: &str) -> Result<Server> {
    let text = text.trim();
    if text.starts_with("postgres") {
        return from_url(text, auth, given_by);
    }
    let keys = secret::Keys::parse(text, given_by, "a postgres:// URL")?;
    let needed = |key| keys.needed(key, "sslmode, sslrootcert");
    let port = keys.port(5432)?;
    let mut options = tokio_postgres::Config::new();
    options
        .user(needed("username")?)
        .host(needed("host")?)
        .port(port)
        .dbname(keys.text("dbname")?.unwrap_or_else(|| "postgres".into()));
    // With IAM authentication, the password in an RDS secret is ignored.
    if auth == Auth::Password {
        options.password(needed("password")?);
    }
    let (mode, roots) = (keys.text("sslmode")?.map(|mode| mode.parse()).transpose(), keys.text("sslrootcert")?);
    let mode = mode.and_then(|mode| effective(&options, mode, roots.as_deref(), auth, SslMode::Require));
    let mode = mode.map_err(|fault| Error::config(format!("{given_by}: {fault}")))?;
    Ok(Server::new(options, mode, roots, given_by))
}

/// Returns the effective mode. The default is `local` for servers on this machine with password authentication, and
/// `verify-full` otherwise.
fn effective(
    options: &tokio_postgres::Config,
    given: Option<SslMode>,
    roots: Option<&str>,
    auth: Auth,
    local: SslMode,
) -> Result<SslMode, String> {
    let default_mode = if auth == Auth::Password && is_local(options) { local } else { SslMode::VerifyFull };
    let is_rds = hosts(options).iter().all(|host| rds::region(host).is_some());
    SslMode::effective(given, roots, default_mode, is_rds)
}

/// Returns the names of the hosts that are reached over TCP.
fn hosts(options: &tokio_postgres::Config) -> Vec<&str> {
    let names = options.get_hosts().iter().filter_map(|host| match host {
        Host::Tcp(name) => Some(name.as_str()),
        Host::Unix(_) => None,
    });
    names.collect()
}

/// Returns whether all hosts are this machine.
fn is_local(options: &tokio_postgres::Config) -> bool {
    hosts(options).into_iter().all(tls::is_loopback)
        && options.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

/// Parses a URL. Handles `sslmode` and `sslrootcert` itself, because the driver supports only some modes and no
/// `sslrootcert`; the driver parses the rest.
fn from_url(url: &str, auth: Auth, given_by: &str) -> Result<Server> {
    let fault = |what: &str| Error::config(format!("{given_by}: {what}"));
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(fault("expected postgres://USER:PASSWORD@HOST:PORT/DATABASE"));
    }
    let (base, parameters) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut roots, mut others) = (None, None, Vec::new());
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value.parse().map_err(|what: String| fault(&what))?),
            Some(("sslrootcert", path)) => roots = Some(percent_decode_str(path).decode_utf8_lossy().into_owned()),
            _ => others.push(parameter),
        }
    }
    let options: tokio_postgres::Config = format!("{base}?{}", others.join("&")).parse().map_err(|error| {
        // The driver's error names the parameter, never its value.
        fault("not a valid PostgreSQL URL (percent-encode / @ : ? # % in the password)").caused_by(error)
    })?;
    if options.get_hosts().is_empty() || options.get_user().is_none() {
        return Err(fault("the host or the user is missing: expected postgres://USER:PASSWORD@HOST:PORT/DATABASE"));
    }
    let mode = effective(&options, mode, roots.as_deref(), auth, SslMode::Prefer).map_err(|what| fault(&what))?;
    Ok(Server::new(options, mode, roots, given_by))
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
    fn a_secret_is_json_from_rds_or_a_url() {
        let server = from_secret(
            r#"{"engine":"postgres","host":"db.example","username":"app","password":"p@ss","dbname":"dmp","port":5433,
                "dbInstanceIdentifier":"x"}"#,
            Auth::Password,
            "secret \"dmp/replica\"",
        );
        let server = server.unwrap();
        assert_eq!(server.name(), "app@db.example:5433/dmp");
        assert_eq!((server.mode, server.roots), (SslMode::VerifyFull, None));
        assert_eq!(server.options.get_password(), Some(&b"p@ss"[..]));
        let least =
            from_secret(r#"{"host":"h","username":"u","password":"p","sslmode":"verify-full"}"#, Auth::Password, "x")
                .unwrap();
        assert_eq!((least.name().as_str(), least.mode), ("u@h:5432/postgres", SslMode::VerifyFull));
        assert_eq!(from_secret(" postgres://u:p@h/d\n", Auth::Password, "x").unwrap().name(), "u@h:5432/d");
    }

    #[test]
    fn a_secret_error_names_the_key() {
        let of = |text: &str| fault(from_secret(text, Auth::Password, "secret \"dmp\""));
        assert_eq!(
            of(r#"{"username":"u","password":"p"}"#),
            "secret \"dmp\" has no key \"host\": expected username, password, host and, optionally, port, dbname, \
             sslmode, sslrootcert; a secret that RDS manages has no host: set host beside secret"
        );
        assert_eq!(
            of("hunter2"),
            "secret \"dmp\": expected JSON with username, password and host, or a postgres:// URL"
        );
        assert_eq!(
            of(r#"{"username":"u","password":"p","host":"h","port":70000}"#),
            "secret \"dmp\": port must be a number from 0 to 65535"
        );
        assert_eq!(
            of(r#"{"username":7,"password":"p","host":"h"}"#),
            "secret \"dmp\": username must be a non-empty string"
        );
    }

    #[test]
    fn a_url_takes_the_modes_of_libpq() {
        let of = |url: &str| from_url(url, Auth::Password, "url");
        let server = of("postgres://u:p@h/d?sslmode=verify-ca&connect_timeout=3&sslrootcert=%2Fopt%2Fca.pem").unwrap();
        assert_eq!((server.mode, server.roots.as_deref()), (SslMode::VerifyCa, Some("/opt/ca.pem")));
        assert_eq!(server.options.get_connect_timeout(), Some(&Duration::from_secs(3)));
        let server = of("postgresql://u@h:6000").unwrap();
        assert_eq!((server.mode, server.name().as_str()), (SslMode::VerifyFull, "u@h:6000/u"));
        assert_eq!(server.options.get_connect_timeout(), Some(&DEFAULT_CONNECT_TIMEOUT));
    }

    #[test]
    fn only_this_machine_need_not_prove_its_identity() {
        let url = |rest: &str| from_url(&format!("postgres://u:p@{rest}"), Auth::Password, "url").unwrap();
        let secret = |host: &str| {
            let text = format!(r#"{{"host":"{host}","username":"u","password":"p"}}"#);
            from_secret(&text, Auth::Password, "x").unwrap()
        };
        for (server, mode) in [
            (url("localhost/d"), SslMode::Prefer),
            (url("127.0.0.1,[::1]/d"), SslMode::Prefer),
            (url("localhost/d?hostaddr=10.0.0.1"), SslMode::VerifyFull),
            (url("localhost,db/d"), SslMode::VerifyFull),
            (url("db/d"), SslMode::VerifyFull),
            (url("db/d?hostaddr=127.0.0.1"), SslMode::VerifyFull),
            (url("%2Ftmp/d"), SslMode::Disable),
            (url("%2Ftmp/d?hostaddr=10.0.0.1"), SslMode::VerifyFull),
            (secret("127.0.0.1"), SslMode::Require),
            (secret("db.c0.eu-west-1.rds.amazonaws.com"), SslMode::VerifyFull),
        ] {
            assert_eq!((server.mode, server.unverified()), (mode, None), "{}", server.name());
        }
        // An explicit mode stays in effect, with a warning.
        for mode in ["disable", "allow", "prefer", "require"] {
            let server = url(&format!("db/d?sslmode={mode}"));
            assert_eq!(server.mode.to_string(), mode);
            assert_eq!(
                server.unverified().unwrap(),
                format!(
                    "PostgreSQL at db:5432: sslmode {mode} doesn't verify the server, so anyone on the network path can \
                     read the password and change the rows: set sslmode = verify-full in url"
                )
            );
        }
        assert_eq!(url("db/d?sslmode=require&sslrootcert=/ca.pem").unverified(), None);
        let own = "db.c0.eu-west-1.rds.amazonaws.com/d?sslmode=verify-ca&sslrootcert=/ca.pem";
        assert_eq!(url(own).mode, SslMode::VerifyCa);
    }

    #[test]
    fn verify_ca_needs_an_authority_that_is_not_public() {
        for at in ["db.c0.eu-west-1.rds.amazonaws.com/d?sslmode=verify-ca", "db/d?sslmode=verify-ca&sslrootcert=rds"] {
            let text = fault(from_url(&format!("postgres://u:p@{at}"), Auth::Password, "url"));
            assert!(text.contains("some of them are public") && text.contains("use verify-full"), "{text}");
        }
        let text = fault(from_url("postgres://u:p@db/d?sslmode=verify-ca", Auth::Password, "url"));
        assert!(text.contains("verify-ca needs sslrootcert"), "{text}");
    }

    #[test]
    fn a_url_error_does_not_contain_the_password() {
        let of = |url: &str| fault(from_url(url, Auth::Password, "url"));
        assert_eq!(of("mysql://u:hunter2@h"), "url: expected postgres://USER:PASSWORD@HOST:PORT/DATABASE");
        assert_eq!(
            of("postgres://u:hunter2@h/d?sslmode=always"),
            "url: unknown sslmode \"always\", expected one of disable, allow, prefer, require, verify-ca, verify-full"
        );
        assert_eq!(
            of("postgres:///d"),
            "url: the host or the user is missing: expected postgres://USER:PASSWORD@HOST:PORT/DATABASE"
        );
        for url in ["postgres://u:hunter2@h:port/d", "postgres://u:hunter2@h/d?nonsense=1"] {
            assert!(!of(url).contains("hunter2"), "{}", of(url));
        }
    }
}
