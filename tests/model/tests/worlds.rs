//! Small worlds, each searched in every order of its steps. docs/testing.md has their numbers of states, which
//! `just model` prints.
//!
//! The two largest worlds, with about half a million states each, run only with `TURNTABLE_MODEL_WORLDS=all`, which
//! `just model` and `.ci/run` set.

use std::time::Instant;

use model::{Budget, Turntable};
use stateright::{Checker, Model};
use turntable_core::config::Retain;

/// Returns whether to search the largest worlds too. If not, prints that the world `name` is skipped.
fn all_worlds(name: &str) -> bool {
    let all = std::env::var("TURNTABLE_MODEL_WORLDS").is_ok_and(|worlds| worlds == "all");
    if !all {
        println!("SKIPPED {name}: set TURNTABLE_MODEL_WORLDS=all to search it");
    }
    all
}

/// Checks that every promise holds in every state, and that everything that must occur in this world does occur.
fn holds(name: &str, env: Turntable) {
    let started = Instant::now();
    let checker = env.checker().threads(2).spawn_bfs().join();
    println!(
        "{name}: {} states, {} transitions, {} deep, {:.0} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f64()
    );
    checker.assert_properties();
}

/// Concurrent and duplicate deliveries, lost replies, flips that die before their record.
#[test]
fn publishing() {
    let budget = Budget { exports: 2, events: 3, faults: 1, crashes: 1, ..Budget::default() };
    holds("publishing", Turntable { budget, ..Turntable::default() });
}

/// The first flip creates the table.
#[test]
fn creating() {
    let budget = Budget { exports: 2, events: 3, faults: 1, crashes: 1, ..Budget::default() };
    holds("creating", Turntable { budget, turned: 0, ..Turntable::default() });
}

#[test]
fn rolling_back() {
    let budget = Budget { exports: 1, bad: 1, events: 2, rollbacks: 1, faults: 1, ..Budget::default() };
    holds("rolling back", Turntable { budget, ..Turntable::default() });
}

#[test]
fn holding() {
    if !all_worlds("holding") {
        return;
    }
    let budget = Budget { exports: 1, events: 2, by_hand: 1, rollbacks: 1, holds: 2, ..Budget::default() };
    holds("holding", Turntable { budget, ..Turntable::default() });
}

#[test]
fn merging() {
    let budget = Budget { drops: 3, merges: 2, events: 1, crashes: 1, faults: 1, ..Budget::default() };
    holds("merging", Turntable { budget, turned: 1, merged: true, ..Turntable::default() });
}

/// A full build of the dataset runs in between.
#[test]
fn merging_over_a_build() {
    let budget = Budget { drops: 1, merges: 2, exports: 1, events: 1, ..Budget::default() };
    holds("merging over a build", Turntable { budget, turned: 2, ..Turntable::default() });
}

#[test]
fn sweeping() {
    if !all_worlds("sweeping") {
        return;
    }
    let budget = Budget { exports: 1, events: 1, sweeps: 2, readers: 1, ticks: 2, crashes: 1, ..Budget::default() };
    holds("sweeping", Turntable { budget, files: 2, ..Turntable::default() });
}

/// Flip, sweep, reader and operator run at the same time.
#[test]
fn everything() {
    let budget = Budget { exports: 1, events: 1, rollbacks: 1, sweeps: 1, readers: 1, ticks: 1, ..Budget::default() };
    holds("everything", Turntable { budget, ..Turntable::default() });
}

/// Queries have any length, and sweep asks Athena about them.
#[test]
fn reading_for_long() {
    let budget = Budget { exports: 1, events: 1, sweeps: 1, readers: 1, ticks: 3, ..Budget::default() };
    holds("reading for long", Turntable { budget, athena_asked: true, ..Turntable::default() });
}

/// Sweep keeps one generation for a rollback.
#[test]
fn keeping() {
    let budget = Budget { exports: 1, events: 1, rollbacks: 1, sweeps: 1, ticks: 1, ..Budget::default() };
    let start = Turntable::default();
    let retain = Retain { generations: 1, ..start.retain };
    holds("keeping", Turntable { budget, retain, ..start });
}

/// The table drifts once.
#[test]
fn drifting() {
    let budget = Budget { exports: 1, events: 1, sweeps: 1, readers: 1, ticks: 2, foreign: 1, ..Budget::default() };
    holds("drift", Turntable { budget, ..Turntable::default() });
}
