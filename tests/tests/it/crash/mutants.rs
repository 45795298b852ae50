//! Checks that the harness finds bugs: each mutant has one bug, which breaks a promise. docs/testing.md also lists
//! the mutants that need a change of the code.

use tests::{
    rig::Rig,
    wire::{Call, Op},
};

use super::random::{Lakes, Mutant};

const NOTHING: fn(&Rig, &Call) -> bool = |_, _| false;

/// Plays seeds until the mutant breaks `promise`. Panics if none of the first 4,000 does that.
fn breaks(mutant: &Mutant, promise: &str) {
    const SEEDS: u64 = 4000;
    let lakes = Lakes::new();
    for seed in 0..SEEDS {
        let Some(broken) = lakes.play(seed, mutant, false).broken else { continue };
        if broken.contains(promise) {
            eprintln!("{seed} schedules until: {broken}");
            return;
        }
    }
    panic!("{SEEDS} schedules, and {promise:?} is not broken");
}

#[test]
fn a_fence_that_changes_nothing() {
    /// Returns whether a call is an `UpdateTable` that leaves the location unchanged.
    fn fence(rig: &Rig, call: &Call) -> bool {
        let table = rig.catalog.get(&rig.table);
        let at = table.as_ref().and_then(|table| table.storage_descriptor()?.location()).unwrap_or("none");
        call.op == Op::Update && call.on.ends_with(&format!(" to {at}"))
    }
    breaks(&Mutant { leaves_out: fence, ..Mutant::default() }, "after a hold had returned");
}

#[test]
fn a_hold_that_is_not_read() {
    let leaves_out = |_: &Rig, call: &Call| call.op == Op::Get && call.on.ends_with("/_hold.json");
    breaks(&Mutant { leaves_out, ..Mutant::default() }, "after a hold had returned");
}

#[test]
fn a_way_back_that_is_not_announced() {
    let leaves_out = |_: &Rig, call: &Call| call.op == Op::PutNew && call.on.contains("/_returns/");
    breaks(&Mutant { leaves_out, ..Mutant::default() }, "took something of ours for drift");
}

#[test]
fn a_drop_that_is_deleted_without_a_copy() {
    let leaves_out = |_: &Rig, call: &Call| call.op == Op::Copy && call.on.contains("/_archive/");
    breaks(&Mutant { leaves_out, ..Mutant::default() }, "a drop is lost");
}

#[test]
fn an_update_without_a_version() {
    let lake = |rig: &Rig| rig.catalog.takes_any_version();
    breaks(&Mutant { lake, leaves_out: NOTHING }, "was merged from");
}

#[test]
fn a_sweep_without_drain() {
    let lake = |rig: &Rig| {
        let text = rig.objects.body("s3://lake/datasets.toml").unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        rig.objects.put("s3://lake/datasets.toml", text.replace("drain = \"1h\"", "drain = \"0s\""));
    };
    breaks(&Mutant { lake, leaves_out: NOTHING }, "is live, kept or draining");
}

#[test]
fn a_run_that_is_started_without_a_record() {
    let leaves_out = |_: &Rig, call: &Call| call.op == Op::PutNew && call.on.contains("/_pending/");
    breaks(&Mutant { leaves_out, ..Mutant::default() }, "is not settled once");
}

#[test]
fn a_record_that_is_left_out() {
    let leaves_out = |_: &Rig, call: &Call| call.op == Op::PutNew && call.on.contains("/_flips/");
    breaks(&Mutant { leaves_out, ..Mutant::default() }, "is on no record");
}
