//! `check`: all that is wrong with a datasets.toml, and the tables that it makes. Nothing is started, written or changed.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::Result;
use futures::{StreamExt, stream};
use turntable::{
    aws::{rds::Signer, s3::S3},
    clock::Clock,
    config::{Auth, Connect, Dataset, Positions, Source},
    error::{Error, Kind},
    lambda, merge,
    partition::Kind as Projected,
    schema::{self, Column},
    source::{self, Context, Secrets},
};

use crate::{datasets::Datasets, deploy::Deployment, emulator, glue_table};

/// What came of it.
pub struct Checked {
    /// What is wrong with what is in the file: `file:line:column: path: what`.
    pub faults: Vec<String>,
    /// The tables, as text.
    pub tables: String,
    /// How many datasets there are, and which of them have columns that are not known here, in a sentence.
    pub looked_at: String,
}

/// The columns of a source.
enum Columns {
    Known(Vec<Column>),
    /// Why they are not known here. Nothing is wrong with the file.
    Unknown(String),
    Wrong(Error),
}

/// Sources that are looked at at the same time.
const AT_ONCE: usize = 8;

pub async fn check(file: &Path) -> Result<Checked> {
    let datasets = Datasets::read(file, &Deployment::in_account("test").bucket)?;
    // Whoever has no account, and does not need one, does not wait for its credentials.
    let aws = match datasets.config.datasets().any(|dataset| needs_aws(&dataset.source)) {
        true => lambda::aws().await,
        false => emulator::config("none", "http://127.0.0.1:1"),
    };
    let context = |dataset: &Dataset| Context {
        objects: Arc::new(S3::new(&aws)),
        secrets: Some(Secrets::new(&aws)),
        iam: Signer::new(&aws),
        now: Clock::system().now(),
        table: dataset.table.clone(),
        on_unrepresentable: dataset.on_unrepresentable,
        copies: None,
    };
    let looks = datasets.config.datasets().map(|dataset| {
        let context = context(dataset);
        async move { (dataset, columns(dataset, &context).await) }
    });
    let looks: Vec<(&Dataset, Columns)> = stream::iter(looks).buffered(AT_ONCE).collect().await;

    let known: BTreeMap<&str, &[Column]> = looks
        .iter()
        .filter_map(|(dataset, columns)| match columns {
            Columns::Known(columns) => Some((dataset.name.as_str(), columns.as_slice())),
            _ => None,
        })
        .collect();
    let mut faults: Vec<(String, String)> = Vec::new();
    let mut tables = String::new();
    for (dataset, columns) in &looks {
        match columns {
            Columns::Known(columns) => {
                faults.extend(missing(dataset, columns, &known));
                tables += &glue_table::shown(dataset, columns);
            }
            Columns::Unknown(why) => {
                tables += &format!("{} → {}\n  columns not read: {why}\n\n", dataset.name, dataset.table);
            }
            Columns::Wrong(error) => {
                faults.push((format!("datasets.{}.source", dataset.name), error.report()));
            }
        }
    }
    let keys = Positions::of(&datasets.written);
    let told = |(path, what): (String, String)| format!("{}:{}: {path}: {what}", file.display(), keys.find(&path));
    let unread = looks.iter().filter(|(_, columns)| matches!(columns, Columns::Unknown(_)));
    let unread: Vec<&str> = unread.map(|(dataset, _)| dataset.name.as_str()).collect();
    let mut looked_at = format!("{}: {} datasets", file.display(), looks.len());
    if !unread.is_empty() {
        looked_at += &format!(", the columns of {} not read", unread.join(", "));
    }
    Ok(Checked { faults: faults.into_iter().map(told).collect(), tables, looked_at })
}

async fn columns(dataset: &Dataset, context: &Context) -> Columns {
    if let Source::Inbox(inbox) = &dataset.source {
        return match &inbox.types {
            Some(key) => Columns::Known(merge::columns(key)),
            None => Columns::Unknown(
                "the inbox's key has the types of the live table, as source.inbox.columns is missing".into(),
            ),
        };
    }
    if dataset.source.is_engine() {
        return Columns::Unknown("they are known when the engine has run".into());
    }
    match source::schema(&dataset.source, context).await {
        Ok(found) => match schema::columns(&found) {
            Ok(columns) => Columns::Known(columns),
            Err(fault) => Columns::Wrong(Error::input(fault)),
        },
        Err(error) if is_of_the_file(&dataset.source, &error) => Columns::Wrong(error),
        Err(error) => match &dataset.source {
            Source::Files(files) if files.columns.is_some() => {
                Columns::Known(files.columns.clone().unwrap_or_default())
            }
            _ => Columns::Unknown(error.report()),
        },
    }
}

fn needs_aws(source: &Source) -> bool {
    let needs = |connect: &Connect, auth| matches!(connect, Connect::Secret(_)) || auth == Auth::Iam;
    match source {
        Source::Postgres(options) => needs(&options.connect, options.session.auth),
        Source::Mysql(options) => needs(&options.connect, options.session.auth),
        Source::Files(_) => true,
        Source::Inbox(_) | Source::Athena(_) | Source::GlueJob(_) => false,
    }
}

/// Whether the file is to blame, and not that this machine cannot reach what the functions reach.
fn is_of_the_file(source: &Source, error: &Error) -> bool {
    let by_url = match source {
        Source::Postgres(options) => matches!(options.connect, Connect::Url(_)),
        Source::Mysql(options) => matches!(options.connect, Connect::Url(_)),
        Source::Files(_) => true,
        Source::Inbox(_) | Source::Athena(_) | Source::GlueJob(_) => false,
    };
    error.kind() == Kind::Input || (error.kind() == Kind::Config && by_url)
}

/// What names a column that is not there, by the path of the key that does.
fn missing(dataset: &Dataset, columns: &[Column], known: &BTreeMap<&str, &[Column]>) -> Vec<(String, String)> {
    let at = |key: &str| format!("datasets.{}.{key}", dataset.name);
    let mut faults = Vec::new();
    let mut want = |path: String, name: &str, of: &[Column]| {
        if !of.iter().any(|column| column.name == name.to_lowercase()) {
            let names: Vec<&str> = of.iter().map(|column| column.name.as_str()).collect();
            faults.push((path, format!("no column {name:?}, expected one of {}", names.join(", "))));
        }
    };
    let checks = &dataset.checks;
    let lists = [("checks.not_null", &checks.not_null), ("partition_by", &dataset.partition_by)];
    for (key, names) in lists.into_iter().chain(checks.unique.iter().map(|names| ("checks.unique", names))) {
        names.iter().for_each(|name| want(at(key), name, columns));
    }
    for (key, name) in
        checks.range.iter().map(|(name, _)| ("range", name)).chain(checks.fresh.iter().map(|(name, _)| ("fresh", name)))
    {
        want(at(&format!("checks.{key}.{name}")), name, columns);
    }
    match &dataset.source {
        Source::Postgres(options) => {
            options.split_by.iter().for_each(|name| want(at("source.postgres.split_by"), name, columns));
        }
        Source::Mysql(options) => {
            options.split_by.iter().for_each(|name| want(at("source.mysql.split_by"), name, columns));
        }
        Source::Files(_) | Source::Inbox(_) | Source::Athena(_) | Source::GlueJob(_) => {}
    }
    for protect in &dataset.protects {
        if let Some(columns) = known.get(protect.dataset.as_str()) {
            let path = at(&format!("protects.{}", protect.dataset));
            protect.columns.iter().for_each(|name| want(path.clone(), name, columns));
        }
    }
    for column in columns.iter().filter(|column| dataset.partition_by.contains(&column.name)) {
        if let Err(why) = Projected::of(&column.glue_type) {
            faults.push((at("partition_by"), format!("column {:?}: {why}", column.name)));
        }
    }
    faults
}
