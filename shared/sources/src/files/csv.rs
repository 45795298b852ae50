//! Reads CSV. The header's names are matched to columns regardless of letter case and order. Without a header, the
//! fields are matched to the columns in their declared order.
//!
//! An unquoted field is null if its text is one of `nulls`, by default the empty string. Any other empty field is an
//! empty string in string columns, and null in all others.

use arrow_schema::DataType;

use super::{
    infer::{self, Kind},
    input::{self, Input, ReadFault},
    object::Object,
    records::{Record, Records},
    row::{Row, Rows, Stop},
};
use turntable_core::{
    config::{Csv, Encoding},
    error::{Error, Result},
    manifest::TypedBy,
};

/// Appends every record in the text to `rows`.
pub fn decode(object: &Object, input: Input, options: &Csv, typed_by: TypedBy, rows: &mut Rows) -> Result<(), Stop> {
    let mut text = Text::new(object, input, options);
    let targets = match options.header {
        true => {
            let Some(header) = text.header()? else { return Ok(()) };
            targets(&header, &rows.row, typed_by).map_err(|fault| input::error(object, fault))?
        }
        false => (0..rows.row.fields().len()).map(|at| Target::new(at, &rows.row)).collect(),
    };
    text.names = targets.iter().map(|target| rows.row.fields()[target.at].name().clone()).collect();
    loop {
        let Some(record) = text.next()? else { return Ok(()) };
        if record.is_blank() && targets.len() > 1 {
            continue;
        }
        let size = record.size;
        push(&record, &targets, options, &mut rows.row)
            .map_err(|why| input::error(object, ReadFault::Text(record.line, why)))?;
        rows.pushed(size)?;
    }
}

fn push(record: &Record, targets: &[Target], options: &Csv, row: &mut Row) -> Result<(), String> {
    if record.width() != targets.len() {
        let (width, expected) = (record.width(), targets.len());
        let by = if options.header { "in the header" } else { "declared in source.files.columns" };
        return Err(format!("field count is {width}, expected {expected} as {by}"));
    }
    for (target, field) in targets.iter().zip(record.fields()) {
        let null = match field.text.is_empty() && !target.is_string {
            true => true,
            false => !field.quoted && options.nulls.iter().any(|null| null.as_bytes() == field.text),
        };
        row.push_text(target.at, (!null).then_some(field.text)).map_err(|fault| fault.to_string())?;
    }
    Ok(())
}

/// Reads an object's records. Errors name the object and, if possible, the column.
struct Text<'a> {
    object: &'a Object,
    encoding: Encoding,
    records: Records<Input>,
    /// The column names in the order of the fields. Empty until the names are known.
    names: Vec<String>,
}

impl<'a> Text<'a> {
    fn new(object: &'a Object, input: Input, options: &Csv) -> Self {
        let records = Records::new(input::in_utf8(input, options.encoding), options.dialect);
        Self { object, encoding: options.encoding, records, names: Vec::new() }
    }

    fn next(&mut self) -> Result<Option<Record<'_>>> {
        let (object, encoding, names) = (self.object, self.encoding, &self.names);
        self.records.next_record().map_err(|fault| to_error(object, encoding, names, fault))
    }

    fn header(&mut self) -> Result<Option<Vec<String>>> {
        let (object, encoding) = (self.object, self.encoding);
        header(&mut self.records).map_err(|fault| to_error(object, encoding, &[], fault))
    }
}

/// Converts a fault to an error. Invalid bytes are reported with the column's name, or the field's number if the name
/// is unknown.
fn to_error(object: &Object, encoding: Encoding, names: &[String], fault: ReadFault) -> Error {
    let ReadFault::Undecodable { line, field } = fault else { return input::error(object, fault) };
    let field = names.get(field).map_or_else(|| format!("field {}", field + 1), |name| format!("column {name:?}"));
    input::error(
        object,
        ReadFault::Text(
            line,
            format!("{field} is not valid {}: set source.files.csv.encoding to the file's encoding", encoding.name()),
        ),
    )
}

/// Reads the header and returns the column names in lower case; `None` if the text is empty.
fn header(records: &mut Records<Input>) -> Result<Option<Vec<String>>, ReadFault> {
    let Some(record) = records.next_record()? else { return Ok(None) };
    let mut names: Vec<String> = Vec::with_capacity(record.width());
    for (at, field) in record.fields().enumerate() {
        let fault = |why: String| ReadFault::Text(record.line, why);
        let name = std::str::from_utf8(field.text).map_err(|_| {
            fault("the header is not UTF-8: set source.files.csv.encoding to the file's encoding".into())
        })?;
        let name = name.trim().to_lowercase();
        if name.is_empty() {
            return Err(fault(format!("the header has no name for column {}", at + 1)));
        }
        if name.contains(char::is_control) {
            return Err(fault(format!("the header's name for column {} contains a control character", at + 1)));
        }
        names.push(name);
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let name = pair[0];
            let why = format!("the header has two columns called {name:?} (Glue's names are lower case): rename one");
            Err(ReadFault::Text(record.line, why))
        }
        None => Ok(Some(names)),
    }
}

/// The column that a CSV field belongs to.
struct Target {
    at: usize,
    is_string: bool,
}

impl Target {
    fn new(at: usize, row: &Row) -> Self {
        Target { at, is_string: row.fields()[at].data_type() == &DataType::Utf8 }
    }
}

/// Returns the target of each field in the header. Fails unless the header has exactly the columns' names.
fn targets(header: &[String], row: &Row, typed_by: TypedBy) -> Result<Vec<Target>, ReadFault> {
    let fields = row.fields();
    let quoted = |names: Vec<&String>| names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let missing: Vec<&String> = fields.iter().map(|field| field.name()).filter(|name| !header.contains(name)).collect();
    let unexpected: Vec<&String> = header.iter().filter(|name| row.find(name).is_none()).collect();
    let expected = match typed_by {
        TypedBy::Declared => "declared columns",
        TypedBy::Source | TypedBy::Inferred => "first object's header",
    };
    let why = match (missing.is_empty(), unexpected.is_empty()) {
        (true, true) => {
            return Ok(header.iter().filter_map(|name| row.find(name)).map(|at| Target::new(at, row)).collect());
        }
        (false, true) => format!("missing {}", quoted(missing)),
        (true, false) => format!("unexpected {}", quoted(unexpected)),
        (false, false) => format!("missing {}; unexpected {}", quoted(missing), quoted(unexpected)),
    };
    Err(ReadFault::Text(1, format!("the header doesn't match the {expected}: {why}")))
}

/// Adds the kinds of the first records' fields to `sample`. Ignores fields without a column; [`decode`] reports them.
pub fn sample(object: &Object, input: Input, options: &Csv, sample: &mut infer::Sample) -> Result<()> {
    let mut text = Text::new(object, input, options);
    let Some(header) = text.header()? else { return Ok(()) };
    if sample.columns.is_empty() {
        sample.columns = header.iter().map(|name| (name.clone(), Kind::Nothing)).collect();
    }
    let target = |name| sample.columns.iter().position(|(column, _)| column == name);
    let targets: Vec<Option<usize>> = header.iter().map(target).collect();
    text.names = header;
    while sample.records < infer::MAX_SAMPLED_RECORDS {
        let Some(record) = text.next()? else { break };
        sample.records += 1;
        for (target, field) in targets.iter().zip(record.fields()) {
            let is_null = !field.quoted && options.nulls.iter().any(|null| null.as_bytes() == field.text);
            if let Some(at) = target
                && !field.text.is_empty()
                && !is_null
            {
                let known = &mut sample.columns[*at].1;
                *known = std::mem::take(known).and(Kind::of_text(field.text));
            }
        }
    }
    Ok(())
}
