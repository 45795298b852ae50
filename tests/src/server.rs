//! Starts a throw-away database server from a shell. The server writes its log to the file `log` in its directory.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Phrases in the log that distinguish a started server from one that failed.
pub(crate) struct Words {
    pub up: &'static [&'static str],
    pub failed: &'static str,
}

/// Starts a server, and returns its port and its shell. If no server starts, removes the directory and panics with the
/// log.
pub(crate) fn launch(directory: &Path, words: &Words, serve: impl Fn(u16) -> Child) -> (u16, Child) {
    // Another process may take the port before the server binds it.
    for _ in 0..5 {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let mut shell = serve(port);
        if is_up(directory, words, &mut shell) {
            return (port, shell);
        }
    }
    let why = log(directory);
    let _ = fs::remove_dir_all(directory);
    panic!("the server does not start: {why}");
}

/// Waits until a server has started or failed, and returns whether it has started. Ends a server that hasn't, but keeps
/// its directory.
fn is_up(directory: &Path, words: &Words, shell: &mut Child) -> bool {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let log = log(directory);
        if words.up.iter().any(|up| log.contains(up)) {
            return true;
        }
        if log.contains(words.failed) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if let Some(mut input) = shell.stdin.take() {
        let _ = input.write_all(b"keep\n");
    }
    let _ = shell.wait();
    false
}

pub(crate) fn log(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).unwrap_or_default()
}
