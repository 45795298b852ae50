//! The settings that a dataset can inherit from `[defaults]`.

use jiff::{SignedDuration, tz::TimeZone};

use super::{
    dataset::{OnDrift, OnUnrepresentable, Parquet, Retain},
    names::{identifier, location},
    read::Keys,
    refresh,
};
use crate::{layout::Location, schema::Policy};

/// The settings from one dataset or from `[defaults]`. `None` means that a setting is not set there.
#[derive(Default, Clone)]
pub struct Defaults {
    pub database: Option<String>,
    pub location: Option<Location>,
    pub create: Option<bool>,
    pub schema: Option<Policy>,
    pub row_group_mb: Option<u64>,
    pub file_mb: Option<u64>,
    pub compression_level: Option<i32>,
    pub on_drift: Option<OnDrift>,
    pub on_unrepresentable: Option<OnUnrepresentable>,
    pub retain: Kept,
    pub workgroups: Option<Vec<String>>,
    pub refresh: Option<refresh::Given>,
    pub timezone: Option<TimeZone>,
}

/// The keys in `retain`. `None` means that a key is not set.
#[derive(Default, Clone, Copy)]
pub struct Kept {
    generations: Option<u64>,
    drain: Option<SignedDuration>,
    abandoned: Option<SignedDuration>,
    max_age: Option<SignedDuration>,
}

impl Kept {
    fn read(keys: Keys) -> Self {
        let kept = Kept {
            generations: keys.whole("generations", 0),
            drain: keys.duration("drain"),
            abandoned: keys.duration("abandoned"),
            max_age: keys.duration("max_age"),
        };
        if kept.abandoned.is_some_and(|abandoned| abandoned < MIN_ABANDONED) {
            keys.fault("abandoned", "expected at least 1h: sweep can't tell a run in progress from one that has died");
        }
        keys.finish();
        kept
    }

    /// Returns these keys, with missing ones taken from `fallback`.
    fn or(self, fallback: Kept) -> Kept {
        Kept {
            generations: self.generations.or(fallback.generations),
            drain: self.drain.or(fallback.drain),
            abandoned: self.abandoned.or(fallback.abandoned),
            max_age: self.max_age.or(fallback.max_age),
        }
    }

    /// Fills in the defaults. An inbox keeps no generations for a rollback by default, because it can't be rolled back.
    pub fn retain(self, is_inbox: bool) -> Retain {
        let default = Retain::default();
        Retain {
            generations: self.generations.unwrap_or(if is_inbox { 0 } else { default.generations }),
            drain: self.drain.unwrap_or(default.drain),
            abandoned: self.abandoned.unwrap_or(default.abandoned),
            max_age: self.max_age.unwrap_or(default.max_age),
        }
    }
}

/// The minimum of `abandoned`. Sweep can't tell a run in progress from one that has died, so it must not delete their
/// data too soon.
const MIN_ABANDONED: SignedDuration = SignedDuration::from_hours(1);

/// Reads `on_drift`, which may also be given by its old name, `on_unflip`.
fn on_drift(keys: &Keys) -> Option<OnDrift> {
    let (new, old) = (keys.parsed("on_drift", OnDrift::parse), keys.parsed("on_unflip", OnDrift::parse));
    if new.is_some() && old.is_some() {
        keys.fault("on_unflip", "is the old name of on_drift, which is also set: remove it");
    }
    new.or(old)
}

/// Reads ZSTD's level.
fn compression_level(keys: &Keys) -> Option<i32> {
    let (key, most) = ("compression_level", Parquet::MAX_COMPRESSION_LEVEL);
    let level = keys.whole(key, 1)?;
    if level > most {
        keys.fault(key, format!("expected a level of ZSTD from 1 to {most}, found {level}"));
        return None;
    }
    i32::try_from(level).ok()
}

impl Defaults {
    pub fn read(keys: &Keys) -> Self {
        let parquet = keys.table("parquet");
        let size = |key| parquet.as_ref().and_then(|keys: &Keys| keys.whole(key, 1));
        let defaults = Defaults {
            database: keys.parsed("database", identifier),
            location: keys.parsed("location", location),
            create: keys.boolean("create"),
            schema: keys.parsed("schema", Policy::parse),
            row_group_mb: size("row_group_mb"),
            file_mb: size("file_mb"),
            compression_level: parquet.as_ref().and_then(compression_level),
            on_drift: on_drift(keys),
            on_unrepresentable: keys.parsed("on_unrepresentable", OnUnrepresentable::parse),
            retain: keys.table("retain").map(Kept::read).unwrap_or_default(),
            workgroups: keys.strings("workgroups").map(|names| names.into_iter().map(str::to_owned).collect()),
            refresh: refresh::refresh(keys),
            timezone: refresh::timezone(keys),
        };
        if let Some(parquet) = parquet {
            parquet.finish();
        }
        defaults
    }

    /// Returns these settings, with missing ones taken from `fallback`.
    pub fn or(self, fallback: &Defaults) -> Defaults {
        Defaults {
            database: self.database.or_else(|| fallback.database.clone()),
            location: self.location.or_else(|| fallback.location.clone()),
            create: self.create.or(fallback.create),
            schema: self.schema.or(fallback.schema),
            row_group_mb: self.row_group_mb.or(fallback.row_group_mb),
            file_mb: self.file_mb.or(fallback.file_mb),
            compression_level: self.compression_level.or(fallback.compression_level),
            on_drift: self.on_drift.or(fallback.on_drift),
            on_unrepresentable: self.on_unrepresentable.or(fallback.on_unrepresentable),
            retain: self.retain.or(fallback.retain),
            workgroups: self.workgroups.or_else(|| fallback.workgroups.clone()),
            refresh: self.refresh.or_else(|| fallback.refresh.clone()),
            timezone: self.timezone.or_else(|| fallback.timezone.clone()),
        }
    }

    /// Returns the settings for Parquet files, with the defaults filled in.
    pub fn parquet(&self) -> Parquet {
        let default = Parquet::default();
        let bytes = |mb: Option<u64>, default| mb.map_or(default, |mb| mb.saturating_mul(1 << 20));
        Parquet {
            row_group_size: bytes(self.row_group_mb, default.row_group_size),
            file_size: bytes(self.file_mb, default.file_size),
            compression_level: self.compression_level.unwrap_or(default.compression_level),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        config::{
            Config, OnDrift, OnUnrepresentable, Retain,
            test_support::{DEFAULTS, faults},
        },
        schema::Policy,
    };

    #[test]
    fn schema_policy_of_a_dataset_overrides_the_default() {
        let text = |own: &str| {
            format!(
                "{DEFAULTS}schema = \"additive\"\n[datasets.a]\n{own}source = {{ files = {{ location = \"s3://lake/in/\" }} }}\n"
            )
        };
        let policy = |own: &str| Config::parse("x", &text(own)).unwrap().dataset("a").unwrap().schema;
        assert_eq!((policy(""), policy("schema = \"any\"\n")), (Policy::Additive, Policy::Any));
        assert_eq!(
            faults(&text("schema = \"loose\"\n")),
            "datasets.toml: datasets.a.schema: unknown policy \"loose\", expected one of strict, additive, any"
        );
    }

    #[test]
    fn compression_level_is_inherited_and_limited() {
        let text = |above: &str, own: &str| {
            format!("{DEFAULTS}{above}[datasets.a]\n{own}source = {{ files = {{ location = \"s3://lake/in/\" }} }}\n")
        };
        let parquet =
            |above: &str, own: &str| Config::parse("x", &text(above, own)).unwrap().dataset("a").unwrap().parquet;
        let level = |above: &str, own: &str| parquet(above, own).compression_level;
        let three = "parquet = { compression_level = 3, file_mb = 100 }\n";
        assert_eq!((level("", ""), level(three, "")), (1, 3));
        assert_eq!(level(three, "parquet = { compression_level = 19 }\n"), 19);
        assert_eq!(parquet(three, "parquet = { compression_level = 19 }\n").file_size, 100 << 20);
        assert_eq!(
            faults(&text("", "parquet = { compression_level = 20 }\n")),
            "datasets.toml: datasets.a.parquet.compression_level: expected a level of ZSTD from 1 to 19, found 20"
        );
    }

    #[test]
    fn on_unflip_is_an_alias_of_on_drift() {
        let files = "source = { files = { location = \"s3://lake/in/\" } }\n";
        let text = |above: &str, own: &str| format!("{DEFAULTS}{above}[datasets.a]\n{own}{files}");
        let on_drift =
            |above: &str, own: &str| Config::parse("x", &text(above, own)).unwrap().dataset("a").unwrap().on_drift;
        assert_eq!(on_drift("", ""), OnDrift::Report);
        for key in ["on_drift", "on_unflip"] {
            let repair = format!("{key} = \"repair\"\n");
            assert_eq!((on_drift(&repair, ""), on_drift("", &repair)), (OnDrift::Repair, OnDrift::Repair));
            assert_eq!(on_drift(&repair, "on_drift = \"report\"\n"), OnDrift::Report);
        }
        assert_eq!(
            faults(&text("", "on_drift = \"report\"\non_unflip = \"repair\"\n")),
            "datasets.toml: datasets.a.on_unflip: is the old name of on_drift, which is also set: remove it"
        );
    }

    #[test]
    fn on_unrepresentable_is_inherited_and_part_of_the_spec() {
        let files = "source = { files = { location = \"s3://lake/in/\" } }\n";
        let inbox = "source = { inbox = { location = \"s3://lake/inbox\", key = \"id\" } }\n";
        let of = |above: &str, own: &str| {
            let text = format!("{DEFAULTS}{above}[datasets.a]\n{own}{files}[datasets.b]\n{inbox}");
            let config = Config::parse("x", &text).unwrap();
            let dataset = config.dataset("a").unwrap();
            (dataset.on_unrepresentable, dataset.spec.clone())
        };
        let null = "on_unrepresentable = \"null\"\n";
        assert_eq!(of("", "").0, OnUnrepresentable::Error);
        assert_eq!(of(null, "").0, OnUnrepresentable::Null);
        assert_eq!(of(null, "on_unrepresentable = \"error\"\n").0, OnUnrepresentable::Error);
        assert_eq!(of(null, "").1, of("", null).1);
        assert_ne!(of(null, "").1, of("", "").1);
        assert_eq!(
            faults(&format!("{DEFAULTS}on_unrepresentable = \"skip\"\n[datasets.b]\n{null}{inbox}")),
            "datasets.toml: defaults.on_unrepresentable: expected \"error\" or \"null\", found \"skip\"\n\
             datasets.toml: datasets.b.on_unrepresentable: not supported for an inbox, which always sets invalid records aside: remove it"
        );
    }

    #[test]
    fn each_key_of_retain_falls_back_to_the_default() {
        let source = "source = { files = { location = \"s3://lake/in/\" } }";
        let text = format!(
            "{DEFAULTS}retain = {{ generations = 5, drain = \"90m\" }}\nworkgroups = [\"bi\"]\n\
             [datasets.a]\nretain = {{ drain = \"4h 10m\", max_age = \"2w\" }}\n{source}\n"
        );
        let config = Config::parse("x", &text).unwrap();
        let dataset = config.dataset("a").unwrap();
        let hours = jiff::SignedDuration::from_hours;
        let drain = jiff::SignedDuration::from_mins(250);
        assert_eq!(dataset.retain, Retain { generations: 5, drain, abandoned: hours(24), max_age: hours(14 * 24) });
        assert_eq!(dataset.workgroups, ["bi"]);
    }

    #[test]
    fn inconsistent_retain_is_rejected() {
        let source = "source = { files = { location = \"s3://lake/in/\" } }";
        let text = format!(
            "{DEFAULTS}[datasets.a]\nretain = {{ drain = \"2h\", abandoned = \"59m\", max_age = \"119m\" }}\n\
             workgroups = [\"\"]\n{source}\n\
             [datasets.b]\nretain = {{ drain = \"1 fortnight\", abandoned = \"-2h\", max_age = \"23h\", min_age = 1 }}\n{source}\n"
        );
        assert_eq!(
            faults(&text),
            "datasets.toml: datasets.a.retain.abandoned: expected at least 1h: sweep can't tell a run in progress from one that has died\n\
             datasets.toml: datasets.a.workgroups: expected a list of non-empty strings, found an array\n\
             datasets.toml: datasets.a.retain: max_age 1h 59m is shorter than drain 2h, before which sweep deletes no generation: raise max_age or lower drain\n\
             datasets.toml: datasets.b.retain.drain: \"1 fortnight\" is not a valid duration, expected one such as \"90m\", \"1h\" or \"30d\"\n\
             datasets.toml: datasets.b.retain.abandoned: \"-2h\" is not a valid duration, expected one such as \"90m\", \"1h\" or \"30d\"\n\
             datasets.toml: datasets.b.retain: unknown key \"min_age\", expected one of generations, drain, abandoned, max_age\n\
             datasets.toml: datasets.b.retain: max_age 23h is shorter than abandoned 24h, before which sweep deletes no generation: raise max_age or lower abandoned"
        );
    }
}
