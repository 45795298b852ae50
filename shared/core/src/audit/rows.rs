//! How many rows there are, and how many there were.

use crate::config::Checks;

/// `live`: how many rows live has; `None` where nobody knows. Against nothing, or against an empty table, nothing
/// has shrunk or grown.
pub fn rows(checks: &Checks, rows: u64, live: Option<u64>) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(least) = checks.min_rows.filter(|least| rows < *least) {
        reasons.push(format!("min_rows: expected at least {least}, found {rows}"));
    }
    let Some(live) = live.filter(|live| *live > 0) else { return reasons };
    let part = |changed: u64| changed as f64 / live as f64;
    if let Some(most) = checks.max_shrink.filter(|most| part(live.saturating_sub(rows)) > *most) {
        reasons.push(format!("max_shrink: expected at most {most} of live's {live} rows to go, found {rows} rows"));
    }
    if let Some(most) = checks.max_growth.filter(|most| part(rows.saturating_sub(live)) > *most) {
        reasons.push(format!("max_growth: expected at most {most} of live's {live} rows to come, found {rows} rows"));
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
    fn the_very_bounds_pass() {
        for (found, live) in [(80, Some(100)), (150, Some(100)), (10, None), (10, Some(0)), (10, Some(7))] {
            assert_eq!(judge(found, live), [""; 0], "{found} {live:?}");
        }
    }

    #[test]
    fn beyond_them_is_said() {
        assert_eq!(judge(9, None), ["min_rows: expected at least 10, found 9"]);
        assert_eq!(judge(79, Some(100)), ["max_shrink: expected at most 0.2 of live's 100 rows to go, found 79 rows"]);
        assert_eq!(
            judge(151, Some(100)),
            ["max_growth: expected at most 0.5 of live's 100 rows to come, found 151 rows"]
        );
    }
}
