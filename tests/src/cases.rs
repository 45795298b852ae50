//! Test cases for every check: data that passes it and data that fails it. The in-memory tests and the chain tests
//! share them.

use jiff::{SignedDuration, Timestamp};

/// A check on `users`, whose columns are [`COLUMNS`].
pub struct Case {
    /// The dataset's `checks`, as TOML.
    pub checks: &'static str,
    /// CSV that passes the check and goes live first. [`at`] replaces `{1h}` with the time one hour ago.
    pub good: &'static str,
    /// CSV that fails the check.
    pub bad: &'static str,
    /// The audit's reasons for rejecting `bad`, in order.
    pub reasons: &'static [&'static str],
    /// For tests without Athena: a fragment that identifies the check's query, and the query's answer for `bad`.
    pub athena: Option<(&'static str, &'static str)>,
}

pub const COLUMNS: &str = "id = \"bigint\", name = \"string\", points = \"int\", price = \"decimal(10,2)\", \
                           born = \"date\", updated_at = \"timestamp\"";

const GOOD: &str = "id,name,points,price,born,updated_at\n\
                    1,alice,0,0.01,1990-01-01,{1h}\n2,bob,100,99.99,2000-12-31,{30h}\n3,,7,,,\n4,dan,8,1.00,1995-05-05,{2h}\n";

const HALF: &str =
    "id,name,points,price,born,updated_at\n1,alice,0,0.01,1990-01-01,{1h}\n2,bob,100,99.99,2000-12-31,{30h}\n";

const TWICE: &str = "id,name,points,price,born,updated_at\n\
                     1,alice,-1,0.00,1889-12-31,{26h}\n1,bob,101,100.00,2000-12-31,{30h}\n3,,7,,,\n,zoe,8,1.00,2001-01-01,\n";

const ENDLESS: &str = "id,name,points,price,born,updated_at\n\
                       1,alice,0,0.01,9999-12-31,9999-12-31 00:00:00\n2,bob,100,99.99,2000-12-31,{1h}\n";

const OLD_AND_ENDLESS: &str = "id,name,points,price,born,updated_at\n\
                               1,alice,0,0.01,9999-12-31,9999-12-31 00:00:00\n2,bob,100,99.99,1900-01-01,{26h}\n";

pub const CASES: &[Case] = &[
    Case {
        checks: "min_rows = 4",
        good: GOOD,
        bad: HALF,
        reasons: &["min_rows: expected at least 4, found 2"],
        athena: None,
    },
    Case {
        checks: "max_shrink = 0.4",
        good: GOOD,
        bad: HALF,
        reasons: &["max_shrink: expected to lose at most 0.4 of the 4 live rows, found 2 rows"],
        athena: None,
    },
    Case {
        checks: "max_growth = 0.9",
        good: HALF,
        bad: GOOD,
        reasons: &["max_growth: expected to gain at most 0.9 of the 2 live rows, found 4 rows"],
        athena: None,
    },
    Case {
        checks: "not_null = [\"ID\"]",
        good: GOOD,
        bad: TWICE,
        reasons: &["not_null: id: expected no nulls, found 1"],
        athena: None,
    },
    Case {
        checks: "range = { points = { min = 0, max = 100 }, price = { min = 0.01, max = 99.99 }, \
                 born = { min = 1990-01-01, max = \"2000-12-31\" }, name = { min = \"alice\", max = \"dan\" } }",
        good: GOOD,
        bad: TWICE,
        reasons: &[
            "range: points: expected 0 to 100, found smaller values in part-00000.parquet",
            "range: points: expected 0 to 100, found larger values in part-00000.parquet",
            "range: price: expected 0.01 to 99.99, found smaller values in part-00000.parquet",
            "range: price: expected 0.01 to 99.99, found larger values in part-00000.parquet",
            "range: born: expected \"1990-01-01\" to \"2000-12-31\", found smaller values in part-00000.parquet",
            "range: born: expected \"1990-01-01\" to \"2000-12-31\", found larger values in part-00000.parquet",
            "range: name: expected \"alice\" to \"dan\", found larger values in part-00000.parquet",
        ],
        athena: None,
    },
    Case {
        checks: "fresh = { updated_at = \"25h\" }",
        good: GOOD,
        bad: TWICE,
        reasons: &["fresh: updated_at: expected a value from the last 25h, but the newest is more than 26 hours old"],
        athena: None,
    },
    Case {
        checks: "fresh = { updated_at = { max_age = \"25h\", ignore_after = 9000-01-01 } }",
        good: ENDLESS,
        bad: OLD_AND_ENDLESS,
        reasons: &["fresh: updated_at: expected a value from the last 25h that is not after ignore_after, found none"],
        athena: Some(("\"updated_at\" >= TIMESTAMP '", "false")),
    },
    Case {
        checks: "fresh = { born = { max_age = \"400000h\", ignore_after = 9000-01-01 } }",
        good: ENDLESS,
        bad: OLD_AND_ENDLESS,
        reasons: &["fresh: born: expected a value from the last 400000h that is not after ignore_after, found none"],
        athena: Some(("\"born\" >= DATE '", "false")),
    },
    Case {
        checks: "unique = [\"id\"]",
        good: GOOD,
        bad: TWICE,
        reasons: &["unique: id: expected no duplicate keys, found 1"],
        athena: Some(("GROUP BY \"id\" ", "1")),
    },
    Case {
        checks: "sql = [\"SELECT count(*) = 0 FROM {table} WHERE points > 100\"]",
        good: GOOD,
        bad: TWICE,
        reasons: &["sql: SELECT count(*) = 0 FROM {table} WHERE points > 100: expected true, found false"],
        athena: Some(("points > 100", "false")),
    },
];

/// Returns a case's CSV with its placeholders replaced by times before `now`.
pub fn at(csv: &str, now: Timestamp) -> String {
    let hours = [1, 2, 26, 30];
    hours.iter().fold(csv.to_owned(), |csv, hours| {
        let time = now.checked_sub(SignedDuration::from_hours(*hours)).expect("a time of this century");
        csv.replace(&format!("{{{hours}h}}"), &time.strftime("%Y-%m-%d %H:%M:%S").to_string())
    })
}
