//! Reads page headers before the parquet crate does, because that crate trusts them.

use crate::sound::{Thrift, kind};

/// What the header of a page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PageHeader {
    /// The length of the header itself, in bytes.
    pub length: usize,
    /// The size of the page after decompression, in bytes.
    pub uncompressed: u32,
    /// The size of the page in the file, in bytes.
    pub compressed: u32,
    /// The number of values, with NULLs. 0 for a dictionary.
    pub values: u32,
    /// The number of bytes at the start of the page that are never compressed.
    pub levels: u32,
}

const I32: u8 = 5;
const LIST: u8 = 9;

/// Numbers of fields, from parquet.thrift.
const UNCOMPRESSED: i16 = 2;
const COMPRESSED: i16 = 3;
const V1: i16 = 5;
const INDEX: i16 = 6;
const DICTIONARY: i16 = 7;
const V2: i16 = 8;

/// Reads the page header at the start of `bytes`. Returns `None` if readers may understand it in different ways: of
/// several fields with the same number, the parquet crate takes the last one, and it reads a field by its number,
/// whatever type the file gives it.
pub fn page_header(bytes: &[u8]) -> Option<PageHeader> {
    let mut header = PageHeader::default();
    let mut sizes = [None; 2];
    let mut is_sound = true;
    let mut last: Vec<i16> = Vec::new();
    let mut thrift = Thrift::new(bytes);
    thrift.fields(&mut Vec::new(), &mut |path, of, rest| {
        let Some((number, parents)) = path.split_last() else { return };
        let is_ascending = match last.get(..path.len()) {
            Some(earlier) if earlier.starts_with(parents) => earlier.last() < Some(number),
            _ => true,
        };
        is_sound &= is_ascending && fits(path, of);
        last = path.to_vec();
        let mut number = || {
            let number = (of == I32).then(|| Thrift::new(rest).natural()).flatten();
            is_sound &= number.is_some();
            number.unwrap_or_default()
        };
        match path {
            [UNCOMPRESSED] => sizes[0] = Some(number()),
            [COMPRESSED] => sizes[1] = Some(number()),
            [V1 | V2, 1] => header.values = number(),
            [V2, 5 | 6] => header.levels = header.levels.saturating_add(number()),
            _ => {}
        }
    })?;
    let [Some(uncompressed), Some(compressed)] = sizes else { return None };
    let length = bytes.len() - thrift.left();
    is_sound.then_some(PageHeader { length, uncompressed, compressed, ..header })
}

/// Returns whether the type of a field is right: for a field that the parquet crate reads, the one in parquet.thrift;
/// for any other field, any type but a list, set or map.
fn fits(path: &[i16], of: u8) -> bool {
    match path {
        [1..=4] | [V1, 1..=4] | [DICTIONARY, 1..=2] | [V2, 1..=6] => of == I32,
        [V1 | INDEX | DICTIONARY | V2] | [V1, 5] | [V2, 8] => of == kind::STRUCT,
        [DICTIONARY, 3] | [V2, 7] => matches!(of, kind::TRUE | kind::FALSE),
        // No other field of a header is a container, in which fields may repeat.
        _ => !matches!(of, LIST | kind::SET | kind::MAP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data page: type 0, 300 and 40 bytes, then a header with 7 values, and three encodings.
    const DATA: &[u8] =
        &[0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0x50, 0x2c, 0x15, 0x0e, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06, 0x00, 0x00];

    #[test]
    fn header_says_its_sizes() {
        let expected = PageHeader { length: DATA.len(), uncompressed: 300, compressed: 40, values: 7, levels: 0 };
        assert_eq!(page_header(&[DATA, b"the page"].concat()), Some(expected));
        for at in 0..DATA.len() {
            assert_eq!(page_header(&DATA[..at]), None, "{at}");
        }
    }

    #[test]
    fn header_that_another_reader_may_understand_otherwise_is_none() {
        let end = DATA.len() - 1;
        // After field 5: field 2 once more, in both forms; and a list of numbers.
        for more in [&[0x05, 0x04, 0x00][..], &[0x05, 0x04, 0xd8, 0x04], &[0x49, 0x15, 0x00]] {
            assert_eq!(page_header(&[&DATA[..end], more, &[0]].concat()), None, "{more:?}");
        }
        // A new field of a later version is none of our business.
        assert!(page_header(&[&DATA[..end], &[0x45, 0x02], &[0]].concat()).is_some());
        // The uncompressed size as a byte, as bytes, and negative.
        for size in [&[0x13, 0x07][..], &[0x18, 0x01, 0x07], &[0x15, 0x01]] {
            assert_eq!(page_header(&[&DATA[..2], size, &DATA[5..]].concat()), None, "{size:?}");
        }
    }

    #[test]
    fn arbitrary_bytes_end() {
        for at in 0..DATA.len() {
            for damage in 0..=255 {
                let mut damaged = DATA.to_vec();
                damaged[at] = damage;
                page_header(&damaged);
            }
        }
    }
}
