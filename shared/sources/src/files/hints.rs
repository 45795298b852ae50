//! Guesses from the first bytes of a file which setting is wrong, for error messages.

/// Compression and archive formats: the name for messages, the extension if files in this format can be read, and the
/// first bytes.
const MAGIC: [(&str, Option<&str>, &[u8]); 8] = [
    ("gzip", Some(".gz"), b"\x1f\x8b"),
    ("zstd", Some(".zst"), b"\x28\xb5\x2f\xfd"),
    ("bzip2", Some(".bz2"), b"BZh"),
    ("snappy", Some(".snappy"), b"\xff\x06\0\0sNaPpY"),
    ("xz", None, b"\xfd7zXZ\0"),
    ("zip", None, b"PK\x03\x04"),
    ("lz4", None, b"\x04\x22\x4d\x18"),
    ("7z", None, b"7z\xbc\xaf\x27\x1c"),
];

/// The number of bytes that [`no_text`] checks.
pub const START_BYTES: usize = 64;

/// Returns why the start of a file isn't text, and what to do about it. Returns `None` if it may be text.
pub fn no_text(start: &[u8]) -> Option<String> {
    if start.starts_with(b"PAR1") {
        return Some("is a Parquet file: give it a name that ends in .parquet, or set source.files.format".into());
    }
    let (name, extension, _) = MAGIC.iter().find(|(_, _, magic)| start.starts_with(magic))?;
    Some(match extension {
        Some(extension) => format!("is compressed with {name}: give it a name that ends in {extension}"),
        None => format!(
            "is compressed with {name}, which is not supported: store it uncompressed, or compressed with gzip or zstd \
             and with a name that ends in .gz or .zst"
        ),
    })
}

/// Returns the name of the file's encoding if it is a kind of UTF-16: if the file begins with a byte order mark, or if
/// many of its byte pairs have a zero in the same half.
pub fn utf16(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xff, 0xfe, ..] => return Some("utf-16le"),
        [0xfe, 0xff, ..] => return Some("utf-16be"),
        _ => {}
    }
    let zeros = |half: usize| start.iter().skip(half).step_by(2).filter(|byte| **byte == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    match (first, second) {
        (0, zeros) if zeros > 1 && zeros > start.len() / 8 => Some("utf-16le"),
        (zeros, 0) if zeros > 1 && zeros > start.len() / 8 => Some("utf-16be"),
        _ => None,
    }
}

/// Returns advice on the encoding of text that is not UTF-8.
pub fn encoding(text: &[u8]) -> String {
    const SETTING: &str = "set source.files.csv.encoding";
    let decoded = |by: &'static encoding_rs::Encoding| by.decode_without_bom_handling_and_without_replacement(text);
    let shift_jis = decoded(encoding_rs::SHIFT_JIS);
    let euc_jp = decoded(encoding_rs::EUC_JP);
    // In Shift_JIS, most of EUC-JP's bytes are half-width kana.
    let kana = shift_jis.as_ref().map_or(0, |text| text.chars().filter(|c| matches!(c, '｡'..='ﾟ')).count());
    let others =
        shift_jis.as_ref().map_or(0, |text| text.chars().filter(|c| !c.is_ascii()).count()).saturating_sub(kana);
    let name = match (shift_jis.is_some(), euc_jp.is_some()) {
        (true, true) if kana > others => "euc-jp",
        (true, _) => "shift_jis",
        (false, true) => "euc-jp",
        (false, false) => return format!("{SETTING} to the file's encoding, maybe \"windows-1252\""),
    };
    format!("{SETTING} to the file's encoding, maybe {name:?}")
}

/// Returns the delimiter that a record with only one field may really use, and how often the field contains it.
pub fn delimiter(field: &str, delimiter: u8) -> Option<(char, usize)> {
    let counts = [',', ';', '\t', '|'].map(|other| (other, field.matches(other).count()));
    let others = counts.into_iter().filter(|(other, count)| *count > 0 && *other as u32 != u32::from(delimiter));
    others.max_by_key(|(_, count)| *count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_files_are_recognized() {
        for (name, _, magic) in MAGIC {
            assert!(no_text(&[magic, b"..."].concat()).unwrap().contains(name), "{name}");
        }
        assert!(no_text(b"PAR1").unwrap().starts_with("is a Parquet file"));
        for text in ["", "id,name\n", "{}", "BZ", "PK,x\n"] {
            assert_eq!(no_text(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn utf16_is_recognized_without_a_mark() {
        let text = "id,氏名\r\n1,山田\r\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!((utf16(&little), utf16(&big)), (Some("utf-16le"), Some("utf-16be")));
        assert_eq!((utf16(b"\xff\xfei\0"), utf16(b"\xfe\xff\0i")), (Some("utf-16le"), Some("utf-16be")));
        for text in [text.as_bytes(), b"", b"a\0\0b", b"\0"] {
            assert_eq!(utf16(text), None, "{text:?}");
        }
    }

    #[test]
    fn encoding_is_guessed_from_the_bytes() {
        for (text, name) in [
            (&b"1,\x8eR\x93c\n"[..], "shift_jis"),
            (b"1,\xbb\xb3\xc5\xc4\n", "euc-jp"),
            (b"1,caf\xe9\n", "windows-1252"),
        ] {
            assert!(encoding(text).ends_with(&format!("maybe {name:?}")), "{text:?}");
        }
    }

    #[test]
    fn other_delimiter_is_found_in_a_single_field() {
        assert_eq!(delimiter("id;name;age", b','), Some((';', 2)));
        assert_eq!(delimiter("id\tname", b','), Some(('\t', 1)));
        assert_eq!(delimiter("id,name", b';'), Some((',', 1)));
        assert_eq!(delimiter("id", b','), None);
        assert_eq!(delimiter("a,b", b','), None);
    }
}
