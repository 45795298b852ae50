//! Formats and parses colours, generations, and the S3 paths of tables and groups. No other module does this. Also
//! names the temporary tables of audits.
//!
//! ```text
//! s3://BUCKET/PREFIX/TABLE/COLOUR-ULID/part-00000.parquet
//! s3://BUCKET/PREFIX/TABLE/_manifests/COLOUR-ULID.json
//! s3://BUCKET/PREFIX/TABLE/_flips/ULID.json
//! s3://BUCKET/PREFIX/TABLE/_hold.json
//! s3://BUCKET/PREFIX/TABLE/_views.json (written by 0.1.0, ignored since)
//! s3://BUCKET/PREFIX/TABLE/_returns/ULID.json
//! s3://BUCKET/PREFIX/TABLE/_sweeping/COLOUR-ULID.json
//! s3://BUCKET/PREFIX/TABLE/_pending/COLOUR-ULID.json
//! s3://BUCKET/PREFIX/TABLE/_pending/COLOUR-ULID.failed.json
//! s3://BUCKET/PREFIX/_groups/GROUP.json
//! ```

mod files;
mod generation;
mod group_paths;
mod location;
mod table_name;
mod table_paths;

pub use files::{is_hidden, part, part_number};
pub use generation::{Colour, Generation, time_of};
pub use group_paths::Group;
pub use location::{Entry, Key, Location, MAX_KEY_BYTES};
pub use table_name::{AUDIT_TABLES, TableName, audit_table, parse_audit_table};
pub use table_paths::{ObjectKind, TablePaths};
