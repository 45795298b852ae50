//! Finds footers that a reader must not trust: encrypted ones, and ones whose row counts contradict each other.

use parquet::file::metadata::ParquetMetaData;

/// Returns how the row counts in a footer contradict each other, if they do. The parquet crate and other readers trust
/// different counts, and silently read fewer rows.
pub fn contradiction(footer: &ParquetMetaData) -> Option<String> {
    let (rows, groups) = (footer.file_metadata().num_rows(), footer.row_groups());
    let sum: i128 = groups.iter().map(|group| i128::from(group.num_rows())).sum();
    if i128::from(rows) != sum {
        return Some(format!("its footer says {rows} rows, its row groups {sum}"));
    }
    if rows < 0 {
        return Some(format!("its footer says {rows} rows"));
    }
    for (number, group) in groups.iter().enumerate() {
        let rows = group.num_rows();
        // A column that can have several values in a row has more or fewer values than rows.
        let mut flat = group.columns().iter().filter(|column| column.column_descr().max_rep_level() == 0);
        if let Some(column) = flat.find(|column| column.num_values() != rows) {
            let (name, values) = (column.column_path().string(), column.num_values());
            return Some(format!("row group {number} says {rows} rows, its column {name} {values} values"));
        }
    }
    None
}

/// Returns whether an unencrypted footer says that columns are encrypted. The parquet crate skips the fields that say
/// so.
pub fn has_encrypted_columns(footer: &[u8]) -> bool {
    /// Numbers of fields in `FileMetaData`, `RowGroup` and `ColumnChunk`, from parquet.thrift.
    const ENCRYPTION_ALGORITHM: i16 = 8;
    const ROW_GROUPS: i16 = 4;
    const COLUMNS: i16 = 1;
    const CRYPTO_METADATA: i16 = 8;
    const ENCRYPTED_COLUMN_METADATA: i16 = 9;
    let mut found = false;
    // A footer that isn't Thrift is an error when it is decoded.
    let _ = Thrift::new(footer).fields(&mut Vec::new(), &mut |path, _, _| {
        found |=
            matches!(path, [ENCRYPTION_ALGORITHM] | [ROW_GROUPS, COLUMNS, CRYPTO_METADATA | ENCRYPTED_COLUMN_METADATA]);
    });
    found
}

/// The maximum nesting of structs and lists in a footer. Real footers nest about ten deep.
const MAX_DEPTH: usize = 32;

/// A reader for values in Thrift's compact protocol.
pub struct Thrift<'a> {
    rest: &'a [u8],
    depth: usize,
}

/// The kinds of values in the compact protocol.
pub mod kind {
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const I64: u8 = 6;
    pub const DOUBLE: u8 = 7;
    pub const BINARY: u8 = 8;
    pub const SET: u8 = 10;
    pub const MAP: u8 = 11;
    pub const STRUCT: u8 = 12;
    pub const UUID: u8 = 13;
}

impl<'a> Thrift<'a> {
    pub fn new(bytes: &'a [u8]) -> Thrift<'a> {
        Thrift { rest: bytes, depth: 0 }
    }

    /// Returns the number of bytes that were not read.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Reads an integer of at most 32 bits. Returns `None` if it is negative.
    pub fn natural(&mut self) -> Option<u32> {
        let value = self.varint()?;
        (value & 1 == 0).then_some(u32::try_from(value >> 1).ok()?)
    }

    /// Reads a struct. Calls `seen` for each field, before its value is read, with the field's path, its kind and the
    /// bytes from its value on. The path consists of field numbers; the elements of a list have the list's path. Returns
    /// `None` if the bytes are malformed.
    pub fn fields(&mut self, path: &mut Vec<i16>, seen: &mut impl FnMut(&[i16], u8, &[u8])) -> Option<()> {
        let mut number = 0_i16;
        loop {
            let byte = self.byte()?;
            if byte == 0 {
                return Some(());
            }
            number = match byte >> 4 {
                0 => zigzag(self.varint()?),
                step => number.checked_add(i16::from(step))?,
            };
            path.push(number);
            seen(path, byte & 0x0f, self.rest);
            self.value(byte & 0x0f, true, path, seen)?;
            path.pop();
        }
    }

    fn value(
        &mut self,
        of: u8,
        in_field: bool,
        path: &mut Vec<i16>,
        seen: &mut impl FnMut(&[i16], u8, &[u8]),
    ) -> Option<()> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let read = self.value_within(of, in_field, path, seen);
        self.depth -= 1;
        read
    }

    fn value_within(
        &mut self,
        of: u8,
        in_field: bool,
        path: &mut Vec<i16>,
        seen: &mut impl FnMut(&[i16], u8, &[u8]),
    ) -> Option<()> {
        match of {
            // A field's kind already contains the value of a boolean.
            kind::TRUE | kind::FALSE if in_field => Some(()),
            kind::TRUE..=kind::BYTE => self.skip(1),
            4..=kind::I64 => self.varint().map(|_| ()),
            kind::DOUBLE => self.skip(8),
            kind::BINARY => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 | kind::SET => {
                let head = self.byte()?;
                let length = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                (0..length).try_for_each(|_| self.value(head & 0x0f, false, path, seen))
            }
            kind::MAP => {
                let length = self.varint()?;
                if length == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                (0..length).try_for_each(|_| {
                    self.value(kinds >> 4, false, path, seen)?;
                    self.value(kinds & 0x0f, false, path, seen)
                })
            }
            kind::STRUCT => self.fields(path, seen),
            kind::UUID => self.skip(16),
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn skip(&mut self, length: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(length).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

fn zigzag(value: u64) -> i16 {
    ((value >> 1) as i64 ^ -((value & 1) as i64)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a footer with a list of schema elements, a row group with a column, and what `more` appends to the
    /// column and `last` to the file.
    fn footer(more: &[u8], last: &[u8]) -> Vec<u8> {
        let column = [&[0x26, 0x08][..], more, &[0]].concat();
        [
            &[0x15, 0x02, 0x19, 0x1c, 0x48, 0x01, b'm', 0x15, 0x02, 0x00, 0x16, 0x02][..],
            &[0x19, 0x1c, 0x19, 0x1c],
            &column,
            &[0x16, 0x02, 0x00],
            last,
            &[0],
        ]
        .concat()
    }

    #[test]
    fn encryption_is_found_in_columns_and_in_the_file() {
        // A column's field 8 is a union; its field 9 is bytes. The file's field 8 is a union.
        for (more, last, expected) in [
            (&[][..], &[][..], false),
            (&[], &[0x28, 0x01, b'x'], false),
            (&[0x6c, 0x1c, 0x00, 0x00], &[], true),
            (&[0x78, 0x02, 1, 2], &[], true),
            (&[], &[0x4c, 0x1c, 0x00, 0x00], true),
        ] {
            assert_eq!(has_encrypted_columns(&footer(more, last)), expected, "{more:?} {last:?}");
        }
    }

    #[test]
    fn malformed_bytes_are_not_encrypted_and_end() {
        let whole = footer(&[0x78, 0x02, 1, 2], &[]);
        for at in 0..whole.len() {
            for damage in 0..=255 {
                let mut damaged = whole.clone();
                damaged[at] = damage;
                has_encrypted_columns(&damaged);
                has_encrypted_columns(&damaged[..at]);
            }
        }
        assert!(!has_encrypted_columns(&[0x19; 10_000]));
        assert!(!has_encrypted_columns(&[0x19, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x0f]));
    }
}
