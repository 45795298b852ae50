//! Attacks a running stack: for some seconds, a web page and users outside the stack, with policies such as those in
//! `infra/policies`, try in random order everything that they may not do. They change only what they may change, and
//! what they did is reported.
//!
//! `TURNTABLE_HOSTILE_SECONDS` sets the time, and `SEED` repeats a run. docs/threat-model.md has the attacks.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tests::random::variable;

use super::{
    Chain, USERS,
    optout::{OPTOUTS, OUT, start},
    users,
};

const PROTECTED: &str = "SELECT count(*) FROM dmp.users_protected";
const PEOPLE: &str = "SELECT count(*) FROM dmp.users";
const ULID: &str = "01JD675EJRSSKNZWWST95906C6";
/// The number of people who are opted out, and the number of all people.
const OUT_OF: (u64, u64) = (20, 100);
/// What every forged object contains.
const FORGED: &str = "forged";

/// A request as a program without an SDK sends it. `user` is the IAM user, and `None` is a web page.
#[derive(Debug, Clone)]
struct Request {
    user: Option<&'static str>,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// The IAM users outside the stack. [`policy`] returns the policy of each.
const USERS_OUTSIDE: [&str; 5] = ["partner", "reader", "invoker", "careless", "watcher"];

/// Returns a principal's policy, with the stack's names.
fn policy(chain: &Chain, user: &str) -> String {
    let allow = |action: &str, resources: Value| {
        let statement = json!({ "Effect": "Allow", "Action": action, "Resource": resources });
        json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
    };
    let function = |name: &str| format!("arn:aws:lambda:REGION:ACCOUNT:function:STACK-{name}");
    let text = match user {
        // As many engineers may.
        "careless" => allow("s3:*", json!("*")),
        // What events may, and somebody who only needs the status.
        "watcher" => allow("lambda:InvokeFunction", json!([function("flip"), function("optout")])),
        user => {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../infra/policies/{user}.json"));
            fs::read_to_string(file).unwrap()
        }
    };
    let names = [
        ("ACCOUNT", chain.account.as_str()),
        ("REGION", cli::laptop::REGION),
        ("STACK", &chain.name),
        ("BUCKET", &chain.bucket),
        ("DATABASE", "dmp"),
        ("INBOX", "inbox/optouts"),
        ("TABLES", "schemas"),
        ("READERS", "readers"),
        ("RESULTS", "readers-results"),
    ];
    names.into_iter().fold(text, |text, (name, value)| text.replace(name, value))
}

/// Creates the principals.
async fn principals(chain: &Chain) {
    for user in USERS_OUTSIDE {
        let policy = policy(chain, user);
        let given = json!({ "UserName": user, "PolicyName": "own", "PolicyDocument": policy });
        for (operation, request) in [("CreateUser", json!({ "UserName": user })), ("PutUserPolicy", given)] {
            chain.stack.account.call("iam", operation, request).await.unwrap_or_else(|error| panic!("{error:#}"));
        }
    }
}

impl Request {
    fn of(user: &'static str, method: &'static str, path: String) -> Request {
        Request { user: Some(user), method, path, headers: Vec::new(), body: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: &str) -> Request {
        self.headers.push((name, value.into()));
        self
    }

    fn containing(self, body: impl Into<Vec<u8>>) -> Request {
        Request { body: body.into(), ..self }
    }

    /// Returns the response's status, its head in lower case, and its body.
    fn send(&self, chain: &Chain) -> (u16, String, String) {
        let host = chain.aws.endpoint_url().unwrap().strip_prefix("http://").unwrap();
        let Request { user, method, path, headers, body } = self;
        let service = match path.as_str() {
            "/" => "glue",
            path if path.starts_with("/2015-03-31/") => "lambda",
            _ => "s3",
        };
        let credential = format!("{}/20260101/{}/{service}", chain.access_key, cli::laptop::REGION);
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential={credential}/aws4_request, SignedHeaders=host, Signature=0\r\n",
            body.len()
        );
        match user {
            Some(user) => head += &format!("User-Agent: attack app/as-{user}\r\n"),
            None => head += "User-Agent: Mozilla/5.0\r\n",
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }
}

/// Keys at which only the stack's roles or the deployers write.
fn records() -> Vec<String> {
    let table = |name: &str| format!("schemas/users/{name}");
    vec![
        table(&format!("_manifests/blue-{ULID}.json")),
        table(&format!("_flips/{ULID}.json")),
        table("_hold.json"),
        table("_table.json"),
        table(&format!("_pending/blue-{ULID}.json")),
        table(&format!("_returns/{ULID}.json")),
        table(&format!("_sweeping/blue-{ULID}.json")),
        "schemas/_groups/core.json".into(),
        "_retired/schemas/users.json".into(),
        "inbox/optouts/_published.json".into(),
        "inbox/optouts/_rejected/1.json".into(),
        format!("inbox/optouts/x/_manifests/blue-{ULID}.json"),
        "_archive/inbox/optouts/1/1.csv".into(),
        "datasets.toml".into(),
        "tls/ca.pem".into(),
    ]
}

/// Returns the requests that must be denied. `live` is the key of a file that readers read.
fn denied(chain: &Chain, live: &str) -> Vec<Request> {
    let object = |key: &str| format!("/{}/{key}", chain.bucket);
    let put = |user, key: &str| Request::of(user, "PUT", object(key)).containing(FORGED);
    let invoke = |user, function: &str, alias: &str| {
        let path = format!("/2015-03-31/functions/{}/invocations{alias}", chain.functions[function]);
        Request::of(user, "POST", path).containing(r#"{"dataset": "users", "action": "rollback", "reason": "r"}"#)
    };
    let glue = |user, operation: &str, body: &str| {
        let request = Request::of(user, "POST", "/".into()).containing(body);
        request.with("X-Amz-Target", &format!("AWSGlue.{operation}")).with("Content-Type", "application/x-amz-json-1.1")
    };
    let mut all = Vec::new();
    for user in USERS_OUTSIDE {
        all.extend(records().iter().map(|key| put(user, key)));
        all.push(put(user, live));
        all.push(glue(user, "DeleteTable", r#"{"DatabaseName": "dmp", "Name": "users"}"#));
        all.push(glue(user, "UpdateTable", r#"{"DatabaseName": "dmp", "TableInput": {"Name": "users"}}"#));
        for (function, alias) in [("flip", "?Qualifier=operator"), ("optout", "?Qualifier=operator"), ("sweep", "")] {
            all.push(invoke(user, function, alias));
        }
    }
    for user in ["partner", "reader", "invoker", "careless"] {
        all.extend([invoke(user, "flip", ""), invoke(user, "optout", "")]);
    }
    for user in ["partner", "reader", "invoker", "watcher"] {
        all.extend([put(user, "inbox/other/1.csv"), put(user, "_athena/1.csv"), put(user, "source/users/1.csv")]);
        all.push(Request::of(user, "DELETE", object(live)));
        all.push(Request::of(user, "GET", object("inbox/optouts/first.csv")));
    }
    let kept = records().into_iter().filter(|key| !key.contains("/_rejected/"));
    all.extend(kept.map(|key| Request::of("careless", "DELETE", object(&key))));
    // Drops that S3 lists and doesn't serve.
    for user in ["partner", "careless"] {
        let bad = || put(user, "inbox/optouts/unreadable.csv");
        all.push(bad().with("x-amz-storage-class", "GLACIER"));
        all.push(bad().with("x-amz-storage-class", "DEEP_ARCHIVE"));
        all.push(bad().with("x-amz-server-side-encryption-customer-algorithm", "AES256"));
        all.push(bad().with("x-amz-server-side-encryption", "aws:kms"));
    }
    all
}

/// Returns the requests that the watcher may send but the functions refuse, because only operators may decide such
/// things.
fn refused(chain: &Chain) -> Vec<Request> {
    let of = |function: &str, request: Value| {
        let path = format!("/2015-03-31/functions/{}/invocations", chain.functions[function]);
        Request::of("watcher", "POST", path).containing(request.to_string())
    };
    let of_users = |mut request: Value| {
        request["dataset"] = json!("users");
        of("flip", request)
    };
    vec![
        of_users(json!({ "action": "rollback", "reason": "r" })),
        of_users(json!({ "action": "hold", "reason": "r" })),
        of_users(json!({ "action": "release" })),
        of_users(json!({ "action": "retire", "table": "drop", "reason": "r" })),
        of_users(json!({ "generation": format!("blue-{ULID}") })),
        of("optout", json!({ "dataset": "optouts", "max_returning": 1_000_000 })),
    ]
}

/// Returns the web page's requests.
fn pages(chain: &Chain) -> Vec<Request> {
    let page = |method, path: &str| {
        let request = Request::of("", method, format!("/{}/{path}", chain.bucket)).containing(FORGED);
        Request { user: None, ..request }
    };
    vec![
        page("PUT", "datasets.toml").with("Origin", "https://evil.example"),
        page("GET", "datasets.toml").with("Origin", "null"),
        page("DELETE", "source/users/users.csv").with("Sec-Fetch-Site", "cross-site"),
        page("OPTIONS", "").with("Access-Control-Request-Method", "PUT"),
    ]
}

/// Returns drops that the partner may put: names with their contents. They bring everybody back, or keep `optout` busy.
fn drops() -> Vec<(String, Vec<u8>)> {
    let header = "user_id,state,occurred_at\n";
    let all = |state: &str, at: &str| -> Vec<u8> {
        (1..=OUT_OF.0).fold(header.to_owned(), |text, id| text + &format!("{id},{state},{at}\n")).into()
    };
    let gz = |text: &[u8]| {
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(text).unwrap();
        gz.finish().unwrap()
    };
    let bomb = format!("{header}{}", "x,opted_out,2026-01-01T00:00:00Z\n".repeat(20_000));
    vec![
        ("back.csv".into(), all("opted_in", "2026-06-01T00:00:00Z")),
        ("back.csv.gz".into(), gz(&all("opted_in", "2026-07-01T00:00:00Z"))),
        ("future.csv".into(), all("opted_in", "2099-01-01T00:00:00Z")),
        ("bomb-1.csv.gz".into(), gz(bomb.as_bytes())),
        ("bomb-2.csv.gz".into(), gz(bomb.as_bytes())),
        ("line.csv.gz".into(), gz(&[header.as_bytes(), &vec![b'x'; 20 << 20]].concat())),
        ("no.csv.gz".into(), b"\x1f\x8b\x08no".to_vec()),
        ("no.parquet".into(), b"PAR1no\xff\xff\xff\x7fPAR1".to_vec()),
        ("no.json.zst".into(), vec![0x28, 0xb5, 0x2f, 0xfd, 0xff]),
        ("forged.csv".into(), FORGED.into()),
    ]
}

/// Returns the objects of the stack's bucket with their ETags.
async fn objects(chain: &Chain) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut pages = chain.s3.list_objects_v2().bucket(&chain.bucket).into_paginator().send();
    while let Some(page) = pages.next().await {
        for object in page.unwrap().contents.unwrap_or_default() {
            found.insert(object.key.unwrap(), object.e_tag.unwrap());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_changes_but_what_each_principal_may_change() {
    let chain =
        start(&format!("{USERS}{}", OPTOUTS.replace("key = ", "max_returning = 1, key = "))).await.enforced().await;
    chain.put("source/users/users.csv", users(OUT_OF.1, 1)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    let first = chain.next("users", None).await;
    let out = |ids: std::ops::RangeInclusive<u64>| -> String {
        ids.map(|id| format!("{id},opted_out,2026-01-01T00:00:00Z\n")).collect()
    };
    chain.drop("first.csv", &out(1..=OUT_OF.0)).await;
    chain.until_number(OUT, OUT_OF.0).await;
    chain.until("the view", async || chain.table("users_protected").await).await;
    principals(&chain).await;
    chain.put("tls/ca.pem", "-").await.unwrap();
    let before = objects(&chain).await;
    let live = chain.paths("users").generation(&first).prefix.clone();
    let live = before.keys().find(|key| key.starts_with(&live) && key.ends_with(".parquet")).unwrap().clone();

    let seed = variable("SEED").unwrap_or_else(|| SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs());
    let time = Duration::from_secs(variable("TURNTABLE_HOSTILE_SECONDS").unwrap_or(5));
    let tried = tokio::task::block_in_place(|| attack(&chain, &live, seed, time));

    // Nothing has changed: neither what is live, nor who is out, nor any object that was there.
    chain.until("the queue to be empty", async || (chain.waiting_nudges().await == 0).then_some(())).await;
    assert_eq!(chain.number(PEOPLE).await, OUT_OF.1, "seed {seed}");
    assert_eq!(
        (chain.number(OUT).await, chain.number(PROTECTED).await),
        (OUT_OF.0, OUT_OF.1 - OUT_OF.0),
        "seed {seed}"
    );
    let after = objects(&chain).await;
    let forged: Vec<&String> =
        after.iter().filter(|(_, etag)| **etag == after["inbox/optouts/forged.csv"]).map(|it| it.0).collect();
    assert_eq!(forged, ["inbox/optouts/forged.csv"], "seed {seed}");
    // The functions' own records about their work may change.
    let own = |key: &str| key.starts_with("_stacks/") || key.ends_with("/_returning.json");
    for (key, etag) in before.iter().filter(|(key, _)| !own(key)) {
        assert_eq!(after.get(key), Some(etag), "seed {seed}: {key}");
    }
    let places = ["inbox/optouts/", "schemas/optouts/", "schemas/users/", "_stacks/", "_athena/"];
    for key in after.keys().filter(|key| !before.contains_key(*key)) {
        assert!(places.iter().any(|place| key.starts_with(place)), "seed {seed}: {key}");
    }

    // Everything is reported: who would come back, and what was rejected.
    let status = chain.ask("flip", &json!({ "action": "status" })).await;
    let attention = status["attention"].to_string();
    assert!(attention.contains("max_returning: 2 drops would bring back"), "seed {seed}: {attention}");
    let rejected = chain.keys("inbox/optouts/_rejected/").await;
    for (name, _) in drops().iter().filter(|(name, _)| !name.starts_with("back")) {
        assert!(rejected.iter().any(|key| key.contains(&format!("/{name}-"))), "seed {seed}: {name} of {rejected:?}");
    }
    // And an honest drop still counts.
    chain.drop("last.csv", &out(OUT_OF.0 + 1..=OUT_OF.0 + 1)).await;
    chain.until_number(OUT, OUT_OF.0 + 1).await;
    println!("seed {seed}: {tried:?}");
}

/// Tries each attack once, and then random ones until the time is up. In between, sends what each user is meant to
/// send.
fn attack(chain: &Chain, live: &str, seed: u64, time: Duration) -> BTreeMap<&'static str, usize> {
    let (denied, refused, pages) = (denied(chain, live), refused(chain), pages(chain));
    let (mut drops, mut tried, mut exports) = (drops(), BTreeMap::new(), 0);
    let mut random = seed;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let mut order: Vec<usize> = (0..denied.len()).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, next(at + 1));
    }
    let begin = Instant::now();
    for at in 0.. {
        if at >= order.len() && begin.elapsed() > time {
            break;
        }
        let request = &denied[order.get(at).copied().unwrap_or_else(|| next(denied.len()))];
        let (status, _, body) = request.send(chain);
        let user = request.user.unwrap();
        let told = format!("user/{user} is not authorized to perform: ");
        assert!(matches!(status, 400 | 403) && body.contains(&told), "seed {seed}: {request:?}: {status} {body}");
        *tried.entry(user).or_insert(0) += 1;
        if at % 8 == 0 {
            let (status, head, _) = pages[next(pages.len())].send(chain);
            assert!(status == 403 && !head.contains("access-control-"), "seed {seed}: {head}");
            let request = &refused[next(refused.len())];
            let (status, head, body) = request.send(chain);
            assert!(status == 200 && head.contains("x-amz-function-error"), "seed {seed}: {request:?}: {head}");
            assert!(body.contains(":operator"), "seed {seed}: {request:?}: {body}");
            *tried.entry("refused by functions").or_insert(0) += 1;
        }
        if at % 16 == 0
            && let Some((name, drop)) = drops.pop()
        {
            let put = Request::of("partner", "PUT", format!("/{}/inbox/optouts/{name}", chain.bucket)).containing(drop);
            let (status, _, body) = put.send(chain);
            assert_eq!(status, 200, "seed {seed}: {name}: {body}");
        }
        if at % 64 == 0 && exports < 3 {
            exports += 1;
            let path = format!("/2015-03-31/functions/{}/invocations", chain.functions["export"]);
            let export = Request::of("invoker", "POST", path).containing(r#"{"dataset": "users"}"#);
            let (status, head, body) = export.send(chain);
            assert!(status == 200 && !head.contains("x-amz-function-error"), "seed {seed}: {body}");
            let get = Request::of("reader", "GET", format!("/{}/{live}", chain.bucket));
            assert_eq!(get.send(chain).0, 200, "seed {seed}");
        }
    }
    assert!(drops.is_empty());
    tried
}
