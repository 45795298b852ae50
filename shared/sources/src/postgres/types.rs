//! Maps each PostgreSQL type to its wire format, and so to its Arrow type. docs/types.md lists the mapping, and a test
//! compares that list with this module.
//!
//! The server casts types without a rule here to text, even inside arrays and composite types: `interval`, ranges,
//! geometric types, `reg…` types, anonymous records, and the types of extensions.

use std::collections::HashMap;

use tokio_postgres::types::{Kind, Oid, Type};

use crate::postgres::copy::Wire;
use turntable_core::schema::is_readable_field;

/// The cast that the server applies to a value before it sends it.
#[derive(Debug, Clone, PartialEq)]
pub enum Cast {
    None,
    Text,
    TextArray,
    /// A row that is rebuilt from its fields, some of which are cast.
    Row(Vec<(String, Cast)>),
}

/// How to read a type: the cast that the server applies, and the wire format of the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub wire: Wire,
    pub cast: Cast,
}

/// The type modifiers that the driver doesn't report, by the type's OID: a domain's own modifier, and those of a
/// composite's fields, in field order. -1 means no modifier.
pub type Modifiers = HashMap<Oid, (i32, Vec<i32>)>;

/// Returns the rule for a type. `modifier` is the type modifier of the column or field, or -1. The error says why
/// Athena can't store the type.
pub fn rule(pg_type: &Type, modifier: i32, modifiers: &Modifiers) -> Result<Rule, String> {
    let plain = |wire| Ok(Rule { wire, cast: Cast::None });
    match *pg_type {
        Type::BOOL => plain(Wire::Boolean),
        Type::INT2 => plain(Wire::Int16),
        Type::INT4 => plain(Wire::Int32),
        Type::INT8 => plain(Wire::Int64),
        Type::OID | Type::XID | Type::CID => plain(Wire::Oid),
        Type::FLOAT4 => plain(Wire::Float32),
        Type::FLOAT8 => plain(Wire::Float64),
        Type::NUMERIC => plain(numeric(modifier)),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON => plain(Wire::Text),
        Type::JSONB => plain(Wire::Jsonb),
        Type::UUID => plain(Wire::Uuid),
        Type::BYTEA => plain(Wire::Binary),
        Type::DATE => plain(Wire::Date),
        Type::TIMESTAMP => plain(Wire::Timestamp { utc: false }),
        Type::TIMESTAMPTZ => plain(Wire::Timestamp { utc: true }),
        _ => match pg_type.kind() {
            Kind::Enum(_) => plain(Wire::Text),
            Kind::Domain(base) => {
                let own = modifiers.get(&pg_type.oid()).map_or(-1, |(own, _)| *own);
                rule(base, if own == -1 { modifier } else { own }, modifiers)
            }
            Kind::Array(element) => array(rule(element, modifier, modifiers)?),
            Kind::Composite(fields) if !fields.is_empty() => {
                let own = modifiers.get(&pg_type.oid()).map_or(&[][..], |(_, fields)| fields);
                let fields = fields.iter().enumerate().map(|(at, field)| {
                    let modifier = own.get(at).copied().unwrap_or(-1);
                    Ok((field.name().to_owned(), rule(field.type_(), modifier, modifiers)?))
                });
                composite(pg_type, fields.collect::<Result<_, String>>()?)
            }
            Kind::Simple if pg_type.name() == "hstore" => plain(Wire::Hstore),
            _ => Ok(Rule { wire: Wire::Text, cast: Cast::Text }),
        },
    }
}

/// Returns the wire format of a `numeric`: a decimal if the modifier's precision and scale fit one, and text otherwise.
/// The modifier is 4 plus the precision in the upper 16 bits and the signed scale in the lower 11
/// (`src/backend/utils/adt/numeric.c`).
fn numeric(modifier: i32) -> Wire {
    let packed = modifier.wrapping_sub(4);
    let (precision, scale) = ((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024);
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale)) if modifier >= 4 && scale <= precision => {
            Wire::Decimal { precision, scale }
        }
        _ => Wire::NumericText,
    }
}

/// Returns the rule for an array. If the elements need a cast, the array becomes a list of strings.
fn array(element: Rule) -> Result<Rule, String> {
    Ok(match element.cast {
        Cast::None => Rule { wire: Wire::List(Box::new(element.wire)), cast: Cast::None },
        _ => Rule { wire: Wire::List(Box::new(Wire::Text)), cast: Cast::TextArray },
    })
}

fn composite(pg_type: &Type, fields: Vec<(String, Rule)>) -> Result<Rule, String> {
    let mut wires: Vec<(String, Wire)> = Vec::new();
    let mut casts = Vec::new();
    for (name, rule) in fields {
        let lower = name.to_lowercase();
        if !is_readable_field(&lower) {
            return Err(format!(
                "type {:?} has a field {name:?}, but the names of a struct's fields in Athena consist of letters, digits, _, . \
                 and $; select to_jsonb(…) of the column instead",
                pg_type.name()
            ));
        }
        if wires.iter().any(|(other, _)| *other == lower) {
            return Err(format!(
                "type {:?} has two fields named {lower:?} (Glue's names are lower case)",
                pg_type.name()
            ));
        }
        wires.push((lower, rule.wire));
        casts.push((name, rule.cast));
    }
    let cast = if casts.iter().all(|(_, cast)| *cast == Cast::None) { Cast::None } else { Cast::Row(casts) };
    Ok(Rule { wire: Wire::Struct(wires), cast })
}

impl Cast {
    /// Returns SQL that applies the cast to `expression`.
    pub fn apply(&self, expression: &str) -> String {
        match self {
            Cast::None => expression.to_owned(),
            Cast::Text => format!("({expression})::pg_catalog.text"),
            Cast::TextArray => format!("({expression})::pg_catalog.text[]"),
            Cast::Row(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|(name, cast)| cast.apply(&format!("({expression}).{}", quoted(name)))).collect();
                // `IS NULL` would also be true for a row whose fields are all null.
                format!("CASE WHEN ({expression}) IS DISTINCT FROM NULL THEN ROW({}) END", fields.join(", "))
            }
        }
    }
}

/// Quotes an SQL identifier.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use tokio_postgres::types::Field;

    use super::*;

    fn modifier(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn a_numeric_becomes_a_decimal_only_if_nothing_is_lost() {
        let decimal = |precision, scale| Wire::Decimal { precision, scale };
        for (modifier, wire) in [
            (modifier(5, 2), decimal(5, 2)),
            (modifier(38, 0), decimal(38, 0)),
            (modifier(38, 38), decimal(38, 38)),
            (modifier(39, 2), Wire::NumericText),
            (modifier(1000, 2), Wire::NumericText),
            (modifier(3, 5), Wire::NumericText),
            (modifier(5, -2), Wire::NumericText),
            (-1, Wire::NumericText),
        ] {
            assert_eq!(numeric(modifier), wire, "{modifier}");
        }
    }

    #[test]
    fn casts_apply_to_fields_and_arrays() {
        let inner = Type::new(
            "inner".into(),
            90001,
            Kind::Composite(vec![Field::new("N".into(), Type::NUMERIC), Field::new("at".into(), Type::TIME)]),
            "public".into(),
        );
        let modifiers = Modifiers::from([(90001, (-1, vec![modifier(7, 3), -1]))]);
        let found = rule(&inner, -1, &modifiers).unwrap();
        let n = Wire::Decimal { precision: 7, scale: 3 };
        assert_eq!(found.wire, Wire::Struct(vec![("n".into(), n), ("at".into(), Wire::Text)]));
        assert_eq!(
            found.cast.apply("\"c\""),
            "CASE WHEN (\"c\") IS DISTINCT FROM NULL THEN ROW((\"c\").\"N\", ((\"c\").\"at\")::pg_catalog.text) END"
        );
        let array = Type::new("_inner".into(), 90002, Kind::Array(inner), "public".into());
        let found = rule(&array, -1, &modifiers).unwrap();
        assert_eq!(found.wire, Wire::List(Box::new(Wire::Text)));
        assert_eq!(found.cast.apply("\"c\""), "(\"c\")::pg_catalog.text[]");
        assert_eq!(rule(&Type::INT4_ARRAY, -1, &modifiers).unwrap().cast, Cast::None);
    }

    #[test]
    fn field_names_that_glue_cannot_store_are_rejected() {
        let of = |names: &[&str]| {
            let fields = names.iter().map(|name| Field::new((*name).into(), Type::INT4)).collect();
            let composite = Type::new("pair".into(), 90001, Kind::Composite(fields), "public".into());
            rule(&composite, -1, &Modifiers::new()).unwrap_err()
        };
        assert_eq!(of(&["a", "A"]), "type \"pair\" has two fields named \"a\" (Glue's names are lower case)");
        assert_eq!(
            of(&["a b"]),
            "type \"pair\" has a field \"a b\", but the names of a struct's fields in Athena consist of letters, digits, _, . \
             and $; select to_jsonb(…) of the column instead"
        );
        // Neither a letter of Java nor of Athena.
        assert!(of(&["Ⅳ"]).contains("has a field \"Ⅳ\""));
    }
}
