//! Matches the fields of CSV records to the columns: by the names in the header or, if the options say so, by position.

use arrow_schema::DataType;

use super::{
    hints,
    input::{Input, ReadFault},
    records::Records,
    row::Rows,
};
use turntable_core::{
    config::{Csv, Separators},
    manifest::TypedBy,
};

/// The advice for a name that can't be used.
const BY_POSITION: &str = "rename it, or declare source.files.columns in the order of the fields and set \
                           source.files.csv.match = \"position\"";

/// A header: its names in the order of the fields, and the number of its first line, from 1.
pub struct Header {
    pub names: Vec<String>,
    pub line: u64,
}

/// Reads the header and returns the names in lower case, or `None` if the text is empty. If the fields are matched by
/// position, any names are accepted.
pub fn read(records: &mut Records<Input>, options: &Csv) -> Result<Option<Header>, ReadFault> {
    let delimiter = records.delimiter();
    let Some(record) = records.next_record()? else { return Ok(None) };
    let line = record.line;
    let fault = |why: String| ReadFault::Text(line, why);
    if options.by_position {
        return Ok(Some(Header { names: vec![String::new(); record.width()], line }));
    }
    let mut names: Vec<String> = Vec::with_capacity(record.width());
    for (at, field) in record.fields().enumerate() {
        let name = std::str::from_utf8(field.text)
            .map_err(|_| fault(format!("the header is not UTF-8: {}", hints::encoding(field.text))))?;
        let name = name.trim().to_lowercase();
        let column = at + 1;
        if name.is_empty() {
            return Err(fault(format!("the header has no name for column {column}: {BY_POSITION}")));
        }
        if name.contains(char::is_control) {
            let hint = match hints::delimiter(&name, delimiter) {
                Some((other, _)) if record.width() == 1 => {
                    format!("set source.files.csv.delimiter = {:?}", other.to_string())
                }
                _ => BY_POSITION.to_owned(),
            };
            let why = format!("the header's name for column {column} contains a line end or another control character");
            return Err(fault(format!("{why}: {hint}")));
        }
        names.push(name);
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(fault(format!(
            "the header has two columns called {:?} (Glue's names are lower case): {BY_POSITION}",
            pair[0]
        ))),
        None => Ok(Some(Header { names, line })),
    }
}

/// The column that a CSV field belongs to.
pub struct Target {
    pub at: usize,
    pub is_string: bool,
    /// The separators in the column's numbers. `None` if numbers look like `1234.5`.
    pub number: Option<Separators>,
}

impl Target {
    fn new(at: usize, rows: &Rows, options: &Csv) -> Self {
        let field = &rows.row.fields()[at];
        let number = options.numbers.get(field.name()).copied();
        Target { at, is_string: field.data_type() == &DataType::Utf8, number }
    }
}

/// Checks that the columns in `source.files.csv.numbers` exist and are numbers.
pub fn check_numbers(rows: &Rows, options: &Csv) -> Result<(), String> {
    for name in options.numbers.keys() {
        let column = rows.row.find(name).map(|at| rows.row.fields()[at].data_type());
        match column {
            Some(of) if of.is_numeric() => {}
            Some(_) => {
                return Err(format!(
                    "source.files.csv.numbers.{name}: the column is not a number: declare a type for it in \
                     source.files.columns, such as decimal(18,2)"
                ));
            }
            None => return Err(format!("source.files.csv.numbers.{name}: there is no such column")),
        }
    }
    Ok(())
}

/// Returns the target of each field if the fields are in the order of the columns. Columns in folder names have no
/// field.
pub fn in_order(rows: &Rows, options: &Csv) -> Vec<Option<Target>> {
    let in_file = (0..rows.row.fields().len()).filter(|at| !rows.row.is_in_folders(*at));
    in_file.map(|at| Some(Target::new(at, rows, options))).collect()
}

/// Returns the target of each field in the header, with `None` for a field that is left out. Stores in `rows` which
/// columns are missing or left out. Fails if the header doesn't match the columns.
pub fn targets(
    header: &Header,
    rows: &mut Rows,
    options: &Csv,
    delimiter: u8,
    typed_by: TypedBy,
) -> Result<Vec<Option<Target>>, ReadFault> {
    let names = &header.names;
    let fault = |why| Err(ReadFault::Text(header.line, why));
    if options.by_position {
        let targets = in_order(rows, options);
        let (width, expected) = (names.len(), targets.len());
        return match width == expected {
            true => Ok(targets),
            false => {
                fault(format!("the header has {width} fields, expected {expected} as declared in source.files.columns"))
            }
        };
    }
    let quoted = |names: &[String]| names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let fields = rows.row.fields();
    let absent = (0..fields.len()).filter(|at| !names.contains(fields[*at].name()) && !rows.row.is_in_folders(*at));
    let absent: Vec<String> = absent.map(|at| fields[at].name().clone()).collect();
    let extra: Vec<String> = names.iter().filter(|name| rows.row.find(name).is_none()).cloned().collect();
    let unmatched = rows.row.unmatched();
    let missing = (!absent.is_empty() && !unmatched.missing_is_null).then(|| format!("missing {}", quoted(&absent)));
    let unexpected = (!extra.is_empty() && !unmatched.ignore_extra).then(|| format!("unexpected {}", quoted(&extra)));
    let faults: Vec<String> = missing.into_iter().chain(unexpected).collect();
    if !faults.is_empty() {
        let expected = match typed_by {
            TypedBy::Declared => "declared columns",
            TypedBy::Source | TypedBy::Inferred => "first object's header",
        };
        let hint = match names.as_slice() {
            [one] => hints::delimiter(one, delimiter),
            _ => None,
        };
        let hint = hint.map(|(other, _)| {
            format!(": set source.files.csv.delimiter = {:?}, which the header contains", other.to_string())
        });
        let (faults, hint) = (faults.join("; "), hint.unwrap_or_default());
        return fault(format!("the header doesn't match the {expected}: {faults}{hint}"));
    }
    let targets = names.iter().map(|name| rows.row.find(name).map(|at| Target::new(at, rows, options))).collect();
    rows.missing.extend(absent);
    rows.ignored.extend(extra);
    Ok(targets)
}
