//! The daily job while a reader queries: schedule's payload → export → queue → export → manifest → S3 event → flip.

use local::reader::Reader;
use serde_json::{Value, json};
use turntable::layout::{Colour, Generation};

use super::{Chain, USERS, saw_whole_generations, table, users};

#[tokio::test(flavor = "multi_thread")]
async fn two_days_go_live_one_after_the_other_and_the_reader_notices_nothing() {
    let chain = Chain::start(USERS).await;
    let schedule: Value = serde_json::from_str(include_str!("../../../../events/schedule.json")).unwrap();
    let reader = Reader::start(&chain);
    let mut before = None;
    let mut generations = Vec::new();
    for (day, rows, colour) in [(1, 3000, Colour::Blue), (2, 3500, Colour::Green), (3, 3400, Colour::Blue)] {
        chain.put("source/users/users.csv", users(rows, day)).await.unwrap();
        assert_eq!(chain.ask("export", &schedule).await, json!({ "queued": ["users"] }));
        let generation = chain.next("users", before.as_ref()).await;
        assert_eq!(generation.colour, colour, "day {day}");
        reader.add(&table("users"));
        before = chain.live("users").await;

        let found = chain
            .query(
                "SELECT count(*), count(points), min(id), max(id), min(name), max(name), min(points), max(points), \
                 min(joined), max(joined) FROM dmp.users",
            )
            .await;
        let (nulls, last) = (rows / 7, rows);
        let most = 3 * if last.is_multiple_of(7) { last - 1 } else { last };
        let expected = [
            rows.to_string(),
            (rows - nulls).to_string(),
            "1".into(),
            last.to_string(),
            format!("利用者00001 {day}"),
            format!("利用者{last:05} {day}"),
            "3".into(),
            most.to_string(),
            "2024-01-01".into(),
            "2024-12-28".into(),
        ];
        assert_eq!(found, expected.map(Some), "day {day}");
        is_in_the_log(&chain, &generation, generations.last(), rows).await;
        generations.push(generation);
    }
    let paths = chain.paths("users");
    let expected: Vec<(String, u64)> =
        generations.iter().map(|generation| paths.generation(generation).to_string()).zip([3000, 3500, 3400]).collect();
    saw_whole_generations(&reader.finish().await.unwrap(), &expected);
}

async fn is_in_the_log(chain: &Chain, generation: &Generation, previous: Option<&Generation>, rows: u64) {
    let name = generation.to_string();
    let exported = async || chain.lines("export", "exported").await.into_iter().find(|line| line["generation"] == name);
    let line = chain.until("the export's log line", exported).await;
    assert_eq!((&line["dataset"], &line["rows"], &line["files"]), (&json!("users"), &json!(rows), &json!(1)), "{line}");
    assert!(line["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{line}");
    assert_eq!(line["typed_by"], "Declared");

    let flipped = async || chain.lines("flip", "flip").await.into_iter().find(|line| line["live"] == name);
    let line = chain.until("the flip's log line", flipped).await;
    assert_eq!((&line["dataset"], &line["outcome"]), (&json!("users"), &json!("Swapped")), "{line}");
    let previous = previous.map(Generation::to_string);
    assert_eq!(line.get("previous").and_then(Value::as_str), previous.as_deref(), "{line}");
}
