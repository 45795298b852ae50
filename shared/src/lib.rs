//! Turntable's pipelines, and what the four functions share.
//!
//! | module | what it does |
//! |---|---|
//! | [`export`] | source → data files → manifest, for one dataset, a group, or an engine run |
//! | [`engine`] | Athena and Glue jobs, which write the files themselves: started once, settled once |
//! | [`publish`] | makes a candidate live: load → decide → audit → one update → record → canary |
//! | [`optout`] | unread drops → merge → the next generation of an opt-out table, and its views |
//! | [`sweep`] | deletes unreachable generations, and archives drops |
//! | [`flip`] | carries out the requests to `flip`: a candidate's event, a rollback, a hold, the status |
//! | [`status`] | reports the state of one dataset or of all |
//! | [`answer`], [`request`] | the functions' answers; how an event becomes a request |
//! | [`environment`], [`clock`], [`deadline`], [`lambda`], [`metric`] | clients, time and randomness; the Lambda runtime; metrics |
//!
//! Everything that only decides is in `turntable-core`, re-exported here so that handlers need one crate.

pub use turntable_aws as aws;
pub use turntable_core::{
    audit, config, consent, decision, error, group, history, layout, manifest, partition, port, record, schema, table,
    unload,
};
pub use turntable_events as request;
pub use turntable_parquet as parquet;
pub use turntable_sources as sources;

pub mod answer;
pub mod clock;
pub mod deadline;
pub mod engine;
pub mod environment;
pub mod export;
pub mod flip;
pub mod lambda;
pub mod metric;
pub mod optout;
pub mod publish;
pub mod status;
pub mod sweep;
