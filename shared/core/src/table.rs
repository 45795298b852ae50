//! A catalog table as a flip sees it, and what a flip changes in it. A second table format would plug in here, because
//! the code above the catalog's adapter knows tables only through these types.

use std::{any::Any, collections::BTreeMap, fmt, sync::Arc};

use crate::{
    error::{Error, Result},
    layout::{Generation, Location, TableName},
    optout::view::View,
    partition::{self, Partition},
    schema::Column,
};

/// One version of a table, as the catalog returned it.
#[derive(Debug, Clone)]
pub struct TableVersion {
    pub name: TableName,
    /// The catalog's version of the table (Glue's `VersionId`). An update succeeds only while this is still current.
    /// `None` if the catalog didn't return it.
    pub token: Option<String>,
    /// The kind of table, such as `a view` or `an Iceberg table`, if changing its location would not change what
    /// readers see. `None` for any other table.
    pub unsupported: Option<&'static str>,
    /// Why Turntable must not take the table over, such as `a bucketed table`. `None` if it may. Matters only while the
    /// table's location is unmanaged.
    pub unadoptable: Option<&'static str>,
    /// The Glue crawler that last updated the table. `None` if there is none.
    pub crawler: Option<String>,
    /// The view, if this is one that [`crate::port::Catalog::put_view`] stored. `None` for a table, and for a view that
    /// Turntable didn't store.
    pub view: Option<View>,
    /// The location as the catalog stores it. `None` if it is missing or empty.
    pub location: Option<String>,
    /// The columns without the partition keys. Names are in lower case.
    pub columns: Vec<Column>,
    /// The partition keys. Names and types are in lower case.
    pub partition_keys: Vec<Column>,
    pub parameters: BTreeMap<String, String>,
    /// The parameters of the storage descriptor.
    pub storage_parameters: BTreeMap<String, String>,
    pub format: StorageFormat,
    pub original: Original,
}

/// How a table's files are read: the input and output formats and the SerDe, as Hive names their classes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageFormat {
    pub input: Option<String>,
    pub output: Option<String>,
    pub serde: Option<String>,
    pub serde_parameters: BTreeMap<String, String>,
}

impl StorageFormat {
    /// Returns the format of each table that a flip publishes, as Athena's `STORED AS PARQUET` sets it.
    pub fn parquet() -> StorageFormat {
        StorageFormat {
            input: Some("org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat".into()),
            output: Some("org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat".into()),
            serde: Some("org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe".into()),
            serde_parameters: BTreeMap::from([("serialization.format".into(), "1".into())]),
        }
    }

    /// Returns the SerDe parameter `path`, which Spark's `saveAsTable` writes, and from which Spark reads the table
    /// instead of its location.
    pub fn spark_path(&self) -> Option<&str> {
        self.serde_parameters.get(SPARK_PATH).map(String::as_str)
    }
}

/// The SerDe parameter in which Spark keeps a table's location.
const SPARK_PATH: &str = "path";

/// One of the three places where a table has parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParametersOf {
    Table,
    Storage,
    Serde,
}

impl ParametersOf {
    /// Returns whether a parameter in this place describes the files at one particular location. A flip removes every
    /// such parameter.
    pub fn describe_files(self, parameter: &str) -> bool {
        match self {
            ParametersOf::Table | ParametersOf::Storage => describes_files(parameter),
            ParametersOf::Serde => parameter == SPARK_PATH,
        }
    }
}

/// Returns whether a table parameter describes the files at one particular location, so that it must not survive a
/// move. These are the statistics from Hive, Spark, Trino, Athena and crawlers, and Spark's own copy of the columns.
///
/// Sources: Hive's `StatsSetupConst`; Spark's `HiveExternalCatalog` (`spark.sql.sources.schema`,
/// `spark.sql.statistics`); Glue's guide, "Parameters set on Data Catalog tables by crawler".
fn describes_files(parameter: &str) -> bool {
    const STATISTICS: &[&str] = &[
        "numrows",
        "rawdatasize",
        "totalsize",
        "numfiles",
        "numpartitions",
        "numfileserasurecoded",
        "column_stats_accurate",
        "stats_generated",
        "stats_generated_via_stats_task",
        "recordcount",
        "averagerecordsize",
        "objectcount",
        "sizekey",
    ];
    let parameter = parameter.to_lowercase();
    STATISTICS.contains(&parameter.as_str())
        || ["spark.sql.statistics.", "spark.sql.sources.", "spark.sql.partitionprovider"]
            .iter()
            .any(|prefix| parameter.starts_with(prefix))
}

/// The table in the adapter's own type. An update replaces the whole table, so the adapter needs every field.
#[derive(Clone)]
pub struct Original(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Original")
    }
}

/// What an update changes. Everything else in the table stays as it was. The default changes nothing and only gives the
/// table a new token (a fence).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableChange {
    pub location: Option<Location>,
    /// The columns after the update. `None` leaves them unchanged.
    pub columns: Option<Vec<Column>>,
    /// The partitions to project at the new location. An empty list leaves the projection unchanged.
    pub partitions: Vec<Partition>,
}

/// An external Parquet table to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTable {
    pub name: TableName,
    pub columns: Vec<Column>,
    pub location: Location,
    /// The partitions to project. Their columns become the partition keys.
    pub partitions: Vec<Partition>,
}

/// The table that a flip updates or creates.
#[derive(Debug, Clone)]
pub enum NextTable {
    Update { table: Box<TableVersion>, change: TableChange },
    Create(NewTable),
}

/// A temporary table over a candidate's files, with the settings that the flip would publish. It exists only while
/// Athena runs the audit's queries.
#[derive(Debug, Clone)]
pub struct AuditTable<'a> {
    pub name: TableName,
    pub generation: Generation,
    pub published: &'a NextTable,
}

/// The value of [`TableVersion::unsupported`] for a view.
pub const VIEW: &str = "a view";

/// The parameter of an audit table that names the audited generation.
pub const AUDIT_PARAMETER: &str = "turntable.audit";

/// The table parameter that says where Athena finds projected partitions.
pub const TEMPLATE_PARAMETER: &str = "storage.location.template";

const PROJECTION_PARAMETER: &str = "projection.enabled";

impl TableVersion {
    /// Returns the token, or an error if there is none, because no flip is safe without it.
    pub fn token(&self) -> Result<&str> {
        self.token.as_deref().ok_or_else(|| {
            Error::corrupt(format!(
                "{}: Glue returned no VersionId, and no flip is safe without one: invoke flip again",
                self.name
            ))
        })
    }

    /// Returns the table's location. `None` if it has none, or if its location is not in S3.
    pub fn place(&self) -> Option<Location> {
        self.location.as_deref()?.parse().ok()
    }

    /// Returns whether this is the temporary table of an audit.
    pub fn is_audit(&self) -> bool {
        self.parameters.contains_key(AUDIT_PARAMETER)
    }

    /// Returns whether Athena computes the partitions instead of looking them up in the catalog.
    pub fn is_projected(&self) -> bool {
        self.parameters.get(PROJECTION_PARAMETER).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Returns whether the table has partition keys that Athena looks up in the catalog.
    pub fn has_unprojected_keys(&self) -> bool {
        !self.partition_keys.is_empty() && !self.is_projected()
    }

    /// Returns the folder that `storage.location.template` starts with, if the table has a template. Athena reads this
    /// folder in addition to the location.
    pub fn template_folder(&self) -> Option<Location> {
        let template = self.parameters.get(TEMPLATE_PARAMETER)?;
        let fixed = template.split("${").next().unwrap_or(template);
        // A variable may start in the middle of a folder name, so the last, partial folder is cut off.
        let folder = fixed.rsplit_once('/').map_or(fixed, |(folder, _)| folder);
        folder.parse().ok()
    }

    /// Returns the location if a flip can switch this table. `registered` says whether the table has at least one
    /// registered partition, and is used only if [`TableVersion::has_unprojected_keys`] is true.
    ///
    /// # Errors
    /// `Config` for a view, an Iceberg table, partition keys without projection, or a location that is missing or not
    /// in S3. `Conflict` if `storage.location.template` isn't inside the location.
    pub fn flippable_location(&self, registered: bool) -> Result<Location> {
        let name = &self.name;
        if let Some(kind) = self.unsupported {
            return Err(Error::config(format!(
                "{name} is {kind}: Turntable publishes only plain Parquet tables, so give the dataset another table"
            )));
        }
        if self.has_unprojected_keys() {
            let found = if registered { "registered partitions" } else { "partition keys without projection" };
            return Err(Error::config(format!(
                "{name} has {found}: each registered partition has its own location, and no call moves them together \
                 with the table's, so readers would see a mixture of old and new data: move the table to partition \
                 projection, as described in docs/partitions.md"
            )));
        }
        let location = self.location.as_deref();
        let location = location.ok_or_else(|| {
            Error::config(format!("{name} has no location: set its location to a folder in S3, or drop the table"))
        })?;
        let location: Location = location.parse().map_err(|_| {
            Error::config(format!(
                "{name} has the location {location:?}, which is not in S3: set its location to a folder in S3"
            ))
        })?;
        if !self.partition_keys.is_empty() {
            self.check_template(&location)?;
        }
        Ok(location)
    }

    /// Checks that the template is inside `location`. Athena reads partitions from the template, but Location decides
    /// what is live. A flip moves both with one update, so if they differ, somebody else moved one of them.
    fn check_template(&self, location: &Location) -> Result<()> {
        let Some(found) = self.parameters.get(TEMPLATE_PARAMETER) else { return Ok(()) };
        let inside = |folder: Location| folder.bucket == location.bucket && folder.prefix.starts_with(&location.prefix);
        if self.template_folder().is_some_and(inside) {
            return Ok(());
        }
        let keys = self.partition_keys.iter().map(|key| key.name.as_str());
        Err(Error::conflict(format!(
            "{} has the location {location}, but its {TEMPLATE_PARAMETER} {found:?} lies elsewhere: somebody changed \
             one of them, and Athena reads from the template. Set {TEMPLATE_PARAMETER} to {:?}, or the location to the \
             template's folder, then send the request again",
            self.name,
            partition::template(location, keys)
        )))
    }
}

impl TableChange {
    /// Returns a change that moves the table and nothing else.
    pub fn location(to: &Location) -> TableChange {
        TableChange { location: Some(to.clone()), ..TableChange::default() }
    }
}

impl NextTable {
    /// Returns whether Athena would read the same from both: the same files, in the same format, with the same columns.
    pub fn reads_like(&self, other: &NextTable) -> bool {
        self.read() == other.read()
    }

    fn read(&self) -> (Option<String>, &[Column], Option<&StorageFormat>) {
        match self {
            NextTable::Update { table, change } => {
                let location = change.location.as_ref().map(Location::to_string).or_else(|| table.location.clone());
                (location, change.columns.as_deref().unwrap_or(&table.columns), Some(&table.format))
            }
            NextTable::Create(new) => (Some(new.location.to_string()), &new.columns, None),
        }
    }
}

/// Returns the table parameters that project these partitions at a location, or an empty map if there are no
/// partitions.
pub fn projection_parameters(location: &Location, partitions: &[Partition]) -> BTreeMap<String, String> {
    if partitions.is_empty() {
        return BTreeMap::new();
    }
    let names = partitions.iter().map(|partition| partition.column.name.as_str());
    let mut parameters = BTreeMap::from([
        (PROJECTION_PARAMETER.to_owned(), "true".to_owned()),
        (TEMPLATE_PARAMETER.to_owned(), partition::template(location, names)),
    ]);
    parameters.extend(partitions.iter().flat_map(Partition::parameters));
    parameters
}

/// Returns whether a parameter describes the projection of one of these partitions. An update replaces all such
/// parameters.
pub fn is_projection_of(parameter: &str, partitions: &[Partition]) -> bool {
    let parameter = parameter.to_lowercase();
    let mut names = partitions.iter().map(|partition| partition.column.name.as_str());
    names.any(|name| parameter.starts_with(&partition::parameters_of(name)))
}

/// Returns whether a parameter belongs to a table's partition projection, including the template.
pub fn is_projection(parameter: &str) -> bool {
    parameter.starts_with("projection.") || parameter == TEMPLATE_PARAMETER
}
