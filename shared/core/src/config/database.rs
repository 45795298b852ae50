//! Reads `source = { postgres = … }` and `source = { mysql = … }`.

use jiff::SignedDuration;

use super::{
    names,
    read::Keys,
    source::{Auth, Connect, Mysql, Postgres, Secret, Session, SharedSnapshot},
};

/// The maximum for `parallel`, the number of connections to a database. By default, PostgreSQL allows 100 connections
/// and MySQL 151, and other clients need some of them.
const MAX_CONNECTIONS: u32 = 32;

pub fn postgres(keys: Keys) -> Option<Postgres> {
    let secret = keys.string("secret");
    let url = keys.parsed("url", |url| names::written(url).map(|url| Connect::Url(url.into())));
    let query = keys.string("query").map(|query| query.trim().trim_end_matches(';').to_owned());
    let parallel = parallel(&keys);
    let split_by = keys.string("split_by").map(str::to_owned);
    let connect = connect(&keys, secret, url, ["sslmode", "sslrootcert"]);
    if !keys.has("query") {
        keys.fault_here("query is missing");
    }
    let session = Session {
        lock_timeout: timeout(&keys, "lock_timeout"),
        row_security: keys.boolean("row_security").unwrap_or_default(),
        ..session(&keys)
    };
    keys.finish();
    Some(Postgres { connect: connect?, query: query?, parallel, split_by, session })
}

/// Reads `parallel`, the number of connections.
fn parallel(keys: &Keys) -> u32 {
    let parallel = keys.whole("parallel", 1).unwrap_or(1);
    if parallel > MAX_CONNECTIONS.into() {
        keys.fault("parallel", format!("expected at most {MAX_CONNECTIONS} connections, found {parallel}"));
    }
    u32::try_from(parallel).unwrap_or(MAX_CONNECTIONS)
}

/// Returns how to reach the database: with a URL, or with a secret and the keys that supply what the secret lacks.
/// `tls` lists the TLS keys, which have the same names as in the secret.
fn connect(keys: &Keys, secret: Option<&str>, url: Option<Connect>, tls: [&'static str; 2]) -> Option<Connect> {
    if keys.has("secret") == keys.has("url") {
        keys.fault_here("set exactly one of secret and url");
    }
    let mut beside = Vec::new();
    for key in ["host", "dbname"].into_iter().chain(tls) {
        beside.extend(keys.string(key).map(|value| (key, value.to_owned())));
    }
    if let Some(port) = keys.whole("port", 1) {
        if port > u16::MAX.into() {
            keys.fault("port", format!("expected a number from 1 to 65535, found {port}"));
        }
        beside.push(("port", port.to_string()));
    }
    if let (false, Some((key, _))) = (keys.has("secret"), beside.first()) {
        keys.fault(key, "can only be set together with secret: write it into the url instead");
    }
    secret.map(|name| Connect::Secret(Secret { name: name.into(), beside })).or(url)
}

/// Reads `allow_warnings`: the codes of warnings that don't fail the export.
fn allow_warnings(keys: &Keys) -> Vec<u16> {
    const EXPECTED: &str = "expected a list of warning codes, such as [1260]";
    let Some(value) = keys.value("allow_warnings") else { return Vec::new() };
    let number = |one: &toml::Value| one.as_integer().and_then(|number| u16::try_from(number).ok());
    let codes: Option<Vec<u16>> = value.as_array().and_then(|list| list.iter().map(number).collect());
    codes.unwrap_or_else(|| {
        keys.fault("allow_warnings", EXPECTED);
        Vec::new()
    })
}

/// Reads a timeout of at least a second.
fn timeout(keys: &Keys, key: &'static str) -> Option<SignedDuration> {
    let timeout = keys.duration(key);
    if timeout.is_some_and(|timeout| timeout < SignedDuration::from_secs(1)) {
        keys.fault(key, "expected at least 1s");
    }
    timeout
}

/// Reads the keys that both databases have: the authentication method, the timeouts and the keepalive.
fn session(keys: &Keys) -> Session {
    let auth = keys.parsed("auth", |text| match text {
        "password" => Ok(Auth::Password),
        "iam" => Ok(Auth::Iam),
        _ => Err(format!("expected \"password\" or \"iam\", found {text:?}")),
    });
    Session {
        auth: auth.unwrap_or_default(),
        connect_timeout: timeout(keys, "connect_timeout"),
        statement_timeout: timeout(keys, "statement_timeout"),
        keepalive: timeout(keys, "keepalive"),
        ..Session::default()
    }
}

pub fn mysql(keys: Keys) -> Option<Mysql> {
    let secret = keys.string("secret");
    let url = keys.parsed("url", |url| names::written(url).map(|url| Connect::Url(url.into())));
    // Blank lines at the beginning stay, so that line numbers in the server's errors match the query in the file.
    let query = keys.string("query").map(|query| query.trim_end().trim_end_matches(';').to_owned());
    let parallel = parallel(&keys);
    let split_by = keys.string("split_by").map(str::to_owned);
    let snapshot = keys.parsed("snapshot", |text| match text {
        "binlog" => Ok(SharedSnapshot::Binlog),
        "lock" => Ok(SharedSnapshot::Lock),
        "none" => Ok(SharedSnapshot::None),
        _ => Err(format!("expected \"binlog\", \"lock\" or \"none\", found {text:?}")),
    });
    let connect = connect(&keys, secret, url, ["ssl-mode", "ssl-ca"]);
    if !keys.has("query") {
        keys.fault_here("query is missing");
    }
    let sql_mode = keys.value("sql_mode").and_then(|value| match value.as_str() {
        Some(mode) => Some(mode.split(',').map(|flag| flag.trim().to_uppercase()).collect::<Vec<_>>().join(",")),
        None => {
            keys.fault("sql_mode", "expected a string");
            None
        }
    });
    let allow_warnings = allow_warnings(&keys);
    let session = Session { lock_timeout: timeout(&keys, "lock_timeout"), ..session(&keys) };
    keys.finish();
    let snapshot = snapshot.unwrap_or_default();
    Some(Mysql { connect: connect?, query: query?, parallel, split_by, snapshot, sql_mode, allow_warnings, session })
}

#[cfg(test)]
mod tests {
    use crate::config::{
        Auth, Config, Connect, Mysql, Postgres, Secret, Session, Source,
        test_support::{DEFAULTS, faults, without_positions},
    };

    #[test]
    fn mysql_accepts_the_keys_of_postgres() {
        let of = |more: &str| {
            let source = format!("{{ mysql = {{ url = \"mysql://u@h/d\", query = \"SELECT 1;\"{more} }} }}");
            format!("{DEFAULTS}[datasets.users]\nsource = {source}\n")
        };
        let config = Config::parse("x", &of(", split_by = \"id\", parallel = 1, statement_timeout = \"10m\"")).unwrap();
        let Source::Mysql(mysql) = config.dataset("users").unwrap().source.clone() else { panic!("not mysql") };
        assert_eq!((mysql.query.as_str(), mysql.split_by.as_deref()), ("SELECT 1", Some("id")));
        assert_eq!(mysql.session.statement_timeout.map(|limit| limit.as_secs()), Some(600));
        assert_eq!(
            faults(&of(", parallel = 4, snapshot = \"shared\", paralel = 4")),
            "datasets.toml: datasets.users.source.mysql.snapshot: expected \"binlog\", \"lock\" or \"none\", found \
             \"shared\"\n\
             datasets.toml: datasets.users.source.mysql: unknown key \"paralel\", expected one of secret, url, query, \
             parallel, split_by, snapshot, host, dbname, ssl-mode, ssl-ca, port, sql_mode, allow_warnings, lock_timeout, auth, \
             connect_timeout, statement_timeout, keepalive"
        );
    }

    #[test]
    fn mysql_has_its_own_settings_of_the_session() {
        let of = |more: &str| {
            let source = format!("{{ mysql = {{ url = \"mysql://u@h/d\", query = \"\\n\\nSELECT 1;\"{more} }} }}");
            format!("{DEFAULTS}[datasets.users]\nsource = {source}\n")
        };
        let read = |more: &str| match Config::parse("x", &of(more)).unwrap().dataset("users").unwrap().source.clone() {
            Source::Mysql(mysql) => mysql,
            _ => unreachable!(),
        };
        let plain = read("");
        assert_eq!((plain.query.as_str(), plain.sql_mode, plain.allow_warnings), ("\n\nSELECT 1", None, Vec::new()));
        assert_eq!(plain.session.lock_timeout().as_secs(), 30);
        let all = read(", sql_mode = \"ansi_quotes, ORACLE\", allow_warnings = [1260, 1365], lock_timeout = \"5s\"");
        assert_eq!((all.sql_mode.as_deref(), all.allow_warnings), (Some("ANSI_QUOTES,ORACLE"), vec![1260, 1365]));
        assert_eq!(all.session.lock_timeout().as_secs(), 5);
        assert_eq!(read(", sql_mode = \"\"").sql_mode.as_deref(), Some(""));
        assert_eq!(
            faults(&of(", sql_mode = 1, allow_warnings = [\"1260\"], lock_timeout = \"10ms\"")),
            "datasets.toml: datasets.users.source.mysql.sql_mode: expected a string\n\
             datasets.toml: datasets.users.source.mysql.allow_warnings: expected a list of warning codes, \
             such as [1260]\n\
             datasets.toml: datasets.users.source.mysql.lock_timeout: expected at least 1s"
        );
    }

    #[test]
    fn an_address_stands_only_beside_a_secret() {
        let of = |kind: &str, how: &str| {
            let source = format!("{{ {kind} = {{ {how}, query = \"SELECT 1\" }} }}");
            format!("{DEFAULTS}[datasets.users]\nsource = {source}\n")
        };
        let secret = |kind: &str, how: &str| {
            let config = Config::parse("x", &of(kind, how)).unwrap();
            let dataset = config.dataset("users").unwrap();
            match &dataset.source {
                Source::Mysql(Mysql { connect: Connect::Secret(secret), .. })
                | Source::Postgres(Postgres { connect: Connect::Secret(secret), .. }) => {
                    (secret.clone(), dataset.spec.clone())
                }
                _ => unreachable!(),
            }
        };
        let (plain, spec) = secret("mysql", "secret = \"rds\"");
        assert_eq!(plain, Secret::from("rds"));
        let (full, same) =
            secret("mysql", "secret = \"rds\", host = \"h\", port = 3307, dbname = \"d\", ssl-ca = \"/opt/ca.pem\"");
        let beside = [("host", "h"), ("dbname", "d"), ("ssl-ca", "/opt/ca.pem"), ("port", "3307")];
        assert_eq!(full.beside, beside.map(|(key, value)| (key, value.to_owned())));
        assert_eq!(spec, same, "another address doesn't change the content");
        assert_eq!(
            secret("postgres", "secret = \"rds\", sslmode = \"verify-full\"").0.beside,
            [("sslmode", "verify-full".to_owned())]
        );
        assert_eq!(
            faults(&of("postgres", "url = \"postgres://u@h/d\", host = \"h\", port = 70000")),
            "datasets.toml: datasets.users.source.postgres.port: expected a number from 1 to 65535, found 70000\n\
             datasets.toml: datasets.users.source.postgres.host: can only be set together with secret: write it into the url instead"
        );
    }

    #[test]
    fn unexpanded_placeholder_is_rejected_in_urls_and_locations() {
        let source = "source.mysql = { url = \"mysql://u:secret@${HOST}/d\", query = \"SELECT 1\" }\n";
        let files = "source.files = { location = \"s3://${BUCKET}/in/\" }\n";
        let defaults = DEFAULTS.replace("lake", "${LAKE}");
        assert_eq!(
            faults(&format!("{defaults}[datasets.a]\n{source}[datasets.b]\n{files}")),
            "datasets.toml: defaults.location: ${LAKE} is replaced only in local runs: write the value itself\n\
             datasets.toml: datasets.a.source.mysql.url: ${HOST} is replaced only in local runs: write the value itself\n\
             datasets.toml: datasets.b.source.files.location: ${BUCKET} is replaced only in local runs: write the value itself"
        );
    }

    #[test]
    fn connection_options_are_read_and_do_not_change_the_spec() {
        let of = |more: &str| {
            let text = format!(
                "{DEFAULTS}[datasets.a]\nsource = {{ postgres = {{ secret = \"x\", query = \"SELECT 1\"{more} }} }}\n"
            );
            Config::parse("x", &text).map(|config| config.dataset("a").unwrap().clone())
        };
        let parts = |more| match of(more).unwrap().source {
            Source::Postgres(options) => (options.parallel, options.split_by),
            _ => unreachable!(),
        };
        assert_eq!(parts(""), (1, None));
        assert_eq!(parts(", parallel = 4, split_by = \"id\""), (4, Some("id".into())));
        assert_eq!(of("").unwrap().spec, of(", parallel = 4, split_by = \"id\"").unwrap().spec);
        let session = ", auth = \"iam\", connect_timeout = \"3s\", statement_timeout = \"1h\", keepalive = \"30s\", \
                       lock_timeout = \"2m\"";
        let (parsed, seconds) = (of(session).unwrap(), |seconds| Some(jiff::SignedDuration::from_secs(seconds)));
        let Source::Postgres(options) = &parsed.source else { unreachable!() };
        let (connect_timeout, statement_timeout, keepalive) = (seconds(3), seconds(3600), seconds(30));
        let lock_timeout = seconds(120);
        assert_eq!(
            options.session,
            Session {
                auth: Auth::Iam,
                connect_timeout,
                statement_timeout,
                keepalive,
                lock_timeout,
                row_security: false
            }
        );
        let Source::Postgres(default) = of("").unwrap().source else { unreachable!() };
        assert_eq!((default.session.lock_timeout().as_secs(), default.session.row_security), (30, false));
        assert_eq!(of("").unwrap().spec, parsed.spec);
        let filtered = of(", row_security = true").unwrap();
        let Source::Postgres(options) = &filtered.source else { unreachable!() };
        assert!(options.session.row_security && filtered.spec != parsed.spec, "it decides which rows there are");
        assert_eq!(
            without_positions(
                of(", auth = \"kerberos\", keepalive = \"1ms\", lock_timeout = \"0s\", row_security = \"on\"")
                    .unwrap_err()
                    .message()
            ),
            "x: datasets.a.source.postgres.lock_timeout: expected at least 1s\n\
             x: datasets.a.source.postgres.row_security: expected true or false, found a string\n\
             x: datasets.a.source.postgres.auth: expected \"password\" or \"iam\", found \"kerberos\"\n\
             x: datasets.a.source.postgres.keepalive: expected at least 1s"
        );
        assert_eq!(
            without_positions(of(", parallel = 33").unwrap_err().message()),
            "x: datasets.a.source.postgres.parallel: expected at most 32 connections, found 33"
        );
    }
}
