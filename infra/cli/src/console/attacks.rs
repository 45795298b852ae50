//! Attacks on the real server, by raw requests on loopback: what a foreign page, a rebound name or a program without the
//! token can send.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{assets, guard::Guard, server::Server};
use crate::target::Target;

const TOKEN: &str = "5ec2e7";

/// A console whose stack isn't up: an answer with status 503 shows that the request has passed the guard.
struct Served {
    port: u16,
}

struct Answer {
    status: u16,
    text: String,
}

async fn served(allows_actions: bool) -> Served {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = Target { aws: false, stack: "nobodys".into(), profile: None, region: None };
    let server = Server::new(target, Guard::new(port, TOKEN.into(), allows_actions));
    tokio::spawn(server.serve(listener));
    Served { port }
}

impl Served {
    /// Sends a request line with these headers. `HOST` and `ORIGIN` stand for the server's own.
    async fn send(&self, line: &str, headers: &[&str], body: &str) -> Answer {
        let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for header in headers {
            let own = format!("127.0.0.1:{}", self.port);
            request += &header.replace("ORIGIN", &format!("http://{own}")).replace("HOST", &own);
            request += "\r\n";
        }
        request += &format!("\r\n{body}");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{text}"));
        Answer { status, text }
    }

    async fn status(&self, line: &str, headers: &[&str]) -> u16 {
        self.send(line, headers, "").await.status
    }
}

const HOST: &str = "Host: HOST";
const ORIGIN: &str = "Origin: ORIGIN";
const BEARER: &str = "Authorization: Bearer 5ec2e7";
const JSON: &str = "Content-Type: application/json";
const HOLD: &str = r#"{"action":"hold","dataset":"users","reason":"x"}"#;

#[tokio::test]
async fn a_rebound_name_gets_nothing() {
    let console = served(true).await;
    for path in ["GET /", "GET /console.js", "GET /api/overview", "POST /api/actions"] {
        for host in ["Host: evil.example", "Host: localhost:80", "Host: 127.0.0.1"] {
            assert_eq!(console.status(path, &[host, ORIGIN, BEARER, JSON]).await, 403, "{path} {host}");
        }
        let line = path.replace(" /", " http://evil.example/");
        assert_eq!(console.status(&line, &[HOST, ORIGIN, BEARER, JSON]).await, 403, "{line}");
    }
}

#[tokio::test]
async fn a_foreign_page_gets_nothing_and_no_permission_to_ask() {
    let console = served(true).await;
    for foreign in
        ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"]
    {
        for line in ["GET /", "GET /api/overview", "POST /api/actions", "OPTIONS /api/actions"] {
            let answer = console.send(line, &[HOST, BEARER, JSON, foreign], "").await;
            assert_eq!(answer.status, 403, "{line} {foreign}");
            assert!(!answer.text.to_lowercase().contains("access-control-"), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn nothing_is_answered_without_the_token() {
    let console = served(true).await;
    for path in ["about", "overview", "datasets/users", "configuration", "nothing"] {
        let line = format!("GET /api/{path}");
        assert_eq!(console.status(&line, &[HOST]).await, 401, "{line}");
        assert_eq!(console.status(&line, &[HOST, "Authorization: Bearer 5ec2e8"]).await, 401, "{line}");
        assert_eq!(console.status(&format!("{line}?token={TOKEN}"), &[HOST]).await, 401, "{line}");
        let expected = if path == "nothing" { 404 } else { 503 };
        assert_eq!(console.status(&line, &[HOST, BEARER]).await, expected, "{line}");
    }
    for path in ["effects", "actions"] {
        let line = format!("POST /api/{path}");
        assert_eq!(console.send(&line, &[HOST, ORIGIN, JSON], HOLD).await.status, 401, "{line}");
    }
}

#[tokio::test]
async fn nothing_is_changed_without_allow_actions() {
    let (reads, acts) = (served(false).await, served(true).await);
    for path in ["effects", "actions"] {
        let line = format!("POST /api/{path}");
        let refused = reads.send(&line, &[HOST, ORIGIN, BEARER, JSON], HOLD).await;
        assert_eq!(refused.status, 403);
        assert!(refused.text.contains("--allow-actions"), "{}", refused.text);
        let right = [HOST, ORIGIN, BEARER, JSON];
        assert_eq!(acts.send(&line, &right, HOLD).await.status, 503, "it has asked the stack");
        assert_eq!(acts.send(&line, &[HOST, BEARER, JSON], HOLD).await.status, 403, "no origin");
        assert_eq!(acts.send(&line, &[HOST, ORIGIN, BEARER], HOLD).await.status, 415, "a form");
        assert_eq!(acts.send(&line, &right, "{}").await.status, 400);
        let large = format!("{{\"reason\":\"{}\"}}", "x".repeat(20_000));
        assert_eq!(acts.send(&line, &right, &large).await.status, 413);
        assert_eq!(acts.status(&line.replace("POST", "GET"), &[HOST, BEARER]).await, 405);
    }
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_the_page_apart() {
    let console = served(false).await;
    for (line, status) in [("GET /", 200), ("GET /console.css", 200), ("GET /nothing", 404), ("GET /api/overview", 401)]
    {
        let answer = console.send(line, &[HOST], "").await;
        assert_eq!(answer.status, status, "{line}");
        for (name, value) in assets::HEADERS {
            assert!(answer.text.contains(&format!("{name}: {value}\r\n")), "{line}: {name}\n{}", answer.text);
        }
    }
}
