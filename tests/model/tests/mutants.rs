//! Mutants: each has one bug in the protocol, and the search must find the promise that the bug breaks.

use model::{Budget, Mutant, Turntable, properties::*};
use stateright::{Checker, DiscoveryClassification, HasDiscoveries, Model};
use turntable_core::config::Retain;

/// Searches a world until a promise is broken. Returns the promise, and the number of steps in the shortest way to
/// break it.
fn breaks(env: Turntable) -> (&'static str, usize) {
    let checker = env.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let broken = checker.discoveries().into_iter().find(|(name, _)| is_broken(checker.discovery_classification(name)));
    let (name, path) = broken.expect("a mutant lives");
    let actions = path.into_actions();
    println!("{name}: {} steps: {actions:?}", actions.len());
    (name, actions.len())
}

fn is_broken(found: DiscoveryClassification) -> bool {
    matches!(found, DiscoveryClassification::Counterexample)
}

fn env(mutant: Mutant, budget: Budget) -> Turntable {
    Turntable { mutant: Some(mutant), budget, ..Turntable::default() }
}

#[test]
fn the_version_is_not_checked() {
    let budget = Budget { exports: 2, events: 2, ..Budget::default() };
    assert_eq!(breaks(env(Mutant::VersionUnchecked, budget)).0, FRESHER);
}

#[test]
fn drain_is_nothing() {
    let budget = Budget { exports: 1, events: 1, sweeps: 1, readers: 1, ..Budget::default() };
    let start = Turntable::default();
    let retain = Retain { drain: jiff::SignedDuration::ZERO, ..start.retain };
    assert_eq!(breaks(Turntable { budget, retain, ..start }).0, READERS);
}

#[test]
fn the_manifest_comes_before_the_data() {
    let budget = Budget { exports: 1, ..Budget::default() };
    assert_eq!(breaks(env(Mutant::ManifestFirst, budget)).0, MANIFEST);
}

#[test]
fn drops_are_consumed_before_the_flip() {
    let budget = Budget { drops: 1, merges: 2, crashes: 1, ..Budget::default() };
    let env = env(Mutant::ConsumedBeforeFlip, budget);
    assert_eq!(breaks(Turntable { turned: 1, merged: true, ..env }).0, LOST);
}

#[test]
fn a_conflict_deletes() {
    let budget = Budget { exports: 1, events: 2, faults: 1, ..Budget::default() };
    assert_eq!(breaks(env(Mutant::DeleteOnConflict, budget)).0, LIVE);
}

#[test]
fn retention_counts_from_creation() {
    let budget = Budget { exports: 1, events: 1, sweeps: 1, readers: 1, ticks: 1, ..Budget::default() };
    assert_eq!(breaks(env(Mutant::RetentionFromCreation, budget)).0, READERS);
}

#[test]
fn a_merge_flips_whatever_is_live() {
    let budget = Budget { drops: 2, merges: 2, ..Budget::default() };
    let env = env(Mutant::MergeWithoutBase, budget);
    assert_eq!(breaks(Turntable { turned: 1, merged: true, ..env }).0, LOST);
}

#[test]
fn a_hold_is_not_read() {
    let budget = Budget { exports: 1, events: 1, holds: 1, ..Budget::default() };
    assert_eq!(breaks(env(Mutant::HoldNotRead, budget)).0, HELD);
}

#[test]
fn a_hold_is_not_fenced() {
    let budget = Budget { exports: 1, events: 1, holds: 1, ..Budget::default() };
    assert_eq!(breaks(env(Mutant::HoldUnfenced, budget)).0, HELD);
}

#[test]
fn a_rollback_is_not_fenced() {
    let budget = Budget { exports: 1, events: 1, rollbacks: 1, ..Budget::default() };
    let env = Turntable { budget, fenced_rollback: false, ..Turntable::default() };
    assert_eq!(breaks(env).0, UNDONE);
}

#[test]
fn nothing_puts_on_record_the_flip_that_died() {
    let budget = Budget { exports: 1, events: 2, rollbacks: 1, crashes: 1, ..Budget::default() };
    assert_eq!(breaks(env(Mutant::NothingRecovered, budget)).0, CAME_BACK);
}

#[test]
fn a_sweep_is_not_fenced() {
    let budget = Budget { rollbacks: 1, sweeps: 1, ticks: 1, readers: 1, ..Budget::default() };
    assert_eq!(breaks(env(Mutant::SweepUnfenced, budget)).0, LIVE);
}

#[test]
fn a_sweep_does_not_mark() {
    let budget = Budget { rollbacks: 1, sweeps: 1, ticks: 1, ..Budget::default() };
    let env = env(Mutant::SweepUnmarked, budget);
    assert_eq!(breaks(Turntable { files: 2, ..env }).0, LIVE);
}
