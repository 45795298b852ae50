//! Turntable's shared crate. (Map to come.)

pub mod audit;
pub mod config;
pub mod error;
pub mod manifest;
pub mod name;
pub mod plan;
pub mod record;
pub mod schema;
pub mod sweep;

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "aws")]
pub mod clock;
#[cfg(feature = "aws")]
pub mod lambda;
#[cfg(feature = "aws")]
pub mod parquet;
#[cfg(feature = "aws")]
pub mod port;
#[cfg(feature = "aws")]
pub mod publish;
#[cfg(feature = "aws")]
pub mod request;
#[cfg(feature = "aws")]
pub mod source;
#[cfg(feature = "aws")]
pub mod world;
