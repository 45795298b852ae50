//! S3.
pub struct S3;
impl S3 {
    pub fn new(_: &aws_config::SdkConfig) -> Self {
        S3
    }
}
use crate::{error::*, name::*, port::*};
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;
#[async_trait]
impl Objects for S3 {
    async fn get(&self, _: &Key) -> Result<Option<Bytes>> {
        Ok(None)
    }
    async fn range(&self, at: &Key, _: &str, _: Range<u64>) -> Result<Bytes> {
        Err(missing(at))
    }
    async fn stream(&self, at: &Key, _: &str) -> Result<Chunks> {
        Err(missing(at))
    }
    async fn head(&self, _: &Key) -> Result<Option<Entry>> {
        Ok(None)
    }
    async fn list(&self, _: &Location, _: Option<&Key>) -> Result<Vec<Entry>> {
        Ok(vec![])
    }
    async fn put_new(&self, _: &Key, _: Bytes) -> Result<Put> {
        Ok(Put::Created)
    }
    async fn put(&self, _: &Key, _: Bytes) -> Result<()> {
        Ok(())
    }
    async fn upload(&self, at: &Key) -> Result<Box<dyn Upload>> {
        Err(missing(at))
    }
}
