//! Deploys template.yaml with the emulator's CloudFormation.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{
        AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration,
        LifecycleRule, LifecycleRuleFilter,
    },
};
use client::laptop::REGION;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{boto::Account, deployment::Deployment, emulator::Emulator, progress::say, stack::Stack};

/// The pause between two requests for a stack's status.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

impl Emulator {
    /// Deploys a stack and waits until it is complete. If CloudFormation can't create the stack, the error quotes the
    /// reasons from the stack's events.
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
        // template.yaml is larger than the 51,200 bytes that a request may contain, so the request names an object in
        // S3.
        let template = ByteStream::from(self.tools.template.packaged(&code).into_bytes());
        s3.put_object().bucket(&scratch).key("template.yaml").body(template).send().await?;
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let mut parameters = vec![
            ("BucketName", deployment.bucket.as_str()),
            ("Architecture", architecture),
            // Datasets may name any database, and the emulator's only caller outside the stack is the account's root user.
            ("GlueDatabases", "*"),
            ("DeployerArns", "arn:aws:iam::*:root"),
        ];
        parameters.extend(deployment.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let account = self.boto.account(&deployment.access_key);
        let url = format!("{}/{scratch}/template.yaml", self.endpoint);
        account
            .create_stack(&deployment.stack, &url, &parameters)
            .await
            .context("CloudFormation refused template.yaml")?;
        let outputs = created(&account, &deployment.stack).await?;
        set_lifecycle(&s3, &deployment.bucket).await?;
        Stack::new(self, deployment, account, outputs).await
    }
}

/// Sets the bucket's lifecycle rules from template.yaml, because MiniStack 1.5.33 ignores them.
async fn set_lifecycle(s3: &aws_sdk_s3::Client, bucket: &str) -> Result<()> {
    let rule = |id: &str, prefix: &str| {
        let filter = LifecycleRuleFilter::builder().prefix(prefix).build();
        LifecycleRule::builder().id(id).status(ExpirationStatus::Enabled).filter(filter)
    };
    let after = |days: i32| LifecycleExpiration::builder().days(days).build();
    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(1).build();
    let rules = [
        rule("expire-answers-to-checks", "_athena/").expiration(after(1)),
        rule("expire-archived-drops", "_archive/").expiration(after(30)),
        rule("abort-unfinished-uploads", "").abort_incomplete_multipart_upload(abort),
    ];
    let mut lifecycle = BucketLifecycleConfiguration::builder();
    for rule in rules {
        lifecycle = lifecycle.rules(rule.build()?);
    }
    let put = s3.put_bucket_lifecycle_configuration().bucket(bucket).lifecycle_configuration(lifecycle.build()?);
    put.send().await.with_context(|| format!("cannot set the lifecycle rules of bucket {bucket}"))?;
    Ok(())
}

/// Waits until a stack is complete and returns its outputs by name.
async fn created(account: &Account, name: &str) -> Result<BTreeMap<String, String>> {
    loop {
        let stack = account.stack(name).await?;
        match stack.status.as_str() {
            "CREATE_COMPLETE" => return Ok(stack.outputs()),
            "CREATE_IN_PROGRESS" | "REVIEW_IN_PROGRESS" => tokio::time::sleep(POLL_INTERVAL).await,
            status => {
                let reasons = account.stack_reasons(name).await?;
                bail!("stack {name} in {REGION} ended as {status}:\n{}", reasons.join("\n"));
            }
        }
    }
}

/// Returns the deployment package, a zip file, for a custom runtime. Its `bootstrap` is a script that runs the
/// executable where Cargo put it: MiniStack keeps a copy of the package for every function in every stack, and
/// executables with debug information are large. The script contains the executable's modification time, so that the
/// package changes whenever the code does.
fn package(binary: &Path) -> Result<Vec<u8>> {
    let path = binary.to_str().with_context(|| format!("the path {} is not UTF-8", binary.display()))?;
    let built = fs::metadata(binary)?.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).unix_permissions(0o755);
    zip.start_file("bootstrap", options)?;
    writeln!(zip, "#!/bin/sh\n# {built}\nexec '{}' \"$@\"", path.replace('\'', r"'\''"))?;
    Ok(zip.finish()?.into_inner())
}
