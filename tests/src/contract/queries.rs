//! Athena: what queries see in a table, and how they fail. Every table is created and moved as a flip does it.

use std::sync::Arc;

use turntable::{
    error::{Error, Kind, Result},
    layout::Location,
    optout::view::View,
    partition::{Kind as Projected, Partition, Value},
    port::Update,
    schema::Column,
    table::{NewTable, TableChange, TableVersion},
};

use super::{Subject, clauses, cloud::Cloud};
use crate::engine::file;

clauses! {
    reads_a_table_that_a_flip_made
    follows_a_flip
    describes_a_table
    shows_how_a_table_is_made
    reads_sub_folders_but_no_hidden_files
    reads_no_rows_at_an_empty_location
    fills_a_new_column_with_null
    names_a_missing_column
    names_a_missing_table
    refuses_a_syntax_error
    names_a_failure_that_depends_on_rows
    creates_a_view
    reads_a_view_that_turntable_has_stored
    finds_a_view_stale_after_a_widening
    unloads_into_an_empty_folder
    unloads_into_no_folder_with_files
    moves_a_projected_table
}

fn column(name: &str, glue_type: &str) -> Column {
    Column { name: name.into(), glue_type: glue_type.into() }
}

impl Subject {
    pub(super) fn cloud(&self) -> &Cloud {
        self.cloud.as_ref().expect("these clauses need more than the ports")
    }

    /// Returns the folder of one of a table's generations.
    pub(super) fn generation(&self, table: &str, name: &str) -> Location {
        self.folder("queries").folder(table).folder(name)
    }

    async fn put_file(&self, folder: &Location, name: &str, rows: i64) {
        self.objects.put_new(&folder.key(name), file(rows).await).await.unwrap();
    }

    /// Creates a table as the first flip of a dataset does.
    async fn created(&self, table: &str, columns: Vec<Column>, at: Location, partitions: Vec<Partition>) {
        let new = NewTable { name: self.table(table), columns, location: at, partitions };
        assert_eq!(self.cloud().catalog.create(&new).await.unwrap(), Update::Done);
    }

    /// Creates a table with the column `id` and this many rows.
    pub(super) async fn published(&self, table: &str, rows: i64) {
        let blue = self.generation(table, "blue");
        self.put_file(&blue, "part-00000.parquet", rows).await;
        self.created(table, vec![column("id", "bigint")], blue, Vec::new()).await;
    }

    async fn version(&self, table: &str) -> TableVersion {
        self.cloud().catalog.table(&self.table(table)).await.unwrap().expect("a table")
    }

    /// Changes a table as a later flip does.
    async fn flipped(&self, table: &str, change: TableChange) {
        let version = self.version(table).await;
        assert_eq!(self.cloud().catalog.update(&version, &change).await.unwrap(), Update::Done);
    }

    async fn ask(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        self.cloud().queries.run(&self.database, sql).await.map(|answered| answered.rows)
    }

    /// Runs a query, and returns the single value in its result.
    async fn one(&self, sql: &str) -> String {
        let rows = self.ask(sql).await.unwrap_or_else(|error| panic!("{sql}: {}", error.report()));
        rows.first().and_then(|row| row.first()).cloned().flatten().unwrap_or_else(|| panic!("{sql}: no value"))
    }

    /// Runs a statement, and returns all lines of its result.
    pub(super) async fn lines(&self, sql: &str) -> String {
        let rows = self.ask(sql).await.unwrap_or_else(|error| panic!("{sql}: {}", error.report()));
        rows.into_iter().flatten().flatten().collect::<Vec<_>>().join("\n")
    }

    async fn failure(&self, sql: &str) -> Error {
        match self.ask(sql).await {
            Ok(rows) => panic!("{sql} returned {} rows", rows.len()),
            Err(error) => error,
        }
    }
}

/// A query reads one version of the table: <https://docs.aws.amazon.com/athena/latest/ug/creating-tables.html>.
async fn reads_a_table_that_a_flip_made(subject: Arc<Subject>) {
    subject.published("made", 3).await;
    assert_eq!(subject.one("SELECT count(*) FROM made").await, "3");
    assert_eq!(subject.one("SELECT max(id) FROM made").await, "2");
}

/// The first query after `UpdateTable` reads only the new location.
async fn follows_a_flip(subject: Arc<Subject>) {
    subject.published("followed", 3).await;
    let green = subject.generation("followed", "green");
    subject.put_file(&green, "part-00000.parquet", 5).await;
    subject.flipped("followed", TableChange { location: Some(green), columns: None, partitions: Vec::new() }).await;
    assert_eq!(subject.one("SELECT count(*) FROM followed").await, "5");
}

/// `DESCRIBE`: <https://docs.aws.amazon.com/athena/latest/ug/describe-table.html>.
async fn describes_a_table(subject: Arc<Subject>) {
    subject.published("told", 1).await;
    let lines = subject.lines("DESCRIBE told").await;
    assert!(lines.starts_with("id") && lines.contains("bigint"), "{lines}");
}

/// `SHOW CREATE TABLE`: <https://docs.aws.amazon.com/athena/latest/ug/show-create-table.html>.
async fn shows_how_a_table_is_made(subject: Arc<Subject>) {
    subject.published("shown", 1).await;
    let lines = subject.lines("SHOW CREATE TABLE shown").await;
    let location = subject.generation("shown", "blue").to_string();
    assert!(lines.starts_with("CREATE EXTERNAL TABLE "), "{lines}");
    for text in ["`id` bigint", "ParquetHiveSerDe", location.trim_end_matches('/')] {
        assert!(lines.contains(text), "{text} is missing: {lines}");
    }
}

/// Files whose names start with `_` or `.` are ignored:
/// <https://docs.aws.amazon.com/athena/latest/ug/tables-location-format.html>.
async fn reads_sub_folders_but_no_hidden_files(subject: Arc<Subject>) {
    subject.published("hidden", 1).await;
    let blue = subject.generation("hidden", "blue");
    subject.put_file(&blue.folder("below"), "part-00001.parquet", 10).await;
    for name in ["_part-00002.parquet", ".part-00003.parquet"] {
        subject.put_file(&blue, name, 100).await;
    }
    assert_eq!(subject.one("SELECT count(*) FROM hidden").await, "11");
}

/// This is why a table must never point to a folder before the files are in it.
async fn reads_no_rows_at_an_empty_location(subject: Arc<Subject>) {
    let nowhere = subject.generation("empty", "blue");
    subject.created("empty", vec![column("id", "bigint")], nowhere, Vec::new()).await;
    assert_eq!(subject.one("SELECT count(*) FROM empty").await, "0");
}

/// Parquet columns are matched by name:
/// <https://docs.aws.amazon.com/athena/latest/ug/handling-schema-updates-chapter.html>.
async fn fills_a_new_column_with_null(subject: Arc<Subject>) {
    subject.published("wider", 2).await;
    let columns = Some(vec![column("name", "string"), column("id", "bigint")]);
    subject.flipped("wider", TableChange { location: None, columns, partitions: Vec::new() }).await;
    assert_eq!(subject.one("SELECT max(id) FROM wider WHERE name IS NULL").await, "1");
}

async fn names_a_missing_column(subject: Arc<Subject>) {
    subject.published("incomplete", 1).await;
    let error = subject.failure("SELECT absent FROM incomplete").await;
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.message().contains("COLUMN_NOT_FOUND") && error.message().contains("absent"), "{error}");
}

async fn names_a_missing_table(subject: Arc<Subject>) {
    let error = subject.failure("SELECT 1 FROM no_such_table").await;
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.message().contains("TABLE_NOT_FOUND") && error.message().contains("no_such_table"), "{error}");
}

/// `StartQueryExecution` refuses a query with a syntax error:
/// <https://docs.aws.amazon.com/athena/latest/APIReference/API_InvalidRequestException.html>.
async fn refuses_a_syntax_error(subject: Arc<Subject>) {
    let error = subject.failure("SELECT 1 FROM WHERE").await;
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.message().contains("SYNTAX_ERROR"), "{error}");
}

/// Athena's text about the failure quotes a row's value, so only the name of the error may be passed on.
async fn names_a_failure_that_depends_on_rows(subject: Arc<Subject>) {
    let error = subject.failure("SELECT CAST(name AS bigint) FROM (VALUES 'alice') AS t(name)").await;
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.message().contains("INVALID_CAST_ARGUMENT") && !error.message().contains("alice"), "{error}");
}

/// `CREATE VIEW`: <https://docs.aws.amazon.com/athena/latest/ug/create-view.html>. The credentials need the role's
/// permissions.
async fn creates_a_view(subject: Arc<Subject>) {
    subject.published("viewed", 4).await;
    subject.lines("CREATE VIEW viewed_twice AS SELECT id * 2 AS id FROM viewed").await;
    assert_eq!(subject.one("SELECT max(id) FROM viewed_twice").await, "6");
}

/// Athena doesn't document how it stores a view in Glue. The format is that of Presto's views.
async fn reads_a_view_that_turntable_has_stored(subject: Arc<Subject>) {
    subject.published("protected", 4).await;
    let view = View {
        name: subject.table("protected_view"),
        query: "SELECT id FROM protected WHERE id > 1".into(),
        columns: vec![column("id", "bigint")],
        leaves_out: Vec::new(),
    };
    assert_eq!(subject.cloud().catalog.put_view(&view, None).await.unwrap(), Update::Done);
    assert_eq!(subject.one("SELECT count(*) FROM protected_view").await, "2");
}

/// A view keeps its columns' types, and a value isn't narrowed to them:
/// <https://docs.aws.amazon.com/athena/latest/ug/views-console.html>, "Troubleshooting views".
async fn finds_a_view_stale_after_a_widening(subject: Arc<Subject>) {
    let blue = subject.generation("widened", "blue");
    subject.created("widened", vec![column("id", "int")], blue, Vec::new()).await;
    subject.lines("CREATE VIEW of_widened AS SELECT id FROM widened").await;
    let green = subject.generation("widened", "green");
    subject.put_file(&green, "part-00000.parquet", 2).await;
    let columns = Some(vec![column("id", "bigint")]);
    subject.flipped("widened", TableChange { location: Some(green), columns, partitions: Vec::new() }).await;
    let error = subject.failure("SELECT * FROM of_widened").await;
    assert!(error.message().contains("VIEW_IS_STALE"), "{error}");
    subject.lines("CREATE OR REPLACE VIEW of_widened AS SELECT id FROM widened").await;
    assert_eq!(subject.one("SELECT count(*) FROM of_widened").await, "2");
}

/// `UNLOAD`: <https://docs.aws.amazon.com/athena/latest/ug/unload.html>.
async fn unloads_into_an_empty_folder(subject: Arc<Subject>) {
    subject.published("unloaded", 7).await;
    let to = subject.generation("unloaded", "green");
    subject.lines(&unload("SELECT id FROM unloaded", &to)).await;
    let written = subject.objects.list(&to, None).await.unwrap();
    assert!(!written.is_empty() && written.iter().all(|entry| entry.size > 0), "{written:?}");
    subject.flipped("unloaded", TableChange { location: Some(to), columns: None, partitions: Vec::new() }).await;
    assert_eq!(subject.one("SELECT count(*) FROM unloaded").await, "7");
}

/// "The TO destination … must not exist": <https://docs.aws.amazon.com/athena/latest/ug/unload.html>.
async fn unloads_into_no_folder_with_files(subject: Arc<Subject>) {
    subject.published("kept", 7).await;
    let error = subject.failure(&unload("SELECT id FROM kept", &subject.generation("kept", "blue"))).await;
    assert!(error.message().contains("HIVE_PATH_ALREADY_EXISTS"), "{error}");
    assert_eq!(subject.one("SELECT count(*) FROM kept").await, "7");
}

pub(super) fn unload(query: &str, to: &Location) -> String {
    format!("UNLOAD ({query}) TO '{to}' WITH (format = 'PARQUET', compression = 'ZSTD')")
}

/// The template moves with the location, in the same `UpdateTable`:
/// <https://docs.aws.amazon.com/athena/latest/ug/partition-projection-setting-up.html>.
async fn moves_a_projected_table(subject: Arc<Subject>) {
    let days = |values: &[&str]| {
        let values = values.iter().map(|value| Value::parse(Projected::Enum, value).expect("a value")).collect();
        vec![Partition::of(column("day", "string"), Projected::Enum, &values).unwrap()]
    };
    let (blue, green) = (subject.generation("by_day", "blue"), subject.generation("by_day", "green"));
    for (folder, rows) in [(blue.folder("day=mon"), 1), (green.folder("day=mon"), 20), (green.folder("day=tue"), 300)] {
        subject.put_file(&folder, "part-00000.parquet", rows).await;
    }
    subject.created("by_day", vec![column("id", "bigint")], blue, days(&["mon"])).await;
    assert_eq!(subject.one("SELECT count(*) FROM by_day").await, "1");
    let change = TableChange { location: Some(green), columns: None, partitions: days(&["mon", "tue"]) };
    subject.flipped("by_day", change).await;
    assert_eq!(subject.one("SELECT count(*) FROM by_day").await, "320");
    assert_eq!(subject.one("SELECT count(*) FROM by_day WHERE day = 'tue'").await, "300");
}
