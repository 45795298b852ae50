//! The pure half of Turntable: it decides, and asks nobody.
//!
//! Nothing here has a clock, randomness, an async runtime, an AWS client or Arrow: time and fresh ULIDs are arguments,
//! and everything outside is reached through the traits of [`port`]. Cargo proves it (`cargo tree -p turntable-core`).
//!
//! | module | what it answers |
//! |---|---|
//! | [`layout`] | where each object lies in S3: the only place that formats and parses keys |
//! | [`schema`], [`partition`] | column types and their changes; the columns that became folders |
//! | [`config`] | `datasets.toml`, checked: all errors at once |
//! | [`manifest`], [`record`] | what is stored of a generation, a flip, a hold, an engine's run |
//! | [`audit`] | whether a candidate passes its checks |
//! | [`decision`], [`history`] | whether a candidate goes live; what the flip records say |
//! | [`group`] | what flips together, and who finishes it |
//! | [`consent`], [`optout`] | consent records and their keys; what a merge reads, archives and shows |
//! | [`sweep`] | which generations may be deleted |
//! | [`unload`] | the `UNLOAD` statement of the Athena engine |
//! | [`port`] | what is asked of AWS, as traits; in memory with the feature `memory` |

pub mod audit;
pub mod config;
pub mod consent;
pub mod decision;
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
pub mod record;
pub mod schema;
pub mod sweep;
pub mod table;
pub mod unload;
