//! A throw-away PgBouncer on this machine. The program comes from PATH, or else from Debian's package, unpacked under
//! `target/`.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::postgres::{Owner, PASSWORD, Postgres, SHELL, USER, run};

pub struct PgBouncer {
    directory: PathBuf,
    port: u16,
    /// The shell that runs PgBouncer. When its standard input closes, it sends TERM, which makes PgBouncer shut down
    /// immediately, and removes the directory.
    shell: Child,
}

impl PgBouncer {
    /// Starts a pooler in front of a server, with settings such as `pool_mode = transaction`.
    pub fn start(server: &Postgres, settings: &[&str]) -> PgBouncer {
        let owner = Owner::of_servers();
        let directory = owner.directory("pgbouncer");
        let program = program(&directory);
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).expect("a file for PgBouncer");
            owner.give(&path);
            path.display().to_string()
        };
        let users = write("users", format!("\"{USER}\" \"{PASSWORD}\"\n"));
        let settings = settings.join("\n");
        let to = server.port();
        let configuration = write(
            "configuration",
            format!(
                "[databases]\n* = host=127.0.0.1 port={to}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\n{settings}\n"
            ),
        );
        let log = fs::File::create(directory.join("log")).expect("PgBouncer's log");
        let mut shell = owner
            .command("/bin/sh")
            .args(["-c", &SHELL.replace("-QUIT", "-TERM")])
            .arg(&directory)
            .arg(&program)
            .arg(configuration)
            .env("LD_LIBRARY_PATH", libraries(&program))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a shell for PgBouncer");
        let patience = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = shell.try_wait().is_ok_and(|status| status.is_some()) || Instant::now() > patience;
            let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
            assert!(!ended && !log.contains("FATAL"), "PgBouncer does not start: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        PgBouncer { directory, port, shell }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
        // The shell runs as another user, who can't remove this user's copies.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn program(directory: &Path) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).chain(["/usr/sbin".into()]).map(|place| place.join("pgbouncer"));
    installed.into_iter().find(|program| program.is_file()).unwrap_or_else(|| unpacked(directory))
}

/// Returns the folder with the unpacked libraries, or an empty path if PgBouncer is installed.
fn libraries(program: &Path) -> PathBuf {
    let root = program.ancestors().find(|path| path.ends_with("pgbouncer-package"));
    root.map(|root| root.join("libraries")).unwrap_or_default()
}

/// Unpacks Debian's package and the two libraries that only PgBouncer needs, and returns the program in a copy under
/// `directory`. The copy is for the server's user, who can't always read `target/`.
fn unpacked(directory: &Path) -> PathBuf {
    const SCRIPT: &str = "set -e; rm -rf \"$0\"; mkdir -p \"$0/debs\" \"$0/libraries\"; cd \"$0/debs\"
        libraries=$(apt-cache depends pgbouncer | sed -n 's/.*Depends: \\(lib\\(c-ares\\|event\\)[^ ]*\\).*/\\1/p' | sort -u)
        apt-get download -q pgbouncer $libraries; for deb in *.deb; do dpkg-deb -x $deb \"$0\"; done
        find \"$0/usr/lib\" -name '*.so*' -exec cp -P {} \"$0/libraries/\" ';'; touch \"$0/complete\"";
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pgbouncer-package");
    if !package.join("complete").exists() {
        eprintln!("the tests need PgBouncer: unpacking Debian's into {}", package.display());
        run(Command::new("sh").args(["-c", SCRIPT]).arg(&package));
    }
    run(Command::new("cp").arg("-R").arg(&package).arg(directory));
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(directory.join("pgbouncer-package")));
    directory.join("pgbouncer-package/usr/sbin/pgbouncer")
}
