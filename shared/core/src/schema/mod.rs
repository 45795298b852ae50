//! A table's columns: their types, how two lists of columns differ, and which changes are allowed.

mod change;
mod column;
mod glue_type;
mod policy;
mod readable;
mod text;

pub use change::{Change, changes};
pub use column::Column;
pub use glue_type::{GlueType, sql_type};
pub use policy::Policy;
pub use readable::{is_readable_field, readable, readable_name};
