//! The pure part of the opt-out merge: which drops it reads, which may be archived, and the views over its table.

pub mod archive;
pub mod consumed;
pub mod published;
pub mod returning;
pub mod view;
