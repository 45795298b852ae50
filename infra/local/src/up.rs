//! `up`: keeps a stack running, for the `aws` command line, `cargo lambda` and experiments.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use client::{
    laptop::{self, EnvFile, REGION},
    workspace,
};
use serde_json::{Value, json};
use turntable::config::Config;

use crate::{
    emulator::Emulator,
    run::{self, Started},
    stack::Stack,
};

/// Keeps a stack running until the future is dropped. Fails if the emulator ends by itself, or if a stack with this name
/// is up already.
pub async fn up(file: Option<PathBuf>, name: &str, json: bool) -> Result<()> {
    let mut env_file = EnvFile::claim(name)?;
    let Started { mut emulator, stack, datasets } = run::start(file.as_deref(), name).await?;
    env_file.write(&variables(&emulator, &stack).await?)?;
    let text = if json {
        let line = json!({
            "endpoint": emulator.endpoint,
            "athena_endpoint": emulator.athena_endpoint,
            "region": REGION,
            "access_key_id": stack.access_key,
            "secret_access_key": "test",
            "bucket": stack.bucket,
            "functions": stack.functions,
        });
        format!("{line}\n")
    } else {
        greeting(&emulator, &stack, &short(env_file.path()), file.is_none(), &query(&datasets.config))
    };
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
    loop {
        emulator.check()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Returns the text that `up` prints: the endpoints, and commands to try.
fn greeting(emulator: &Emulator, stack: &Stack, env_file: &Path, sample: bool, query: &str) -> String {
    let Emulator { endpoint, athena_endpoint, .. } = emulator;
    let mut text = format!(
        "\nTurntable is up: stack {}, bucket {}, region {REGION}\n\n  \
           everything but Athena  {endpoint}\n  \
           Athena                 {athena_endpoint}\n\n",
        stack.name, stack.bucket
    );
    text += if sample {
        "The sample's first day is in place, nothing is exported yet.\n"
    } else {
        "Your datasets are in place, nothing is exported yet.\n"
    };
    let name = if stack.name == laptop::STACK { String::new() } else { format!(" --stack {}", stack.name) };
    text += "\nIn another terminal, try:\n\n";
    let query = format!("query '{query}'");
    for command in ["export --all", "status", query.as_str(), "doctor"] {
        text += &format!("  cargo run --quiet -- {command}{name}\n");
    }
    text += &format!(
        "\nWith these variables, the AWS CLI works here too:\n\n  \
           export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY=test AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}\n  \
           export AWS_ENDPOINT_URL={endpoint} AWS_ENDPOINT_URL_ATHENA={athena_endpoint}\n  \
           export STACK={} BUCKET={}\n  \
           aws s3 ls --recursive s3://{}\n",
        stack.access_key, stack.name, stack.bucket, stack.bucket
    );
    text += &format!(
        "\nFrom the sources, against this stack:\n\n  \
           cargo lambda watch --env-file {}\n",
        env_file.display()
    );
    for function in stack.functions.keys() {
        text += &format!("  cargo lambda invoke {function} --data-ascii '{}'\n", request(function));
    }
    text + "\nCtrl-C ends it and leaves nothing behind.\n"
}

/// Returns a query of a table that `export --all` builds. If it builds none, the query is of the file's first table.
fn query(config: &Config) -> String {
    let built = config.datasets().find(|dataset| !dataset.is_inbox() && dataset.refresh.is_none());
    match built.or_else(|| config.datasets().next()) {
        Some(dataset) => format!("SELECT * FROM {} LIMIT 10", dataset.table),
        None => "SHOW DATABASES".into(),
    }
}

/// Returns a request that this function accepts with any datasets file.
fn request(function: &str) -> Value {
    match function {
        "flip" => json!({ "action": "status" }),
        _ => json!({}),
    }
}

/// Returns the variables that a function outside the emulator needs to use this stack, for `cargo lambda watch`. The
/// commands find the stack with them too.
async fn variables(emulator: &Emulator, stack: &Stack) -> Result<String> {
    let mut variables = BTreeMap::from([
        ("AWS_ACCESS_KEY_ID".to_owned(), stack.access_key.clone()),
        ("AWS_SECRET_ACCESS_KEY".into(), "test".into()),
        ("AWS_REGION".into(), REGION.into()),
        ("AWS_ENDPOINT_URL".into(), emulator.endpoint.clone()),
        ("AWS_ENDPOINT_URL_ATHENA".into(), emulator.athena_endpoint.clone()),
    ]);
    for name in stack.functions.values() {
        variables.extend(stack.account.function_environment(name).await?);
    }
    Ok(variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect())
}

/// Returns the path as seen from the clone's root, where the printed commands run.
fn short(path: &Path) -> PathBuf {
    let root = workspace::root().canonicalize().ok();
    root.and_then(|root| Some(path.strip_prefix(root).ok()?.to_owned())).unwrap_or_else(|| path.to_owned())
}
