//! The sources of rows. Code that only decodes bytes builds without the feature `aws`; code that connects needs it.

pub mod copy;
pub mod files;
pub mod inbox;
pub mod unrepresentable;

#[cfg(feature = "aws")]
mod background;
#[cfg(feature = "aws")]
pub mod mysql;
#[cfg(feature = "aws")]
mod names;
#[cfg(feature = "aws")]
mod open;
#[cfg(feature = "aws")]
pub mod postgres;
#[cfg(feature = "aws")]
mod secret;

#[cfg(feature = "aws")]
pub use open::{Batches, Context, Copy, Opened, Secrets, Snapshot, open, schema};
