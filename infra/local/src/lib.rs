//! Runs Turntable on a laptop: deploys template.yaml and the compiled functions into an AWS emulator that has
//! EventBridge, queues, S3 events and an Athena endpoint on DuckDB. The commands `demo`, `run` and `up` of the crate `cli`
//! call [`run`] and [`up`].
//!
//! | module | purpose |
//! |---|---|
//! | [`tools`] | prepares the Python environment ([`venv`]) and the functions' binaries ([`build`]) |
//! | [`emulator`] | runs MiniStack and the Athena endpoint as child processes under a [`guard`] |
//! | [`boto`] | calls CloudFormation, CloudWatch Logs, Scheduler and Lambda without SDK crates |
//! | [`deploy`] | deploys the [`template`] with the settings of a [`deployment`]; the result is a [`stack`] |
//! | [`sample`] | generates the sample's data |
//! | [`engines`] | creates the workgroups and Glue jobs that the datasets name |
//! | [`day`] | fires the schedule and waits until every dataset is live |
//! | [`operator`] | makes a bad export, rolls back, and flips forward again |
//! | [`optouts`] | opts a person out, and waits until no query on the protected view finds them |
//! | [`reader`] | queries the tables continuously during a run |
//! | [`outcome`], [`report`], [`verdict`] | the results of a run, and why datasets are not live |
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
pub mod refresh;
pub mod report;
pub mod run;
pub mod sample;
pub mod stack;
pub mod template;
pub mod tools;
pub mod up;
pub mod venv;
pub mod verdict;

pub use client::lambda::FunctionError;
pub use deployment::Deployment;
pub use emulator::Emulator;
pub use stack::Stack;
pub use tools::Tools;
