//! The column names and types that Glue stores and Athena reads.
//!
//! Glue takes column names of 1 to 255 bytes and types of up to 131,072 bytes, both without control characters
//! ([Column](https://docs.aws.amazon.com/glue/latest/webapi/API_Column.html)). Athena parses the types with Hive's
//! rules: a field's name consists of letters and digits (as Java classifies them, one UTF-16 unit at a time), `_`, `.`
//! and `$`. If one type doesn't parse, no query can read the table, not even one that leaves the column out.

use unicode_normalization::char::is_combining_mark;

use super::{column::Column, glue_type::GlueType};

/// The maximum length of a column's name in Glue, in bytes.
const MAX_NAME_BYTES: usize = 255;
/// The maximum length of a column's type in Glue, in bytes.
const MAX_TYPE_BYTES: usize = 131_072;

/// Returns the column in Glue's spelling. Its type parses back to `glue_type`, apart from the case of names. The error
/// says which part of the name or the type Glue or Athena can't read.
pub fn readable(name: &str, glue_type: &GlueType) -> Result<Column, String> {
    readable_name(name)?;
    let text = glue_type.to_string();
    let fault = |fault: String| format!("column {name:?}: {fault}");
    readable_fields(glue_type).map_err(fault)?;
    if text.len() > MAX_TYPE_BYTES {
        return Err(fault(format!(
            "its type has {} bytes, but Glue's types have at most {MAX_TYPE_BYTES}",
            text.len()
        )));
    }
    match GlueType::parse(&text) {
        Ok(parsed) if parsed.to_string().to_lowercase() == text.to_lowercase() => {
            Ok(Column { name: name.to_owned(), glue_type: text })
        }
        Ok(_) => Err(fault("its type would be read as another type".into())),
        Err(why) => Err(fault(why)),
    }
}

/// Checks that Glue accepts the name of a column.
pub fn readable_name(name: &str) -> Result<(), String> {
    let bytes = name.len();
    if name.is_empty() {
        return Err("a column has no name".into());
    }
    if bytes > MAX_NAME_BYTES {
        let start: String = name.chars().take(20).collect();
        return Err(format!(
            "column \"{start}…\": its name has {bytes} bytes, but Glue's names have at most {MAX_NAME_BYTES}"
        ));
    }
    if name.contains(is_no_single_line) {
        return Err(format!("column {name:?}: its name contains a control character, which Glue doesn't store"));
    }
    Ok(())
}

/// Returns whether Glue's single-line pattern excludes the character.
fn is_no_single_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Checks the names of all struct fields within the type.
fn readable_fields(glue_type: &GlueType) -> Result<(), String> {
    match glue_type {
        GlueType::Array(element) => readable_fields(element),
        GlueType::Map(key, value) => readable_fields(key).and_then(|()| readable_fields(value)),
        GlueType::Struct(fields) => {
            for (at, (name, inner)) in fields.iter().enumerate() {
                if !is_readable_field(name) {
                    return Err(format!(
                        "Athena can't read the field name {name:?}, because the names of a struct's fields consist of \
                         letters, digits, _, . and $"
                    ));
                }
                if fields.iter().take(at).any(|(other, _)| other.to_lowercase() == name.to_lowercase()) {
                    return Err(format!("two fields are called {name:?} (Glue's names are lower case)"));
                }
                readable_fields(inner)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Returns whether Athena can read a struct field with this name.
pub fn is_readable_field(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_field_char)
}

/// Returns whether a struct field's name may contain the character. Java's letters exclude marks and letter-like
/// numbers and symbols, which Rust counts as alphabetic, and everything beyond 16 bits.
pub(super) fn is_field_char(c: char) -> bool {
    let is_letter_like = matches!(c,
        '\u{2160}'..='\u{2182}' | '\u{2185}'..='\u{2188}' | '\u{16ee}'..='\u{16f0}' | '\u{3007}' | '\u{3021}'..='\u{3029}'
        | '\u{3038}'..='\u{303a}' | '\u{a6e6}'..='\u{a6ef}' | '\u{24b6}'..='\u{24e9}');
    let is_letter = c.is_alphabetic() && !is_letter_like && !is_combining_mark(c) && c <= '\u{ffff}';
    is_letter || c.is_ascii_digit() || matches!(c, '\u{ff10}'..='\u{ff19}' | '_' | '.' | '$')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, glue_type: &GlueType) -> Result<String, String> {
        readable(name, glue_type).map(|column| column.glue_type)
    }

    fn with_field(name: &str) -> GlueType {
        let inner = GlueType::Struct(vec![(name.into(), GlueType::String)]);
        GlueType::Array(Box::new(GlueType::Map(Box::new(GlueType::String), Box::new(inner))))
    }

    #[test]
    fn names_end_where_glue_ends() {
        let longest = "é".repeat(127) + "x";
        assert_eq!(longest.len(), 255);
        for good in ["a", " ", "a b", "名前", "𠮷", "aws:x", "a,b", "<>", "\"", &longest] {
            assert_eq!(of(good, &GlueType::Int), Ok("int".into()), "{good}");
        }
        for (bad, why) in [
            ("", "a column has no name"),
            (&(longest.clone() + "x"), "its name has 256 bytes"),
            ("a\nb", "control character"),
            ("\u{7f}", "control character"),
            ("\u{85}", "control character"),
            ("\u{ffff}", "control character"),
        ] {
            let found = of(bad, &GlueType::Int).unwrap_err();
            assert!(found.contains(why), "{bad:?}: {found}");
        }
    }

    #[test]
    fn field_names_are_those_that_parse_in_athena() {
        for good in ["a", "_", "1", "名前", "かな", "$oid", "a.b", "ä", "々", "１", "ｶ"] {
            let glue_type = with_field(good);
            assert_eq!(of("c", &glue_type), Ok(format!("array<map<string,struct<{good}:string>>>")), "{good}");
        }
        // The last line: a mark, a circled letter, a Roman numeral, zero in Chinese, and a character beyond 16 bits.
        for bad in [
            "",
            "aws:x",
            "a,b",
            "a<b",
            "a>b",
            "a b",
            " a",
            "a-b",
            "a\tb",
            "\"",
            "`",
            "(",
            "a/b",
            "@",
            "é\u{301}",
            "हिन्दी",
            "ⓐ",
            "Ⅲ",
            "〇",
            "𠮷",
        ] {
            let found = of("c", &with_field(bad)).unwrap_err();
            assert!(found.starts_with(&format!("column \"c\": Athena can't read the field name {bad:?}")), "{found}");
        }
    }

    #[test]
    fn every_character_that_is_accepted_parses_back() {
        for c in ('\0'..=char::MAX).filter(|c| is_field_char(*c) && !c.is_uppercase()) {
            let glue_type = GlueType::Struct(vec![(c.to_string(), GlueType::Int)]);
            assert_eq!(GlueType::parse(&glue_type.to_string()), Ok(glue_type), "{c:?}");
        }
    }

    #[test]
    fn types_end_where_glue_ends() {
        let wide = |fields: usize, last: usize| {
            let mut all: Vec<_> = (0..fields).map(|at| (format!("a{at:05}"), GlueType::Int)).collect();
            all.push(("z".repeat(last), GlueType::Int));
            GlueType::Struct(all)
        };
        // `struct<`, `a00000:int,` for each field, and `z…:int>`.
        let last = MAX_TYPE_BYTES - 7 - 11 * 10_000 - 5;
        assert_eq!(of("c", &wide(10_000, last)).map(|text| text.len()), Ok(MAX_TYPE_BYTES));
        assert_eq!(
            of("c", &wide(10_000, last + 1)),
            Err("column \"c\": its type has 131073 bytes, but Glue's types have at most 131072".into())
        );
        let mut deep = GlueType::Int;
        for _ in 0..33 {
            deep = GlueType::Array(Box::new(deep));
        }
        assert_eq!(of("c", &deep), Err("column \"c\": a type is nested more than 32 levels deep".into()));
        let twice = GlueType::Struct(vec![("a".into(), GlueType::Int), ("A".into(), GlueType::Int)]);
        assert!(of("c", &twice).unwrap_err().contains("two fields are called \"A\""));
        let upper = GlueType::Struct(vec![("A".into(), GlueType::Int)]);
        assert_eq!(of("c", &upper), Ok("struct<A:int>".into()));
    }
}
