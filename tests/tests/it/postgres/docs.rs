//! docs/types.md matches the code, and covers every built-in PostgreSQL type.

use std::{collections::BTreeSet, fs::File};

use parquet::{
    basic::{LogicalType, TimeUnit, Type as Physical},
    file::reader::{FileReader, SerializedFileReader},
    schema::types::Type,
};
use tests::types_page::{arrow, in_code, table};

use super::{files::write, open, run, shared};

fn parquet(of: &Type) -> String {
    let below = |of: &Type| of.get_fields().iter().map(|field| parquet(field)).collect::<Vec<_>>();
    let logical = of.get_basic_info().logical_type_ref();
    if of.is_group() {
        let inner = || below(&of.get_fields()[0]);
        return match logical {
            Some(LogicalType::List) => format!("LIST of {}", inner().join(", ")),
            Some(LogicalType::Map) => format!("MAP of {}", inner().join(" to ")),
            _ => format!("group of {}", below(of).join(", ")),
        };
    }
    let physical = match of {
        Type::PrimitiveType { physical_type: Physical::FIXED_LEN_BYTE_ARRAY, type_length, .. } => {
            format!("FIXED_LEN_BYTE_ARRAY({type_length})")
        }
        of => of.get_physical_type().to_string(),
    };
    let logical = match logical {
        None => return physical,
        Some(LogicalType::String) => "STRING".into(),
        Some(LogicalType::Date) => "DATE".into(),
        Some(LogicalType::Decimal(decimal)) => format!("DECIMAL({},{})", decimal.precision, decimal.scale),
        Some(LogicalType::Integer(integer)) => format!("INT({})", integer.bit_width),
        Some(LogicalType::Timestamp(stamp)) if stamp.unit == TimeUnit::MICROS => {
            if stamp.is_adjusted_to_u_t_c {
                "TIMESTAMP(µs, UTC)".into()
            } else {
                "TIMESTAMP(µs)".into()
            }
        }
        Some(other) => format!("{other:?}"),
    };
    format!("{physical} {logical}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_what_every_type_becomes() {
    let url = shared().await;
    run(
        url,
        "CREATE SCHEMA docs; SET search_path = docs; CREATE TYPE mood AS ENUM ('ok');
         CREATE DOMAIN price AS numeric(8,3); CREATE TYPE pair AS (n numeric(7,3), \"Label\" text, tags text[])",
    )
    .await;
    let mut known = BTreeSet::new();
    let (mut columns, mut expected) = (Vec::new(), Vec::new());
    for row in table("PostgreSQL") {
        assert_eq!(row.len(), 5, "{row:?}");
        for of in in_code(&row[0]) {
            let extension = ["citext", "hstore", "ltree"].contains(&of.as_str());
            if extension {
                let there = format!("SELECT 1 FROM pg_available_extensions WHERE name = '{of}'");
                if run(url, &there).await.is_empty() {
                    eprintln!("{of}: this PostgreSQL does not have it");
                    continue;
                }
                run(url, &format!("CREATE EXTENSION IF NOT EXISTS {of}")).await;
            }
            let quoted = of.replace('\'', "''");
            let name =
                run(url, &format!("SET search_path = docs, public; SELECT format_type(to_regtype('{quoted}'), NULL)"))
                    .await[0][0]
                    .clone();
            known.insert(name.unwrap_or_else(|| panic!("no type {of}")));
            columns.push(format!("NULL::{of} AS c{}", columns.len()));
            expected.push((of, row[1..4].to_vec()));
        }
    }
    // The example's types are in their own schema, and the extensions' types in another.
    let url = format!("{url}?options=-c%20search_path%3Ddocs%2Cpublic");
    let opened = open(&url, &format!("SELECT {}", columns.join(", "))).await.unwrap();
    let glue = turntable::parquet::arrow_types::columns(&opened.rows.schema).unwrap();
    let fields = opened.rows.schema.fields().clone();
    let file = write(opened, "types").await;
    let reader = SerializedFileReader::new(File::open(&file.0).unwrap()).unwrap();
    let written = reader.metadata().file_metadata().schema().get_fields().to_vec();
    let mut wrong = Vec::new();
    for (at, (of, cells)) in expected.iter().enumerate() {
        let found = [arrow(fields[at].data_type()), parquet(&written[at]), glue[at].glue_type.clone()];
        if found != cells[..] {
            wrong.push(format!("{of}: {found:?}, the page says {cells:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Every type except those that no column can have. An array is covered by its element's row.
    let built_in = "SELECT format_type(t.oid, NULL) FROM pg_type t WHERE t.typnamespace = 'pg_catalog'::regnamespace \
                    AND t.typtype IN ('b', 'r', 'm') AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)";
    let built_in: BTreeSet<String> = run(&url, built_in).await.into_iter().flatten().flatten().collect();
    let missing: Vec<&String> = built_in.difference(&known).collect();
    assert!(missing.is_empty(), "docs/types.md has no row of {missing:?}");
    assert!(built_in.len() > 70, "{}", built_in.len());
}
