//! Requests to `flip`: a candidate's event, and what operators ask for: flip, rollback, hold, release, status.

mod answer;
mod dataset;
mod group;
mod requests;

pub use answer::{Flipped, FlippedGroup, Response};
pub use requests::{carry_out, status_of_all};
