//! Runs an AWS emulator: MiniStack and the Athena endpoint, on free ports on the loopback interface.

use std::{
    env,
    fs::{DirBuilder, File},
    io,
    net::TcpListener,
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use client::{
    aws::SdkConfig,
    laptop::{self, REGION},
};
use serde::Deserialize;

use crate::{
    boto::Boto,
    environment::INHERITED,
    guard::{self, Guarded},
    progress::say,
    tools::Tools,
};

/// How long MiniStack or the Athena endpoint may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

const MAX_PORT_ATTEMPTS: usize = 5;

/// How many lines from the end of a log an error quotes.
const TAIL_LINES: usize = 30;

/// A running emulator, which stops when it is dropped. Accounts are isolated from each other, but bucket names are
/// global, as on AWS.
pub struct Emulator {
    /// The endpoint for every service except Athena.
    pub endpoint: String,
    pub athena_endpoint: String,
    pub tools: Tools,
    pub(crate) boto: Boto,
    children: [Child; 2],
}

impl Emulator {
    /// Starts the emulator on free ports.
    pub async fn start(tools: &Tools) -> Result<Emulator> {
        Self::start_behind(tools, async |endpoint| endpoint.to_owned()).await
    }

    /// Starts the emulator, and gives the functions the endpoints that `between` returns instead of the emulator's own,
    /// for example those of a proxy. Each attempt to start calls `between` twice: with the endpoint for every service
    /// except Athena, then with Athena's.
    pub async fn start_behind(tools: &Tools, between: impl AsyncFn(&str) -> String) -> Result<Emulator> {
        say("starting MiniStack and the Athena endpoint");
        // Another process may take the port before MiniStack does.
        for _ in 0..MAX_PORT_ATTEMPTS {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            if let Some(emulator) = Self::start_at(tools, port, &between).await? {
                return Ok(emulator);
            }
        }
        bail!("found no free port for MiniStack in {MAX_PORT_ATTEMPTS} attempts")
    }

    /// Starts the emulator with MiniStack on this port. Returns `None` if another process uses the port. `between` is
    /// as in [`Emulator::start_behind`].
    pub async fn start_at(
        tools: &Tools,
        port: u16,
        between: &impl AsyncFn(&str) -> String,
    ) -> Result<Option<Emulator>> {
        let folder = new_folder()?;
        let endpoint = format!("http://127.0.0.1:{port}");

        // The functions inherit MiniStack's environment, so the Athena endpoint must be known before MiniStack starts.
        let script = |name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name).to_string_lossy().into_owned();
        let calls = tools.calls.as_deref().map(Path::to_string_lossy).unwrap_or_default();
        let access_key = tools.access_key.as_deref().unwrap_or_default();
        let variables = [("AWS_ENDPOINT_URL", endpoint.as_str()), ("CALLS", &calls), ("ACCESS_KEY", access_key)];
        let mut athena = Child::start(tools, &folder, "athena", &["-m", "turntable_athena", "--events"], &variables)?;
        #[derive(Deserialize)]
        struct Ready {
            endpoint: String,
        }
        let ready = |log: &str| log.lines().find_map(|line| serde_json::from_str::<Ready>(line).ok());
        let Some(Ready { endpoint: athena_endpoint }) = athena.until(ready).await? else {
            bail!("the Athena endpoint ended while it was starting:\n{}", athena.tail());
        };

        let port = port.to_string();
        let store = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let proxied = (between(&endpoint).await, between(&athena_endpoint).await);
        let variables = [
            ("AWS_ENDPOINT_URL", proxied.0.as_str()),
            ("AWS_ENDPOINT_URL_ATHENA", proxied.1.as_str()),
            ("BIND_HOST", "127.0.0.1"),
            ("MINISTACK_HOST", "127.0.0.1"),
            ("GATEWAY_PORT", port.as_str()),
            ("S3_DATA_DIR", &store("s3")),
            ("STATE_DIR", &store("state")),
            ("IOT_MTLS_ENABLED", "0"),
            ("SFTP_ENABLED", "0"),
            ("GLUE_PYTHON", &tools.spark.to_string_lossy()),
            ("CALLS", &calls),
            ("ACCESS_KEY", access_key),
        ];
        let mut ministack = Child::start(tools, &folder, "ministack", &[&script("emulator.py")], &variables)?;
        let listening = format!("Running on {endpoint} ");
        if ministack.until(|log| log.contains(&listening).then_some(())).await?.is_none() {
            let log = ministack.tail();
            // The first message comes from MiniStack's own check, the second from the operating system.
            if log.contains("already in use") || log.contains("Address already in use") {
                return Ok(None);
            }
            let status = ministack.process.ended()?.map(|status| status.to_string()).unwrap_or_default();
            bail!("MiniStack ended while it was starting ({status}):\n{log}");
        }
        let boto = Boto::start(&tools.python, &endpoint)?;
        Ok(Some(Emulator { endpoint, athena_endpoint, tools: tools.clone(), boto, children: [ministack, athena] }))
    }

    /// Returns the SDK configuration for every service except Athena, in an access key's account.
    pub fn sdk_config(&self, access_key: &str) -> SdkConfig {
        laptop::config(access_key, &self.endpoint)
    }

    /// Returns the SDK configuration for Athena, in an access key's account.
    pub fn athena_config(&self, access_key: &str) -> SdkConfig {
        laptop::config(access_key, &self.athena_endpoint)
    }

    /// Fails if one of the emulator's processes has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        for child in &mut self.children {
            if let Some(status) = child.process.ended()? {
                bail!("one of the emulator's processes has ended ({status}):\n{}", child.tail());
            }
        }
        Ok(())
    }

    /// Returns the last lines of both logs, for failures without another explanation.
    pub fn log_tail(&self) -> String {
        self.children.each_ref().map(Child::tail).join("\n")
    }
}

/// MiniStack or the Athena endpoint.
struct Child {
    process: Guarded,
    /// The log, kept open so that it can still be read after the guard has removed its folder.
    log: File,
}

impl Child {
    fn start(tools: &Tools, folder: &Path, name: &str, arguments: &[&str], own: &[(&str, &str)]) -> Result<Child> {
        let path = folder.join(format!("{name}.log"));
        let log = File::options().create_new(true).read(true).append(true).open(path)?;
        let mut command = guard::command(&tools.python, Some(folder));
        command.arg(&tools.python).args(arguments).env_clear();
        command.envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))));
        command.envs([
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_REGION", REGION),
            ("NO_PROXY", "127.0.0.1"),
            ("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/athena")),
            ("PYTHONUNBUFFERED", "1"),
            ("PYTHONDONTWRITEBYTECODE", "1"),
        ]);
        command.env("TMPDIR", folder).envs(own.iter().copied());
        command.stdout(log.try_clone()?).stderr(log.try_clone()?);
        Ok(Child { process: Guarded::start(command)?, log })
    }

    /// Polls the log until `find` returns a value for its text, and returns that value. Returns `None` if the process
    /// ends first. Fails after [`START_TIMEOUT`].
    async fn until<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let start = Instant::now();
        loop {
            let ended = self.process.ended()?.is_some();
            if let Some(found) = find(&self.text()?) {
                return Ok(Some(found));
            }
            if ended {
                return Ok(None);
            }
            if start.elapsed() > START_TIMEOUT {
                bail!("the process was not ready after {} s:\n{}", START_TIMEOUT.as_secs(), self.tail());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn text(&self) -> io::Result<String> {
        let mut text = vec![0; usize::try_from(self.log.metadata()?.len()).unwrap_or(0)];
        self.log.read_exact_at(&mut text, 0)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn tail(&self) -> String {
        let text = self.text().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

/// Creates a temporary folder for logs and data that only this user can open. The guards of the child processes remove
/// it when they are dropped.
fn new_folder() -> Result<PathBuf> {
    let nanos = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
    let folder = env::temp_dir().join(format!("turntable-{}-{nanos}", std::process::id()));
    DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("cannot write to {}", env::temp_dir().display()))?;
    Ok(folder)
}
