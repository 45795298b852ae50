//! A fake AWS service on a local port. The test decides the reply to each request.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

#[derive(Debug, Clone)]
pub struct Request {
    /// The method and path, such as `PUT /lake/a`.
    pub line: String,
    /// The header values by lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

#[derive(Debug, Clone)]
pub enum Reply {
    /// A response with this status, headers and body.
    Says(u16, Vec<(&'static str, String)>, String),
    /// The connection closes without an answer.
    HangsUp,
}

/// A fake service, which runs as long as its runtime.
#[derive(Clone)]
pub struct Service {
    pub endpoint: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Service {
    /// Starts a service. `answer` returns the reply to a request; its first argument is the request's number, counted
    /// from 1.
    pub async fn new(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let service = Service { endpoint, seen: Arc::default() };
        let (seen, answer) = (service.seen.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = (seen.clone(), answer.clone());
                tokio::spawn(async move { serve(stream, &seen, &*answer).await });
            }
        });
        service
    }

    /// Returns all requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("no test panics with it").clone()
    }
}

/// Answers the requests on one connection. Returns `None` when the connection has ended.
async fn serve(
    stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(usize, &Request) -> Reply + Send + Sync),
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let request = read(&mut stream).await?;
        let number = {
            let mut seen = seen.lock().expect("no test panics with it");
            seen.push(request.clone());
            seen.len()
        };
        let Reply::Says(status, headers, body) = answer(number, &request) else { return None };
        let length = if request.line.starts_with("HEAD ") { 0 } else { body.len() };
        let mut text = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n");
        headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        text.push_str("\r\n");
        if length > 0 {
            text.push_str(&body);
        }
        stream.write_all(text.as_bytes()).await.ok()?;
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Some(Request { line, headers, body: String::from_utf8_lossy(&body).into_owned() })
}
