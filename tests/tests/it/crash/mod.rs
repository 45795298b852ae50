//! Crashes at every call: the functions run on in-memory ports, are stopped or disturbed at every call, and run
//! concurrently in any order. ARCHITECTURE.md's invariants are checked after every effect. docs/testing.md has the
//! results.

mod concurrent;
mod drops;
mod edits;
mod event;
mod every;
mod gate;
mod group;
mod mutants;
mod play;
mod random;
mod readers;
mod refresh;
mod rest;
mod scenario;
mod watch;
