//! `up`: keeps a stack running, for the `aws` command line, `cargo lambda` and experiments.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use cli::{
    laptop::{self, REGION},
    workspace,
};
use serde_json::{Value, json};

use crate::{
    emulator::Emulator,
    run::{self, Started},
    stack::Stack,
};

/// Keeps a stack running until the future is dropped. Fails if the emulator ends by itself.
pub async fn up(file: Option<PathBuf>, json: bool) -> Result<()> {
    let Started { mut emulator, stack, .. } = run::start(file.as_deref()).await?;
    let env_file = EnvFile::write(&emulator, &stack).await?;
    if json {
        let line = json!({
            "endpoint": emulator.endpoint,
            "athena_endpoint": emulator.athena_endpoint,
            "region": REGION,
            "access_key_id": stack.access_key,
            "secret_access_key": "test",
            "bucket": stack.bucket,
            "functions": stack.functions,
        });
        println!("{line}");
    } else {
        let sample = file.is_none();
        print!("{}", greeting(&emulator, &stack, &env_file, sample));
    }
    loop {
        emulator.check()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Returns the text that `up` prints: the endpoints, and commands to try.
fn greeting(emulator: &Emulator, stack: &Stack, env_file: &EnvFile, sample: bool) -> String {
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
    text += &format!(
        "\nIn another terminal, with these variables, the commands of docs/operate.md work here:\n\n  \
           export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY=test AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}\n  \
           export AWS_ENDPOINT_URL={endpoint} AWS_ENDPOINT_URL_ATHENA={athena_endpoint}\n  \
           export STACK={} BUCKET={}\n  \
           aws s3 ls --recursive s3://{}\n",
        stack.access_key, stack.name, stack.bucket, stack.bucket
    );
    for (function, name) in &stack.functions {
        let request = request(function);
        text += &format!(
            "  aws lambda invoke --function-name {name} --cli-binary-format raw-in-base64-out --payload '{request}' /dev/stdout\n"
        );
    }
    text += "\nThe state of the datasets, and the contents of their tables:\n\n  \
             cargo run -p local -- status\n  \
             cargo run -p local -- query 'SELECT * FROM DATABASE.TABLE LIMIT 10'\n";
    text += &format!(
        "\nFrom the sources, against this stack:\n\n  \
           cargo lambda watch --env-file {}\n",
        env_file.0.display()
    );
    for function in stack.functions.keys() {
        text += &format!("  cargo lambda invoke {function} --data-ascii '{}'\n", request(function));
    }
    text + "\nCtrl-C ends it and leaves nothing behind.\n"
}

/// Returns a request that this function accepts with any datasets file.
fn request(function: &str) -> Value {
    match function {
        "flip" => json!({ "action": "status" }),
        _ => json!({}),
    }
}

/// A file for `cargo lambda watch`, with the environment variables that a function outside the emulator needs to use
/// this stack. It exists while `up` runs; `status` and `query` read it too.
struct EnvFile(PathBuf);

impl EnvFile {
    async fn write(emulator: &Emulator, stack: &Stack) -> Result<EnvFile> {
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
        let lines: String = variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let path = laptop::env_file()?;
        fs::write(&path, lines).with_context(|| format!("cannot write {}", path.display()))?;
        // The printed commands run in the clone, so a path relative to it is enough.
        let short =
            workspace::root().canonicalize().ok().and_then(|root| Some(path.strip_prefix(root).ok()?.to_owned()));
        Ok(EnvFile(short.unwrap_or(path)))
    }
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(workspace::root().join(&self.0));
    }
}
