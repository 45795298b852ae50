//! Reads CSV. The names in the header are matched to columns regardless of letter case and order. Without a header, or
//! if the options say so, the fields are matched to the columns in their declared order.
//!
//! An unquoted field is null if its text is one of `nulls`, by default the empty string. Any other empty field is an
//! empty string in string columns, and null in all others.

use super::{
    header::{self, Header, Target},
    hints,
    infer::{self, Kind},
    input::{self, Input, ReadFault},
    object::Object,
    records::{Record, Records},
    row::{Row, Rows, Stop},
    separators,
};
use turntable_core::{
    config::{Csv, Encoding},
    error::{Error, Result},
    manifest::TypedBy,
};

/// Appends every record in the text to `rows`.
pub fn decode(object: &Object, input: Input, options: &Csv, typed_by: TypedBy, rows: &mut Rows) -> Result<(), Stop> {
    header::check_numbers(rows, options).map_err(|fault| Error::input(format!("{object}: {fault}")))?;
    let mut text = Text::open(object, input, options)?;
    let targets = match options.header {
        true => {
            let Some(header) = text.header()? else { return Ok(()) };
            let targets = header::targets(&header, rows, options, text.records.delimiter(), typed_by);
            targets.map_err(|fault| input::error(object, fault))?
        }
        false => header::in_order(rows, options),
    };
    let name = |target: &Option<Target>| target.as_ref().map(|target| rows.row.fields()[target.at].name().clone());
    text.names = targets.iter().map(name).collect();
    let is_in_file = |at: usize| targets.iter().flatten().any(|target| target.at == at);
    let absent: Vec<usize> = (0..rows.row.fields().len()).filter(|at| !is_in_file(*at)).collect();
    loop {
        let Some(record) = text.next()? else { return Ok(()) };
        if targets.len() > 1 && is_empty_line(&record) {
            continue;
        }
        let (line, size) = (record.line, record.size);
        push(&record, &targets, options, &mut rows.row)
            .and_then(|()| {
                absent.iter().try_for_each(|at| rows.row.push_absent(*at)).map_err(|fault| fault.to_string())
            })
            .map_err(|why| input::error(object, ReadFault::Text(line, why)))?;
        rows.pushed(size)?;
    }
}

/// Returns whether the record is a line that is empty or contains only whitespace.
fn is_empty_line(record: &Record) -> bool {
    record.width() == 1 && record.fields().all(|field| !field.quoted && field.text.trim_ascii().is_empty())
}

fn push(record: &Record, targets: &[Option<Target>], options: &Csv, row: &mut Row) -> Result<(), String> {
    if record.width() != targets.len() {
        let (width, expected) = (record.width(), targets.len());
        let by = if options.header { "in the header" } else { "declared in source.files.columns" };
        return Err(format!("field count is {width}, expected {expected} as {by}"));
    }
    for (target, field) in targets.iter().zip(record.fields()) {
        let Some(target) = target else { continue };
        let null = match field.text.is_empty() && !target.is_string {
            true => true,
            false => !field.quoted && options.nulls.iter().any(|null| null.as_bytes() == field.text),
        };
        let pushed = match (null, &target.number) {
            (true, _) => row.push_text(target.at, None),
            (false, None) => row.push_text(target.at, Some(field.text)),
            (false, Some(number)) => match separators::plain(field.text, number) {
                Ok(plain) => row.push_text(target.at, Some(&plain)),
                Err(why) => Err(row.fault(target.at, why)),
            },
        };
        pushed.map_err(|fault| match std::str::from_utf8(field.text) {
            Ok(_) => fault.to_string(),
            Err(_) => format!("{fault}: {}", hints::encoding(field.text)),
        })?;
    }
    Ok(())
}

/// Reads an object's records. Errors name the object and, if possible, the column.
struct Text<'a> {
    object: &'a Object,
    options: &'a Csv,
    records: Records<Input>,
    /// The column names in the order of the fields; `None` for a field that is left out. Empty until they are known.
    names: Vec<Option<String>>,
}

impl<'a> Text<'a> {
    /// Skips the lines before the header: as many as the options say, and a line such as Excel's `sep=;`.
    fn open(object: &'a Object, input: Input, options: &'a Csv) -> Result<Self> {
        let records = Records::new(input::in_utf8(input, options.encoding), options.dialect);
        let mut text = Self { object, options, records, names: Vec::new() };
        text.skip().map_err(|fault| text.to_error(fault))?;
        Ok(text)
    }

    fn skip(&mut self) -> Result<(), ReadFault> {
        if self.options.encoding == Encoding::Utf8
            && let Some(encoding) = hints::utf16(self.records.start(hints::START_BYTES)?)
        {
            let why = format!("the text is UTF-16: set source.files.csv.encoding = {encoding:?}");
            return Err(ReadFault::Text(1, why));
        }
        self.records.take_separator_line()?;
        for _ in 0..self.options.skip {
            self.records.skip_line()?;
        }
        self.records.take_separator_line()
    }

    fn next(&mut self) -> Result<Option<Record<'_>>> {
        let (object, encoding, names) = (self.object, self.options.encoding, &self.names);
        self.records.next_record().map_err(|fault| to_error(object, encoding, names, fault))
    }

    fn header(&mut self) -> Result<Option<Header>> {
        header::read(&mut self.records, self.options).map_err(|fault| self.to_error(fault))
    }

    fn to_error(&self, fault: ReadFault) -> Error {
        to_error(self.object, self.options.encoding, &self.names, fault)
    }
}

/// Converts a fault to an error. Invalid bytes are reported with the column's name, or with the field's number if the
/// name is unknown.
fn to_error(object: &Object, encoding: Encoding, names: &[Option<String>], fault: ReadFault) -> Error {
    let ReadFault::Undecodable { line, field } = fault else { return input::error(object, fault) };
    let name = names.get(field).and_then(Option::as_ref);
    let field = name.map_or_else(|| format!("field {}", field + 1), |name| format!("column {name:?}"));
    input::error(
        object,
        ReadFault::Text(
            line,
            format!("{field} is not valid {}: set source.files.csv.encoding to the file's encoding", encoding.name()),
        ),
    )
}

/// Adds the kinds of the fields in the first records to `sample`. Ignores fields without a column; [`decode`] reports
/// them.
pub fn sample(object: &Object, input: Input, options: &Csv, sample: &mut infer::Sample) -> Result<()> {
    let mut text = Text::open(object, input, options)?;
    let Some(Header { names: header, line }) = text.header()? else { return Ok(()) };
    if let [name] = header.as_slice() {
        check_delimiter(&mut text, name, line)?;
    }
    if sample.columns.is_empty() {
        sample.columns = header.iter().map(|name| (name.clone(), Kind::Nothing)).collect();
    }
    let target = |name| sample.columns.iter().position(|(column, _)| column == name);
    let targets: Vec<Option<usize>> = header.iter().map(target).collect();
    text.names = header.into_iter().map(Some).collect();
    while sample.records < infer::MAX_SAMPLED_RECORDS {
        let Some(record) = text.next()? else { break };
        if targets.len() > 1 && is_empty_line(&record) {
            continue;
        }
        sample.records += 1;
        for (target, field) in targets.iter().zip(record.fields()) {
            let is_null = !field.quoted && options.nulls.iter().any(|null| null.as_bytes() == field.text);
            if let Some((name, known)) = target.and_then(|at| sample.columns.get_mut(at))
                && !field.text.is_empty()
                && !is_null
            {
                let kind = match options.numbers.get(name.as_str()) {
                    Some(number) => {
                        separators::plain(field.text, number).map_or(Kind::String, |text| Kind::of_text(&text))
                    }
                    None => Kind::of_text(field.text),
                };
                *known = std::mem::take(known).and(kind);
            }
        }
    }
    Ok(())
}

/// Checks that a header with one name isn't really several names with another delimiter. If it were, the first record
/// would contain that delimiter equally often.
fn check_delimiter(text: &mut Text, name: &str, line: u64) -> Result<()> {
    let Some((other, count)) = hints::delimiter(name, text.records.delimiter()) else { return Ok(()) };
    let ahead = text.records.look().map_err(|fault| text.to_error(fault))?;
    let fields = text.records.raw_fields();
    let is_same = match (ahead, fields.as_slice()) {
        (None, _) => true,
        (Some(_), [one]) => one.iter().filter(|byte| **byte as u32 == other as u32).count() == count,
        (Some(_), _) => false,
    };
    if !is_same {
        return Ok(());
    }
    let why = format!(
        "the header is one name that contains {:?}: set source.files.csv.delimiter = {:?}, or declare \
         source.files.columns",
        other.to_string(),
        other.to_string()
    );
    Err(text.to_error(ReadFault::Text(line, why)))
}
