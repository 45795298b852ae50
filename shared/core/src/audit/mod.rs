//! The audit: decides, from evidence that the caller gathers, whether a candidate may go live.
//!
//! A reason names the check, the expected result and the actual result. It never contains a value from a row, and that
//! includes the smallest and largest values of a column. The only exception is the age, in hours, of the newest value
//! in a `fresh` column.

mod evidence;
#[cfg(test)]
pub(crate) mod fixture;
mod footer_checks;
mod rows;
mod sql_checks;
mod statistics;
mod structure;
mod value;
mod verdict;

pub use evidence::{Evidence, Footer, Object};
pub use sql_checks::{Question, has_sql_checks, questions};
pub use statistics::{Extremes, Statistics, of_folders};
pub use structure::{exact_objects, is_same_key, partition_keys};
pub use value::{Value, fresh_fault, range_fault};
pub use verdict::{Verdict, verdict};
