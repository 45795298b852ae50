//! The S3 paths of one table.

use ulid::Ulid;

use super::{
    generation::Generation,
    location::{Key, Location},
};

/// The S3 folder of one table, `s3://BUCKET/PREFIX/TABLE/`, and the paths in it. All objects of the table are in this
/// folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TablePaths(Location);

const MANIFESTS: &str = "_manifests";
const FLIPS: &str = "_flips";
const RETURNS: &str = "_returns";
const SWEEPING: &str = "_sweeping";
const PENDING: &str = "_pending";
const VERDICTS: &str = "_verdicts";
const FAILED: &str = ".failed";

/// The kind of a managed object in a table's folder, parsed from its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// Any object in a generation's location.
    Data(Generation),
    Manifest(Generation),
    Flip(Ulid),
    Sweeping(Generation),
    Hold,
    /// The intent to flip to a generation that may have been live before.
    RevertIntent(Ulid),
    Views,
    /// The record of the table that is published in this folder.
    Table,
    /// The record of the last export that failed.
    ExportFailure,
    /// The record of the scheduled refreshes.
    Refresh,
    /// The record of the drops that `max_returning` holds back.
    Returning,
    /// The record of the last audit that rejected a candidate.
    Verdict(Generation),
    /// The record of an engine run.
    Pending(Generation),
    /// The record that says that an engine run failed.
    Failed(Generation),
}

impl TablePaths {
    pub fn new(prefix: &Location, table: &str) -> Self {
        TablePaths(prefix.folder(table))
    }

    /// Returns the paths for the table whose folder is `folder`.
    pub fn at(folder: Location) -> Self {
        TablePaths(folder)
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

    /// Returns the key of the intent to make a flip to a generation that may have been live before. `flip` is the ULID
    /// of that flip. The intent is written before the table is updated.
    pub fn revert_intent(&self, flip: Ulid) -> Key {
        self.revert_intents().key(&format!("{flip}.json"))
    }

    /// Returns the key of the object in which release 0.1.0 recorded the SQL for an inbox dataset's views.
    pub fn views(&self) -> Key {
        self.0.key("_views.json")
    }

    /// Returns the key of the record of the table that is published in this folder.
    pub fn table(&self) -> Key {
        self.0.key("_table.json")
    }

    /// Returns the key of the record of the last export that failed.
    pub fn export_failure(&self) -> Key {
        self.0.key("_export_failed.json")
    }

    /// Returns the key of the record of the scheduled refreshes.
    pub fn refresh(&self) -> Key {
        self.0.key("_refresh.json")
    }

    /// Returns the key of the record of the drops that `max_returning` holds back.
    pub fn returning(&self) -> Key {
        self.0.key("_returning.json")
    }

    /// Returns the key of the record of the last audit that rejected a candidate.
    pub fn verdict(&self, generation: &Generation) -> Key {
        self.0.folder(VERDICTS).key(&format!("{generation}.json"))
    }

    /// Returns the key of the mark that says that sweep is deleting a generation. The mark exists for as long as the
    /// deletion takes.
    pub fn sweeping(&self, generation: &Generation) -> Key {
        self.0.folder(SWEEPING).key(&format!("{generation}.json"))
    }

    pub fn runs(&self) -> Location {
        self.0.folder(PENDING)
    }

    /// Returns the key of an engine run's record. The record is written before the engine is called.
    pub fn pending(&self, generation: &Generation) -> Key {
        self.runs().key(&format!("{generation}.json"))
    }

    /// Returns the key of the record that says that an engine run failed.
    pub fn failed(&self, generation: &Generation) -> Key {
        self.runs().key(&format!("{generation}{FAILED}.json"))
    }

    /// Returns the kind of an object in this table's folder, or `None` if the object is unmanaged.
    pub fn parse(&self, key: &Key) -> Option<ObjectKind> {
        let rest = key.key.strip_prefix(&self.0.prefix).filter(|_| key.bucket == self.0.bucket)?;
        let (folder, name) = match rest.split_once('/') {
            None if *key == self.hold() => return Some(ObjectKind::Hold),
            None if *key == self.views() => return Some(ObjectKind::Views),
            None if *key == self.table() => return Some(ObjectKind::Table),
            None if *key == self.export_failure() => return Some(ObjectKind::ExportFailure),
            None if *key == self.refresh() => return Some(ObjectKind::Refresh),
            None if *key == self.returning() => return Some(ObjectKind::Returning),
            None => return None,
            Some(split) => split,
        };
        let json = |name: &str| name.strip_suffix(".json").map(str::to_owned);
        match folder {
            MANIFESTS => Some(ObjectKind::Manifest(json(name)?.parse().ok()?)),
            VERDICTS => Some(ObjectKind::Verdict(json(name)?.parse().ok()?)),
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

    /// Returns this table's generation at a location, or `None` if the location is unmanaged.
    pub fn parse_generation(&self, location: &Location) -> Option<Generation> {
        let rest = location.prefix.strip_prefix(&self.0.prefix).filter(|_| location.bucket == self.0.bucket)?;
        rest.strip_suffix('/')?.parse().ok()
    }

    /// Returns the generation at a location and the paths of its table, which may be any table. Returns `None` if this
    /// isn't a generation's location.
    pub fn of_generation(location: &Location) -> Option<(TablePaths, Generation)> {
        let (folder, generation) = location.prefix.strip_suffix('/')?.rsplit_once('/')?;
        let paths = TablePaths(Location { bucket: location.bucket.clone(), prefix: format!("{folder}/") });
        Some((paths, generation.parse().ok()?))
    }

    /// Returns the generation that a manifest's key names and the paths of its table. Returns `None` if this isn't a
    /// manifest's key.
    pub fn parse_manifest(key: &Key) -> Option<(TablePaths, Generation)> {
        let (folder, name) = key.key.rsplit_once(&format!("{MANIFESTS}/"))?;
        let generation = name.strip_suffix(".json")?.parse().ok()?;
        if !folder.ends_with('/') {
            return None;
        }
        Some((TablePaths(Location { bucket: key.bucket.clone(), prefix: folder.into() }), generation))
    }

    /// Returns the paths of the table whose flip record has this key. Returns `None` if this isn't a flip record's key.
    pub fn of_flip(key: &Key) -> Option<TablePaths> {
        let (folder, _) = key.key.rsplit_once(&format!("{FLIPS}/")).filter(|(folder, _)| folder.ends_with('/'))?;
        let paths = TablePaths(Location { bucket: key.bucket.clone(), prefix: folder.into() });
        paths.parse_flip(key).is_some().then_some(paths)
    }

    /// Returns the ULID of the flip whose record has this key, or `None` if this isn't a flip record's key.
    pub fn parse_flip(&self, key: &Key) -> Option<Ulid> {
        let name = key.key.strip_prefix(&self.flips().prefix)?.strip_suffix(".json")?;
        Ulid::from_string(name).ok()
    }
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
        assert_eq!(TablePaths::of_flip(&paths.flip(generation.ulid)), Some(paths.clone()));
        assert_eq!(TablePaths::of_flip(&paths.manifest(&generation)), None);
        for (key, kind) in [
            (paths.generation(&generation).key("part-00000.parquet"), ObjectKind::Data(generation)),
            (paths.generation(&generation).key("dt=2024-01-01/part-00000.parquet"), ObjectKind::Data(generation)),
            (paths.manifest(&generation), ObjectKind::Manifest(generation)),
            (paths.flip(generation.ulid), ObjectKind::Flip(generation.ulid)),
            (paths.sweeping(&generation), ObjectKind::Sweeping(generation)),
            (paths.hold(), ObjectKind::Hold),
            (paths.revert_intent(Ulid::from_parts(7, 7)), ObjectKind::RevertIntent(Ulid::from_parts(7, 7))),
            (paths.views(), ObjectKind::Views),
            (paths.table(), ObjectKind::Table),
            (paths.export_failure(), ObjectKind::ExportFailure),
            (paths.refresh(), ObjectKind::Refresh),
            (paths.returning(), ObjectKind::Returning),
            (paths.verdict(&generation), ObjectKind::Verdict(generation)),
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
}
