//! An object into another, without its bytes leaving S3.

use aws_sdk_s3::{Client, types::TaggingDirective};

use super::{fault::fault, incomplete, unquoted};
use crate::{error::Result, name::Key};

/// One `CopyObject`, which S3 takes up to 5 GB. A second attempt after a lost answer writes the same again.
pub(super) async fn copy(client: &Client, from: &Key, etag: &str, to: &Key) -> Result<String> {
    let request = client.copy_object().bucket(&to.bucket).key(&to.key);
    let request = request.copy_source(source(from)).copy_source_if_match(format!("\"{etag}\""));
    // Tags stay behind: to copy those of somebody's drop would take further permissions.
    let request = request.tagging_directive(TaggingDirective::Replace);
    let copied = request.send().await.map_err(|error| fault("CopyObject", from, error))?;
    let etag = copied.copy_object_result().and_then(|result| result.e_tag());
    etag.map(unquoted).ok_or_else(|| incomplete(to))
}

/// `BUCKET/KEY` as the header wants it: percent-encoded, but for what a path holds anyway.
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
    fn a_source_is_encoded() {
        let key = "s3://lake/a b+c%/日/part-0.parquet".parse().unwrap();
        assert_eq!(super::source(&key), "lake/a%20b%2Bc%25/%E6%97%A5/part-0.parquet");
    }
}
