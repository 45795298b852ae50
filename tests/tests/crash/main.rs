//! Every crash: the functions themselves, on ports in memory, stopped at every call, disturbed at every call, and at the
//! same time in any order; and DESIGN.md's invariants after every effect. docs/reliability.md has the tables.

mod drops;
#[path = "../engines/support.rs"]
#[allow(dead_code, reason = "the tests of engines use the rest")]
mod engines;
mod event;
mod every;
mod gate;
mod group;
#[path = "../group/lake.rs"]
#[allow(dead_code, reason = "the tests of groups use the rest")]
mod lake;
mod mutants;
mod play;
mod random;
mod rest;
#[path = "../optout/rows.rs"]
mod rows;
mod scenario;
mod watch;
#[path = "../sweep/wire.rs"]
#[allow(dead_code, reason = "the tests of sweep use the rest")]
mod wire;
