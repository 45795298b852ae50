//! An AWS that has too much to do: a proxy that refuses some requests in the words of the service that they are for.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Result, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// How many of a hundred requests are refused, before anything is done of them.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// `ThrottlingException`, `RequestThrottled`, `SlowDown`.
    pub throttled: u64,
    /// A status of 500.
    pub failed: u64,
}

/// What passed, and what did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub passed: u64,
    pub throttled: u64,
    pub failed: u64,
}

/// Any number of proxies with one count. They run until their runtime ends.
#[derive(Clone)]
pub struct Throttle {
    rates: Rates,
    seed: u64,
    requests: Arc<AtomicU64>,
    counts: Arc<Mutex<BTreeMap<&'static str, Count>>>,
}

impl Throttle {
    pub fn new(rates: Rates, seed: u64) -> Throttle {
        Throttle { rates, seed, requests: Arc::default(), counts: Arc::default() }
    }

    /// The endpoint of a proxy before this one.
    pub async fn before(&self, endpoint: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (throttle, endpoint) = (self.clone(), endpoint.trim_start_matches("http://").to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (throttle, endpoint) = (throttle.clone(), endpoint.clone());
                // A connection that breaks is one more thing that clients must bear.
                tokio::spawn(async move { throttle.serve(client, &endpoint).await });
            }
        });
        format!("http://{address}")
    }

    /// By service: `AWSGlue`, `AmazonAthena`, `AmazonSQS`, `secretsmanager`; of S3 by what it counts as: `S3 GET`, `S3 PUT`,
    /// `S3 LIST` and `S3 DELETE`.
    pub fn counts(&self) -> BTreeMap<&'static str, Count> {
        self.counts.lock().expect("no test panics with it").clone()
    }

    /// One request a connection: the answer says that it is the last.
    async fn serve(&self, mut client: TcpStream, endpoint: &str) -> Result<()> {
        let Some(request) = Head::read(&mut client).await? else { return Ok(()) };
        match self.refusal(request.service()) {
            None => {
                let mut server = TcpStream::connect(endpoint).await?;
                server.write_all(&request.last()).await?;
                copy_bidirectional(&mut client, &mut server).await?;
            }
            Some(refusal) => {
                request.drain(&mut client).await?;
                client.write_all(refusal.as_bytes()).await?;
            }
        }
        Ok(())
    }

    fn refusal(&self, service: &'static str) -> Option<String> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let is_s3 = service.starts_with("S3");
        let drawn = splitmix(self.seed.wrapping_add(number)) % 100;
        let mut counts = self.counts.lock().expect("no test panics with it");
        let count = counts.entry(service).or_default();
        let status = if drawn < self.rates.throttled {
            count.throttled += 1;
            if is_s3 { 503 } else { 400 }
        } else if drawn < self.rates.throttled + self.rates.failed {
            count.failed += 1;
            500
        } else {
            count.passed += 1;
            return None;
        };
        Some(refused(service, status))
    }
}

/// Each service's own code: Glue's and Athena's API references ("Common Errors"), SQS's JSON protocol, S3's "Error
/// responses".
fn refused(service: &str, status: u16) -> String {
    let is_s3 = service.starts_with("S3");
    let code = match (service, status) {
        (_, 503) => "SlowDown",
        (_, 500) if is_s3 => "InternalError",
        ("AmazonSQS", 400) => "com.amazonaws.sqs#RequestThrottled",
        (_, 400) => "ThrottlingException",
        _ => "InternalFailure",
    };
    let body = match is_s3 {
        true => format!("<Error><Code>{code}</Code><Message>Please reduce your request rate.</Message></Error>"),
        false => format!("{{\"__type\":\"{code}\",\"message\":\"Rate exceeded\"}}"),
    };
    format!("HTTP/1.1 {status} Refused\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The head of a request, and what came with it of its body.
struct Head {
    head: String,
    body: Vec<u8>,
}

impl Head {
    /// `None` where the client has gone without a word.
    async fn read(client: &mut TcpStream) -> Result<Option<Head>> {
        let mut read = Vec::new();
        loop {
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                let body = read.split_off(end + 4);
                return Ok(Some(Head { head: String::from_utf8_lossy(&read).into_owned(), body }));
            }
            if client.read_buf(&mut read).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    fn service(&self) -> &'static str {
        let target = self.header("x-amz-target").unwrap_or_default();
        let known = ["AWSGlue", "AmazonAthena", "AmazonSQS", "secretsmanager"];
        let line = self.head.lines().next().unwrap_or_default();
        let of_s3 = match line.split_once(' ') {
            Some(("GET", url)) if url.contains("list-type=2") || url.contains("?uploads") => "S3 LIST",
            Some(("GET" | "HEAD", _)) => "S3 GET",
            Some(("DELETE", _)) => "S3 DELETE",
            _ => "S3 PUT",
        };
        known.into_iter().find(|service| target.starts_with(service)).unwrap_or(of_s3)
    }

    /// The request as the connection's last one.
    fn last(&self) -> Vec<u8> {
        let lines = self.head.trim_end().lines().filter(|line| !line.to_lowercase().starts_with("connection:"));
        let head: String = lines.flat_map(|line| [line, "\r\n"]).collect();
        [head.as_bytes(), b"Connection: close\r\n\r\n", &self.body].concat()
    }

    /// Reads the body, so that the client is not cut off while it writes.
    async fn drain(&self, client: &mut TcpStream) -> Result<()> {
        let length: u64 = self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let left = length.saturating_sub(self.body.len() as u64);
        tokio::io::copy(&mut client.take(left), &mut tokio::io::sink()).await.map(drop)
    }
}

/// A number that looks like chance, and is the same for the same seed (Steele, Lea and Flood's SplitMix64).
fn splitmix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
