//! The same product on a laptop: template.yaml, the compiled functions, EventBridge, queues and S3 events, on an
//! emulator of AWS and an Athena of our own. See [`run`] for the story that `cargo run -p local` tells.
//!
//! | module | |
//! |---|---|
//! | [`tools`] | what has to be there first: [`venv`] and the functions of this [`workspace`] |
//! | [`emulator`] | MiniStack and the Athena endpoint, as [`guard`]ed child processes; reached by [`aws`] |
//! | [`deploy`] | [`template`] → CloudFormation → [`stack`] |
//! | [`datasets`], [`sample`] | what is exported |
//! | [`engines`] | what datasets that Athena or Glue build need besides |
//! | [`day`] | the schedule fires and every dataset goes live |
//! | [`operator`] | a day that goes wrong, and the way back |
//! | [`optouts`] | somebody opts out, and is gone from the extraction |
//! | [`reader`] | what a user of the table sees meanwhile |
//! | [`report`] | what came of it |
//! | [`check`], [`glue_table`] | what is wrong with a datasets.toml, and the tables that it makes |
//! | [`new_dataset`] | the entry for a table of a database |
//! | [`status`] | how all datasets of a stack are |
//! | [`query`] | what is in their tables |

#![allow(clippy::disallowed_methods, reason = "the runner has a clock and an environment; the pure half has not")]

pub mod aws;
pub mod check;
pub mod datasets;
pub mod day;
pub mod deploy;
pub mod emulator;
pub mod engines;
pub mod glue_table;
pub mod guard;
pub mod new_dataset;
pub mod operator;
pub mod optouts;
pub mod progress;
pub mod query;
pub mod reader;
pub mod report;
pub mod run;
pub mod sample;
pub mod stack;
pub mod status;
pub mod table;
pub mod template;
pub mod tools;
pub mod up;
pub mod venv;
pub mod workspace;

pub use deploy::Deployment;
pub use emulator::{Emulator, REGION};
pub use stack::{FunctionError, Stack};
pub use tools::Tools;
