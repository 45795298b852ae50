//! Finds out why S3 doesn't serve a drop: because of the drop, or because the function can't read the inbox at all.
//!
//! Anybody who may write into an inbox can put an object there that S3 lists but doesn't serve: encrypted with their
//! own key (SSE-C) or with another account's KMS key, in an archive storage class such as GLACIER, or owned by another
//! account. S3 answers 403 or 400, just as if the function's role lacked a permission. So the function writes its own
//! object into the inbox and reads it back. If that works, only the drop is at fault.

use turntable_core::{
    error::{Error, Kind, Result},
    layout::{Key, Location, is_hidden},
    port::Objects,
};

/// The control object's name. It is hidden, so it is neither a drop nor a rejected record.
pub const NAME: &str = "_rejected/_control.json";

/// Returns the key of an inbox's control object.
pub fn key(inbox: &Location) -> Key {
    inbox.key(NAME)
}

/// Returns whether an object in `_rejected/` lists a drop's rejects. `name` is its key below `_rejected/`.
pub fn is_reject(name: &str) -> bool {
    !is_hidden(name)
}

/// Returns whether the function can write into the inbox and read what it has written. Fails if S3 doesn't answer.
pub async fn is_readable(objects: &dyn Objects, inbox: &Location) -> Result<bool> {
    let key = key(inbox);
    let body = "{\"purpose\":\"optout reads this object when S3 refuses to serve a drop\"}";
    // The object is overwritten each time, because somebody else may have put an unreadable one there.
    let read = match objects.put(&key, body.into()).await {
        Ok(()) => objects.get(&key).await.map(|body| body.is_some()),
        Err(error) => Err(error),
    };
    match read {
        Err(error) if error.kind() == Kind::Config => Ok(false),
        read => read,
    }
}

/// Returns the reason for rejecting a whole drop that S3 didn't serve.
pub fn reason(refused: &Error) -> String {
    format!(
        "S3 lists this drop but doesn't serve it, although the function can read others in the inbox: upload it under \
         another name, with the bucket's default encryption, in the storage class STANDARD and owned by the bucket's \
         owner: {}",
        refused.report()
    )
}
