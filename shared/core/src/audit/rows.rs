//! Checks a candidate's number of rows, on its own and against the live generation's.

use crate::config::Checks;

/// Checks a candidate's number of rows against `min_rows`, `max_shrink` and `max_growth`. Returns one reason for each
/// check that fails.
///
/// `live` is the number of rows in the live generation. If that is unknown (`None`) or 0, `max_shrink` and `max_growth`
/// pass.
pub fn rows(checks: &Checks, rows: u64, live: Option<u64>) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(least) = checks.min_rows.filter(|least| rows < *least) {
        reasons.push(format!("min_rows: expected at least {least}, found {rows}"));
    }
    let Some(live) = live.filter(|live| *live > 0) else { return reasons };
    let fraction = |changed: u64| changed as f64 / live as f64;
    if let Some(most) = checks.max_shrink.filter(|most| fraction(live.saturating_sub(rows)) > *most) {
        reasons.push(format!("max_shrink: expected to lose at most {most} of the {live} live rows, found {rows} rows"));
    }
    if let Some(most) = checks.max_growth.filter(|most| fraction(rows.saturating_sub(live)) > *most) {
        reasons.push(format!("max_growth: expected to gain at most {most} of the {live} live rows, found {rows} rows"));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(found: u64, live: Option<u64>) -> Vec<String> {
        let checks = Checks { min_rows: Some(10), max_shrink: Some(0.2), max_growth: Some(0.5), ..Checks::default() };
        rows(&checks, found, live)
    }

    #[test]
    fn counts_at_the_bounds_pass() {
        for (found, live) in [(80, Some(100)), (150, Some(100)), (10, None), (10, Some(0)), (10, Some(7))] {
            assert_eq!(judge(found, live), [""; 0], "{found} {live:?}");
        }
    }

    #[test]
    fn counts_beyond_the_bounds_are_reported() {
        assert_eq!(judge(9, None), ["min_rows: expected at least 10, found 9"]);
        assert_eq!(
            judge(79, Some(100)),
            ["max_shrink: expected to lose at most 0.2 of the 100 live rows, found 79 rows"]
        );
        assert_eq!(
            judge(151, Some(100)),
            ["max_growth: expected to gain at most 0.5 of the 100 live rows, found 151 rows"]
        );
    }
}
