//! Helpers for the differential tests, which compare a query's rows as the server's own client prints them with the
//! same rows after an export. Also writes a client's rows to CSV and NDJSON files.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    sync::Arc,
};

use arrow_array::{Array, RecordBatch, StringArray};
use futures::TryStreamExt;
use tests::{
    memory::Objects,
    random::{self, Random},
};
use turntable::{
    clock::Clock,
    config::{self, Config, Source},
    error::Result,
    parquet, port,
    sources::{self, Context, Opened},
};

/// A row of text values. The first one is the key.
pub type Row = Vec<Option<String>>;

/// The number of rows, the number of distinct keys, and a hash of each column. The order of the rows doesn't matter.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    pub rows: usize,
    pub keys: usize,
    pub columns: Vec<u64>,
}

impl Summary {
    pub fn of(rows: &[Row]) -> Summary {
        let width = rows.first().map_or(0, Vec::len);
        let column = |at: usize| {
            let mut pairs: Vec<(&Option<String>, &Option<String>)> =
                rows.iter().map(|row| (&row[0], &row[at])).collect();
            pairs.sort();
            let mut hasher = DefaultHasher::new();
            pairs.hash(&mut hasher);
            hasher.finish()
        };
        let keys: HashSet<&Option<String>> = rows.iter().map(|row| &row[0]).collect();
        Summary { rows: rows.len(), keys: keys.len(), columns: (0..width).map(column).collect() }
    }
}

/// Files with a client's rows, and the TOML of a `files` source that reads them as strings.
pub struct Files {
    /// Each file's name and content.
    pub files: Vec<(String, Vec<u8>)>,
    pub source: String,
}

const NULL: &str = "\\N";

impl Files {
    /// Writes the rows with random settings.
    pub fn of(rows: &[Row], random: &mut Random) -> Files {
        let width = rows.first().map_or(1, Vec::len);
        let columns: Vec<String> = (0..width).map(|at| format!("c{at} = \"string\"")).collect();
        let columns = columns.join(", ");
        let is_csv = random.below(2) == 0;
        let dialect = Dialect::random(random);
        let compression = random.pick(&["", ".gz", ".zst", ".bz2", ".snappy"]).unwrap_or_default();
        let chunk = 1 + random.below(rows.len() as u64 + 1) as usize;
        let mut files = Vec::new();
        for (number, part) in rows.chunks(chunk).enumerate() {
            let text = if is_csv { dialect.csv(part, width) } else { ndjson(part) };
            let name = format!("part{number}.{}{compression}", if is_csv { "csv" } else { "ndjson" });
            files.push((name, compressed(text, compression)));
        }
        let csv = if is_csv { format!(", csv = {}", dialect.toml()) } else { String::new() };
        Files { files, source: format!("columns = {{ {columns} }}{csv}") }
    }
}

struct Dialect {
    delimiter: char,
    quote: char,
    has_header: bool,
    line_end: &'static str,
    is_utf16: bool,
}

impl Dialect {
    fn random(random: &mut Random) -> Dialect {
        Dialect {
            delimiter: random.pick(&[',', ';', '\t', '|']).unwrap_or(','),
            quote: random.pick(&['"', '\'']).unwrap_or('"'),
            has_header: random.below(2) == 0,
            line_end: random.pick(&["\n", "\r\n"]).unwrap_or("\n"),
            is_utf16: random.below(4) == 0,
        }
    }

    fn toml(&self) -> String {
        let Dialect { delimiter, quote, has_header, is_utf16, .. } = self;
        let encoding = if *is_utf16 { "utf-16le" } else { "utf-8" };
        format!(
            "{{ delimiter = {:?}, quote = {:?}, header = {has_header}, encoding = {encoding:?}, null = {NULL:?} }}",
            delimiter.to_string(),
            quote.to_string()
        )
    }

    fn csv(&self, rows: &[Row], width: usize) -> Vec<u8> {
        let Dialect { delimiter, quote, .. } = self;
        let field = |value: &Option<String>| match value {
            None => NULL.to_owned(),
            Some(text) => format!("{quote}{}{quote}", text.replace(*quote, &format!("{quote}{quote}"))),
        };
        let line = |fields: Vec<String>| fields.join(&delimiter.to_string()) + self.line_end;
        let mut text = String::new();
        if self.has_header {
            text += &line((0..width).map(|at| format!("c{at}")).collect());
        }
        text.extend(rows.iter().map(|row| line(row.iter().map(field).collect())));
        if self.is_utf16 { text.encode_utf16().flat_map(u16::to_le_bytes).collect() } else { text.into_bytes() }
    }
}

fn ndjson(rows: &[Row]) -> Vec<u8> {
    let record = |row: &Row| {
        let pairs = row.iter().enumerate().map(|(at, value)| (format!("c{at}"), serde_json::json!(value)));
        serde_json::Value::Object(pairs.collect()).to_string() + "\n"
    };
    rows.iter().map(record).collect::<String>().into_bytes()
}

fn compressed(text: Vec<u8>, compression: &str) -> Vec<u8> {
    match compression {
        ".gz" => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&text).and_then(|()| gzip.finish()).expect("gzip")
        }
        ".zst" => zstd::encode_all(text.as_slice(), 1).expect("zstd"),
        ".bz2" => {
            let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            bzip2.write_all(&text).and_then(|()| bzip2.finish()).expect("bzip2")
        }
        ".snappy" => {
            let mut snappy = snap::write::FrameEncoder::new(Vec::new());
            snappy.write_all(&text).expect("snappy");
            snappy.into_inner().expect("snappy")
        }
        _ => text,
    }
}

/// Returns the seeds for a differential test: the one in `TURNTABLE_SEED`, or new ones. `TURNTABLE_DIFFERENTIAL` sets
/// their number; without it, there are `usual`.
pub fn seeds(usual: u64) -> Vec<u64> {
    match random::variable("TURNTABLE_SEED") {
        Some(seed) => vec![seed],
        None => {
            let first = Clock::system().ulid().0 as u64 >> 1;
            (0..random::count("TURNTABLE_DIFFERENTIAL", usual)).map(|more| first + more).collect()
        }
    }
}

/// Writes the rows to Parquet files of random size, as an export does, and opens a `files` source on them.
pub async fn through_parquet(opened: Opened, context: &Context, random: &mut Random) -> Result<Opened> {
    let objects = Arc::new(Objects::default());
    let shared: Arc<dyn port::Objects> = objects.clone();
    let file_size = (64 << 10) + random.below(1 << 20);
    let sizes = config::Parquet { file_size, row_group_size: file_size / (1 + random.below(4)), ..Default::default() };
    parquet::write(&shared, &"s3://lake/in/t".parse().unwrap(), opened.rows, sizes).await?;
    open_files(&objects, "", context).await
}

/// Opens a `files` source. `more` has its other keys, as TOML.
pub async fn open_files(objects: &Objects, more: &str, context: &Context) -> Result<Opened> {
    let text = format!(
        "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
         [datasets.t]\nsource.files = {{ location = \"s3://lake/in/t/\", {more} }}\n"
    );
    let config = Config::parse("datasets.toml", &text).unwrap();
    let source: &Source = &config.dataset("t").unwrap().source;
    sources::open(source, &Context { objects: Arc::new(objects.clone()), ..context.clone() }).await
}

/// Writes a client's rows to files with random settings, and returns the rows that a `files` source reads from them.
pub async fn through_files(rows: &[Row], context: &Context, random: &mut Random) -> Result<Vec<Row>> {
    let objects = Objects::default();
    let Files { files, source } = Files::of(rows, random);
    for (name, body) in files {
        objects.put(&format!("s3://lake/in/t/{name}"), body);
    }
    let opened = open_files(&objects, &source, context).await?;
    let mut found = Vec::new();
    for stream in opened.rows.streams {
        for batch in stream.try_collect::<Vec<RecordBatch>>().await? {
            let columns: Vec<&StringArray> =
                batch.columns().iter().map(|column| column.as_any().downcast_ref().unwrap()).collect();
            let value = |column: &&StringArray, row| column.is_valid(row).then(|| column.value(row).to_owned());
            found.extend(
                (0..batch.num_rows()).map(|row| columns.iter().map(|column| value(column, row)).collect::<Row>()),
            );
        }
    }
    Ok(found)
}
