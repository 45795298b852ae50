//! An in-memory Glue Data Catalog. It matches AWS in what a flip depends on: an update replaces the whole table and
//! must carry the table's current version. Tests can make chosen calls fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use aws_sdk_glue::types::{StorageDescriptor, Table, TableInput};
use jiff::Timestamp;
use turntable::{
    aws::glue::{self, GlueApi, GlueCatalog},
    error::{Error, Result},
    layout::{Location, TableName},
    port::{Catalog, ColumnStatistics, Update},
    schema::Column,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    Table,
    Update,
    Create,
    Delete,
    Tables,
    HasPartitions,
    ColumnStatistics,
    DeleteColumnStatistics,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call has no effect, and the caller gets an error.
    Fail,
    /// The call takes effect, and the caller gets an error.
    LoseReply,
    /// The call takes effect, the SDK sends it again, and the caller gets the second attempt's conflict with the first.
    Echo,
    /// Just before the call, another writer updates the table without changing anything but its version.
    Overtake,
}

/// The name of the only database that doesn't exist. A database with any other name does.
pub const NO_DATABASE: &str = "no_such_database_here";

#[derive(Default)]
pub struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    tables: BTreeMap<TableName, Table>,
    partitioned: BTreeSet<TableName>,
    /// When each column's statistics were computed. Columns without statistics are missing.
    statistics: BTreeMap<(TableName, String), Timestamp>,
    calls: BTreeMap<Op, usize>,
    faults: BTreeMap<(Op, usize), Fault>,
    denied: Option<TableName>,
    any_version: bool,
    writes: Vec<(TableName, Table)>,
}

/// Returns the input for an update that changes only the table's location.
pub fn moved(table: &Table, to: &Location) -> TableInput {
    let mut input = glue::unchanged(table);
    input.storage_descriptor.get_or_insert_with(|| StorageDescriptor::builder().build()).location =
        Some(to.to_string());
    input
}

/// Returns the table's columns as Turntable reads them.
pub fn columns(table: &Table) -> Vec<Column> {
    glue::version_of("", table.clone()).columns
}

impl Memory {
    /// Wraps this catalog in Turntable's port.
    pub fn port(self: &Arc<Self>) -> Arc<dyn Catalog> {
        Arc::new(GlueCatalog(self.clone()))
    }

    /// Returns an independent copy of the tables, without pending faults.
    pub fn fork(&self) -> Memory {
        let state = self.state();
        let (tables, partitioned, denied) = (state.tables.clone(), state.partitioned.clone(), state.denied.clone());
        let statistics = state.statistics.clone();
        Memory(Mutex::new(State { tables, partitioned, statistics, denied, ..State::default() }))
    }

    /// Injects a fault into the `call`-th call of an operation, counted from 1 since the catalog was created.
    pub fn on(&self, op: Op, call: usize, fault: Fault) {
        self.state().faults.insert((op, call), fault);
    }

    /// Denies updates to this table from now on; `None` allows all updates.
    pub fn deny(&self, table: Option<TableName>) {
        self.state().denied = table;
    }

    /// From now on, accepts every update, whatever version it sends, as Glue does for an update that sends none.
    pub fn takes_any_version(&self) {
        self.state().any_version = true;
    }

    /// Returns how many times an operation was called.
    pub fn calls(&self, op: Op) -> usize {
        self.state().calls.get(&op).copied().unwrap_or(0)
    }

    /// Writes a table as another writer would: the version increases by one. A new table gets version "0".
    pub fn put(&self, database: &str, input: TableInput) {
        let mut state = self.state();
        let version = state.version(&named(database, &input)).map_or(0, |version| version + 1);
        state.write(database, input, version);
    }

    /// Registers a partition of a table.
    pub fn partition(&self, name: &TableName) {
        self.state().partitioned.insert(name.clone());
    }

    /// Computes a column's statistics, as a Glue task does.
    pub fn analyze(&self, name: &TableName, column: &str, at: Timestamp) {
        self.state().statistics.insert((name.clone(), column.into()), at);
    }

    /// Returns the columns that have statistics, in all tables.
    pub fn analyzed(&self) -> Vec<String> {
        self.state().statistics.keys().map(|(_, column)| column.clone()).collect()
    }

    /// Returns a table without counting a call.
    pub fn get(&self, name: &TableName) -> Option<Table> {
        self.state().tables.get(name).cloned()
    }

    /// Returns the names of all tables.
    pub fn names(&self) -> Vec<TableName> {
        self.state().tables.keys().cloned().collect()
    }

    /// Returns the table after every write, in order: each state that a reader could have seen.
    pub fn writes(&self) -> Vec<(TableName, Table)> {
        self.state().writes.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The lock is poisoned only if a test panicked, and that test has failed already.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one call, with its fault if there is one. `act` applies the call's effect, and `twice` is the answer to a
    /// second attempt.
    async fn call<T>(
        &self,
        op: Op,
        name: &TableName,
        twice: T,
        act: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        // Lets other tasks run, as they would while a real call was on the wire.
        tokio::task::yield_now().await;
        let answer = {
            let mut state = self.state();
            let call = state.calls.entry(op).or_default();
            *call += 1;
            let call = *call;
            let lost = || Err(Error::unavailable(format!("{op:?} {call} on {name} got no answer")));
            match state.faults.get(&(op, call)).copied() {
                None => act(&mut state),
                Some(Fault::Fail) => lost(),
                Some(Fault::LoseReply) => act(&mut state).and_then(|_| lost()),
                Some(Fault::Echo) => act(&mut state).map(|_| twice),
                Some(Fault::Overtake) => {
                    state.touch(name);
                    act(&mut state)
                }
            }
        };
        tokio::task::yield_now().await;
        answer
    }
}

impl State {
    fn version(&self, name: &TableName) -> Option<u64> {
        self.tables.get(name)?.version_id()?.parse().ok()
    }

    fn touch(&mut self, name: &TableName) {
        let next = self.version(name).map(|version| (version + 1).to_string());
        if let Some(table) = self.tables.get_mut(name) {
            table.version_id = next;
        }
    }

    /// Replaces the whole table: fields that the input doesn't set are lost.
    fn write(&mut self, database: &str, input: TableInput, version: u64) {
        let name = TableName { database: database.into(), table: input.name.to_lowercase() };
        let table = Table::builder()
            .name(&name.table)
            .database_name(database)
            .version_id(version.to_string())
            .set_description(input.description)
            .set_owner(input.owner)
            .set_last_access_time(input.last_access_time)
            .set_last_analyzed_time(input.last_analyzed_time)
            .retention(input.retention)
            .set_storage_descriptor(input.storage_descriptor)
            .set_partition_keys(input.partition_keys)
            .set_view_original_text(input.view_original_text)
            .set_view_expanded_text(input.view_expanded_text)
            .set_table_type(input.table_type)
            .set_parameters(input.parameters)
            .set_target_table(input.target_table)
            .set_federated_table(input.federated_table)
            .build()
            .expect("the only required field is the name");
        self.writes.push((name.clone(), table.clone()));
        self.tables.insert(name, table);
    }
}

fn named(database: &str, input: &TableInput) -> TableName {
    TableName { database: database.into(), table: input.name.to_lowercase() }
}

#[async_trait]
impl GlueApi for Memory {
    async fn table(&self, name: &TableName) -> Result<Option<Table>> {
        self.call(Op::Table, name, None, |state| Ok(state.tables.get(name).cloned())).await
    }

    async fn update(&self, database: &str, input: TableInput, version: &str) -> Result<Update> {
        let name = named(database, &input);
        self.call(Op::Update, &name, Update::Conflict, |state| {
            if state.denied.as_ref() == Some(&name) {
                return Err(Error::config(format!("{name}: UpdateTable is denied")));
            }
            let now = state.version(&name).ok_or_else(|| Error::unavailable(format!("{name}: no such table")))?;
            if !state.any_version && now.to_string() != version {
                return Ok(Update::Conflict);
            }
            state.write(database, input, now + 1);
            Ok(Update::Done)
        })
        .await
    }

    async fn create(&self, database: &str, input: TableInput) -> Result<Update> {
        let name = named(database, &input);
        self.call(Op::Create, &name, Update::Conflict, |state| {
            if database == NO_DATABASE {
                return Err(Error::config(format!(
                    "database {database:?} does not exist in the Glue Data Catalog: create it, then invoke flip again"
                )));
            }
            if state.tables.contains_key(&name) {
                return Ok(Update::Conflict);
            }
            state.write(database, input, 0);
            Ok(Update::Done)
        })
        .await
    }

    async fn delete(&self, name: &TableName) -> Result<()> {
        self.call(Op::Delete, name, (), |state| {
            state.tables.remove(name);
            Ok(())
        })
        .await
    }

    async fn tables(&self, database: &str, prefix: &str) -> Result<Vec<Table>> {
        let listed = TableName { database: database.into(), table: format!("{prefix}*") };
        self.call(Op::Tables, &listed, Vec::new(), |state| {
            let found = state.tables.iter().filter(|(n, _)| n.database == database && n.table.starts_with(prefix));
            Ok(found.map(|(_, table)| table.clone()).collect())
        })
        .await
    }

    async fn has_partitions(&self, name: &TableName) -> Result<bool> {
        self.call(Op::HasPartitions, name, false, |state| Ok(state.partitioned.contains(name))).await
    }

    async fn column_statistics(&self, name: &TableName, columns: &[String]) -> Result<Vec<ColumnStatistics>> {
        self.call(Op::ColumnStatistics, name, Vec::new(), |state| {
            let found = |column: &String| {
                let analyzed_at = *state.statistics.get(&(name.clone(), column.clone()))?;
                Some(ColumnStatistics { column: column.clone(), analyzed_at })
            };
            Ok(columns.iter().filter_map(found).collect())
        })
        .await
    }

    async fn delete_column_statistics(&self, name: &TableName, column: &str) -> Result<()> {
        self.call(Op::DeleteColumnStatistics, name, (), |state| {
            state.statistics.remove(&(name.clone(), column.to_owned()));
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> TableName {
        TableName { database: "dmp".into(), table: "users".into() }
    }

    fn input(owner: &str) -> TableInput {
        TableInput::builder().name("users").owner(owner).build().unwrap()
    }

    #[tokio::test]
    async fn an_update_replaces_the_whole_table_and_needs_its_version() {
        let glue = Memory::default();
        let mut first = input("a");
        first.description = Some("d".into());
        assert_eq!(glue.create("dmp", first).await.unwrap(), Update::Done);
        assert_eq!(glue.create("dmp", input("b")).await.unwrap(), Update::Conflict);
        assert_eq!(glue.update("dmp", input("b"), "0").await.unwrap(), Update::Done);
        assert_eq!(glue.update("dmp", input("c"), "0").await.unwrap(), Update::Conflict);
        let table = glue.table(&name()).await.unwrap().unwrap();
        assert_eq!((table.version_id(), table.owner(), table.description()), (Some("1"), Some("b"), None));
        glue.delete(&name()).await.unwrap();
        glue.delete(&name()).await.unwrap();
        assert!(glue.tables("dmp", "us").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn each_fault_has_its_effect_and_its_answer() {
        let glue = Memory::default();
        glue.put("dmp", input("a"));
        glue.on(Op::Update, 1, Fault::Fail);
        glue.on(Op::Update, 2, Fault::LoseReply);
        glue.on(Op::Update, 3, Fault::Echo);
        glue.on(Op::Update, 4, Fault::Overtake);
        let owner = || glue.get(&name()).unwrap().owner().unwrap().to_owned();
        assert!(glue.update("dmp", input("b"), "0").await.is_err());
        assert_eq!(owner(), "a");
        assert!(glue.update("dmp", input("b"), "0").await.is_err());
        assert_eq!(owner(), "b");
        assert_eq!(glue.update("dmp", input("c"), "1").await.unwrap(), Update::Conflict);
        assert_eq!(owner(), "c");
        assert_eq!(glue.update("dmp", input("d"), "2").await.unwrap(), Update::Conflict);
        assert_eq!(owner(), "c");
        assert_eq!(glue.update("dmp", input("d"), "3").await.unwrap(), Update::Done);
    }
}
