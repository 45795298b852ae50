//! The protocol, in process: what is live after everything that may go wrong between S3, Glue and us.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use aws_sdk_glue::types::{Column, SerDeInfo, StorageDescriptor, TableInput};
use bytes::Bytes;
use serde_json::json;
use tests::{
    catalog::{Fault, Op},
    memory,
    rig::Rig,
};
use turntable::{
    error::{Error, Kind, Result},
    name::{Key, Location},
    port::{Chunks, Entry, Objects, Put, Upload},
    publish::Outcome,
};

#[tokio::test]
async fn the_first_generation_creates_the_table_and_the_next_one_moves_it() {
    let rig = Rig::default();
    let blue = rig.export().await;
    let first = rig.deliver(&blue).await.unwrap();
    assert_eq!((first.outcome, first.live, first.previous), (Outcome::Swapped, Some(blue.to_string()), None));
    let columns = rig.catalog.get(&rig.table).unwrap().storage_descriptor.unwrap().columns.unwrap();
    let columns: Vec<_> = columns.iter().map(|column| (column.name(), column.r#type().unwrap())).collect();
    assert_eq!(columns, [("id", "bigint"), ("name", "string")]);

    let green = rig.export().await;
    assert_ne!(blue.colour, green.colour);
    let second = rig.deliver(&green).await.unwrap();
    assert_eq!((second.outcome, second.previous), (Outcome::Swapped, Some(blue.to_string())));
    assert_eq!((rig.live(), rig.records()), (Some(green), 2));
}

#[tokio::test]
async fn a_flip_changes_the_location_and_nothing_else() {
    let rig = Rig::default();
    let column = |name: &str, kind: &str| Column::builder().name(name).r#type(kind).comment("by hand").build().unwrap();
    let storage = StorageDescriptor::builder()
        .columns(column("id", "bigint"))
        .columns(column("name", "string"))
        .location("s3://lake/schemas/users/blue")
        .number_of_buckets(-1)
        .parameters("a", "b")
        .serde_info(SerDeInfo::builder().name("s").parameters("serialization.format", "1").build())
        .build();
    let before = TableInput::builder()
        .name("users")
        .description("people")
        .owner("dmp")
        .retention(7)
        .parameters("classification", "parquet")
        .parameters("comment", "by hand")
        .table_type("EXTERNAL_TABLE")
        .storage_descriptor(storage)
        .build()
        .unwrap();
    rig.catalog.put("dmp", before);
    let was = rig.catalog.get(&rig.table).unwrap();

    // An older flat `…/blue` is adopted: what comes after it is green.
    let green = rig.export().await;
    assert_eq!(green.colour.to_string(), "green");
    assert_eq!(rig.deliver(&green).await.unwrap().previous.as_deref(), Some("s3://lake/schemas/users/blue/"));

    let mut expected = was.clone();
    expected.version_id = Some("1".into());
    expected.storage_descriptor.as_mut().unwrap().location = Some(rig.home.generation(&green).to_string());
    assert_eq!(rig.catalog.get(&rig.table).unwrap(), expected);
}

#[tokio::test]
async fn a_stale_version_looks_again_and_a_lost_or_echoed_reply_is_settled_by_location() {
    for fault in [Fault::Overtake, Fault::LoseReply, Fault::Echo] {
        let rig = Rig::default();
        let blue = rig.export().await;
        rig.deliver(&blue).await.unwrap();
        let green = rig.export().await;
        rig.catalog.on(Op::Update, 1, fault);
        assert_eq!(rig.deliver(&green).await.unwrap().outcome, Outcome::Swapped, "{fault:?}");
        assert_eq!((rig.live(), rig.records()), (Some(green), 2), "{fault:?}");
        // Only the overtaken one was sent again; the others had landed.
        let updates = if fault == Fault::Overtake { 2 } else { 1 };
        assert_eq!(rig.catalog.calls(Op::Update), updates, "{fault:?}");
    }
}

#[tokio::test]
async fn a_lost_or_echoed_creation_is_settled_too() {
    for fault in [Fault::LoseReply, Fault::Echo] {
        let rig = Rig::default();
        let blue = rig.export().await;
        rig.catalog.on(Op::Create, 1, fault);
        assert_eq!(rig.deliver(&blue).await.unwrap().outcome, Outcome::Swapped, "{fault:?}");
        assert_eq!(rig.live(), Some(blue));
    }
}

#[tokio::test]
async fn an_update_that_failed_changes_nothing_and_works_when_delivered_again() {
    let rig = Rig::default();
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let green = rig.export().await;
    rig.catalog.on(Op::Update, 1, Fault::Fail);
    assert_eq!(rig.deliver(&green).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(rig.live(), Some(blue));
    assert_eq!(rig.deliver(&green).await.unwrap().outcome, Outcome::Swapped);
}

#[tokio::test]
async fn every_order_of_three_deliveries_of_two_exports_ends_at_the_fresher_one() {
    let mut orders = 0;
    for order in 0u32..64 {
        if order.count_ones() != 3 {
            continue;
        }
        let rig = Rig::default();
        let old = rig.export().await;
        rig.deliver(&old).await.unwrap();
        // Both see the same live generation, and both are of the same colour.
        let (first, second) = (rig.export().await, rig.export().await);
        for delivery in 0..6 {
            let generation = if order >> delivery & 1 == 1 { &first } else { &second };
            let outcome = rig.deliver(generation).await.unwrap().outcome;
            assert!(matches!(outcome, Outcome::Swapped | Outcome::AlreadyLive | Outcome::Stale), "{outcome:?}");
        }
        assert_eq!(rig.live(), Some(second), "order {order:06b}");
        orders += 1;
    }
    assert_eq!(orders, 20);
}

#[tokio::test]
async fn deliveries_at_the_same_time_end_at_the_fresher_one() {
    let rig = Arc::new(Rig::default());
    let old = rig.export().await;
    rig.deliver(&old).await.unwrap();
    let (first, second) = (rig.export().await, rig.export().await);
    let deliveries = [first, second, first, second, first, second];
    let done = futures::future::join_all(deliveries.iter().map(|generation| rig.deliver(generation))).await;
    assert!(done.iter().all(|done| done.is_ok()), "{done:?}");
    assert_eq!(rig.live(), Some(second));
}

/// Objects among which some cannot be written, and one reading of which lets something else happen first.
struct Disturbed<F> {
    inner: memory::Objects,
    refuse: &'static str,
    on_list: (&'static str, F),
}

#[async_trait]
impl<F: AsyncFn() + Send + Sync> Objects for Disturbed<F>
where
    for<'a> F::CallRefFuture<'a>: Send,
{
    async fn get(&self, at: &Key) -> Result<Option<Bytes>> {
        Objects::get(&self.inner, at).await
    }
    async fn range(&self, at: &Key, etag: &str, range: Range<u64>) -> Result<Bytes> {
        self.inner.range(at, etag, range).await
    }
    async fn stream(&self, at: &Key, etag: &str) -> Result<Chunks> {
        self.inner.stream(at, etag).await
    }
    async fn head(&self, at: &Key) -> Result<Option<Entry>> {
        self.inner.head(at).await
    }
    async fn list(&self, under: &Location, after: Option<&Key>) -> Result<Vec<Entry>> {
        if under.prefix.contains(self.on_list.0) {
            (self.on_list.1)().await;
        }
        self.inner.list(under, after).await
    }
    async fn put_new(&self, at: &Key, body: Bytes) -> Result<Put> {
        if at.key.contains(self.refuse) {
            return Err(Error::unavailable(format!("{at}: no answer")));
        }
        self.inner.put_new(at, body).await
    }
    async fn put(&self, at: &Key, body: Bytes) -> Result<()> {
        Objects::put(&self.inner, at, body).await
    }
    async fn upload(&self, at: &Key) -> Result<Box<dyn Upload>> {
        self.inner.upload(at).await
    }
}
