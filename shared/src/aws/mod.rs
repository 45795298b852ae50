//! The ports on Glue and S3.

pub mod s3;
