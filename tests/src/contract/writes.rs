//! S3: uploads, copies, replacements, deletions.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::try_join_all;
use turntable::error::Kind;

use super::{
    Subject, clauses,
    objects::{NAMES, fails, streamed},
};

clauses! {
    uploads_in_parts
    uploads_nothing_over_what_is_there
    leaves_nothing_of_an_abandoned_upload
    lists_and_aborts_uploads
    copies_every_name
    copies_only_what_is_unchanged
    copies_nothing_over_what_is_there
    replaces_what_is_unchanged
    replaces_once_in_a_race
    deletes_what_is_unchanged
    deletes_many
}

/// `PutObject` with `If-Match`: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>.
async fn replaces_what_is_unchanged(subject: Arc<Subject>) {
    let (objects, at) = (&subject.objects, subject.folder("replace"));
    let key = at.key("a b+日.json");
    fails(objects.replace(&key, OTHER, "x".into()).await, Kind::Conflict, &key);
    objects.put_new(&key, "first".into()).await.unwrap();
    let first = objects.head(&key).await.unwrap().unwrap().etag;
    assert!(objects.replace(&key, &first, "second".into()).await.unwrap());
    assert!(!objects.replace(&key, &first, "third".into()).await.unwrap());
    assert_eq!(objects.get(&key).await.unwrap().unwrap(), "second");
}

async fn replaces_once_in_a_race(subject: Arc<Subject>) {
    let (objects, at) = (&subject.objects, subject.folder("replace-race"));
    for round in 0..5 {
        let key = at.key(&format!("{round}.json"));
        objects.put_new(&key, "first".into()).await.unwrap();
        let first = objects.head(&key).await.unwrap().unwrap().etag;
        let all = (0..8).map(|writer| objects.replace(&key, &first, format!("writer {writer}").into()));
        let replaced: Vec<bool> = try_join_all(all).await.unwrap();
        let winners: Vec<usize> = (0..8).filter(|writer| replaced[*writer]).collect();
        assert_eq!(winners.len(), 1, "have replaced it: {winners:?}");
        assert_eq!(objects.get(&key).await.unwrap().unwrap(), format!("writer {}", winners[0]));
    }
}

/// `DeleteObject` with `If-Match`: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html>.
async fn deletes_what_is_unchanged(subject: Arc<Subject>) {
    let (objects, at) = (&subject.objects, subject.folder("delete"));
    let key = at.key("a b+日.csv");
    objects.put(&key, "first".into()).await.unwrap();
    let first = objects.head(&key).await.unwrap().unwrap().etag;
    objects.put(&key, "second".into()).await.unwrap();
    let second = objects.head(&key).await.unwrap().unwrap().etag;
    assert!(!objects.delete_if(&key, &first).await.unwrap());
    assert_eq!(objects.get(&key).await.unwrap().unwrap(), "second");
    assert!(objects.delete_if(&key, &second).await.unwrap());
    assert!(!objects.delete_if(&key, &second).await.unwrap(), "it is gone");
    assert_eq!(objects.list(&at, None).await.unwrap(), []);
}

async fn uploads_in_parts(subject: Arc<Subject>) {
    let (objects, at) = (&*subject.objects, subject.folder("upload"));
    for (name, size) in [("none", 0), ("small", 1_000), ("one-part", 8 << 20), ("large", (20 << 20) + 1)] {
        let key = at.key(name);
        let content: Bytes = (0..size).map(|n| (n % 251) as u8).collect();
        let mut upload = objects.upload(&key).await.unwrap();
        for piece in content.chunks(3_000_000) {
            upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert_eq!(objects.head(&key).await.unwrap(), None, "{name} is there before it is finished");
        let etag = upload.finish().await.unwrap();
        let head = objects.head(&key).await.unwrap().unwrap();
        assert_eq!((&head.etag, head.size), (&etag, size as u64), "{name}");
        assert!(streamed(objects, &key, &etag).await == content, "{name}");
        assert!(objects.get(&key).await.unwrap().unwrap() == content, "{name}");
        if size > 3 {
            let tail = objects.range(&key, &etag, size as u64 - 3..size as u64).await.unwrap();
            assert_eq!(tail, content[size - 3..]);
        }
    }
}

/// The first writer to finish wins the key: `CompleteMultipartUpload` accepts `If-None-Match`, as `PutObject` does.
async fn uploads_nothing_over_what_is_there(subject: Arc<Subject>) {
    let (objects, at) = (&subject.objects, subject.folder("taken"));
    for (name, size) in [("small", 10), ("large", 9 << 20)] {
        let key = at.key(name);
        let mut upload = objects.upload(&key).await.unwrap();
        upload.write(Bytes::from(vec![0; size])).await.unwrap();
        objects.put_new(&key, "first".into()).await.unwrap();
        fails(upload.finish().await, Kind::Conflict, &key);
        assert_eq!(objects.get(&key).await.unwrap().unwrap(), "first");
    }
}

async fn leaves_nothing_of_an_abandoned_upload(subject: Arc<Subject>) {
    let (objects, at) = (&subject.objects, subject.folder("abandoned"));
    for (name, size) in [("small", 10), ("large", 20 << 20)] {
        for drop_it in [false, true] {
            let mut upload = objects.upload(&at.key(name)).await.unwrap();
            upload.write(Bytes::from(vec![0; size])).await.unwrap();
            if !drop_it {
                upload.abort().await;
            }
        }
    }
    assert_eq!(objects.list(&at, None).await.unwrap(), []);
    // A dropped upload is aborted in the background.
    for _ in 0..50 {
        if objects.uploads(&at).await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("an aborted or dropped upload has left parts");
}

async fn lists_and_aborts_uploads(subject: Arc<Subject>) {
    let (objects, at) = (&subject.objects, subject.folder("unfinished"));
    let key = at.key("a b+日.parquet");
    let mut upload = objects.upload(&key).await.unwrap();
    upload.write(Bytes::from(vec![0; 9 << 20])).await.unwrap();
    let listed = objects.uploads(&at).await.unwrap();
    assert_eq!(listed.iter().map(|upload| &upload.key).collect::<Vec<_>>(), [&key]);
    assert_eq!(objects.uploads(&subject.folder("unfinished/elsewhere")).await.unwrap(), []);
    assert_eq!(objects.list(&at, None).await.unwrap(), []);
    for _ in 0..2 {
        objects.abort_upload(&listed[0]).await.unwrap();
        assert_eq!(objects.uploads(&at).await.unwrap(), []);
    }
    assert!(upload.finish().await.is_err(), "an aborted upload was finished");
    assert_eq!(objects.head(&key).await.unwrap(), None);
}

async fn copies_every_name(subject: Arc<Subject>) {
    let (objects, at) = (&*subject.objects, subject.folder("copy"));
    for name in NAMES {
        let (from, to) = (at.folder("from").key(name), at.folder("to").key(name));
        objects.put(&from, name.into()).await.unwrap();
        let etag = objects.head(&from).await.unwrap().unwrap().etag;
        let copied = objects.copy(&from, &etag, &to).await.unwrap();
        assert_eq!(objects.head(&to).await.unwrap().unwrap().etag, copied, "{name}");
        assert_eq!(streamed(objects, &to, &copied).await, name);
        assert_eq!(objects.get(&from).await.unwrap().unwrap(), name);
    }
    let missing = at.key("missing");
    fails(objects.copy(&missing, OTHER, &at.key("b")).await, Kind::Conflict, &missing);
}

/// An ETag that none of the suite's objects has.
const OTHER: &str = "0123456789abcdef0123456789abcdef";

/// `x-amz-copy-source-if-match`: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>.
async fn copies_only_what_is_unchanged(subject: Arc<Subject>) {
    let (objects, at) = (&*subject.objects, subject.folder("copy-changed"));
    let (from, to) = (at.key("from"), at.key("to"));
    objects.put(&from, "changed".into()).await.unwrap();
    fails(objects.copy(&from, OTHER, &to).await, Kind::Conflict, &from);
    assert_eq!(objects.head(&to).await.unwrap(), None);
}

/// `CopyObject` accepts `If-None-Match: *`, as `PutObject` does:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>.
async fn copies_nothing_over_what_is_there(subject: Arc<Subject>) {
    let (objects, at) = (&*subject.objects, subject.folder("copy-taken"));
    let (from, to) = (at.key("from"), at.key("to"));
    objects.put(&from, "late".into()).await.unwrap();
    objects.put(&to, "first".into()).await.unwrap();
    let etag = |entry: turntable::port::Entry| entry.etag;
    let late = objects.head(&from).await.unwrap().map(etag).unwrap();
    let first = objects.head(&to).await.unwrap().map(etag).unwrap();
    assert_eq!(objects.copy(&from, &late, &to).await.unwrap(), first);
    assert_eq!(objects.get(&to).await.unwrap().unwrap(), "first");
}

async fn deletes_many(subject: Arc<Subject>) {
    let (objects, at) = (&subject.objects, subject.folder("delete-many"));
    let mut keys = NAMES.map(|name| at.key(name)).to_vec();
    for key in &keys {
        objects.put(key, "x".into()).await.unwrap();
    }
    objects.put(&at.key("stays"), "x".into()).await.unwrap();
    keys.push(at.key("was never there"));
    objects.delete(&keys).await.unwrap();
    let left = objects.list(&at, None).await.unwrap();
    assert_eq!(left.iter().map(|entry| &entry.key).collect::<Vec<_>>(), [&at.key("stays")]);
}
