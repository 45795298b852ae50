//! Compares schedules with an enumeration of every minute, and the record with every order of events.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::{Claim, Next, Record, Schedule};

/// A sequence of numbers that looks random, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Returns whether a field fires at the given time.
type Rule = Box<dyn Fn(DateTime) -> bool>;

/// Returns the text of a field of plain numbers, and the numbers that it means. Uses none of the parser's code.
fn numbers(random: &mut Random, least: usize, most: usize, names: &'static [&'static str]) -> (String, Vec<usize>) {
    let span = most - least + 1;
    let (mut texts, mut chosen) = (Vec::new(), Vec::new());
    for _ in 0..1 + random.below(3) {
        let (one, other) = (least + random.below(span), least + random.below(span));
        let (from, to, step) = (one.min(other), one.max(other), 1 + random.below(span));
        let name = |number: usize| names.get(number - least).map_or(number.to_string(), |name| (*name).to_owned());
        let (text, range) = match random.below(7) {
            0 | 1 => (name(one), one..=one),
            2 => (format!("{}-{}", name(from), name(to)), from..=to),
            3 => (format!("{}-{}/{step}", name(from), to), from..=to),
            4 => (format!("{one}/{step}"), one..=most),
            5 => (format!("*/{step}"), least..=most),
            _ => ("*".into(), least..=most),
        };
        let step = if text.contains('/') { step } else { 1 };
        let first = *range.start();
        chosen.extend(range.filter(|number| (number - first).is_multiple_of(step)));
        texts.push(text);
    }
    (texts.join(","), chosen)
}

fn day_of_month(random: &mut Random) -> (String, Rule) {
    let day = 1 + random.below(31) as i8;
    match random.below(4) {
        0 => ("L".into(), Box::new(|at| at.date().tomorrow().unwrap().day() == 1)),
        1 => {
            // The nearest weekday is the one of the month's weekdays that is the fewest days away. Of two, AWS and
            // Quartz take the day before Saturday and the day after Sunday, which are the only ones one day away.
            let is_nearest = move |at: DateTime| {
                let days: Vec<_> = at.date().first_of_month().series(jiff::Span::new().days(1)).take(31).collect();
                let month = days.iter().filter(|date| date.month() == at.month());
                if month.clone().count() < day as usize {
                    return false;
                }
                let weekdays = month.filter(|date| date.weekday().to_monday_one_offset() < 6);
                weekdays.min_by_key(|date| (date.day() - day).abs()).unwrap().day() == at.day()
            };
            (format!("{day}W"), Box::new(is_nearest))
        }
        _ => {
            let (text, days) = numbers(random, 1, 31, &[]);
            (text, Box::new(move |at| days.contains(&(at.day() as usize))))
        }
    }
}

fn day_of_week(random: &mut Random) -> (String, Rule) {
    const NAMES: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
    let weekday = |at: DateTime| at.date().weekday().to_sunday_zero_offset() as usize + 1;
    let day = 1 + random.below(7);
    match random.below(5) {
        0 => ("L".into(), Box::new(move |at| weekday(at) == 7)),
        1 => {
            let text = format!("{}L", random.one(&[NAMES[day - 1], &day.to_string()]));
            (
                text,
                Box::new(move |at| {
                    weekday(at) == day && (at.date() + jiff::Span::new().weeks(1)).month() != at.month()
                }),
            )
        }
        2 => {
            let nth = 1 + random.below(5);
            let rule = move |at: DateTime| weekday(at) == day && (at.day() as usize).div_ceil(7) == nth;
            (format!("{}#{nth}", NAMES[day - 1]), Box::new(rule))
        }
        _ => {
            let (text, days) = numbers(random, 1, 7, &NAMES);
            (text, Box::new(move |at| days.contains(&weekday(at))))
        }
    }
}

fn cron(random: &mut Random) -> (String, Rule) {
    const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    let (minutes, minute) = numbers(random, 0, 59, &[]);
    let (hours, hour) = numbers(random, 0, 23, &[]);
    let (months, month) = match random.below(2) {
        0 => ("*".to_owned(), (1..=12).collect()),
        _ => numbers(random, 1, 12, &MONTHS),
    };
    let (years, year) = match random.below(3) {
        0 => numbers(random, 2024, 2028, &[]),
        _ => ("*".to_owned(), (1970..=2199).collect()),
    };
    let is_weekday = random.below(2) == 1;
    let (days, rule) = if is_weekday { day_of_week(random) } else { day_of_month(random) };
    let (of_month, of_week) = if is_weekday { ("?", &*days) } else { (&*days, "?") };
    let text = format!("cron({minutes} {hours} {of_month} {months} {of_week} {years})");
    let fires = move |at: DateTime| {
        minute.contains(&(at.minute() as usize))
            && hour.contains(&(at.hour() as usize))
            && month.contains(&(at.month() as usize))
            && year.contains(&(at.year() as usize))
            && rule(at)
    };
    (text, Box::new(fires))
}

#[test]
fn schedules_agree_with_an_enumeration_of_every_minute() {
    let mut random = Random(20261130);
    let minute = SignedDuration::from_mins(1);
    let mut fired = 0;
    for round in 0..400 {
        let (text, fires) = cron(&mut random);
        let Ok(schedule) = Schedule::parse(&text) else {
            assert!(
                text.contains("30") || text.contains("31") || text.contains("29"),
                "{text}: {:?}",
                Schedule::parse(&text)
            );
            continue;
        };
        // Around the days on which clocks change, and somewhere else.
        let (zone, around) = [
            ("UTC", "2026-02-27T00:00:00Z"),
            ("America/New_York", "2026-03-07T12:00:00Z"),
            ("America/New_York", "2026-10-31T12:00:00Z"),
            ("Australia/Lord_Howe", "2026-04-04T00:00:00Z"),
            ("Asia/Tokyo", "2027-12-30T00:00:00Z"),
            ("Africa/Cairo", "2026-10-29T00:00:00Z"),
        ][round % 6];
        let zone = TimeZone::get(zone).unwrap();
        let start: Timestamp = around.parse().unwrap();
        let mut due = Vec::new();
        let mut shown = zone.to_datetime(start);
        for at in (0..3 * 24 * 60).map(|minutes| start + minute * minutes) {
            let clock = zone.to_datetime(at);
            // What the clocks show for the second time doesn't fire again.
            if clock > shown && fires(clock) {
                due.push(at);
            }
            shown = shown.max(clock);
        }
        fired += due.len();
        let end = start + minute * (3 * 24 * 60 - 1);
        for _ in 0..5 {
            let since = start + minute * random.below(3 * 24 * 60) as i32;
            let now = since + SignedDuration::from_secs(random.below(24 * 60 * 60) as i64);
            let now = now.min(end);
            let latest = due.iter().rev().find(|at| **at <= now && **at > since).copied();
            assert_eq!(schedule.latest(since, now, &zone), latest, "{text}, after {since}, by {now}");
            let next = due.iter().find(|at| **at > now).copied();
            let found = schedule.next(now, &zone).filter(|at| *at <= end);
            assert_eq!(found, next, "{text}, after {now}");
        }
    }
    assert!(fired > 10_000, "{fired}");
}

fn latest(text: &str, zone: &str, since: &str, now: &str) -> Option<String> {
    let schedule = Schedule::parse(text).unwrap();
    let latest = schedule.latest(since.parse().unwrap(), now.parse().unwrap(), &TimeZone::get(zone).unwrap());
    latest.map(|at| at.to_string())
}

/// The examples are those of EventBridge Scheduler's guide.
#[test]
fn clocks_that_change_skip_a_time_or_fire_it_once() {
    let (zone, nightly) = ("America/New_York", "cron(30 2 * * ? *)");
    assert_eq!(latest(nightly, zone, "2026-03-08T00:00:00Z", "2026-03-09T00:00:00Z"), None);
    let twice = "cron(30 1 * * ? *)";
    let first = Some("2026-11-01T05:30:00Z".to_owned());
    assert_eq!(latest(twice, zone, "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"), first);
    assert_eq!(latest(twice, zone, "2026-11-01T05:30:00Z", "2026-11-02T00:00:00Z"), None);
    let day = "rate(1 day)";
    assert_eq!(
        latest(day, zone, "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z").as_deref(),
        Some("2026-11-02T00:00:00Z")
    );
    assert_eq!(
        latest("at(2026-11-01T01:30:00)", zone, "2026-10-01T00:00:00Z", "2026-11-02T00:00:00Z"),
        first,
        "a time that comes twice is due the first time"
    );
}

#[test]
fn many_missed_due_times_are_made_up_for_by_the_latest() {
    let (since, now) = ("2026-11-30T00:02:00Z", "2026-11-30T09:58:30Z");
    for (text, expected) in [
        ("rate(5 minutes)", Some("2026-11-30T09:55:00Z")),
        ("cron(0/15 * ? * MON-FRI *)", Some("2026-11-30T09:45:00Z")),
        ("cron(0 0 * * ? *)", None),
        ("at(2026-11-30T00:02:00)", None),
        ("at(2026-11-30T09:58:00)", Some("2026-11-30T09:58:00Z")),
        ("at(2026-11-30T09:59:00)", None),
    ] {
        assert_eq!(latest(text, "UTC", since, now).as_deref(), expected, "{text}");
    }
}

#[test]
fn forms_that_aws_does_not_document_are_refused() {
    for text in [
        "cron(0 2 LW * ? *)",
        "cron(0 2 L-3 * ? *)",
        "cron(0 2 32W * ? *)",
        "cron(0 2 ? * FRI-MON *)",
        "cron(0 2 ? * 0 *)",
        "cron(0 2 ? * MON#6 *)",
        "cron(0 2 ? * ? *)",
        "cron(0 2 * * ?)",
        "cron(0 2 * * ? 1969)",
        "cron(60 2 * * ? *)",
        "cron(+5 2 * * ? *)",
        "cron(*/0 2 * * ? *)",
        "cron(0,,1 2 * * ? *)",
        "cron(0 2 * * ? *",
        "rate(5)",
        "rate(-5 minutes)",
        "rate(5 seconds)",
        "at(2027-04-01T02:00:00Z)",
        "at(2027-04-01 02:00:00)",
        "at(2027-13-01T02:00:00)",
    ] {
        assert!(Schedule::parse(text).is_err(), "{text}");
    }
}

fn minutes(number: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + 60 * number).unwrap()
}

#[test]
fn a_due_time_starts_one_run_and_one_that_comes_meanwhile_follows() {
    let none = Record::default();
    let Claim::Run(started) = none.claim(minutes(0), minutes(1)) else { panic!("no run") };
    let run = started.running.clone().unwrap();
    assert_eq!(started.claim(minutes(0), minutes(2)), Claim::Wait(SignedDuration::from_mins(15)));
    let Claim::After(waiting) = started.claim(minutes(5), minutes(5)) else { panic!("it isn't remembered") };
    let Claim::After(waiting) = waiting.claim(minutes(3), minutes(6)) else { panic!("an older one is not forgotten") };
    assert_eq!((waiting.waiting, waiting.follows(SignedDuration::ZERO, minutes(9))), (Some(minutes(5)), None));
    assert!(matches!(waiting.claim(minutes(0), minutes(6)), Claim::Wait(_)), "a copy of the first message is kept");
    let ended = waiting.ended(&run).unwrap();
    assert_eq!(
        (ended.done, ended.follows(SignedDuration::ZERO, minutes(9))),
        (Some(minutes(0)), Some(Next::Due(minutes(5))))
    );
    let Claim::Run(next) = ended.claim(minutes(5), minutes(7)) else { panic!("nothing follows") };
    let last = next.ended(next.running.as_ref().unwrap()).unwrap();
    assert_eq!(
        (last.claim(minutes(5), minutes(9)), last.follows(SignedDuration::ZERO, minutes(9))),
        (Claim::Done, None)
    );
    assert_eq!(last.ended(&run), None, "a run that counts as dead does not end another");
}

#[test]
fn a_run_that_failed_or_died_is_run_again() {
    let Claim::Run(started) = Record::default().claim(minutes(0), minutes(0)) else { panic!("no run") };
    let run = started.running.clone().unwrap();
    let failed = started.failed(&run).unwrap();
    assert!(matches!(failed.claim(minutes(0), minutes(1)), Claim::Run(_)));
    let Claim::Run(again) = started.claim(minutes(0), minutes(17)) else { panic!("the dead run goes on") };
    assert_eq!(started.running.as_ref().unwrap().due, again.running.unwrap().due);
    let Claim::After(waiting) = started.claim(minutes(5), minutes(5)) else { panic!("it isn't remembered") };
    let Claim::Run(later) = waiting.claim(minutes(0), minutes(17)) else { panic!("nothing runs") };
    assert_eq!(later.running.unwrap().due, Some(minutes(5)), "one run makes up for both");
}

#[test]
fn inputs_that_flip_during_a_run_are_looked_at_after_it() {
    let Claim::Run(started) = Record::default().claim(minutes(0), minutes(0)) else { panic!("no run") };
    let run = started.running.clone().unwrap();
    let Claim::After(waiting) = started.claim_after_inputs(minutes(1)) else { panic!("it isn't remembered") };
    assert_eq!(waiting.follows(SignedDuration::ZERO, minutes(9)), None);
    let ended = waiting.ended(&run).unwrap();
    assert_eq!(ended.follows(SignedDuration::ZERO, minutes(9)), Some(Next::Inputs));
    let Claim::Run(next) = ended.claim_after_inputs(minutes(2)) else { panic!("nothing runs") };
    let Claim::After(due) = next.claim(minutes(3), minutes(3)) else { panic!("a due time is not a flip") };
    let ended = due.ended(&next.running.unwrap()).unwrap();
    assert_eq!(
        (ended.done, ended.follows(SignedDuration::ZERO, minutes(9))),
        (Some(minutes(0)), Some(Next::Due(minutes(3))))
    );
    let Claim::Run(last) = ended.claim_after_inputs(minutes(4)) else { panic!("nothing runs") };
    let last = last.ended(last.running.as_ref().unwrap()).unwrap();
    assert_eq!(
        (last.done, last.follows(SignedDuration::ZERO, minutes(9))),
        (Some(minutes(3)), None),
        "one run serves both"
    );
}

#[test]
fn puts_fold_into_one_run_and_one_that_comes_meanwhile_follows() {
    let settle = SignedDuration::from_secs(90);
    let second = SignedDuration::from_secs(1);
    let first = Record::default().with_put(settle, minutes(0)).unwrap();
    assert_eq!(first.with_put(settle, minutes(0) + second / 2), None, "a burst doesn't write the record each time");
    assert_eq!(first.with_put(SignedDuration::ZERO, minutes(9)), None, "the run that waits serves it");
    let last = first.with_put(settle, minutes(1)).unwrap();
    assert_eq!(last.claim_after_puts(settle, minutes(2)), Claim::Settle(second * 30));
    assert!(!last.has_overdue_put(settle, minutes(3)) && last.has_overdue_put(settle, minutes(4)));
    let Claim::Run(started) = last.claim_after_puts(settle, minutes(3)) else { panic!("no run") };
    let run = started.running.clone().unwrap();
    assert_eq!((run.put, started.put, started.has_overdue_put(settle, minutes(9))), (Some(minutes(1)), None, false));
    let during = started.with_put(settle, minutes(4)).unwrap();
    assert_eq!(during.follows(settle, minutes(4)), None);
    let ended = during.ended(&run).unwrap();
    assert_eq!(ended.follows(settle, minutes(5)), Some(Next::Put(second * 30)));
    assert_eq!(ended.follows(settle, minutes(6)), Some(Next::Put(SignedDuration::ZERO)));
    assert_eq!(ended.without_puts(minutes(6)), Some(Record::default()));
    // A due time's run serves the put too.
    let Claim::Run(due) = ended.claim(minutes(5), minutes(5)) else { panic!("no run") };
    let ended = due.ended(due.running.as_ref().unwrap()).unwrap();
    assert_eq!((ended.done, ended.follows(settle, minutes(9))), (Some(minutes(5)), None));
}

#[test]
fn a_put_whose_run_died_waits_until_it_is_known_to_be_read() {
    let put = Record::default().with_put(SignedDuration::ZERO, minutes(0)).unwrap();
    let Claim::Run(running) = put.claim_after_puts(SignedDuration::ZERO, minutes(1)) else { panic!() };
    assert_eq!(running.without_puts(minutes(2)), None, "the run is in progress");
    let read = running.without_puts(minutes(60)).unwrap();
    assert_eq!(read.without_puts(minutes(60)), None);
}

#[test]
fn a_put_whose_run_failed_waits_for_the_retry_and_one_whose_run_died_for_the_next() {
    let settle = SignedDuration::ZERO;
    let first = Record::default().with_put(settle, minutes(0)).unwrap();
    let Claim::Run(started) = first.claim_after_puts(settle, minutes(0)) else { panic!("no run") };
    let failed = started.failed(started.running.as_ref().unwrap()).unwrap();
    assert_eq!((failed.put, failed.retried_put), (None, Some(minutes(0))));
    assert!(!failed.has_overdue_put(settle, minutes(9)), "a tick must not retry more often than the queue");
    assert_eq!(failed.follows(settle, minutes(1)), None);
    let Claim::Run(again) = failed.claim_after_puts(settle, minutes(1)) else { panic!("no retry") };
    assert_eq!((again.retried_put, again.running.unwrap().put), (None, Some(minutes(0))));
    assert_eq!(failed.given_up(), Some(Record::default()));
    let Claim::Run(next) = started.claim_after_puts(settle, minutes(17)) else { panic!("the dead run goes on") };
    assert_eq!(next.running.unwrap().put, Some(minutes(0)));
}
