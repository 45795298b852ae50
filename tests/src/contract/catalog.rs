//! Glue: versions, conflicts, names, listings.

use std::sync::Arc;

use aws_sdk_glue::types::{Column, PartitionInput, StorageDescriptor, Table, TableInput};
use turntable::{aws::glue, error::Kind, layout::Location, port::Update};

use super::{Behind, Subject, clauses};
use crate::catalog::{columns, moved};

clauses! {
    creates_once
    updates_the_version_that_was_read
    updates_once_in_a_race
    begins_at_version_0
    archives_no_version_that_is_skipped
    replaces_the_whole_table
    moves_a_table
    deletes_what_may_be_gone
    folds_names_to_lower_case
    lists_tables_by_prefix_and_in_pages
    answers_for_a_missing_table
    answers_for_a_missing_database
    tells_of_registered_partitions
}

/// Returns the input for a table with a location of its own.
pub(super) fn input(subject: &Subject, name: &str) -> TableInput {
    let at = subject.folder("tables").folder(name);
    let column = Column::builder().name("id").r#type("bigint").build().unwrap();
    let storage = StorageDescriptor::builder().columns(column).location(at.to_string()).build();
    TableInput::builder().name(name).table_type("EXTERNAL_TABLE").storage_descriptor(storage).build().unwrap()
}

impl Subject {
    pub(super) async fn make(&self, input: TableInput) -> Table {
        let name = input.name.clone();
        assert_eq!(self.catalog.create(&self.database, input).await.unwrap(), Update::Done);
        self.read(&name).await
    }

    pub(super) async fn read(&self, name: &str) -> Table {
        self.catalog.table(&self.table(name)).await.unwrap().unwrap_or_else(|| panic!("no table {name}"))
    }

    /// Updates the table, sending the version in `read`.
    pub(super) async fn update(&self, read: &Table, input: TableInput) -> Update {
        self.catalog.update(&self.database, input, version(read)).await.unwrap()
    }
}

fn version(table: &Table) -> &str {
    table.version_id().expect("a VersionId")
}

/// Returns the input for an update that changes only the owner.
fn owned(table: &Table, owner: &str) -> TableInput {
    let mut input = glue::unchanged(table);
    input.owner = Some(owner.into());
    input
}

async fn creates_once(subject: Arc<Subject>) {
    let first = subject.make(input(&subject, "created")).await;
    let again = owned(&first, "late");
    assert_eq!(subject.catalog.create(&subject.database, again).await.unwrap(), Update::Conflict);
    let after = subject.read("created").await;
    assert_eq!((after.owner(), after.version_id()), (first.owner(), first.version_id()));
}

/// `UpdateTable` takes `VersionId`, "the version ID at which to update the table contents", and rejects a stale one
/// with `ConcurrentModificationException`: <https://docs.aws.amazon.com/glue/latest/webapi/API_UpdateTable.html>.
async fn updates_the_version_that_was_read(subject: Arc<Subject>) {
    let first = subject.make(input(&subject, "versions")).await;
    assert_eq!(subject.update(&first, owned(&first, "a")).await, Update::Done);
    let second = subject.read("versions").await;
    assert_ne!(version(&second), version(&first));
    assert_eq!(subject.update(&first, owned(&first, "stale")).await, Update::Conflict);
    let after = subject.read("versions").await;
    assert_eq!((after.owner(), after.version_id()), (Some("a"), second.version_id()));
    assert_eq!(subject.update(&after, owned(&after, "b")).await, Update::Done);
}

async fn updates_once_in_a_race(subject: Arc<Subject>) {
    let table = subject.make(input(&subject, "race")).await;
    let updates = (0..8).map(|n| {
        let (subject, table) = (subject.clone(), table.clone());
        tokio::spawn(async move { subject.update(&table, owned(&table, &n.to_string())).await })
    });
    let mut done = Vec::new();
    for (n, update) in updates.collect::<Vec<_>>().into_iter().enumerate() {
        done.extend((update.await.unwrap() == Update::Done).then_some(n.to_string()));
    }
    assert_eq!(done.len(), 1, "{done:?} have updated it");
    assert_eq!(subject.read("race").await.owner(), Some(done[0].as_str()));
}

/// AWS doesn't document that versions start at 0, but they have been seen to. Turntable doesn't rely on it.
async fn begins_at_version_0(subject: Arc<Subject>) {
    let table = subject.make(input(&subject, "begins")).await;
    assert_eq!(version(&table), "0", "the first VersionId");
}

/// Without `SkipArchive`, "UpdateTable always creates an archived version of the table before updating it."
async fn archives_no_version_that_is_skipped(subject: Arc<Subject>) {
    let Behind::Glue(glue) = &subject.behind else { return };
    let table = subject.make(input(&subject, "archive")).await;
    assert_eq!(subject.update(&table, owned(&table, "a")).await, Update::Done);
    let versions = glue.get_table_versions().database_name(&subject.database).table_name("archive").send().await;
    assert_eq!(versions.expect("GetTableVersions").table_versions().len(), 1, "versions of the table");
}

/// An update drops every field that its `TableInput` doesn't set.
async fn replaces_the_whole_table(subject: Arc<Subject>) {
    let mut full = input(&subject, "replaced");
    full.description = Some("kept by nobody".into());
    full.parameters = Some([("a", "1"), ("b", "2")].map(|(key, value)| (key.into(), value.into())).into());
    let table = subject.make(full).await;
    let mut bare = input(&subject, "replaced");
    bare.parameters = Some([("b".into(), "3".into())].into());
    assert_eq!(subject.update(&table, bare).await, Update::Done);
    let after = subject.read("replaced").await;
    assert_eq!(after.parameters(), Some(&[("b".into(), "3".into())].into()));
    assert_eq!(after.description().unwrap_or_default(), "", "the description that the update did not name");
}

/// A flip's update changes the location and nothing else.
async fn moves_a_table(subject: Arc<Subject>) {
    let table = subject.make(input(&subject, "moved")).await;
    let green: Location = subject.folder("tables").folder("moved").folder("green-01J00000000000000000000000");
    assert_eq!(subject.update(&table, moved(&table, &green)).await, Update::Done);
    let after = subject.read("moved").await;
    let location = after.storage_descriptor().and_then(StorageDescriptor::location);
    assert_eq!(location, Some(green.to_string().as_str()));
    assert_eq!(columns(&after), columns(&table));
}

async fn deletes_what_may_be_gone(subject: Arc<Subject>) {
    let name = subject.table("deleted");
    subject.make(input(&subject, "deleted")).await;
    for _ in 0..2 {
        subject.catalog.delete(&name).await.unwrap();
        assert!(subject.catalog.table(&name).await.unwrap().is_none());
    }
    subject.make(input(&subject, "deleted")).await;
}

/// A table's name: "For Hive compatibility, this is folded to lowercase when it is stored",
/// <https://docs.aws.amazon.com/glue/latest/webapi/API_TableInput.html>.
async fn folds_names_to_lower_case(subject: Arc<Subject>) {
    let mixed = input(&subject, "Folded");
    assert_eq!(subject.catalog.create(&subject.database, mixed).await.unwrap(), Update::Done);
    assert_eq!(subject.read("folded").await.name(), "folded");
}

/// `GetTables` returns at most 100 tables per page.
async fn lists_tables_by_prefix_and_in_pages(subject: Arc<Subject>) {
    const MANY: usize = 105;
    let name = |n: usize| format!("listed_{n:03}");
    for n in 0..MANY {
        let created = subject.catalog.create(&subject.database, input(&subject, &name(n))).await.unwrap();
        assert_eq!(created, Update::Done);
    }
    subject.make(input(&subject, "list_other")).await;
    let names = async |prefix: &str| {
        let tables = subject.catalog.tables(&subject.database, prefix).await.unwrap();
        let mut names: Vec<_> = tables.into_iter().map(|table| table.name).collect();
        names.sort();
        names
    };
    assert_eq!(names("listed_").await, (0..MANY).map(name).collect::<Vec<_>>());
    assert_eq!(names("listed_00").await.len(), 10);
    assert_eq!(names("nothing_begins_so").await, Vec::<String>::new());
}

async fn answers_for_a_missing_table(subject: Arc<Subject>) {
    assert!(subject.catalog.table(&subject.table("missing")).await.unwrap().is_none());
    let update = subject.catalog.update(&subject.database, input(&subject, "missing"), "0").await;
    assert_eq!(update.unwrap_err().kind(), Kind::Unavailable);
    assert!(subject.catalog.table(&subject.table("missing")).await.unwrap().is_none());
}

async fn answers_for_a_missing_database(subject: Arc<Subject>) {
    let database = subject.no_database.clone();
    let name = turntable::layout::TableName { database: database.clone(), table: "t".into() };
    assert!(subject.catalog.table(&name).await.unwrap().is_none());
    assert_eq!(subject.catalog.tables(&database, "").await.unwrap(), []);
    subject.catalog.delete(&name).await.unwrap();
    let error = subject.catalog.create(&database, input(&subject, "t")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    let expected =
        format!("database {database:?} does not exist in the Glue Data Catalog: create it, then invoke flip again");
    assert_eq!(error.message(), expected);
}

async fn tells_of_registered_partitions(subject: Arc<Subject>) {
    let mut partitioned = input(&subject, "partitioned");
    partitioned.partition_keys = Some(vec![Column::builder().name("day").r#type("string").build().unwrap()]);
    let table = subject.make(partitioned).await;
    let name = subject.table("partitioned");
    assert!(!subject.catalog.has_partitions(&name).await.unwrap());
    match &subject.behind {
        Behind::Memory(catalog) => catalog.partition(&name),
        Behind::Glue(glue) => {
            let storage = table.storage_descriptor().cloned();
            let partition = PartitionInput::builder().values("2024-11-21").set_storage_descriptor(storage).build();
            let request = glue.create_partition().database_name(&subject.database).table_name("partitioned");
            request.partition_input(partition).send().await.expect("CreatePartition");
        }
    }
    assert!(subject.catalog.has_partitions(&name).await.unwrap());
}
