//! Reads docs/types.md: the tests compare its tables with the code's behaviour.

use arrow_schema::{DataType, Fields, TimeUnit};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/types.md");

/// Returns the cells of each row in the table below a heading, without the header row.
pub fn table(heading: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(DOCUMENT).unwrap();
    let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    // Outside backticks, Markdown would take `List<Int16>` for HTML without the backslash.
    let cell = |cell: &str| cell.trim().replace("\\<", "<");
    rows.map(|row| row.trim_matches('|').split(" | ").map(cell).collect()).collect()
}

/// Returns the types that a cell names between backticks.
pub fn in_code(cell: &str) -> Vec<String> {
    // In a domain's row, the base type follows ` over `. It isn't one of the row's own types.
    let types = cell.split(" over ").next().unwrap();
    types.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns an Arrow type as the page writes it.
pub fn arrow(of: &DataType) -> String {
    let named = |fields: &Fields| {
        let each = fields.iter().map(|field| format!("{}: {}", field.name(), arrow(field.data_type())));
        each.collect::<Vec<_>>().join(", ")
    };
    match of {
        DataType::Decimal128(precision, scale) => format!("Decimal128({precision},{scale})"),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "Timestamp(µs)".into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => format!("Timestamp(µs, {zone})"),
        DataType::List(element) => format!("List<{}>", arrow(element.data_type())),
        DataType::Struct(fields) => format!("Struct<{}>", named(fields)),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => format!("Map<{}, {}>", arrow(pair[0].data_type()), arrow(pair[1].data_type())),
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}
