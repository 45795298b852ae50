//! Implements the port's methods with requests to S3.

use std::ops::Range;

use async_trait::async_trait;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::Bytes;
use turntable_core::{
    bucket_settings::BucketSettings,
    error::{Error, Result},
    layout::{Key, Location},
    port::{self, Chunks, Entry, Objects, Put, Unfinished, Upload},
};

use super::{
    client::S3,
    copy, delete, download,
    fault::{fault, is_missing},
    put,
    response::{entry, incomplete, listed, unquoted},
    upload,
};

/// Requests the whole object. Returns `None` if it does not exist.
async fn get_object(s3: &S3, at: &Key) -> Result<Option<GetObjectOutput>> {
    match s3.client.get_object().bucket(&at.bucket).key(&at.key).send().await {
        Ok(object) => Ok(Some(object)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(fault("GetObject", at, error)),
    }
}

#[async_trait]
impl Objects for S3 {
    async fn get(&self, at: &Key) -> Result<Option<Bytes>> {
        match get_object(self, at).await? {
            Some(object) => download::whole(at, object.body).await.map(Some),
            None => Ok(None),
        }
    }

    async fn get_with_etag(&self, at: &Key) -> Result<Option<(Bytes, String)>> {
        let Some(object) = get_object(self, at).await? else { return Ok(None) };
        let etag = object.e_tag.as_deref().map(unquoted).ok_or_else(|| incomplete(at))?;
        Ok(Some((download::whole(at, object.body).await?, etag)))
    }

    async fn range(&self, at: &Key, etag: &str, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let object = download::open(&self.client, at, etag, Some(range.clone())).await?;
        let bytes = download::whole(at, object).await?;
        // S3 truncates a range that goes beyond the end of the object.
        if bytes.len() as u64 != range.end - range.start {
            return Err(Error::corrupt(format!(
                "{at} ends before byte {}, so it was replaced after it was listed: invoke the function again",
                range.end
            )));
        }
        Ok(bytes)
    }

    async fn stream(&self, at: &Key, etag: &str) -> Result<Chunks> {
        download::stream(self.client.clone(), at.clone(), etag.to_owned()).await
    }

    async fn head(&self, at: &Key) -> Result<Option<Entry>> {
        match self.client.head_object().bucket(&at.bucket).key(&at.key).send().await {
            Ok(object) => {
                entry(at.clone(), object.content_length, object.e_tag.as_deref(), object.last_modified).map(Some)
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(fault("HeadObject", at, error)),
        }
    }

    async fn list(&self, under: &Location, after: Option<&Key>) -> Result<Vec<Entry>> {
        Ok(self.list_some(under, after, usize::MAX).await?.0)
    }

    async fn list_first(&self, under: &Location) -> Result<Vec<Entry>> {
        let page = self.client.list_objects_v2().bucket(&under.bucket).prefix(&under.prefix).send().await;
        listed(under, page.map_err(|error| fault("ListObjectsV2", under, error))?.contents)
    }

    async fn list_some(&self, under: &Location, after: Option<&Key>, most: usize) -> Result<(Vec<Entry>, bool)> {
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&under.bucket)
            .prefix(&under.prefix)
            .set_start_after(after.map(|key| key.key.clone()))
            .into_paginator()
            .send();
        let mut entries = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| fault("ListObjectsV2", under, error))?;
            let more = page.is_truncated == Some(true);
            entries.extend(listed(under, page.contents)?);
            if more && entries.len() >= most {
                return Ok((entries, true));
            }
        }
        Ok((entries, false))
    }

    async fn folders(&self, under: &Location) -> Result<Vec<Location>> {
        let pages = self.client.list_objects_v2().bucket(&under.bucket).prefix(&under.prefix).delimiter("/");
        let mut pages = pages.into_paginator().send();
        let mut folders = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| fault("ListObjectsV2", under, error))?;
            let prefixes = page.common_prefixes.unwrap_or_default().into_iter().filter_map(|folder| folder.prefix);
            folders.extend(prefixes.map(|prefix| Location { bucket: under.bucket.clone(), prefix }));
        }
        Ok(folders)
    }

    async fn bucket_settings(&self, bucket: &str) -> Result<BucketSettings> {
        S3::bucket_settings(self, bucket).await
    }

    async fn put_new(&self, at: &Key, body: Bytes) -> Result<Put> {
        Ok(match put::small(&self.client, at, body).await? {
            Some(_) => Put::Created,
            None => Put::Exists,
        })
    }

    async fn put(&self, at: &Key, body: Bytes) -> Result<()> {
        let request = self.client.put_object().bucket(&at.bucket).key(&at.key).body(body.into());
        let sent = request.checksum_algorithm(put::CHECKSUM).send().await;
        sent.map(drop).map_err(|error| fault("PutObject", at, error))
    }

    async fn replace(&self, at: &Key, etag: &str, body: Bytes) -> Result<bool> {
        Ok(put::replace(&self.client, at, etag, body).await?.is_some())
    }

    async fn copy(&self, from: &Key, etag: &str, to: &Key) -> Result<String> {
        if let Some(etag) = copy::copy(&self.client, from, etag, to).await? {
            return Ok(etag);
        }
        self.head(to).await?.map(|copy| copy.etag).ok_or_else(|| port::missing(from))
    }

    async fn delete(&self, keys: &[Key]) -> Result<()> {
        delete::objects(&self.client, keys).await
    }

    async fn delete_if(&self, at: &Key, etag: &str) -> Result<bool> {
        delete::if_unchanged(&self.client, at, etag).await
    }

    async fn uploads(&self, under: &Location) -> Result<Vec<Unfinished>> {
        delete::uploads(&self.client, under).await
    }

    async fn abort_upload(&self, upload: &Unfinished) -> Result<()> {
        delete::abort(&self.client, upload).await
    }

    async fn upload(&self, at: &Key) -> Result<Box<dyn Upload>> {
        Ok(Box::new(upload::Streaming::new(self.clone(), at.clone())))
    }
}
