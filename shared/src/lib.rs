//! Turntable's pipelines, and the code that the four functions share.
//!
//! | module | what it does |
//! |---|---|
//! | [`export`] | builds generations (source → data files → manifest) for datasets and groups, or starts engine runs |
//! | [`engine`] | starts and settles engine runs: Athena queries and Glue jobs that write the files themselves |
//! | [`publish`] | makes a candidate live: load → decide → audit → one update → record → canary |
//! | [`optout`] | merges unread drops into the next generation of an opt-out table, and maintains its views |
//! | [`sweep`] | deletes unreachable generations, and archives drops |
//! | [`flip`] | handles requests to `flip`: a candidate's event, a rollback, a hold, the status |
//! | [`status`] | reports the state of one dataset or of all |
//! | [`buckets`], [`dead_letters`] | check the buckets' settings; read the dead-letter queues |
//! | [`answer`], [`request`] | define the functions' answers; parse events into requests |
//! | [`inputs`] | determines which generations of a dataset's inputs are live, and whether it must be built again |
//! | [`config_faults`] | reports the entries in `datasets.toml` that have errors |
//! | [`environment`], [`clock`] | provide clients, time and randomness |
//! | [`invocation`], [`deadline`] | describe one invocation: who may have sent it, and when it must end |
//! | [`lambda`], [`metric`] | connect a function to Lambda's runtime; write CloudWatch metrics |
//!
//! All code that only makes decisions is in `turntable-core`. It is re-exported here, so that the handlers depend on
//! only one crate.

pub use turntable_aws as aws;
pub use turntable_core::{
    audit, bucket_settings, config, consent, decision, error, group, history, layout, manifest, partition, port, read,
    record, refresh, retired, schema, table, unload,
};
pub use turntable_events as request;
pub use turntable_parquet as parquet;
pub use turntable_sources as sources;

pub mod answer;
pub mod buckets;
pub mod catalog;
pub mod clock;
pub mod config_faults;
pub mod dead_letters;
pub mod deadline;
pub mod engine;
pub mod environment;
pub mod export;
pub mod flip;
pub mod inputs;
pub mod invocation;
pub mod lambda;
pub mod metric;
pub mod optout;
pub mod publish;
pub mod status;
pub mod sweep;
