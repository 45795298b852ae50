//! Column names, and the shapes of queries and results.

use turntable::error::Kind;

use super::{fault, fetch, open, rows, run, shared};

#[tokio::test(flavor = "multi_thread")]
async fn names_are_lower_case_and_every_column_has_one() {
    let server = shared().await;
    let url = server.url();
    let opened = open(&url, "SELECT 1 AS Id, 2 AS `Größe cm`, now() AS at -- a comment at the end").await.unwrap();
    let names: Vec<_> = opened.rows.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "größe cm", "at"]);
    for (query, text) in [
        ("SELECT count(*)", "column 1 of the query has no name: give it one with AS"),
        ("SELECT 1 AS a, 1 + 1", "column 2 of the query has no name: give it one with AS"),
        (
            "SELECT 1 AS a, 2 AS A",
            "the query has two columns named \"a\" (Glue's names are lower case): rename one with AS",
        ),
        ("SELECT ? AS a", "the source's query has parameters (?, or :name): replace them with values"),
        ("DROP TABLE users_of_mars", "the source's query returns no columns: expected a SELECT"),
    ] {
        let error = fault(&url, query).await;
        assert_eq!((error.message(), error.kind()), (text, Kind::Input), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn computed_columns_have_their_own_types() {
    let server = shared().await;
    let url = server.url();
    run(server, "CREATE TABLE sums (n int, p decimal(30,2)); INSERT INTO sums VALUES (1, 1.5), (2, 2.25)").await;
    let query = "SELECT sum(n) AS s, avg(n) AS a, sum(p) AS long_, CAST(sum(p) AS DECIMAL(38,2)) AS cut, NULL AS nothing, \
                 min(n) > 1 AS more, concat('x', min(n)) AS t, sec_to_time(min(n)) AS clock, curdate() >= '2020-01-01' AS later, \
                 'it''s 12:30 :name ? \\\\' AS quoted FROM sums";
    let opened = open(&url, query).await.unwrap();
    let boolean = if server.is_mysql() { "bigint" } else { "int" };
    let types: Vec<_> = turntable::parquet::arrow_types::columns(&opened.rows.schema)
        .unwrap()
        .into_iter()
        .map(|c| c.glue_type)
        .collect();
    assert_eq!(
        types,
        [
            "decimal(32,0)",
            "decimal(14,4)",
            "string",
            "decimal(38,2)",
            "string",
            boolean,
            "string",
            "string",
            boolean,
            "string"
        ]
    );
    let found = rows(opened).await.unwrap();
    let texts: Vec<_> = found[0].iter().map(Option::as_deref).collect();
    let expected = [
        Some("3"),
        Some("1.5000"),
        Some("3.75"),
        Some("3.75"),
        None,
        Some("0"),
        Some("x1"),
        Some("00:00:01"),
        Some("1"),
        Some("it's 12:30 :name ? \\"),
    ];
    assert_eq!(texts, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_tables_and_many_batches_are_whole() {
    let server = shared().await;
    let url = server.url();
    run(server, "CREATE TABLE nobody (id int)").await;
    assert_eq!(fetch(&url, "SELECT * FROM nobody").await.unwrap().len(), 0);
    let found = fetch(&url, "SELECT seq AS n, if(seq % 3 = 0, NULL, concat('名', seq)) AS t FROM seq_1_to_30000")
        .await
        .unwrap();
    assert_eq!(found.len(), 30_000);
    for (at, row) in found.iter().enumerate() {
        let n = at + 1;
        assert_eq!(row[0], Some(n.to_string()));
        assert_eq!(row[1], (n % 3 > 0).then(|| format!("名{n}")));
    }
}
