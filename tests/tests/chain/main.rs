//! The real chain: template.yaml, the compiled functions, EventBridge, queues and S3 events on the emulator, and the
//! Athena endpoint. One emulator for all; each test has an account of its own.

mod adoption;
mod bad_input;
mod bad_source;
mod bad_table;
mod chain;
mod checks;
mod compare;
mod copied;
mod days;
mod drain;
mod emulator;
mod engines;
mod groups;
mod hostile;
mod leftovers;
mod many;
mod metrics;
mod mysql;
mod never_back;
mod operator;
mod optout;
mod optout_burst;
mod optout_sources;
mod pages;
mod pagila;
mod partitions;
mod poison;
mod postgres;
mod quiet;
mod races;
mod rejected;
mod sql;
mod sqs;
mod time;
mod week;
