//! Copies an object within S3.

use aws_sdk_s3::{
    Client,
    types::{MetadataDirective, TaggingDirective},
};
use turntable_core::{
    error::{Kind, Result},
    layout::Key,
    port,
};

use super::put::{MARK, mark, settled};

/// Sends one `CopyObject`, which S3 allows for objects of up to 5 GB. Returns the copy's ETag, or `None` if `to`
/// already exists. Fails with a conflict if `from` has changed.
pub(super) async fn copy(client: &Client, from: &Key, etag: &str, to: &Key) -> Result<Option<String>> {
    let mark = mark();
    let copied = settled(client, "CopyObject", to, &mark, || {
        let request = client.copy_object().bucket(&to.bucket).key(&to.key).if_none_match("*");
        let request = request.copy_source(source(from)).copy_source_if_match(format!("\"{etag}\""));
        let request = request.metadata_directive(MetadataDirective::Replace).metadata(MARK, &mark);
        // Tags aren't copied, because copying a drop's tags would require further permissions.
        let request = request.tagging_directive(TaggingDirective::Replace);
        async move { Ok(request.send().await?.copy_object_result.and_then(|result| result.e_tag)) }
    });
    match copied.await {
        Err(error) if error.kind() == Kind::Conflict => Err(port::missing(from).caused_by(error)),
        copied => copied,
    }
}

/// Returns `BUCKET/KEY` for the header `x-amz-copy-source`, with everything percent-encoded but slashes and RFC 3986's
/// unreserved characters.
fn source(from: &Key) -> String {
    let mut text = format!("{}/", from.bucket);
    for byte in from.key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn copy_source_is_percent_encoded() {
        let key = "s3://lake/a b+c%/日/part-0.parquet".parse().unwrap();
        assert_eq!(super::source(&key), "lake/a%20b%2Bc%25/%E6%97%A5/part-0.parquet");
    }
}
