//! `check`: reports all errors in a datasets.toml, and shows the tables that it defines. Starts, writes and changes
//! nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;
use async_trait::async_trait;
use aws_config::SdkConfig;
use clap::Args;
use futures::{StreamExt, stream};
use turntable::{
    audit,
    config::{Auth, Connect, Dataset, Positions, Source},
    consent::key::Key,
    environment::Environment,
    error::{Error, Kind},
    lambda,
    optout::{self, view},
    partition::Kind as Projected,
    port::Secrets,
    publish::{self, adoption::FirstFlip},
    schema::Column,
    sources::{self, Context},
};

use crate::{
    adoption, aws,
    datasets::Datasets,
    done::Done,
    glue_table,
    graph::{self, Form},
    laptop,
    source_context::{self, Clients},
};

/// The command `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The datasets.toml. Each ${NAME} in it comes from the environment
    file: PathBuf,
    /// Look up existing tables in AWS instead of in the local stack that `turntable up` runs
    #[arg(long)]
    aws: bool,
    /// The name of the local stack
    #[arg(long, value_name = "NAME", env = "TURNTABLE_STACK", default_value = laptop::STACK)]
    stack: String,
    /// The profile of the AWS CLI's configuration
    #[arg(long, value_name = "NAME", requires = "aws")]
    profile: Option<String>,
    /// The region
    #[arg(long, value_name = "REGION", requires = "aws")]
    region: Option<String>,
    /// Also print a Terraform block for each table, which uses the module infra/terraform/modules/table
    #[arg(long)]
    terraform: bool,
    /// Only show when each dataset is refreshed, and which datasets are built from which
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    graph: Option<Form>,
}

impl Check {
    /// Checks the file. The exit code is 1 if it has errors.
    pub async fn run(&self) -> Result<Done> {
        if let Some(form) = self.graph {
            return Ok(graph::graph(&self.file, form).map_or_else(refused, Done::with));
        }
        let account = match self.aws {
            true => Some(aws::loaded(self.profile.as_deref(), self.region.as_deref()).await),
            false => laptop::endpoints(&self.stack).ok().map(|up| up.config()),
        };
        Ok(match check(&self.file, account.as_ref()).await {
            Ok(checked) => checked.told(self.terraform),
            Err(error) => refused(error),
        })
    }
}

/// Returns what the command prints for a file that doesn't parse. `error` has a line for each mistake, with its
/// position in the file.
fn refused(error: anyhow::Error) -> Done {
    Done { err: format!("{error:#}\n"), ..Done::default() }.needing_attention(true)
}

/// The result of a check.
pub struct Checked {
    /// Problems in a file that parses, each as `file:line:column: key.path: message`.
    pub faults: Vec<String>,
    /// Unsafe settings that the file permits, in the same form.
    pub remarks: Vec<String>,
    /// A description of each table that the file defines.
    pub tables: String,
    /// A Terraform block for each table whose columns are known.
    pub terraform: String,
    /// The file's name, the number of datasets, and the names of those whose columns could not be read.
    pub summary: String,
}

impl Checked {
    fn told(self, terraform: bool) -> Done {
        let mut out = self.tables;
        if terraform {
            out += &self.terraform;
        }
        if self.faults.is_empty() {
            out += &format!("{}; no errors\n", self.summary);
        }
        let remarks = self.remarks.iter().map(|remark| format!("remark: {remark}"));
        let err = self.faults.iter().cloned().chain(remarks).map(|line| line + "\n").collect();
        Done { out, err, ..Done::default() }.needing_attention(!self.faults.is_empty())
    }
}

/// The outcome of reading a dataset's columns.
enum Columns {
    Known(Vec<Column>),
    /// The columns can't be read here, for this reason. The file may still be correct.
    Unknown(String),
    /// The file has this error.
    Wrong(Error),
}

/// The maximum number of sources whose columns are read at the same time.
const MAX_CONCURRENT_SOURCES: usize = 8;

/// Checks a file, and reads the columns of each source that can be reached from here. With an account, reads secrets and
/// files there, and also describes what the first flip would do with each table that its catalog already has. Fails if
/// the file doesn't parse.
pub async fn check(file: &Path, account: Option<&SdkConfig>) -> Result<Checked> {
    let catalog = account.map(|aws| adoption::environment(aws, file));
    let datasets = Datasets::read(file, laptop::BUCKET)?;
    // Loading credentials takes seconds if there are none, so they are loaded only if a source needs them.
    let needs_aws = datasets.config.datasets().any(|dataset| needs_aws(&dataset.source));
    let aws = match account {
        Some(account) => account.clone(),
        None if needs_aws => lambda::aws().await,
        None => laptop::unreachable(),
    };
    Ok(checked(file, &datasets, &Clients::new(&aws), catalog.as_ref()).await)
}

/// Like [`check`], but with these clients.
pub async fn check_with(file: &Path, clients: &Clients) -> Result<Checked> {
    Ok(checked(file, &Datasets::read(file, laptop::BUCKET)?, clients, None).await)
}

async fn checked(file: &Path, datasets: &Datasets, clients: &Clients, catalog: Option<&Environment>) -> Checked {
    let sources = datasets.config.datasets().map(|dataset| async move {
        let secrets = Arc::new(WatchedSecrets { secrets: clients.secrets.clone(), is_read: AtomicBool::new(false) });
        let context = Context { secrets: Some(secrets.clone()), ..source_context::of(dataset, clients) };
        let remarks = sources::remarks(&dataset.source, &context).await.unwrap_or_default();
        (dataset, columns(dataset, &context, &secrets).await, remarks)
    });
    let read: Vec<_> = stream::iter(sources).buffered(MAX_CONCURRENT_SOURCES).collect().await;
    let (mut sources, mut remarks): (Vec<(&Dataset, Columns)>, _) = (Vec::new(), Vec::new());
    for (dataset, columns, found) in read {
        sources.push((dataset, columns));
        remarks.extend(found.into_iter().map(|text| (format!("datasets.{}.source", dataset.name), text)));
    }
    let first = sources.iter().map(|(dataset, columns)| first_flip(catalog, dataset, columns));
    let first: Vec<_> = stream::iter(first).buffered(MAX_CONCURRENT_SOURCES).collect().await;

    let known: BTreeMap<&str, &[Column]> = sources
        .iter()
        .filter_map(|(dataset, columns)| match columns {
            Columns::Known(columns) => Some((dataset.name.as_str(), columns.as_slice())),
            _ => None,
        })
        .collect();
    let mut faults: Vec<(String, String)> = Vec::new();
    let (mut tables, mut terraform) = (String::new(), String::new());
    let mut unasked = BTreeSet::new();
    for ((dataset, columns), first) in sources.iter().zip(first) {
        match columns {
            Columns::Known(columns) => {
                faults.extend(column_faults(dataset, columns, &known));
                tables += &glue_table::shown(dataset, columns);
                terraform += &glue_table::terraform(dataset, columns);
            }
            Columns::Unknown(why) => {
                tables += &format!("{} → {}\n  columns not read: {why}\n\n", dataset.name, dataset.table);
            }
            Columns::Wrong(error) => {
                faults.push((format!("datasets.{}.source", dataset.name), error.report()));
            }
        }
        match first {
            Ok(Some(first)) => {
                tables += &adoption::shown(dataset, &first);
                if let FirstFlip::Refused(reasons) | FirstFlip::Rejects(reasons) = first {
                    faults.extend(reasons.into_iter().map(|reason| (format!("datasets.{}", dataset.name), reason)));
                }
            }
            Ok(None) => {}
            Err(error) => drop(unasked.insert(error.report())),
        }
    }
    let keys = Positions::of(&datasets.written);
    let line = |(path, text): (String, String)| format!("{}:{}: {path}: {text}", file.display(), keys.find(&path));
    let unread = sources.iter().filter(|(_, columns)| matches!(columns, Columns::Unknown(_)));
    let unread: Vec<&str> = unread.map(|(dataset, _)| dataset.name.as_str()).collect();
    let noun = if sources.len() == 1 { "dataset" } else { "datasets" };
    let mut summary = format!("{}: {} {noun}", file.display(), sources.len());
    if !unread.is_empty() {
        summary += &format!("; the columns of {} were not read", unread.join(", "));
    }
    if !unasked.is_empty() {
        let causes: Vec<String> = unasked.into_iter().collect();
        summary += &format!("; the existing tables of some datasets were not checked: {}", causes.join("; "));
    }
    let (faults, remarks) = (faults.into_iter().map(line).collect(), remarks.into_iter().map(line).collect());
    Checked { faults, remarks, tables, terraform, summary }
}

/// Returns what the dataset's first flip would do with the table in the catalog. Returns `None` if there is no catalog
/// or no table to take over.
async fn first_flip(
    catalog: Option<&Environment>,
    dataset: &Dataset,
    columns: &Columns,
) -> Result<Option<FirstFlip>, Error> {
    let Some(catalog) = catalog else { return Ok(None) };
    let columns = match columns {
        Columns::Known(columns) => Some(columns.as_slice()),
        Columns::Unknown(_) | Columns::Wrong(_) => None,
    };
    publish::adoption::first_flip(catalog, dataset, columns).await
}

/// Returns the columns that a dataset will have.
async fn columns(dataset: &Dataset, context: &Context, secret: &WatchedSecrets) -> Columns {
    if let Source::Inbox(inbox) = &dataset.source {
        return match &inbox.types {
            Some(key) => Columns::Known(optout::columns(key)),
            None => {
                Columns::Unknown("source.inbox.columns is missing, so the key has the types in the live table".into())
            }
        };
    }
    if dataset.source.is_engine() {
        return Columns::Unknown("they are known only after the engine's first run".into());
    }
    match sources::schema(&dataset.source, context).await {
        Ok(found) => match turntable::parquet::arrow_types::columns(&found) {
            Ok(columns) => Columns::Known(columns),
            Err(fault) => Columns::Wrong(Error::input(fault)),
        },
        Err(error) if is_file_error(&dataset.source, &error, secret.is_read.load(Ordering::Relaxed)) => {
            Columns::Wrong(error)
        }
        Err(error) => match &dataset.source {
            Source::Files(files) if files.columns.is_some() => {
                Columns::Known(files.columns.clone().unwrap_or_default())
            }
            _ => Columns::Unknown(error.report()),
        },
    }
}

/// Returns whether reading the source's columns requires AWS credentials.
fn needs_aws(source: &Source) -> bool {
    let needs = |connect: &Connect, auth| match connect {
        Connect::Secret(_) => true,
        // The trusted certificates may be in S3.
        Connect::Url(url) => auth == Auth::Iam || url.contains("=s3:") || url.contains("=s3%3"),
    };
    match source {
        Source::Postgres(options) => needs(&options.connect, options.session.auth),
        Source::Mysql(options) => needs(&options.connect, options.session.auth),
        Source::Files(_) => true,
        Source::Inbox(_) | Source::Athena(_) | Source::GlueJob(_) => false,
    }
}

/// Returns whether the file or the secret is to blame for an error in reading a source's columns. Any other error may
/// only mean that this machine can't reach the source, or isn't allowed to read the secret.
fn is_file_error(source: &Source, error: &Error, secret_is_read: bool) -> bool {
    let is_known = |connect: &Connect| matches!(connect, Connect::Url(_)) || secret_is_read;
    let is_known = match source {
        Source::Postgres(options) => is_known(&options.connect),
        Source::Mysql(options) => is_known(&options.connect),
        Source::Files(_) => true,
        Source::Inbox(_) | Source::Athena(_) | Source::GlueJob(_) => false,
    };
    error.kind() == Kind::Input || (error.kind() == Kind::Config && is_known)
}

/// Reads secrets, and remembers whether one could be read.
struct WatchedSecrets {
    secrets: Arc<dyn Secrets>,
    is_read: AtomicBool,
}

#[async_trait]
impl Secrets for WatchedSecrets {
    async fn text(&self, name: &str) -> turntable::error::Result<Option<String>> {
        let text = self.secrets.text(name).await?;
        self.is_read.store(true, Ordering::Relaxed);
        Ok(text)
    }
}

/// Returns the key path and a message for each setting that names a missing column or a column with an unsuitable type,
/// and for each partition column whose type can't be projected.
fn column_faults(dataset: &Dataset, columns: &[Column], known: &BTreeMap<&str, &[Column]>) -> Vec<(String, String)> {
    let at = |key: &str| format!("datasets.{}.{key}", dataset.name);
    let (mut faults, mut type_faults) = (Vec::new(), Vec::new());
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
    let mut want_type = |path: String, name: &str, fault: &dyn Fn(&str) -> Option<String>| {
        let column = columns.iter().find(|column| column.name == name);
        if let Some(fault) = column.and_then(|column| fault(&column.glue_type)) {
            type_faults.push((path, format!("column {name:?}: {fault}")));
        }
    };
    for (name, range) in &checks.range {
        want_type(at(&format!("checks.range.{name}")), name, &|glue_type| audit::range_fault(glue_type, range));
    }
    for (name, _) in &checks.fresh {
        want_type(at(&format!("checks.fresh.{name}")), name, &|glue_type| audit::fresh_fault(glue_type));
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
            let by = protect.by.iter().filter(|by| by.optouts.dataset == dataset.name);
            by.flat_map(|by| &by.columns).for_each(|name| want(path.clone(), name, columns));
        }
    }
    faults.extend(type_faults);
    faults.extend(never_matching(dataset, known));
    for column in columns.iter().filter(|column| dataset.partition_by.contains(&column.name)) {
        if let Err(why) = Projected::of(&column.glue_type) {
            faults.push((at("partition_by"), format!("column {:?}: {why}", column.name)));
        }
    }
    faults
}

/// Returns the key path and a message for each column in a protected table whose type can never match the inbox's key.
fn never_matching(dataset: &Dataset, known: &BTreeMap<&str, &[Column]>) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    let Source::Inbox(inbox) = &dataset.source else { return faults };
    let types = inbox.types.as_ref().map(Key::glue).unwrap_or_default();
    for protected in &dataset.protects {
        let columns = known.get(protected.dataset.as_str()).copied().unwrap_or_default();
        let by = protected.by.iter().filter(|by| by.optouts.dataset == dataset.name);
        for (key, name) in by.flat_map(|by| types.iter().zip(&by.columns)) {
            let column = columns.iter().find(|column| column.name == *name);
            if let Some(column) = column.filter(|column| !view::can_match(&key.glue_type, &column.glue_type)) {
                let path = format!("datasets.{}.protects.{}", dataset.name, protected.dataset);
                let fault = format!(
                    "column {name:?} is {}, which can't match the key {:?} ({}), so nobody would be left out",
                    column.glue_type, key.name, key.glue_type
                );
                faults.push((path, fault));
            }
        }
    }
    faults
}
