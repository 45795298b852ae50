//! EventBridge Scheduler's cron expressions: `cron(minutes hours day-of-month month day-of-week year)`.
//!
//! AWS documents the fields and their wildcards ("Schedule types in EventBridge Scheduler"). Where AWS says nothing,
//! this parser follows Quartz, whose dialect it is: `1W` stays in its month, and `L` in day-of-week is Saturday. Forms
//! that neither documents for this field, such as `LW`, are refused.

use jiff::civil::{Date, Weekday};

/// A parsed cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: Set,
    hours: Set,
    days: Days,
    months: Set,
    years: Set,
}

/// The first and last year of EventBridge's calendar.
pub const YEARS: (i16, i16) = (1970, 2199);

/// A set of numbers from 0 to 255, with one bit for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Set([u64; 4]);

impl Set {
    fn add(&mut self, number: usize) {
        self.0[number / 64 % 4] |= 1 << (number % 64);
    }

    fn has(&self, number: usize) -> bool {
        (self.0[number / 64 % 4] >> (number % 64)) & 1 == 1
    }
}

/// The days on which an expression fires. Either day-of-month or day-of-week sets them; the other field is `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Days {
    OfMonth {
        days: Set,
        last: bool,
        /// `nW`: the weekday nearest to day n, in the same month.
        nearest: Vec<i8>,
    },
    OfWeek {
        /// The days of the week, where Sunday is 1.
        days: Set,
        /// `nL`: the last such day of the month.
        last: Set,
        /// `n#m`: the m-th such day of the month.
        nth: Vec<(usize, i8)>,
    },
}

/// A field of the expression: its name, its smallest and largest number, and the names of its numbers.
struct Field {
    name: &'static str,
    least: usize,
    most: usize,
    names: &'static [&'static str],
}

const MINUTES: Field = Field { name: "minutes", least: 0, most: 59, names: &[] };
const HOURS: Field = Field { name: "hours", least: 0, most: 23, names: &[] };
const DAY_OF_MONTH: Field = Field { name: "day-of-month", least: 1, most: 31, names: &[] };
const MONTH: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const DAY_OF_WEEK: Field =
    Field { name: "day-of-week", least: 1, most: 7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };
const YEAR: Field = Field { name: "year", least: 1970, most: 2199, names: &[] };

impl Field {
    fn fault(&self, item: &str) -> String {
        let names = match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!(" or {first} to {last}"),
            _ => String::new(),
        };
        format!(
            "{item:?} is not valid in {}: expected numbers from {} to {}{names}, such as a list, a range or a step",
            self.name, self.least, self.most
        )
    }

    fn number(&self, text: &str) -> Option<usize> {
        if let Some(at) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Some(at + self.least);
        }
        let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: usize = text.parse().ok().filter(|_| digits)?;
        (self.least..=self.most).contains(&number).then_some(number)
    }

    /// Adds the numbers of one item of a list to a set: `*`, `5`, `5-8`, each with an optional step `/3`.
    fn add(&self, item: &str, set: &mut Set) -> Result<(), String> {
        let fault = || self.fault(item);
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => {
                let digits = step.len() <= 4 && step.bytes().all(|byte| byte.is_ascii_digit());
                (range, Some(step.parse().ok().filter(|step: &usize| *step > 0 && digits).ok_or_else(fault)?))
            }
            None => (item, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((first, last)) => {
                let (first, last) = (self.number(first).ok_or_else(fault)?, self.number(last).ok_or_else(fault)?);
                if first > last {
                    return Err(format!(
                        "{item:?} in {} ends before it begins: write two ranges, separated by a comma",
                        self.name
                    ));
                }
                (first, last)
            }
            None => {
                let first = self.number(range).ok_or_else(fault)?;
                (first, if step.is_some() { self.most } else { first })
            }
        };
        (first..=last).step_by(step.unwrap_or(1)).for_each(|number| set.add(number - self.offset()));
        Ok(())
    }

    /// Returns the value that is stored as 0: the first year for years, which are too large for the set, and 0 for other
    /// fields.
    fn offset(&self) -> usize {
        if self.least > 31 { self.least } else { 0 }
    }

    fn parse(&self, text: &str) -> Result<Set, String> {
        let mut set = Set::default();
        text.split(',').try_for_each(|item| self.add(item, &mut set))?;
        Ok(set)
    }
}

impl Cron {
    /// Parses the fields between the parentheses. The error says what is wrong with them.
    pub fn parse(fields: &str) -> Result<Cron, String> {
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let [minutes, hours, day, month, weekday, year] = fields[..] else {
            return Err(format!(
                "expected six fields (minutes hours day-of-month month day-of-week year), found {}",
                fields.len()
            ));
        };
        let days = match (day, weekday) {
            ("?", "?") => {
                return Err("only one of day-of-month and day-of-week may be \"?\": set the other to \"*\"".into());
            }
            (day, "?") => days_of_month(day)?,
            ("?", weekday) => days_of_week(weekday)?,
            _ => return Err("one of day-of-month and day-of-week must be \"?\", which means any day".into()),
        };
        Ok(Cron {
            minutes: MINUTES.parse(minutes)?,
            hours: HOURS.parse(hours)?,
            days,
            months: MONTH.parse(month)?,
            years: YEAR.parse(year)?,
        })
    }

    /// Returns whether the expression fires on this day.
    pub fn is_on(&self, date: Date) -> bool {
        self.is_in_year(date.year()) && self.months.has(date.month() as usize) && self.days.has(date)
    }

    fn is_in_year(&self, year: i16) -> bool {
        (YEARS.0..=YEARS.1).contains(&year) && self.years.has((year - YEARS.0) as usize)
    }

    /// Returns the first day on which the expression fires, `from` or later. `None` if there is none in the calendar.
    pub fn first_day(&self, from: Date) -> Option<Date> {
        let mut date = from.max(Date::constant(YEARS.0, 1, 1));
        while date.year() <= YEARS.1 {
            if !self.is_in_year(date.year()) {
                date = Date::new(date.year() + 1, 1, 1).ok()?;
            } else if !self.months.has(date.month() as usize) {
                date = date.last_of_month().tomorrow().ok()?;
            } else if self.days.has(date) {
                return Some(date);
            } else {
                date = date.tomorrow().ok()?;
            }
        }
        None
    }

    /// Returns the hours and minutes at which the expression fires, in order.
    pub fn times(&self) -> impl DoubleEndedIterator<Item = (i8, i8)> {
        let minutes = move || (0..60).filter(|minute| self.minutes.has(*minute as usize));
        let hours = (0..24).filter(|hour| self.hours.has(*hour as usize));
        hours.flat_map(move |hour| minutes().map(move |minute| (hour, minute)))
    }
}

fn days_of_month(text: &str) -> Result<Days, String> {
    let (mut days, mut last, mut nearest) = (Set::default(), false, Vec::new());
    for item in text.split(',') {
        if item.eq_ignore_ascii_case("L") {
            last = true;
        } else if let Some(day) = item.strip_suffix(['W', 'w']) {
            let day = DAY_OF_MONTH.number(day).ok_or_else(|| DAY_OF_MONTH.fault(item))?;
            nearest.push(day as i8);
        } else {
            DAY_OF_MONTH.add(item, &mut days)?;
        }
    }
    Ok(Days::OfMonth { days, last, nearest })
}

fn days_of_week(text: &str) -> Result<Days, String> {
    let (mut days, mut last, mut nth) = (Set::default(), Set::default(), Vec::new());
    for item in text.split(',') {
        let fault = || DAY_OF_WEEK.fault(item);
        if item.eq_ignore_ascii_case("L") {
            days.add(7);
        } else if let Some((day, number)) = item.split_once('#') {
            let number: i8 = number.parse().ok().filter(|number| (1..=5).contains(number)).ok_or_else(fault)?;
            nth.push((DAY_OF_WEEK.number(day).ok_or_else(fault)?, number));
        } else if let Some(day) = item.strip_suffix(['L', 'l']) {
            last.add(DAY_OF_WEEK.number(day).ok_or_else(fault)?);
        } else {
            DAY_OF_WEEK.add(item, &mut days)?;
        }
    }
    Ok(Days::OfWeek { days, last, nth })
}

impl Days {
    fn has(&self, date: Date) -> bool {
        match self {
            Days::OfMonth { days, last, nearest } => {
                days.has(date.day() as usize)
                    || *last && date.day() == date.days_in_month()
                    || nearest.iter().any(|day| nearest_weekday(date, *day) == Some(date.day()))
            }
            Days::OfWeek { days, last, nth } => {
                let weekday = date.weekday().to_sunday_one_offset() as usize;
                days.has(weekday)
                    || last.has(weekday) && date.day() + 7 > date.days_in_month()
                    || nth.contains(&(weekday, (date.day() + 6) / 7))
            }
        }
    }
}

/// Returns the weekday nearest to day `day` of `date`'s month, within that month; `None` if the month has no such day.
fn nearest_weekday(date: Date, day: i8) -> Option<i8> {
    let last = date.days_in_month();
    if day > last {
        return None;
    }
    let at = Date::new(date.year(), date.month(), day).ok()?;
    Some(match at.weekday() {
        Weekday::Saturday if day == 1 => 3,
        Weekday::Saturday => day - 1,
        Weekday::Sunday if day == last => day - 2,
        Weekday::Sunday => day + 1,
        _ => day,
    })
}
