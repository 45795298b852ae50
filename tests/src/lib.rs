//! Support code that the tests share: in-memory ports, throw-away servers, fault injection, and parsers for the pages.

pub mod cases;
pub mod catalog;
pub mod certificates;
pub mod commands;
pub mod contract;
pub mod disturbed;
pub mod engine;
pub mod follow;
pub mod http;
pub mod instruction;
pub mod mariadb;
pub mod memory;
pub mod moto;
pub mod optouts;
pub mod page;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
pub mod query;
pub mod random;
pub mod rig;
mod server;
pub mod throttle;
pub mod types_page;
pub mod wire;
