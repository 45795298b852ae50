//! Checks each dataset's source: its secret, whether the connection is encrypted, and whether the source can be read.

use futures::{StreamExt, stream};
use serde_json::{Map, Value};
use turntable::{
    config::{Config, Connect, Dataset, Source},
    error::Kind,
    port::Secrets,
    sources,
};

use super::report::{Line, is_denied, one_line};
use crate::{
    aws::SdkConfig,
    source_context::{self, Clients},
};

const SECRET: &str = "secret";
const SOURCE: &str = "source";
const TLS: &str = "source-tls";

/// The maximum number of sources that are queried at the same time.
const MAX_CONCURRENT_SOURCES: usize = 8;

/// Checks all sources. `in_vpc` says whether the functions run in a VPC, which this machine may not be able to reach.
pub async fn lines(config: &Config, aws: &SdkConfig, in_vpc: bool) -> Vec<Line> {
    let all = config.datasets().flat_map(|dataset| {
        let reconcile = match &dataset.source {
            Source::Inbox(inbox) => inbox.reconcile.as_deref(),
            _ => None,
        };
        [Some(&dataset.source), reconcile].into_iter().flatten().map(move |source| (dataset, source))
    });
    let asked = all.map(|(dataset, source)| Box::pin(of(dataset, source, aws, in_vpc)));
    let lines: Vec<Vec<Line>> = stream::iter(asked).buffered(MAX_CONCURRENT_SOURCES).collect().await;
    lines.into_iter().flatten().collect()
}

async fn of(dataset: &Dataset, source: &Source, aws: &SdkConfig, in_vpc: bool) -> Vec<Line> {
    let context = source_context::of(dataset, &Clients::new(aws));
    let (connect, mysql) = match source {
        Source::Postgres(options) => (Some(&options.connect), false),
        Source::Mysql(options) => (Some(&options.connect), true),
        Source::Files(_) => (None, false),
        Source::Inbox(_) | Source::Athena(_) | Source::GlueJob(_) => return Vec::new(),
    };
    let name = dataset.name.as_str();
    let mut lines = Vec::new();
    if let Some(connect) = connect {
        match read(connect, context.secrets.as_deref()).await {
            Ok((text, beside)) => {
                if let Connect::Secret(secret) = connect {
                    lines.push(Line::ok(SECRET, name, format!("{} can be read", secret.name)));
                }
                lines.push(encryption(name, &Settings::of(&text, &beside, mysql)));
            }
            Err(why) if is_denied(&why) => {
                lines.push(Line::unread(SECRET, name, why, "secretsmanager:GetSecretValue to yourself"));
                return lines;
            }
            Err(why) => {
                lines.push(Line::fault(SECRET, name, why, "create the secret, or correct its name or ARN"));
                return lines;
            }
        }
    }
    lines.push(match sources::schema(source, &context).await {
        Ok(schema) => Line::ok(SOURCE, name, format!("it can be read and has {} columns", schema.fields().len())),
        Err(error) => {
            let why = one_line(&error);
            match error.kind() {
                Kind::Unavailable if in_vpc => Line::warning(
                    SOURCE,
                    name,
                    format!("this machine can't reach it: {why}"),
                    "run doctor from the VPC, or ignore this if export reaches the source from its subnets",
                ),
                _ if is_denied(&why) => Line::unread(SOURCE, name, why, "what the message names"),
                _ => {
                    Line::fault(SOURCE, name, why, "fix what the message names: the next export fails in the same way")
                }
            }
        }
    });
    lines
}

/// Returns the URL or the secret's text, and the keys that the dataset adds to the secret.
async fn read(
    connect: &Connect,
    secrets: Option<&dyn Secrets>,
) -> Result<(String, Vec<(&'static str, String)>), String> {
    match (connect, secrets) {
        (Connect::Url(url), _) => Ok((url.clone(), Vec::new())),
        (Connect::Secret(secret), Some(secrets)) => {
            let text = secrets.text(&secret.name).await.map_err(|error| one_line(&error))?;
            let text = text.ok_or_else(|| format!("secret {:?} is binary", secret.name))?;
            Ok((text, secret.beside.clone()))
        }
        (Connect::Secret(secret), None) => Err(format!("secret {:?} can't be read here", secret.name)),
    }
}

/// The settings that decide whether a connection is encrypted.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    /// The value of `sslmode` or `ssl-mode`, in lower case with underscores.
    mode: Option<String>,
    host: String,
}

impl Settings {
    fn of(text: &str, beside: &[(&'static str, String)], mysql: bool) -> Settings {
        let mode = if mysql { "ssl-mode" } else { "sslmode" };
        let lower = |mode: String| mode.to_lowercase().replace('-', "_");
        if let Ok(keys) = serde_json::from_str::<Map<String, Value>>(text) {
            let key = |name: &str| {
                let added = beside.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
                added.or_else(|| keys.get(name)?.as_str().map(str::to_owned)).filter(|value| !value.is_empty())
            };
            let host = key("host").unwrap_or_default();
            return Settings { mode: key(mode).map(lower), host };
        }
        let (address, parameters) = text.split_once('?').unwrap_or((text, ""));
        let parameter = |name: &str| {
            let mut all = parameters.split('&').filter_map(|pair| pair.split_once('='));
            all.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        let place = address.rsplit_once('@').or_else(|| address.split_once("://")).map_or("", |(_, place)| place);
        let host = place.split(['/', ':', ',']).next().unwrap_or_default().to_owned();
        Settings { mode: parameter(mode).map(lower), host }
    }
}

fn encryption(dataset: &str, settings: &Settings) -> Line {
    // The default for a host other than this machine.
    let mode = settings.mode.as_deref().unwrap_or("verify-full");
    // A local connection doesn't leave this machine.
    let is_local = ["localhost", "127.0.0.1", "[", ""].contains(&settings.host.as_str());
    match mode {
        "disable" | "disabled" | "allow" | "prefer" | "preferred" if !is_local => Line::fault(
            TLS,
            dataset,
            format!("{mode}: rows and the password may travel unencrypted"),
            "set sslmode = \"verify-full\" (MySQL: ssl-mode = \"VERIFY_IDENTITY\")",
        ),
        "require" | "required" if !is_local => Line::warning(
            TLS,
            dataset,
            format!("{mode}: the connection is encrypted, but the server's identity is not verified"),
            "set sslmode = \"verify-full\" (MySQL: ssl-mode = \"VERIFY_IDENTITY\") and the root certificate",
        ),
        _ => Line::ok(TLS, dataset, mode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Status;

    fn status(text: &str, beside: &[(&'static str, String)], mysql: bool) -> Status {
        encryption("users", &Settings::of(text, beside, mysql)).status
    }

    #[test]
    fn encryption_is_found_in_urls_and_secrets() {
        for (text, expected) in [
            ("postgres://u:p@db.example:5432/shop", Status::Ok),
            ("postgres://u:p@db.example/shop?sslmode=disable", Status::Fault),
            ("postgres://u:p%40@db.example/shop?sslmode=require&connect_timeout=3", Status::Warning),
            ("postgres://u:p@shop.abc.rds.amazonaws.com/shop?sslmode=require", Status::Warning),
            ("postgres://u:p@db.example/shop?sslmode=verify-full", Status::Ok),
            ("postgres://u:p@127.0.0.1:5432/shop", Status::Ok),
            (r#"{"host":"db.example","username":"u","password":"p"}"#, Status::Ok),
            (r#"{"host":"db.example","sslmode":"prefer"}"#, Status::Fault),
            (r#"{"host":"db.example","sslmode":"verify-ca","sslrootcert":"/x.pem"}"#, Status::Ok),
        ] {
            assert_eq!(status(text, &[], false), expected, "{text}");
        }
        assert_eq!(status("mysql://u:p@db.example/shop?ssl-mode=DISABLED", &[], true), Status::Fault);
        assert_eq!(status("mysql://u:p@db.example/shop?ssl-mode=VERIFY_IDENTITY", &[], true), Status::Ok);
        let beside = [("host", "db.example".to_owned()), ("sslmode", "disable".to_owned())];
        assert_eq!(status(r#"{"username":"u","password":"p"}"#, &beside, false), Status::Fault);
    }
}
