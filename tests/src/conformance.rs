//! What every [`Objects`] must do, in memory as on S3. The bucket must exist, and no bucket named `no-such-bucket-here`.

use std::{fmt::Debug, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use turntable::{
    error::{Error, Kind},
    name::{Key, Location},
    port::{Objects, Put},
};

/// Runs in a folder of its own, `folder`, which must be empty.
pub async fn conformance(objects: Arc<dyn Objects>, bucket: &str, folder: &str) {
    let root = Location { bucket: bucket.into(), prefix: format!("{folder}/") };
    put_and_get(&*objects, &root.folder("put")).await;
    ranges(&*objects, &root.folder("range")).await;
    names(&*objects, &root.folder("names")).await;
    lists(&objects, &root.folder("list")).await;
    deletes_if_unchanged(&*objects, &root.folder("delete")).await;
    uploads(&*objects, &root.folder("upload")).await;
    taken(&*objects, &root.folder("taken")).await;
    aborted(&*objects, &root.folder("abort")).await;
    no_bucket(&*objects).await;
}

async fn put_and_get(objects: &dyn Objects, at: &Location) {
    let key = at.key("a.json");
    assert_eq!(objects.get(&key).await.unwrap(), None);
    assert_eq!(objects.head(&key).await.unwrap(), None);
    assert_eq!(objects.put_new(&key, Bytes::from_static(b"first")).await.unwrap(), Put::Created);
    for body in ["second", "first"] {
        assert_eq!(objects.put_new(&key, body.into()).await.unwrap(), Put::Exists, "{body}");
    }
    assert_eq!(objects.get(&key).await.unwrap().unwrap(), "first");
    let head = objects.head(&key).await.unwrap().unwrap();
    assert_eq!((&head.key, head.size), (&key, 5));
    assert!(!head.etag.contains('"') && !head.etag.is_empty(), "{}", head.etag);
    assert_eq!(objects.list(at, None).await.unwrap()[0].etag, head.etag);

    let empty = at.key("empty");
    assert_eq!(objects.put_new(&empty, Bytes::new()).await.unwrap(), Put::Created);
    assert_eq!(objects.get(&empty).await.unwrap().unwrap(), "");
}

async fn ranges(objects: &dyn Objects, at: &Location) {
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

/// Keys are what they are, whatever a URL or an XML document makes of them.
async fn names(objects: &dyn Objects, at: &Location) {
    let mut names = ["a b", "a+b", "a%20b", "a%2Bb", "a&b<c>\"'", "日本語/利用者", "x=1/y=2", "a//b", "~!*()", "ポ"];
    for name in names {
        assert_eq!(objects.put_new(&at.key(name), name.into()).await.unwrap(), Put::Created, "{name}");
    }
    for name in names {
        assert_eq!(objects.get(&at.key(name)).await.unwrap().unwrap(), name);
        let entry = objects.head(&at.key(name)).await.unwrap().unwrap();
        assert_eq!(streamed(objects, &entry.key, &entry.etag).await, name);
    }
    names.sort_unstable();
    let listed = objects.list(at, None).await.unwrap();
    assert_eq!(listed.iter().map(|entry| &entry.key).collect::<Vec<_>>(), names.map(|name| at.key(name)).each_ref());
    let after = at.key(names[2]);
    assert_eq!(objects.list(at, Some(&after)).await.unwrap(), listed[3..]);
}

async fn lists(objects: &Arc<dyn Objects>, at: &Location) {
    assert_eq!(objects.list(at, None).await.unwrap(), []);
    const MANY: usize = 1_005;
    let puts = (0..MANY).map(|n| {
        let (objects, key) = (objects.clone(), at.key(&format!("{n:04}")));
        tokio::spawn(async move { objects.put_new(&key, "x".into()).await })
    });
    for put in puts.collect::<Vec<_>>() {
        assert_eq!(put.await.unwrap().unwrap(), Put::Created);
    }
    // A sibling whose name begins alike is elsewhere.
    let sibling = Location { bucket: at.bucket.clone(), prefix: at.prefix.replace("list/", "list-2/") };
    objects.put_new(&sibling.key("x"), "x".into()).await.unwrap();

    let all = objects.list(at, None).await.unwrap();
    let expected: Vec<Key> = (0..MANY).map(|n| at.key(&format!("{n:04}"))).collect();
    assert_eq!(all.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(objects.list(at, Some(&expected[2])).await.unwrap(), all[3..]);
    // What comes after need not exist.
    assert_eq!(objects.list(at, Some(&at.key("1003x"))).await.unwrap(), all[1_004..]);
    assert_eq!(objects.list(at, Some(&at.key("z"))).await.unwrap(), []);
}

async fn deletes_if_unchanged(objects: &dyn Objects, at: &Location) {
    let key = at.key("a b+日.csv");
    objects.put(&key, "first".into()).await.unwrap();
    let first = objects.head(&key).await.unwrap().unwrap().etag;
    objects.put(&key, "second".into()).await.unwrap();
    let second = objects.head(&key).await.unwrap().unwrap().etag;
    assert!(!objects.delete_if(&key, &first).await.unwrap());
    assert_eq!(objects.get(&key).await.unwrap().unwrap(), "second");
    assert!(objects.delete_if(&key, &second).await.unwrap());
    assert!(!objects.delete_if(&key, &second).await.unwrap(), "it is gone");
    assert_eq!(objects.list(at, None).await.unwrap(), []);
}

async fn uploads(objects: &dyn Objects, at: &Location) {
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

/// Whoever finishes first has the key.
async fn taken(objects: &dyn Objects, at: &Location) {
    for (name, size) in [("small", 10), ("large", 9 << 20)] {
        let key = at.key(name);
        let mut upload = objects.upload(&key).await.unwrap();
        upload.write(Bytes::from(vec![0; size])).await.unwrap();
        objects.put_new(&key, "first".into()).await.unwrap();
        fails(upload.finish().await, Kind::Conflict, &key);
        assert_eq!(objects.get(&key).await.unwrap().unwrap(), "first");
    }
}

async fn aborted(objects: &dyn Objects, at: &Location) {
    for (name, size) in [("small", 10), ("large", 20 << 20)] {
        for drop_it in [false, true] {
            let mut upload = objects.upload(&at.key(name)).await.unwrap();
            upload.write(Bytes::from(vec![0; size])).await.unwrap();
            if !drop_it {
                upload.abort().await;
            }
        }
    }
    assert_eq!(objects.list(at, None).await.unwrap(), []);
}

async fn no_bucket(objects: &dyn Objects) {
    let at = Location { bucket: "no-such-bucket-here".into(), prefix: String::new() };
    let key = at.key("a");
    fails(objects.get(&key).await, Kind::Config, &key);
    fails(objects.put_new(&key, "x".into()).await, Kind::Config, &key);
    let error = objects.list(&at, None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert_eq!(
        error.message(),
        "s3://no-such-bucket-here/: no such bucket: create it, or correct the location in datasets.toml"
    );
}

async fn streamed(objects: &dyn Objects, at: &Key, etag: &str) -> Bytes {
    let chunks = objects.stream(at, etag).await.unwrap();
    chunks.try_collect::<BytesMut>().await.unwrap().freeze()
}

fn fails<T: Debug>(result: Result<T, Error>, kind: Kind, at: &Key) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{}", error.report());
    assert!(error.message().contains(&at.to_string()), "{}", error.report());
}
