//! The possible drops, and the table that results from them. The real [`RecordColumns`] decides which record counts.

use turntable_core::{
    consent::{ConsentRecord, ConsentState as ParsedDrop, record_columns::RecordColumns},
    manifest::InboxObject,
};

use crate::state::{Merge, Set, has};

/// How many people there are.
pub const PEOPLE: usize = 2;

/// The drops, each with one consent record: the person, `occurred_at`, and the state. Person 0 opts out, then in, then
/// withdraws for good.
const DROPS: [(u8, i64, ParsedDrop); 4] = [
    (0, 1, ParsedDrop::OptedOut),
    (1, 1, ParsedDrop::Withdrawn),
    (0, 2, ParsedDrop::OptedIn),
    (0, 3, ParsedDrop::Withdrawn),
];

pub fn drop(number: usize) -> InboxObject {
    InboxObject { key: format!("{number}.csv"), etag: "e".into() }
}

/// Returns the drops in a set as an inbox lists them, each with its number.
pub fn listed(drops: Set) -> Vec<(InboxObject, usize)> {
    (0..DROPS.len()).filter(|number| has(drops, *number)).map(|number| (drop(number), number)).collect()
}

fn word(number: u8) -> (u8, ConsentRecord) {
    let (person, occurred_at, state) = DROPS[usize::from(number)];
    (person, ConsentRecord { occurred_at, state })
}

fn run(drops: impl IntoIterator<Item = u8>) -> RecordColumns {
    let mut run = RecordColumns::new(Some(1));
    for (person, word) in drops.into_iter().map(word) {
        run.push(&[person], word);
    }
    run.sorted()
}

/// Returns the table after the drops in `read` have been merged into `base`: for each person, the drop with the
/// effective consent record.
pub fn merged(base: Option<&Merge>, read: Set) -> [Option<u8>; PEOPLE] {
    let base = run(base.iter().flat_map(|base| base.words).flatten());
    let (table, _) = base.merged(&run(listed(read).into_iter().map(|(_, number)| number as u8)));
    let mut words = [None; PEOPLE];
    for (key, said) in table.records() {
        words[usize::from(key[0])] = (0..DROPS.len() as u8).find(|number| word(*number) == (key[0], said));
    }
    words
}

/// Returns whether a table has these drops' records, or later ones for the same people.
pub fn knows(table: Option<&Merge>, drops: impl IntoIterator<Item = u8>) -> bool {
    drops.into_iter().all(|number| {
        let (person, said) = word(number);
        let found = table.and_then(|table| table.words[usize::from(person)]);
        found.is_some_and(|found| word(found).1 >= said)
    })
}
