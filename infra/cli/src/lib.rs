//! The commands of the program `turntable`.
//!
//! | module | purpose |
//! |---|---|
//! | [`command`] | defines the command line and runs its commands; each is: parse → one call of a stack → one renderer |
//! | [`target`], [`place`], [`trouble`], [`watch`] | find the stack and invoke its functions; say why that failed; ask again and again |
//! | [`done`], [`style`], [`prompt`] | exit codes and printing; colours; the question before a change |
//! | [`status`], [`history`], [`dataset`] | show the state of all datasets, or of one |
//! | [`diff`] | compares two generations |
//! | [`console`] | serves a web page for operators on this machine |
//! | [`export`], [`change`], [`sweep`], [`ask`] | send requests: build, flip, roll back, hold, release, delete |
//! | [`query`] | runs a statement in Athena |
//! | [`check`], [`glue_table`], [`adoption`] | report the errors in a datasets.toml and show the tables that it defines |
//! | [`graph`] | shows when each dataset is refreshed, and what is built from what |
//! | [`new_dataset`] | writes dataset entries for tables in a database |
//! | [`doctor`] | checks a deployed stack and its account |
//! | `emulated` | runs the product on this machine; only with the feature `emulator` |
//! | [`generate`] | prints completion scripts and the manual |
//! | `source_context` | opens sources on this machine |

#![allow(
    clippy::disallowed_methods,
    reason = "commands read the clock and the environment; only the pure half must not"
)]

pub mod adoption;
pub mod ask;
pub mod change;
pub mod check;
pub mod command;
pub mod console;
pub mod dataset;
pub mod diff;
pub mod doctor;
pub mod done;
#[cfg(feature = "emulator")]
pub mod emulated;
pub mod export;
pub mod generate;
pub mod glue_table;
pub mod graph;
pub mod history;
pub mod new_dataset;
pub mod place;
pub mod prompt;
pub mod query;
pub mod source_context;
pub mod status;
pub mod style;
pub mod sweep;
pub mod target;
pub mod trouble;
pub mod watch;

pub use client::{athena, aws, caller, datasets, lambda, laptop, outputs, signed, table, workspace};
