//! Random values of every type: from the database through Parquet to DuckDB, unchanged.
//!
//! Each side renders each value as one canonical string with its own SQL: a number of microseconds, a float's bytes, a
//! list as JSON. `TURNTABLE_SEED` repeats a run, and `TURNTABLE_ROWS` makes it longer.

use std::fmt::Write;

use turntable::clock::Clock;

use super::{
    files::{duckdb, write},
    open, run, shared,
};

/// A type, a generator for its values, and SQL for the canonical string in PostgreSQL and in DuckDB (`@` is the value).
struct Case {
    of: &'static str,
    make: fn(&mut Random) -> String,
    postgres: &'static str,
    duckdb: &'static str,
}

const fn case(of: &'static str, make: fn(&mut Random) -> String, postgres: &'static str, duckdb: &'static str) -> Case {
    Case { of, make, postgres, duckdb }
}

/// Returns a case whose canonical string is the server's own rendering.
const fn text(of: &'static str, make: fn(&mut Random) -> String) -> Case {
    case(of, make, "(@)::text", "@")
}

const NUMBER: &str = "(@)::text";
const AS_TEXT: &str = "CAST(@ AS VARCHAR)";
const DAYS: (&str, &str) = ("((@) - date '1970-01-01')::text", "CAST(@ - DATE '1970-01-01' AS VARCHAR)");
const MICROS: &str = "trunc(extract(epoch FROM (@)) * 1000000)::text";

const ELEMENTS: &str = "CASE WHEN @ IS NOT NULL THEN \
    to_json(ARRAY(SELECT e::text FROM unnest(@) WITH ORDINALITY AS u (e, n) ORDER BY n))::text END";

const CASES: &[Case] = &[
    case("boolean", |r| (r.below(2) == 0).to_string(), NUMBER, AS_TEXT),
    case("smallint", |r| (r.whole() as i16).to_string(), NUMBER, AS_TEXT),
    case("integer", |r| (r.whole() as i32).to_string(), NUMBER, AS_TEXT),
    case("bigint", |r| format!("'{}'", r.whole()), NUMBER, AS_TEXT),
    case("oid", |r| (r.whole() as u32).to_string(), NUMBER, AS_TEXT),
    case(
        "real",
        |r| float(f32::from_bits(r.whole() as u32).into(), |x| format!("{:e}", x as f32)),
        "encode(float4send(@), 'hex')",
        "lower(lpad(hex(CAST(CAST(@ AS FLOAT) AS BIT)::BLOB), 8, '0'))",
    ),
    case(
        "double precision",
        |r| float(f64::from_bits(r.whole() as u64), |x| format!("{x:e}")),
        "encode(float8send(@), 'hex')",
        "lower(hex(CAST(@ AS BIT)::BLOB))",
    ),
    case("numeric(10,2)", |r| r.decimal(8, 2), NUMBER, AS_TEXT),
    case("numeric(38,0)", |r| r.decimal(38, 0), NUMBER, AS_TEXT),
    case("numeric(38,20)", |r| r.decimal(18, 20), NUMBER, AS_TEXT),
    case("numeric(5,0)", |r| r.decimal(5, 0), NUMBER, AS_TEXT),
    text("numeric", |r| match r.below(8) {
        0 => "'NaN'".into(),
        1 => "'-Infinity'".into(),
        _ => {
            let (whole, part) = (1 + r.below(60) as usize, r.below(40) as usize);
            r.decimal(whole, part)
        }
    }),
    text("text", Random::text),
    text("varchar(40)", |r| format!("left({}, 40)", r.text())),
    case("char(12)", |r| format!("left({}, 12)", r.text()), "rpad((@)::text, 12)", "@"),
    text("name", |r| format!("left({}, 15)", r.text())),
    text("\"char\"", |r| format!("'{}'", (b'a' + r.below(26) as u8) as char)),
    case("bytea", |r| format!("'\\x{}'", r.hex(40)), "encode(@, 'hex')", "lower(hex(@))"),
    text("uuid", |r| format!("'{}'", r.bytes(16))),
    text("json", |r| format!("to_json({}::text)", r.text())),
    text("jsonb", |r| format!("jsonb_build_object({}::text, {})", r.text(), r.decimal(5, 3))),
    case("date", |r| format!("date '1970-01-01' + ({})", r.days(-2_440_000, 2_145_000_000)), DAYS.0, DAYS.1),
    case("timestamp", |r| r.moment("timestamp"), MICROS, "CAST(epoch_us(@) AS VARCHAR)"),
    case(
        "timestamptz",
        |r| format!("({}) AT TIME ZONE 'UTC'", r.moment("timestamp")),
        MICROS,
        "CAST(epoch_us(@) AS VARCHAR)",
    ),
    text("time", |r| format!("time '00:00' + {} * interval '1 microsecond'", r.below(86_400_000_000))),
    text("timetz", |r| {
        format!("(time '00:00' + {} * interval '1 minute')::text || '+0{}:30'", r.below(1440), r.below(10))
    }),
    text("interval", |r| {
        let (months, days, micros) = (r.whole() as i16, r.whole() as i16, r.below(1 << 40));
        format!("make_interval(months => {months}, days => {days}) + {micros} * interval '1 microsecond'")
    }),
    text("money", |r| r.decimal(12, 2)),
    text("bit(16)", |r| format!("{}::bit(16)", r.below(65_536))),
    text("varbit", |r| format!("substring({}::bit(32) FROM 1 FOR {})::varbit", r.below(1 << 31), r.below(33))),
    text("inet", |r| format!("set_masklen(inet '0.0.0.0' + {}, {})", r.below(1 << 32), r.below(33))),
    text("cidr", |r| format!("network(set_masklen(inet '0.0.0.0' + {}, {}))", r.below(1 << 32), r.below(33))),
    text("macaddr", |r| format!("'{}'", r.bytes(6))),
    text("macaddr8", |r| format!("'{}'", r.bytes(8))),
    text("point", |r| format!("point({}, {})", r.decimal(5, 3), r.decimal(5, 3))),
    text("circle", |r| format!("circle(point({}, 1), {})", r.decimal(5, 3), r.below(100))),
    text("polygon", |r| format!("polygon(box(point(0, 0), point({}, {})))", r.below(99), r.below(99))),
    text("tsvector", |r| format!("to_tsvector('simple', {})", r.text())),
    text("tsquery", |r| format!("'fat' && to_tsquery('simple', 'w{} | !b')", r.below(99))),
    text("int4range", |r| format!("int4range({}, {}, '[]')", r.below(100), 100 + r.below(100))),
    text("tstzrange", |r| format!("tstzrange(NULL, ({}) AT TIME ZONE 'UTC')", r.moment("timestamp"))),
    text("int8multirange", |r| format!("int8multirange(int8range({}, 200), int8range(300, NULL))", r.below(200))),
    text("pg_lsn", |r| format!("'{}/{}'", r.hex_of(3), r.hex_of(4))),
    text("jsonpath", |r| format!("'$.a[{}]'", r.below(1000))),
    text("mood", |r| format!("'{}'", ["嬉しい", "so so", "it''s"][r.below(3) as usize])),
    case("price", |r| format!("abs({}::numeric)", r.decimal(5, 3)), NUMBER, AS_TEXT),
    case(
        "integer[]",
        |r| r.list(|r| (r.whole() as i32).to_string()),
        ELEMENTS,
        "to_json(list_transform(@, e -> CAST(e AS VARCHAR)))::VARCHAR",
    ),
    case("text[]", |r| r.list(Random::text), "to_json(@)::text", "to_json(@)::VARCHAR"),
    case(
        "date[]",
        |r| r.list(|r| format!("date '1970-01-01' + ({})", r.days(-100_000, 100_000))),
        "CASE WHEN @ IS NOT NULL THEN to_json(ARRAY(SELECT (e - date '1970-01-01')::text \
         FROM unnest(@) WITH ORDINALITY AS u (e, n) ORDER BY n))::text END",
        "to_json(list_transform(@, e -> CAST(e - DATE '1970-01-01' AS VARCHAR)))::VARCHAR",
    ),
    case(
        "numeric(12,4)[]",
        |r| r.list(|r| r.decimal(8, 4)),
        ELEMENTS,
        "to_json(list_transform(@, e -> CAST(e AS VARCHAR)))::VARCHAR",
    ),
    case(
        "inet[]",
        |r| r.list(|r| format!("set_masklen(inet '0.0.0.0' + {}, {})", r.below(1 << 32), r.below(33))),
        "to_json((@)::text[])::text",
        "to_json(@)::VARCHAR",
    ),
    case(
        "pair",
        |r| {
            let (n, label) = (r.null_or(|r| r.decimal(4, 3)), r.null_or(Random::text));
            let tags = r.null_or(|r| r.list(Random::text));
            format!("ROW({n}, {label}, {tags})::pair")
        },
        "CASE WHEN (@) IS DISTINCT FROM NULL THEN \
         json_build_object('n', ((@).n)::text, 'label', (@).\"Label\", 'tags', to_json((@).tags))::text END",
        "CASE WHEN @ IS NOT NULL THEN \
         to_json(struct_pack(n := CAST(@.n AS VARCHAR), label := @.label, tags := @.tags))::VARCHAR END",
    ),
];

/// A xorshift generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Returns a number of a random size, or a bound of an integer type.
    fn whole(&mut self) -> i64 {
        match self.below(8) {
            0 => i64::MAX,
            1 => i64::MIN,
            2 => [0, -1, 1, i64::from(i32::MAX), i64::from(i32::MIN), 32_767, -32_768][self.below(7) as usize],
            _ => (self.next() as i64) >> self.below(64),
        }
    }

    fn days(&mut self, from: i64, to: i64) -> i64 {
        match self.below(4) {
            0 => [from, to, 0, -1, -141_428, -719_163][self.below(6) as usize].clamp(from, to),
            1 => from + self.below((to - from) as u64) as i64,
            _ => self.below(40_000) as i64 - 10_000,
        }
    }

    fn moment(&mut self, of: &str) -> String {
        let (days, micros) = (self.days(-2_440_000, 106_741_000), self.below(86_400_000_000));
        format!("{of} '1970-01-01' + make_interval(days => {days}) + {micros} * interval '1 microsecond'")
    }

    /// Returns a decimal with up to `whole` digits before the point and `part` digits after it.
    fn decimal(&mut self, whole: usize, part: usize) -> String {
        let digit = |random: &mut Random| char::from(b'0' + random.below(10) as u8);
        let digits = |random: &mut Random, count: usize| (0..count).map(|_| digit(random)).collect::<String>();
        let shown = self.below(whole as u64 + 1) as usize;
        let (whole, part) = (digits(self, shown), digits(self, part));
        let sign = if self.below(2) == 0 { "-" } else { "" };
        if part.is_empty() { format!("'{sign}0{whole}'") } else { format!("'{sign}0{whole}.{part}'") }
    }

    fn text(&mut self) -> String {
        const LETTERS: &[char] = &[
            'a',
            'Z',
            '7',
            ' ',
            ' ',
            '"',
            '\'',
            '\\',
            ',',
            '{',
            '}',
            '(',
            ')',
            '\n',
            '\t',
            '\r',
            '\u{1}',
            '\u{7f}',
            'é',
            'é',
            '渡',
            '髙',
            'ｱ',
            '\u{3099}',
            '🎡',
            '\u{fffd}',
            '\u{10ffff}',
            '\u{feff}',
            '\u{200b}',
            'ß',
            'İ',
            '%',
        ];
        let length = if self.below(40) == 0 { 5_000 } else { self.below(14) };
        let letters: String = (0..length).map(|_| LETTERS[self.below(LETTERS.len() as u64) as usize]).collect();
        format!("'{}'", letters.replace('\'', "''"))
    }

    fn hex(&mut self, most: u64) -> String {
        let count = self.below(most);
        self.bytes(count as usize)
    }

    fn bytes(&mut self, count: usize) -> String {
        (0..count).fold(String::new(), |mut hex, _| {
            let _ = write!(hex, "{:02x}", self.below(256));
            hex
        })
    }

    fn hex_of(&mut self, count: usize) -> String {
        self.bytes(count)
    }

    fn null_or(&mut self, make: fn(&mut Random) -> String) -> String {
        if self.below(6) == 0 { "NULL".into() } else { make(self) }
    }

    fn list(&mut self, make: fn(&mut Random) -> String) -> String {
        let elements: Vec<String> = (0..self.below(5)).map(|_| self.null_or(make)).collect();
        if elements.is_empty() { "'{}'".into() } else { format!("ARRAY[{}]", elements.join(", ")) }
    }
}

/// Returns SQL for a float: NaN and the infinities by name, other values as `digits` renders them.
fn float(value: f64, digits: impl Fn(f64) -> String) -> String {
    if value.is_nan() {
        "'NaN'".into()
    } else if value.is_infinite() {
        if value > 0.0 { "'Infinity'".into() } else { "'-Infinity'".into() }
    } else {
        format!("'{}'", digits(value))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_comes_back() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("TURNTABLE_SEED").unwrap_or_else(|| Clock::system().ulid().0 as u64 | 1);
    let rows = number("TURNTABLE_ROWS").unwrap_or(300);
    eprintln!("TURNTABLE_SEED={seed}");
    let mut random = Random(seed);
    let url = shared().await;
    run(
        url,
        "CREATE SCHEMA random; SET search_path = random; CREATE TYPE mood AS ENUM ('嬉しい', 'so so', 'it''s');
         CREATE DOMAIN price AS numeric(8,3) CHECK (VALUE >= 0);
         CREATE TYPE pair AS (n numeric(7,3), \"Label\" text, tags text[])",
    )
    .await;
    let columns: Vec<String> = CASES.iter().enumerate().map(|(at, case)| format!("c{at} {}", case.of)).collect();
    let mut sql =
        format!("SET search_path = random; SET timezone = 'UTC'; CREATE TABLE kinds (id int, {});", columns.join(", "));
    for id in 0..rows {
        let values: Vec<String> =
            CASES.iter().map(|case| format!("CAST({} AS {})", random.null_or(case.make), case.of)).collect();
        let _ = write!(sql, "INSERT INTO kinds VALUES ({id}, {});", values.join(", "));
    }
    run(url, &sql).await;

    let of = |template: &str, at: usize| template.replace('@', &format!("c{at}"));
    let list: Vec<String> = CASES.iter().enumerate().map(|(at, case)| of(case.postgres, at)).collect();
    let ask =
        format!("SET search_path = random; SET timezone = 'UTC'; SELECT {} FROM kinds ORDER BY id", list.join(", "));
    let expected = run(url, &ask).await;
    let file = write(open(url, "SELECT * FROM random.kinds").await.unwrap(), "random").await;
    let list: Vec<String> = CASES.iter().enumerate().map(|(at, case)| of(case.duckdb, at)).collect();
    let found = duckdb(format!("SELECT {} FROM '{}' ORDER BY id", list.join(", "), file.0.display())).await;

    assert_eq!((found.len(), expected.len()), (rows as usize, rows as usize));
    let mut different = Vec::new();
    for (row, (found, expected)) in found.iter().zip(&expected).enumerate() {
        for (at, case) in CASES.iter().enumerate() {
            let (found, expected) = (found[at].as_str(), expected[at].as_deref());
            let json = |text: Option<&str>| text.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
            let nested = case.of.ends_with(']') || case.of == "pair";
            let same = if nested { json(found) == json(expected) } else { found == expected };
            if !same {
                different.push(format!("{} in row {row}: {found:?}, expected {expected:?}", case.of));
            }
        }
    }
    different.truncate(20);
    assert!(different.is_empty(), "TURNTABLE_SEED={seed}\n{}", different.join("\n"));
}
