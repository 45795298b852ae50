//! The [`turntable_core::port::Objects`] port on S3.

mod client;
mod copy;
mod delete;
mod download;
mod fault;
mod objects;
mod owner;
mod put;
mod response;
mod settings;
mod upload;

pub use client::S3;
pub use owner::BucketOwners;
