//! CSV. Names in its first record are matched to columns in any case and any order; without one, fields are the columns
//! in their order.
//!
//! A field without quotes whose text is one of `nulls` (an empty one, unless said otherwise) is null. An empty field is a
//! string in a string column, and null in any other.

use arrow_schema::DataType;

use super::{
    infer::{self, Kind},
    input::{self, Fault, Input},
    object::Object,
    records::{Record, Records},
    row::{Row, Rows, Stop},
};
use turntable_core::{
    config::{Csv, Encoding},
    error::{Error, Result},
    manifest::TypedBy,
};

pub fn decode(object: &Object, input: Input, options: &Csv, typed_by: TypedBy, rows: &mut Rows) -> Result<(), Stop> {
    let mut text = Text::new(object, input, options);
    let places = match options.header {
        true => {
            let Some(header) = text.header()? else { return Ok(()) };
            places(&header, &rows.row, typed_by).map_err(|fault| input::error(object, fault))?
        }
        false => (0..rows.row.fields().len()).map(|at| Place::new(at, &rows.row)).collect(),
    };
    text.names = places.iter().map(|place| rows.row.fields()[place.at].name().clone()).collect();
    loop {
        let Some(record) = text.next()? else { return Ok(()) };
        if record.is_blank() && places.len() > 1 {
            continue;
        }
        let size = record.size;
        push(&record, &places, options, &mut rows.row)
            .map_err(|why| input::error(object, Fault::Text(record.line, why)))?;
        rows.pushed(size)?;
    }
}

fn push(record: &Record, places: &[Place], options: &Csv, row: &mut Row) -> Result<(), String> {
    if record.width() != places.len() {
        let (has, where_) =
            (record.width(), if options.header { "the header has" } else { "the declared columns are" });
        return Err(format!("{has} fields where {where_} {}", places.len()));
    }
    for (place, field) in places.iter().zip(record.fields()) {
        let null = match field.text.is_empty() && !place.is_string {
            true => true,
            false => !field.quoted && options.nulls.iter().any(|null| null.as_bytes() == field.text),
        };
        row.push_text(place.at, (!null).then_some(field.text)).map_err(|fault| fault.to_string())?;
    }
    Ok(())
}

/// An object's records, and what their faults are called.
struct Text<'a> {
    object: &'a Object,
    encoding: Encoding,
    records: Records<Input>,
    /// Of the columns, as far as they are known, in the order of the fields.
    names: Vec<String>,
}

impl<'a> Text<'a> {
    fn new(object: &'a Object, input: Input, options: &Csv) -> Self {
        let records = Records::new(input::in_utf8(input, options.encoding), options.dialect);
        Self { object, encoding: options.encoding, records, names: Vec::new() }
    }

    fn next(&mut self) -> Result<Option<Record<'_>>> {
        let (object, encoding, names) = (self.object, self.encoding, &self.names);
        self.records.next_record().map_err(|fault| fault_of(object, encoding, names, fault))
    }

    fn header(&mut self) -> Result<Option<Vec<String>>> {
        let (object, encoding) = (self.object, self.encoding);
        header(&mut self.records).map_err(|fault| fault_of(object, encoding, &[], fault))
    }
}

fn fault_of(object: &Object, encoding: Encoding, names: &[String], fault: Fault) -> Error {
    let Fault::Undecodable { line, field } = fault else { return input::error(object, fault) };
    let field = names.get(field).map_or_else(|| format!("field {}", field + 1), |name| format!("column {name:?}"));
    input::error(object, Fault::Text(line, format!("{field}: not {}", encoding.name())))
}

/// The names of the columns, in lower case; `None` where the text has no byte.
fn header(records: &mut Records<Input>) -> Result<Option<Vec<String>>, Fault> {
    let Some(record) = records.next_record()? else { return Ok(None) };
    let mut names: Vec<String> = Vec::with_capacity(record.width());
    for (at, field) in record.fields().enumerate() {
        let fault = |why: String| Fault::Text(record.line, why);
        let name = std::str::from_utf8(field.text)
            .map_err(|_| fault("the header is not UTF-8: what else it is can be said by csv.encoding".into()))?;
        let name = name.trim().to_lowercase();
        if name.is_empty() {
            return Err(fault(format!("the header has no name for column {}", at + 1)));
        }
        if name.contains(char::is_control) {
            return Err(fault(format!("the header's name for column {} has a control character", at + 1)));
        }
        names.push(name);
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Fault::Text(record.line, format!("the header has {:?} twice (in lower case)", pair[0]))),
        None => Ok(Some(names)),
    }
}

/// Where a field of the file goes.
struct Place {
    at: usize,
    is_string: bool,
}

impl Place {
    fn new(at: usize, row: &Row) -> Self {
        Place { at, is_string: row.fields()[at].data_type() == &DataType::Utf8 }
    }
}

fn places(header: &[String], row: &Row, typed_by: TypedBy) -> Result<Vec<Place>, Fault> {
    let fields = row.fields();
    let quoted = |names: Vec<&String>| names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let lacking: Vec<&String> = fields.iter().map(|field| field.name()).filter(|name| !header.contains(name)).collect();
    let besides: Vec<&String> = header.iter().filter(|name| row.find(name).is_none()).collect();
    let expected = match typed_by {
        TypedBy::Declared => "the declared columns",
        TypedBy::Source | TypedBy::Inferred => "the first object's",
    };
    let why = match (lacking.is_empty(), besides.is_empty()) {
        (true, true) => {
            return Ok(header.iter().filter_map(|name| row.find(name)).map(|at| Place::new(at, row)).collect());
        }
        (false, true) => format!("lacks {}", quoted(lacking)),
        (true, false) => format!("has {} besides", quoted(besides)),
        (false, false) => format!("lacks {}, and has {} besides", quoted(lacking), quoted(besides)),
    };
    Err(Fault::Text(1, format!("the header is not {expected}: it {why}")))
}

/// Learns from the first records. Whatever does not fit is for [`decode`] to say.
pub fn sample(object: &Object, input: Input, options: &Csv, sample: &mut infer::Sample) -> Result<()> {
    let mut text = Text::new(object, input, options);
    let Some(header) = text.header()? else { return Ok(()) };
    if sample.columns.is_empty() {
        sample.columns = header.iter().map(|name| (name.clone(), Kind::Nothing)).collect();
    }
    let place = |name| sample.columns.iter().position(|(column, _)| column == name);
    let places: Vec<Option<usize>> = header.iter().map(place).collect();
    text.names = header;
    while sample.records < infer::RECORDS {
        let Some(record) = text.next()? else { break };
        sample.records += 1;
        for (place, field) in places.iter().zip(record.fields()) {
            let is_null = !field.quoted && options.nulls.iter().any(|null| null.as_bytes() == field.text);
            if let Some(at) = place
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
