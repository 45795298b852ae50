//! Makes a generation live: load → decide → audit → one `UpdateTable` → record → canary.

pub mod adoption;
mod attempts;
mod audit;
mod canary;
pub mod column_statistics;
mod commit;
mod databases;
mod drift;
mod evidence;
mod flip;
pub mod group;
pub mod identity;
mod manifests;
mod operator;
pub mod published;
pub mod relocate;
pub mod rename;
mod repair;
mod report;
pub mod retire;
pub mod retired;
mod sql_checks;
mod statistics;
mod table_state;
pub mod verdict;
pub mod verify;
pub mod view_check;
pub mod views;

pub use attempts::Attempts;
pub use audit::Audit;
pub use drift::{Drift, detect_drift, drift_suspected};
pub use evidence::objects;
pub use flip::{Attempt, attempt, flip};
pub use manifests::{complete, complete_new, manifest};
pub use operator::{hold, release, rollback};
pub use repair::{detect_and_repair, verify_files};
pub use report::{Cause, FlipReport, Outcome};
pub use sql_checks::Scanned;
pub use table_state::{
    TableHead, TableState, ensure_not_deleting, flippable_location, flips, hold as held, live, live_to_follow,
    partition_keys,
};
