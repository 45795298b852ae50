//! Parquet that was forged so that reading it would take all memory: each file is refused, and the error names it.

use std::{io::Write, sync::Arc};

use arrow_array::StringArray;
use bytes::Bytes;
use flate2::write::GzEncoder;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, GzipLevel},
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter},
        properties::WriterProperties,
    },
};

use super::{fault, parquet::batch, read_one};

const GZIP: fn() -> Compression = || Compression::GZIP(GzipLevel::default());

/// Returns a file with one column, in one page.
fn one_page(compression: Compression) -> Vec<u8> {
    let texts = batch(vec![("text", Arc::new(StringArray::from(vec!["a text that is long enough"; 100])))]);
    let properties = WriterProperties::builder().set_compression(compression).set_dictionary_enabled(false).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, texts.schema(), Some(properties)).unwrap();
    writer.write(&texts).unwrap();
    writer.close().unwrap();
    bytes
}

fn varint(number: u32) -> Vec<u8> {
    let (mut rest, mut bytes) = (u64::from(number) << 1, Vec::new());
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// Returns the number of bytes of the number at the start of `bytes`.
fn length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1
}

/// Returns the file with another page. `change` gets the page's header after its three sizes, and its body, and returns
/// the uncompressed size and both. `said` is the size of the column in the footer; `None` for the true size.
fn forged(file: &[u8], change: impl Fn(&[u8], &[u8]) -> (u32, Vec<u8>, Vec<u8>), said: Option<i64>) -> Vec<u8> {
    let footer = ParquetMetaDataReader::new().parse_and_finish(&Bytes::copy_from_slice(file)).unwrap();
    let group = footer.row_group(0).clone();
    let column = group.column(0).clone();
    let (start, size) = column.byte_range();
    let chunk = &file[start as usize..(start + size) as usize];
    // The type, the uncompressed and the compressed size, each after a byte.
    assert_eq!(chunk[..3], [0x15, 0x00, 0x15]);
    let at = 3 + length(&chunk[3..]) + 1;
    let at = at + length(&chunk[at..]);
    let header = turntable::parquet::page_header(chunk).unwrap();
    let (size, rest, page) = change(&chunk[at..header.length], &chunk[header.length..]);
    let sizes = [&[0x15, 0x00, 0x15][..], &varint(size), &[0x15], &varint(page.len() as u32)].concat();
    let chunk = [sizes, rest, page].concat();
    let column = column.into_builder().set_total_compressed_size(said.unwrap_or(chunk.len() as i64)).build().unwrap();
    let group = group.into_builder().set_column_metadata(vec![column]).build().unwrap();
    let footer = ParquetMetaData::new(footer.file_metadata().clone(), vec![group]);
    let mut bytes = [&file[..start as usize], &chunk].concat();
    ParquetMetaDataWriter::new(&mut bytes, &footer).finish().unwrap();
    bytes
}

#[tokio::test]
async fn forged_page_is_refused_before_it_is_decoded() {
    for compression in [Compression::SNAPPY, GZIP(), Compression::UNCOMPRESSED] {
        let file = one_page(compression);
        let size = turntable::parquet::page_header(&file[4..]).unwrap().uncompressed;
        let same = forged(&file, |rest, page| (size, rest.to_vec(), page.to_vec()), None);
        assert_eq!(read_one("a.parquet", same, "").await.unwrap().rows.len(), 100);

        let large = forged(&file, |rest, page| ((256 << 20) + 1, rest.to_vec(), page.to_vec()), None);
        let expected = "a.parquet is damaged or forged: page larger than 256 MB: write smaller pages";
        assert_eq!(fault("a.parquet", large, "").await, expected);

        // The size once more at the header's end: the parquet crate takes the last one.
        let twice = |rest: &[u8], page: &[u8]| {
            let rest = [&rest[..rest.len() - 1], &[0x05, 0x04], &varint(2_000_000_000), &[0x00]].concat();
            (size, rest, page.to_vec())
        };
        let expected = "a.parquet is damaged or forged: a page has an unknown header";
        assert_eq!(fault("a.parquet", forged(&file, twice, None), "").await, expected);
    }
}

#[tokio::test]
async fn page_that_expands_to_more_than_it_says_is_refused() {
    let mut gz = GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(&vec![0; 64 << 20]).unwrap();
    let bomb = gz.finish().unwrap();
    let file = forged(&one_page(GZIP()), |rest, _| (3000, rest.to_vec(), bomb.clone()), None);
    let expected =
        format!("a.parquet is damaged or forged: a page of {} bytes expands to more than its header says", bomb.len());
    assert_eq!(fault("a.parquet", file, "").await, expected);
}

#[tokio::test]
async fn row_group_beyond_the_limit_is_refused_before_it_is_read() {
    let same = |rest: &[u8], page: &[u8]| (3000, rest.to_vec(), page.to_vec());
    let file = forged(&one_page(Compression::SNAPPY), same, Some((1 << 30) + 1));
    let expected = "a.parquet has a row group larger than 1024 MB: write smaller row groups";
    assert_eq!(fault("a.parquet", file, "").await, expected);
}

#[tokio::test]
async fn footer_beyond_the_limit_is_refused_before_it_is_decoded() {
    let length = (16 << 20) + 1;
    let file = [&b"PAR1"[..], &vec![0x19; length], &(length as u32).to_le_bytes(), b"PAR1"].concat();
    let expected = "a.parquet has a footer larger than 16 MB: write larger row groups or fewer columns";
    assert_eq!(fault("a.parquet", file, "").await, expected);
}
