//! The operators' commands: `check`, `doctor`, `new-dataset`, `status` and `query`.
//!
//! | module | purpose |
//! |---|---|
//! | [`command`] | defines the command line: flags, printing, exit codes |
//! | [`check`], [`glue_table`] | report the errors in a datasets.toml and show the tables that it defines |
//! | [`graph`] | shows when each dataset is refreshed, and what is built from what |
//! | [`doctor`] | checks a deployed stack and its account |
//! | [`adoption`] | shows what the first flip does with a table that exists already |
//! | [`new_dataset`] | writes dataset entries for tables in a database |
//! | [`status`] | shows the state of all datasets in a stack |
//! | [`query`] | runs a statement on the emulator's Athena |
//! | [`datasets`] | reads a datasets.toml and replaces its `${NAME}` placeholders |
//! | [`laptop`], [`place`] | find the emulator that `up` runs, and the account that a stack is in |
//! | [`aws`], [`athena`], [`lambda`], [`signed`] | reach AWS, run queries, invoke functions, sign requests |
//! | `source_context` | opens sources on this machine |
//! | [`table`] | prints text tables |
//! | [`workspace`] | finds the repository's root and Cargo's target folder |
//!
//! This crate doesn't depend on the emulator's runner, `infra/local`, because the runner depends on this crate.

#![allow(
    clippy::disallowed_methods,
    reason = "commands read the clock and the environment; only the pure half must not"
)]

pub mod adoption;
pub mod athena;
pub mod aws;
pub mod check;
pub mod command;
pub mod datasets;
pub mod doctor;
pub mod glue_table;
pub mod graph;
pub mod lambda;
pub mod laptop;
pub mod new_dataset;
pub mod place;
pub mod query;
pub mod signed;
pub mod source_context;
pub mod status;
pub mod table;
pub mod workspace;

pub use command::Command;
