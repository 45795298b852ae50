//! Conditions that need an operator are listed under their IDs while they last, and no longer.

use jiff::SignedDuration;
use tests::{
    optouts::{Lake, many},
    rig::Rig,
};

use crate::{
    group::lake::{Lake as GroupLake, event},
    optout::views::{name, protecting},
};

const INBOX: &str = "s3://lake/inbox";

async fn ids(lake: &Lake) -> Vec<String> {
    let mut ids: Vec<String> = lake.overview().await.conditions.into_iter().map(|one| one.id).collect();
    // The protected table was put into the catalog by hand.
    ids.retain(|id| id != "no-table:users");
    ids
}

#[tokio::test]
async fn lost_files_of_an_opt_out_table() {
    let lake = protecting();
    // An empty table, which a rebuild can begin with.
    lake.schedule().await.unwrap();
    lake.drop("a.csv", many(0..3));
    lake.schedule().await.unwrap();
    assert_eq!(ids(&lake).await, [""; 0]);
    let live = lake.paths().generation(&lake.live().unwrap()).to_string();
    let is_live = |key: &String| key.starts_with(&live) && key.ends_with(".parquet");
    let file = lake.objects.keys().into_iter().find(is_live).unwrap();
    lake.objects.delete(&file);
    assert_eq!(ids(&lake).await, ["damaged-optouts:optouts"]);
    lake.schedule().await.unwrap();
    assert_eq!(ids(&lake).await, [""; 0]);
}

#[tokio::test]
async fn objects_in_no_inbox_and_rejected_records() {
    let lake = protecting();
    lake.schedule().await.unwrap();
    lake.objects.put(&format!("{INBOX}/optout/a.csv"), many(0..1));
    lake.drop("b.csv", "user_id,state,occurred_at\nx,opted_out,2026-01-01T00:00:00Z\n");
    lake.schedule().await.unwrap();
    assert_eq!(ids(&lake).await, ["stray-objects:inbox/optout/", "rejected-records:optouts"]);
    lake.objects.delete(&format!("{INBOX}/optout/a.csv"));
    let rejected = lake.objects.keys().into_iter().find(|key| key.contains("/_rejected/")).unwrap();
    lake.objects.delete(&rejected);
    assert_eq!(ids(&lake).await, [""; 0]);
}

#[tokio::test]
async fn views_that_fail_or_that_nobody_maintains_and_an_inbox_that_is_gone() {
    let lake = protecting();
    lake.drop("a.csv", many(0..3));
    lake.schedule().await.unwrap();
    lake.advance(SignedDuration::from_hours(2));
    lake.sweep_all().await.unwrap();
    let file = "s3://lake/datasets.toml";
    let before = lake.get(file).unwrap();
    let text = String::from_utf8(before.to_vec()).unwrap();

    lake.objects.put(file, text.replace("users = \"id\"", "users = \"number\""));
    assert_eq!(ids(&lake).await, ["view-fails:dmp.users_protected"]);
    lake.objects.put(file, text.replace("protects = { users = \"id\" }\n", ""));
    assert_eq!(ids(&lake).await, ["unmaintained-view:dmp.users_protected"]);
    let (_, users) = text.split_once("[datasets.users]").unwrap();
    lake.objects.put(file, format!("[datasets.users]{users}"));
    let found = ids(&lake).await;
    for id in
        ["unconfigured-inbox:inbox/optouts/", "unmaintained-view:dmp.users_protected", "retired-table:dmp.optouts"]
    {
        assert!(found.contains(&id.to_owned()), "{id}: {found:?}");
    }
    lake.objects.put(file, before);
    assert_eq!(ids(&lake).await, [""; 0]);
    assert!(lake.catalog.get(&name("users_protected")).is_some());
}

#[tokio::test]
async fn bucket_without_a_rule_for_the_archive() {
    let rig = Rig::with("");
    let generation = rig.export().await;
    rig.deliver(&generation).await.unwrap();
    let ids = async || {
        let overview = turntable::flip::status_of_all(&rig.env()).await.unwrap();
        overview.conditions.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    let mut rules = Vec::new();
    rig.objects.configure("lake", |settings| {
        rules = settings.lifecycle.clone();
        settings.lifecycle.clear();
    });
    rig.sweep().await.unwrap();
    let found = ids().await;
    assert!(!found.is_empty() && found.iter().all(|id| id == "bucket-missing-rule:lake"), "{found:?}");
    rig.objects.configure("lake", |settings| settings.lifecycle = rules);
    rig.sweep().await.unwrap();
    assert_eq!(ids().await, [""; 0]);
}

#[tokio::test]
async fn unfinished_flip_of_a_group() {
    let lake = GroupLake::new();
    lake.flipped().await;
    let run = lake.run().await;
    let unfinished = async || {
        let overview = turntable::flip::status_of_all(&lake.env()).await.unwrap();
        overview.conditions.into_iter().filter(|one| one.id.starts_with("unfinished:")).count()
    };
    assert_eq!(unfinished().await, 0);
    lake.dies_midway(&run).await;
    assert_eq!(unfinished().await, 3);
    lake.ask(event(&run, "c")).await.unwrap();
    assert_eq!(unfinished().await, 0);
}
