//! The audit: decides from evidence whether a candidate may go live. The evidence is fetched elsewhere.
//!
//! A reason names the check, the expected and the actual result, and never a value of a row: even a smallest value
//! belongs to some row. The only exception is the age in hours of the newest value of a `fresh` column.

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
pub use structure::exact_objects;
pub use value::Value;
pub use verdict::{Verdict, verdict};
