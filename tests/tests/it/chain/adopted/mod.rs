//! Flips adopt tables that other tools created: Spark's `saveAsTable`, awswrangler, the statements that dbt-athena
//! generates, and a Glue crawler. Spark, awswrangler and the local Athena endpoint really create theirs. There is no local
//! crawler, so its table has the parameters that the documentation lists.
//!
//! Afterwards, Athena, DuckDB and a new Spark session read the rows that the flip published.

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use aws_sdk_glue::types::{
    Column, ColumnStatistics, ColumnStatisticsData, ColumnStatisticsType, LongColumnStatisticsData, SerDeInfo,
    StorageDescriptor, Table, TableInput,
};
use cli::{athena, check::check, laptop};
use local::{environment::INHERITED, venv};
use serde::Deserialize;
use serde_json::{Value, json};
use turntable::layout::Location;

use super::{Chain, emulator, generation};
use crate::postgres::files::duckdb;

const DATASETS: &str = r#"
[datasets.users]
adopt = true
schema = "additive"
source = { files = { location = "s3://${BUCKET}/source/users/", columns = { id = "bigint", name = "string", points = "int" } } }

[datasets.wrangled]
adopt = true
source = { files = { location = "s3://${BUCKET}/source/narrow/", columns = { id = "bigint", name = "string" } } }

[datasets.by_dbt]
adopt = true
source = { files = { location = "s3://${BUCKET}/source/narrow/", columns = { id = "bigint", name = "string" } } }

[datasets.seed]
source = { files = { location = "s3://${BUCKET}/source/narrow/", columns = { id = "bigint", name = "string" } } }

[datasets.crawled]
adopt = true
source = { files = { location = "s3://${BUCKET}/source/narrow/", columns = { id = "bigint", name = "string" } } }

[datasets.buckets]
adopt = true
source = { files = { location = "s3://${BUCKET}/source/narrow/", columns = { id = "bigint", name = "string" } } }
"#;

/// A table in a catalog: the properties that Spark's metastore and Glue have in common.
#[derive(Debug, Deserialize)]
struct Described {
    columns: Vec<(String, String)>,
    location: String,
    input_format: String,
    output_format: String,
    serde: String,
    serde_parameters: HashMap<String, String>,
    buckets: i32,
    parameters: HashMap<String, String>,
    table_type: String,
}

impl Described {
    fn input(self, name: &str) -> TableInput {
        let column = |(name, glue_type): (String, String)| {
            Column::builder().name(name).r#type(glue_type).build().expect("a column")
        };
        let serde = SerDeInfo::builder().serialization_library(self.serde).set_parameters(Some(self.serde_parameters));
        let storage = StorageDescriptor::builder()
            .set_columns(Some(self.columns.into_iter().map(column).collect()))
            .location(self.location)
            .input_format(self.input_format)
            .output_format(self.output_format)
            .number_of_buckets(self.buckets)
            .serde_info(serde.build());
        let input = TableInput::builder().name(name).table_type(self.table_type);
        input.storage_descriptor(storage.build()).set_parameters(Some(self.parameters)).build().expect("a table")
    }
}

/// Spark with its own Hive metastore.
struct Spark {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Spark {
    fn start(python: &Path, folder: &Path) -> Spark {
        let mut command = Command::new(python);
        command.arg(script("spark_table.py")).arg(folder).current_dir(folder).env_clear();
        command.envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))));
        // Without the second JIT compiler, a short run takes half as long.
        command.env("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("Spark's Python");
        let lines = BufReader::new(child.stdout.take().expect("its output"));
        Spark { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "Spark ended early: run {} by hand", script("spark_table.py").display());
        line
    }

    fn ask(&mut self, table: &Value) -> Value {
        writeln!(self.child.stdin.as_mut().expect("its input"), "{table}").expect("a running Spark");
        serde_json::from_str(&self.line()).expect("JSON")
    }
}

impl Drop for Spark {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/chain/adopted").join(name)
}

fn target() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"))
}

/// Returns the table that a crawler or, with buckets, Athena's CREATE TABLE AS creates at `location`.
fn made(location: &str, parameters: &[(&str, &str)], serde_parameters: &[(&str, &str)]) -> Described {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let parquet = "org.apache.hadoop.hive.ql.io.parquet.";
    Described {
        columns: vec![("id".into(), "bigint".into()), ("name".into(), "string".into())],
        location: location.into(),
        input_format: format!("{parquet}MapredParquetInputFormat"),
        output_format: format!("{parquet}MapredParquetOutputFormat"),
        serde: format!("{parquet}serde.ParquetHiveSerDe"),
        serde_parameters: map(serde_parameters),
        buckets: -1,
        parameters: map(parameters),
        table_type: "EXTERNAL_TABLE".into(),
    }
}

/// The statement that dbt-athena generates for `materialized='table'`, with its white space:
/// <https://github.com/dbt-labs/dbt-athena/blob/27d815b/dbt-athena/src/dbt/include/athena/macros/materializations/models/table/create_table_as.sql>.
fn by_dbt(location: &str) -> String {
    format!(
        "create table \"awsdatacatalog\".\"dmp\".\"by_dbt\"\n    with (\n      table_type='hive',\n      \
         is_external=true,external_location='{location}',\n      format='parquet'\n    )\n    as\n      select id, name from \
         dmp.wrangled"
    )
}

/// The statement that dbt-athena generates for a seed with `seed_by_insert`. Without a format, the table is text:
/// `seeds/helpers.sql` in the same repository.
fn seed(location: &str) -> String {
    format!("create external table `dmp`.`seed` (`id` bigint, `name` string)\n    location '{location}'")
}

/// The parameters of a table that Athena's CREATE TABLE AS has made, as SHOW CREATE TABLE prints them on AWS in 2026. The
/// local endpoint writes the same.
const CTAS: [(&str, &str); 9] = [
    ("EXTERNAL", "TRUE"),
    ("auto.purge", "false"),
    ("has_encrypted_data", "false"),
    ("numFiles", "-1"),
    ("parquet.compression", "GZIP"),
    ("totalSize", "-1"),
    ("transactional", "false"),
    ("trino_query_id", "20261130_080000_00001_abcde"),
    ("trino_version", "0.215-24619-g93e00a8"),
];

/// "Parameters set on Data Catalog tables by crawler": <https://docs.aws.amazon.com/glue/latest/dg/table-properties-crawler.html>.
const CRAWLED: [(&str, &str); 9] = [
    ("CrawlerSchemaDeserializerVersion", "1.0"),
    ("CrawlerSchemaSerializerVersion", "1.0"),
    ("UPDATED_BY_CRAWLER", "nightly"),
    ("averageRecordSize", "12"),
    ("classification", "parquet"),
    ("compressionType", "none"),
    ("objectCount", "1"),
    ("recordCount", "10"),
    ("sizeKey", "791"),
];

fn csv(rows: u64, points: bool) -> String {
    let header = if points { "id,name,points\n" } else { "id,name\n" };
    let row = |id| if points { format!("{id},user {id},{}\n", id % 7) } else { format!("{id},user {id}\n") };
    header.to_owned() + &(1..=rows).map(row).collect::<String>()
}

/// Writes a table with awswrangler.
async fn wrangle(chain: &Chain) {
    let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/wrangler.txt");
    let python = venv::made(&target(), &[requirements]).await.unwrap();
    let mut command = Command::new(python);
    command.arg(script("wrangler_table.py")).arg(&chain.bucket).env_clear();
    command.envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))));
    command.env("AWS_ENDPOINT_URL", &emulator().await.endpoint).env("AWS_DEFAULT_REGION", laptop::REGION);
    command.env("AWS_ACCESS_KEY_ID", &chain.account).env("AWS_SECRET_ACCESS_KEY", "test");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn create(chain: &Chain, input: TableInput) {
    chain.glue.create_table().database_name("dmp").table_input(input).send().await.unwrap();
}

/// Writes column statistics, as a Glue task does.
async fn analyze(chain: &Chain, table: &str) {
    let long = LongColumnStatisticsData::builder().number_of_nulls(0).number_of_distinct_values(10).build();
    let data = ColumnStatisticsData::builder().r#type(ColumnStatisticsType::Long).long_column_statistics_data(long);
    let statistics = ColumnStatistics::builder()
        .column_name("id")
        .column_type("bigint")
        .analyzed_time(aws_sdk_glue::primitives::DateTime::from_secs(1_700_000_000))
        .statistics_data(data.build().unwrap());
    let update = chain.glue.update_column_statistics_for_table().database_name("dmp").table_name(table);
    update.column_statistics_list(statistics.build().unwrap()).send().await.unwrap();
}

async fn statistics(chain: &Chain, table: &str) -> usize {
    let statistics = chain.glue.get_column_statistics_for_table().database_name("dmp").table_name(table);
    statistics.column_names("id").send().await.unwrap().column_statistics_list().len()
}

/// Runs `check` against the emulator's catalog. Returns the text about the tables, and the errors.
async fn checked(chain: &Chain, folder: &Path) -> (String, Vec<String>) {
    let file = folder.join("datasets.toml");
    fs::write(&file, chain.datasets_file(DATASETS)).unwrap();
    let account = laptop::config(&chain.account, &emulator().await.endpoint);
    let checked = check(&file, Some(&account)).await.unwrap();
    (checked.tables, checked.faults)
}

/// Flips a dataset for the first time, and returns the table's new location.
async fn adopt(chain: &Chain, table: &str, before: &str) -> Location {
    let exported = generation(&chain.ask("export", &json!({ "dataset": table })).await);
    chain.next(table, Some(&before.parse().unwrap())).await;
    chain.paths(table).generation(&exported)
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_spark_awswrangler_dbt_and_crawlers_are_adopted_and_all_engines_read_the_new_rows() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("adopted-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let python = match venv::ensure_spark(&target()).await {
        Ok(python) => python,
        Err(error) => return println!("SKIPPED: no table was adopted: {error:#}"),
    };
    let mut spark = Spark::start(&python, &folder);
    let chain = Chain::start(DATASETS).await;
    chain.put("source/users/users.csv", csv(50, true)).await.unwrap();
    chain.put("source/narrow/users.csv", csv(50, false)).await.unwrap();
    let s3 = |path: &str| chain.named(&format!("s3://${{BUCKET}}/{path}"));

    wrangle(&chain).await;
    let line = tokio::task::spawn_blocking(move || (spark.line(), spark));
    let (line, spark) = line.await.unwrap();
    let local = |name: &str| format!("file:{}/{name}", folder.display());
    create(
        &chain,
        serde_json::from_str::<Described>(&line.replace(&local("old"), &s3("spark/users"))).unwrap().input("users"),
    )
    .await;
    let mut old = fs::read_dir(folder.join("old")).unwrap().map(|entry| entry.unwrap().path());
    let old = old.find(|path| path.extension().is_some_and(|extension| extension == "parquet")).unwrap();
    for key in ["spark/users", "crawled"] {
        chain.put(&format!("{key}/part-0.parquet"), fs::read(&old).unwrap()).await.unwrap();
    }
    for statement in [by_dbt(&s3("dbt/by_dbt")), seed(&s3("dbt/seed"))] {
        run(&chain, &statement).await;
    }
    let serde = [("serialization.format", "1")];
    create(&chain, made(&s3("crawled/"), &CRAWLED, &serde).input("crawled")).await;
    create(&chain, Described { buckets: 8, ..made(&s3("dbt/buckets"), &CTAS, &[]) }.input("buckets")).await;
    analyze(&chain, "users").await;

    let (tables, faults) = checked(&chain, &folder).await;
    for part in [
        format!(
            "  dmp.users exists, and the first flip takes it over:\n    location: {}/ → {}COLOUR-ULID/\n    removes these parameters: \
             numFiles, spark.sql.sources.provider, spark.sql.sources.schema, spark.sql.statistics.",
            s3("spark/users"),
            chain.paths("users").location()
        ),
        ", totalSize, path (SerDe)\n    changes: column \"points\" int is not in the table\n    deletes the column statistics of \
         id\n"
            .into(),
        "dmp.wrangled exists, and the first flip takes it over".into(),
        "dmp.by_dbt exists, and the first flip takes it over".into(),
        "removes these parameters: numFiles, totalSize\n".into(),
        "removes these parameters: averageRecordSize, objectCount, recordCount, sizeKey\n    the Glue crawler \"nightly\" updates \
         the table and would undo this"
            .into(),
        "dmp.buckets exists, and no flip can take it over".into(),
    ] {
        assert!(tables.contains(&part), "{part}\nis not in\n{tables}");
    }
    assert_eq!(faults.len(), 2, "{faults:?}");
    for part in
        [": datasets.buckets: dmp.buckets is a bucketed table, and Turntable doesn't", ": datasets.seed: dmp.seed "]
    {
        assert!(faults.iter().any(|fault| fault.contains(part)), "{part}: {faults:?}");
    }

    for (name, before) in
        [("wrangled", s3("wrangler/people")), ("by_dbt", s3("dbt/by_dbt")), ("crawled", s3("crawled"))]
    {
        assert_eq!(count(&chain, name).await, "10");
        adopt(&chain, name, &before).await;
        assert_eq!(count(&chain, name).await, "50", "{name}");
    }
    assert_eq!(statistics(&chain, "users").await, 1);
    let now = adopt(&chain, "users", &s3("spark/users")).await;
    assert_eq!(count(&chain, "users").await, "50");
    let gone = async || (statistics(&chain, "users").await == 0).then_some(());
    chain.until("the column statistics", gone).await;
    // A task computes statistics before the last flip, so the next sweep deletes them.
    analyze(&chain, "users").await;
    chain.ask("sweep", &json!({})).await;
    assert_eq!(statistics(&chain, "users").await, 0);
    let status = chain.ask("flip", &json!({ "dataset": "users", "action": "status" })).await;
    assert!(status["last_flip"]["adopted"]["removed"].to_string().contains("path (SerDe)"), "{status}");
    assert_eq!(status["generations"][0]["flipped"]["adopted"], status["last_flip"]["adopted"]);

    let new = folder.join("new");
    fs::create_dir_all(&new).unwrap();
    for key in chain.keys(&now.prefix).await {
        let name = key.rsplit('/').next().unwrap();
        fs::write(new.join(name), chain.get(&key).await.unwrap()).unwrap();
    }
    let rows = duckdb(format!("SELECT count(*), max(id), max(points) FROM '{}/*.parquet'", new.display())).await;
    assert_eq!(json!(rows), json!([[50, 50, 6]]));
    let glue = described(&chain.table("users").await.unwrap());
    let glue =
        serde_json::from_str(&glue.to_string().replace(now.to_string().trim_end_matches('/'), &local("new"))).unwrap();
    let mut spark = spark;
    let found = tokio::task::spawn_blocking(move || spark.ask(&glue)).await.unwrap();
    assert_eq!(found, json!({ "columns": ["id", "name", "points"], "rows": 50, "largest": 50 }));
    let _ = fs::remove_dir_all(&folder);
}

/// Runs a statement that returns no rows.
async fn run(chain: &Chain, sql: &str) {
    let output = format!("s3://{}/athena/", chain.scratch);
    athena::lines(&chain.athena, &output, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:#}"));
}

async fn count(chain: &Chain, table: &str) -> String {
    let row = chain.query(&format!("SELECT count(*) FROM dmp.{table}")).await;
    row[0].clone().unwrap()
}

/// Describes a table for Spark's metastore.
fn described(table: &Table) -> Value {
    let storage = table.storage_descriptor().unwrap();
    let columns: Vec<[&str; 2]> =
        storage.columns().iter().map(|column| [column.name(), column.r#type().unwrap_or_default()]).collect();
    let sorted = |all: Option<&HashMap<String, String>>| all.cloned().into_iter().flatten().collect::<BTreeMap<_, _>>();
    json!({
        "columns": columns,
        "location": storage.location(),
        "serde_parameters": sorted(storage.serde_info().and_then(SerDeInfo::parameters)),
        "parameters": sorted(table.parameters()),
    })
}
