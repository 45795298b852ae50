//! The pages: everything that they name exists, and a test runs every command that they show.

mod commands;
mod links;
mod runbook;
