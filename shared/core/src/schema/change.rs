//! The differences between a table's columns and those in its new files.

use std::fmt;

use super::{column::Column, glue_type::GlueType, text::Text};

/// One difference between a table's columns and those in its new files. Columns are matched by name, as Athena does
/// with Parquet, so their order doesn't matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Added {
        name: String,
        glue_type: String,
    },
    Dropped {
        name: String,
        glue_type: String,
    },
    /// A column is gone, and a new one has the same type and position.
    Renamed {
        from: String,
        to: String,
        glue_type: String,
    },
    /// The new type can hold every value of the old one.
    Widened {
        name: String,
        from: String,
        to: String,
    },
    /// The old type can hold every value of the new one, but not the other way round.
    Narrowed {
        name: String,
        from: String,
        to: String,
    },
    /// Neither type can hold every value of the other.
    Retyped {
        name: String,
        from: String,
        to: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Added { name, glue_type } => write!(f, "column {name:?} {glue_type} is not in the table"),
            Change::Dropped { name, glue_type } => {
                write!(f, "column {name:?} {glue_type} is missing from the new data")
            }
            Change::Renamed { from, to, glue_type } => {
                write!(f, "column {from:?} {glue_type} is missing from the new data, maybe renamed to {to:?}")
            }
            Change::Widened { name, from, to } => {
                write!(f, "column {name:?} is {from} in the table and the wider {to} in the new data")
            }
            Change::Narrowed { name, from, to } => {
                write!(f, "column {name:?} is {from} in the table and the narrower {to} in the new data")
            }
            Change::Retyped { name, from, to } => {
                write!(f, "column {name:?} is {from} in the table and {to} in the new data")
            }
        }
    }
}

/// Returns all differences between a table's columns and those in its new files. Types are compared by meaning, so
/// `integer` equals `int`.
pub fn changes(table: &[Column], files: &[Column]) -> Vec<Change> {
    let is_in = |columns: &[Column], name: &str| columns.iter().any(|column| column.name == name);
    let renamed = |at: usize| {
        let (old, new) = (table.get(at)?, files.get(at)?);
        let gone = !is_in(files, &old.name) && !is_in(table, &new.name);
        (gone && same(&old.glue_type, &new.glue_type)).then_some((old, new))
    };
    let mut found = Vec::new();
    for (at, column) in table.iter().enumerate() {
        if let Some(other) = files.iter().find(|other| other.name == column.name) {
            found.extend(retyped(column, other));
        } else if let Some((old, new)) = renamed(at) {
            found.push(Change::Renamed {
                from: old.name.clone(),
                to: new.name.clone(),
                glue_type: new.glue_type.clone(),
            });
        } else {
            found.push(Change::Dropped { name: column.name.clone(), glue_type: column.glue_type.clone() });
        }
    }
    for (at, column) in files.iter().enumerate() {
        if !is_in(table, &column.name) && renamed(at).is_none() {
            found.push(Change::Added { name: column.name.clone(), glue_type: column.glue_type.clone() });
        }
    }
    found
}

fn retyped(old: &Column, new: &Column) -> Option<Change> {
    let (name, from, to) = (old.name.clone(), old.glue_type.clone(), new.glue_type.clone());
    if same(&from, &to) {
        None
    } else if holds(&to, &from) {
        Some(Change::Widened { name, from, to })
    } else if holds(&from, &to) {
        Some(Change::Narrowed { name, from, to })
    } else {
        Some(Change::Retyped { name, from, to })
    }
}

/// Returns whether two spellings denote the same type.
fn same(a: &str, b: &str) -> bool {
    if let (Some(a), Some(b)) = (Text::parse(a), Text::parse(b)) {
        return a == b;
    }
    match (GlueType::parse(a), GlueType::parse(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// Returns whether a column of type `wide` can hold every value of type `narrow` unchanged.
fn holds(wide: &str, narrow: &str) -> bool {
    if let (Some(wide), Some(narrow)) = (Text::parse(wide), Text::parse(narrow)) {
        return wide.holds(narrow);
    }
    match (GlueType::parse(wide), GlueType::parse(narrow)) {
        (Ok(GlueType::Double), Ok(GlueType::Float)) => true,
        (Ok(GlueType::Decimal { precision: p1, scale: s1 }), Ok(GlueType::Decimal { precision: p0, scale: s0 })) => {
            s1 >= s0 && p1 - s1 >= p0 - s0
        }
        (Ok(wide), Ok(narrow)) => {
            wide.integer_width().zip(narrow.integer_width()).is_some_and(|(wide, narrow)| wide >= narrow)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(list: &[(&str, &str)]) -> Vec<Column> {
        list.iter().map(|(name, text)| Column { name: (*name).into(), glue_type: (*text).into() }).collect()
    }

    fn between(table: &[(&str, &str)], files: &[(&str, &str)]) -> Vec<String> {
        changes(&columns(table), &columns(files)).iter().map(Change::to_string).collect()
    }

    #[test]
    fn order_and_spelling_do_not_count_as_changes() {
        let table = [("id", "bigint"), ("n", "integer"), ("old", "string"), ("d", "decimal(10, 0)")];
        assert_eq!(
            between(&table, &[("d", "decimal(10)"), ("old", "string"), ("id", "bigint"), ("n", "int")]),
            [""; 0]
        );
    }

    #[test]
    fn each_kind_of_change_is_recognised() {
        assert_eq!(
            between(
                &[("id", "bigint"), ("n", "int"), ("p", "bigint"), ("name", "string"), ("old", "string")],
                &[("id", "string"), ("n", "bigint"), ("p", "int"), ("full_name", "string"), ("new", "date")],
            ),
            [
                "column \"id\" is bigint in the table and string in the new data",
                "column \"n\" is int in the table and the wider bigint in the new data",
                "column \"p\" is bigint in the table and the narrower int in the new data",
                "column \"name\" string is missing from the new data, maybe renamed to \"full_name\"",
                "column \"old\" string is missing from the new data",
                "column \"new\" date is not in the table",
            ]
        );
    }

    #[test]
    fn wider_type_holds_every_value_of_the_narrower() {
        let wider = [
            ("tinyint", "smallint"),
            ("smallint", "int"),
            ("int", "bigint"),
            ("tinyint", "bigint"),
            ("float", "double"),
            ("decimal(10,2)", "decimal(12,2)"),
            ("decimal(10,2)", "decimal(12,4)"),
            ("varchar(10)", "varchar(300)"),
            ("char(3)", "string"),
        ];
        for (narrow, wide) in wider {
            assert!(holds(wide, narrow), "{narrow} → {wide}");
            assert!(!holds(narrow, wide), "{wide} → {narrow}");
        }
        // In these pairs, neither type holds the other. For example, with the same precision, a larger scale leaves
        // fewer digits before the decimal point.
        for (a, b) in [
            ("decimal(10,2)", "decimal(10,4)"),
            ("int", "double"),
            ("date", "timestamp"),
            ("int", "decimal(38,0)"),
            ("array<int>", "array<bigint>"),
            ("float", "bigint"),
            ("boolean", "int"),
            ("nonsense", "int"),
        ] {
            assert!(!holds(a, b) && !holds(b, a), "{a} {b}");
        }
    }
}
