//! Checks that need only the statistics in Parquet footers: `not_null`, `range` and `fresh`.

use jiff::Timestamp;

use super::{
    evidence::Footer,
    statistics::{Extremes, Statistics},
    value::Value,
};
use crate::{
    config::{Checks, Fresh},
    manifest::Manifest,
};

/// Checks that the columns listed in `not_null` contain no nulls. Returns one reason for each column that fails.
pub fn not_null(checks: &Checks, manifest: &Manifest, footers: &[Footer]) -> Vec<String> {
    let judge = |name: &String| {
        let columns = match column("not_null", name, manifest, footers) {
            Ok(columns) => columns,
            Err(reason) => return Some(reason),
        };
        let unknown = columns.iter().filter(|(_, statistics)| statistics.is_none_or(|s| s.nulls.is_none()));
        if let Some(files) = file_list(unknown.map(|(file, _)| *file)) {
            return Some(format!("not_null: {name}: expected footer statistics, found none in {files}"));
        }
        let nulls: u64 = columns.iter().filter_map(|(_, statistics)| statistics.and_then(|s| s.nulls)).sum();
        (nulls > 0).then(|| format!("not_null: {name}: expected no nulls, found {nulls}"))
    };
    checks.not_null.iter().filter_map(judge).collect()
}

/// Checks that all values in the columns listed in `range` are within their bounds. Returns the reasons for each column
/// that fails.
pub fn range(checks: &Checks, manifest: &Manifest, footers: &[Footer]) -> Vec<String> {
    let mut reasons = Vec::new();
    for (name, range) in &checks.range {
        let found = match extremes("range", name, manifest, footers) {
            Ok(found) => found,
            Err(reason) => {
                reasons.push(reason);
                continue;
            }
        };
        let (mut below, mut above, mut cut, mut faults) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (file, min, max, exact) in found {
            let outside = |value: &Value, bound: &Option<_>, side| match bound.as_ref().map(|b| value.against(b)) {
                None => Ok(false),
                Some(found) => found.map(|found| found == side),
            };
            match (
                outside(min, &range.min, std::cmp::Ordering::Less),
                outside(max, &range.max, std::cmp::Ordering::Greater),
            ) {
                (Err(fault), _) | (_, Err(fault)) => faults.push(fault),
                // A truncated minimum is smaller than the real one, and a truncated maximum is larger, so the real
                // values may still be within the bounds.
                (Ok(small), Ok(large)) if !exact && (small || large) => cut.push(file),
                (Ok(small), Ok(large)) => {
                    below.extend(small.then_some(file));
                    above.extend(large.then_some(file));
                }
            }
        }
        if let Some(fault) = faults.first() {
            reasons.push(format!("range: {name}: expected {fault} as a bound for this column, found {range}"));
            continue;
        }
        for (files, found) in [
            (below, "found smaller values"),
            (above, "found larger values"),
            (cut, "found only truncated statistics for long strings (use sql instead)"),
        ] {
            reasons
                .extend(file_list(files).map(|files| format!("range: {name}: expected {range}, {found} in {files}")));
        }
    }
    reasons
}

/// Checks that the newest value in each column listed in `fresh` is recent enough at `now`. Returns one reason for each
/// column that fails.
pub fn fresh(checks: &Checks, manifest: &Manifest, footers: &[Footer], now: Timestamp) -> Vec<String> {
    let judge = |(name, fresh): &(String, Fresh)| {
        let most = &fresh.max_age;
        let found = match extremes("fresh", name, manifest, footers) {
            Ok(found) => found,
            Err(reason) => return Some(reason),
        };
        let mut newest = None;
        for (_, _, max, _) in found {
            let Some(moment) = max.moment() else {
                return Some(match max {
                    Value::Date(_) | Value::Timestamp(_) => format!(
                        "fresh: {name}: expected a value from the last {most:#}, but the newest is at the end of the year \
                         9999 or later, or before -9999, so its age is unknown: set ignore_after, or \
                         replace such values with NULL in the query"
                    ),
                    _ => format!("fresh: {name}: expected a column of dates or timestamps, found another type"),
                });
            };
            newest = newest.max(Some(moment));
        }
        let Some(newest) = newest else {
            return Some(format!("fresh: {name}: expected at least one value, found none"));
        };
        let age = now.duration_since(newest);
        (age > *most).then(|| {
            format!(
                "fresh: {name}: expected a value from the last {most:#}, but the newest is more than {} hours old",
                age.as_hours()
            )
        })
    };
    // With `ignore_after`, Athena checks instead, because footers only have the maximum of all values.
    checks.fresh.iter().filter(|(_, fresh)| fresh.ignore_after.is_none()).filter_map(judge).collect()
}

/// A file's key, and its statistics for one column. `None` if it has none.
type FileStatistics<'a> = (&'a str, Option<&'a Statistics>);

/// Returns the statistics of the column `name` for each file that has rows. The error is the reason to report if the
/// column doesn't exist.
fn column<'a>(
    check: &str,
    name: &str,
    manifest: &Manifest,
    footers: &'a [Footer],
) -> Result<Vec<FileStatistics<'a>>, String> {
    let files = footers.iter().filter(|footer| footer.rows > 0);
    if let Some(at) = manifest.partitions.iter().position(|partition| partition.column.name == name) {
        return Ok(files.map(|footer| (footer.key.as_str(), footer.partitions.get(at))).collect());
    }
    let names: Vec<&str> = manifest.names().collect();
    let Some(at) = manifest.columns.iter().position(|column| column.name == name) else {
        return Err(format!("{check}: expected a column {name:?}, found only {}", names.join(", ")));
    };
    Ok(files.map(|footer| (footer.key.as_str(), footer.statistics.get(at).and_then(Option::as_ref))).collect())
}

/// A file's key, the smallest and largest values of one column in the file, and whether both are exact.
type FileExtremes<'a> = (&'a str, &'a Value, &'a Value, bool);

/// Returns the extremes of the column `name` for each file that has values. The error is the reason to report if the
/// column doesn't exist or a file lacks statistics.
fn extremes<'a>(
    check: &str,
    name: &str,
    manifest: &Manifest,
    footers: &'a [Footer],
) -> Result<Vec<FileExtremes<'a>>, String> {
    let (mut found, mut unknown, mut not_a_number) = (Vec::new(), Vec::new(), Vec::new());
    for (file, statistics) in column(check, name, manifest, footers)? {
        match statistics.map(|statistics| &statistics.extremes) {
            None | Some(Extremes::Unknown) => unknown.push(file),
            Some(Extremes::NoValue) => {}
            Some(Extremes::NotANumber) => not_a_number.push(file),
            Some(Extremes::Between { min, max, exact }) => found.push((file, min, max, *exact)),
        }
    }
    if let Some(files) = file_list(not_a_number) {
        return Err(format!(
            "{check}: {name}: expected numbers, found NaN in {files} (exclude it at the source, or use sql instead)"
        ));
    }
    match file_list(unknown) {
        Some(files) => Err(format!("{check}: {name}: expected footer statistics, found none in {files}")),
        None => Ok(found),
    }
}

/// Formats a list of files as the first one and the number of others: `a and 2 more`. Returns `None` if there are no
/// files.
fn file_list<'a>(files: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut files = files.into_iter();
    let first = files.next()?;
    Some(match files.count() {
        0 => first.to_owned(),
        more => format!("{first} and {more} more"),
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{
        audit::fixture,
        config::{Bound, Range},
    };

    fn hours(hours: i64) -> Fresh {
        Fresh { max_age: SignedDuration::from_hours(hours), ignore_after: None }
    }

    type Judge = fn(&Checks, &Manifest, &[Footer]) -> Vec<String>;

    /// Runs `check` on two files. For each file, `values` holds the number of nulls, the smallest value and the largest
    /// value of the column `id`. Returns the reasons.
    fn judge(check: Judge, checks: &Checks, values: [(u64, Value, Value); 2]) -> Vec<String> {
        let manifest = fixture::manifest();
        check(checks, &manifest, &fixture::footers(&manifest, values))
    }

    fn whole(nulls: u64, min: i64, max: i64) -> (u64, Value, Value) {
        (nulls, Value::Whole(min), Value::Whole(max))
    }

    fn in_range(min: Option<Bound>, max: Option<Bound>) -> Checks {
        Checks { range: vec![("id".into(), Range { min, max })], ..Checks::default() }
    }

    #[test]
    fn nulls_are_counted_across_all_files() {
        let checks = Checks { not_null: vec!["id".into()], ..Checks::default() };
        assert_eq!(judge(not_null, &checks, [whole(0, 1, 2), whole(0, 1, 2)]), [""; 0]);
        assert_eq!(
            judge(not_null, &checks, [whole(1, 1, 2), whole(2, 1, 2)]),
            ["not_null: id: expected no nulls, found 3"]
        );
    }

    #[test]
    fn file_without_statistics_fails_the_check() {
        let manifest = fixture::manifest();
        let checks = Checks {
            not_null: vec!["id".into()],
            fresh: vec![("id".into(), hours(1))],
            ..in_range(Some(Bound::Whole(0)), None)
        };
        let mut footers = fixture::footers(&manifest, [whole(0, 1, 2), whole(0, 1, 2)]);
        footers[0].statistics[0] = Some(Statistics { nulls: None, extremes: Extremes::Unknown });
        footers[1].statistics[0] = None;
        let all = |footers: &[Footer]| {
            [
                not_null(&checks, &manifest, footers),
                range(&checks, &manifest, footers),
                fresh(&checks, &manifest, footers, Timestamp::UNIX_EPOCH),
            ]
            .concat()
        };
        assert_eq!(
            all(&footers),
            [
                "not_null: id: expected footer statistics, found none in a and 1 more",
                "range: id: expected footer statistics, found none in a and 1 more",
                "fresh: id: expected footer statistics, found none in a and 1 more",
            ]
        );
        // Files without rows need no statistics.
        footers.iter_mut().for_each(|footer| footer.rows = 0);
        assert_eq!(all(&footers), ["fresh: id: expected at least one value, found none"]);
    }

    #[test]
    fn row_groups_combine_and_one_without_statistics_makes_all_unknown() {
        let some = |nulls, min, max| {
            let extremes = Extremes::Between { min: Value::Whole(min), max: Value::Whole(max), exact: true };
            Statistics { nulls: Some(nulls), extremes }
        };
        let none = Statistics { nulls: Some(5), extremes: Extremes::NoValue };
        let unknown = Statistics { nulls: None, extremes: Extremes::Unknown };
        assert_eq!(some(1, 3, 4).and(some(2, 1, 2)), some(3, 1, 4));
        assert_eq!(none.clone().and(some(1, 3, 4)), some(6, 3, 4));
        assert_eq!(some(1, 3, 4).and(unknown.clone()), unknown);
        assert_eq!(unknown.clone().and(none), unknown);
    }

    #[test]
    fn range_includes_its_bounds_and_reveals_no_values() {
        let checks = in_range(Some(Bound::Whole(0)), Some(Bound::Whole(100)));
        assert_eq!(judge(range, &checks, [whole(9, 0, 5), whole(0, 50, 100)]), [""; 0]);
        assert_eq!(
            judge(range, &checks, [whole(0, -7, 5), whole(0, -8, 4321)]),
            [
                "range: id: expected 0 to 100, found smaller values in a and 1 more",
                "range: id: expected 0 to 100, found larger values in b",
            ]
        );
        let only_min = in_range(Some(Bound::Number(0.5)), None);
        assert_eq!(
            judge(range, &only_min, [whole(0, 0, 5), whole(0, 1, 1)]),
            ["range: id: expected 0.5 or more, found smaller values in a"]
        );
        let text = in_range(None, Some(Bound::Text("m".into())));
        assert_eq!(
            judge(range, &text, [whole(0, 0, 5), whole(0, 1, 1)]),
            ["range: id: expected a number as a bound for this column, found at most \"m\""]
        );
    }

    #[test]
    fn nan_is_named_whatever_the_other_files_and_row_groups_have() {
        let checks = in_range(Some(Bound::Whole(0)), None);
        let manifest = fixture::manifest();
        let between = Extremes::Between { min: Value::Number(1.0), max: Value::Number(2.0), exact: true };
        for other in [between, Extremes::NoValue, Extremes::Unknown, Extremes::NotANumber] {
            let statistics = |extremes| Statistics { nulls: Some(0), extremes };
            let both = statistics(Extremes::NotANumber).and(statistics(other.clone()));
            assert_eq!(both, statistics(Extremes::NotANumber));
            let mut footers = fixture::footers(&manifest, [whole(0, 1, 2), whole(0, 1, 2)]);
            footers[0].statistics[0] = Some(statistics(other).and(both));
            assert_eq!(
                range(&checks, &manifest, &footers),
                ["range: id: expected numbers, found NaN in a (exclude it at the source, or use sql instead)"]
            );
        }
    }

    #[test]
    fn truncated_text_in_a_footer_fails_the_range_as_undecided() {
        let manifest = fixture::manifest();
        let text = |text: &str| Value::Text(text.into());
        let mut footers = fixture::footers(&manifest, [(0, text("aa"), text("b")), (0, text("a"), text("z"))]);
        for footer in &mut footers {
            if let Some(Some(Statistics { extremes: Extremes::Between { exact, .. }, .. })) =
                footer.statistics.first_mut()
            {
                *exact = false;
            }
        }
        let checks = in_range(Some(Bound::Text("aa".into())), None);
        assert_eq!(
            range(&checks, &manifest, &footers),
            [
                "range: id: expected \"aa\" or more, found only truncated statistics for long strings (use sql instead) in b"
            ]
        );
    }

    #[test]
    fn age_of_the_newest_value_is_reported_in_hours() {
        let checks = Checks { fresh: vec![("id".into(), hours(25))], ..Checks::default() };
        let at = |hours: i64| (0, Value::Date(0), Value::Timestamp(hours * 3_600_000_000));
        let judge = |values, now: i64| {
            let manifest = fixture::manifest();
            let now = Timestamp::from_second(now).unwrap();
            fresh(&checks, &manifest, &fixture::footers(&manifest, values), now)
        };
        assert_eq!(judge([at(1), at(0)], 26 * 3600), [""; 0]);
        assert_eq!(
            judge([at(0), at(1)], 27 * 3600 + 60),
            ["fresh: id: expected a value from the last 25h, but the newest is more than 26 hours old"]
        );
        assert_eq!(
            judge([(0, Value::Date(0), Value::Date(1)), (0, Value::Date(0), Value::Date(0))], 49 * 3600),
            [""; 0]
        );
        // 9999-12-31 and 9999-12-31T00:00:00 stand for "no end" in many databases.
        for sentinel in [Value::Date(2_932_896), Value::Timestamp(253_402_214_400_000_000)] {
            let reasons = judge([(0, Value::Date(0), sentinel), at(0)], 0);
            assert_eq!(
                reasons,
                [
                    "fresh: id: expected a value from the last 25h, but the newest is at the end of the year 9999 or later, or \
                  before -9999, so its age is unknown: set ignore_after, or replace such values with NULL in the query"
                ]
            );
        }
        assert_eq!(
            judge([whole(0, 1, 1), whole(0, 1, 1)], 0),
            ["fresh: id: expected a column of dates or timestamps, found another type"]
        );
    }
}
