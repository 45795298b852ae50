//! Every type: the decoded values, rendered as PostgreSQL would print them, equal PostgreSQL's own output.

use super::{open, rows, run, shared};

/// Each type, its Glue type, and values as SQL; null is added to each type's values.
const TYPES: &[(&str, &str, &[&str])] = &[
    ("boolean", "boolean", &["true", "false"]),
    ("smallint", "smallint", &["-32768", "32767", "0"]),
    ("integer", "int", &["-2147483648", "2147483647", "0"]),
    ("bigint", "bigint", &["-9223372036854775808", "9223372036854775807", "0"]),
    ("oid", "bigint", &["0", "4294967295"]),
    ("xid", "bigint", &["'4294967295'"]),
    ("cid", "bigint", &["'7'"]),
    ("xid8", "string", &["'18446744073709551615'"]),
    (
        "real",
        "float",
        &[
            "0",
            "'-0'",
            "1.5",
            "3.4028235e38",
            "1e-45",
            "123456",
            "1234567",
            "0.0001",
            "0.00001",
            "'NaN'",
            "'-Infinity'",
        ],
    ),
    (
        "double precision",
        "double",
        &["0", "0.1", "1.7976931348623157e308", "5e-324", "1e15", "123456789012345", "-2.5e-5", "'NaN'", "'Infinity'"],
    ),
    ("numeric(10,2)", "decimal(10,2)", &["0", "0.00", "-0.01", "12345678.90", "-99999999.99", "99999999.99", "100"]),
    (
        "numeric(38,0)",
        "decimal(38,0)",
        &["99999999999999999999999999999999999999", "-99999999999999999999999999999999999999", "10000"],
    ),
    (
        "numeric(38,38)",
        "decimal(38,38)",
        &["0.99999999999999999999999999999999999999", "0.00000000000000000000000000000000000001"],
    ),
    ("numeric(5,0)", "decimal(5,0)", &["10000", "99999", "1"]),
    ("numeric(39,1)", "string", &["0.0", "99999999999999999999999999999999999999.9"]),
    ("numeric(3,5)", "string", &["0.00123"]),
    ("numeric(3,-2)", "string", &["12300"]),
    (
        "numeric",
        "string",
        &[
            "0",
            "0.000",
            "-0.50",
            "1e-16383",
            "1e131071",
            "123456789.000100",
            "10000",
            "100000000.5",
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
        ],
    ),
    ("money", "string", &["1234.56", "-92233720368547758.08"]),
    (
        "text",
        "string",
        &["''", "'日本語 テキスト'", "'a\"b\\c,{}'", "E'tab\\tline\\nend'", "repeat('長', 100000)", "'🎡'"],
    ),
    ("varchar(20)", "string", &["''", "'渡辺'"]),
    ("char(6)", "string", &["''", "'ab'", "'山田'"]),
    ("name", "string", &["'pg_class'"]),
    ("\"char\"", "string", &["'a'", "''"]),
    ("bytea", "binary", &["''", "'\\x00ff80'"]),
    ("uuid", "string", &["'00000000-0000-0000-0000-000000000000'", "'123E4567-e89b-12d3-a456-426614174fff'"]),
    ("json", "string", &["'{\"a\" : 1,  \"名\": [null]}'", "'null'"]),
    ("jsonb", "string", &["'{\"a\" : 1.50,  \"名\": [null]}'", "'null'", "'\"\"'"]),
    ("xml", "string", &["'<a b=\"c\">日本</a>'"]),
    (
        "date",
        "date",
        &["'1970-01-01'", "'1969-12-31'", "'0001-01-01'", "'4713-01-01 BC'", "'5874897-12-31'", "'2024-02-29'"],
    ),
    ("time", "string", &["'00:00'", "'24:00'", "'12:34:56.789012'"]),
    ("time(0)", "string", &["'12:34:56.7'"]),
    ("timetz", "string", &["'12:34:56.5+09'", "'00:00:00+15:59'"]),
    (
        "timestamp",
        "timestamp",
        &[
            "'1970-01-01'",
            "'1969-12-31 23:59:59.999999'",
            "'0001-01-01'",
            "'4713-01-01 BC'",
            "'294246-12-31 23:59:59.999999'",
            "'2024-02-29 01:02:03.5'",
        ],
    ),
    (
        "timestamptz",
        "timestamp",
        &["'1970-01-01 00:00+09'", "'2024-06-01 12:00:00.000001+00'", "'0001-01-01 00:00+00'"],
    ),
    ("interval", "string", &["'1 year 2 months 3 days 04:05:06.7'", "'-1 day'", "'0'", "'178000000 years'"]),
    ("bit(3)", "string", &["B'101'", "B'000'"]),
    ("varbit", "string", &["B''", "B'1010101010101'"]),
    ("inet", "string", &["'192.168.0.1'", "'10.0.0.0/8'", "'::1'"]),
    ("cidr", "string", &["'10.0.0.0/8'", "'2001:db8::/32'"]),
    ("macaddr", "string", &["'08:00:2b:01:02:03'"]),
    ("macaddr8", "string", &["'08:00:2b:01:02:03:04:05'"]),
    ("point", "string", &["'(1,2.5)'"]),
    ("line", "string", &["'{1,2,3}'"]),
    ("lseg", "string", &["'[(0,0),(1,1)]'"]),
    ("box", "string", &["'(1,1),(0,0)'"]),
    ("path", "string", &["'[(0,0),(1,1)]'"]),
    ("polygon", "string", &["'((0,0),(1,1),(1,0))'"]),
    ("circle", "string", &["'<(0,0),1>'"]),
    ("tsvector", "string", &["'a:1A fat cat'", "''"]),
    ("tsquery", "string", &["'fat & (rat | !cat)'"]),
    ("int4range", "string", &["'[1,5]'", "'empty'", "'(,)'"]),
    ("numrange", "string", &["'[1.50,2)'"]),
    ("tstzrange", "string", &["'[2024-01-01 00:00+00,)'"]),
    ("daterange", "string", &["'[2024-01-01,2024-02-01)'"]),
    ("int4multirange", "string", &["'{[1,2),[5,7)}'", "'{}'"]),
    ("pg_lsn", "string", &["'16/B374D848'"]),
    ("pg_snapshot", "string", &["'10:20:10,14'"]),
    ("tid", "string", &["'(1,2)'"]),
    ("regclass", "string", &["'pg_class'"]),
    ("regtype", "string", &["'integer'"]),
    ("regproc", "string", &["'now'"]),
    ("jsonpath", "string", &["'$.a[*]'"]),
    ("int2vector", "array<smallint>", &["'1 2 3'"]),
    ("oidvector", "array<bigint>", &["'1 4294967295'"]),
    ("boolean[]", "array<boolean>", &["'{t,NULL,f}'", "'{}'"]),
    ("integer[]", "array<int>", &["'{}'", "'{1,NULL,-3}'"]),
    ("bigint[]", "array<bigint>", &["'{9223372036854775807}'"]),
    ("float8[]", "array<double>", &["'{0.1,NaN,NULL}'"]),
    ("numeric(10,2)[]", "array<decimal(10,2)>", &["'{1.50,NULL,-0.01}'"]),
    ("numeric[]", "array<string>", &["'{1.50,NULL,1e20}'"]),
    ("text[]", "array<string>", &["'{}'", "'{a,NULL,\"NULL\",\"\",\"b c\",日本,\"q\\\"q\"}'"]),
    ("varchar(5)[]", "array<string>", &["'{a,b}'"]),
    ("uuid[]", "array<string>", &["'{00000000-0000-0000-0000-000000000001}'"]),
    ("jsonb[]", "array<string>", &["array['{\"a\": 1}'::jsonb, null]"]),
    ("bytea[]", "array<binary>", &["array['\\x00ff'::bytea]"]),
    ("date[]", "array<date>", &["'{1969-12-31,NULL}'"]),
    ("timestamp[]", "array<timestamp>", &["'{1969-12-31 23:00:00.5}'"]),
    ("timestamptz[]", "array<timestamp>", &["'{2024-01-01 00:00:00+09}'"]),
    ("time[]", "array<string>", &["'{12:00,NULL}'"]),
    ("interval[]", "array<string>", &["'{1 day 02:00:00}'"]),
    ("inet[]", "array<string>", &["'{10.0.0.0/8,NULL}'"]),
    ("int4range[]", "array<string>", &["array['[1,3)'::int4range, null]"]),
    ("mood", "string", &["'嬉しい'", "'so so'"]),
    ("mood[]", "array<string>", &["'{嬉しい,NULL,\"so so\"}'"]),
    ("price", "decimal(8,3)", &["1.5", "0"]),
    ("price[]", "array<decimal(8,3)>", &["array[1.5, null]::price[]"]),
    ("short", "string", &["'abc'"]),
    (
        "pair",
        "struct<n:decimal(7,3),label:string,tags:array<string>>",
        &["row(1.5, '名 前', '{a,NULL}')", "row(null, null, null)", "row(0, '', '{}')"],
    ),
    (
        "pair[]",
        "array<struct<n:decimal(7,3),label:string,tags:array<string>>>",
        &["array[row(1.5, 'a', null)::pair, null]"],
    ),
    (
        "outer_pair",
        "struct<inner_pair:struct<n:decimal(7,3),label:string,tags:array<string>>,at:string,p:decimal(8,3)>",
        &["row(row(1, 'x', '{}'), '12:00', 2)", "row(null, null, null)", "row(null, '12:00', 3)"],
    ),
    ("outer_pair[]", "array<string>", &["array[row(row(1, 'x', '{}'), '12:00', 2)::outer_pair, null]"]),
    ("hstore", "map<string,string>", &["''", "'a=>1, \"b c\"=>NULL, 名=>\"q\\\"q\"'"]),
    ("citext", "string", &["'MiXed'"]),
    ("ltree", "string", &["'Top.Science'"]),
];

const SET_UP: &str = "
    CREATE TYPE mood AS ENUM ('嬉しい', 'so so');
    CREATE DOMAIN price AS numeric(8,3) CHECK (VALUE >= 0);
    CREATE DOMAIN short AS varchar(5);
    CREATE TYPE pair AS (n numeric(7,3), \"Label\" text, tags text[]);
    CREATE TYPE outer_pair AS (inner_pair pair, at time, p price);";

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_as_postgresql_prints_it() {
    let url = shared().await;
    run(url, SET_UP).await;
    let mut tried = 0;
    let mut faults = Vec::new();
    for (of, glue, values) in TYPES {
        let extension = matches!(*of, "hstore" | "citext" | "ltree");
        if extension {
            let there = format!("SELECT 1 FROM pg_available_extensions WHERE name = '{of}'");
            if run(url, &there).await.is_empty() {
                eprintln!("{of}: this PostgreSQL does not have it");
                continue;
            }
            run(url, &format!("CREATE EXTENSION IF NOT EXISTS {of}")).await;
        }
        let libxml = "SELECT 1 FROM pg_config WHERE name = 'CONFIGURE' AND setting LIKE '%libxml%'";
        if *of == "xml" && run(url, libxml).await.is_empty() {
            eprintln!("xml: this PostgreSQL is built without it");
            continue;
        }
        let table = format!("t{tried}");
        let list: Vec<String> =
            values.iter().enumerate().map(|(at, value)| format!("({at}, CAST({value} AS {of}))")).collect();
        let sql = format!(
            "CREATE TABLE {table} (id int, v {of}); INSERT INTO {table} VALUES {}, (-1, NULL)",
            list.join(", ")
        );
        run(url, &sql).await;
        tried += 1;
        // For these three types, a cast to `text` prints what the source reads, such as an inet's mask. Other types
        // aren't cast, because the cast would strip char(n)'s padding.
        let printed = match *of {
            "inet" | "cidr" | "\"char\"" => "v::text",
            // PostgreSQL prints these arrays without braces and commas.
            "int2vector" | "oidvector" => "'{' || replace(v::text, ' ', ',') || '}'",
            _ => "v",
        };
        let expected = run(url, &format!("SET timezone = 'UTC'; SELECT {printed} FROM {table} ORDER BY id")).await;
        let opened = open(url, &format!("SELECT v FROM {table} ORDER BY id")).await.unwrap();
        let columns = turntable::parquet::arrow_types::columns(&opened.rows.schema).unwrap();
        if columns[0].glue_type != *glue {
            faults.push(format!("{of} is {}, expected {glue}", columns[0].glue_type));
        }
        let found = rows(opened).await.unwrap();
        for (found, expected) in found.iter().zip(&expected).filter(|(found, expected)| found != expected) {
            faults.push(format!("{of}: {found:?}, expected {expected:?}"));
        }
        if found.len() != values.len() + 1 {
            faults.push(format!("{of}: {} rows", found.len()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(tried > 80, "{tried}");
}
