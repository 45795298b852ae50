//! The pure half of Turntable: the decisions, without any I/O.
//!
//! The crate uses no clock, randomness, async runtime, AWS client or Arrow. Time and fresh ULIDs are arguments, and AWS
//! is reached only through the traits in [`port`]. The list of dependencies (`cargo tree -p turntable-core`) contains
//! no runtime, AWS client or Arrow, and `clippy.toml` forbids reading a clock or generating ULIDs.
//!
//! | module | what it covers |
//! |---|---|
//! | [`layout`] | where each object is in S3: the only module that formats and parses keys |
//! | [`schema`], [`partition`] | column types and their changes; the columns that become folders |
//! | [`config`] | `datasets.toml`: parses and checks it, and reports all errors together |
//! | [`table`] | a catalog table, and what a flip changes in it |
//! | [`manifest`], [`record`] | what is stored about a generation, a flip, a hold, an engine run |
//! | [`retired`] | what an operator decided about a table that is no longer configured |
//! | [`audit`] | whether a candidate passes its checks |
//! | [`adoption`] | what the first flip changes in a table that Turntable didn't create |
//! | [`decision`], [`history`] | whether a candidate goes live; what the flip records say |
//! | [`group`] | what flips together, and who finishes the flip |
//! | [`consent`], [`optout`] | consent records and their keys; what a merge reads, archives and shows |
//! | [`refresh`], [`due`] | schedules, and which run serves which due time; what has become due |
//! | [`sweep`] | which generations may be deleted |
//! | [`bucket_settings`] | which bucket settings lose events or data, or keep deleted rows |
//! | [`verify`] | how a live table differs from its manifest |
//! | [`rds`] | the region in an RDS host name |
//! | [`unload`] | the `UNLOAD` statement for the Athena engine |
//! | [`port`] | the traits through which AWS is called; the feature `memory` adds in-memory versions for tests |
//! | [`error`] | the error type, with its kinds |

pub mod adoption;
pub mod audit;
pub mod bucket_settings;
pub mod config;
pub mod consent;
pub mod decision;
pub mod due;
pub mod error;
pub mod group;
pub mod history;
pub mod layout;
pub mod manifest;
#[cfg(feature = "memory")]
pub mod memory;
pub mod optout;
pub mod partition;
pub mod port;
pub mod rds;
pub mod read;
pub mod record;
pub mod refresh;
pub mod retired;
pub mod schema;
pub mod sweep;
pub mod table;
pub mod unload;
pub mod verify;
