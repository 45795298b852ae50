//! S3: reading, listing, names, conditional writes.

use std::{fmt::Debug, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use turntable::{
    error::{Error, Kind},
    layout::{Key, Location},
    port::{Objects, Put},
};

use super::{Subject, clauses};

clauses! {
    puts_once_and_gets
    reads_ranges_and_streams_of_one_etag
    keeps_every_name
    keeps_a_newline_in_a_name
    lists_in_order_and_in_pages
    names_a_missing_bucket
    sees_every_write_at_once
    creates_once_in_a_race
}

/// `PutObject` with `If-None-Match: *`:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>.
async fn puts_once_and_gets(subject: Arc<Subject>) {
    let (objects, at) = (&subject.objects, subject.folder("put"));
    let key = at.key("a.json");
    assert_eq!(objects.get(&key).await.unwrap(), None);
    assert_eq!(objects.head(&key).await.unwrap(), None);
    assert_eq!(objects.get_with_etag(&key).await.unwrap(), None);
    assert_eq!(objects.put_new(&key, Bytes::from_static(b"first")).await.unwrap(), Put::Created);
    for body in ["second", "first"] {
        assert_eq!(objects.put_new(&key, body.into()).await.unwrap(), Put::Exists, "{body}");
    }
    assert_eq!(objects.get(&key).await.unwrap().unwrap(), "first");
    let head = objects.head(&key).await.unwrap().unwrap();
    assert_eq!((&head.key, head.size), (&key, 5));
    assert!(!head.etag.contains('"') && !head.etag.is_empty(), "{}", head.etag);
    assert_eq!(objects.list(&at, None).await.unwrap()[0].etag, head.etag);
    let (body, etag) = objects.get_with_etag(&key).await.unwrap().unwrap();
    assert_eq!((body.len() as u64, etag), (head.size, head.etag));

    let empty = at.key("empty");
    assert_eq!(objects.put_new(&empty, Bytes::new()).await.unwrap(), Put::Created);
    assert_eq!(objects.get(&empty).await.unwrap().unwrap(), "");
}

async fn reads_ranges_and_streams_of_one_etag(subject: Arc<Subject>) {
    let (objects, at) = (&*subject.objects, subject.folder("range"));
    let key = at.key("digits");
    objects.put_new(&key, "0123456789".into()).await.unwrap();
    let etag = objects.head(&key).await.unwrap().unwrap().etag;
    for range in [0..10, 0..1, 3..7, 9..10, 4..4] {
        let expected = &"0123456789"[range.start as usize..range.end as usize];
        assert_eq!(objects.range(&key, &etag, range).await.unwrap(), expected);
    }
    for range in [5..11, 10..12] {
        fails(objects.range(&key, &etag, range).await, Kind::Corrupt, &key);
    }
    fails(objects.range(&key, "0123456789abcdef", 0..1).await, Kind::Conflict, &key);
    fails(objects.range(&at.key("missing"), &etag, 0..1).await, Kind::Conflict, &at.key("missing"));

    assert_eq!(streamed(objects, &key, &etag).await, "0123456789");
    fails(objects.stream(&key, "0123456789abcdef").await.map(|_| ()), Kind::Conflict, &key);
    fails(objects.stream(&at.key("missing"), &etag).await.map(|_| ()), Kind::Conflict, &at.key("missing"));
}

/// Names that other programs have failed to encode in URLs or XML documents.
pub(super) const NAMES: [&str; 11] =
    ["a b", "a+b", "a%20b", "a%2Bb", "a&b<c>\"'", "日本語/利用者", "x=1/y=2", "a//b", "~!*()", "ポ", "100%"];

/// Keys survive encoding in URLs and XML documents.
async fn keeps_every_name(subject: Arc<Subject>) {
    let (objects, at) = (&*subject.objects, subject.folder("names"));
    let mut names = NAMES;
    for name in names {
        assert_eq!(objects.put_new(&at.key(name), name.into()).await.unwrap(), Put::Created, "{name}");
    }
    for name in names {
        assert_eq!(objects.get(&at.key(name)).await.unwrap().unwrap(), name);
        let entry = objects.head(&at.key(name)).await.unwrap().unwrap();
        assert_eq!(streamed(objects, &entry.key, &entry.etag).await, name);
    }
    names.sort_unstable();
    let listed = objects.list(&at, None).await.unwrap();
    assert_eq!(listed.iter().map(|entry| &entry.key).collect::<Vec<_>>(), names.map(|name| at.key(name)).each_ref());
    let after = at.key(names[2]);
    assert_eq!(objects.list(&at, Some(&after)).await.unwrap(), listed[3..]);
}

async fn lists_in_order_and_in_pages(subject: Arc<Subject>) {
    let (objects, at) = (&subject.objects, subject.folder("list"));
    assert_eq!(objects.list(&at, None).await.unwrap(), []);
    const MANY: usize = 1_005;
    let puts = (0..MANY).map(|n| {
        let (objects, key) = (objects.clone(), at.key(&format!("{n:04}")));
        tokio::spawn(async move { objects.put_new(&key, "x".into()).await })
    });
    for put in puts.collect::<Vec<_>>() {
        assert_eq!(put.await.unwrap().unwrap(), Put::Created);
    }
    // A sibling folder whose name has the same beginning isn't listed.
    let sibling = Location { bucket: at.bucket.clone(), prefix: at.prefix.replace("list/", "list-2/") };
    objects.put_new(&sibling.key("x"), "x".into()).await.unwrap();

    let all = objects.list(&at, None).await.unwrap();
    let expected: Vec<Key> = (0..MANY).map(|n| at.key(&format!("{n:04}"))).collect();
    assert_eq!(all.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(objects.list(&at, Some(&expected[2])).await.unwrap(), all[3..]);
    // `after` need not be an existing key.
    assert_eq!(objects.list(&at, Some(&at.key("1003x"))).await.unwrap(), all[1_004..]);
    assert_eq!(objects.list(&at, Some(&at.key("z"))).await.unwrap(), []);
}

async fn names_a_missing_bucket(subject: Arc<Subject>) {
    let objects = &subject.objects;
    let at = Location { bucket: subject.no_bucket.clone(), prefix: String::new() };
    let key = at.key("a");
    fails(objects.get(&key).await, Kind::Config, &key);
    fails(objects.put_new(&key, "x".into()).await, Kind::Config, &key);
    let error = objects.list(&at, None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    let expected = format!("{at}: no such bucket: create it, or correct the location in datasets.toml");
    assert_eq!(error.message(), expected);
}

/// S3 accepts a newline, a control character that XML 1.0 can represent: "Object key naming guidelines" in the S3 user
/// guide.
async fn keeps_a_newline_in_a_name(subject: Arc<Subject>) {
    let (objects, at) = (&*subject.objects, subject.folder("newline"));
    let key = at.key("a\nb");
    objects.put_new(&key, "x".into()).await.unwrap();
    let listed = objects.list(&at, None).await.unwrap();
    assert_eq!(listed.iter().map(|entry| &entry.key).collect::<Vec<_>>(), [&key]);
    assert_eq!(streamed(objects, &key, &listed[0].etag).await, "x");
    objects.copy(&key, &listed[0].etag, &at.key("c")).await.unwrap();
    objects.delete(&[key, at.key("c")]).await.unwrap();
    assert_eq!(objects.list(&at, None).await.unwrap(), []);
}

/// S3 is strongly consistent: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel>.
async fn sees_every_write_at_once(subject: Arc<Subject>) {
    let (objects, at) = (&subject.objects, subject.folder("consistent"));
    let key = at.key("a");
    for round in 0..10 {
        let body = Bytes::from(round.to_string());
        assert_eq!(objects.head(&key).await.unwrap(), None, "round {round}");
        assert_eq!(objects.put_new(&key, body.clone()).await.unwrap(), Put::Created, "round {round}");
        let listed = objects.list(&at, None).await.unwrap();
        let head = objects.head(&key).await.unwrap().unwrap();
        assert_eq!((listed.len(), &listed[0].etag, listed[0].size), (1, &head.etag, head.size), "round {round}");
        assert_eq!(objects.get(&key).await.unwrap().unwrap(), body);
        objects.put(&key, "over".into()).await.unwrap();
        assert_eq!(objects.get(&key).await.unwrap().unwrap(), "over", "round {round}");
        assert_ne!(objects.list(&at, None).await.unwrap()[0].etag, listed[0].etag, "round {round}");
        objects.delete(std::slice::from_ref(&key)).await.unwrap();
        assert_eq!(objects.get(&key).await.unwrap(), None, "round {round}");
        assert_eq!(objects.list(&at, None).await.unwrap(), [], "round {round}");
    }
}

async fn creates_once_in_a_race(subject: Arc<Subject>) {
    let key = subject.folder("race").key("a");
    let puts = (0..8).map(|n| {
        let (subject, key) = (subject.clone(), key.clone());
        tokio::spawn(async move { subject.objects.put_new(&key, n.to_string().into()).await.unwrap() })
    });
    let mut created = Vec::new();
    for (n, put) in puts.collect::<Vec<_>>().into_iter().enumerate() {
        created.extend((put.await.unwrap() == Put::Created).then_some(n));
    }
    assert_eq!(created.len(), 1, "{created:?} have created it");
    assert_eq!(subject.objects.get(&key).await.unwrap().unwrap(), created[0].to_string());
}

pub(super) async fn streamed(objects: &dyn Objects, at: &Key, etag: &str) -> Bytes {
    let chunks = objects.stream(at, etag).await.unwrap();
    chunks.try_collect::<BytesMut>().await.unwrap().freeze()
}

pub(super) fn fails<T: Debug>(result: Result<T, Error>, kind: Kind, at: &Key) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{}", error.report());
    assert!(error.message().contains(&at.to_string()), "{}", error.report());
}
