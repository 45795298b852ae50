//! Converts between Arrow types and Glue types.
//!
//! | Arrow | Glue |
//! |---|---|
//! | Boolean | boolean |
//! | Int8, Int16, Int32, Int64 | tinyint, smallint, int, bigint |
//! | Float32, Float64 | float, double |
//! | Decimal128(p ≤ 38, s) | decimal(p,s) |
//! | Utf8 | string |
//! | Binary | binary |
//! | Date32 | date |
//! | Timestamp(µs, no zone or UTC) | timestamp |
//! | List, Struct, Map | array<…>, struct<…>, map<…> |

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};

/// The name that Parquet gives the elements of a list.
pub const ELEMENT: &str = "element";

/// Returns the Glue type of an Arrow type.
pub fn glue_type(data_type: &DataType) -> Result<String, String> {
    Ok(match data_type {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 => "tinyint".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "int".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Decimal128(precision, scale) if *scale >= 0 => format!("decimal({precision},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "binary".into()
        }
        DataType::Date32 => "date".into(),
        DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Millisecond, _) => "timestamp".into(),
        DataType::List(item) | DataType::LargeList(item) => format!("array<{}>", glue_type(item.data_type())?),
        DataType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|field| Ok(format!("{}:{}", field.name(), glue_type(field.data_type())?)))
                .collect::<Result<Vec<_>, String>>()?;
            format!("struct<{}>", fields.join(","))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                format!("map<{},{}>", glue_type(pair[0].data_type())?, glue_type(pair[1].data_type())?)
            }
            other => return Err(format!("Arrow type {other} has no matching Glue type")),
        },
        other => return Err(format!("Arrow type {other} has no matching Glue type")),
    })
}

/// Returns the Arrow type that Turntable writes for a Glue type. `varchar(n)` and `char(n)` become strings. Athena's
/// spellings `integer` and `real` are accepted too.
pub fn arrow_type(glue_type: &str) -> Result<DataType, String> {
    let mut parser = Parser { text: glue_type, rest: glue_type };
    let data_type = parser.data_type(0)?;
    parser.rest = parser.rest.trim_start();
    if parser.rest.is_empty() { Ok(data_type) } else { Err(parser.fault()) }
}

/// How deep types may nest: deeper than in any real table, and not deep enough to exhaust the stack.
const MAX_DEPTH: usize = 32;

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn data_type(&mut self, depth: usize) -> Result<DataType, String> {
        if depth > MAX_DEPTH {
            return Err(format!("a type is nested more than {MAX_DEPTH} levels deep"));
        }
        let word = self.word().to_ascii_lowercase();
        Ok(match word.as_str() {
            "boolean" => DataType::Boolean,
            "tinyint" => DataType::Int8,
            "smallint" => DataType::Int16,
            "int" | "integer" => DataType::Int32,
            "bigint" => DataType::Int64,
            "float" | "real" => DataType::Float32,
            "double" => DataType::Float64,
            "string" => DataType::Utf8,
            "varchar" | "char" => {
                self.expect('(')?;
                self.number()?;
                self.expect(')')?;
                DataType::Utf8
            }
            "binary" => DataType::Binary,
            "date" => DataType::Date32,
            "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "decimal" => self.decimal()?,
            "array" => {
                self.expect('<')?;
                let element = self.data_type(depth + 1)?;
                self.expect('>')?;
                DataType::List(Arc::new(Field::new(ELEMENT, element, true)))
            }
            "map" => {
                self.expect('<')?;
                let key = self.data_type(depth + 1)?;
                self.expect(',')?;
                let value = self.data_type(depth + 1)?;
                self.expect('>')?;
                let pair = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
                DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pair), false)), false)
            }
            "struct" => DataType::Struct(self.fields(depth)?),
            _ => return Err(self.fault()),
        })
    }

    fn decimal(&mut self) -> Result<DataType, String> {
        if !self.eat('(') {
            return Ok(DataType::Decimal128(10, 0));
        }
        let precision = self.number()?;
        let scale = if self.eat(',') { self.number()? } else { 0 };
        self.expect(')')?;
        if precision == 0 || precision > 38 || scale > precision {
            return Err(format!(
                "decimal({precision},{scale}): expected a precision from 1 to 38, and a scale up to the precision"
            ));
        }
        Ok(DataType::Decimal128(precision, scale as i8))
    }

    fn fields(&mut self, depth: usize) -> Result<Fields, String> {
        self.expect('<')?;
        let mut fields = Vec::new();
        loop {
            let name = self.word().to_ascii_lowercase();
            if name.is_empty() {
                return Err(self.fault());
            }
            self.expect(':')?;
            fields.push(Field::new(name, self.data_type(depth + 1)?, true));
            if !self.eat(',') {
                break;
            }
        }
        self.expect('>')?;
        Ok(Fields::from(fields))
    }

    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn number(&mut self) -> Result<u8, String> {
        // The length of varchar(65535) doesn't fit into a u8. It isn't used, so it may saturate.
        let word = self.word();
        word.parse::<u32>().map(|n| n.min(u8::MAX as u32) as u8).map_err(|_| self.fault())
    }

    fn eat(&mut self, c: char) -> bool {
        self.rest = self.rest.trim_start();
        let eaten = self.rest.strip_prefix(c);
        self.rest = eaten.unwrap_or(self.rest);
        eaten.is_some()
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        if self.eat(c) { Ok(()) } else { Err(self.fault()) }
    }

    fn fault(&self) -> String {
        let at = self.text.len() - self.rest.len();
        format!("{:?} is not a Glue type (error at character {})", self.text, self.text[..at].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_survive_a_round_trip() {
        for text in [
            "boolean",
            "tinyint",
            "smallint",
            "int",
            "bigint",
            "float",
            "double",
            "string",
            "binary",
            "date",
            "timestamp",
            "decimal(38,18)",
            "array<array<int>>",
            "map<string,array<decimal(5,0)>>",
            "struct<a:int,b_c:struct<名:string>>",
        ] {
            assert_eq!(glue_type(&arrow_type(text).unwrap()).unwrap(), text);
        }
        assert_eq!(arrow_type(" VARCHAR ( 65535 ) ").unwrap(), DataType::Utf8);
    }

    #[test]
    fn parse_error_gives_the_position() {
        assert_eq!(
            arrow_type("array<integr>").unwrap_err(),
            "\"array<integr>\" is not a Glue type (error at character 13)"
        );
        assert_eq!(arrow_type("int int").unwrap_err(), "\"int int\" is not a Glue type (error at character 5)");
        assert_eq!(
            arrow_type("decimal(40,2)").unwrap_err(),
            "decimal(40,2): expected a precision from 1 to 38, and a scale up to the precision"
        );
        assert!(arrow_type(&"array<".repeat(100_000)).is_err());
        for bad in ["", "array<int", "map<int>", "struct<>", "struct<a int>", "decimal(x)", "日本"] {
            assert!(arrow_type(bad).is_err(), "{bad}");
        }
    }
}
