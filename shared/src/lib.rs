//! What the functions share: the decisions, and the ports that they are carried out through.
//!
//! `export` opens a [`source`], writes its rows as [`mod@parquet`] files to a new location and puts their [`manifest`]
//! beside it. `flip` takes one look at the table, decides ([`plan`]), audits the candidate ([`audit`]) and moves the Glue
//! table there with one call ([`publish`]). [`sweep`] deletes what nobody can reach any more.
//!
//! | pure: state in, decision out | |
//! |---|---|
//! | [`name`] | colours, generations and paths: the only place that formats and parses them |
//! | [`config`] | `datasets.toml`: raw → checked, all faults at once |
//! | [`partition`] | columns that became folders, and how Athena finds them |
//! | [`manifest`], [`record`] | what a generation holds; what stays of flips and holds |
//! | [`schema`], [`audit`], [`plan`] | types and their changes; checks → verdict; what goes live |
//! | [`history`] | what the flip records tell, and what must come on record |
//! | [`group`] | what flips together, and who finishes it |
//!
//! | the world (feature `aws`; `arrow` for what of [`source`] and [`request`] only decodes) | |
//! |---|---|
//! | [`port`], [`aws`], [`world`], [`clock`] | what is asked of AWS, the clients, and all of it in one place |
//! | [`source`], [`mod@parquet`] | rows → batches → objects |
//! | [`engine`] | Athena and Glue, which write the objects themselves |
//! | [`publish`], [`sweep`] | making a generation live, and deleting what is over |
//! | [`request`], [`lambda`], [`metric`] | events, answers, and what the `main.rs` have in common |

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
