//! The `UNLOAD` statement, and the query that first counts the partitions that the statement would write.
//!
//! Athena's guide (<https://docs.aws.amazon.com/athena/latest/ug/unload.html>) sets the limits: the destination must be
//! empty, there may be at most 100 partitions, and the partition columns come last.

use crate::{
    config::Athena,
    error::{Error, Result},
    layout::Location,
    record::Folder,
};

/// The most partitions that one `UNLOAD` can write.
pub const MAX_PARTITIONS: u64 = 100;

/// The maximum length of a statement that Athena accepts, in bytes (`QueryString` in the `StartQueryExecution`
/// reference).
const MAX_STATEMENT_BYTES: usize = 262_144;

/// Returns the statement `UNLOAD (…) TO 's3://…' WITH (…)`. The dataset's query is on lines of its own, because it may
/// end with a comment. Fails with `Config` if the location contains a quote or the end
/// of a comment, or if the statement is too long.
pub fn sql(athena: &Athena, location: &Location) -> Result<String> {
    let location = location.to_string();
    if location.contains('\'') || location.contains("*/") {
        return Err(Error::config(format!(
            "the location {location} contains a single quote or */, which UNLOAD doesn't accept: choose another location"
        )));
    }
    let columns: Vec<String> = athena.partition_by.iter().map(|column| format!("'{column}'")).collect();
    let folders =
        if columns.is_empty() { String::new() } else { format!(", partitioned_by = ARRAY[{}]", columns.join(", ")) };
    let sql = format!(
        "UNLOAD (\n{}\n) TO '{location}' WITH (format = 'PARQUET', compression = 'ZSTD'{folders})",
        athena.query
    );
    if sql.len() > MAX_STATEMENT_BYTES {
        return Err(Error::config(format!(
            "the UNLOAD statement for the query has {} bytes, and Athena accepts at most {MAX_STATEMENT_BYTES}: move part \
             of the query into a view",
            sql.len()
        )));
    }
    Ok(sql)
}

/// Returns the location that one of Turntable's `UNLOAD` statements writes to, or `None` for other statements.
pub fn location(sql: &str) -> Option<Location> {
    let (before, _) = sql.rsplit_once("' WITH (")?;
    let (head, location) = before.rsplit_once('\'')?;
    head.trim_end().to_ascii_uppercase().ends_with(" TO").then(|| location.parse().ok()).flatten()
}

/// Returns a query for the number of partitions that the `UNLOAD` would write, and for the types of the partition
/// columns. The query stops counting one partition above [`MAX_PARTITIONS`]. With columnar formats, it reads only these
/// columns.
pub fn question(athena: &Athena) -> String {
    let names: Vec<String> = athena.partition_by.iter().map(|name| format!("\"{name}\"")).collect();
    let types: String = names.iter().map(|name| format!(", max(typeof({name}))")).collect();
    let (names, most) = (names.join(", "), MAX_PARTITIONS + 1);
    format!("SELECT count(*){types} FROM (SELECT DISTINCT {names} FROM (\n{}\n) LIMIT {most})", athena.query)
}

/// Returns the partition columns with their types from `row`, the answer to [`question`]. Fails with `Config` if there
/// are more than [`MAX_PARTITIONS`] partitions, and with `Unavailable` if the row is incomplete.
pub fn folders(athena: &Athena, row: &[Option<String>]) -> Result<Vec<Folder>> {
    let names = &athena.partition_by;
    let (count, types) = row.split_first().ok_or_else(|| incomplete_response(names))?;
    let count: u64 = count.as_deref().and_then(|count| count.parse().ok()).ok_or_else(|| incomplete_response(names))?;
    if count > MAX_PARTITIONS {
        return Err(Error::config(format!(
            "the result has more than {MAX_PARTITIONS} partitions by {}, the limit for one UNLOAD: partition by \
             coarser columns, such as a month, or by none, or read the rows with another source (files, glue_job), \
             which allows 10,000",
            names.join(", ")
        )));
    }
    if types.len() != names.len() {
        return Err(incomplete_response(names));
    }
    let folder = |(name, kind): (&String, &Option<String>)| Folder {
        name: name.clone(),
        glue_type: kind.as_deref().map(glue_type),
    };
    Ok(names.iter().zip(types).map(folder).collect())
}

fn incomplete_response(names: &[String]) -> Error {
    Error::unavailable(format!(
        "Athena's response lacks the number or types of the partitions by {}: run the export again",
        names.join(", ")
    ))
}

/// Converts a type name from Athena's `typeof` to a Glue type.
fn glue_type(kind: &str) -> String {
    match kind {
        "integer" => "int".into(),
        "varchar" => "string".into(),
        text if text.starts_with("varchar(") || text.starts_with("char(") => "string".into(),
        other => other.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn athena(partition_by: &[&str]) -> Athena {
        let partition_by = partition_by.iter().map(|name| (*name).to_owned()).collect();
        Athena { query: "SELECT id, ' WITH (' AS a, dt FROM t -- all".into(), workgroup: "etl".into(), partition_by }
    }

    #[test]
    fn location_is_found_in_the_statement() {
        let green = "s3://lake/schemas/users/green-01JDA00000000000000000000A/";
        let at: Location = green.parse().unwrap();
        for columns in [&[][..], &["dt", "shop"]] {
            assert_eq!(location(&sql(&athena(columns), &at).unwrap()), Some(at.clone()));
        }
        assert_eq!(
            sql(&athena(&["dt", "shop"]), &at).unwrap(),
            format!(
                "UNLOAD (\nSELECT id, ' WITH (' AS a, dt FROM t -- all\n) TO '{green}' WITH (format = 'PARQUET', \
                 compression = 'ZSTD', partitioned_by = ARRAY['dt', 'shop'])"
            )
        );
        for foreign in ["SELECT 1", "", "SELECT 'x' WITH (", "SELECT ' TO ' || 's3://x/' WITH ("] {
            assert_eq!(location(foreign), None, "{foreign}");
        }
        let long = Athena { query: "x".repeat(MAX_STATEMENT_BYTES), ..athena(&[]) };
        assert!(sql(&long, &at).unwrap_err().message().starts_with("the UNLOAD statement for the query has 262"));
        for ends_something in ["s3://lake/it's", "s3://lake/a*/b"] {
            assert!(sql(&athena(&[]), &ends_something.parse().unwrap()).is_err(), "{ends_something}");
        }
    }

    #[test]
    fn too_many_partitions_are_refused_before_unload() {
        let athena = athena(&["dt", "shop"]);
        assert_eq!(
            question(&athena),
            "SELECT count(*), max(typeof(\"dt\")), max(typeof(\"shop\")) FROM (SELECT DISTINCT \"dt\", \"shop\" FROM (\n\
             SELECT id, ' WITH (' AS a, dt FROM t -- all\n) LIMIT 101)"
        );
        let text = |text: &str| Some(text.to_owned());
        let folders = |count: &str| folders(&athena, &[text(count), text("date"), text("varchar(7)")]);
        let found: Vec<_> = folders("100").unwrap().into_iter().map(|folder| folder.glue_type).collect();
        assert_eq!(found, [text("date"), text("string")]);
        assert!(
            folders("101").unwrap_err().message().starts_with("the result has more than 100 partitions by dt, shop")
        );
        assert!(super::folders(&athena, &[]).is_err() && super::folders(&athena, &[text("1")]).is_err());
    }
}
