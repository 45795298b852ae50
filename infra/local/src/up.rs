//! `up`: the product keeps running, for `aws`, for `cargo lambda` and for whoever wants to try it.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use serde_json::json;

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
        print!("{}", greeting(&emulator, &stack, &env_file, file.is_none()));
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
    text += &format!(
        "\n  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION={REGION}\n  \
           aws --endpoint-url {endpoint} s3 ls --recursive s3://{}\n",
        stack.bucket
    );
    for (function, name) in &stack.functions {
        text += &format!(
            "  aws --endpoint-url {endpoint} lambda invoke --function-name {name} \
             --cli-binary-format raw-in-base64-out --payload file://events/{function}.json /dev/stdout\n"
        );
    }
    text += &format!(
        "\nFrom the sources, against this stack:\n\n  \
           cargo lambda watch --env-file {}\n",
        env_file.0.display()
    );
    for function in stack.functions.keys() {
        text += &format!("  cargo lambda invoke {function} --data-file events/{function}.json\n");
    }
    text + "\nCtrl-C ends it and leaves nothing behind.\n"
}

/// What a function needs in its environment to work on this stack from outside, for `cargo lambda watch`.
struct EnvFile(PathBuf);

/// The file that is there as long as `up` runs.
fn env_file() -> Result<PathBuf> {
    Ok(Build::of_this_process()?.target.join("local.env"))
}

/// The endpoint of everything but Athena, while `up` runs; `None` where it does not.
pub fn endpoint() -> Result<Option<String>> {
    let text = fs::read_to_string(env_file()?).unwrap_or_default();
    Ok(text.lines().find_map(|line| line.strip_prefix("AWS_ENDPOINT_URL=")).map(str::to_owned))
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
