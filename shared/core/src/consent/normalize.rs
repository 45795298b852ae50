//! Normalizes the spelling of string keys, so that two spellings of one key are the same key.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, is_nfkc};

/// One step of a normalization. The order of the variants is the order in which the steps are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// Unicode's compatibility composition: full-width letters become ASCII letters, for example.
    Nfkc,
    /// Removes white space around the text.
    Trim,
    /// Converts to lower case.
    Lower,
    /// Accepts only a UUID, and writes it in lower case with hyphens.
    Uuid,
}

impl Normalize {
    pub const ALL: [Normalize; 4] = [Normalize::Nfkc, Normalize::Trim, Normalize::Lower, Normalize::Uuid];

    pub fn as_str(self) -> &'static str {
        match self {
            Normalize::Nfkc => "nfkc",
            Normalize::Trim => "trim",
            Normalize::Lower => "lower",
            Normalize::Uuid => "uuid",
        }
    }

    /// Parses a step's name. Returns `None` if there is no such step.
    pub fn parse(name: &str) -> Option<Normalize> {
        Normalize::ALL.into_iter().find(|step| step.as_str() == name)
    }
}

/// The steps of a normalization, each at most once, in the order in which they are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Normalization(Vec<Normalize>);

/// The maximum length of the text to normalize, in bytes. A normalized text is at most 16 times shorter, so a longer
/// text can't become a valid key.
const MAX_TEXT_BYTES: usize = 16 << 10;

impl Normalization {
    /// Returns the normalization with these steps, which may be in any order.
    pub fn new(steps: impl IntoIterator<Item = Normalize>) -> Normalization {
        let mut steps: Vec<Normalize> = steps.into_iter().collect();
        steps.sort_unstable();
        steps.dedup();
        Normalization(steps)
    }

    pub fn steps(&self) -> &[Normalize] {
        &self.0
    }

    /// Returns the normalized text. Normalizing it again changes nothing. The error says why the text is rejected, but
    /// doesn't contain it.
    pub fn apply<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, &'static str> {
        if self.0.is_empty() {
            return Ok(Cow::Borrowed(text));
        }
        let has = |step| self.0.contains(&step);
        let text = if has(Normalize::Trim) { text.trim() } else { text };
        if text.len() > MAX_TEXT_BYTES {
            return Err("is longer than 1024 bytes");
        }
        let mut text = Cow::Borrowed(text);
        if has(Normalize::Nfkc) {
            text = nfkc(text);
        }
        // NFKC turns other characters into spaces.
        if has(Normalize::Trim) && text.trim().len() < text.len() {
            text = Cow::Owned(text.trim().to_owned());
        }
        if text.is_empty() {
            return Err("is missing");
        }
        if has(Normalize::Lower) && text.chars().any(|letter| !letter.is_ascii() || letter.is_ascii_uppercase()) {
            text = Cow::Owned(text.to_lowercase());
            // A lower-case letter may have a composed form that its upper-case letter lacks, such as "ẖ".
            if has(Normalize::Nfkc) {
                text = nfkc(text);
            }
        }
        if has(Normalize::Uuid) {
            text = Cow::Owned(uuid(&text).ok_or("is not a UUID")?);
        }
        Ok(text)
    }
}

fn nfkc(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.is_ascii() || is_nfkc(&text) { text } else { Cow::Owned(text.chars().nfkc().collect()) }
}

/// Parses a UUID, and returns it in lower case with hyphens. `text` may be in upper or lower case, with or without
/// hyphens, in braces, and after `urn:uuid:`. Returns `None` if it is not a UUID.
fn uuid(text: &str) -> Option<String> {
    const URN: &str = "urn:uuid:";
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    let text = match text.split_at_checked(URN.len()) {
        Some((urn, rest)) if urn.eq_ignore_ascii_case(URN) => rest,
        _ => text,
    };
    let text = text.strip_prefix('{').map_or(Some(text), |text| text.strip_suffix('}'))?;
    let hyphenated = text.len() == 36 && HYPHENS.iter().all(|at| text.as_bytes()[*at] == b'-');
    let digits = if hyphenated { text.replace('-', "") } else { text.to_owned() };
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let digits = digits.to_ascii_lowercase();
    let part = |from: usize, to: usize| &digits[from..to];
    Some([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(steps: &[Normalize], text: &str) -> Result<String, &'static str> {
        let normalization = Normalization::new(steps.iter().copied());
        let once = normalization.apply(text)?.into_owned();
        assert_eq!(normalization.apply(&once), Ok(Cow::Borrowed(once.as_str())), "{text:?} again");
        Ok(once)
    }

    #[test]
    fn steps_are_applied_in_a_fixed_order() {
        use Normalize::*;
        for (steps, text, expected) in [
            (&[Trim][..], "\u{3000} Ab\t", Ok("Ab")),
            (&[], " Ab ", Ok(" Ab ")),
            (&[Trim], " \n", Err("is missing")),
            (&[Lower], " AbÄ", Ok(" abä")),
            (&[Nfkc], "\u{3000}ＡＢ１㍿", Ok(" AB1株式会社")),
            (&[Lower, Trim, Nfkc], "\u{A0}Ｕｓｅｒ－７\u{3000}", Ok("user-7")),
            (&[Nfkc, Lower], "H\u{331}", Ok("\u{1E96}")),
            (&[Nfkc, Lower], "Cafe\u{301}", Ok("café")),
            (&[Nfkc, Trim], "\u{A8}", Ok("\u{308}")),
        ] {
            assert_eq!(apply(steps, text), expected.map(str::to_owned), "{steps:?} {text:?}");
        }
        assert_eq!(Normalization::new([Lower, Trim, Lower]).steps(), [Trim, Lower]);
        assert_eq!(apply(&[Trim], &"x".repeat(20_000)), Err("is longer than 1024 bytes"));
        assert_eq!(apply(&[Trim], &format!("{}x", " ".repeat(20_000))), Ok("x".to_owned()));
    }

    #[test]
    fn uuid_has_one_spelling() {
        const UUID: &str = "0123e567-e89b-12d3-a456-42661417abcd";
        let plain = UUID.replace('-', "");
        for text in [
            UUID.to_owned(),
            UUID.to_uppercase(),
            plain.clone(),
            format!("{{{UUID}}}"),
            format!("{{{plain}}}"),
            format!("urn:uuid:{UUID}"),
            format!("URN:UUID:{}", UUID.to_uppercase()),
        ] {
            assert_eq!(apply(&[Normalize::Uuid], &text), Ok(UUID.to_owned()), "{text}");
        }
        for text in [
            "{}".to_owned(),
            "urn:uuid:".to_owned(),
            UUID[1..].to_owned(),
            format!("{UUID}0"),
            format!(" {UUID}"),
            format!("{{{UUID}"),
            format!("{UUID}}}"),
            UUID.replace('e', "g"),
            UUID.replace('-', "_"),
            format!("-{}", UUID.replacen('-', "", 1)),
            "\u{E9}".repeat(16),
            "\u{E9}".repeat(18),
        ] {
            assert_eq!(apply(&[Normalize::Uuid], &text), Err("is not a UUID"), "{text}");
        }
        assert_eq!(apply(&[Normalize::Uuid], ""), Err("is missing"));
        let wide = "０１２３E567-E89B-12D3-A456-42661417ABCD ";
        assert_eq!(apply(&Normalize::ALL, wide), Ok(UUID.to_owned()));
    }

    #[test]
    fn name_of_a_step_is_parsed_back() {
        for step in Normalize::ALL {
            assert_eq!(Normalize::parse(step.as_str()), Some(step));
            assert_eq!(serde_json::to_value(step).unwrap(), step.as_str());
        }
        assert_eq!(Normalize::parse("TRIM"), None);
    }
}
