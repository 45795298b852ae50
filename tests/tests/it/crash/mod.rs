//! Every crash: the functions themselves, on ports in memory, stopped at every call, disturbed at every call, and at the
//! same time in any order; and DESIGN.md's invariants after every effect. docs/reliability.md has the tables.

mod drops;
mod event;
mod every;
mod gate;
mod group;
mod mutants;
mod play;
mod random;
mod rest;
mod scenario;
mod watch;
