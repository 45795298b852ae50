//! Reads `refresh` and `timezone`: when a dataset is refreshed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use toml::Value;

use super::read::{Keys, described};
use crate::{
    layout::{Key, TableName, TablePaths},
    refresh::Schedule,
};

/// When a dataset is refreshed. Without schedules, inputs and `on_put`, it is refreshed only on request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    pub schedules: Vec<Schedule>,
    /// The inputs whose flips lead to a refresh. It is enough if one entry's inputs have flipped.
    pub after: Vec<After>,
    /// How a put into the source refreshes the dataset. `None` if it doesn't.
    pub on_put: Option<OnPut>,
    pub zone: TimeZone,
    /// The key of the object that records the scheduled refreshes. The members of a group share one.
    pub record: Key,
}

/// How a put into the source refreshes the dataset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OnPut {
    /// How long puts must have paused before the export starts.
    pub settle: SignedDuration,
}

/// One entry of `after`: inputs whose flips lead to a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    pub inputs: Vec<Input>,
    /// Whether a flip of one of them is enough. Otherwise, all must have flipped since the dataset was built.
    pub any: bool,
}

/// A dataset that another one is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    pub dataset: String,
    pub table: TableName,
    pub paths: TablePaths,
}

impl Refresh {
    /// Returns whether only requests refresh the dataset.
    pub fn is_manual(&self) -> bool {
        self.schedules.is_empty() && self.after.is_empty() && self.on_put.is_none()
    }

    /// Returns how long puts must have paused before the export starts.
    pub fn settle(&self) -> SignedDuration {
        self.on_put.unwrap_or_default().settle
    }

    /// Returns the datasets that this one is built from, ordered by name.
    pub fn inputs(&self) -> Vec<&Input> {
        let all = self.after.iter().flat_map(|after| &after.inputs);
        all.map(|input| (&input.dataset, input)).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// Returns the latest due time after `since` and up to `now`. `None` if there is none.
    pub fn latest(&self, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        self.schedules.iter().filter_map(|schedule| schedule.latest(since, now, &self.zone)).max()
    }

    /// Returns the first due time after `now`. `None` if there is none.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.schedules.iter().filter_map(|schedule| schedule.next(now, &self.zone)).min()
    }
}

/// The value of `refresh` in one dataset or in `[defaults]`, before the defaults are filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    pub schedules: Vec<Schedule>,
    pub after: Vec<GivenAfter>,
    pub on_put: Option<OnPut>,
}

/// An entry of `after`, before its datasets are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenAfter {
    pub datasets: BTreeSet<String>,
    pub any: bool,
}

const EXPECTED: &str = "\"cron(…)\", \"rate(…)\", \"at(…)\", \"manual\", { after = [\"DATASET\", …] }, { on_put = true }, or a list of these";
const MANUAL: &str = "manual";
/// The longest `settle`. SQS can't delay a message for longer.
const MAX_SETTLE: SignedDuration = SignedDuration::from_mins(15);

/// Reads `refresh`.
pub fn refresh(keys: &Keys) -> Option<Given> {
    let value = keys.value("refresh")?;
    let mut given = Given::default();
    match value {
        Value::String(text) if text == MANUAL => {}
        Value::Array(list) if !list.is_empty() => list.iter().for_each(|item| given.add(keys, item)),
        other => given.add(keys, other),
    }
    Some(given)
}

impl Given {
    /// Reads `{ after = ["orders"] }` or `{ on_put = true }`.
    fn add_table(&mut self, all: &Keys, keys: Keys) {
        if !keys.has("after") && !keys.has("on_put") {
            keys.fault_here(
                "after and on_put are missing: name the datasets after whose flips this one is refreshed, or set on_put = \
                 true",
            );
        }
        self.after.extend(after(&keys));
        let puts = on_put(&keys);
        if puts.is_some() && self.on_put.is_some() {
            all.fault("refresh", "has on_put twice: remove one of the two");
        }
        self.on_put = self.on_put.or(puts);
        keys.finish();
    }

    fn add(&mut self, keys: &Keys, value: &Value) {
        match value.as_table() {
            Some(table) => self.add_table(keys, Keys::new(keys.at("refresh"), table, keys.faults())),
            None => self.schedules.extend(schedule(keys, value)),
        }
    }
}

/// Reads `after = ["orders"], any = true`.
fn after(keys: &Keys) -> Option<GivenAfter> {
    let (names, any) = (keys.strings("after"), keys.boolean("any"));
    if any.is_some() && !keys.has("after") {
        keys.fault("any", "says how many of the datasets in after must flip: set after too, or remove it");
    }
    if names.as_ref().is_some_and(Vec::is_empty) {
        keys.fault("after", "names no dataset: name at least one");
    }
    Some(GivenAfter { datasets: names?.into_iter().map(str::to_owned).collect(), any: any.unwrap_or(false) })
}

/// Reads `on_put = true, settle = "30s"`.
fn on_put(keys: &Keys) -> Option<OnPut> {
    let (given, settle) = (keys.boolean("on_put"), keys.duration("settle"));
    if given == Some(false) {
        keys.fault("on_put", "false has no effect: remove it");
    }
    if keys.has("settle") && !keys.has("on_put") {
        keys.fault("settle", "has no effect without on_put = true: set that too, or remove it");
    }
    if settle.is_some_and(|settle| settle > MAX_SETTLE) {
        keys.fault("settle", format!("is longer than {MAX_SETTLE:#}, the longest that is supported: lower it"));
    }
    (given == Some(true)).then(|| OnPut { settle: settle.unwrap_or_default().min(MAX_SETTLE) })
}

fn schedule(keys: &Keys, value: &Value) -> Option<Schedule> {
    let Some(text) = value.as_str().filter(|text| !text.trim().is_empty()) else {
        keys.fault("refresh", format!("expected {EXPECTED}, found {}", described(value)));
        return None;
    };
    if text == MANUAL {
        keys.fault("refresh", "\"manual\" means only by hand, so a list can't contain it: remove it or the rest");
        return None;
    }
    keys.taken("refresh", Schedule::parse(text))
}

/// Reads `timezone`.
pub fn timezone(keys: &Keys) -> Option<TimeZone> {
    keys.parsed("timezone", |name| {
        TimeZone::get(name)
            .map_err(|_| format!("{name:?} is not a time zone, expected an IANA name such as \"Asia/Tokyo\""))
    })
}

/// A dataset's `refresh`, before the datasets that it names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    pub given: Given,
    pub zone: TimeZone,
}

/// Combines what is given in a dataset and in `[defaults]`. Returns `None` if the stack's schedule refreshes the
/// dataset.
pub fn combined(keys: &Keys, given: Option<Given>, zone: Option<TimeZone>) -> Option<Unresolved> {
    let (given, zone) = (given?, zone.unwrap_or(TimeZone::UTC));
    for schedule in given.schedules.iter().filter(|schedule| schedule.is_skipped(&zone)) {
        let name = zone.iana_name().unwrap_or("the time zone");
        keys.fault(
            "refresh",
            format!("{} never comes, because the clocks in {name} skip this time: choose another", schedule.text()),
        );
    }
    Some(Unresolved { given, zone })
}

#[cfg(test)]
mod tests {
    use crate::config::{
        Config,
        test_support::{DEFAULTS, faults},
    };

    const FILES: &str = "source = { files = { location = \"s3://lake/in/\" } }\n";

    fn next(above: &str, own: &str, now: &str) -> Option<String> {
        let config = Config::parse("f", &format!("{DEFAULTS}{above}[datasets.a]\n{own}{FILES}")).unwrap();
        let refresh = config.dataset("a").unwrap().refresh.clone()?;
        Some(refresh.next(now.parse().unwrap()).map_or("never".into(), |at| at.to_string()))
    }

    #[test]
    fn a_dataset_inherits_the_schedule_and_the_time_zone_separately() {
        let (night, tokyo) = ("refresh = \"cron(0 2 * * ? *)\"\n", "timezone = \"Asia/Tokyo\"\n");
        let now = "2026-11-30T12:00:00Z";
        for (above, own, expected) in [
            ("", "", None),
            (tokyo, "", None),
            (night, "", Some("2026-12-01T02:00:00Z")),
            ("", &*format!("{night}{tokyo}"), Some("2026-11-30T17:00:00Z")),
            (night, tokyo, Some("2026-11-30T17:00:00Z")),
            (tokyo, night, Some("2026-11-30T17:00:00Z")),
            (night, "refresh = \"manual\"\n", Some("never")),
            (night, "refresh = \"rate(5 minutes)\"\n", Some("2026-11-30T12:05:00Z")),
            (night, "refresh = [\"cron(0 2 * * ? *)\", \"at(2026-12-01T01:00:00)\"]\n", Some("2026-12-01T01:00:00Z")),
        ] {
            assert_eq!(next(above, own, now).as_deref(), expected, "{above}{own}");
        }
    }

    #[test]
    fn faults_say_what_is_wrong_with_a_schedule() {
        let own = |keys: &str| {
            let found = faults(&format!("{DEFAULTS}[datasets.a]\n{keys}\n{FILES}"));
            found.replace("datasets.toml: datasets.a.", "")
        };
        let fields = "expected six fields (minutes hours day-of-month month day-of-week year), found";
        let kinds = "expected \"cron(…)\", \"rate(…)\", \"at(…)\", \"manual\", { after = [\"DATASET\", …] }, { on_put = true }, or a list of these, found";
        for (keys, fault) in [
            ("refresh = 5", format!("refresh: {kinds} a whole number")),
            ("refresh = []", format!("refresh: {kinds} an array")),
            ("refresh = \"\"", format!("refresh: {kinds} an empty string")),
            (
                "refresh = \"daily\"",
                "refresh: \"daily\" is not a valid schedule: expected cron(MINUTES HOURS DAY-OF-MONTH MONTH DAY-OF-WEEK YEAR), rate(VALUE UNIT) or at(YYYY-MM-DDTHH:MM:SS)".into(),
            ),
            (
                "refresh = \"cron(0 2 * * *)\"",
                format!("refresh: \"cron(0 2 * * *)\" is not a valid schedule: {fields} 5"),
            ),
            (
                "refresh = \"cron(0 2 * * * *)\"",
                "refresh: \"cron(0 2 * * * *)\" is not a valid schedule: one of day-of-month and day-of-week must be \"?\", which means any day".into(),
            ),
            (
                "refresh = \"cron(0 24 * * ? *)\"",
                "refresh: \"cron(0 24 * * ? *)\" is not a valid schedule: \"24\" is not valid in hours: expected numbers from 0 to 23, such as a list, a range or a step".into(),
            ),
            (
                "refresh = \"cron(0 2 30 FEB ? *)\"",
                "refresh: \"cron(0 2 30 FEB ? *)\" is not a valid schedule: no day matches it, so it never fires".into(),
            ),
            (
                "refresh = \"rate(0 minutes)\"",
                "refresh: \"rate(0 minutes)\" is not a valid schedule: expected a whole number and minutes, hours or days, such as rate(5 minutes)".into(),
            ),
            (
                "refresh = \"at(2027-04-01)\"",
                "refresh: \"at(2027-04-01)\" is not a valid schedule: expected a time such as at(2027-04-01T02:00:00)".into(),
            ),
            (
                "refresh = [\"rate(1 hour)\", \"manual\"]",
                "refresh: \"manual\" means only by hand, so a list can't contain it: remove it or the rest".into(),
            ),
            (
                "timezone = \"Tokyo\"",
                "timezone: \"Tokyo\" is not a time zone, expected an IANA name such as \"Asia/Tokyo\"".into(),
            ),
            (
                "refresh = \"at(2027-03-14T02:30:00)\"\ntimezone = \"America/New_York\"",
                "refresh: at(2027-03-14T02:30:00) never comes, because the clocks in America/New_York skip this time: choose another".into(),
            ),
        ] {
            assert_eq!(own(keys), fault, "{keys}");
        }
    }

    #[test]
    fn members_of_a_group_share_their_refresh_and_an_inbox_has_none() {
        let member = |name: &str, keys: &str| {
            format!(
                "[datasets.{name}]\ngroup = \"core\"\n{keys}source = {{ postgres = {{ secret = \"s\", query = \"SELECT 1\" }} }}\n"
            )
        };
        let hourly = "refresh = \"rate(1 hour)\"\n";
        let inbox = format!(
            "[datasets.c]\n{hourly}source = {{ inbox = {{ location = \"s3://lake/inbox\", key = \"id\" }} }}\n"
        );
        assert_eq!(
            faults(&[DEFAULTS, &member("a", ""), &member("b", hourly), &inbox].concat()),
            "datasets.toml: datasets.c.refresh: not supported for an inbox, which its drops and OptoutSchedule refresh: remove it\n\
             datasets.toml: datasets.b.refresh: expected the refresh and timezone of \"a\": group core is refreshed as one. Set them in [defaults], or the same in each member"
        );
        let all = [DEFAULTS, hourly, &member("a", ""), &member("b", "")].concat();
        let config = Config::parse("f", &all).unwrap();
        assert_eq!(config.leads().map(|dataset| dataset.name.as_str()).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn the_refresh_is_not_part_of_the_spec() {
        let spec = |own: &str| {
            let text = format!("{DEFAULTS}[datasets.a]\n{own}{FILES}");
            Config::parse("f", &text).unwrap().dataset("a").unwrap().spec.clone()
        };
        assert_eq!(spec("refresh = \"manual\"\ntimezone = \"Asia/Tokyo\"\n"), spec(""));
    }
}
