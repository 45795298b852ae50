//! Runs MiniStack's S3 on a free loopback port. Its data is in a temporary folder that is deleted when this process
//! ends.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::tools::{self, Tools};

pub const BUCKET: &str = "bench";

pub struct Store {
    endpoint: String,
    /// The process of guard.py, which stops MiniStack when its standard input is closed.
    guard: Child,
}

impl Store {
    pub fn start(tools: &Tools) -> Result<Store> {
        let folder = std::env::temp_dir().join(format!("turntable-bench-s3-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot write to {}", folder.display()))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = folder.join("log");
        let file = File::create(&log)?;
        let guard = Command::new(&tools.python)
            .arg(tools::file("../infra/local/guard.py"))
            .arg(&folder)
            .arg(&tools.python)
            .args(["-m", "ministack"])
            .envs([("BIND_HOST", "127.0.0.1"), ("MINISTACK_HOST", "127.0.0.1"), ("IOT_MTLS_ENABLED", "0")])
            .envs([("SFTP_ENABLED", "0"), ("LOG_LEVEL", "WARNING"), ("S3_PERSIST", "1")])
            .env("GATEWAY_PORT", port.to_string())
            .env("S3_DATA_DIR", folder.join("s3"))
            .env("STATE_DIR", folder.join("state"))
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start MiniStack")?;
        let store = Store { endpoint: format!("http://127.0.0.1:{port}"), guard };
        store.make_bucket(tools, &log)?;
        Ok(store)
    }

    /// Returns the environment variables that point an AWS client at this S3.
    pub fn environment(&self) -> [(&'static str, &str); 6] {
        [
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_REGION", "us-east-1"),
            ("NO_PROXY", "127.0.0.1"),
        ]
    }

    fn make_bucket(&self, tools: &Tools, log: &PathBuf) -> Result<()> {
        let script = "import boto3, sys; boto3.client('s3').create_bucket(Bucket=sys.argv[1])";
        let started = Instant::now();
        loop {
            let mut command = Command::new(&tools.python);
            command.args(["-c", script, BUCKET]).envs(self.environment()).stderr(Stdio::null());
            if command.status()?.success() {
                return Ok(());
            }
            if started.elapsed() > Duration::from_secs(60) {
                bail!("MiniStack did not respond within 60 s:\n{}", fs::read_to_string(log).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
