//! The text types `string`, `varchar(n)` and `char(n)`, which are three types in a table but only one in a file.

/// A text type, with its maximum length if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    String,
    Varchar(u32),
    /// Has a fixed length, to which Athena pads shorter values.
    Char(u32),
}

impl Text {
    /// Parses a Glue type. Returns `None` if it isn't a text type.
    pub fn parse(glue_type: &str) -> Option<Text> {
        let text: String = glue_type.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
        if text == "string" {
            return Some(Text::String);
        }
        let (word, length) = text.strip_suffix(')')?.split_once('(')?;
        match word {
            "varchar" => Some(Text::Varchar(length.parse().ok()?)),
            "char" => Some(Text::Char(length.parse().ok()?)),
            _ => None,
        }
    }

    /// Returns whether this type can hold every value of type `other` unchanged.
    pub fn holds(self, other: Text) -> bool {
        match (other, self) {
            (_, Text::String) => true,
            (Text::Varchar(short), Text::Varchar(long))
            | (Text::Char(short), Text::Varchar(long) | Text::Char(long)) => short <= long,
            (Text::String | Text::Varchar(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn longer_type_holds_texts_of_a_shorter_one() {
        let holds = |wide: &str, narrow: &str| Text::parse(wide).unwrap().holds(Text::parse(narrow).unwrap());
        for (wide, narrow) in [
            ("string", "varchar(9)"),
            ("VARCHAR( 65535 )", "varchar(300)"),
            ("varchar(3)", "char(3)"),
            ("string", "char(1)"),
        ] {
            assert!(holds(wide, narrow), "{wide} {narrow}");
            assert!(!holds(narrow, wide), "{narrow} {wide}");
        }
        for text in ["int", "varchar", "varchar(x)", "varchar(99999999999)", "nchar(1)", "char(1", ""] {
            assert_eq!(Text::parse(text), None, "{text}");
        }
    }
}
