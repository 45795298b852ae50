//! What a dataset may leave to `[defaults]`.

use jiff::SignedDuration;

use super::{
    OnUnflip, OnUnrepresentable, Parquet, Retain,
    names::{identifier, location},
    read::Keys,
};
use crate::{layout::Location, schema::Policy};

/// What a dataset may leave to `[defaults]`.
#[derive(Default, Clone)]
pub struct Defaults {
    pub database: Option<String>,
    pub location: Option<Location>,
    pub create: Option<bool>,
    pub schema: Option<Policy>,
    pub row_group_mb: Option<u64>,
    pub file_mb: Option<u64>,
    pub on_unflip: Option<OnUnflip>,
    pub on_unrepresentable: Option<OnUnrepresentable>,
    pub retain: Kept,
    pub workgroups: Option<Vec<String>>,
}

/// `retain`, as far as it is given.
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
        if kept.abandoned.is_some_and(|abandoned| abandoned < LEAST_ABANDONED) {
            keys.fault("abandoned", "expected 1h or more: a run that is under way looks like one that has died");
        }
        keys.finish();
        kept
    }

    fn or(self, below: Kept) -> Kept {
        Kept {
            generations: self.generations.or(below.generations),
            drain: self.drain.or(below.drain),
            abandoned: self.abandoned.or(below.abandoned),
            max_age: self.max_age.or(below.max_age),
        }
    }

    /// Of an inbox nothing is kept for a rollback, which is refused.
    pub fn retain(self, is_inbox: bool) -> Retain {
        let usual = Retain::default();
        Retain {
            generations: self.generations.unwrap_or(if is_inbox { 0 } else { usual.generations }),
            drain: self.drain.unwrap_or(usual.drain),
            abandoned: self.abandoned.unwrap_or(usual.abandoned),
            max_age: self.max_age.unwrap_or(usual.max_age),
        }
    }
}

const LEAST_ABANDONED: SignedDuration = SignedDuration::from_hours(1);

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
            on_unflip: keys.parsed("on_unflip", OnUnflip::parse),
            on_unrepresentable: keys.parsed("on_unrepresentable", OnUnrepresentable::parse),
            retain: keys.table("retain").map(Kept::read).unwrap_or_default(),
            workgroups: keys.strings("workgroups").map(|names| names.into_iter().map(str::to_owned).collect()),
        };
        if let Some(parquet) = parquet {
            parquet.finish();
        }
        defaults
    }

    pub fn or(self, below: &Defaults) -> Defaults {
        Defaults {
            database: self.database.or_else(|| below.database.clone()),
            location: self.location.or_else(|| below.location.clone()),
            create: self.create.or(below.create),
            schema: self.schema.or(below.schema),
            row_group_mb: self.row_group_mb.or(below.row_group_mb),
            file_mb: self.file_mb.or(below.file_mb),
            on_unflip: self.on_unflip.or(below.on_unflip),
            on_unrepresentable: self.on_unrepresentable.or(below.on_unrepresentable),
            retain: self.retain.or(below.retain),
            workgroups: self.workgroups.or_else(|| below.workgroups.clone()),
        }
    }

    pub fn parquet(&self) -> Parquet {
        let usual = Parquet::default();
        let bytes = |mb: Option<u64>, usual| mb.map_or(usual, |mb| mb.saturating_mul(1 << 20));
        Parquet {
            row_group_size: bytes(self.row_group_mb, usual.row_group_size),
            file_size: bytes(self.file_mb, usual.file_size),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        config::{
            Config, OnUnrepresentable, Retain,
            told::{DEFAULTS, faults},
        },
        schema::Policy,
    };

    #[test]
    fn the_schema_policy_of_the_dataset_comes_before_the_default() {
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
    fn what_becomes_of_unrepresentable_values_is_said_and_part_of_the_spec() {
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
             datasets.toml: datasets.b.on_unrepresentable: an inbox sets bad records aside, and needs no such word"
        );
    }

    #[test]
    fn what_is_kept_falls_back_to_the_defaults_one_by_one() {
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
    fn a_promise_that_cannot_be_kept_is_refused() {
        let source = "source = { files = { location = \"s3://lake/in/\" } }";
        let text = format!(
            "{DEFAULTS}[datasets.a]\nretain = {{ drain = \"2h\", abandoned = \"59m\", max_age = \"119m\" }}\n\
             workgroups = [\"\"]\n{source}\n\
             [datasets.b]\nretain = {{ drain = \"1 fortnight\", abandoned = \"-2h\", max_age = \"23h\", min_age = 1 }}\n{source}\n"
        );
        assert_eq!(
            faults(&text),
            "datasets.toml: datasets.a.retain.abandoned: expected 1h or more: a run that is under way looks like one that has died\n\
             datasets.toml: datasets.a.workgroups: expected a list of strings that are not empty, found an array\n\
             datasets.toml: datasets.a.retain: max_age 1h 59m is shorter than drain 2h: nothing may go before that\n\
             datasets.toml: datasets.b.retain.drain: \"1 fortnight\" is no length of time, expected one such as \"90m\", \"1h\" or \"30d\"\n\
             datasets.toml: datasets.b.retain.abandoned: \"-2h\" is no length of time, expected one such as \"90m\", \"1h\" or \"30d\"\n\
             datasets.toml: datasets.b.retain: unknown key \"min_age\", expected one of generations, drain, abandoned, max_age\n\
             datasets.toml: datasets.b.retain: max_age 23h is shorter than abandoned 24h: nothing may go before that"
        );
    }
}
