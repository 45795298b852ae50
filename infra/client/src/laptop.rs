//! The stacks that `up` runs on this machine: their endpoints, accounts and buckets.
//!
//! Each `up` holds a lock on its stack's environment file for as long as it runs. So a file that a killed `up` left behind
//! is recognised, whatever it says.

use std::{
    fs::{self, File, TryLockError},
    io::{Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    aws::{self, Credentials, SdkConfig},
    lambda::named,
    workspace,
};

/// How often to try to claim a stack's name, ten milliseconds apart.
const CLAIM_ATTEMPTS: usize = 20;

/// The name of a stack unless another is given.
pub const STACK: &str = "turntable";

pub const REGION: &str = "us-east-1";

/// The name of the datasets bucket in the stack that `up` deploys.
pub const BUCKET: &str = "turntable-local";

/// Returns the configuration for an emulator endpoint. The access key selects the account: a 12-digit key selects the
/// account with that number, and any other key selects account 000000000000. The emulator checks no signature, so the
/// secret key is always `test`.
pub fn config(access_key: &str, endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(access_key, "test", None, None, "local");
    aws::config(credentials, REGION, Some(endpoint))
}

/// Returns a configuration for code that needs one but sends no request: nothing listens at its endpoint.
pub fn unreachable() -> SdkConfig {
    config("none", "http://127.0.0.1:1")
}

/// Returns the name of the datasets bucket in the account that `access_key` selects.
pub fn bucket(access_key: &str) -> String {
    format!("turntable-{access_key}")
}

/// Returns the name of the second bucket of an account, which holds the functions' code and query results.
pub fn scratch_bucket(bucket: &str) -> String {
    format!("{bucket}-scratch")
}

/// Returns the path of a stack's environment file in this folder.
fn path(folder: &Path, stack: &str) -> PathBuf {
    match stack {
        STACK => folder.join("local.env"),
        other => folder.join(format!("local-{other}.env")),
    }
}

/// The environment file of a local stack. It exists, and is locked, while its `up` runs.
#[derive(Debug)]
pub struct EnvFile {
    path: PathBuf,
    file: File,
}

impl EnvFile {
    /// Takes the stack's name for this process. Fails if another process runs a stack of that name.
    pub fn claim(stack: &str) -> Result<EnvFile> {
        EnvFile::claim_in(&workspace::target()?, stack)
    }

    fn claim_in(folder: &Path, stack: &str) -> Result<EnvFile> {
        let path = path(folder, named(stack)?);
        let cannot = || format!("cannot write {}", path.display());
        for _ in 0..CLAIM_ATTEMPTS {
            let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
            let file = open.with_context(cannot)?;
            match file.try_lock() {
                // The process that held the lock before may have removed the file.
                Ok(()) if is_at(&file, &path) => {
                    file.set_len(0).with_context(cannot)?;
                    return Ok(EnvFile { path, file });
                }
                // A command that looks whether the stack is up holds the lock for a moment.
                Ok(()) | Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
        }
        bail!("a stack {stack} is up already: end it with Ctrl-C, or name another one with --stack NAME")
    }

    /// Writes the variables, one `NAME=VALUE` a line. From now on, commands find the stack.
    pub fn write(&mut self, lines: &str) -> Result<()> {
        self.file.write_all(lines.as_bytes()).with_context(|| format!("cannot write {}", self.path.display()))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns whether the path still leads to this open file.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |one: &fs::Metadata, other: &fs::Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(one), Ok(other)) if same(&one, &other))
}

/// Returns the text of a stack's environment file, or `None` if no process runs the stack.
fn text(folder: &Path, stack: &str) -> Option<String> {
    let mut file = File::open(path(folder, stack)).ok()?;
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return None;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Returns the names of the stacks that are up, in order.
fn running(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let stack = name.strip_prefix("local")?.strip_suffix(".env")?;
        Some(stack.strip_prefix('-').unwrap_or(STACK).to_owned())
    });
    let mut up: Vec<String> = names.filter(|stack| text(folder, stack).is_some()).collect();
    up.sort();
    up
}

/// How to reach a local stack.
#[derive(Debug)]
pub struct Endpoints {
    /// The URL of the endpoint for every service except Athena.
    pub aws: String,
    /// The URL of the Athena endpoint.
    pub athena: String,
    /// The only access key that the emulator accepts.
    pub access_key: String,
}

impl Endpoints {
    /// Returns the configuration for every service except Athena.
    pub fn config(&self) -> SdkConfig {
        config(&self.access_key, &self.aws)
    }

    /// Returns the configuration for Athena.
    pub fn athena_config(&self) -> SdkConfig {
        config(&self.access_key, &self.athena)
    }
}

/// Reads how to reach a local stack. Fails if it isn't up.
pub fn endpoints(stack: &str) -> Result<Endpoints> {
    // Only a program in a target folder can have started a stack.
    match workspace::target() {
        Ok(folder) => endpoints_in(&folder, stack),
        Err(_) => bail!("no local stack is up: pass --aws for a stack in AWS"),
    }
}

fn endpoints_in(folder: &Path, stack: &str) -> Result<Endpoints> {
    let Some(text) = text(folder, named(stack)?) else {
        let up = running(folder);
        ensure!(
            up.is_empty(),
            "no local stack {stack} is up, but {}: name it with --stack, or pass --aws for a stack in AWS",
            up.join(", ")
        );
        bail!("no local stack is up: start one with `turntable up`, or pass --aws for a stack in AWS");
    };
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.map(str::to_owned).with_context(|| format!("the local stack {stack} is still starting: try again"))
    };
    Ok(Endpoints {
        aws: value("AWS_ENDPOINT_URL")?,
        athena: value("AWS_ENDPOINT_URL_ATHENA")?,
        access_key: value("AWS_ACCESS_KEY_ID")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is removed when it is dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("turntable-laptop-{}-{name}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const LINES: &str = "AWS_ACCESS_KEY_ID=7\nAWS_ENDPOINT_URL=http://a\nAWS_ENDPOINT_URL_ATHENA=http://b\n";

    fn trouble(folder: &Folder, stack: &str) -> String {
        endpoints_in(&folder.0, stack).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_a_killed_process_left_behind_is_no_stack() {
        let folder = Folder::new("stale");
        fs::write(folder.0.join("local.env"), LINES).unwrap();
        let expected = "no local stack is up: start one with `turntable up`, or pass --aws for a stack in AWS";
        assert_eq!(trouble(&folder, STACK), expected);
        let mut claimed = EnvFile::claim_in(&folder.0, STACK).unwrap();
        assert_eq!(trouble(&folder, STACK), "the local stack turntable is still starting: try again");
        claimed.write(LINES).unwrap();
        assert_eq!(endpoints_in(&folder.0, STACK).unwrap().athena, "http://b");
        drop(claimed);
        assert_eq!(trouble(&folder, STACK), expected);
    }

    #[test]
    fn stacks_on_one_machine_have_their_own_names_and_files() {
        let folder = Folder::new("several");
        let mut one = EnvFile::claim_in(&folder.0, "one").unwrap();
        one.write(LINES).unwrap();
        let expected = "a stack one is up already: end it with Ctrl-C, or name another one with --stack NAME";
        assert_eq!(EnvFile::claim_in(&folder.0, "one").unwrap_err().to_string(), expected);
        let expected =
            "no local stack turntable is up, but one: name it with --stack, or pass --aws for a stack in AWS";
        assert_eq!(trouble(&folder, STACK), expected);
        let mut main = EnvFile::claim_in(&folder.0, STACK).unwrap();
        main.write(&LINES.replace("=7", "=8")).unwrap();
        let key = |stack| endpoints_in(&folder.0, stack).unwrap().access_key;
        assert_eq!((key("one").as_str(), key(STACK).as_str()), ("7", "8"));
        assert!(endpoints_in(&folder.0, "../one").is_err());
    }
}
