//! The runner: deploys template.yaml with the compiled functions into an emulator of AWS on this machine, with
//! EventBridge, queues, S3 events and an Athena on DuckDB. [`run`] is the run that `cargo run -p local` shows. The
//! operators' commands are in the crate `cli`.
//!
//! | module | purpose |
//! |---|---|
//! | [`tools`] | prepares the Python environment ([`venv`]) and the functions' binaries ([`build`]) |
//! | [`emulator`] | runs MiniStack and the Athena endpoint as [`guard`]ed child processes |
//! | [`boto`] | calls CloudFormation, CloudWatch Logs, Scheduler and Lambda without SDK crates |
//! | [`deploy`] | deploys the [`template`] with the settings of a [`deployment`]; the result is a [`stack`] |
//! | [`sample`] | the sample's data |
//! | [`engines`] | creates the resources of datasets that Athena or Glue build |
//! | [`day`] | fires the schedule and waits until every dataset is live |
//! | [`operator`] | a bad export, a rollback, and the flip back |
//! | [`optouts`] | a person opts out and disappears from the extraction |
//! | [`reader`] | queries the tables without a pause |
//! | [`outcome`], [`report`] | the results of a run |
//! | [`up`] | keeps a stack running |

#![allow(
    clippy::disallowed_methods,
    reason = "the runner reads the clock and the environment; only the pure half must not"
)]

pub mod boto;
pub mod build;
pub mod day;
pub mod deploy;
pub mod deployment;
pub mod emulator;
pub mod engines;
pub mod environment;
pub mod guard;
pub mod operator;
pub mod optouts;
pub mod outcome;
pub mod progress;
pub mod reader;
pub mod report;
pub mod run;
pub mod sample;
pub mod stack;
pub mod template;
pub mod tools;
pub mod up;
pub mod venv;

pub use cli::lambda::FunctionError;
pub use deployment::Deployment;
pub use emulator::Emulator;
pub use stack::Stack;
pub use tools::Tools;
