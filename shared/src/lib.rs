//! The code that the functions share: the decisions, and the ports that carry them out.
//!
//! `export` opens a [`source`], writes its rows as [`mod@parquet`] files to a new location and puts their [`manifest`]
//! beside it. `flip` loads the table's state, decides ([`plan`]), audits the candidate ([`audit`]) and switches the
//! Glue table to it with one call ([`publish`]). [`sweep`] deletes unreachable generations.
//!
//! | pure: state in, decision out | |
//! |---|---|
//! | [`name`] | colours, generations and paths: the only module that formats and parses them |
//! | [`config`] | `datasets.toml`: raw → checked, all errors reported together |
//! | [`partition`] | partition columns, and how Athena finds their folders |
//! | [`manifest`], [`record`] | the contents of a generation; the records of flips, holds and engines' runs |
//! | [`schema`], [`audit`], [`plan`] | types and their changes; checks → verdict; the decision to flip |
//! | [`history`] | a table's history by its flip records, and the record that is missing |
//! | [`group`] | datasets that flip together, and the group's record |
//! | [`merge`] | the opt-out merge; the reading and writing of its files needs `aws` |
//!
//! | effects (feature `aws`; the decoding in [`source`] and [`request`] needs only `arrow`) | |
//! |---|---|
//! | [`port`], [`aws`], [`world`], [`clock`] | traits over AWS, their clients, and the environment with all of them |
//! | [`source`], [`mod@parquet`] | rows → batches → objects |
//! | [`engine`] | Athena and Glue as engines, which write the objects themselves |
//! | [`publish`], [`sweep`] | making a generation live, and deleting unreachable generations |
//! | [`request`], [`lambda`], [`metric`] | events and responses, and the shared code of the `main.rs` files |

pub mod audit;
pub mod config;
pub mod error;
pub mod group;
pub mod history;
pub mod manifest;
pub mod merge;
pub mod name;
pub mod partition;
pub mod plan;
pub mod record;
pub mod schema;
pub mod sweep;

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "aws")]
pub mod clock;
#[cfg(feature = "aws")]
pub mod engine;
#[cfg(feature = "aws")]
pub mod lambda;
#[cfg(feature = "aws")]
pub mod metric;
#[cfg(feature = "aws")]
pub mod parquet;
#[cfg(feature = "aws")]
pub mod port;
#[cfg(feature = "aws")]
pub mod publish;
#[cfg(feature = "arrow")]
pub mod request;
#[cfg(feature = "arrow")]
pub mod source;
#[cfg(feature = "aws")]
pub mod world;
