//! Fuzzes the parsers of records: no input causes a panic, a parsed record is unchanged after it is written and parsed
//! again, and no decision that is based on a group's record panics.
//!
//! An input holds a byte for the kind of the record, and its JSON.

#![no_main]

use std::fmt::Debug;

use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};
use turntable_core::{
    group::{self, Memory},
    layout::{Key, Location},
    optout::{published::Published, returning::Returning},
    record::{Failed, Flip, Hold, Pending, RevertIntent, Sweeping, Verdict, from_json, to_json},
};

fn written_and_read<T: DeserializeOwned + Serialize + PartialEq + Debug>(at: &Key, json: &[u8]) -> Option<T> {
    let record: T = from_json(at, json).ok()?;
    let again: T = from_json(at, to_json(&record).as_ref()).expect("a written record is valid");
    assert_eq!(again, record);
    Some(record)
}

fuzz_target!(|input: &[u8]| {
    let (kind, json) = input.split_at(input.len().min(1));
    let at: Key = "s3://b/t/_flips/record.json".parse().expect("a valid key");
    let now = Timestamp::from_second(1_800_000_000).expect("a valid time");
    match kind.first().map_or(0, |byte| byte % 9) {
        0 => drop(written_and_read::<Flip>(&at, json)),
        1 => drop(written_and_read::<Pending>(&at, json)),
        2 => drop(written_and_read::<Hold>(&at, json)),
        3 => drop(written_and_read::<RevertIntent>(&at, json)),
        4 => drop(written_and_read::<Sweeping>(&at, json)),
        5 => drop(written_and_read::<Verdict>(&at, json)),
        6 => drop((written_and_read::<Failed>(&at, json), written_and_read::<Returning>(&at, json))),
        7 => drop(written_and_read::<Published>(&at, json)),
        _ => {
            let Some(record) = written_and_read::<group::Record>(&at, json) else { return };
            let memory = Memory { sets: 2, drain: SignedDuration::from_hours(1) };
            let elsewhere: Location = "s3://b/elsewhere/".parse().expect("a valid location");
            if let Some(flipping) = &record.flipping {
                for name in flipping.to.tables.keys().chain(flipping.from.keys()) {
                    flipping.step(name, Some(&elsewhere));
                    flipping.step(name, None);
                    flipping.moves(name);
                }
            }
            record.flipped(now, memory);
            record.turned("x".into()).gone_back(now, &[]);
            record.unfinished();
        }
    }
});
