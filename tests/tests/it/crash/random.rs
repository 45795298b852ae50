//! Random schedules: two to four concurrent runs, in two rounds. Calls arrive one at a time; a seed decides which call
//! is next, and its fate.
//!
//! `TURNTABLE_CRASH_SCHEDULES` is the number of schedules (10,000; `.ci/run` runs 100,000), and `FIRST` is the first
//! seed (0). `SEED=7 cargo test --workspace --test it crash::random::one_seed -- --nocapture` shows every step of seed
//! 7.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use tests::{
    random::{Random, count, variable},
    rig::Rig,
    wire::{Call, Fate},
};
use turntable::{consent::ConsentState, error::Kind};

use super::{
    concurrent::Fault,
    event::Event,
    every::prepared,
    play::{Play, Record},
    rest,
    scenario::{ALL, has_engine, is_inbox},
    watch::Met,
};

/// The outcome of running one schedule.
pub struct Played {
    pub hash: u64,
    pub calls: usize,
    pub met: Met,
    pub told: Vec<String>,
    /// The promise that was broken, if any.
    pub broken: Option<String>,
}

/// One bug in the program or in the lake.
pub struct Mutant {
    pub leaves_out: fn(&Rig, &Call) -> bool,
    pub lake: fn(&Rig),
}

impl Default for Mutant {
    /// Returns a mutant without a bug.
    fn default() -> Self {
        Mutant { leaves_out: |_, _| false, lake: |_| {} }
    }
}

pub struct Lakes(Vec<(&'static str, Rig, Event)>);

impl Lakes {
    pub fn new() -> Lakes {
        Lakes(
            ALL.iter()
                .map(|scenario| (scenario.name, prepared(scenario)))
                .map(|(name, (rig, event))| (name, rig, event))
                .collect(),
        )
    }

    /// Plays the schedule of a seed. With `tell`, describes every step.
    pub fn play(&self, seed: u64, mutant: &Mutant, tell: bool) -> Played {
        let mut random = Random::new(seed);
        let (name, rig, event) = &self.0[random.below(self.0.len() as u64) as usize];
        rest::run(async |rest| {
            let rig = rig.fork();
            (mutant.lake)(&rig);
            let mut play = Play::new(rig, rest);
            play.leaves_out = mutant.leaves_out;
            play.told = tell.then(|| vec![format!("seed {seed}: {name}")]);
            let broken = rounds(&mut play, event, &mut random).await.err();
            let told = play.told.take().unwrap_or_default();
            Played { hash: play.hash(), calls: play.calls, met: play.watch.met, told, broken }
        })
    }
}

async fn rounds(play: &mut Play, event: &Event, random: &mut Random) -> Result<(), String> {
    let mut again = vec![event.clone()];
    for round in 0..2 {
        let mut events: Vec<(Event, Fault)> = Vec::new();
        let runs = (2 + random.below(3) as usize).max(again.len());
        for event in again.drain(..) {
            let fault = (round == 0).then(|| fault(random)).flatten();
            events.push((event, fault));
        }
        while events.len() < runs {
            let event = any(play, random);
            events.push((event, fault(random)));
        }
        if is_inbox(&play.rig) && random.below(2) == 0 {
            play.arriving.push_back((random.below(40) as usize, vec![record(random)]));
        }
        // Some schedules switch runs at every call, and some hardly ever.
        let stays = random.below(4);
        let mut last = None;
        let next = |waiting: &[(usize, Call)]| {
            let its: Vec<usize> = (0..waiting.len()).filter(|place| Some(waiting[*place].0) == last).collect();
            let stays = stays > 0 && random.below(1 << (2 * stays)) > 0;
            let place = its.first().copied().filter(|_| stays);
            let place = place.unwrap_or_else(|| random.below(waiting.len() as u64) as usize);
            last = Some(waiting[place].0);
            place
        };
        let ended = play.together(events, next).await?;
        again = ended.into_iter().filter_map(|ended| ended.again()).collect();
        meanwhile(play, random, round).await;
    }
    for event in again {
        play.alone(event, None).await?;
    }
    play.settle(Vec::new()).await
}

fn fault(random: &mut Random) -> Fault {
    const FATES: [Fate; 6] =
        [Fate::NeverLeaves, Fate::LastOfAll, Fate::Fails, Fate::LosesReply, Fate::Twice, Fate::Half];
    (random.below(2) == 0).then(|| (random.below(30) as usize, FATES[random.below(6) as usize]))
}

/// Returns a random event that concerns this table.
fn any(play: &Play, random: &mut Random) -> Event {
    let complete = play.watch.complete();
    let rig = &play.rig;
    let one = random.pick(&complete[complete.len().saturating_sub(4)..]);
    if is_inbox(rig) {
        return match (random.below(10), one) {
            (0, _) => Event::Schedule,
            (1, _) => Event::Changed,
            (2 | 3, _) => Event::Sweep,
            (4 | 5, Some(one)) => Event::Manifest(one),
            (6, _) if random.below(3) == 0 => Event::ask(rig, ["hold", "release"][random.below(2) as usize]),
            _ => Event::Drop,
        };
    }
    if has_engine(rig) && random.below(2) == 0 {
        let runs: Vec<usize> = (0..rig.engine.runs().len()).collect();
        return match (random.below(4), random.pick(&play.watch.pending()), random.pick(&runs)) {
            (1, Some(pending), _) => Event::Nudged(pending),
            (2 | 3, _, Some(run)) => Event::Ended(run),
            _ => Event::Export,
        };
    }
    match (random.below(12), one) {
        (0, _) => Event::Changed,
        (1 | 2, _) => Event::Sweep,
        (3..=6, Some(one)) => Event::Manifest(one),
        (7, Some(one)) => Event::back_to(rig, &one),
        (8, _) => Event::ask(rig, "rollback"),
        (9, Some(one)) => Event::by_hand(rig, &one),
        (10, _) => Event::ask(rig, ["hold", "release"][random.below(2) as usize]),
        _ => Event::Export,
    }
}

/// Returns a random record for a drop.
fn record(random: &mut Random) -> Record {
    (random.below(6) as i64, ConsentState::ALL[random.below(3) as usize], random.below(5) as i64)
}

/// Lets applications and engines act between two rounds.
async fn meanwhile(play: &mut Play, random: &mut Random, round: u64) {
    if is_inbox(&play.rig) {
        let records = [record(random), record(random)];
        play.watch.put(&format!("r{round}"), &records);
    } else if has_engine(&play.rig) {
        let runs = play.rig.engine.runs();
        for at in (0..runs.len()).filter(|at| runs[*at].ended().is_none()) {
            match random.below(4) {
                0 => {}
                1 => play.rig.engine.fail(at, Kind::Input, "SYNTAX_ERROR"),
                _ => play.rig.engine.succeed(at, 4 + random.below(3) as i64, &[""]).await,
            }
        }
    } else {
        play.rig.source(4 + random.below(3) as usize);
    }
}

/// Plays seeds on all cores. Returns what they met, how many calls there were, and a seed that broke a promise, with
/// the message.
fn play_all(seeds: std::ops::Range<u64>) -> (Met, u64, Option<(u64, String)>) {
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get());
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let (lakes, mut met, mut calls) = (Lakes::new(), Met::default(), 0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return (met, calls, None);
            }
            let played = lakes.play(seed, &Mutant::default(), false);
            met.add(played.met);
            calls += played.calls as u64;
            if let Some(broken) = played.broken {
                next.store(seeds.end, Ordering::Relaxed);
                return (met, calls, Some((seed, broken)));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let (mut met, mut calls, mut first) = (Met::default(), 0, None::<(u64, String)>);
        for thread in threads {
            let (its, arrived, broken) = thread.join().unwrap();
            met.add(its);
            calls += arrived;
            first = [first, broken].into_iter().flatten().min();
        }
        (met, calls, first)
    })
}

#[test]
fn random_schedules_break_no_promise() {
    let first = count("FIRST", 0);
    let schedules = count("TURNTABLE_CRASH_SCHEDULES", 10_000);
    let began = Instant::now();
    let (met, calls, broken) = play_all(first..first + schedules);
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("{schedules} schedules, {calls} calls, in {seconds:.0} s: {met:?}");
    if let Some((seed, broken)) = broken {
        panic!("SEED={seed}: {broken}");
    }
    let Met { flips, conflicts, deletions, archived, died, rollbacks, refused } = met;
    for times in [flips, conflicts, deletions, archived, died, rollbacks, refused] {
        assert!(times > schedules / 100, "these schedules meet too little: {met:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_schedule() {
    let (one, other) = (Lakes::new(), Lakes::new());
    let mut different = BTreeMap::new();
    for seed in 0..400 {
        let hash = one.play(seed, &Mutant::default(), false).hash;
        assert_eq!(hash, other.play(seed, &Mutant::default(), false).hash, "seed {seed}");
        different.insert(hash, seed);
    }
    assert!(different.len() > 390, "{} different schedules of 400", different.len());
}

#[test]
fn one_seed() {
    let Some(seed) = variable("SEED") else { return };
    let played = Lakes::new().play(seed, &Mutant::default(), true);
    played.told.iter().for_each(|step| eprintln!("{step}"));
    assert_eq!(played.broken, None, "SEED={seed}");
}
