//! `diff`: compares two generations of a dataset by their manifests and the files' footers. Reads no rows, unless the keys
//! are to be compared too.

mod keys;

use std::{collections::BTreeMap, fmt, sync::Arc};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde::Serialize;
use turntable::{
    audit::{Extremes, Footer, Statistics, Value},
    aws::s3::S3,
    config::{Config, Dataset as Configured},
    layout::{Generation, Key},
    manifest::Manifest,
    port::Objects,
    publish::gather,
};

pub use keys::Keys;

use keys::KeyDifference;

use crate::{
    dataset::Dataset,
    done::Done,
    table::{table, thousands},
    target::{Format, Target},
};

/// The generations to compare: the older and the newer one. `None` means the live generation and the one before it.
pub type Pair<'a> = Option<(&'a str, &'a str)>;

/// Compares two generations, and their keys if that is wanted.
pub async fn diff(
    target: &Target,
    dataset: &str,
    pair: Pair<'_>,
    keys: Option<Keys<'_>>,
    format: Format,
) -> Result<Done> {
    let stack = target.connect().await?;
    let (from, to) = match pair {
        Some((from, to)) => (from.to_owned(), to.to_owned()),
        None => live_and_before(&Dataset::status(&stack, dataset).await?.0)?,
    };
    let objects: Arc<dyn Objects> = Arc::new(S3::new(stack.aws()));
    let at: Key = stack.datasets().await?;
    let text = objects.get(&at).await?.with_context(|| format!("{at} does not exist: upload it first"))?;
    let config = Config::parse(&at.to_string(), &String::from_utf8_lossy(&text))?;
    let configured = config.dataset(dataset)?;
    let (from, to) = (side(&objects, configured, &from).await?, side(&objects, configured, &to).await?);
    let mut difference = Difference::of(dataset, &from, &to);
    if let Some(keys) = keys {
        let sides = [&from.manifest, &to.manifest];
        difference.keys = Some(keys::compared(&stack, &configured.table.database, sides, &keys).await?);
    }
    Ok(Done::with(match format {
        Format::Json => format!("{}\n", serde_json::to_string(&difference)?),
        Format::Table => difference.to_string(),
    }))
}

fn live_and_before(status: &Dataset) -> Result<(String, String)> {
    let name = &status.dataset;
    let live = status.live.clone().with_context(|| format!("{name} has no table, so there is nothing to compare"))?;
    let before =
        status.previous.clone().with_context(|| format!("nothing was live before {live}: name two generations"))?;
    Ok((before, live))
}

/// The parts of a generation that are compared.
struct Side {
    manifest: Manifest,
    /// The statistics of each column over all files. Empty if the files differ from those in the manifest.
    statistics: BTreeMap<String, Statistics>,
}

async fn side(objects: &Arc<dyn Objects>, dataset: &Configured, name: &str) -> Result<Side> {
    let generation: Generation = name.parse()?;
    let key = dataset.paths.manifest(&generation);
    let json = objects.get(&key).await?;
    let json = json.with_context(|| {
        format!("{name} does not exist or was swept: `turntable history {}` lists the generations", dataset.name)
    })?;
    let manifest = Manifest::from_json(&key, &generation, &json)?;
    ensure!(manifest.location == dataset.paths.generation(&generation), "{key} names another location");
    let footers = gather(objects, &manifest).await?.footers;
    Ok(Side { statistics: combined(&footers), manifest })
}

/// Combines the statistics of all files.
fn combined(footers: &[Footer]) -> BTreeMap<String, Statistics> {
    let mut all: BTreeMap<String, Statistics> = BTreeMap::new();
    let known = footers.iter().flat_map(|footer| footer.columns.iter().zip(&footer.statistics));
    for (column, found) in known {
        let Some(found) = found else { continue };
        let sum = match all.remove(&column.name) {
            Some(known) => known.and(found.clone()),
            None => found.clone(),
        };
        all.insert(column.name.clone(), sum);
    }
    all
}

/// The differences between two generations.
#[derive(Debug, Serialize)]
struct Difference {
    dataset: String,
    generation: [String; 2],
    as_of: [Timestamp; 2],
    rows: [u64; 2],
    bytes: [u64; 2],
    files: [usize; 2],
    /// All columns in either generation, in order.
    columns: Vec<ColumnDifference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<KeyDifference>,
}

#[derive(Debug, Serialize)]
struct ColumnDifference {
    name: String,
    /// The column's type. `None` if the generation lacks the column.
    #[serde(rename = "type")]
    glue_type: [Option<String>; 2],
    nulls: [Option<u64>; 2],
    min: [Option<String>; 2],
    max: [Option<String>; 2],
}

impl Difference {
    fn of(dataset: &str, from: &Side, to: &Side) -> Difference {
        let sides = [from, to];
        let mut names: Vec<&String> = to.manifest.columns.iter().map(|column| &column.name).collect();
        names.extend(
            from.manifest
                .columns
                .iter()
                .map(|column| &column.name)
                .filter(|name| !to.manifest.columns.iter().any(|column| column.name == **name)),
        );
        let column = |name: &&String| {
            let typed = |side: &Side| {
                side.manifest.columns.iter().find(|column| column.name == **name).map(|column| column.glue_type.clone())
            };
            let known = sides.map(|side| side.statistics.get(*name));
            let bounds = known.map(|known| known.map(|known| &known.extremes).map(bounds).unwrap_or_default());
            ColumnDifference {
                name: (*name).clone(),
                glue_type: sides.map(typed),
                nulls: known.map(|known| known.and_then(|known| known.nulls)),
                min: bounds.clone().map(|(min, _)| min),
                max: bounds.map(|(_, max)| max),
            }
        };
        Difference {
            dataset: dataset.into(),
            generation: sides.map(|side| side.manifest.generation.to_string()),
            as_of: sides.map(|side| side.manifest.as_of),
            rows: sides.map(|side| side.manifest.rows),
            bytes: sides.map(|side| side.manifest.bytes),
            files: sides.map(|side| side.manifest.files.len()),
            columns: names.iter().map(column).collect(),
            keys: None,
        }
    }
}

/// Returns the smallest and the largest value as strings, if they are known.
fn bounds(extremes: &Extremes) -> (Option<String>, Option<String>) {
    match extremes {
        Extremes::Between { min, max, exact } => {
            let more = if *exact { "" } else { "…" };
            (Some(shown(min) + more), Some(shown(max) + more))
        }
        Extremes::NotANumber => (Some("NaN".into()), Some("NaN".into())),
        Extremes::NoValue | Extremes::Unknown => (None, None),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Whole(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Decimal { unscaled, scale } => decimal(*unscaled, usize::from(*scale)),
        Value::Date(_) => value.moment().map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_else(|| "–".into()),
        Value::Timestamp(_) => value.moment().map(|at| at.to_string()).unwrap_or_else(|| "–".into()),
        Value::Text(bytes) => String::from_utf8_lossy(bytes)
            .chars()
            .flat_map(|c| match c.is_control() {
                true => c.escape_default().collect::<Vec<_>>(),
                false => vec![c],
            })
            .collect(),
    }
}

/// Formats `unscaled` / 10^`scale`.
fn decimal(unscaled: i128, scale: usize) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    match digits.split_at(digits.len() - scale) {
        (whole, "") => format!("{sign}{whole}"),
        (whole, part) => format!("{sign}{whole}.{part}"),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [from, to] = &self.generation;
        writeln!(f, "{}: {from} → {to}\n", self.dataset)?;
        let change = |[from, to]: [u64; 2]| match to >= from {
            true => format!("+{}", thousands(to - from)),
            false => format!("-{}", thousands(from - to)),
        };
        let line = |name: &str, both: [u64; 2]| [name.into(), thousands(both[0]), thousands(both[1]), change(both)];
        let files = self.files.map(|files| files as u64);
        let rows = [line("rows", self.rows), line("bytes", self.bytes), line("files", files)];
        f.write_str(&table(["", "from", "to", "change"], [false, true, true, true], &rows))?;
        let both = |values: &[Option<String>; 2]| match values {
            [from, to] if from == to => from.clone().unwrap_or_else(|| "–".into()),
            values => {
                let [from, to] = values.each_ref().map(|value| value.as_deref().unwrap_or("–"));
                format!("{from} → {to}")
            }
        };
        let row = |column: &ColumnDifference| {
            let nulls = column.nulls.map(|nulls| nulls.map(thousands));
            let state = match &column.glue_type {
                [None, _] => "added",
                [_, None] => "removed",
                [from, to] if from != to => "changed",
                _ => "",
            };
            [
                column.name.clone(),
                both(&column.glue_type),
                both(&nulls),
                both(&column.min),
                both(&column.max),
                state.into(),
            ]
        };
        let rows: Vec<[String; 6]> = self.columns.iter().map(row).collect();
        write!(f, "\n{}", table(["column", "type", "nulls", "min", "max", ""], [false; 6], &rows))?;
        self.keys.iter().try_for_each(|keys| f.write_str(&keys.shown()))
    }
}

#[cfg(test)]
mod tests {
    use turntable::schema::Column;

    use super::*;

    fn column(
        name: &str,
        types: [Option<&str>; 2],
        nulls: [Option<u64>; 2],
        min: [Option<&str>; 2],
    ) -> ColumnDifference {
        let owned = |values: [Option<&str>; 2]| values.map(|value| value.map(str::to_owned));
        ColumnDifference { name: name.into(), glue_type: owned(types), nulls, min: owned(min), max: [None, None] }
    }

    #[test]
    fn both_sides_are_shown_where_they_differ() {
        let difference = Difference {
            dataset: "users".into(),
            generation: ["blue-1".into(), "green-2".into()],
            as_of: [Timestamp::UNIX_EPOCH; 2],
            rows: [1_200, 1_100],
            bytes: [10_000, 12_500],
            files: [1, 1],
            columns: vec![
                column("id", [Some("int"), Some("bigint")], [Some(0), Some(0)], [Some("1"), Some("1")]),
                column("name", [Some("string"), Some("string")], [Some(0), Some(1_000)], [Some("a"), Some("b")]),
                column("new", [None, Some("date")], [None, Some(3)], [None, None]),
            ],
            keys: None,
        };
        let expected = "\
users: blue-1 → green-2

         from      to  change
rows    1,200   1,100    -100
bytes  10,000  12,500  +2,500
files       1       1      +0

column  type          nulls      min    max
id      int → bigint  0          1      –    changed
name    string        0 → 1,000  a → b  –
new     – → date      – → 3      –      –    added
";
        assert_eq!(difference.to_string(), expected);
    }

    #[test]
    fn statistics_of_all_files_are_combined() {
        let footer = |nulls: u64, min: i64, max: i64| Footer {
            key: "part".into(),
            rows: 1,
            columns: vec![Column { name: "id".into(), glue_type: "bigint".into() }],
            statistics: vec![Some(Statistics {
                nulls: Some(nulls),
                extremes: Extremes::Between { min: Value::Whole(min), max: Value::Whole(max), exact: true },
            })],
            partitions: Vec::new(),
        };
        let all = combined(&[footer(1, 5, 9), footer(2, 3, 7)]);
        assert_eq!(all["id"].nulls, Some(3));
        assert_eq!(bounds(&all["id"].extremes), (Some("3".into()), Some("9".into())));
    }

    #[test]
    fn values_are_shown_as_people_write_them() {
        let cents = |unscaled, scale| shown(&Value::Decimal { unscaled, scale });
        assert_eq!(
            [cents(1_234, 2), cents(-5, 2), cents(7, 0), cents(i128::MIN, 0)],
            ["12.34", "-0.05", "7", "-170141183460469231731687303715884105728"]
        );
        assert_eq!(shown(&Value::Date(1)), "1970-01-02");
        assert_eq!(shown(&Value::Timestamp(1_500_000)), "1970-01-01T00:00:01.5Z");
        assert_eq!(shown(&Value::Text(b"a\x1b[1m".to_vec())), "a\\u{1b}[1m");
    }
}
