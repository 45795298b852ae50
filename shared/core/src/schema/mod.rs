//! The columns of a table: their types, how two sets of them differ, and which changes are allowed.

mod change;
mod column;
mod glue_type;
mod policy;
mod text;

pub use change::{Change, changes};
pub use column::Column;
pub use glue_type::GlueType;
pub use policy::Policy;
