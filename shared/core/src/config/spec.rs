//! The hash of the settings that decide a dataset's content.

use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::dataset::OnUnrepresentable;
use crate::layout::Location;

/// The options of a source that say how to access it, and don't affect its rows.
const ACCESS_KEYS: [&str; 19] = [
    "url",
    "secret",
    "host",
    "port",
    "dbname",
    "sslmode",
    "sslrootcert",
    "ssl-mode",
    "ssl-ca",
    "parallel",
    "split_by",
    "snapshot",
    "auth",
    "connect_timeout",
    "statement_timeout",
    "keepalive",
    "lock_timeout",
    "workgroup",
    "timeout",
];

/// Returns the SHA-256, in hex, of the settings that decide the content. `table` is the dataset's entry in the file,
/// and the other arguments include the defaults. How to access the source is left out, so that a new password doesn't
/// change the hash. The source in `reconcile` is hashed with all its options.
pub fn spec(table: &Table, unrepresentable: OnUnrepresentable, database: &str, location: &Location) -> String {
    let mut table = table.clone();
    if unrepresentable == OnUnrepresentable::Null {
        table.insert("on_unrepresentable".into(), "null".into());
    }
    for key in ["adopt", "retain", "workgroups", "group", "refresh", "timezone"] {
        table.remove(key);
    }
    if let Some(Value::Table(source)) = table.get_mut("source") {
        for (_, options) in source.iter_mut() {
            if let Value::Table(options) = options {
                for key in ACCESS_KEYS {
                    options.remove(key);
                }
            }
        }
    }
    let text = serde_json::json!([database, location, table]).to_string();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, test_support::DEFAULTS};

    #[test]
    fn spec_depends_on_the_query_but_not_on_the_password() {
        let spec = |url: &str, query: &str| {
            let text =
                format!("{DEFAULTS}[datasets.a]\nsource = {{ postgres = {{ url = {url:?}, query = {query:?} }} }}\n");
            Config::parse("x", &text).unwrap().dataset("a").unwrap().spec.clone()
        };
        assert_eq!(spec("postgres://a:1@h/d", "SELECT 1"), spec("postgres://a:2@h/d", "SELECT 1"));
        assert_ne!(spec("postgres://a:1@h/d", "SELECT 1"), spec("postgres://a:1@h/d", "SELECT 2"));
    }
}
