use std::collections::BTreeSet;

use super::*;

fn column(name: &str, glue_type: &str) -> Column {
    Column { name: name.into(), glue_type: glue_type.into() }
}

fn of(name: &str, glue_type: &str, texts: &[&str]) -> Partition {
    let kind = Kind::of(glue_type).unwrap();
    let values: BTreeSet<Value> = texts.iter().map(|text| Value::parse(kind, text).unwrap()).collect();
    Partition::of(column(name, glue_type), kind, &values).unwrap()
}

fn parameters(partition: &Partition) -> Vec<String> {
    partition.parameters().into_iter().map(|(key, value)| format!("{key} = {value}")).collect()
}

#[test]
fn ranges_cover_the_data_in_the_longest_step() {
    assert_eq!(
        parameters(&of("dt", "date", &["2024-03-04", "2024-02-26", "2024-02-19"])),
        [
            "projection.dt.format = yyyy-MM-dd",
            "projection.dt.interval = 7",
            "projection.dt.interval.unit = DAYS",
            "projection.dt.range = 2024-02-19,2024-03-04",
            "projection.dt.type = date",
        ]
    );
    assert_eq!(
        parameters(&of("n", "bigint", &["-50", "100", "9223372036854775800"])),
        ["projection.n.interval = 50", "projection.n.range = -50,9223372036854775800", "projection.n.type = integer"]
    );
    assert_eq!(
        parameters(&of("pref", "string", &["New York", "東京"])),
        ["projection.pref.type = enum", "projection.pref.values = New York,東京"]
    );
    // A column with a single value, and columns without values.
    assert_eq!(parameters(&of("n", "int", &["7"]))[..2], ["projection.n.interval = 1", "projection.n.range = 7,7"]);
    assert_eq!(parameters(&of("dt", "date", &[]))[3], "projection.dt.range = 1970-01-01,1970-01-01");
    assert_eq!(parameters(&of("pref", "string", &[]))[1], "projection.pref.values = none");
}

#[test]
fn projected_values_are_recognised_and_counted() {
    let weekly = of("dt", "date", &["2024-02-19", "2024-03-04"]);
    assert_eq!(weekly.count(), 2);
    assert!(weekly.has("2024-02-19") && weekly.has("2024-03-04"));
    for not in ["2024-02-20", "2024-03-18", "2024-2-19", "+002024-02-19", "20240219", ""] {
        assert!(!weekly.has(not), "{not}");
    }
    let tens = of("n", "int", &["-10", "0", "20"]);
    assert_eq!(tens.count(), 4);
    for (text, expected) in [("-10", true), ("10", true), ("5", false), ("30", false), ("010", false), ("+10", false)] {
        assert_eq!(tens.has(text), expected, "{text}");
    }
    assert!(!of("pref", "string", &["a", "b"]).has("c"));
    let widest = of("n", "bigint", &["-9223372036854775808", "9223372036854775807", "0"]);
    assert_eq!(widest.count(), u64::MAX);
    assert!(
        projected(&[widest, weekly], 3).unwrap_err().contains("18446744073709551615 partitions, but only 3 have rows")
    );
}

#[test]
fn file_must_be_in_one_folder_per_column_in_order() {
    let partitions = [of("dt", "date", &["2024-02-19"]), of("n", "int", &["1"])];
    let columns = partitions.iter().map(|partition| partition.column.name.as_str());
    let location = "s3://b/t/g".parse().unwrap();
    assert_eq!(template(&location, columns), "s3://b/t/g/dt=${dt}/n=${n}/");
    let key = folder([("dt", "2024-02-19"), ("n", "1")]) + "part-00000.parquet";
    assert_eq!(values_of(&partitions, &key), Some(vec!["2024-02-19", "1"]));
    for not in
        ["part-0.parquet", "dt=2024-02-19/p", "n=1/dt=2024-02-19/p", "dt=2024-02-19/n=1/x/p", "dt=2024-02-19/n=1/"]
    {
        assert_eq!(values_of(&partitions, not), None, "{not}");
    }
}

#[test]
fn unsafe_text_is_refused_and_not_revealed() {
    let long = "x".repeat(256);
    for bad in [
        "",
        " a",
        "a\u{3000}",
        ".",
        "..",
        "a/b",
        "a,b",
        "a=b",
        "a%2Fb",
        "${dt}",
        "a\nb",
        "__HIVE_DEFAULT_PARTITION__",
        &long,
    ] {
        let fault = Value::text(bad).unwrap_err();
        assert!(fault.ends_with(": replace it in the source's query"), "{fault}");
        assert!(bad.len() < 3 || !fault.contains(bad), "{fault}");
    }
    for good in ["jp", "New York", "東京", "a.b-c_d+e@f", "..a", "~"] {
        assert_eq!(Value::text(good), Ok(Value::Text(good.into())));
    }
    assert!(Value::date(-719_163).is_err() && Value::date(-719_162).is_ok());
    assert!(Value::date(i32::MAX).is_err());
}

#[test]
fn only_types_that_athena_projects_are_accepted() {
    for (glue_type, kind) in
        [("date", Kind::Date), ("int", Kind::Integer), ("bigint", Kind::Integer), ("varchar(3)", Kind::Enum)]
    {
        assert_eq!(Kind::of(glue_type), Ok(kind));
    }
    for other in ["timestamp", "tinyint", "decimal(10,2)", "boolean", "array<int>"] {
        assert!(Kind::of(other).unwrap_err().contains(other));
    }
}

#[test]
fn enum_larger_than_a_table_parameter_is_refused() {
    let values: BTreeSet<Value> = (0..3_000).map(|n| Value::text(&format!("{n:0200}")).unwrap()).collect();
    let refused = Partition::of(column("k", "string"), Kind::Enum, &values).unwrap_err();
    assert!(refused.starts_with("column \"k\" has too many distinct values"), "{refused}");
}

#[test]
fn partitions_survive_a_json_round_trip() {
    let all = [of("dt", "date", &["2024-02-19"]), of("n", "int", &["1", "4"]), of("pref", "string", &["東京"])];
    let json = serde_json::to_string(&all).unwrap();
    assert_eq!(
        json,
        "[{\"name\":\"dt\",\"type\":\"date\",\"projection\":{\"type\":\"date\",\"first\":\"2024-02-19\",\"last\":\"2024-02-19\",\"interval\":1}},\
         {\"name\":\"n\",\"type\":\"int\",\"projection\":{\"type\":\"integer\",\"first\":1,\"last\":4,\"interval\":3}},\
         {\"name\":\"pref\",\"type\":\"string\",\"projection\":{\"type\":\"enum\",\"values\":[\"東京\"]}}]"
    );
    assert_eq!(serde_json::from_str::<Vec<Partition>>(&json).unwrap(), all);
}
