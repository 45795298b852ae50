//! Glue's column types, parsed.

use std::fmt;

use super::text::Text;

/// A column type as it is stored in files. Files store no text lengths, so `varchar(n)` and `char(n)` are
/// [`GlueType::String`].
///
/// `Display` writes Glue's spelling, without spaces. Parsing it returns the same type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GlueType {
    Boolean,
    Tinyint,
    Smallint,
    Int,
    Bigint,
    Float,
    Double,
    /// `precision` is the number of digits, 1 to 38. `scale` is how many of them are after the decimal point.
    Decimal {
        precision: u8,
        scale: u8,
    },
    String,
    Binary,
    Date,
    Timestamp,
    Array(Box<GlueType>),
    Map(Box<GlueType>, Box<GlueType>),
    /// The fields, with their names in lower case.
    Struct(Vec<(String, GlueType)>),
}

impl GlueType {
    /// Parses Glue's spelling, and also Athena's `integer` and `real`. For a syntax error, the message gives the
    /// position in characters.
    pub fn parse(text: &str) -> Result<GlueType, String> {
        let mut parser = Parser { text, rest: text };
        let glue_type = parser.glue_type(0)?;
        parser.rest = parser.rest.trim_start();
        if parser.rest.is_empty() { Ok(glue_type) } else { Err(parser.fault()) }
    }

    /// Returns the size of an integer type in bytes, or `None` for other types.
    pub fn integer_width(&self) -> Option<u8> {
        match self {
            GlueType::Tinyint => Some(1),
            GlueType::Smallint => Some(2),
            GlueType::Int => Some(4),
            GlueType::Bigint => Some(8),
            _ => None,
        }
    }
}

/// Returns the name of a Glue type in Athena's SQL, such as `varchar` for `string` and `array(integer)` for
/// `array<int>`. Returns `None` if Glue's spelling is not valid.
pub fn sql_type(glue_type: &str) -> Option<String> {
    match Text::parse(glue_type) {
        Some(Text::Varchar(length)) => Some(format!("varchar({length})")),
        Some(Text::Char(length)) => Some(format!("char({length})")),
        Some(Text::String) | None => GlueType::parse(glue_type).ok().map(|parsed| parsed.sql()),
    }
}

impl GlueType {
    fn sql(&self) -> String {
        match self {
            GlueType::Int => "integer".into(),
            GlueType::Float => "real".into(),
            GlueType::String => "varchar".into(),
            GlueType::Binary => "varbinary".into(),
            GlueType::Array(element) => format!("array({})", element.sql()),
            GlueType::Map(key, value) => format!("map({},{})", key.sql(), value.sql()),
            GlueType::Struct(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|(name, kind)| format!("\"{name}\" {}", kind.sql())).collect();
                format!("row({})", fields.join(","))
            }
            other => other.to_string(),
        }
    }
}

impl fmt::Display for GlueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            GlueType::Boolean => "boolean",
            GlueType::Tinyint => "tinyint",
            GlueType::Smallint => "smallint",
            GlueType::Int => "int",
            GlueType::Bigint => "bigint",
            GlueType::Float => "float",
            GlueType::Double => "double",
            GlueType::String => "string",
            GlueType::Binary => "binary",
            GlueType::Date => "date",
            GlueType::Timestamp => "timestamp",
            GlueType::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
            GlueType::Array(element) => return write!(f, "array<{element}>"),
            GlueType::Map(key, value) => return write!(f, "map<{key},{value}>"),
            GlueType::Struct(fields) => {
                f.write_str("struct<")?;
                for (at, (name, glue_type)) in fields.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{name}:{glue_type}")?;
                }
                return f.write_str(">");
            }
        };
        f.write_str(name)
    }
}

/// The maximum nesting depth of a type. It keeps the recursive parser from exhausting the stack, and real tables don't
/// nest deeper.
const MAX_DEPTH: usize = 32;

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn glue_type(&mut self, depth: usize) -> Result<GlueType, String> {
        if depth > MAX_DEPTH {
            return Err(format!("a type is nested more than {MAX_DEPTH} levels deep"));
        }
        let word = self.word().to_ascii_lowercase();
        Ok(match word.as_str() {
            "boolean" => GlueType::Boolean,
            "tinyint" => GlueType::Tinyint,
            "smallint" => GlueType::Smallint,
            "int" | "integer" => GlueType::Int,
            "bigint" => GlueType::Bigint,
            "float" | "real" => GlueType::Float,
            "double" => GlueType::Double,
            "string" => GlueType::String,
            "varchar" | "char" => {
                self.expect('(')?;
                self.number()?;
                self.expect(')')?;
                GlueType::String
            }
            "binary" => GlueType::Binary,
            "date" => GlueType::Date,
            "timestamp" => GlueType::Timestamp,
            "decimal" => self.decimal()?,
            "array" => {
                self.expect('<')?;
                let element = self.glue_type(depth + 1)?;
                self.expect('>')?;
                GlueType::Array(Box::new(element))
            }
            "map" => {
                self.expect('<')?;
                let key = self.glue_type(depth + 1)?;
                self.expect(',')?;
                let value = self.glue_type(depth + 1)?;
                self.expect('>')?;
                GlueType::Map(Box::new(key), Box::new(value))
            }
            "struct" => GlueType::Struct(self.fields(depth)?),
            _ => return Err(self.fault()),
        })
    }

    fn decimal(&mut self) -> Result<GlueType, String> {
        if !self.eat('(') {
            return Ok(GlueType::Decimal { precision: 10, scale: 0 });
        }
        let precision = self.number()?;
        let scale = if self.eat(',') { self.number()? } else { 0 };
        self.expect(')')?;
        if precision == 0 || precision > 38 || scale > precision {
            return Err(format!(
                "decimal({precision},{scale}): expected a precision from 1 to 38, and a scale up to the precision"
            ));
        }
        Ok(GlueType::Decimal { precision, scale })
    }

    fn fields(&mut self, depth: usize) -> Result<Vec<(String, GlueType)>, String> {
        self.expect('<')?;
        let mut fields = Vec::new();
        loop {
            let name = self.leading(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '$')).to_ascii_lowercase();
            if name.is_empty() {
                return Err(self.fault());
            }
            self.expect(':')?;
            fields.push((name, self.glue_type(depth + 1)?));
            if !self.eat(',') {
                break;
            }
        }
        self.expect('>')?;
        Ok(fields)
    }

    fn word(&mut self) -> &'a str {
        self.leading(|c| c.is_alphanumeric() || c == '_')
    }

    /// Takes characters from the start of the remaining text for as long as `is_part` accepts them.
    fn leading(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn number(&mut self) -> Result<u8, String> {
        // A length such as that of varchar(65535) doesn't fit into a u8. Lengths aren't used, so they may saturate.
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
    fn types_have_their_names_in_sql() {
        for (glue_type, sql) in [
            ("int", "integer"),
            ("VARCHAR( 9 )", "varchar(9)"),
            ("char(2)", "char(2)"),
            ("string", "varchar"),
            ("decimal(12,2)", "decimal(12,2)"),
            ("timestamp", "timestamp"),
            ("array<map<string,struct<a:float,b:binary>>>", "array(map(varchar,row(\"a\" real,\"b\" varbinary)))"),
        ] {
            assert_eq!(sql_type(glue_type).as_deref(), Some(sql));
        }
        assert_eq!(sql_type("uniontype<int>"), None);
    }

    #[test]
    fn type_prints_as_it_was_written() {
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
            "struct<a:int,b_c:struct<名:string>,$oid:string,a.b:int>",
        ] {
            assert_eq!(GlueType::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(GlueType::parse(" VARCHAR ( 65535 ) ").unwrap(), GlueType::String);
    }

    #[test]
    fn error_says_where_the_type_is_wrong() {
        let error = |text: &str| GlueType::parse(text).unwrap_err();
        assert_eq!(error("array<integr>"), "\"array<integr>\" is not a Glue type (error at character 13)");
        assert_eq!(error("int int"), "\"int int\" is not a Glue type (error at character 5)");
        assert_eq!(
            error("decimal(40,2)"),
            "decimal(40,2): expected a precision from 1 to 38, and a scale up to the precision"
        );
        assert!(GlueType::parse(&"array<".repeat(100_000)).is_err());
        for bad in ["", "array<int", "map<int>", "struct<>", "struct<a int>", "decimal(x)", "日本"] {
            assert!(GlueType::parse(bad).is_err(), "{bad}");
        }
    }
}
