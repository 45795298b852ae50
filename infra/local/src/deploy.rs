//! template.yaml through the emulator's CloudFormation, and the stack that comes of it.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use aws_sdk_cloudformation::types::{Capability, Parameter, StackStatus};
use aws_sdk_s3::primitives::ByteStream;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{
    emulator::{Emulator, REGION},
    progress::say,
    stack::Stack,
};

/// What may differ between two stacks of one emulator.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The account: twelve digits, or `test` for 000000000000.
    pub access_key: String,
    pub stack: String,
    /// Names of buckets are global.
    pub bucket: String,
    /// Further parameters of template.yaml.
    pub parameters: Vec<(String, String)>,
}

impl Deployment {
    /// The stack `turntable` of an account, with a bucket of its own.
    pub fn in_account(access_key: &str) -> Self {
        Self {
            access_key: access_key.into(),
            stack: "turntable".into(),
            bucket: format!("turntable-{access_key}"),
            parameters: Vec::new(),
        }
    }

    pub(crate) fn scratch(&self) -> String {
        format!("{}-scratch", self.bucket)
    }
}

impl Emulator {
    pub async fn deploy(&self, deployment: &Deployment) -> Result<Stack> {
        say("packaging the functions");
        let aws = self.sdk_config(&deployment.access_key);
        let s3 = aws_sdk_s3::Client::new(&aws);
        let scratch = deployment.scratch();
        s3.create_bucket().bucket(&scratch).send().await.with_context(|| format!("cannot create bucket {scratch}"))?;
        let mut code = BTreeMap::new();
        for (function, binary) in &self.tools.binaries {
            let key = format!("code/{function}.zip");
            s3.put_object().bucket(&scratch).key(&key).body(ByteStream::from(package(binary)?)).send().await?;
            code.insert(function.clone(), format!("s3://{scratch}/{key}"));
        }

        say(format_args!("deploying template.yaml as stack {}", deployment.stack));
        // Inline, a template may have 51,200 bytes.
        let template = ByteStream::from(self.tools.template.packaged(&code).into_bytes());
        s3.put_object().bucket(&scratch).key("template.yaml").body(template).send().await?;
        let cloudformation = aws_sdk_cloudformation::Client::new(&aws);
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let own = [("BucketName", deployment.bucket.as_str()), ("Architecture", architecture)];
        let further = deployment.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let parameters = own
            .into_iter()
            .chain(further)
            .map(|(name, value)| Parameter::builder().parameter_key(name).parameter_value(value).build());
        cloudformation
            .create_stack()
            .stack_name(&deployment.stack)
            .template_url(format!("{}/{scratch}/template.yaml", self.endpoint))
            .set_parameters(Some(parameters.collect()))
            .capabilities(Capability::CapabilityIam)
            .capabilities(Capability::CapabilityAutoExpand)
            .send()
            .await
            .context("CloudFormation refused template.yaml")?;
        let outputs = created(&cloudformation, &deployment.stack).await?;
        Stack::new(self, deployment, outputs).await
    }
}

/// Waits until the stack stands, and answers with its outputs.
async fn created(cloudformation: &aws_sdk_cloudformation::Client, name: &str) -> Result<BTreeMap<String, String>> {
    loop {
        let answer = cloudformation.describe_stacks().stack_name(name).send().await?;
        let stack = answer.stacks().first().with_context(|| format!("stack {name} is gone"))?;
        match stack.stack_status() {
            Some(StackStatus::CreateComplete) => {
                let pair = |output: &aws_sdk_cloudformation::types::Output| {
                    Some((output.output_key()?.to_owned(), output.output_value()?.to_owned()))
                };
                return Ok(stack.outputs().iter().filter_map(pair).collect());
            }
            Some(StackStatus::CreateInProgress | StackStatus::ReviewInProgress) | None => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Some(status) => {
                let events = cloudformation.describe_stack_events().stack_name(name).send().await?;
                let reasons: Vec<String> = events
                    .stack_events()
                    .iter()
                    .filter_map(|event| {
                        let reason = event.resource_status_reason()?;
                        Some(format!("{}: {reason}", event.logical_resource_id().unwrap_or_default()))
                    })
                    .collect();
                bail!("stack {name} in {REGION} ended as {status}:\n{}", reasons.join("\n"));
            }
        }
    }
}

/// The deployment package of a custom runtime. Its `bootstrap` runs the executable where cargo has put it: MiniStack keeps
/// a copy of the package for every function of every stack, and executables with debug information are large. When it was
/// built tells the package from that of other code.
fn package(binary: &Path) -> Result<Vec<u8>> {
    let path = binary.to_str().with_context(|| format!("{} is no UTF-8", binary.display()))?;
    let built = fs::metadata(binary)?.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).unix_permissions(0o755);
    zip.start_file("bootstrap", options)?;
    writeln!(zip, "#!/bin/sh\n# {built}\nexec '{}' \"$@\"", path.replace('\'', r"'\''"))?;
    Ok(zip.finish()?.into_inner())
}
