//! `up`: the product keeps running, for `aws`, for `cargo lambda` and for whoever wants to try it.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    Stack,
    emulator::{Emulator, REGION},
    run::{self, Started},
    workspace::{self, Build},
};

/// Runs until it is dropped or the emulator ends by itself, which is an error.
pub async fn up(file: Option<PathBuf>, json: bool) -> Result<()> {
    let Started { mut emulator, stack, .. } = run::start(file.as_deref()).await?;
    let env_file = EnvFile::write(&emulator, &stack).await?;
    if json {
        let line = json!({
            "endpoint": emulator.endpoint,
            "athena_endpoint": emulator.athena_endpoint,
            "region": REGION,
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
    // With these, docs/operate.md's commands are asked of this stack.
    text += &format!(
        "\nIn another terminal, with these variables, the commands of docs/operate.md work here:\n\n  \
           export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}\n  \
           export AWS_ENDPOINT_URL={endpoint} AWS_ENDPOINT_URL_ATHENA={athena_endpoint}\n  \
           export STACK={} BUCKET={}\n  \
           aws s3 ls --recursive s3://{}\n",
        stack.name, stack.bucket, stack.bucket
    );
    for (function, name) in &stack.functions {
        let request = request(function);
        text += &format!(
            "  aws lambda invoke --function-name {name} --cli-binary-format raw-in-base64-out --payload '{request}' /dev/stdout\n"
        );
    }
    text += "\nIts datasets, and what is in their tables:\n\n  \
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

/// What it may be asked, whatever the datasets.
fn request(function: &str) -> Value {
    match function {
        "flip" => json!({ "action": "status" }),
        _ => json!({}),
    }
}

/// What a function needs in its environment to work on this stack from outside, for `cargo lambda watch`.
struct EnvFile(PathBuf);

/// The file that is there as long as `up` runs.
fn env_file() -> Result<PathBuf> {
    Ok(Build::of_this_process()?.target.join("local.env"))
}

/// Where the emulator that `up` runs is asked.
pub struct Endpoints {
    /// Of all but Athena.
    pub aws: String,
    pub athena: String,
}

/// An error where `up` does not run.
pub fn endpoints() -> Result<Endpoints> {
    let text = fs::read_to_string(env_file()?).unwrap_or_default();
    let of = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.map(str::to_owned).context("no emulator is up: start one with `cargo run -p local -- up`")
    };
    Ok(Endpoints { aws: of("AWS_ENDPOINT_URL")?, athena: of("AWS_ENDPOINT_URL_ATHENA")? })
}

impl EnvFile {
    async fn write(emulator: &Emulator, stack: &Stack) -> Result<EnvFile> {
        let mut variables = BTreeMap::from([
            ("AWS_ACCESS_KEY_ID".to_owned(), "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY".into(), "test".into()),
            ("AWS_REGION".into(), REGION.into()),
            ("AWS_ENDPOINT_URL".into(), emulator.endpoint.clone()),
            ("AWS_ENDPOINT_URL_ATHENA".into(), emulator.athena_endpoint.clone()),
        ]);
        for name in stack.functions.values() {
            let configuration = stack.lambda.get_function_configuration().function_name(name).send().await?;
            variables
                .extend(configuration.environment.and_then(|environment| environment.variables).unwrap_or_default());
        }
        let lines: String = variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let path = env_file()?;
        fs::write(&path, lines).with_context(|| format!("cannot write {}", path.display()))?;
        // Short where it can be: the printed commands are run in the clone.
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
