//! Projected partitions, with in-memory ports: what a flip writes into the table, and what it rejects.

use aws_sdk_glue::types::{Column, StorageDescriptor, TableInput};
use serde_json::json;
use tests::rig::Rig;
use turntable::{
    error::{Error, Kind},
    layout::Generation,
    publish::Outcome,
};

const COLUMNS: &str = "id = \"bigint\", dt = \"date\", n = \"int\", pref = \"string\"";
const BY: &str = "partition_by = [\"dt\", \"N\", \"pref\"]\n";

fn rig(more: &str) -> Rig {
    let rig = Rig::default();
    rig.configure(COLUMNS, more);
    rig
}

fn csv(rows: &[&str]) -> String {
    format!("id,dt,n,pref\n{}\n", rows.join("\n"))
}

async fn publish(rig: &Rig, rows: &[&str]) -> Generation {
    let generation = rig.export_csv(&csv(rows)).await;
    assert_eq!(rig.flip(&generation).await.unwrap().outcome, Outcome::Committed);
    generation
}

/// Returns the table's partition parameters and its location.
fn projection(rig: &Rig) -> Vec<String> {
    let table = rig.catalog.get(&rig.table).unwrap();
    let ours = |key: &str| key.starts_with("projection.") || key.starts_with("storage.");
    let mut all: Vec<String> = table
        .parameters
        .unwrap()
        .iter()
        .filter(|(key, _)| ours(key))
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    all.sort_unstable();
    all
}

fn expected(rig: &Rig, at: &Generation, ranges: [&str; 3]) -> Vec<String> {
    let [dates, numbers, values] = ranges;
    [
        "projection.dt.format = yyyy-MM-dd".into(),
        "projection.dt.interval = 1".into(),
        "projection.dt.interval.unit = DAYS".into(),
        format!("projection.dt.range = {dates}"),
        "projection.dt.type = date".into(),
        "projection.enabled = true".into(),
        "projection.n.interval = 1".into(),
        format!("projection.n.range = {numbers}"),
        "projection.n.type = integer".into(),
        "projection.pref.type = enum".into(),
        format!("projection.pref.values = {values}"),
        format!("storage.location.template = {}dt=${{dt}}/n=${{n}}/pref=${{pref}}/", rig.paths.generation(at)),
    ]
    .into()
}

#[tokio::test]
async fn one_update_moves_location_template_and_ranges_and_a_rollback_takes_all_back() {
    let rig = rig(BY);
    let first = publish(&rig, &["1,2024-01-31,7,東京", "2,2024-02-02,9,New York", "3,2024-02-01,8,東京"]).await;
    let created = rig.catalog.get(&rig.table).unwrap();
    let named =
        |columns: &[Column]| columns.iter().map(|c| format!("{} {}", c.name, c.r#type().unwrap())).collect::<Vec<_>>();
    assert_eq!(named(created.partition_keys()), ["dt date", "n int", "pref string"]);
    assert_eq!(rig.columns(), ["id bigint"]);
    let before = expected(&rig, &first, ["2024-01-31,2024-02-02", "7,9", "New York,東京"]);
    assert_eq!(projection(&rig), before);

    // Parameters that people have added stay, except those about projected columns.
    let mut by_hand = turntable::aws::glue::unchanged(&created);
    let parameters = by_hand.parameters.as_mut().unwrap();
    parameters.insert("owner".into(), "dmp".into());
    parameters.insert("projection.dt.digits".into(), "4".into());
    rig.catalog.put("dmp", by_hand);
    let writes = rig.catalog.writes().len();
    let second = publish(&rig, &["1,2024-03-01,-1,c"]).await;
    assert_eq!(rig.catalog.writes().len(), writes + 1);
    assert_eq!(projection(&rig), expected(&rig, &second, ["2024-03-01,2024-03-01", "-1,-1", "c"]));
    let now = rig.catalog.get(&rig.table).unwrap();
    assert_eq!(now.parameters().unwrap()["owner"], "dmp");
    assert_eq!(now.partition_keys, created.partition_keys);

    let back = rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap();
    assert_eq!((back.outcome, rig.live()), (Outcome::Committed, Some(first)));
    assert_eq!(projection(&rig), before);
}

#[tokio::test]
async fn checks_know_partition_columns_and_athena_is_asked_about_the_candidates_own() {
    let checks = "checks = { not_null = [\"dt\", \"id\"], range = { dt = { min = \"2024-01-01\" }, n = { max = 8 }, pref = { min = \"b\" } }, \
                  unique = [\"id\", \"n\"], fresh = { dt = \"87600h\" } }\n";
    let rig = rig(&format!("{BY}{checks}"));
    rig.athena.answers(|_| Ok(tests::query::one("0")));
    let good = publish(&rig, &["1,2024-01-31,8,b"]).await;
    let audit: Vec<_> =
        rig.catalog.writes().into_iter().filter(|(name, _)| name.table.starts_with("turntable_audit")).collect();
    let (_, asked) = audit.last().unwrap();
    assert_eq!(asked.partition_keys().len(), 3);
    let template = &asked.parameters().unwrap()["storage.location.template"];
    assert!(template.starts_with(&rig.paths.generation(&good).to_string()), "{template}");

    let bad = rig.export_csv(&csv(&["1,2023-12-31,9,a"])).await;
    let error = rig.flip(&bad).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Rejected);
    for reason in [
        "range: dt: expected \"2024-01-01\" or more, found smaller values in dt=2023-12-31/n=9/pref=a/part-00000.parquet",
        "range: n: expected at most 8, found larger values",
        "range: pref: expected \"b\" or more",
    ] {
        assert!(error.message().contains(reason), "{error}");
    }
    assert_eq!(rig.live(), Some(good));
}

#[tokio::test]
async fn a_file_in_a_folder_that_is_not_projected_is_rejected() {
    let rig = rig(BY);
    let good = publish(&rig, &["1,2024-01-31,7,a"]).await;
    let candidate = rig.export_csv(&csv(&["1,2024-02-01,7,a"])).await;
    let key = rig.paths.manifest(&candidate).to_string();
    let text = String::from_utf8(rig.objects.body(&key).unwrap().to_vec()).unwrap();
    rig.objects.put(
        &key,
        text.replace("\"first\": \"2024-02-01\"", "\"first\": \"2024-01-31\"")
            .replace("\"last\": \"2024-02-01\"", "\"last\": \"2024-01-31\""),
    );
    let error = rig.flip(&candidate).await.unwrap_err();
    let reason =
        "partitions: dt=2024-02-01/n=7/pref=a/part-00000.parquet is outside the folders that the table would project";
    assert!(error.kind() == Kind::Rejected && error.message().contains(reason), "{error}");
    assert_eq!(rig.live(), Some(good));
}

#[tokio::test]
async fn a_template_that_does_not_lie_in_the_location_is_a_conflict_wherever_one_looks() {
    let rig = rig(BY);
    publish(&rig, &["1,2024-01-31,7,a"]).await;
    let table = rig.catalog.get(&rig.table).unwrap();
    let live = table.storage_descriptor().unwrap().location().unwrap().to_owned();
    for template in ["s3://lake/schemas/users/blue/dt=${dt}/n=${n}/pref=${pref}/", "s3://other/${dt}", "nowhere"] {
        let mut changed = turntable::aws::glue::unchanged(&table);
        changed.parameters.as_mut().unwrap().insert("storage.location.template".into(), template.into());
        rig.catalog.put("dmp", changed);
        for request in
            [json!({ "dataset": "users", "action": "status" }), json!({ "dataset": "users", "action": "rollback" })]
        {
            conflict(&rig.ask(request).await.unwrap_err(), &live, template);
        }
        conflict(&rig.export_with(rig.env(), json!({ "dataset": "users" })).await.unwrap_err(), &live, template);
        let sweep =
            turntable::sweep::load(&rig.env(), rig.env().config().await.unwrap().dataset("users").unwrap(), &[]).await;
        conflict(&sweep.err().unwrap(), &live, template);
    }
}

fn conflict(error: &Error, live: &str, template: &str) {
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    let expected =
        format!("dmp.users has the location {live}, but its storage.location.template {template:?} lies elsewhere");
    assert!(error.message().starts_with(&expected), "{error}");
    assert!(error.message().contains(&format!("{live}dt=${{dt}}/n=${{n}}/pref=${{pref}}/")), "{error}");
}

fn table(keys: &[(&str, &str)], parameters: &[(&str, &str)], location: &str) -> TableInput {
    let column = |(name, kind): &(&str, &str)| Column::builder().name(*name).r#type(*kind).build().unwrap();
    let storage = StorageDescriptor::builder().columns(column(&("id", "bigint"))).location(location).build();
    let mut table = TableInput::builder().name("users").storage_descriptor(storage);
    for key in keys {
        table = table.partition_keys(column(key));
    }
    for (key, value) in parameters {
        table = table.parameters(*key, *value);
    }
    table.build().unwrap()
}

#[tokio::test]
async fn an_older_projected_table_is_adopted() {
    let rig = Rig::default();
    rig.configure("id = \"bigint\", dt = \"string\"", "partition_by = [\"dt\"]\n");
    let older = [
        ("projection.enabled", "TRUE"),
        ("projection.dt.type", "date"),
        ("projection.dt.range", "2020-01-01,NOW"),
        ("projection.dt.format", "yyyy-MM-dd"),
        ("storage.location.template", "s3://lake/schemas/users/blue/${dt}"),
    ];
    rig.catalog.put("dmp", table(&[("dt", "string")], &older, "s3://lake/schemas/users/blue"));
    let green = rig.export_csv("id,dt\n1,2024-01-31\n2,2024-02-01\n").await;
    assert_eq!(rig.deliver(&green).await.unwrap().outcome, Outcome::Committed);
    assert_eq!(
        projection(&rig),
        [
            "projection.dt.type = enum".into(),
            "projection.dt.values = 2024-01-31,2024-02-01".into(),
            "projection.enabled = true".into(),
            format!("storage.location.template = {}dt=${{dt}}/", rig.paths.generation(&green)),
        ]
    );
}

#[tokio::test]
async fn other_partition_keys_than_the_tables_are_refused_before_the_work() {
    let projected = [("projection.enabled", "true")];
    for (more, keys, parameters, expected) in [
        (
            BY,
            &[][..],
            &[][..],
            "dmp.users is not partitioned, but datasets.users.partition_by lists dt, n, pref: a flip can't change partition keys",
        ),
        (
            "",
            &[("dt", "date")],
            &projected,
            "dmp.users is partitioned by dt, but datasets.users.partition_by is not set",
        ),
        (
            BY,
            &[("n", "int"), ("dt", "date"), ("pref", "string")],
            &projected,
            "dmp.users is partitioned by n, dt, pref, but",
        ),
        (
            BY,
            &[("dt", "date")],
            &[],
            "dmp.users has partition keys without projection: each registered partition has its own location",
        ),
    ] {
        let rig = rig(more);
        rig.catalog.put("dmp", table(keys, parameters, "s3://lake/older/users"));
        rig.objects.put("s3://lake/in/users.csv", csv(&["1,2024-01-31,7,a"]));
        let error = rig.export_with(rig.env(), json!({ "dataset": "users" })).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.message().starts_with(expected), "{error}");
        assert!(!rig.objects.keys().iter().any(|key| key.contains("/users/blue") || key.contains("/users/green")));
    }
    let rig = rig(BY);
    rig.catalog.put(
        "dmp",
        table(&[("dt", "string"), ("n", "int"), ("pref", "varchar(9)")], &projected, "s3://lake/older/users"),
    );
    let candidate = rig.export_csv(&csv(&["1,2024-01-31,7,a"])).await;
    let error = rig.flip(&candidate).await.unwrap_err();
    let reason = "partitions: the table is partitioned by dt string, n int, pref varchar(9), the candidate by dt date, n int, pref string";
    assert!(error.kind() == Kind::Rejected && error.message().contains(reason), "{error}");
}

#[tokio::test]
async fn a_table_that_turns_out_to_have_no_rows_can_be_read() {
    let rig = rig(&format!("{BY}checks = {{ min_rows = 0 }}\n"));
    let empty = publish(&rig, &[]).await;
    assert_eq!(projection(&rig), expected(&rig, &empty, ["1970-01-01,1970-01-01", "0,0", "none"]));
    let full = publish(&rig, &["1,2024-01-31,7,a"]).await;
    assert_eq!(projection(&rig), expected(&rig, &full, ["2024-01-31,2024-01-31", "7,7", "a"]));
}

/// The source's rows alternate between a thousand partitions. They take 300 MB in Arrow, but the writer may buffer only
/// 192 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn unordered_rows_beyond_the_buffer_become_one_file_per_partition() {
    const ROWS: usize = 300_000;
    const PARTITIONS: usize = 1000;
    let rig = Rig::default();
    rig.configure("id = \"bigint\", n = \"int\", pad = \"string\"", "partition_by = [\"n\"]\n");
    let pad = "x".repeat(1000);
    let rows: String = (0..ROWS).map(|id| format!("{id},{},{pad}\n", id % PARTITIONS)).collect();
    let generation = rig.export_csv(&format!("id,n,pad\n{rows}")).await;

    let key = rig.paths.manifest(&generation);
    let json = turntable::port::Objects::get(&rig.objects, &key).await.unwrap().unwrap();
    let manifest = turntable::manifest::Manifest::from_json(&key, &generation, &json).unwrap();
    assert_eq!((manifest.rows, manifest.files.len()), (ROWS as u64, PARTITIONS));
    let mut cut = 0;
    for file in &manifest.files {
        assert_eq!(file.rows, (ROWS / PARTITIONS) as u64, "{}", file.key);
        let at = rig.paths.generation(&generation).key(&file.key);
        let bytes = turntable::port::Objects::get(&rig.objects, &at).await.unwrap().unwrap();
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        cut += usize::from(reader.metadata().num_row_groups() > 1);
    }
    assert!(cut > 0, "no row group was sent before the end: the test proves nothing");
    assert_eq!(rig.flip(&generation).await.unwrap().outcome, Outcome::Committed);
}
