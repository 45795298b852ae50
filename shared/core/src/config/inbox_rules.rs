//! Reads the limits on what an inbox's drops may do: `accepts`, `max_returning` and `quota`.

use toml::Value;

use super::{
    read::{Keys, described},
    source::Quota,
};
use crate::consent::{
    ConsentState,
    accepts::{Accepts, States},
};

/// Reads `accepts`: a list of states, or a table of such lists by prefix.
pub(super) fn accepts(keys: &Keys) -> Accepts {
    let Some(value) = keys.value("accepts") else { return Accepts::default() };
    if let Value::Table(table) = value {
        let of = |(prefix, value): (&String, &Value)| {
            let path = format!("accepts.{prefix}");
            if prefix.starts_with('/') {
                keys.fault(&path, "expected the beginning of a drop's name within the inbox, without a leading slash");
            }
            Some((prefix.clone(), states(keys, &path, value)?))
        };
        return Accepts::new(table.iter().filter_map(of).collect());
    }
    Accepts::new(states(keys, "accepts", value).map(|states| (String::new(), states)).into_iter().collect())
}

/// Reads one list of distinct states.
fn states(keys: &Keys, path: &str, value: &Value) -> Option<States> {
    let state = |value: &Value| value.as_str().and_then(|text| text.parse::<ConsentState>().ok());
    let listed: Option<Vec<ConsentState>> = value.as_array().and_then(|list| list.iter().map(state).collect());
    let is_distinct = |listed: &Vec<ConsentState>| (1..listed.len()).all(|at| !listed[..at].contains(&listed[at]));
    let listed = listed.filter(|listed| !listed.is_empty()).filter(is_distinct);
    if listed.is_none() {
        let expected = "expected a list of distinct states from opted_out, withdrawn, opted_in";
        keys.fault(path, format!("{expected}, found {}", described(value)));
    }
    listed.map(|listed| listed.into_iter().collect())
}

/// Reads `quota = { drops = 50000, mb = 2048 }`.
pub(super) fn quota(keys: &Keys) -> Quota {
    let default = Quota::default();
    let Some(keys) = keys.table("quota") else { return default };
    let drops = keys.whole("drops", 1).and_then(|drops| usize::try_from(drops).ok());
    let bytes = keys.whole("mb", 1).map(|mb| mb.saturating_mul(1 << 20));
    keys.finish();
    Quota { drops: drops.unwrap_or(default.drops), bytes: bytes.unwrap_or(default.bytes) }
}

#[cfg(test)]
mod tests {
    use crate::{
        config::{Config, Inbox, Source, test_support::without_positions},
        consent::ConsentState::{OptedIn, OptedOut, Withdrawn},
    };

    fn inbox(more: &str) -> Result<Inbox, String> {
        let text = format!(
            "[datasets.optouts]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
             source = {{ inbox = {{ location = \"s3://lake/inbox\", key = \"id\", {more} }} }}\n"
        );
        let config = Config::parse("x", &text).map_err(|error| without_positions(error.message()))?;
        match &config.dataset("optouts").unwrap().source {
            Source::Inbox(inbox) => Ok(inbox.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rules_are_read() {
        let read = inbox(
            "accepts = { \"\" = [\"opted_out\", \"withdrawn\"], \"app/\" = [\"opted_in\"] }, max_returning = 0, \
             quota = { drops = 10, mb = 3 }",
        )
        .unwrap();
        assert_eq!((read.max_returning, read.quota.drops, read.quota.bytes), (Some(0), 10, 3 << 20));
        assert_eq!([OptedIn, OptedOut, Withdrawn].map(|state| read.accepts.of("a").has(state)), [false, true, true]);
        assert!(read.accepts.of("app/a").has(OptedIn) && !read.accepts.of("app/a").has(OptedOut));
        let read = inbox("accepts = [\"withdrawn\"]").unwrap();
        assert_eq!([OptedIn, Withdrawn].map(|state| read.accepts.of("a").has(state)), [false, true]);
        let read = inbox("min_interval = \"1s\"").unwrap();
        assert_eq!((read.max_returning, read.quota.drops), (None, 50_000));
    }

    #[test]
    fn invalid_rules_are_faults() {
        let expected = "expected a list of distinct states from opted_out, withdrawn, opted_in";
        for (more, fault) in [
            ("accepts = []", format!("accepts: {expected}, found an array")),
            ("accepts = [\"out\"]", format!("accepts: {expected}, found an array")),
            ("accepts = [\"withdrawn\", \"withdrawn\"]", format!("accepts: {expected}, found an array")),
            ("accepts = { \"a/\" = \"withdrawn\" }", format!("accepts.a/: {expected}, found a string")),
            ("max_returning = -1", "max_returning: expected a whole number, 0 or more, found a negative number".into()),
            ("quota = { drops = 0 }", "quota.drops: expected a whole number, 1 or more, found a whole number".into()),
        ] {
            assert_eq!(inbox(more).unwrap_err(), format!("x: datasets.optouts.source.inbox.{fault}"));
        }
        assert!(inbox("accepts = { \"/a\" = [\"withdrawn\"] }").unwrap_err().contains("without a leading slash"));
    }
}
