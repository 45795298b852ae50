//! CSV with a header: names in its first record, matched to columns in any case and any order.
//!
//! An empty field is null. A quoted empty field is the empty string in a string column, and null in any other.

use arrow_schema::DataType;

use super::{
    decode::Stop,
    infer::{self, Kind},
    input::{self, Fault, Input},
    listing::Object,
    records::{Record, Records},
    row::{Row, Rows},
};
use crate::{error::Result, manifest::TypedBy};

pub fn decode(object: &Object, input: Input, typed_by: TypedBy, rows: &mut Rows) -> Result<(), Stop> {
    let mut records = Records::new(input);
    let Some(header) = header(&mut records).map_err(|fault| input::error(object, fault))? else { return Ok(()) };
    let places = places(&header, &rows.row, typed_by).map_err(|fault| input::error(object, fault))?;
    loop {
        let Some(record) = records.next().map_err(|fault| input::error(object, fault))? else { return Ok(()) };
        if record.is_blank() && places.len() > 1 {
            continue;
        }
        let size = record.size;
        push(&record, &places, &mut rows.row).map_err(|why| input::error(object, Fault::Text(record.line, why)))?;
        rows.pushed(size)?;
    }
}

fn push(record: &Record, places: &[Place], row: &mut Row) -> Result<(), String> {
    if record.len() != places.len() {
        return Err(format!("{} fields where the header has {}", record.len(), places.len()));
    }
    for (place, field) in places.iter().zip(record.fields()) {
        let null = field.text.is_empty() && !(field.quoted && place.is_string);
        row.push_text(place.at, (!null).then_some(field.text)).map_err(|fault| fault.to_string())?;
    }
    Ok(())
}

/// The names of the columns, in lower case; `None` where the text has no byte.
fn header(records: &mut Records<Input>) -> Result<Option<Vec<String>>, Fault> {
    let Some(record) = records.next()? else { return Ok(None) };
    let mut names: Vec<String> = Vec::with_capacity(record.len());
    for (at, field) in record.fields().enumerate() {
        let fault = |why: String| Fault::Text(record.line, why);
        let name = std::str::from_utf8(field.text).map_err(|_| fault("the header is not UTF-8".into()))?;
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
            let place = |at: usize| Place { at, is_string: fields[at].data_type() == &DataType::Utf8 };
            return Ok(header.iter().filter_map(|name| row.find(name)).map(place).collect());
        }
        (false, true) => format!("lacks {}", quoted(lacking)),
        (true, false) => format!("has {} besides", quoted(besides)),
        (false, false) => format!("lacks {}, and has {} besides", quoted(lacking), quoted(besides)),
    };
    Err(Fault::Text(1, format!("the header is not {expected}: it {why}")))
}

/// Learns from the first records. Whatever does not fit is for [`decode`] to say.
pub fn sample(object: &Object, input: Input, sample: &mut infer::Sample) -> Result<()> {
    let mut records = Records::new(input);
    let Some(header) = header(&mut records).map_err(|fault| input::error(object, fault))? else { return Ok(()) };
    if sample.columns.is_empty() {
        sample.columns = header.iter().map(|name| (name.clone(), Kind::Nothing)).collect();
    }
    let place = |name| sample.columns.iter().position(|(column, _)| column == name);
    let places: Vec<Option<usize>> = header.iter().map(place).collect();
    while sample.records < infer::RECORDS {
        let Some(record) = records.next().map_err(|fault| input::error(object, fault))? else { break };
        sample.records += 1;
        for (place, field) in places.iter().zip(record.fields()) {
            if let Some(at) = place
                && !field.text.is_empty()
            {
                let known = &mut sample.columns[*at].1;
                *known = std::mem::take(known).and(Kind::of_text(field.text));
            }
        }
    }
    Ok(())
}
