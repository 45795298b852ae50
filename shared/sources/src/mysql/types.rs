//! Maps each MySQL and MariaDB type to its wire format, and so to its Arrow type. docs/types.md lists the mapping, and
//! a test compares that list with this module.

use arrow_schema::{DataType, TimeUnit};
use mysql_async::{
    Column,
    consts::{ColumnFlags, ColumnType as Type},
};

/// The format of a value from the driver, which determines its Arrow type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    /// A `bigint unsigned` or `bit(64)`.
    Unsigned,
    Float32,
    Float64,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Text,
    Binary,
    /// A four-byte SRID, then WKB.
    Geometry,
    Date,
    Timestamp {
        utc: bool,
    },
    /// `digits` is the number of fractional digits in the seconds.
    Time {
        digits: u8,
    },
}

/// The ID of the collation of columns without a character set ("binary" in `information_schema.COLLATIONS`).
pub const BINARY_COLLATION: u16 = 63;

/// Returns the format of a column that the server has described. The error says that the column's type isn't supported.
pub fn wire(column: &Column) -> Result<Wire, String> {
    let unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    let length = column.column_length();
    Ok(match column.column_type() {
        Type::MYSQL_TYPE_TINY if length == 1 && !unsigned => Wire::Boolean,
        Type::MYSQL_TYPE_TINY => {
            if unsigned {
                Wire::Int16
            } else {
                Wire::Int8
            }
        }
        Type::MYSQL_TYPE_SHORT => {
            if unsigned {
                Wire::Int32
            } else {
                Wire::Int16
            }
        }
        Type::MYSQL_TYPE_INT24 => Wire::Int32,
        Type::MYSQL_TYPE_LONG => {
            if unsigned {
                Wire::Int64
            } else {
                Wire::Int32
            }
        }
        Type::MYSQL_TYPE_LONGLONG => {
            if unsigned {
                Wire::Unsigned
            } else {
                Wire::Int64
            }
        }
        Type::MYSQL_TYPE_YEAR => Wire::Int16,
        Type::MYSQL_TYPE_FLOAT => Wire::Float32,
        Type::MYSQL_TYPE_DOUBLE => Wire::Float64,
        Type::MYSQL_TYPE_DECIMAL | Type::MYSQL_TYPE_NEWDECIMAL => decimal(length, column.decimals(), unsigned),
        Type::MYSQL_TYPE_BIT => match length {
            1 => Wire::Boolean,
            2..=63 => Wire::Int64,
            _ => Wire::Unsigned,
        },
        Type::MYSQL_TYPE_DATE | Type::MYSQL_TYPE_NEWDATE => Wire::Date,
        Type::MYSQL_TYPE_DATETIME => Wire::Timestamp { utc: false },
        Type::MYSQL_TYPE_TIMESTAMP => Wire::Timestamp { utc: true },
        Type::MYSQL_TYPE_TIME => Wire::Time { digits: column.decimals() },
        // JSON is text, even though MySQL reports the binary collation for it.
        Type::MYSQL_TYPE_JSON | Type::MYSQL_TYPE_ENUM | Type::MYSQL_TYPE_SET | Type::MYSQL_TYPE_NULL => Wire::Text,
        string if is_string(string) => match column.character_set() {
            BINARY_COLLATION => Wire::Binary,
            _ => Wire::Text,
        },
        Type::MYSQL_TYPE_VECTOR => Wire::Binary,
        Type::MYSQL_TYPE_GEOMETRY => Wire::Geometry,
        other => return Err(format!("type {other:?} is not supported: cast it to CHAR in the query")),
    })
}

/// Returns whether values of this type are strings: bytes, or text in the column's character set.
pub fn is_string(of: Type) -> bool {
    matches!(
        of,
        Type::MYSQL_TYPE_STRING
            | Type::MYSQL_TYPE_VAR_STRING
            | Type::MYSQL_TYPE_VARCHAR
            | Type::MYSQL_TYPE_TINY_BLOB
            | Type::MYSQL_TYPE_BLOB
            | Type::MYSQL_TYPE_MEDIUM_BLOB
            | Type::MYSQL_TYPE_LONG_BLOB
    )
}

/// Returns a decimal's format, which is text if the precision is too large for an Arrow decimal. The precision is the
/// display length without the point and the sign (`my_decimal_length_to_precision` in MySQL's `sql/my_decimal.h`).
fn decimal(length: u32, scale: u8, unsigned: bool) -> Wire {
    let precision = length.saturating_sub(u32::from(scale > 0)).saturating_sub(u32::from(!unsigned && length > 0));
    match u8::try_from(precision) {
        Ok(precision @ 1..=38) if scale <= precision => Wire::Decimal { precision, scale },
        _ => Wire::Text,
    }
}

impl Wire {
    /// Returns the Arrow type.
    pub fn data_type(self) -> DataType {
        match self {
            Wire::Boolean => DataType::Boolean,
            Wire::Int8 => DataType::Int8,
            Wire::Int16 => DataType::Int16,
            Wire::Int32 => DataType::Int32,
            Wire::Int64 => DataType::Int64,
            Wire::Unsigned => DataType::Decimal128(20, 0),
            Wire::Float32 => DataType::Float32,
            Wire::Float64 => DataType::Float64,
            Wire::Decimal { precision, scale } => DataType::Decimal128(precision, scale as i8),
            Wire::Text | Wire::Time { .. } => DataType::Utf8,
            Wire::Binary | Wire::Geometry => DataType::Binary,
            Wire::Date => DataType::Date32,
            Wire::Timestamp { utc } => DataType::Timestamp(TimeUnit::Microsecond, utc.then(|| "UTC".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_stays_a_decimal_only_if_nothing_is_lost() {
        for (length, scale, unsigned, found) in [
            (12, 2, false, Wire::Decimal { precision: 10, scale: 2 }),
            (11, 2, true, Wire::Decimal { precision: 10, scale: 2 }),
            (11, 0, false, Wire::Decimal { precision: 10, scale: 0 }),
            (40, 38, false, Wire::Decimal { precision: 38, scale: 38 }),
            (41, 2, false, Wire::Text),
            (67, 30, false, Wire::Text),
            (0, 0, false, Wire::Text),
        ] {
            assert_eq!(decimal(length, scale, unsigned), found, "{length} {scale}");
        }
    }

    #[test]
    fn a_signed_one_digit_tinyint_is_a_boolean() {
        let tiny = |length, flags| {
            wire(&Column::new(Type::MYSQL_TYPE_TINY).with_column_length(length).with_flags(flags)).unwrap()
        };
        assert_eq!(tiny(1, ColumnFlags::empty()), Wire::Boolean);
        assert_eq!(tiny(4, ColumnFlags::empty()), Wire::Int8);
        assert_eq!(tiny(1, ColumnFlags::UNSIGNED_FLAG), Wire::Int16);
    }

    #[test]
    fn json_is_text_despite_its_binary_collation() {
        let of = |of| wire(&Column::new(of).with_character_set(BINARY_COLLATION)).unwrap();
        assert_eq!(of(Type::MYSQL_TYPE_JSON), Wire::Text);
        assert_eq!(of(Type::MYSQL_TYPE_LONG_BLOB), Wire::Binary);
    }
}
