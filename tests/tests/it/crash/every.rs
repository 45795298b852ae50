//! Disturbs each scenario once, at each of its calls, in every possible way; then runs it again.

use tests::{
    rig::Rig,
    wire::{Call, Fate, Op},
};
use turntable::consent::ConsentState;

use super::{
    concurrent::Ended,
    event::Event,
    play::Play,
    rest,
    scenario::{ALL, Scenario, is_inbox},
    watch::Met,
};

/// Returns the fates that make a difference for this call.
pub fn fates(call: &Call) -> &'static [Fate] {
    use Fate::{Fails, Half, LastOfAll, LosesReply, NeverLeaves, Twice};
    match call.op {
        Op::Delete => &[NeverLeaves, LastOfAll, Fails, LosesReply, Twice, Half],
        op if op.is_effect() => &[NeverLeaves, LastOfAll, Fails, LosesReply, Twice],
        _ => &[NeverLeaves, Fails],
    }
}

pub fn prepared(scenario: &Scenario) -> (Rig, Event) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on((scenario.prepare)())
}

/// Runs an event on a lake with one fault, then runs everything that is redelivered.
fn disturbed(rig: &Rig, event: &Event, fault: Option<(usize, Fate)>) -> Result<(Play, Vec<Call>), String> {
    rest::run(async |rest| {
        let mut play = Play::new(rig.fork(), rest);
        let drifted = play.watch.has_drifted();
        let ended = play.alone(event.clone(), fault).await?;
        let calls = play.seen.clone();
        if let (None, Ended::ParsedDrop(_, said, false)) = (fault, &ended) {
            eprintln!("    undisturbed it ends in {said}");
        }
        play.settle(vec![ended]).await?;
        // Nothing writes the missing record of a repair that died, because the live generation has an older record.
        let died = fault.is_some_and(|(_, fate)| !matches!(fate, Fate::LosesReply | Fate::Twice));
        if !(died && drifted) {
            play.watch.one_record_a_flip()?;
        }
        Ok((play, calls))
    })
}

#[test]
fn a_scenario_with_a_fault_at_any_call_ends_like_one_without() {
    let (mut all, mut met) = (0, Met::default());
    let mut broken = Vec::new();
    for scenario in ALL {
        let (rig, event) = prepared(scenario);
        let (clean, calls) =
            disturbed(&rig, &event, None).unwrap_or_else(|broken| panic!("{}: {broken}", scenario.name));
        let mut schedules = 1;
        let effects = calls.iter().filter(|call| call.op.is_effect()).count();
        for (at, call) in calls.iter().enumerate() {
            for fate in fates(call) {
                schedules += 1;
                let which = || format!("{}: {fate:?} at call {at}, {call}", scenario.name);
                match disturbed(&rig, &event, Some((at, *fate))) {
                    Err(fault) => broken.push(format!("{}: {fault}", which())),
                    Ok((play, _)) if play.table() != clean.table() => {
                        broken.push(format!(
                            "{}: ends with {:?} instead of {:?}",
                            which(),
                            play.table(),
                            clean.table()
                        ));
                    }
                    Ok((play, _)) => met.add(play.watch.met),
                }
            }
        }
        eprintln!("| {} | {} | {effects} | {schedules} |", scenario.name, calls.len());
        all += schedules;
    }
    eprintln!("{all} schedules: {met:?}");
    assert!(broken.is_empty(), "{} of {all}:\n{}", broken.len(), broken.join("\n"));
    assert!(
        met.died > 100 && met.flips > 100 && met.rollbacks > 10 && met.archived > 10,
        "these schedules meet too little: {met:?}"
    );
}

/// The last check of every simulated schedule compares the table with the records in all drops, so this test needs no
/// assertion of its own.
#[test]
fn a_drop_that_arrives_before_any_call_is_in_the_table_in_the_end() {
    let (mut all, mut broken) = (0, Vec::new());
    for scenario in ALL {
        let (rig, event) = prepared(scenario);
        if !is_inbox(&rig) {
            continue;
        }
        let (_, calls) = disturbed(&rig, &event, None).unwrap_or_else(|broken| panic!("{}: {broken}", scenario.name));
        for (at, call) in calls.iter().enumerate() {
            all += 1;
            let played = rest::run(async |rest| {
                let mut play = Play::new(rig.fork(), rest);
                play.arriving.push_back((at, vec![(7, ConsentState::Withdrawn, 9), (1, ConsentState::OptedOut, 9)]));
                let ended = play.alone(event.clone(), None).await?;
                play.settle(vec![ended]).await
            });
            if let Err(fault) = played {
                broken.push(format!("{}: before call {at}, {call}: {fault}", scenario.name));
            }
        }
    }
    assert!(broken.is_empty(), "{} of {all}:\n{}", broken.len(), broken.join("\n"));
    assert!(all > 60, "{all} schedules");
}
