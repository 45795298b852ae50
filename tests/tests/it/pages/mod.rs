//! The pages: what they name is there, and what they tell a reader to run is run by a test.

mod commands;
mod links;
