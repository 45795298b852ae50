//! A schedule in EventBridge Scheduler's syntax: `cron(…)`, `rate(…)` or `at(…)`.
//!
//! EventBridge Scheduler documents its daylight saving: a time that the clocks skip is skipped, and one that they show
//! twice fires once. A day of a rate has 24 hours.

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

use super::cron::{Cron, YEARS};

/// When a dataset is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// As it is written in datasets.toml.
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Cron(Box<Cron>),
    /// The period, in seconds. It is counted from 1970-01-01T00:00Z.
    Rate(i64),
    At(DateTime),
}

impl Schedule {
    /// Parses an expression. The error says what is wrong, and what was expected.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        let fault = |fault: String| format!("{text:?} is not a valid schedule: {fault}");
        let written = text.trim();
        let inside = |name: &str| written.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        let kind = if let Some(fields) = inside("cron") {
            let cron = Cron::parse(fields).map_err(fault)?;
            if cron.first_day(jiff::civil::Date::constant(YEARS.0, 1, 1)).is_none() {
                return Err(fault("no day matches it, so it never fires".into()));
            }
            Kind::Cron(Box::new(cron))
        } else if let Some(rate) = inside("rate") {
            Kind::Rate(period(rate).map_err(fault)?)
        } else if let Some(at) = inside("at") {
            // The length excludes jiff's other formats: no offset, zone or fraction may follow.
            let time = at.parse().ok().filter(|_| at.len() == "2027-04-01T02:00:00".len() && at.contains('T'));
            Kind::At(time.ok_or_else(|| fault("expected a time such as at(2027-04-01T02:00:00)".into()))?)
        } else {
            return Err(fault(
                "expected cron(MINUTES HOURS DAY-OF-MONTH MONTH DAY-OF-WEEK YEAR), rate(VALUE UNIT) or \
                 at(YYYY-MM-DDTHH:MM:SS)"
                    .into(),
            ));
        };
        Ok(Schedule { text: written.into(), kind })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether the clocks of the time zone never show the time of an `at(…)`.
    pub fn is_skipped(&self, zone: &TimeZone) -> bool {
        matches!(&self.kind, Kind::At(time) if instant(*time, zone).is_none())
    }

    /// Returns the latest due time that is after `since`, and at or before `now`. `None` if there is none.
    pub fn latest(&self, since: Timestamp, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let found = match &self.kind {
            Kind::Cron(cron) => latest_of(cron, since, now, zone),
            Kind::Rate(period) => Timestamp::from_second(now.as_second().div_euclid(*period) * period).ok(),
            Kind::At(time) => instant(*time, zone).filter(|at| *at <= now),
        };
        found.filter(|at| *at > since)
    }

    /// Returns the first due time after `now`. `None` if there is none.
    pub fn next(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.kind {
            Kind::Cron(cron) => {
                let mut date = zone.to_datetime(now).date();
                loop {
                    date = cron.first_day(date)?;
                    let mut times =
                        cron.times().filter_map(|(hour, minute)| instant(date.at(hour, minute, 0, 0), zone));
                    if let Some(at) = times.find(|at| *at > now) {
                        return Some(at);
                    }
                    date = date.tomorrow().ok()?;
                }
            }
            Kind::Rate(period) => {
                Timestamp::from_second((now.as_second().div_euclid(*period) + 1).checked_mul(*period)?).ok()
            }
            Kind::At(time) => instant(*time, zone).filter(|at| *at > now),
        }
    }
}

fn latest_of(cron: &Cron, since: Timestamp, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    // Clocks that go back across midnight have shown times of the next day already.
    let (today, first) = (zone.to_datetime(now).date(), zone.to_datetime(since).date());
    let mut date = today.tomorrow().unwrap_or(today);
    while date >= first {
        if cron.is_on(date) {
            let mut times = cron.times().rev().filter_map(|(hour, minute)| instant(date.at(hour, minute, 0, 0), zone));
            if let Some(at) = times.find(|at| *at <= now) {
                return Some(at);
            }
        }
        date = date.yesterday().ok()?;
    }
    None
}

/// Returns when the clocks of the time zone first show a time; `None` if they skip it.
fn instant(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let found = zone.to_ambiguous_timestamp(time);
    match found.offset() {
        AmbiguousOffset::Gap { .. } => None,
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => found.earlier().ok(),
    }
}

/// Parses a period such as `5 minutes`, and returns it in seconds.
fn period(text: &str) -> Result<i64, String> {
    let expected = || "expected a whole number and minutes, hours or days, such as rate(5 minutes)".to_owned();
    let (value, unit) = text.trim().split_once(char::is_whitespace).ok_or_else(expected)?;
    let value: u32 = value.parse().ok().filter(|value| *value > 0).ok_or_else(expected)?;
    let unit = match unit.trim() {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 60 * 60,
        "day" | "days" => 24 * 60 * 60,
        _ => return Err(expected()),
    };
    Ok(i64::from(value) * unit)
}
