//! The emulator itself: it starts although a port is taken, and it answers only authorized requests.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use local::Emulator;

use super::emulator;

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_distinguished_from_a_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let straight = async |endpoint: &str| endpoint.to_owned();
    assert!(Emulator::start_at(&emulator().await.tools, port, &straight).await.unwrap().is_none());
}

/// Sends one request like a program without an SDK, and returns the response's status and headers.
fn answered(endpoint: &str, request: &str, headers: &[(&str, &str)]) -> (String, String) {
    let address = endpoint.strip_prefix("http://").expect("an HTTP endpoint");
    let mut text = format!("{request} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let head = answer.split("\r\n\r\n").next().unwrap().to_lowercase();
    (head.split(' ').nth(1).unwrap().to_owned(), head)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_programs_that_know_the_access_key_are_answered() {
    let mut tools = emulator().await.tools.clone();
    tools.access_key = Some("123456789012".into());
    let before = own_folders();
    let own = Emulator::start(&tools).await.unwrap();
    let host = own.endpoint.strip_prefix("http://").unwrap();
    let signed =
        |key: &str| format!("AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/s3/aws4_request, Signature=0");
    let (right, wrong) = (signed("123456789012"), signed("000000000000"));
    for (headers, status) in [
        (vec![("Host", host), ("Authorization", &right)], "200"),
        (vec![("Host", host), ("Authorization", &wrong)], "403"),
        (vec![("Host", host)], "403"),
        (vec![("Host", "evil.example"), ("Authorization", &right)], "403"),
        (vec![("Host", host), ("Authorization", &right), ("Origin", "https://evil.example")], "403"),
        (vec![("Host", host), ("Authorization", &right), ("Sec-Fetch-Site", "cross-site")], "403"),
    ] {
        let (answer, head) = answered(&own.endpoint, "GET /", &headers);
        assert_eq!((answer.as_str(), head.contains("access-control-")), (status, false), "{headers:?}\n{head}");
    }
    let preflight = [("Host", host), ("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")];
    assert_eq!(answered(&own.endpoint, "OPTIONS /", &preflight).0, "403");
    assert_eq!(answered(&own.athena_endpoint, "POST /", &[("Host", host), ("Content-Length", "0")]).0, "403");
    // Another test may be starting an emulator at the same time.
    let new: Vec<PathBuf> = own_folders().difference(&before).cloned().collect();
    let modes: Vec<u32> =
        new.iter().filter_map(|folder| folder.metadata().ok()).map(|one| one.permissions().mode()).collect();
    assert!(!modes.is_empty() && modes.iter().all(|mode| mode & 0o777 == 0o700), "{modes:?}");
}

/// Returns the temporary folders of this process's emulators.
fn own_folders() -> BTreeSet<PathBuf> {
    let own = format!("turntable-{}-", std::process::id());
    let entries = fs::read_dir(std::env::temp_dir()).unwrap().map(|entry| entry.unwrap());
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&own)).map(|entry| entry.path()).collect()
}
