//! Parses events into requests. The answers are in `turntable::answer`.

mod batch;
mod event;
mod export;
mod flip;
mod message;
mod optout;
mod run;
mod sweep;

pub use batch::{SqsBatchResponse, redeliver};
pub use export::Export;
pub use flip::{Flip, is_about_all};
pub use message::{Message, message};
pub use optout::Optout;
pub use sweep::Sweep;
