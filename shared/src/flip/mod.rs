//! Handles requests to `flip`: events for new manifests and changed tables, and operators' requests (flip, rollback,
//! hold, release, status).

mod answer;
mod dataset;
mod group;
mod requests;

pub use answer::{Flipped, FlippedGroup, Response};
pub use requests::{carry_out, status_of_all};
