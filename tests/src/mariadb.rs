//! A throw-away MariaDB server on this machine.
//!
//! The server's programs come from the distribution (`/usr/sbin/mariadbd`). Without them, Debian's packages are
//! unpacked under `target/`, not installed. For another version, `TURNTABLE_MARIADB` names a folder with
//! `sbin/mariadbd`, `bin/mariadb`, `share/mysql` and `lib/mysql/plugin`, or, for MySQL, with `sbin/mysqld` and
//! `bin/mysql`. MySQL gets views in place of the tables of MariaDB's sequence engine.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::server::{self, Words};

const WORDS: Words = Words { up: &["ready for connections"], failed: "Aborting" };
pub const USER: &str = "turntable";
pub const PASSWORD: &str = "secret";
pub const DATABASE: &str = "shop";

const PACKAGES: [&str; 2] = ["mariadb-server-core", "mariadb-client-core"];

/// Libraries that the packages need and a small system may lack. A library that apt can't download is assumed to be
/// installed.
const LIBRARIES: [&str; 4] = ["libncurses6", "libnuma1", "libreadline8", "liburing2"];

/// Runs the server until standard input has a line or closes, then kills it: its data isn't worth a clean shutdown.
/// Removes the directory (`$0`) unless the line is `keep`.
const SHELL: &str = r#""$@" </dev/null & server=$!
    read -r word; kill -KILL $server; wait $server
    [ "$word" = keep ] || rm -rf "$0""#;

pub type Row = Vec<Option<String>>;

pub struct Mariadb {
    directory: PathBuf,
    port: u16,
    programs: Programs,
    /// The shell that runs the server. When its standard input closes, even because this process is killed, it ends the
    /// server and removes the directory.
    shell: Mutex<Child>,
}

impl Mariadb {
    /// Starts a server with an empty database, which takes a few seconds.
    pub fn start() -> Mariadb {
        Mariadb::start_with(&[])
    }

    /// Returns the server that all tests in this process share; the first caller starts it. The server ends with the
    /// process. Each test must use only its own tables or databases.
    pub fn shared() -> &'static Mariadb {
        static SERVER: OnceLock<Mariadb> = OnceLock::new();
        SERVER.get_or_init(Mariadb::start)
    }

    /// Starts a server as [`Mariadb::start`] does, with settings such as `--max-connections=20`.
    pub fn start_with(settings: &[&str]) -> Mariadb {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("turntable-mariadb-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("tmp")).expect("a directory for MariaDB");
        let programs = programs();
        bootstrap(&programs, &directory);
        let mut sql = format!(
            "CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4;\n\
             CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON *.* TO {USER}@'127.0.0.1' WITH GRANT OPTION;\n"
        );
        if programs.is_mysql {
            sql += &sequences();
        }
        fs::write(directory.join("init.sql"), sql).expect("MariaDB's first statements");
        let (port, shell) = server::launch(&directory, &WORDS, |port| serve(&programs, &directory, port, settings));
        Mariadb { directory, port, programs, shell: Mutex::new(shell) }
    }

    /// Returns a URL whose user has all privileges.
    pub fn url(&self) -> String {
        format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{}/{DATABASE}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns a command that runs MariaDB's own client on [`DATABASE`]. The client shares no code with the driver
    /// under test.
    pub fn client(&self) -> Command {
        let mut command = self.programs.command(&self.programs.client);
        command.args(["--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4"]);
        // Since 11.4, MariaDB's client demands TLS, which the servers here don't offer.
        command.arg(if self.programs.is_mysql { "--get-server-public-key" } else { "--skip-ssl" });
        command.args(["-h", "127.0.0.1", "-P", &self.port.to_string(), "-u", USER, &format!("-p{PASSWORD}"), DATABASE]);
        command
    }

    /// Returns whether the server is MySQL.
    pub fn is_mysql(&self) -> bool {
        self.programs.is_mysql
    }

    /// Kills the server.
    pub fn kill(&self) {
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        drop(shell.stdin.take());
        let _ = shell.wait();
    }

    /// Returns whether the server accepts a statement.
    pub fn accepts(&self, sql: &str) -> bool {
        let ran = self.client().args(["-e", sql]).stdin(Stdio::null()).output();
        ran.is_ok_and(|output| output.status.success())
    }

    /// Runs statements, and returns all their rows as MariaDB's client prints them.
    pub fn run(&self, sql: &str) -> Vec<Row> {
        let mut client = self.client().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let client = client.as_mut().expect("MariaDB's client");
        let mut input = client.stdin.take().expect("its input");
        let text = format!("SET time_zone = '+00:00';\n{sql}");
        std::thread::scope(|scope| {
            scope.spawn(move || input.write_all(text.as_bytes()));
            let mut said = (String::new(), String::new());
            use std::io::Read;
            client.stdout.take().expect("its output").read_to_string(&mut said.0).expect("UTF-8");
            let _ = client.stderr.take().expect("its errors").read_to_string(&mut said.1);
            assert!(client.wait().is_ok_and(|status| status.success()), "{sql}: {}", said.1);
            said.0.lines().map(|line| line.split('\t').map(cell).collect()).collect()
        })
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Reads a cell as `--batch` prints it: undoes the escaping of tabs, newlines, NULs and backslashes. `NULL` is `None`.
fn cell(text: &str) -> Option<String> {
    if text == "NULL" {
        return None;
    }
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, c == '\\') {
            (_, true) => out.push(match rest.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('0') => '\0',
                Some(other) => other,
                None => '\\',
            }),
            (c, false) => out.push(c),
        }
    }
    Some(out)
}

struct Programs {
    server: PathBuf,
    client: PathBuf,
    /// The directory in which the server finds its messages and character sets.
    base: PathBuf,
    libraries: Option<String>,
    is_mysql: bool,
}

impl Programs {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command
    }

    fn server(&self, directory: &Path) -> Vec<String> {
        let mut words = vec!["--no-defaults".into(), format!("--datadir={}", directory.join("data").display())];
        words.push(format!("--basedir={}", self.base.display()));
        words.push(format!("--lc-messages-dir={}", self.base.join("share/mysql").display()));
        words.push(format!("--character-sets-dir={}", self.base.join("share/mysql/charsets").display()));
        // In a shared directory, a server would remove another server's temporary tables.
        words.push(format!("--tmpdir={}", directory.join("tmp").display()));
        // With many servers, the kernel runs out of asynchronous I/O requests.
        words.push("--skip-innodb-use-native-aio".into());
        words.push(if self.is_mysql { "--innodb-redo-log-capacity=64M" } else { "--innodb-log-file-size=16M" }.into());
        if Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0") {
            words.push("--user=root".into());
        }
        words
    }
}

fn bootstrap(programs: &Programs, directory: &Path) {
    let mut command = programs.command(&programs.server);
    command.args(programs.server(directory));
    if programs.is_mysql {
        command.arg("--initialize-insecure").stdin(Stdio::null());
    } else {
        fs::create_dir_all(directory.join("data/mysql")).expect("a directory for MariaDB");
        fs::write(directory.join("bootstrap.sql"), system_tables(programs)).expect("MariaDB's system tables");
        let sql = fs::File::open(directory.join("bootstrap.sql")).expect("MariaDB's system tables");
        command.arg("--bootstrap").stdin(sql);
    }
    let made = command.output().expect("the server's program");
    assert!(made.status.success(), "the server's first start: {}", String::from_utf8_lossy(&made.stderr));
}

/// Returns the statements that create MariaDB's system tables.
fn system_tables(programs: &Programs) -> String {
    let tables = |name: &str| {
        // MariaDB 11 renamed these files.
        let folder = programs.base.join("share/mysql");
        let found =
            ["mysql", "mariadb"].map(|of| folder.join(format!("{of}_{name}"))).into_iter().find(|path| path.is_file());
        let path = found.unwrap_or_else(|| panic!("{}: no file {name}", folder.display()));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let data = tables("system_tables_data.sql");
    let data: Vec<&str> = data.lines().filter(|line| !line.contains("@current_hostname")).collect();
    format!("use mysql;\n{}\n{}\n", tables("system_tables.sql"), data.join("\n"))
}

/// The first and the last number of the sequences that the tests read.
const SEQUENCES: [(u64, u64); 22] = [
    (0, 900),
    (1, 1),
    (1, 2),
    (1, 3),
    (1, 5),
    (1, 9),
    (1, 10),
    (1, 90),
    (1, 100),
    (1, 200),
    (1, 300),
    (1, 500),
    (1, 700),
    (1, 1000),
    (1, 2000),
    (1, 2997),
    (1, 4000),
    (1, 5000),
    (1, 9000),
    (1, 20_000),
    (1, 30_000),
    (67, 69),
];

/// Returns the statements that create views in place of MariaDB's sequences, one per line.
fn sequences() -> String {
    let mut sql = format!(
        "SET cte_max_recursion_depth = 30001;\nCREATE TABLE {DATABASE}.numbers (seq bigint unsigned PRIMARY KEY);\n\
         INSERT INTO {DATABASE}.numbers WITH RECURSIVE s (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < 30000) \
         SELECT n FROM s;\n"
    );
    for (first, last) in SEQUENCES {
        sql += &format!(
            "CREATE SQL SECURITY INVOKER VIEW {DATABASE}.seq_{first}_to_{last} AS SELECT seq FROM {DATABASE}.numbers \
             WHERE seq BETWEEN {first} AND {last};\n"
        );
    }
    for (thousands, millions) in [(2_000, 1), (1_000, 1_000)] {
        sql += &format!(
            "CREATE SQL SECURITY INVOKER VIEW {DATABASE}.seq_1_to_{} AS SELECT (c.seq - 1) * 1000000 + (b.seq - 1) * 1000 + a.seq AS seq \
             FROM {DATABASE}.numbers c JOIN {DATABASE}.numbers b JOIN {DATABASE}.numbers a \
             WHERE a.seq BETWEEN 1 AND 1000 AND b.seq BETWEEN 1 AND {thousands} AND c.seq BETWEEN 1 AND {millions};\n",
            thousands * 1000 * millions
        );
    }
    sql
}

fn serve(programs: &Programs, directory: &Path, port: u16, settings: &[&str]) -> Child {
    let log = fs::File::create(directory.join("log")).expect("MariaDB's log");
    let mut command = programs.command(Path::new("/bin/sh"));
    command
        .args(["-c", SHELL])
        .arg(directory)
        .arg(&programs.server)
        .args(programs.server(directory))
        .args(["--bind-address=127.0.0.1", &format!("--port={port}"), "--skip-name-resolve", "--skip-log-bin"])
        .arg(format!("--socket={}", directory.join("socket").display()))
        .arg(format!("--pid-file={}", directory.join("pid").display()))
        .arg(format!("--init-file={}", directory.join("init.sql").display()))
        .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-buffer-pool-size=1G"])
        .args(["--character-set-server=utf8mb4", "--max-allowed-packet=64M", "--skip-stack-trace"])
        .args(settings);
    // MySQL, and MariaDB since 11.4, make a certificate for themselves.
    if !settings.iter().any(|setting| setting.starts_with("--ssl-cert")) {
        command.arg(if programs.is_mysql { "--tls-version=" } else { "--skip-ssl" });
    }
    if programs.is_mysql {
        command.args(["--mysqlx=OFF", "--secure-file-priv="]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("a shell for MariaDB")
}

/// Returns the folder of the MariaDB version to test, from `TURNTABLE_MARIADB`.
fn chosen() -> Option<PathBuf> {
    std::env::var_os("TURNTABLE_MARIADB").map(PathBuf::from)
}

fn programs() -> Programs {
    if let Some(base) = chosen() {
        let is_mysql = base.join("sbin/mysqld").is_file();
        let [server, client] = if is_mysql { ["sbin/mysqld", "bin/mysql"] } else { ["sbin/mariadbd", "bin/mariadb"] };
        return Programs { server: base.join(server), client: base.join(client), base, libraries: None, is_mysql };
    }
    let [server, client] = ["/usr/sbin/mariadbd", "/usr/bin/mariadb"].map(PathBuf::from);
    let base = PathBuf::from("/usr");
    if server.is_file() && client.is_file() && base.join("share/mysql/mysql_system_tables.sql").is_file() {
        return Programs { server, client, base, libraries: None, is_mysql: false };
    }
    let root = unpacked("mariadb", &PACKAGES, &LIBRARIES);
    let libraries = ["usr/lib", "lib"].iter().flat_map(|below| fs::read_dir(root.join(below)).into_iter().flatten());
    let libraries = libraries.flatten().map(|entry| entry.path().display().to_string());
    Programs {
        server: root.join("usr/sbin/mariadbd"),
        client: root.join("usr/bin/mariadb"),
        base: root.join("usr"),
        libraries: Some(libraries.filter(|path| path.ends_with("-linux-gnu")).collect::<Vec<_>>().join(":")),
        is_mysql: false,
    }
}

/// Returns the folder with the server's plugins, such as `auth_ed25519.so`.
pub fn plugins() -> PathBuf {
    if let Some(base) = chosen() {
        return base.join("lib/mysql/plugin");
    }
    let installed = PathBuf::from("/usr/lib/mysql/plugin");
    if programs().libraries.is_none() && installed.join("auth_ed25519.so").is_file() {
        return installed;
    }
    unpacked("mariadb-plugins", &["mariadb-server"], &[]).join("usr/lib/mysql/plugin")
}

/// Unpacks Debian's packages below `target/tools` unless that has been done, and returns the folder.
fn unpacked(name: &str, needed: &[&str], libraries: &[&str]) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    fs::create_dir_all(&tools).expect("a directory for tools");
    let tools = fs::canonicalize(tools).expect("target/tools");
    // Another process may be unpacking the same packages.
    let lock = fs::File::create(tools.join("mariadb.lock")).expect("a lock");
    lock.lock().expect("a lock");
    let root = tools.join(name);
    let marker = root.join("ready");
    if marker.exists() {
        return root;
    }
    eprintln!("unpacking Debian's MariaDB into {}", root.display());
    let _ = fs::remove_dir_all(&root);
    let packages = root.join("packages");
    fs::create_dir_all(&packages).expect("a directory for packages");
    let mut own = Vec::new();
    if !apt(&packages, &own, &["download"], needed) {
        // There may be no package lists, and only root could fetch the system's. So apt gets a folder for its own.
        let lists = packages.join("lists");
        fs::create_dir_all(lists.join("partial")).expect("a directory for lists");
        own = vec![format!("-oDir::State::Lists={}", lists.display()), "-oDebug::NoLocking=1".into()];
        assert!(
            apt(&packages, &own, &["update"], &[]) && apt(&packages, &own, &["download"], needed),
            "the tests need MariaDB: install mariadb-server-core and mariadb-client-core, or run them where apt-get \
             download gives them"
        );
    }
    for library in libraries {
        apt(&packages, &own, &["download"], &[library]);
    }
    for package in fs::read_dir(&packages).expect("packages").flatten() {
        if package.path().extension().is_some_and(|extension| extension == "deb") {
            let unpacked = Command::new("dpkg-deb").arg("-x").arg(package.path()).arg(&root).status();
            assert!(unpacked.is_ok_and(|status| status.success()), "dpkg-deb -x {}", package.path().display());
        }
    }
    let _ = fs::remove_dir_all(&packages);
    fs::write(marker, "").expect("a marker");
    root
}

fn apt(directory: &Path, options: &[String], words: &[&str], packages: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    command.arg("-q").args(options).args(words).args(packages).current_dir(directory);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
