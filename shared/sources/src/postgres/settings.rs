//! The settings of a run's transaction, which override those of the URL, the role, the database and the server.
//!
//! docs/postgres.md lists them, and a test compares the list with the session.

use turntable_core::config::Postgres;

/// Fixes the settings that could change the text form of values, the meaning of the query's syntax, or the number of
/// rows, and turns off the timeouts that are meant for short transactions. Settings that the query's author relies on
/// stay as they are: the time zone, the search path, the order of day and month in `datestyle`, the locale and the text
/// search configuration.
const FIXED: &str = "SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL extra_float_digits = 1; \
    SET LOCAL bytea_output = 'hex'; SET LOCAL xmlbinary = 'base64'; SET LOCAL xmloption = 'content'; \
    SET LOCAL quote_all_identifiers = off; SET LOCAL array_nulls = on; SET LOCAL transform_null_equals = off; \
    SET LOCAL standard_conforming_strings = on; SET LOCAL backslash_quote = 'safe_encoding'; \
    SET LOCAL constraint_exclusion = 'partition'; SET LOCAL gin_fuzzy_search_limit = 0; \
    SET LOCAL synchronize_seqscans = off; SET LOCAL idle_in_transaction_session_timeout = 0; \
    SELECT pg_catalog.set_config(name, '0', true) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'";

/// The query for the settings that are on although they make the server skip damaged rows. Only a superuser can change
/// these settings.
pub const HARMFUL: &str = "SELECT pg_catalog.concat_ws(', ', \
    CASE pg_catalog.current_setting('zero_damaged_pages') WHEN 'on' THEN 'zero_damaged_pages' END, \
    CASE pg_catalog.current_setting('ignore_checksum_failure') WHEN 'on' THEN 'ignore_checksum_failure' END)";

/// Selects the database's encoding.
pub const ENCODING: &str = "SELECT pg_catalog.current_setting('server_encoding')";

/// The name of the encoding in which text is published.
pub const UTF8: &str = "UTF8";

/// The name of the database encoding that allows any bytes.
pub const SQL_ASCII: &str = "SQL_ASCII";

/// Makes the server send text as it is stored, and accept text unchanged.
pub const UNCONVERTED: &str = "SET LOCAL client_encoding = 'SQL_ASCII'";

/// Makes a scan return its rows in the same order for every part. Parallel workers would return them in any order.
pub const WITHOUT_WORKERS: &str = "SET LOCAL max_parallel_workers_per_gather = 0";

/// Returns the statements for all settings: the ones that the dataset can choose, and the fixed ones.
pub fn statements(options: &Postgres) -> String {
    let session = &options.session;
    let row_security = if session.row_security { "on" } else { "off" };
    format!(
        "SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; SET LOCAL row_security = {row_security}; {FIXED}",
        session.statement_timeout.map_or(0, |limit| limit.as_millis()),
        session.lock_timeout().as_millis(),
    )
}
