//! Sweep on in-memory ports: what it deletes, what it never deletes, and crashes anywhere.

mod history;
mod lake;
mod races;
mod readers;
mod rules;
