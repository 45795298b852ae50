//! moto, a second S3 and Glue emulator, written independently of MiniStack.

use std::{
    env,
    net::{TcpListener, TcpStream},
    path::Path,
    process::Stdio,
    time::Duration,
};

use cli::{
    aws::{self, Credentials, SdkConfig},
    laptop::REGION,
};
use local::{
    environment::INHERITED,
    guard::{self, Guarded},
    venv,
};

const REQUIREMENTS: [&str; 1] = [concat!(env!("CARGO_MANIFEST_DIR"), "/requirements.txt")];

/// A running moto, which stops when dropped.
pub struct Moto {
    endpoint: String,
    _process: Guarded,
}

impl Moto {
    /// Starts moto. Its Python environment is created in `target`, Cargo's target folder.
    pub async fn start(target: &Path) -> Moto {
        let python = venv::made(target, &REQUIREMENTS).await.unwrap_or_else(|error| panic!("{error:#}"));
        // Another process may take the port before moto binds it.
        for _ in 0..5 {
            if let Some(moto) = Self::try_start(&python).await {
                return moto;
            }
        }
        panic!("found no free port for moto in five attempts");
    }

    async fn try_start(python: &Path) -> Option<Moto> {
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address").port();
        let mut command = guard::command(python, None);
        command.arg(python).args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]).env_clear();
        command.envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))));
        command.env("PYTHONDONTWRITEBYTECODE", "1").stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Guarded::start(command).expect("python");
        for _ in 0..600 {
            if process.ended().expect("its state").is_some() {
                return None;
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(Moto { endpoint: format!("http://127.0.0.1:{port}"), _process: process });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("moto does not answer after a minute");
    }

    pub fn sdk_config(&self) -> SdkConfig {
        aws::config(Credentials::new("test", "test", None, None, "moto"), REGION, Some(&self.endpoint))
    }
}
