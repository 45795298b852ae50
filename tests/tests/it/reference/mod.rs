//! docs/datasets.schema.json and docs/datasets.md match the code: the same keys, the same defaults, and examples that
//! the code accepts.

mod examples;

use std::{collections::BTreeSet, fs};

use serde_json::{Map, Value, json};
use turntable::config::Config;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/");

fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string(format!("{DOCS}datasets.schema.json")).unwrap()).unwrap()
}

/// Returns a node of the schema, or the definition that it refers to.
fn resolved<'a>(schema: &'a Value, node: &'a Value) -> &'a Value {
    match node["$ref"].as_str() {
        Some(to) => schema.pointer(to.trim_start_matches('#')).unwrap_or_else(|| panic!("{to}")),
        None => node,
    }
}

/// Returns a value as one line of TOML.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(table) => {
            let pairs: Vec<String> = table.iter().map(|(key, value)| format!("{key:?} = {}", toml(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(toml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// Returns the text of a datasets.toml with these keys.
fn file(root: &Value) -> String {
    root.as_object().unwrap().iter().map(|(key, value)| format!("{key:?} = {}\n", toml(value))).collect()
}

/// Returns a table that contains `value` at the path, and nothing else.
fn only(path: &[String], value: Value) -> Value {
    path.iter().rev().fold(value, |below, key| json!({ key: below }))
}

/// Returns the keys that the code accepts in the table at the path, or `None` if there is no table there or its keys
/// are names.
fn known(path: &[String]) -> Option<BTreeSet<String>> {
    const NONE: &str = "no such key";
    let faults = match Config::parse("f", &file(&only(path, json!({ NONE: 1 })))) {
        Ok(_) => return None,
        Err(error) => error.message().to_owned(),
    };
    let at = if path.is_empty() { String::new() } else { format!("{}: ", path.join(".")) };
    let fault = format!(": {at}unknown key {NONE:?}, expected one of ");
    let (_, list) = faults.lines().find_map(|line| line.split_once(&fault))?;
    Some(list.split(", ").map(str::to_owned).collect())
}

/// Compares the keys of the table at the path, and of all tables below it, with those that the code accepts. Returns
/// how many tables it compared.
fn compare(schema: &Value, node: &Value, path: &[String]) -> usize {
    let node = resolved(schema, node);
    let keys = node["properties"].as_object();
    let names = keys.map(|keys| keys.keys().cloned().collect::<BTreeSet<String>>());
    assert_eq!(known(path), names, "the keys of {:?}: the code's, and the schema's", path.join("."));
    assert_eq!(keys.is_some(), node["additionalProperties"] == false, "{}", path.join("."));
    let at = |key: &str| [path, &[key.to_owned()]].concat();
    let fixed = keys.into_iter().flatten().map(|(key, below)| compare(schema, below, &at(key))).sum::<usize>();
    let named = match &node["additionalProperties"] {
        below @ Value::Object(_) => compare(schema, below, &at("a")),
        _ => 0,
    };
    usize::from(keys.is_some()) + fixed + named
}

#[test]
fn the_schema_has_the_keys_of_the_code_and_no_others() {
    let schema = schema();
    assert!(compare(&schema, &schema, &[]) >= 17);
}

/// Returns a table with only its required keys.
fn least(table: &str) -> Value {
    match table {
        "dataset" => {
            json!({ "database": "d", "location": "s3://b/p", "source": { "files": { "location": "s3://b/in/" } } })
        }
        "postgres" | "mysql" => json!({ "secret": "s", "query": "SELECT 1" }),
        "files" => json!({ "location": "s3://b/in/" }),
        "inbox" => json!({ "location": "s3://b/inbox/", "key": "id" }),
        "athena" => json!({ "query": "SELECT 1", "workgroup": "w" }),
        "glue_job" => json!({ "name": "j", "timeout": "1h" }),
        _ => json!({}),
    }
}

/// Returns what the code reads from a dataset with this table, as a string, without the hash of the dataset's text.
fn read(name: &str, table: Value) -> String {
    let dataset = match name {
        "dataset" => table,
        "postgres" | "mysql" | "files" | "inbox" | "athena" | "glue_job" => {
            with(least("dataset"), "source", json!({ name: table }))
        }
        "csv" => return read("files", with(least("files"), "csv", table)),
        other => with(least("dataset"), other, table),
    };
    let text = file(&json!({ "datasets": { "a": dataset } }));
    let config = Config::parse("f", &text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    let mut dataset = config.dataset("a").unwrap().clone();
    dataset.spec.clear();
    format!("{dataset:?}")
}

fn with(mut table: Value, key: &str, value: Value) -> Value {
    table[key] = value;
    table
}

#[test]
fn a_default_is_what_the_code_takes_where_nothing_is_said() {
    let mut looked_at = 0;
    for (name, table) in schema()["definitions"].as_object().unwrap() {
        for (key, property) in table["properties"].as_object().unwrap() {
            let Some(default) = property.get("default") else { continue };
            let said = read(name, with(least(name), key, default.clone()));
            assert_eq!(said, read(name, least(name)), "{name}.{key} = {default}");
            looked_at += 1;
        }
    }
    assert!(looked_at >= 15, "{looked_at}");
}

/// Returns the rows of a table in docs/datasets.md, generated from the schema.
fn rows(schema: &Value, name: &str, keys: &Map<String, Value>) -> BTreeSet<String> {
    let defaults = &schema["properties"]["defaults"]["properties"];
    let row = |(key, property): (&String, &Value)| {
        let named = property["$ref"].as_str().and_then(|to| to.rsplit('/').next());
        let property = resolved(schema, property);
        let text = property["description"].as_str().unwrap_or_else(|| panic!("{name}.{key}"));
        // A default that isn't a value, such as "the live table's", is the end of the description.
        let (meaning, otherwise) = text.rsplit_once("; by default ").unwrap_or((text, "–"));
        let link = named.map(|to| format!("; see [`{to}`](#{to})")).unwrap_or_default();
        let default = property.get("default").map_or(otherwise.to_owned(), |default| format!("`{}`", toml(default)));
        let shared = match (name, defaults.get(key)) {
            ("dataset", Some(_)) => " yes |",
            ("dataset", None) => " – |",
            _ => "",
        };
        format!("| `{key}` | {meaning}{link} | {default} |{shared}")
    };
    keys.iter().map(row).collect()
}

#[test]
fn the_page_has_every_key_as_the_schema_has_it() {
    let (schema, page) = (schema(), fs::read_to_string(format!("{DOCS}datasets.md")).unwrap());
    for (name, table) in schema["definitions"].as_object().unwrap() {
        let title = if name == "dataset" { "A dataset" } else { name };
        let section = page.split(&format!("\n## {title}\n")).nth(1).unwrap_or_else(|| panic!("no section {title:?}"));
        let section = section.split("\n## ").next().unwrap();
        let found = section.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
        let expected = rows(&schema, name, table["properties"].as_object().unwrap());
        let differ = |these: &BTreeSet<String>, those: &BTreeSet<String>| {
            these.difference(those).cloned().collect::<Vec<_>>().join("\n")
        };
        let (missing, wrong) = (differ(&expected, &found), differ(&found, &expected));
        assert!(
            found == expected,
            "docs/datasets.md, {title:?}: these rows are missing:\n{missing}\nand wrong:\n{wrong}"
        );
    }
}
