//! The integration tests, in one program. Each module is a family: `cargo test --workspace --test it chain::` runs one
//! family.
//!
//! All families share this process, so a test must not change the environment, the current directory or the panic hook.
//! Servers that several tests share are statics.

mod adoption;
mod architecture;
mod authorities;
mod broken_entry;
mod chain;
mod checks;
mod command_line;
mod condition_ids;
mod conditions;
mod contract;
mod crash;
mod differential;
mod drift;
mod engines;
mod events;
mod export;
mod files;
mod group;
mod identity;
mod interrupted;
mod laptop;
mod mysql;
mod operators;
mod optout;
mod overview;
mod pages;
mod partitions;
mod passthrough;
mod postgres;
mod protocol;
mod readme;
mod reference;
mod refresh;
mod relocate;
mod rename;
mod retire;
mod samples;
mod sdk;
mod sweep;
mod verify;
mod wire;
