//! Malicious drops, keys and names on the real chain: each gets a clear answer, uses bounded memory, and doesn't hold
//! up anything else.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use local::FunctionError;
use serde_json::{Value, json};
use tests::process;

use super::{
    Chain,
    optout::{OPTOUTS, OUT, start, unprotected},
};

const HEADER: &str = "user_id,state,occurred_at\n";
const REST: &str = "opted_out,2026-01-01T00:00:00Z\n";

/// The limit that the tests set on `optout`'s resident memory, in MB of 2²⁰ bytes. The deployed function has 3,008.
const MOST: f64 = 512.0;

fn gz(text: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(text).unwrap();
    gz.finish().unwrap()
}

/// Returns a zstd stream of `head` and `times` copies of `unit`, with a window of 2^`window` bytes.
fn zst(head: &str, unit: &str, times: usize, window: u32) -> Vec<u8> {
    let mut zst = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zst.window_log(window).unwrap();
    zst.write_all(head.as_bytes()).unwrap();
    let many = unit.repeat((1 << 20) / unit.len());
    for _ in 0..times / (many.len() / unit.len()) {
        zst.write_all(many.as_bytes()).unwrap();
    }
    for _ in 0..times % (many.len() / unit.len()) {
        zst.write_all(unit.as_bytes()).unwrap();
    }
    zst.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exploding_drop_is_rejected_in_bounded_memory_and_delays_no_others() {
    let chain = start(&unprotected(OPTOUTS)).await;
    let deep = |name: &str| format!("{{\"{name}\":{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let names: String = (0..1_000_000).map(|n| format!("\"{n}\":1,")).collect();
    let line = "record longer than 16 MB: check for an unclosed quote";
    let at = |name: &str| format!("s3://{}/inbox/optouts/{name}", chain.bucket);
    let cases: Vec<(&str, Vec<u8>, Value)> = vec![
        (
            "line.csv.gz",
            gz(&[HEADER.as_bytes(), &vec![b'x'; 100 << 20]].concat()),
            json!({ "line": 2, "reason": line }),
        ),
        (
            "line.ndjson.zst",
            zst("{\"user_id\":\"", "x", 1 << 30, 20),
            json!({ "line": 1, "reason": "line longer than 16 MB; the rest of the drop is not read" }),
        ),
        (
            "records.csv.zst",
            zst(HEADER, &format!("7,{REST}"), 5_000_001, 20),
            json!({ "reason": format!("{} has more than 5,000,000 records: split the drop", at("records.csv.zst")) }),
        ),
        (
            "blank.csv.zst",
            zst(HEADER, "\n", 2 << 30, 20),
            json!({ "reason": format!("{} has more than 5,000,000 records: split the drop", at("blank.csv.zst")) }),
        ),
        (
            "blank.ndjson.zst",
            zst("", "\n", 2 << 30, 20),
            json!({ "reason": format!("{} has more than 1 GB of text: split the drop", at("blank.ndjson.zst")) }),
        ),
        (
            "window.csv.zst",
            zst(HEADER, &format!("7,{REST}"), 1000, 27),
            json!({ "reason": format!("{} is damaged or not zstd: replace the file: Frame requires too much memory for decoding", at("window.csv.zst")) }),
        ),
        (
            "wide.csv.gz",
            gz(&[b','; 10_000_000]),
            json!({ "reason": format!("{}: line 1: record with more than 10,000 fields", at("wide.csv.gz")) }),
        ),
        (
            "names.json.gz",
            gz(format!("{{{names}\"user_id\":7}}").as_bytes()),
            json!({ "line": 1, "reason": "an object with more than 10,000 names" }),
        ),
        (
            "deep.json",
            format!("{},\"state\":1}}\n", deep("user_id")).into_bytes(),
            json!({ "line": 1, "reason": "user_id is not a single value" }),
        ),
        (
            "utf8.csv",
            [HEADER.as_bytes(), b"\xff\xfe,opted_out,2026-01-01T00:00:00Z\n"].concat(),
            json!({ "line": 2, "reason": "invalid UTF-8" }),
        ),
        ("good.csv", format!("{HEADER}1,{REST}").into(), Value::Null),
        // Fields that no column needs may be nested to any depth.
        (
            "good.json",
            format!("{},\"user_id\":2,\"state\":\"opted_out\",\"occurred_at\":\"2026-01-01T00:00:00Z\"}}\n", deep("x"))
                .into(),
            Value::Null,
        ),
    ];
    // These are more drops than a refresh reads at the same time.
    let bomb = zst(HEADER, "x", 64 << 20, 20);
    for number in 0..64 {
        chain.put(&format!("inbox/optouts/bomb-{number}.csv.zst"), bomb.clone()).await.unwrap();
    }
    for (name, drop, _) in &cases {
        chain.put(&format!("inbox/optouts/{name}"), drop.clone()).await.unwrap();
    }
    chain.next("optouts", None).await;
    chain.until_number(OUT, 2).await;
    let rejected = async || {
        let rejected = chain.keys("inbox/optouts/_rejected/").await;
        (rejected.len() == cases.len() - 2 + 64).then_some(rejected)
    };
    let rejected = chain.until("all rejects", rejected).await;
    for (name, drop, expected) in cases.iter().filter(|(.., expected)| !expected.is_null()) {
        let key = rejected.iter().find(|key| key.contains(&format!("/{name}-"))).unwrap_or_else(|| panic!("{name}"));
        let file: Value = serde_json::from_slice(&chain.get(key).await.unwrap()).unwrap();
        assert_eq!(&file["records"][0], expected, "{name} of {} bytes", drop.len());
    }
    let processes = process::having(&format!("AWS_LAMBDA_FUNCTION_NAME={}", chain.functions["optout"]));
    let peaks: Vec<f64> = processes.iter().filter_map(|process| process.status("VmHWM")).collect();
    println!("optout had at the most {peaks:?} MB resident");
    assert!(!peaks.is_empty() && peaks.iter().all(|peak| *peak < MOST), "{peaks:?}");
}

/// Names that S3 allows, but that encodings in URLs, events, shells or XML listings could corrupt.
const KEYS: [&str; 8] =
    ["a b", "a+b", "100%", "a%2Bb%20c", "two\nlines", "利用者/オプトアウト", "\"q'&<x>", "${jndi:x}{table}"];

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_any_characters_are_drops_and_sources() {
    let users = r#"
[datasets.users]
source = { files = { location = "s3://${BUCKET}/source/会員 +%20/", columns = { id = "bigint" } } }
"#;
    let chain = start(&format!("{users}{}", unprotected(OPTOUTS))).await;
    for (person, key) in KEYS.iter().enumerate() {
        chain.drop(&format!("{key}.csv"), &format!("{},{REST}", person + 1)).await;
        chain.put(&format!("source/会員 +%20/{key}.csv"), format!("id\n{person}\n")).await.unwrap();
    }
    // Each drop is merged once, only because of its event.
    chain.next("optouts", None).await;
    chain.until_number(OUT, KEYS.len() as u64).await;
    chain.until("the queue to be empty", async || (chain.waiting_nudges().await == 0).then_some(())).await;
    assert_eq!(chain.ask("optout", &json!({ "dataset": "optouts" })).await["drops"], 0);
    let exported = chain.ask("export", &json!({ "dataset": "users" })).await;
    assert_eq!(exported["rows"], KEYS.len());
    // The log names an unreadable drop, in one line.
    chain.drop("bad\n{\"level\":\"ERROR\"}.csv", "x\n").await;
    chain.until("the reject", async || (chain.keys("inbox/optouts/_rejected/").await.len() == 1).then_some(())).await;
    let logs = chain.logs("optout", 0).await.unwrap();
    assert!(logs.iter().all(Value::is_object), "{logs:#?}");
    assert!(logs.iter().all(|line| line["level"] != "ERROR"), "{logs:#?}");
}

/// Column names that would end an identifier, a literal or a statement if they weren't quoted. Glue's names are lower
/// case.
const COLUMNS: [&str; 6] = [
    "a\" from dmp.secret --",
    "b'; drop table dmp.users; --",
    "c`, 1 as d",
    "{table}",
    "e\\\" or 1=1",
    "選択 (select count(*) from dmp.secret)",
];

#[tokio::test(flavor = "multi_thread")]
async fn names_that_try_to_break_out_stay_names() {
    let quoted = |name: &str| serde_json::to_string(name).unwrap();
    let columns: String = COLUMNS.iter().map(|name| format!("{} = \"string\", ", quoted(name))).collect();
    let list = COLUMNS.map(quoted).join(", ");
    let datasets = format!(
        "[datasets.users]\nsource = {{ files = {{ location = \"s3://${{BUCKET}}/source/\", columns = {{ {columns}id = \"bigint\" }} }} }}\n\
         checks = {{ not_null = [{list}], unique = [[{list}], [\"id\"]], \
         sql = [\"SELECT count(*) = 2 FROM {{table}} WHERE id > 0\"] }}\n\
         [datasets.optouts]\nsource = {{ inbox = {{ location = \"s3://${{BUCKET}}/inbox/optouts\", key = {}, columns = {{ {} = \"string\" }} }} }}\n\
         protects = {{ users = {} }}\n",
        quoted(COLUMNS[1]),
        quoted(COLUMNS[1]),
        quoted(COLUMNS[0])
    );
    let chain = start(&datasets).await;
    let field = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let header = COLUMNS.map(field).join(",");
    chain.put("source/users.csv", format!("{header},id\na1,b1,c1,d1,e1,f1,1\na2,b2,c2,d2,e2,f2,2\n")).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    chain.next("users", None).await;
    let drop = format!("{},state,occurred_at\na1,{REST}", field(COLUMNS[1]));
    chain.put("inbox/optouts/1.csv", drop).await.unwrap();
    chain.until("the view", async || chain.table("users_protected").await).await;
    let all = COLUMNS.map(|name| format!("max({})", field(name))).join(", ");
    let row = chain.query(&format!("SELECT count(*), {all} FROM dmp.users_protected")).await;
    let row: Vec<&str> = row.iter().map(|cell| cell.as_deref().unwrap_or("null")).collect();
    assert_eq!(row, ["1", "a2", "b2", "c2", "d2", "e2", "f2"]);
    assert_eq!(
        chain.number(&format!("SELECT count(*) FROM dmp.optouts_active WHERE {} = 'a1'", field(COLUMNS[1]))).await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_databases_of_other_characters_are_refused() {
    let chain = Chain::start("").await;
    let mut wrong = Vec::new();
    for name in ["a\"b", "a; drop table x", "a'b", "a/b", "../a", "a b", "A", "日本", "a\nb", "a`b", ""] {
        let name = serde_json::to_string(name).unwrap();
        let source = "source = { files = { location = \"s3://${BUCKET}/in/\" } }";
        for entries in [
            format!("[datasets.{name}]\n{source}\n"),
            format!("[datasets.a]\n{source}\ndatabase = {name}\n"),
            format!("[datasets.a]\n{source}\ntable = {name}\n"),
        ] {
            chain.datasets(&entries).await;
            match chain.answer("export", &json!({})).await {
                Err(FunctionError { error_type, .. }) if error_type == "Config" => {}
                answer => wrong.push(format!("{entries}: {answer:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
