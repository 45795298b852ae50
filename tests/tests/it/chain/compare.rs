//! Compares a PostgreSQL table with the Athena table that was exported from it: every column's count, min, max and
//! hash.
//!
//! Each side renders every value as the same string, with its own SQL. The hash is the MD5 of a column's strings,
//! ordered by the strings of the primary key, or by those of the whole row if there is no key. So a value in the wrong
//! row changes the hash.

use super::{
    Chain,
    sql::{self, Row},
};

/// Stands for null among the rendered values.
const NULL: &str = "∅";

struct Column {
    name: String,
    in_key: bool,
    postgres: String,
    athena: String,
    /// Whether `min` and `max` compare the values themselves. Otherwise, they compare the values' text.
    ordered: bool,
}

/// Returns a description of each difference between the PostgreSQL table `from` and the Athena table `to`. Panics on a
/// type that has no rendering here.
pub async fn compare(url: &str, chain: &Chain, from: &str, to: &str) -> Vec<String> {
    let columns = columns(url, from).await;
    let sides = sides(&columns);
    let postgres = sql::run(url, &format!("SET timezone = 'UTC'; SELECT {} FROM {from}", sides.postgres)).await;
    let athena = chain.query(&format!("SELECT {} FROM {to}", sides.athena)).await;
    differences(&columns, &postgres[0], &athena)
}

/// Returns a line for each aggregate that differs: its name, and its value on both sides.
fn differences(columns: &[Column], postgres: &Row, athena: &Row) -> Vec<String> {
    assert_eq!((postgres.len(), athena.len()), (1 + 4 * columns.len(), 1 + 4 * columns.len()));
    let name = |at: usize| match at.checked_sub(1) {
        None => "count(*)".to_owned(),
        Some(at) => format!("{}({})", ["count", "min", "max", "md5"][at % 4], columns[at / 4].name),
    };
    let pairs = postgres.iter().zip(athena).enumerate().filter(|(_, (postgres, athena))| postgres != athena);
    pairs.map(|(at, (postgres, athena))| format!("{} is {postgres:?}, and {athena:?} in Athena", name(at))).collect()
}

struct Sides {
    postgres: String,
    athena: String,
}

fn sides(columns: &[Column]) -> Sides {
    let keys: Vec<&Column> = columns.iter().filter(|column| column.in_key).collect();
    let keys = if keys.is_empty() { columns.iter().collect() } else { keys };
    let key = |render: fn(&Column) -> &str| {
        let texts: Vec<String> = keys.iter().map(|column| format!("coalesce({}, '{NULL}')", render(column))).collect();
        texts.join(" || '|' || ")
    };
    let (postgres_key, athena_key) = (key(|column| &column.postgres), key(|column| &column.athena));
    let (mut postgres, mut athena) = (vec!["count(*)".to_owned()], vec!["count(*)".to_owned()]);
    for column in columns {
        let quoted = format!("\"{}\"", column.name);
        postgres.push(format!("count({quoted})"));
        athena.push(format!("count({quoted})"));
        for least in ["min", "max"] {
            if column.ordered {
                let of = format!("{least}({quoted})");
                postgres.push(column.postgres.replace(&quoted, &of));
                athena.push(column.athena.replace(&quoted, &of));
            } else {
                postgres.push(format!("{least}(({}) COLLATE \"C\")", column.postgres));
                athena.push(format!("{least}({})", column.athena));
            }
        }
        let text = &column.postgres;
        postgres.push(format!(
            "md5(string_agg(coalesce({text}, '{NULL}'), chr(10) ORDER BY ({postgres_key}) COLLATE \"C\"))"
        ));
        let text = &column.athena;
        athena.push(format!(
            "lower(to_hex(md5(to_utf8(array_join(array_agg(coalesce({text}, '{NULL}') ORDER BY {athena_key}), chr(10))))))"
        ));
    }
    Sides { postgres: postgres.join(", "), athena: athena.join(", ") }
}

/// Returns a table's columns, with each domain replaced by its base type.
async fn columns(url: &str, table: &str) -> Vec<Column> {
    let sql = format!(
        "WITH RECURSIVE base AS (
            SELECT attnum, attname, atttypid AS type, atttypmod AS modifier FROM pg_attribute
            WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped
            UNION ALL
            SELECT b.attnum, b.attname, t.typbasetype, CASE t.typtypmod WHEN -1 THEN b.modifier ELSE t.typtypmod END
            FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd')
         SELECT b.attname, t.typname, t.typtype, t.typcategory, b.modifier, coalesce(e.typname, ''), coalesce(e.typtype, ''),
            b.attnum = ANY (coalesce((SELECT indkey::int2[] FROM pg_index WHERE indrelid = '{table}'::regclass AND indisprimary), '{{}}'))
         FROM base b JOIN pg_type t ON t.oid = b.type
         LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
         WHERE t.typtype <> 'd' ORDER BY b.attnum"
    );
    let text = |row: &Row, at: usize| row[at].clone().expect("no null");
    let rows = sql::run(url, &sql).await;
    rows.iter()
        .map(|row| {
            let name = text(row, 0);
            let (of, kind, category, modifier) = (text(row, 1), text(row, 2), text(row, 3), text(row, 4));
            let rendered = if category == "A" {
                array(&name, &text(row, 5), &text(row, 6))
            } else {
                scalar(&name, &of, &kind, &modifier)
            };
            let [postgres, athena] = rendered.unwrap_or_else(|| panic!("{table}.{name}: no rendering of {of}"));
            let ordered = matches!(
                of.as_str(),
                "int2" | "int4" | "int8" | "oid" | "float4" | "float8" | "date" | "timestamp" | "timestamptz"
            ) || of == "numeric" && modifier != "-1";
            Column { name, in_key: text(row, 7) == "t", postgres, athena, ordered }
        })
        .collect()
}

/// Returns SQL for PostgreSQL and for Athena that renders a value as the same string, or `None` if the type isn't a
/// scalar.
fn scalar(name: &str, of: &str, kind: &str, modifier: &str) -> Option<[String; 2]> {
    let c = format!("\"{name}\"");
    let cast = format!("CAST({c} AS varchar)");
    // Athena's timestamps have three fractional digits, rounded.
    let moment =
        |c: &str| format!("to_char(date_trunc('milliseconds', {c} + interval '500 us'), 'YYYY-MM-DD HH24:MI:SS.MS')");
    Some(match of {
        "bool" | "int2" | "int4" | "int8" | "oid" | "xid" | "cid" => [format!("{c}::text"), cast],
        "numeric" if modifier != "-1" => [format!("{c}::text"), cast],
        "float4" | "float8" => {
            [format!("round({c}::numeric, 6)::text"), format!("CAST(CAST({c} AS decimal(38,6)) AS varchar)")]
        }
        "date" => [format!("to_char({c}, 'YYYY-MM-DD')"), cast],
        "timestamp" => [moment(&c), cast],
        "timestamptz" => [moment(&format!("({c} AT TIME ZONE 'UTC')")), cast],
        "bytea" => [format!("encode({c}, 'hex')"), format!("lower(to_hex({c}))")],
        // A cast to text would strip the padding, which the export keeps.
        "bpchar" => [format!("CASE WHEN {c} IS NOT NULL THEN concat({c}, '') END"), c],
        "hstore" | "int2vector" | "oidvector" => return None,
        _ if kind == "c" => return None,
        _ => [format!("{c}::text"), c],
    })
}

fn array(name: &str, element: &str, kind: &str) -> Option<[String; 2]> {
    let same = matches!(element, "int2" | "int4" | "int8" | "oid" | "numeric" | "text" | "varchar" | "uuid" | "date");
    (same || kind == "e").then(|| {
        let c = format!("\"{name}\"");
        [format!("array_to_string({c}, ',', '{NULL}')"), format!("array_join({c}, ',', '{NULL}')")]
    })
}
