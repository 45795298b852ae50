//! Simulates an overloaded AWS: a proxy that rejects a fixed share of each service's requests, with that service's own
//! errors.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Result, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::random::Random;

/// How many of every hundred requests to a service are rejected before they have any effect.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Rejected with `ThrottlingException`, `RequestThrottled` or `SlowDown`.
    pub throttled: u64,
    /// Rejected with status 500.
    pub failed: u64,
}

/// The fate of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
    Throttled,
    Fails,
}

impl Rates {
    /// Returns the fate of the `number`-th request to a service, counted from 0.
    ///
    /// Requests are dealt from decks: with 8 % throttled and 2 % failed, each 50 requests in a row have exactly 4
    /// throttled and 1 failed among them. Chance decides only their places, so every service gets some rejections.
    fn fate(self, seed: u64, number: u64) -> Fate {
        let unit = [self.throttled, self.failed, 100].into_iter().fold(0, greatest_common_divisor);
        let size = 100 / unit;
        let (throttled, refused) = (self.throttled / unit, (self.throttled + self.failed) / unit);
        let mut random = Random::new(seed ^ (number / size).wrapping_mul(0x9e37_79b9));
        let mut places: Vec<u64> = (0..size).collect();
        // Fisher-Yates shuffle.
        for at in (1..places.len()).rev() {
            places.swap(at, random.below(at as u64 + 1) as usize);
        }
        match places[(number % size) as usize] {
            place if place < throttled => Fate::Throttled,
            place if place < refused => Fate::Fails,
            _ => Fate::Passes,
        }
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// How many requests to a service passed, and how many were rejected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub passed: u64,
    pub throttled: u64,
    pub failed: u64,
}

impl Count {
    fn all(self) -> u64 {
        self.passed + self.throttled + self.failed
    }
}

/// A set of proxies that share their counts. Each runs until its runtime ends.
#[derive(Clone)]
pub struct Throttle {
    rates: Rates,
    seed: u64,
    counts: Arc<Mutex<BTreeMap<&'static str, Count>>>,
}

impl Throttle {
    pub fn new(rates: Rates, seed: u64) -> Throttle {
        Throttle { rates, seed, counts: Arc::default() }
    }

    /// Starts a proxy in front of this endpoint, and returns the proxy's own endpoint.
    pub async fn before(&self, endpoint: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (throttle, endpoint) = (self.clone(), endpoint.trim_start_matches("http://").to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (throttle, endpoint) = (throttle.clone(), endpoint.clone());
                // The result is ignored: clients must survive a broken connection too.
                tokio::spawn(async move { throttle.serve(client, &endpoint).await });
            }
        });
        format!("http://{address}")
    }

    /// Returns the counts by service. For S3, there is one count for each class of requests: `S3 GET`, `S3 PUT`, `S3
    /// LIST` and `S3 DELETE`. The others are `AWSGlue`, `AmazonAthena`, `AmazonSQS` and `secretsmanager`.
    pub fn counts(&self) -> BTreeMap<&'static str, Count> {
        self.counts.lock().expect("no test panics with it").clone()
    }

    /// Serves a connection's only request: the answer closes the connection.
    async fn serve(&self, mut client: TcpStream, endpoint: &str) -> Result<()> {
        let Some(request) = Head::read(&mut client).await? else { return Ok(()) };
        match self.refusal(request.service()) {
            None => {
                let mut server = TcpStream::connect(endpoint).await?;
                server.write_all(&request.last(endpoint)).await?;
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
        let mut counts = self.counts.lock().expect("no test panics with it");
        let count = counts.entry(service).or_default();
        let status = match self.rates.fate(self.seed, count.all()) {
            Fate::Throttled => {
                count.throttled += 1;
                if service.starts_with("S3") { 503 } else { 400 }
            }
            Fate::Fails => {
                count.failed += 1;
                500
            }
            Fate::Passes => {
                count.passed += 1;
                return None;
            }
        };
        Some(refused(service, status))
    }
}

/// Returns an error response with the service's own error code, as documented in Glue's and Athena's API references
/// ("Common Errors"), SQS's JSON protocol, and S3's "Error responses".
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

/// The head of a request, and the part of its body that arrived with it.
struct Head {
    head: String,
    body: Vec<u8>,
}

impl Head {
    /// Reads a request's head. Returns `None` if the client hung up first.
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

    /// Returns the head and as much of the body as has arrived, with `Connection: close` and the endpoint's own `Host`,
    /// because the endpoint refuses requests for another host.
    fn last(&self, endpoint: &str) -> Vec<u8> {
        let replaced = |line: &&str| ["connection:", "host:"].iter().any(|name| line.to_lowercase().starts_with(name));
        let lines = self.head.trim_end().lines().filter(|line| !replaced(line));
        let head: String = lines.flat_map(|line| [line, "\r\n"]).collect();
        [head.as_bytes(), format!("Host: {endpoint}\r\nConnection: close\r\n\r\n").as_bytes(), &self.body].concat()
    }

    /// Reads the rest of the body, so that the client isn't cut off while it writes.
    async fn drain(&self, client: &mut TcpStream) -> Result<()> {
        let length: u64 = self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let left = length.saturating_sub(self.body.len() as u64);
        tokio::io::copy(&mut client.take(left), &mut tokio::io::sink()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deck_has_its_share_of_refusals() {
        let rates = Rates { throttled: 8, failed: 2 };
        let partition_by_bucket = |seed: u64| (0..5000).map(|number| rates.fate(seed, number)).collect::<Vec<_>>();
        for deck in partition_by_bucket(6).chunks(50) {
            let of = |fate: Fate| deck.iter().filter(|partition_by_bucket| **partition_by_bucket == fate).count();
            assert_eq!((of(Fate::Throttled), of(Fate::Fails), of(Fate::Passes)), (4, 1, 45));
        }
        assert_eq!(partition_by_bucket(6), partition_by_bucket(6));
        assert_ne!(partition_by_bucket(6), partition_by_bucket(7));
        assert_ne!(partition_by_bucket(6)[..50], partition_by_bucket(6)[50..100]);
        let never = Rates { throttled: 0, failed: 0 };
        assert_eq!(never.fate(6, 3), Fate::Passes);
    }
}
