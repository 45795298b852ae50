//! Reaches a stack: finds it on this machine or in AWS, signs requests, invokes functions, and runs queries.
//!
//! | module | purpose |
//! |---|---|
//! | [`laptop`] | finds the local stacks that `up` runs |
//! | [`aws`], [`signed`], [`query_api`] | configure the SDKs, sign requests, call the services whose API is a form and XML |
//! | [`lambda`], [`outputs`], [`caller`] | invoke functions, read a stack's outputs, name the caller |
//! | [`athena`] | runs queries and reads their results |
//! | [`datasets`] | reads a datasets.toml and replaces its `${NAME}` placeholders |
//! | [`table`] | prints text tables |
//! | [`workspace`] | finds the repository's root and Cargo's target folder |
//!
//! The commands (`infra/cli`) and the emulator's runner (`infra/local`) both use this crate.

#![allow(
    clippy::disallowed_methods,
    reason = "a client reads the clock and the environment; only the pure half must not"
)]

pub mod athena;
pub mod aws;
pub mod caller;
pub mod datasets;
pub mod lambda;
pub mod laptop;
pub mod outputs;
pub mod query_api;
pub mod signed;
pub mod table;
pub mod workspace;
