//! Formats and parses colours, generations, and the S3 paths of tables and groups. No other module does.
//!
//! ```text
//! s3://BUCKET/PREFIX/TABLE/COLOUR-ULID/part-00000.parquet
//! s3://BUCKET/PREFIX/TABLE/_manifests/COLOUR-ULID.json
//! s3://BUCKET/PREFIX/TABLE/_flips/ULID.json
//! s3://BUCKET/PREFIX/TABLE/_hold.json
//! s3://BUCKET/PREFIX/TABLE/_returns/ULID.json
//! s3://BUCKET/PREFIX/TABLE/_sweeping/COLOUR-ULID.json
//! s3://BUCKET/PREFIX/TABLE/_pending/COLOUR-ULID.json
//! s3://BUCKET/PREFIX/TABLE/_pending/COLOUR-ULID.failed.json
//! s3://BUCKET/PREFIX/_groups/GROUP.json
//! ```

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

use crate::error::{Error, Result};

/// A label for people. It alternates from generation to generation, and no decision depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Colour {
    Blue,
    Green,
}

impl Colour {
    pub fn other(self) -> Self {
        match self {
            Colour::Blue => Colour::Green,
            Colour::Green => Colour::Blue,
        }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Colour::Blue => "blue",
            Colour::Green => "green",
        })
    }
}

impl FromStr for Colour {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "blue" => Ok(Colour::Blue),
            "green" => Ok(Colour::Green),
            _ => Err(Error::input(format!("{text:?} is not a colour: expected blue or green"))),
        }
    }
}

/// Names one immutable build: `COLOUR-ULID`. The ULID's time is the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    pub colour: Colour,
    pub ulid: Ulid,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.colour, self.ulid)
    }
}

impl FromStr for Generation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::input(format!("{text:?} is not a generation: expected blue-ULID or green-ULID"));
        let (colour, ulid) = text.split_once('-').ok_or_else(bad)?;
        let parsed = Ulid::from_string(ulid).map_err(|_| bad())?;
        // Only the canonical spelling is accepted: another one would be a second path to the same generation.
        if parsed.to_string() != ulid {
            return Err(bad());
        }
        Ok(Generation { colour: colour.parse().map_err(|_| bad())?, ulid: parsed })
    }
}

impl Serialize for Generation {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Generation {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Returns the time in a ULID, or `Timestamp::MAX` if it is out of range.
pub fn time_of(ulid: Ulid) -> Timestamp {
    Timestamp::from_millisecond(ulid.timestamp_ms() as i64).unwrap_or(Timestamp::MAX)
}

/// S3's limit for a key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// The bucket and key of one S3 object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub bucket: String,
    pub key: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match split_uri(text) {
            Some((bucket, key)) if !key.is_empty() => Ok(Key { bucket: bucket.into(), key: key.into() }),
            _ => Err(Error::input(format!("{text:?} is not an S3 object: expected s3://BUCKET/KEY"))),
        }
    }
}

/// One object of an S3 listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: Key,
    /// In bytes.
    pub size: u64,
    /// Without the quotes that S3 puts around it.
    pub etag: String,
    pub modified: Timestamp,
}

/// One S3 folder. The prefix is empty for a whole bucket; otherwise it ends with `/`, so that `blue` never matches
/// `blue-2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub bucket: String,
    pub prefix: String,
}

impl Location {
    pub fn key(&self, name: &str) -> Key {
        Key { bucket: self.bucket.clone(), key: format!("{}{name}", self.prefix) }
    }

    pub fn folder(&self, name: &str) -> Location {
        Location { bucket: self.bucket.clone(), prefix: format!("{}{name}/", self.prefix) }
    }

    /// Returns whether the locations are equal or one contains the other. It matters because Athena reads sub-folders.
    pub fn overlaps(&self, other: &Location) -> bool {
        self.bucket == other.bucket
            && (self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (bucket, prefix) = split_uri(text)
            .ok_or_else(|| Error::input(format!("{text:?} is not an S3 location: expected s3://BUCKET/PREFIX")))?;
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Location { bucket: bucket.into(), prefix })
    }
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Splits `s3://BUCKET/REST`. Also accepts `s3a` and `s3n`, which Spark and Hive wrote into older tables.
fn split_uri(text: &str) -> Option<(&str, &str)> {
    let rest = ["s3://", "s3a://", "s3n://"].iter().find_map(|scheme| text.strip_prefix(scheme))?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    (!bucket.is_empty()).then_some((bucket, key))
}

/// The S3 folder of one table: `s3://BUCKET/PREFIX/TABLE/`. Everything that belongs to the table lies under it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TablePaths(Location);

const MANIFESTS: &str = "_manifests";
const FLIPS: &str = "_flips";
const RETURNS: &str = "_returns";
const SWEEPING: &str = "_sweeping";
const PENDING: &str = "_pending";
const FAILED: &str = ".failed";

/// The kind of a managed object under a table's folder, as its key tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// Any object under the location of a generation.
    Data(Generation),
    Manifest(Generation),
    Flip(Ulid),
    Sweeping(Generation),
    Hold,
    /// The intent to make a generation live that may have been live before.
    RevertIntent(Ulid),
    Views,
    /// The record of an engine's run.
    Pending(Generation),
    /// The record that an engine's run has failed.
    Failed(Generation),
}

impl TablePaths {
    pub fn new(prefix: &Location, table: &str) -> Self {
        TablePaths(prefix.folder(table))
    }

    pub fn location(&self) -> &Location {
        &self.0
    }

    pub fn generation(&self, generation: &Generation) -> Location {
        self.0.folder(&generation.to_string())
    }

    pub fn manifests(&self) -> Location {
        self.0.folder(MANIFESTS)
    }

    pub fn manifest(&self, generation: &Generation) -> Key {
        self.manifests().key(&format!("{generation}.json"))
    }

    pub fn flips(&self) -> Location {
        self.0.folder(FLIPS)
    }

    pub fn flip(&self, flip: Ulid) -> Key {
        self.flips().key(&format!("{flip}.json"))
    }

    pub fn hold(&self) -> Key {
        self.0.key("_hold.json")
    }

    pub fn revert_intents(&self) -> Location {
        self.0.folder(RETURNS)
    }

    /// Returns the key of the intent to make a generation live that may have been live before. The intent is written
    /// before the table is touched. The ULID is the flip's.
    pub fn revert_intent(&self, flip: Ulid) -> Key {
        self.revert_intents().key(&format!("{flip}.json"))
    }

    /// Returns the key of the object that records the SQL of an inbox dataset's views.
    pub fn views(&self) -> Key {
        self.0.key("_views.json")
    }

    /// Returns the key of the mark that sweep is deleting a generation. The mark exists for as long as the deletion
    /// takes.
    pub fn sweeping(&self, generation: &Generation) -> Key {
        self.0.folder(SWEEPING).key(&format!("{generation}.json"))
    }

    pub fn runs(&self) -> Location {
        self.0.folder(PENDING)
    }

    /// Returns the key of the record of an engine's run. The record is written before the engine is called.
    pub fn pending(&self, generation: &Generation) -> Key {
        self.runs().key(&format!("{generation}.json"))
    }

    /// Returns the key of the record that the engine's run has failed.
    pub fn failed(&self, generation: &Generation) -> Key {
        self.runs().key(&format!("{generation}{FAILED}.json"))
    }

    /// Returns the kind of an object of this table; `None` if the object is unmanaged.
    pub fn parse(&self, key: &Key) -> Option<ObjectKind> {
        let rest = key.key.strip_prefix(&self.0.prefix).filter(|_| key.bucket == self.0.bucket)?;
        let (folder, name) = match rest.split_once('/') {
            None if *key == self.hold() => return Some(ObjectKind::Hold),
            None if *key == self.views() => return Some(ObjectKind::Views),
            None => return None,
            Some(split) => split,
        };
        let json = |name: &str| name.strip_suffix(".json").map(str::to_owned);
        match folder {
            MANIFESTS => Some(ObjectKind::Manifest(json(name)?.parse().ok()?)),
            SWEEPING => Some(ObjectKind::Sweeping(json(name)?.parse().ok()?)),
            PENDING => {
                let name = json(name)?;
                Some(match name.strip_suffix(FAILED) {
                    Some(generation) => ObjectKind::Failed(generation.parse().ok()?),
                    None => ObjectKind::Pending(name.parse().ok()?),
                })
            }
            RETURNS => {
                let flip = Ulid::from_string(&json(name)?).ok()?;
                (self.revert_intent(flip) == *key).then_some(ObjectKind::RevertIntent(flip))
            }
            FLIPS => self.parse_flip(key).filter(|flip| self.flip(*flip) == *key).map(ObjectKind::Flip),
            _ => Some(ObjectKind::Data(folder.parse().ok()?)),
        }
    }

    /// Returns the generation of this table that a location belongs to; `None` if the location is unmanaged.
    pub fn parse_generation(&self, location: &Location) -> Option<Generation> {
        let rest = location.prefix.strip_prefix(&self.0.prefix).filter(|_| location.bucket == self.0.bucket)?;
        rest.strip_suffix('/')?.parse().ok()
    }

    /// Returns the table and the generation of a location, for any table; `None` if it is not the location of a
    /// generation.
    pub fn of_generation(location: &Location) -> Option<(TablePaths, Generation)> {
        let (paths, generation) = location.prefix.strip_suffix('/')?.rsplit_once('/')?;
        let paths = TablePaths(Location { bucket: location.bucket.clone(), prefix: format!("{paths}/") });
        Some((paths, generation.parse().ok()?))
    }

    /// Returns the table and the generation that a manifest's key names; `None` if it is not the key of a manifest.
    pub fn parse_manifest(key: &Key) -> Option<(TablePaths, Generation)> {
        let (paths, name) = key.key.rsplit_once(&format!("{MANIFESTS}/"))?;
        let generation = name.strip_suffix(".json")?.parse().ok()?;
        if !paths.ends_with('/') {
            return None;
        }
        Some((TablePaths(Location { bucket: key.bucket.clone(), prefix: paths.into() }), generation))
    }

    /// Returns the flip whose record lies at this key; `None` if it is not the key of a flip record.
    pub fn parse_flip(&self, key: &Key) -> Option<Ulid> {
        let name = key.key.strip_prefix(&self.flips().prefix)?.strip_suffix(".json")?;
        Ulid::from_string(name).ok()
    }
}

/// A group of datasets: its name, and the folder that contains the members' tables.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group {
    pub name: String,
    prefix: Location,
}

impl Group {
    pub fn new(prefix: &Location, name: &str) -> Self {
        Group { name: name.into(), prefix: prefix.clone() }
    }

    /// Returns the folder with the records of all groups of these tables.
    pub fn folder(&self) -> Location {
        self.prefix.folder("_groups")
    }

    /// Returns the key of the record that says which generations belong together.
    pub fn record(&self) -> Key {
        self.folder().key(&format!("{}.json", self.name))
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Returns the name of a data file: `part-00000.parquet`.
pub fn part(number: usize) -> String {
    format!("part-{number:05}.parquet")
}

/// Returns whether Athena ignores the key: a file or folder in its path begins with `_` or `.`, or the object is an
/// empty folder marker (a key that ends in `/`, or Hadoop's `NAME_$folder$`).
pub fn is_hidden(key: &str) -> bool {
    key.is_empty()
        || key.ends_with('/')
        || key.ends_with("_$folder$")
        || key.split('/').any(|name| name.starts_with(['_', '.']))
}

/// Returns the number in the name of a data file; `None` if the name is not one that [`part`] makes.
pub fn part_number(name: &str) -> Option<usize> {
    let number = name.strip_prefix("part-")?.strip_suffix(".parquet")?.parse().ok()?;
    (part(number) == name).then_some(number)
}

/// The database and name of a Glue table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    pub database: String,
    pub table: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database, self.table)
    }
}

/// The prefix of audit tables. An audit registers its candidate as a temporary table so that Athena can query it.
pub const AUDIT_TABLES: &str = "turntable_audit_";

/// Returns `turntable_audit_DATASET_ULID`, in lower case because Glue stores names so. Each audit has its own ULID, so
/// no two audits share a table.
pub fn audit_table(dataset: &str, audit: Ulid) -> String {
    format!("{AUDIT_TABLES}{dataset}_{}", audit.to_string().to_lowercase())
}

/// Returns the ULID of the audit that a table was registered for; `None` if it is not an audit table.
pub fn parse_audit_table(table: &str) -> Option<Ulid> {
    let (_, audit) = table.strip_prefix(AUDIT_TABLES)?.rsplit_once('_')?;
    Ulid::from_string(&audit.to_uppercase()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ULID: &str = "01JDA00000000000000000000A";

    #[test]
    fn paths_parse_back_to_what_they_were_formatted_from() {
        let paths = TablePaths::new(&"s3://lake/schemas".parse().unwrap(), "users");
        let generation: Generation = format!("green-{ULID}").parse().unwrap();
        assert_eq!(paths.generation(&generation).to_string(), format!("s3://lake/schemas/users/green-{ULID}/"));
        assert_eq!(paths.parse_generation(&paths.generation(&generation)), Some(generation));
        assert_eq!(TablePaths::parse_manifest(&paths.manifest(&generation)), Some((paths.clone(), generation)));
        assert_eq!(TablePaths::of_generation(&paths.generation(&generation)), Some((paths.clone(), generation)));
        assert_eq!(paths.parse_flip(&paths.flip(generation.ulid)), Some(generation.ulid));
        for (key, kind) in [
            (paths.generation(&generation).key("part-00000.parquet"), ObjectKind::Data(generation)),
            (paths.generation(&generation).key("dt=2024-01-01/part-00000.parquet"), ObjectKind::Data(generation)),
            (paths.manifest(&generation), ObjectKind::Manifest(generation)),
            (paths.flip(generation.ulid), ObjectKind::Flip(generation.ulid)),
            (paths.sweeping(&generation), ObjectKind::Sweeping(generation)),
            (paths.hold(), ObjectKind::Hold),
            (paths.revert_intent(Ulid::from_parts(7, 7)), ObjectKind::RevertIntent(Ulid::from_parts(7, 7))),
            (paths.views(), ObjectKind::Views),
            (paths.pending(&generation), ObjectKind::Pending(generation)),
            (paths.failed(&generation), ObjectKind::Failed(generation)),
        ] {
            assert_eq!(paths.parse(&key), Some(kind), "{key}");
        }
    }

    #[test]
    fn unmanaged_paths_are_not_parsed() {
        let paths = TablePaths::new(&"s3://lake/schemas".parse().unwrap(), "users");
        for foreign in [
            "s3://lake/schemas/users/blue".to_string(),
            "s3://lake/schemas/users".to_string(),
            format!("s3://other/schemas/users/green-{ULID}"),
            format!("s3://lake/schemas/users2/green-{ULID}"),
            format!("s3://lake/schemas/users/green-{}", ULID.to_lowercase()),
            format!("s3://lake/schemas/users/green-{ULID}/deeper"),
        ] {
            assert_eq!(paths.parse_generation(&foreign.parse().unwrap()), None, "{foreign}");
        }
        for foreign in [
            "s3://lake/schemas/users/blue/part-00000.parquet".to_string(),
            format!("s3://lake/schemas/users/green-{ULID}"),
            format!("s3://lake/schemas/users/green-{ULID}x/part-00000.parquet"),
            format!("s3://lake/schemas/users/green-{}/part-00000.parquet", ULID.to_lowercase()),
            format!("s3://lake/schemas/users/old/green-{ULID}/part-00000.parquet"),
            format!("s3://lake/schemas/users2/green-{ULID}/part-00000.parquet"),
            format!("s3://other/schemas/users/green-{ULID}/part-00000.parquet"),
            format!("s3://lake/schemas/users/_manifests/green-{ULID}.json.bak"),
            format!("s3://lake/schemas/users/_manifests/old/green-{ULID}.json"),
            format!("s3://lake/schemas/users/_flips/{}.json", ULID.to_lowercase()),
            format!("s3://lake/schemas/users/_flips/old/{ULID}.json"),
            format!("s3://lake/schemas/users/_pending/green-{ULID}.failed"),
            format!("s3://lake/schemas/users/_pending/green-{ULID}.failed.failed.json"),
            "s3://lake/schemas/users/notes.txt".to_string(),
        ] {
            assert_eq!(paths.parse(&foreign.parse().unwrap()), None, "{foreign}");
        }
        for key in [
            format!("_manifests/green-{ULID}.json"),
            format!("x_manifests/green-{ULID}.json"),
            "a/_manifests/x.json".into(),
        ] {
            assert_eq!(TablePaths::parse_manifest(&Key { bucket: "b".into(), key }), None);
        }
    }

    #[test]
    fn audit_table_name_holds_its_ulid_and_fits_into_glue() {
        let audit = Ulid::from_string(ULID).unwrap();
        assert_eq!(audit_table("my_users", audit), "turntable_audit_my_users_01jda00000000000000000000a");
        assert_eq!(parse_audit_table(&audit_table("my_users", audit)), Some(audit));
        assert!(audit_table(&"d".repeat(128), audit).len() <= 255);
        for foreign in ["users", "turntable_audit_users", "turntable_audit_users_01jda", "turntable_audit_"] {
            assert_eq!(parse_audit_table(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn group_records_lie_beside_the_tables() {
        let prefix = "s3://lake/schemas".parse().unwrap();
        let (group, paths) = (Group::new(&prefix, "core"), TablePaths::new(&prefix, "users"));
        assert_eq!(group.record().to_string(), "s3://lake/schemas/_groups/core.json");
        assert!(!group.folder().overlaps(paths.location()));
    }

    #[test]
    fn sibling_with_common_prefix_does_not_overlap() {
        let at = |text: &str| text.parse::<Location>().unwrap();
        assert!(!at("s3://b/t/blue").overlaps(&at("s3://b/t/blue-2")));
        assert!(at("s3://b/t").overlaps(&at("s3://b/t/blue")));
        assert!(at("s3://b/t/blue").overlaps(&at("s3://b/t/")));
        assert!(!at("s3://b/t").overlaps(&at("s3://c/t")));
    }
}
