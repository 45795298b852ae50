//! A described table → the text of its entry.

use std::collections::BTreeSet;

use super::{Dialect, Key, LeftOut, Published, Table};

/// From so many rows on several connections are worth it.
const MANY: u64 = 1_000_000;

/// What all datasets have in common.
pub const DEFAULTS: &str = "[defaults]
database = \"dmp\" # the Glue database
location = \"s3://${BUCKET}/schemas\" # where tables' folders lie
";

/// Before the first entry.
pub const REMARK: &str = "
# ${DATABASE_URL} comes from the environment: give another database another name. In AWS write, instead of url,
# secret = \"NAME\", of Secrets Manager.
";

/// The entry of the dataset that is called `name`.
pub fn text(dialect: Dialect, name: &str, table: &Table, columns: &[Published], left_out: &[LeftOut]) -> String {
    let (scheme, kind) = match dialect {
        Dialect::Postgres => ("postgres", "postgres"),
        Dialect::Mysql => ("mysql", "mysql"),
    };
    let mut text = format!("\n[datasets.{name}]\n");
    for line in remarks(columns, left_out) {
        text += &format!("# {}\n", line.replace('\n', " "));
    }
    text += &format!(
        "source.{kind}.url = \"${{DATABASE_URL}}\" # {scheme}://…\nsource.{kind}.query = {}\n",
        written(&table.name, &columns.iter().collect::<Vec<_>>())
    );
    let key = table.keys.iter().find(|key| key.is_primary);
    if let (Dialect::Postgres, Some([column])) = (dialect, key.and_then(|key| names(key, columns)).as_deref()) {
        text += &format!("source.{kind}.split_by = {}\n", quoted(column));
        if table.rows >= MANY {
            text += &format!("source.{kind}.parallel = 4 # connections; the table has about {} rows\n", table.rows);
        }
    }
    if !table.is_empty {
        text += "checks.min_rows = 1\nchecks.max_shrink = 0.2\n";
    }
    let not_null: Vec<&str> = columns.iter().filter(|one| one.column.not_null).map(|one| one.name.as_str()).collect();
    if !not_null.is_empty() {
        text += &format!("checks.not_null = {}\n", list(&not_null));
    }
    let (unique, remarks) = unique(&table.keys, columns);
    for line in remarks {
        text += &format!("# {line}\n");
    }
    if !unique.is_empty() {
        let keys: Vec<String> = unique.iter().map(|names| list(names)).collect();
        text += &format!("checks.unique = [{}]\n", keys.join(", "));
    }
    text
}

/// The columns by name, under the names that they are published by.
pub fn query(table: &str, columns: &[&Published]) -> String {
    format!("SELECT {} FROM {table}", selected(columns).join(", "))
}

fn selected(columns: &[&Published]) -> Vec<String> {
    let select = |one: &&Published| {
        let quoted = &one.column.quoted;
        match one.column.name.to_lowercase() == one.name {
            true => quoted.clone(),
            false => format!("{quoted} AS {}{}{}", &quote(quoted), one.name, &quote(quoted)),
        }
    };
    columns.iter().map(select).collect()
}

/// A longer query has several lines.
const WIDTH: usize = 100;

/// The query as TOML has it.
fn written(table: &str, columns: &[&Published]) -> String {
    let line = query(table, columns);
    let width = |text: &str| text.chars().count();
    // What is between three single quotes has no escapes.
    if width(&line) <= WIDTH || line.contains("'''") || line.contains(char::is_control) {
        return quoted(&line);
    }
    let mut lines = vec!["SELECT".to_owned()];
    let selected = selected(columns);
    for (at, column) in selected.iter().enumerate() {
        let comma = if at + 1 < selected.len() { "," } else { "" };
        match lines.last_mut().filter(|line| width(line) + width(column) < WIDTH) {
            Some(line) => *line += &format!(" {column}{comma}"),
            None => lines.push(format!("  {column}{comma}")),
        }
    }
    format!("'''\n{}\nFROM {table}\n'''", lines.join("\n"))
}

/// The quotes that a quoted name has. One that has none is lower case, and needs no other name.
fn quote(quoted: &str) -> String {
    quoted.chars().take(1).filter(|c| matches!(c, '"' | '`')).collect()
}

/// What becomes of columns that a reader would not expect.
fn remarks(columns: &[Published], left_out: &[LeftOut]) -> Vec<String> {
    let mut remarks = Vec::new();
    for (column, why) in left_out {
        remarks.push(format!("left out: {} ({}): {why}; cast it in the query to publish it", column.name, column.of));
    }
    for Published { column, name, glue_type } in columns {
        let plain = plain(&column.name);
        if plain != *name {
            remarks.push(format!(
                "{:?} is called {name}: Glue's names are lower case, and {plain} would be there twice",
                column.name
            ));
        } else if column.name.to_lowercase() != plain {
            remarks.push(format!("{:?} is called {name}: Athena's names are of letters, digits and _", column.name));
        }
        let of = column.of.to_lowercase();
        if glue_type != "string" || is_text(&of) {
            continue;
        }
        let advice = match of.starts_with("numeric") || of.starts_with("decimal") {
            true => {
                "a decimal of Glue has a precision, of up to 38 digits: cast it to one in the query, if all values fit"
            }
            false => "a cast in the query makes something else of it",
        };
        remarks.push(format!("{name} ({}) becomes a string: {advice}", column.of));
    }
    remarks
}

fn is_text(of: &str) -> bool {
    const TEXTS: [&str; 10] = ["text", "char", "name", "json", "uuid", "enum", "set", "citext", "tinytext", "longtext"];
    TEXTS.iter().any(|text| of.contains(text))
}

/// Keys that Athena can be asked about, each once, and why others are not among them.
fn unique<'a>(keys: &[Key], columns: &'a [Published]) -> (Vec<Vec<&'a str>>, Vec<String>) {
    let (mut unique, mut remarks): (Vec<Vec<&str>>, Vec<String>) = (Vec::new(), Vec::new());
    for key in keys {
        let of: Option<Vec<&Published>> =
            key.columns.iter().map(|name| columns.iter().find(|one| one.column.name == *name)).collect();
        let Some(of) = of else { continue };
        let names: Vec<&str> = of.iter().map(|one| one.name.as_str()).collect();
        let nullable = of.iter().find(|one| !one.column.not_null);
        let time = of.iter().find(|one| one.glue_type.starts_with("timestamp"));
        let why = match (nullable, time) {
            (Some(one), _) => {
                format!("{} may be null, and two rows without a key are not unique to the check", one.name)
            }
            (_, Some(one)) => format!("{} is a time, of which Athena knows no more than milliseconds", one.name),
            (None, None) => {
                if !unique.contains(&names) {
                    unique.push(names);
                }
                continue;
            }
        };
        remarks.push(format!("unique in the database, and not checked: {}: {why}", list(&names)));
    }
    (unique, remarks)
}

/// A key's columns as they are published.
fn names<'a>(key: &Key, columns: &'a [Published]) -> Option<Vec<&'a str>> {
    key.columns
        .iter()
        .map(|name| columns.iter().find(|one| one.column.name == *name).map(|one| one.name.as_str()))
        .collect()
}

/// A name that Glue takes, like the table's, and if that is taken like the schema's and the table's.
pub fn dataset(wanted: &str, taken: &BTreeSet<String>) -> String {
    let table = wanted.rsplit('.').next().unwrap_or(wanted);
    let numbered = (2..).map(|number| name(&format!("{wanted}_{number}")));
    [name(table), name(wanted)].into_iter().chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default()
}

fn name(wanted: &str) -> String {
    let good = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' { c } else { '_' };
    let name: String = wanted.to_lowercase().chars().map(good).take(127).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() { format!("_{name}") } else { name }
}

/// A column's name in lower case, with `_` for what Athena would want quotes for.
pub fn plain(name: &str) -> String {
    name.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
}

fn list(names: &[&str]) -> String {
    format!("[{}]", names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "))
}

/// A string of TOML: literal where it can be, so that SQL's own quotes are not escaped.
fn quoted(text: &str) -> String {
    let plain = |quote: char| !text.contains(quote) && !text.contains(|c: char| c.is_control());
    match (plain('"') && !text.contains('\\'), plain('\'')) {
        (true, _) => format!("\"{text}\""),
        (_, true) => format!("'{text}'"),
        // JSON's escapes are among TOML's.
        _ => serde_json::Value::from(text).to_string(),
    }
}
