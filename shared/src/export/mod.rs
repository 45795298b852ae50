//! Handles requests to `export`: exports a dataset or a group (source → data files → manifest), and starts and settles
//! engine runs.

mod answer;
mod batch;
mod engine_run;
mod environment;
mod failure;
mod flipped;
mod generation;
mod group;
mod puts;
mod refreshes;
mod report;
mod requests;
mod single;
mod tick;
pub(crate) mod unread;

pub use answer::{Answer, EngineOutcome, EngineResponse, Exported, ExportedGroup};
pub use environment::Export;
pub use requests::carry_out;
