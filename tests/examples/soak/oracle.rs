//! The readers' questions, and the check that an answer comes from exactly one generation of each table.
//!
//! On day `d`, the users have the ids from 1 to [`rows`]`(d)`, and each row names its day. People opt out in order of
//! their ids. So the opt-outs are the ids from 1 to some `k`, and the extraction lacks exactly those.

use std::collections::HashSet;

/// One row of an answer.
pub type Row = Vec<Option<String>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Counts the rows of the exported table.
    Users,
    /// Counts the rows of the view for extractions, which is the table without opted-out people.
    Extraction,
    /// Counts the opt-outs.
    OptOuts,
    /// Reads every row of the exported table.
    Full,
}

pub enum Seen {
    Whole,
    /// The answer matches no single generation.
    Mixed(String),
    /// The answer contains a person whose opt-out was acknowledged before the query started.
    CameBack(String),
}

/// Returns how many users a day has. Consecutive days have different numbers.
pub fn rows(day: u64) -> u64 {
    PEOPLE + 100 + day * 37 % 500
}

/// The maximum number of opt-outs. Each of these people is a user on every day.
pub const PEOPLE: u64 = 1900;

fn name(id: u64, day: u64) -> String {
    format!("利用者{id} {day}")
}

/// Returns a day's source as CSV.
pub fn csv(day: u64) -> String {
    let lines: String = (1..=rows(day)).map(|id| format!("{id},{},{day}\n", name(id, day))).collect();
    format!("id,name,day\n{lines}")
}

fn sum(to: u64) -> u64 {
    to * (to + 1) / 2
}

impl Question {
    pub const ALL: [Question; 4] = [Question::Users, Question::Extraction, Question::OptOuts, Question::Full];

    pub fn sql(self) -> &'static str {
        match self {
            Question::Users => "SELECT count(*), min(day), max(day), min(id), sum(id) FROM dmp.users",
            Question::Extraction => "SELECT count(*), min(day), max(day), min(id), sum(id) FROM dmp.users_protected",
            Question::OptOuts => {
                "SELECT count(*), min(user_id), max(user_id), sum(user_id), count_if(state = 'opted_in') FROM dmp.optouts"
            }
            Question::Full => "SELECT id, name, day FROM dmp.users",
        }
    }

    /// Judges an answer. The opt-outs of the first `acknowledged` people were acknowledged before the query started.
    pub fn judge(self, rows: &[Row], acknowledged: u64) -> Seen {
        match self {
            Question::Full => full(rows),
            _ => match rows.first().and_then(numbers) {
                Some(row) => self.judge_row(row, acknowledged),
                None => Seen::Mixed(format!("{self:?}: {rows:?}")),
            },
        }
    }

    fn judge_row(self, row: [u64; 5], acknowledged: u64) -> Seen {
        let (is_whole, out) = match (self, row) {
            (Question::OptOuts, [count, first, last, ids, back]) => {
                ((first, last, ids, back) == (1, count, sum(count), 0), count)
            }
            (_, [count, day, other, first, ids]) => {
                let (all, out) = (rows(day), first.saturating_sub(1));
                (day == other && out <= all && (count, ids) == (all - out, sum(all) - sum(out)), out)
            }
        };
        if !is_whole || self == Question::Users && out > 0 {
            return Seen::Mixed(format!("{self:?}: {row:?}"));
        }
        if self != Question::Users && out < acknowledged {
            return Seen::CameBack(format!("{self:?}: {out} people are out, but {acknowledged} were out before"));
        }
        Seen::Whole
    }
}

fn numbers(row: &Row) -> Option<[u64; 5]> {
    let numbers: Option<Vec<u64>> = row.iter().map(|cell| cell.as_deref()?.parse().ok()).collect();
    numbers?.try_into().ok()
}

/// Checks that the answer has every row of one day exactly once.
fn full(all: &[Row]) -> Seen {
    let day = all.first().and_then(|row| row.get(2)?.as_deref()?.parse().ok()).unwrap_or(0);
    let is_of = |row: &Row, id: u64| {
        row.get(1) == Some(&Some(name(id, day))) && row.get(2) == Some(&Some(day.to_string())) && id <= rows(day)
    };
    let mut ids = HashSet::new();
    let is_good = |row: &Row| {
        let id = row.first().and_then(|id| id.as_deref()?.parse().ok());
        id.is_some_and(|id| is_of(row, id) && ids.insert(id))
    };
    if all.iter().all(is_good) && all.len() as u64 == rows(day) {
        return Seen::Whole;
    }
    Seen::Mixed(format!("Full: {} rows where day {day} has {}", all.len(), rows(day)))
}
