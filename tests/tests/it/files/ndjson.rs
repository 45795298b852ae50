//! NDJSON: digits, nesting, and the errors for lines that don't fit.

use super::{fault, read_one};

#[tokio::test]
async fn json_keeps_digits_and_nests() {
    let columns = ", columns = { id = \"bigint\", price = \"decimal(20,2)\", tags = \"array<string>\", \
                   address = \"struct<city:string,zip:int>\", extra = \"map<string,double>\", raw = \"string\" }";
    let json = "{\"ID\":9007199254740993,\"price\":123456789012345678.90,\"tags\":[\"a\\u00e9\",null],\
                \"address\":{\"City\":\"x\"},\"extra\":{\"k\":1e3},\"raw\":{\"a\": [1]}}\n\n{}\r\n{\"tags\":null,\"raw\":\"t\"}";
    let table = read_one("a.jsonl", json, columns).await.unwrap();
    assert_eq!(
        table.rows,
        [
            "9007199254740993|123456789012345678.90|[aé, -]|{city: x, zip: -}|{k: 1000.0}|{\"a\": [1]}",
            "-|-|-|-|-|-",
            "-|-|-|-|-|t"
        ]
    );
    let table = read_one("a.json", "{\"b\":1,\"A\":{\"y\":\"2024-01-31\"}}\n{\"c\":[1.5,2]}\n", "").await.unwrap();
    assert_eq!(table.columns, "b bigint, a struct<y:date>, c array<double>");
    assert_eq!(table.rows, ["1|{y: 2024-01-31}|-", "-|-|[1.5, 2.0]"]);
}

#[tokio::test]
async fn a_line_that_does_not_fit_is_named_and_never_shown() {
    let columns = ", columns = { id = \"bigint\", a = \"struct<b:array<int>>\" }";
    for (line, expected) in [
        ("{\"id\":1.5}", "a.json: line 2: column \"id\" (bigint): not a whole number"),
        (
            "{\"id\":[1]}",
            "a.json: line 2: column \"id\" (bigint): found an array or an object, expected a single value",
        ),
        ("{\"id\":1,\"ID\":1}", "a.json: line 2: column \"id\" appears twice"),
        (
            "{\"x\":1}",
            "a.json: line 2: column \"x\" is unknown: declare all columns in source.files.columns (extra = \"ignore\" leaves out any others), or remove it from the data",
        ),
        (
            "{\"a\":{\"c\":1}}",
            "a.json: line 2: column \"a.c\" is unknown: declare all columns in source.files.columns (extra = \"ignore\" leaves out any others), or remove it from the data",
        ),
        ("{\"a\":{\"b\":[\"x\"]}}", "a.json: line 2: column \"a.b\" (int): not a whole number"),
        ("{\"a\":1}", "a.json: line 2: column \"a\" (struct<b:array<int>>): not a JSON object"),
        ("{\"id\":\"\\ud800\"}", "a.json: line 2: column \"id\" (bigint): invalid JSON string"),
        ("{\"id\":1", "a.json: line 2: the JSON object that begins here has no end: expected a closing brace"),
        ("{\"id\":1,}", "a.json: line 2: invalid JSON at byte 9: key must be a string"),
        ("{\"id\":1}}", "a.json: line 2: invalid JSON at byte 1: expected value"),
        ("[1]", "a.json: line 2: not a JSON object"),
    ] {
        assert_eq!(fault("a.json", format!("{{}}\n{line}\n"), columns).await, expected);
    }
    assert_eq!(fault("a.json", b"{\"id\":\"\xff\"}", columns).await, "a.json: line 1: invalid UTF-8 at byte 8");
    let deep = format!("{{\"id\":{}", "[".repeat(1_000_000));
    assert_eq!(
        fault("a.json", deep, columns).await,
        "a.json: line 1: the JSON object that begins here has no end: expected a closing brace"
    );
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(read_one("a.json", deep, "").await.unwrap().columns, "x string");
}

/// However many fields a record has, the result is rows or an error. A panic would show up as `Corrupt`.
#[tokio::test]
async fn a_record_that_is_too_wide_for_memory_is_an_error() {
    let names = |columns: usize| (0..columns).map(|at| format!("c{at}")).collect::<Vec<_>>();
    let csv = |columns| format!("{}\n{}\n", names(columns).join(","), vec!["1"; columns].join(","));
    let pairs = |columns| names(columns).iter().map(|name| format!("\"{name}\":1")).collect::<Vec<_>>();
    let object = |columns| format!("{{{}}}\n", pairs(columns).join(","));
    for (name, widest, wider, why) in [
        ("a.csv", csv(10_000), csv(10_001), "a.csv: line 1: record with more than 10,000 fields"),
        ("a.json", object(10_000), object(10_001), "a.json: line 1: an object with more than 10,000 names"),
    ] {
        assert_eq!(read_one(name, widest, "").await.unwrap().rows.len(), 1);
        let columns = if name == "a.csv" { "" } else { ", columns = { c0 = \"int\" }" };
        assert_eq!(fault(name, wider, columns).await, why);
    }
}

#[tokio::test]
async fn objects_are_read_from_one_line_from_an_array_and_over_several_lines() {
    for text in [
        "{\"id\":1,\"a\":{\"b\":\"}{\"}}{\"id\":2}",
        "{\"id\":1,\"a\":{\"b\":\"}{\"}} {\"id\":2}\n\n",
        "[{\"id\":1,\"a\":{\"b\":\"}{\"}},{\"id\":2}]",
        "\u{feff}[\n  {\n    \"id\": 1,\n    \"a\": {\"b\": \"}{\"}\n  },\n  {\"id\": 2}\n]\n",
        "{\n  \"id\": 1,\n  \"a\": {\n    \"b\": \"}{\"\n  }\n}\n{\n\"id\": 2}\n",
    ] {
        let table = read_one("a.json", text, "").await.unwrap();
        assert_eq!((table.columns.as_str(), table.rows.len()), ("id bigint, a struct<b:string>", 2), "{text}");
        assert_eq!(table.rows, ["1|{b: }{}", "2|-"], "{text}");
    }
    let columns = ", columns = { id = \"int\" }";
    for (text, expected) in [
        ("{\n\"id\": 1,\n\"id\" 2\n}", "a.json: line 3: invalid JSON at byte 6: expected `:`"),
        ("{\"id\":1}{\"id\":x}", "a.json: line 1: invalid JSON at byte 7: expected value"),
        ("[{\"id\":1}\n{\"id\":2}]", "a.json: line 2: unexpected text in a JSON array: expected a comma or ]"),
        ("[{\"id\":1}", "a.json: line 1: the JSON array that begins here has no end: expected ]"),
        ("[1,2]", "a.json: line 1: unexpected text in a JSON array: expected a JSON object or ]"),
        ("{\n\n\"id\": \"x\"}", "a.json: line 1: column \"id\" (int): not a whole number"),
    ] {
        assert_eq!(fault("a.json", text, columns).await, expected);
    }
}

#[tokio::test]
async fn nan_is_read_where_only_a_number_can_be_meant() {
    let json = "{\"id\":1,\"x\":NaN,\"l\":[1.5,-Infinity],\"s\":\"NaN, \\\"Infinity\"}\n{\"id\":2,\"x\":2.5,\"l\":[Infinity],\"s\":\"x\"}\n";
    for columns in ["", ", columns = { id = \"bigint\", x = \"double\", l = \"array<double>\", s = \"string\" }"] {
        let table = read_one("a.json", json, columns).await.unwrap();
        assert_eq!(table.columns, "id bigint, x double, l array<double>, s string");
        assert_eq!(table.rows, ["1|NaN|[1.5, -inf]|NaN, \"Infinity", "2|2.5|[inf]|x"]);
    }
    for (of, json) in [("int", "{\"x\":NaN}"), ("string", "{\"x\":NaN}"), ("string", "{\"x\":{\"y\":[Infinity]}}")] {
        assert_eq!(
            fault("a.json", json, &format!(", columns = {{ x = \"{of}\" }}")).await,
            format!("a.json: line 1: column \"x\" ({of}): NaN or Infinity, which only float and double can hold")
        );
    }
    assert_eq!(fault("a.json", "{\"x\":Nan}", "").await, "a.json: line 1: invalid JSON at byte 6: expected value");
}
