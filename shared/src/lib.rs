//! Turntable's shared crate. (Map to come.)

pub mod config;
pub mod error;
pub mod manifest;
pub mod name;
pub mod schema;

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "aws")]
pub mod parquet;
#[cfg(feature = "aws")]
pub mod port;
#[cfg(feature = "aws")]
pub mod source;
