//! Writes a table's entry in a datasets.toml.

use std::collections::BTreeSet;

use super::description::{Dialect, Digits, Key, LeftOut, Published, Table};
use crate::table::thousands;

/// The estimated number of rows above which it pays to read with several connections.
const PARALLEL_FROM_ROWS: u64 = 1_000_000;

/// The `[defaults]` section of a new datasets.toml.
pub const DEFAULTS: &str = "[defaults]
database = \"dmp\" # the Glue database
location = \"s3://${BUCKET}/schemas\" # the parent of the tables' folders
";

/// The comment before the first entry.
pub const REMARK: &str = "
# ${DATABASE_URL} comes from the environment. For another database, use a variable whose name begins with TURNTABLE_.
# In AWS, replace url with secret = \"NAME\", a secret in Secrets Manager.
";

/// Returns the entry for the dataset `name`.
pub fn text(dialect: Dialect, name: &str, table: &Table, columns: &[Published], left_out: &[LeftOut]) -> String {
    let (scheme, kind) = match dialect {
        Dialect::Postgres => ("postgres", "postgres"),
        Dialect::Mysql => ("mysql", "mysql"),
    };
    let mut text = format!("\n[datasets.{name}]\n");
    if table.name.chars().any(needs_code) {
        text += &format!(
            "# {name} stands for {}, because Glue's names have only a to z, 0 to 9 and _. Choose a better name\n",
            table.name
        );
    }
    for line in remarks(columns, left_out) {
        text += &format!("# {}\n", line.replace('\n', " "));
    }
    text += &format!(
        "source.{kind}.url = \"${{DATABASE_URL}}\" # {scheme}://…\nsource.{kind}.query = {}\n",
        toml_query(&table.name, &columns.iter().collect::<Vec<_>>())
    );
    if let (Dialect::Postgres, Some(column)) = (dialect, split_by(table, columns)) {
        text += &format!("source.{kind}.split_by = {}\n", quoted(column));
        if table.rows >= PARALLEL_FROM_ROWS {
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
    match unique.as_slice() {
        [] => {}
        [key] if key.len() == 1 => text += &format!("checks.unique = {}\n", list(key)),
        keys => {
            let keys: Vec<String> = keys.iter().map(|names| list(names)).collect();
            text += &format!("checks.unique = [{}]\n", keys.join(", "));
        }
    }
    text
}

/// Returns the column whose ranges several connections can read: the primary key if it is one column. Otherwise, only a
/// partitioned table needs a column, because it can't be split by its blocks: a number or a time, whose values mostly
/// differ, from the key if possible.
fn split_by<'a>(table: &Table, columns: &'a [Published]) -> Option<&'a str> {
    let key = table.keys.iter().find(|key| key.is_primary);
    let of_key = key.and_then(|key| names(key, columns));
    if let Some([column]) = of_key.as_deref() {
        return Some(column);
    }
    let is_ordered = |one: &&Published| {
        ["bigint", "int", "timestamp", "date"].contains(&one.glue_type.as_str()) && one.column.not_null
    };
    let is_in_key = |one: &&Published| of_key.iter().flatten().any(|name| *name == one.name);
    let best = columns.iter().filter(is_in_key).chain(columns).find(is_ordered);
    best.filter(|_| table.is_partitioned).map(|one| one.name.as_str())
}

/// Returns the query that selects the columns under their published names.
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

/// The maximum width of a query on one line. A longer query is written on several lines.
const MAX_WIDTH: usize = 100;

/// Returns the query as a TOML string.
fn toml_query(table: &str, columns: &[&Published]) -> String {
    let line = query(table, columns);
    let width = |text: &str| text.chars().count();
    // A TOML string in three single quotes has no escapes, so it can't contain `'''` or control characters.
    if width(&line) <= MAX_WIDTH || line.contains("'''") || line.contains(char::is_control) {
        return quoted(&line);
    }
    let mut lines = vec!["SELECT".to_owned()];
    let selected = selected(columns);
    for (at, column) in selected.iter().enumerate() {
        let comma = if at + 1 < selected.len() { "," } else { "" };
        match lines.last_mut().filter(|line| width(line) + width(column) < MAX_WIDTH) {
            Some(line) => *line += &format!(" {column}{comma}"),
            None => lines.push(format!("  {column}{comma}")),
        }
    }
    format!("'''\n{}\nFROM {table}\n'''", lines.join("\n"))
}

/// Returns the quote character of a quoted name, or an empty string for an unquoted one. An unquoted name is in lower
/// case and needs no alias.
fn quote(quoted: &str) -> String {
    quoted.chars().take(1).filter(|c| matches!(c, '"' | '`')).collect()
}

/// Returns a comment for each column that is left out, renamed or published as a string.
fn remarks(columns: &[Published], left_out: &[LeftOut]) -> Vec<String> {
    let mut remarks = Vec::new();
    for (column, why) in left_out {
        remarks.push(format!(
            "left out: {} ({}): {why}; cast it in the query to publish it",
            column.name, column.database_type
        ));
    }
    for Published { column, name, glue_type } in columns {
        let plain = plain(&column.name);
        if plain != *name {
            remarks.push(format!(
                "{:?} is published as {name}: Glue's names are lower case, and {plain} exists twice",
                column.name
            ));
        } else if column.name.to_lowercase() != plain {
            remarks.push(format!(
                "{:?} is published as {name}: Athena's names have only letters, digits and _",
                column.name
            ));
        }
        if column.is_invisible {
            remarks.push(format!(
                "{name} is INVISIBLE, so SELECT * doesn't show it: remove it if readers must not see it"
            ));
        }
        let database_type = column.database_type.to_lowercase();
        if SPATIAL_TYPES.contains(&database_type.as_str()) && glue_type == "binary" {
            remarks
                .push(format!("{name} ({database_type}) becomes WKB, x before y (longitude first), without its SRID"));
        }
        if !column.is_invisible && is_named_like_a_secret(name) {
            remarks.push(format!("{name} is named like a secret: remove it if readers must not see it"));
        }
        if database_type.starts_with("character(") {
            remarks.push(format!(
                "{name} ({database_type}) is published with the spaces that pad it: select rtrim({}) AS {} for none",
                column.quoted, column.quoted
            ));
        }
        if glue_type != "string" || is_text(&database_type) {
            continue;
        }
        if let Some(proposed) = column.digits.and_then(|digits| numeric(&column.quoted, digits)) {
            remarks.push(format!("{name} ({database_type}) becomes a string: {proposed}"));
            continue;
        }
        let advice = match database_type.starts_with("numeric") || database_type.starts_with("decimal") {
            true => "a Glue decimal needs a precision of up to 38 digits: cast it in the query, if all values fit",
            false => "cast it in the query for another type",
        };
        remarks.push(format!("{name} ({}) becomes a string: {advice}", column.database_type));
    }
    remarks
}

/// The precisions of decimals that fit into 8 and 16 bytes. Glue's decimals have at most 38 digits.
const PRECISIONS: [u32; 2] = [18, 38];

/// Returns a remark that proposes a cast for numbers without a precision. `None` if Glue has no decimal for them.
fn numeric(quoted: &str, digits: Digits) -> Option<String> {
    let Digits { before_point, after_point, of } = digits;
    let precision = PRECISIONS.into_iter().find(|precision| before_point + after_point <= *precision)?;
    let of = of.map_or_else(|| "all its values".to_owned(), |rows| format!("the values of {} rows", thousands(rows)));
    Some(format!(
        "{of} fit numeric({precision},{after_point}), so select {quoted}::numeric({precision},{after_point}) AS {quoted} for a \
         decimal; PostgreSQL rounds values with more decimals"
    ))
}

/// Returns whether a column's name suggests that it holds a secret.
fn is_named_like_a_secret(name: &str) -> bool {
    const WORDS: [&str; 14] = [
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "secret",
        "token",
        "salt",
        "otp",
        "pin",
        "cvv",
        "cvc",
        "ssn",
        "iban",
        "credential",
    ];
    const PAIRS: [&str; 5] = ["api_key", "apikey", "private_key", "access_key", "card_number"];
    let is_word = |word: &str| {
        name.split('_').any(|part| part == word || part.strip_suffix('s') == Some(word))
            || word.len() > 5 && name.contains(word)
    };
    WORDS.iter().any(|word| is_word(word)) || PAIRS.iter().any(|pair| name.contains(pair))
}

/// The spatial types of MySQL and MariaDB.
const SPATIAL_TYPES: [&str; 9] = [
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
];

fn is_text(database_type: &str) -> bool {
    const TEXTS: [&str; 10] = ["text", "char", "name", "json", "uuid", "enum", "set", "citext", "tinytext", "longtext"];
    TEXTS.iter().any(|text| database_type.contains(text))
}

/// Returns the keys that Athena can check, without duplicates, and a comment for each key that it can't check. Skips
/// keys with columns that are left out.
fn unique<'a>(keys: &[Key], columns: &'a [Published]) -> (Vec<Vec<&'a str>>, Vec<String>) {
    let (mut unique, mut remarks): (Vec<Vec<&str>>, Vec<String>) = (Vec::new(), Vec::new());
    for key in keys {
        let published: Option<Vec<&Published>> =
            key.columns.iter().map(|name| columns.iter().find(|one| one.column.name == *name)).collect();
        let Some(published) = published else { continue };
        let names: Vec<&str> = published.iter().map(|one| one.name.as_str()).collect();
        let nullable = published.iter().find(|one| !one.column.not_null);
        let time = published.iter().find(|one| one.glue_type.starts_with("timestamp"));
        let why = match (nullable, time) {
            (Some(one), _) => {
                format!("{} may be null, and the check counts two rows without a key as duplicates", one.name)
            }
            (_, Some(one)) => format!("{} is a timestamp, which Athena reads only to the millisecond", one.name),
            (None, None) => {
                if !unique.contains(&names) {
                    unique.push(names);
                }
                continue;
            }
        };
        remarks.push(format!("unique in the database, but not checked: {}: {why}", list(&names)));
    }
    (unique, remarks)
}

/// Returns the published names of a key's columns, or `None` if a column is left out.
fn names<'a>(key: &Key, columns: &'a [Published]) -> Option<Vec<&'a str>> {
    key.columns
        .iter()
        .map(|name| columns.iter().find(|one| one.column.name == *name).map(|one| one.name.as_str()))
        .collect()
}

/// Returns a name for the dataset that Glue accepts and no other dataset has: the table's name or, if that is taken,
/// the schema's and the table's name or, if that is taken too, both with a number.
pub fn dataset(wanted: &str, taken: &BTreeSet<String>) -> String {
    let table = wanted.rsplit('.').next().unwrap_or(wanted);
    let numbered = (2..).map(|number| name(&format!("{wanted}_{number}")));
    [name(table), name(wanted)].into_iter().chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default()
}

/// Returns a name that Glue accepts. Each letter or digit outside ASCII becomes its code point in hex, so that
/// different names stay different: `顧客` becomes `u9867_5ba2`.
fn name(wanted: &str) -> String {
    let mut name = String::new();
    let mut was_coded = false;
    for c in wanted.to_lowercase().chars() {
        let is_coded = needs_code(c);
        match (is_coded, was_coded) {
            (true, false) => name += if name.is_empty() || name.ends_with('_') { "u" } else { "_u" },
            (true, true) => name.push('_'),
            (false, true) if c != '_' && c.is_ascii_alphanumeric() => name.push('_'),
            (false, _) => {}
        }
        if is_coded {
            name += &format!("{:x}", u32::from(c));
        } else {
            name.push(if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' });
        }
        was_coded = is_coded;
    }
    name.truncate(127);
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() { format!("_{name}") } else { name }
}

/// Returns whether a character is a letter or digit that Glue's names can't contain.
fn needs_code(c: char) -> bool {
    !c.is_ascii() && c.is_alphanumeric()
}

/// Returns a column's name in lower case, with `_` instead of each character that would need quotes in Athena.
pub fn plain(name: &str) -> String {
    name.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
}

fn list(names: &[&str]) -> String {
    format!("[{}]", names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "))
}

/// Returns `text` as a TOML string. Chooses the kind of quotes that needs no escapes, if there is one.
fn quoted(text: &str) -> String {
    let plain = |quote: char| !text.contains(quote) && !text.contains(|c: char| c.is_control());
    match (plain('"') && !text.contains('\\'), plain('\'')) {
        (true, _) => format!("\"{text}\""),
        (_, true) => format!("'{text}'"),
        // TOML supports all escapes that JSON has.
        _ => serde_json::Value::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_recognised_by_their_words() {
        for name in
            ["password", "password_hash", "userpassword", "api_key", "tokens", "refresh_token", "pin", "card_number"]
        {
            assert!(is_named_like_a_secret(name), "{name}");
        }
        for name in ["id", "shipping", "spin", "opinion", "email", "key", "pinned"] {
            assert!(!is_named_like_a_secret(name), "{name}");
        }
    }

    #[test]
    fn a_number_without_precision_gets_a_decimal_that_holds_its_values() {
        let told = |before_point, after_point, of| numeric("price", Digits { before_point, after_point, of });
        let expected = "all its values fit numeric(18,2), so select price::numeric(18,2) AS price for a decimal; PostgreSQL \
                        rounds values with more decimals";
        assert_eq!(told(5, 2, None).as_deref(), Some(expected));
        let expected = "the values of 1,000,000 rows fit numeric(38,20), so";
        assert!(told(18, 20, Some(1_000_000)).is_some_and(|text| text.starts_with(expected)));
        assert_eq!(told(19, 20, None), None, "39 digits");
    }

    #[test]
    fn names_outside_ascii_can_be_told_apart() {
        for (wanted, found) in [
            ("顧客", "u9867_5ba2"),
            ("受注", "u53d7_6ce8"),
            ("Order-Items", "order_items"),
            ("2024_sales", "_2024_sales"),
            ("売上2024", "u58f2_4e0a_2024"),
            ("sales_売上", "sales_u58f2_4e0a"),
            ("café", "caf_ue9"),
            ("", "_"),
            ("--", "__"),
        ] {
            assert_eq!(name(wanted), found, "{wanted}");
        }
        assert_eq!(name(&"顧".repeat(200)).len(), 127);
        let taken = BTreeSet::from(["u9867_5ba2".to_owned()]);
        assert_eq!(dataset("店.顧客", &taken), "u5e97_u9867_5ba2");
    }
}
