//! Unrepresentable values: either an error that names the column and the row, or NULL and a count.

use serde_json::{Value, json};
use tests::rig::Rig;
use turntable::{
    config::{self, OnUnrepresentable},
    error::{Error, Kind, Result},
    manifest::Manifest,
    port::Objects,
    publish::Outcome,
    sources::{Context, postgres},
};

use super::{context, fault, options, rows, run, shared};

#[tokio::test(flavor = "multi_thread")]
async fn an_unrepresentable_value_is_named_by_column_and_row_and_never_shown() {
    let url = shared().await;
    for (values, text) in [
        ("('2024-01-01'::date), ('infinity')", "an infinite date: replace it in the query"),
        ("('2024-01-01'::timestamp), ('-infinity')", "an infinite timestamp: replace it in the query"),
        ("('2024-01-01'::timestamptz), ('infinity')", "an infinite timestamp: replace it in the query"),
        ("('2024-01-01'::timestamp), ('294276-12-31')", "a timestamp after the year 294246: replace it in the query"),
        (
            "(1::numeric(5,2)), ('NaN'::numeric(5,2))",
            "NaN or infinity, which a decimal can't represent: replace it in the query",
        ),
        ("('{1}'::int[]), ('{{1,2},{3,4}}')", "a multidimensional array: cast it to text, or unnest it"),
    ] {
        let cast = if values.contains("numeric") { "::numeric(5,2)" } else { "" };
        let error = fault(url, &format!("SELECT v{cast} AS v FROM (VALUES {values}) AS t(v)")).await;
        let or = "or set on_unrepresentable = \"null\" to store NULL";
        assert_eq!(error.message(), format!("table dmp.t, column \"v\", row 2: {text}, {or}"));
        assert_eq!(error.kind(), Kind::Input);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unrepresentable_value_is_null_and_counted_where_the_dataset_says_so() {
    let url = shared().await;
    let query = "SELECT id, day, price::numeric(5,2) AS price, moments, numbers FROM (VALUES
        (1, 'infinity'::date, 'NaN'::numeric(5,2), '{2024-01-01,-infinity,NULL}'::timestamp[], '{1,2}'::int[]),
        (2, '2024-01-01', 'NaN', '{infinity,-infinity}', '{{1},{2}}'),
        (3, NULL, 1.5, NULL, NULL)) AS t (id, day, price, moments, numbers)";
    let context = Context { on_unrepresentable: OnUnrepresentable::Null, ..context() };
    let opened = postgres::open(&options(url, query), &context).await.unwrap();
    let unrepresentable = opened.unrepresentable.clone();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        rows(opened).await.unwrap(),
        [
            [text("1"), None, None, text("{\"2024-01-01 00:00:00\",NULL,NULL}"), text("{1,2}")],
            [text("2"), text("2024-01-01"), None, text("{NULL,NULL}"), None],
            [text("3"), None, text("1.50"), None, None],
        ]
    );
    let counted = [("day", 1), ("moments", 3), ("numbers", 1), ("price", 2)].map(|(name, n)| (name.to_owned(), n));
    assert_eq!(unrepresentable.nulled(), counted.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_one_of_several_parts_is_named_with_its_part() {
    let url = shared().await;
    run(
        url,
        "CREATE TABLE late AS SELECT g AS id, CASE WHEN g = 9000 THEN 'infinity'::date END AS day \
         FROM generate_series(1, 10000) g",
    )
    .await;
    let options =
        config::Postgres { parallel: 2, split_by: Some("id".into()), ..options(url, "SELECT id, day FROM late") };
    let opened = postgres::open(&options, &context()).await.unwrap();
    let error = rows(opened).await.unwrap_err();
    // The second part starts at the median in table order, so row 9,000 is its row 4,001.
    let place = "table dmp.t, column \"day\", row 4001 of part 2 of 2: an infinite date";
    assert!(error.message().starts_with(place), "{}", error.message());
}

/// Exports `query` as the dataset `users`.
async fn export(rig: &Rig, url: &str, query: &str, more: &str) -> Result<Value> {
    let text = format!(
        "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n[datasets.users]\n\
         source = {{ postgres = {{ url = {url:?}, query = {query:?} }} }}\n{more}\n"
    );
    rig.objects.put("s3://lake/datasets.toml", text);
    let answer = rig.export_with(rig.env(), json!({ "dataset": "users" })).await?;
    Ok(serde_json::to_value(answer).unwrap())
}

fn named(error: &Error) -> String {
    format!("{}: {}", error.kind().as_str(), error.message())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counts_are_in_the_manifest_and_the_answer_and_a_check_still_fails() {
    let url = shared().await;
    let query = "SELECT g AS id, CASE WHEN g % 10 = 0 THEN 'infinity'::date ELSE '2024-01-01' END AS \"Day\" \
                 FROM generate_series(1, 20000) g";
    let rig = Rig::default();
    let error = export(&rig, url, query, "").await.unwrap_err();
    assert_eq!(
        named(&error),
        "Input: table dmp.users, column \"day\", row 10: an infinite date: replace it in the query, or set \
         on_unrepresentable = \"null\" to store NULL"
    );

    let null = "on_unrepresentable = \"null\"";
    let answer = export(&rig, url, query, null).await.unwrap();
    assert_eq!((&answer["rows"], &answer["nulled"]), (&json!(20_000), &json!({ "day": 2000 })));
    let generation = answer["generation"].as_str().unwrap().parse().unwrap();
    let key = rig.paths.manifest(&generation);
    let json = Objects::get(&rig.objects, &key).await.unwrap().unwrap();
    let manifest = Manifest::from_json(&key, &generation, &json).unwrap();
    assert_eq!(manifest.nulled, [("day".to_owned(), 2000)].into());
    assert_eq!(rig.flip(&generation).await.unwrap().outcome, Outcome::Committed);

    let answer = export(&rig, url, query, &format!("{null}\nchecks = {{ not_null = [\"day\"] }}")).await.unwrap();
    let second = answer["generation"].as_str().unwrap().parse().unwrap();
    let answer = rig.deliver(&second).await.unwrap();
    assert_eq!(
        (answer.outcome, answer.reasons),
        (Outcome::Rejected, vec!["not_null: day: expected no nulls, found 2000".to_owned()])
    );

    // Without unrepresentable values, the answer has no count.
    let answer = export(&rig, url, "SELECT 1 AS id", null).await.unwrap();
    assert_eq!(answer.get("nulled"), None);
}
