//! Exports: source → data files → manifest, for one dataset or a group; and engine runs.

mod answer;
mod batch;
mod engine_run;
mod environment;
mod generation;
mod group;
mod report;
mod requests;
mod single;

pub use answer::{Answer, EngineOutcome, EngineResponse, Exported, ExportedGroup};
pub use environment::Export;
pub use requests::carry_out;
