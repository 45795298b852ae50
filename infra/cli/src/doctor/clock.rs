//! Compares this machine's clock with AWS's.

use std::time::SystemTime;

use aws_smithy_types::{DateTime, date_time::Format};

use super::report::Line;

const CHECK: &str = "clock";
const SUBJECT: &str = "this machine";
const REMEDY: &str = "synchronise the clock, for example with chrony or systemd-timesyncd";

/// The clock difference, in seconds, above which AWS rejects a signature.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html>
const REFUSED_BEYOND: i64 = 300;
const WARNED_BEYOND: i64 = 60;

/// Compares the clock with `date`, the `Date` header of an AWS response that just arrived.
pub fn line(date: Option<&str>, now: SystemTime) -> Line {
    let theirs = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
    let Some(theirs) = theirs else {
        return Line::warning(CHECK, SUBJECT, "not compared, because AWS's response has no date", "compare it by hand");
    };
    let off = DateTime::from(now).secs() - theirs.secs();
    let found = format!("{} s {} AWS's", off.abs(), if off < 0 { "behind" } else { "ahead of" });
    match off.abs() {
        REFUSED_BEYOND.. => {
            Line::fault(CHECK, SUBJECT, format!("{found}: AWS rejects signatures that are 300 s off"), REMEDY)
        }
        WARNED_BEYOND.. => Line::warning(CHECK, SUBJECT, found, REMEDY),
        _ => Line::ok(CHECK, SUBJECT, found),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::doctor::report::Status;

    #[test]
    fn clock_is_judged_by_the_time_that_it_is_off() {
        let at = |seconds| line(Some("Thu, 01 Jan 1970 01:00:00 GMT"), UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(3600), Line::ok("clock", "this machine", "0 s ahead of AWS's"));
        assert_eq!(at(3659).status, Status::Ok);
        assert_eq!(at(3540).status, Status::Warning);
        assert_eq!((at(3300).status, at(3300).found.starts_with("300 s behind AWS's")), (Status::Fault, true));
        assert_eq!(line(None, UNIX_EPOCH).status, Status::Warning);
    }
}
