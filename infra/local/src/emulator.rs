//! MiniStack and the Athena endpoint: an AWS of one's own on free ports of the loopback interface.

use std::{
    env,
    fs::{self, File},
    io,
    net::TcpListener,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{
    aws::{self, Credentials, SdkConfig},
    guard::{self, Guarded},
    progress::say,
    tools::Tools,
};

pub const REGION: &str = "us-east-1";
const START: Duration = Duration::from_secs(60);

/// What the children may know of the user's environment. Above all no credentials, profiles or endpoints of AWS.
pub const INHERITED: [&str; 11] = [
    "PATH",
    "HOME",
    "JAVA_HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RUST_BACKTRACE",
    "RUST_LOG",
];

/// Runs until it is dropped. Its accounts do not see each other, except that names of buckets are global as on AWS.
pub struct Emulator {
    pub endpoint: String,
    pub athena_endpoint: String,
    pub tools: Tools,
    children: [Child; 2],
}

impl Emulator {
    pub async fn start(tools: &Tools) -> Result<Emulator> {
        Self::start_behind(tools, async |endpoint| endpoint.to_owned()).await
    }

    /// As [`Emulator::start`], where the functions are told what `between` makes of an endpoint. It is asked twice: of
    /// Athena's endpoint, and of that of everything else.
    pub async fn start_behind(tools: &Tools, between: impl AsyncFn(&str) -> String) -> Result<Emulator> {
        say("starting MiniStack and the Athena endpoint");
        // Between the choice of a port and its use somebody else may take it.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            if let Some(emulator) = Self::start_at(tools, port, &between).await? {
                return Ok(emulator);
            }
        }
        bail!("found no free port for MiniStack in five attempts")
    }

    /// `None` when somebody else has MiniStack's port.
    pub async fn start_at(
        tools: &Tools,
        port: u16,
        between: &impl AsyncFn(&str) -> String,
    ) -> Result<Option<Emulator>> {
        let folder = new_folder()?;
        let endpoint = format!("http://127.0.0.1:{port}");

        // The functions get MiniStack's environment, so the Athena endpoint has to be known before MiniStack starts.
        let script = |name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name).to_string_lossy().into_owned();
        let calls = tools.calls.as_deref().map(Path::to_string_lossy).unwrap_or_default();
        let variables = [("AWS_ENDPOINT_URL", endpoint.as_str()), ("CALLS", &calls)];
        let mut athena = Child::start(tools, &folder, "athena", &["-m", "turntable_athena", "--events"], &variables)?;
        #[derive(Deserialize)]
        struct Ready {
            endpoint: String,
        }
        let ready = |log: &str| log.lines().find_map(|line| serde_json::from_str::<Ready>(line).ok());
        let Some(Ready { endpoint: athena_endpoint }) = athena.until(ready).await? else {
            bail!("the Athena endpoint ended at its start:\n{}", athena.tail());
        };

        let port = port.to_string();
        let store = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let told = (between(&endpoint).await, between(&athena_endpoint).await);
        let variables = [
            ("AWS_ENDPOINT_URL", told.0.as_str()),
            ("AWS_ENDPOINT_URL_ATHENA", told.1.as_str()),
            ("BIND_HOST", "127.0.0.1"),
            ("MINISTACK_HOST", "127.0.0.1"),
            ("GATEWAY_PORT", port.as_str()),
            ("S3_DATA_DIR", &store("s3")),
            ("STATE_DIR", &store("state")),
            ("IOT_MTLS_ENABLED", "0"),
            ("SFTP_ENABLED", "0"),
            ("GLUE_PYTHON", &tools.spark.to_string_lossy()),
            ("CALLS", &calls),
        ];
        let mut ministack = Child::start(tools, &folder, "ministack", &[&script("emulator.py")], &variables)?;
        let listening = format!("Running on {endpoint} ");
        if ministack.until(|log| log.contains(&listening).then_some(())).await?.is_none() {
            let log = ministack.tail();
            // The first is MiniStack's own check, the second the operating system's.
            if log.contains("already in use") || log.contains("Address already in use") {
                return Ok(None);
            }
            let status = ministack.process.ended()?.map(|status| status.to_string()).unwrap_or_default();
            bail!("MiniStack ended at its start ({status}):\n{log}");
        }
        Ok(Some(Emulator { endpoint, athena_endpoint, tools: tools.clone(), children: [ministack, athena] }))
    }

    /// How to reach everything but Athena as this account: a 12-digit access key is the account of that number,
    /// and `test` is account 000000000000. Nothing is read from the user's environment.
    pub fn sdk_config(&self, access_key: &str) -> SdkConfig {
        config(access_key, &self.endpoint)
    }

    pub fn athena_config(&self, access_key: &str) -> SdkConfig {
        config(access_key, &self.athena_endpoint)
    }

    /// An error when a part of it has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        for child in &mut self.children {
            if let Some(status) = child.process.ended()? {
                bail!("a part of the emulator has ended ({status}):\n{}", child.tail());
            }
        }
        Ok(())
    }

    /// The end of the logs, for a failure that nothing else explains.
    pub fn log_tail(&self) -> String {
        self.children.each_ref().map(Child::tail).join("\n")
    }
}

/// How to reach an endpoint of it as this account.
pub fn config(access_key: &str, endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(access_key, "test", None, None, "local");
    aws::config(credentials, REGION, Some(endpoint))
}

struct Child {
    process: Guarded,
    /// It can be read when the guard has removed its folder.
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

    /// What `find` finds in the log, as soon as it is there; `None` when the process has ended without.
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
            if start.elapsed() > START {
                bail!("not ready after {} s:\n{}", START.as_secs(), self.tail());
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
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// A folder for the logs and the data, which the children's guards remove.
fn new_folder() -> Result<PathBuf> {
    let nanos = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
    let folder = env::temp_dir().join(format!("turntable-{}-{nanos}", std::process::id()));
    fs::create_dir(&folder).with_context(|| format!("cannot write to {}", env::temp_dir().display()))?;
    Ok(folder)
}
