//! Random values of every type, with a new seed each time: MariaDB's own client prints the same values.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tests::mariadb::Mariadb;

use super::{
    run, shared,
    types::{COLUMNS, create, same},
};

/// Returns SQL for a random value of a column's type.
fn literal(of: &'static str) -> BoxedStrategy<String> {
    let of = of.split(" NOT NULL").next().unwrap_or(of);
    let hex = |bytes: Vec<u8>| format!("x'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let text = |pattern: &str| {
        let text = proptest::string::string_regex(pattern).expect("a pattern");
        // Hexadecimal UTF-8 keeps quoting rules out of the test.
        text.prop_map(move |text| format!("convert({} using utf8mb4)", hex(text.into_bytes()))).boxed()
    };
    let digits = |whole: usize, part: usize| {
        let pattern = match part {
            0 => format!("-?[0-9]{{1,{whole}}}"),
            _ if whole == 0 => format!("-?0\\.[0-9]{{1,{part}}}"),
            _ => format!("-?[0-9]{{1,{whole}}}\\.[0-9]{{0,{part}}}"),
        };
        proptest::string::string_regex(&pattern).expect("a pattern").boxed()
    };
    let date = || (1000..10_000_i32, 1..13, 1..29).prop_map(|(y, m, d)| format!("{y}-{m:02}-{d:02}"));
    let clock = || (0..24, 0..60, 0..60, 0..1_000_000).prop_map(|(h, m, s, u)| format!("{h:02}:{m:02}:{s:02}.{u:06}"));
    let whole = |least: i128, most: i128| (least..=most).prop_map(|number| number.to_string()).boxed();
    match of {
        "boolean" | "tinyint(1)" | "bit(1)" => whole(0, 1),
        "tinyint" => whole(-128, 127),
        "tinyint unsigned" => whole(0, 255),
        "smallint" => whole(-32_768, 32_767),
        "smallint unsigned" => whole(0, 65_535),
        "mediumint" => whole(-8_388_608, 8_388_607),
        "mediumint unsigned" => whole(0, 16_777_215),
        "int" => whole(i32::MIN.into(), i32::MAX.into()),
        "int unsigned" | "int(8) unsigned zerofill" => whole(0, u32::MAX.into()),
        "bigint" => whole(i64::MIN.into(), i64::MAX.into()),
        "bigint unsigned" | "bit(64)" => whole(0, u64::MAX.into()),
        "bit(9)" => whole(0, 511),
        "bit(63)" => whole(0, i64::MAX.into()),
        "float" => any::<f32>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| format!("{f:e}")).boxed(),
        "double" => any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| format!("{f:e}")).boxed(),
        "double unsigned" => (0.0..f64::MAX).prop_map(|f| format!("{f:e}")).boxed(),
        "decimal(10,2)" => digits(8, 2),
        "decimal(10,2) unsigned" => (0..10_000_000_000_u64).prop_map(|n| format!("{}.{:02}", n / 100, n % 100)).boxed(),
        "decimal(38,0)" => digits(38, 0),
        "decimal(38,38)" => digits(0, 38),
        "decimal(65,30)" => digits(35, 30),
        "year" => whole(1901, 2155),
        "date" => date().prop_map(|date| format!("'{date}'")).boxed(),
        "datetime" => (date(), clock()).prop_map(|(date, time)| format!("'{date} {}'", &time[..8])).boxed(),
        "datetime(6)" => (date(), clock()).prop_map(|(date, time)| format!("'{date} {time}'")).boxed(),
        "timestamp NULL" | "timestamp(3) NULL" => {
            (1..i32::MAX, 0..1000).prop_map(|(s, ms)| format!("from_unixtime({s}.{ms:03})")).boxed()
        }
        "time" | "time(6)" => (any::<bool>(), 0..839, 0..60, 0..60, 0..1_000_000)
            .prop_map(|(minus, h, m, s, u)| format!("'{}{h:02}:{m:02}:{s:02}.{u:06}'", if minus { "-" } else { "" }))
            .boxed(),
        // MariaDB strips a char's trailing spaces.
        "char(8)" => text("[^ \u{0}]{0,7}[a-z猫]"),
        "enum('嬉しい', 'so so', '')" => whole(1, 3),
        "set('a', 'b', '猫')" => whole(0, 7),
        "json" => any::<i64>().prop_map(|n| format!("'{{\"n\": {n}}}'")).boxed(),
        // MariaDB accepts only UUIDs that follow RFC 4122.
        "uuid" => {
            any::<u128>().prop_map(|n| format!("'{:032x}'", n & !(0xf << 76 | 3 << 62) | 4 << 76 | 2 << 62)).boxed()
        }
        "inet4" => any::<u32>().prop_map(|n| format!("'{}'", std::net::Ipv4Addr::from(n))).boxed(),
        "inet6" => any::<u128>().prop_map(|n| format!("'{}'", std::net::Ipv6Addr::from(n))).boxed(),
        "binary(4)" => prop::collection::vec(any::<u8>(), 4).prop_map(hex).boxed(),
        "varbinary(200)" | "longblob" => prop::collection::vec(any::<u8>(), 0..200).prop_map(hex).boxed(),
        "point" => (-1e9..1e9, -1e9..1e9).prop_map(|(x, y)| format!("point({x:e}, {y:e})")).boxed(),
        of if of.contains("latin1") => text("[a-zA-Z0-9äöüßÄÖÜéèñ€ \\\\'\"\t\n]{0,60}"),
        of if of.contains("sjis") => text("[a-z0-9 ァ-ヶぁ-ん一丁七表示能ソ]{0,60}"),
        of if of.contains("varchar") || of.contains("text") => {
            text("\\PC{0,60}|[\u{1}-\u{ff}]{0,60}|\u{1F3A1}{1,20}|N|NUL|null")
        }
        other => panic!("no values of {other}"),
    }
}

fn row() -> impl Strategy<Value = Vec<String>> {
    let values = COLUMNS[1..].iter().map(|(_, of, ..)| prop_oneof![1 => Just("NULL".to_owned()), 4 => literal(of)]);
    values.collect::<Vec<_>>()
}

fn check(server: &'static Mariadb, handle: &tokio::runtime::Handle, rows: Vec<Vec<String>>) {
    let mut sql =
        format!("DROP TABLE IF EXISTS random_values; SET sql_mode = '';\n{}", create(server, "random_values"));
    for (id, row) in rows.iter().enumerate() {
        sql += &format!("INSERT IGNORE INTO random_values VALUES ({id}, {});\n", row.join(", "));
    }
    handle.block_on(async {
        run(server, sql).await;
        same(server, "random_values").await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn random_values_of_every_type_are_the_same() {
    let server = shared().await;
    let handle = tokio::runtime::Handle::current();
    let ran = tokio::task::spawn_blocking(move || {
        let mut runner =
            TestRunner::new(Config { cases: 12, failure_persistence: None, max_shrink_iters: 64, ..Config::default() });
        let rows = prop::collection::vec(row(), 1..100);
        runner.run(&rows, |rows| {
            check(server, &handle, rows);
            Ok(())
        })
    });
    ran.await.unwrap().unwrap_or_else(|error| panic!("{}", error.to_string().chars().take(4000).collect::<String>()));
}
