//! Implements `turntable-core`'s ports on AWS.

pub mod athena;
pub mod engine;
mod fault;
pub mod glue;
pub mod rds;
pub mod role;
pub mod s3;
pub mod secrets;
pub mod sqs;
