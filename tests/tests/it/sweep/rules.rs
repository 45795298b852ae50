//! Each of sweep's rules, as an operator sees it.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use sweep::{Limits, Sweep};
use tests::rig::Sent;
use turntable::{
    answer::Swept,
    aws::glue::{self, GlueApi},
    catalog::Tables,
    config::Retain,
    environment::Environment,
    error::{Error, Kind, Result},
    layout::TableName,
    port::{Answered, Objects, Query, Update},
};

use super::lake::{Lake, hours, minutes};

fn retain(generations: u64) -> Retain {
    Retain { generations, drain: hours(1), abandoned: hours(24), max_age: hours(100) }
}

fn reasons(swept: &Swept) -> (Vec<String>, Vec<String>) {
    let short = |reason: &str| reason.split(" at ").next().unwrap().to_owned();
    let of = |items: &[turntable::answer::Item]| items.iter().map(|item| short(&item.reason)).collect();
    (of(&swept.deleted), of(&swept.kept))
}

#[tokio::test]
async fn a_dry_run_says_all_and_does_nothing() {
    let lake = Lake::new(retain(1));
    for _ in 0..4 {
        lake.turn(2).await;
    }
    lake.objects.put("s3://lake/schemas/users/blue/part-0.parquet", "adopted");
    lake.advance(hours(2));
    lake.turn(1).await;
    let (before, table) = (lake.objects.keys(), lake.catalog.get(&lake.dataset.table));
    let planned = lake.sweep_with(&lake.env, None, true).await;
    assert_eq!((lake.objects.keys(), lake.catalog.get(&lake.dataset.table)), (before, table));
    let swept = lake.sweep().await;
    for answer in [&planned, &swept] {
        let (deleted, kept) = reasons(answer);
        assert_eq!(deleted, ["replaced"; 3]);
        assert_eq!(kept, ["live", "kept for a rollback", "unmanaged: never deleted"]);
        assert!(answer.kept[1].until.is_some() && answer.bytes > 0 && !answer.more);
    }
    assert_eq!(lake.sweep().await.deleted.len(), 0);
}

#[tokio::test]
async fn a_running_query_keeps_what_it_may_read_beyond_drain() {
    let lake = Lake::new(retain(0));
    lake.turn(1).await;
    let submitted = lake.now() + SignedDuration::from_secs(1);
    lake.turn(1).await;
    lake.advance(hours(3));
    let kept = lake.sweep_with(&lake.env, Some(submitted), false).await;
    assert!(kept.deleted.is_empty() && kept.kept[1].reason.contains("is still running"), "{kept:?}");
    let later = submitted + minutes(1);
    assert_eq!(lake.sweep_with(&lake.env, Some(later), false).await.deleted.len(), 1);
}

struct Denied(Kind);

#[async_trait::async_trait]
impl Query for Denied {
    async fn run(&self, _: &str, _: &str) -> Result<Answered> {
        unreachable!("sweep runs no query of its own")
    }

    async fn run_within(&self, database: &str, sql: &str, _: std::time::Duration) -> Result<Answered> {
        self.run(database, sql).await
    }

    async fn oldest_running(&self, _: &[String]) -> Result<Option<jiff::Timestamp>> {
        Err(Error::new(self.0, "athena:ListQueryExecutions on primary is not allowed"))
    }
}

#[tokio::test]
async fn without_permission_for_athena_sweep_notes_it_and_without_an_answer_it_deletes_nothing() {
    let lake = Lake::new(retain(0));
    lake.turn(1).await;
    lake.turn(1).await;
    lake.advance(hours(3));
    let sweep = |kind| Sweep {
        env: Environment { query: Arc::new(Denied(kind)), ..lake.env.clone() },
        queue: Arc::<Sent>::default(),
        limits: Limits::default(),
    };
    let (swept, failures) =
        sweep::all(&sweep(Kind::Unavailable), (&[&lake.dataset], None), Tables::default(), false).await;
    assert!(swept.deleted.is_empty() && failures.len() == 1);
    let (swept, failures) = sweep::all(&sweep(Kind::Config), (&[&lake.dataset], None), Tables::default(), false).await;
    assert!(swept.deleted.len() == 1 && failures.is_empty());
    assert!(swept.notes[0].contains("only drain protects their files"), "{:?}", swept.notes);
}

#[tokio::test]
async fn an_unreadable_object_stops_the_deletion() {
    for key in ["_manifests/blue-01HF7YAT00000000000000000A.json", "_sweeping/blue-01HF7YAT00000000000000000A.json"] {
        let lake = Lake::new(retain(0));
        lake.turn(1).await;
        lake.turn(1).await;
        lake.advance(hours(100));
        lake.objects.put(&format!("s3://lake/schemas/users/{key}"), "{");
        let before = lake.objects.keys();
        let swept = lake.sweep().await;
        assert_eq!(swept.skipped[0].error, Some("Corrupt"), "{key}");
        assert_eq!(lake.objects.keys(), before);
        // The invocation fails, so that the operator notices.
        let sweep = Sweep { env: lake.env.clone(), queue: Arc::<Sent>::default(), limits: Limits::default() };
        assert_eq!(sweep::handle(sweep, json!({})).await.unwrap_err().kind(), Kind::Corrupt);
    }
}

#[tokio::test]
async fn a_drifted_table_is_not_swept() {
    let lake = Lake::new(retain(0));
    let first = lake.turn(1).await;
    lake.turn(1).await;
    lake.advance(hours(100));
    let before = lake.objects.keys();
    for to in [lake.dataset.paths.generation(&first), "s3://lake/elsewhere".parse().unwrap()] {
        let table = lake.catalog.get(&lake.dataset.table).unwrap();
        let moved = lake.catalog.update("dmp", tests::catalog::moved(&table, &to), table.version_id().unwrap()).await;
        assert_eq!(moved.unwrap(), Update::Done);
        let swept = lake.sweep().await;
        assert!(swept.skipped[0].reason.starts_with("drift") && swept.skipped[0].error.is_none());
    }
    lake.catalog.delete(&lake.dataset.table).await.unwrap();
    assert!(lake.sweep().await.skipped[0].reason.starts_with("there is no table"));
    assert_eq!(lake.objects.keys(), before);
}

#[tokio::test]
async fn locations_in_a_partition_template_are_live() {
    let lake = Lake::new(retain(0));
    let first = lake.turn(1).await;
    lake.turn(1).await;
    lake.advance(hours(3));
    let table = lake.catalog.get(&lake.dataset.table).unwrap();
    let mut input = glue::unchanged(&table);
    let template = format!("{}dt=${{dt}}", lake.dataset.paths.generation(&first));
    input.parameters.get_or_insert_default().insert("storage.location.template".into(), template);
    lake.catalog.update("dmp", input, table.version_id().unwrap()).await.unwrap();
    assert_eq!(lake.sweep().await.deleted.len(), 0);
}

#[tokio::test]
async fn a_large_backlog_is_deleted_over_several_invocations() {
    let lake = Lake::new(retain(0));
    let (first, second) = (lake.turn(5).await, lake.turn(3).await);
    lake.turn(1).await;
    lake.advance(hours(2));
    let limits = Limits { objects: 3, ..Limits::default() };
    let sweep = Sweep { env: lake.env.clone(), queue: Arc::<Sent>::default(), limits };
    let mut left = Vec::new();
    let mut bytes = 0;
    loop {
        let (swept, _) = sweep::all(&sweep, (&[&lake.dataset], None), Tables::default(), false).await;
        left.push((lake.files(&first).await, lake.files(&second).await));
        bytes += swept.bytes;
        if !swept.more {
            break;
        }
    }
    assert_eq!(left, [(2, 3), (0, 3), (0, 0)]);
    assert!(bytes > 0 && !lake.objects.keys().iter().any(|key| key.contains("_sweeping")));
}

#[tokio::test]
async fn sweep_begins_nothing_new_near_the_timeout() {
    let lake = Lake::new(retain(0));
    lake.turn(1).await;
    lake.turn(1).await;
    lake.advance(hours(2));
    let limits = Limits { time: SignedDuration::ZERO, ..Limits::default() };
    let sweep = Sweep { env: lake.env.clone(), queue: Arc::<Sent>::default(), limits };
    let (swept, _) = sweep::all(&sweep, (&[&lake.dataset], None), Tables::default(), false).await;
    assert!(swept.more && swept.deleted.is_empty());
}

#[tokio::test]
async fn a_dead_sweeps_mark_does_not_block_a_kept_generation_for_long() {
    let lake = Lake::new(retain(1));
    let first = lake.turn(1).await;
    lake.turn(1).await;
    let mark = lake.dataset.paths.sweeping(&first).to_string();
    lake.objects.put(&mark, json!({"at": lake.now()}).to_string());
    lake.sweep().await;
    assert!(lake.rollback(first).await.is_err_and(|error| error.kind() == Kind::Conflict));
    lake.advance(minutes(61));
    lake.sweep().await;
    assert!(!lake.objects.keys().contains(&mark));
    lake.rollback(first).await.unwrap();
}

#[tokio::test]
async fn leftover_uploads_and_audit_tables_are_deleted() {
    let lake = Lake::new(retain(2));
    let live = lake.turn(1).await;
    let at = lake.dataset.paths.generation(&live).key("part-00001.parquet").to_string();
    for key in [at.as_str(), "s3://lake/schemas/users/blue/part-00001.parquet"] {
        lake.objects.begin_upload(key, lake.now());
    }
    let ulid = |of: turntable::layout::Generation| of.ulid.to_string().to_lowercase();
    let old = format!("turntable_audit_users_{}", ulid(live));
    lake.advance(hours(24));
    let young = format!("turntable_audit_users_{}", ulid(lake.data(0).await));
    for (name, mark) in [
        (&old, "turntable.audit"),
        (&young, "turntable.audit"),
        (&format!("turntable_audit_x_{}", ulid(live)), "theirs"),
    ] {
        let table = lake.catalog.get(&lake.dataset.table).unwrap();
        let mut input = glue::unchanged(&table);
        input.name = name.clone();
        input.parameters.get_or_insert_default().insert(mark.into(), live.to_string());
        lake.catalog.create("dmp", input).await.unwrap();
    }
    let swept = lake.sweep().await;
    assert_eq!(swept.deleted.len(), 2, "{swept:?}");
    assert_eq!(lake.objects.unfinished(), ["s3://lake/schemas/users/blue/part-00001.parquet"]);
    assert!(lake.catalog.get(&TableName { database: "dmp".into(), table: old }).is_none());
    assert_eq!(lake.catalog.names().len(), 3);
}

#[tokio::test]
async fn the_history_is_bounded_and_its_end_stays() {
    let lake = Lake::new(retain(0));
    for _ in 0..10 {
        lake.turn(1).await;
    }
    lake.advance(hours(2));
    lake.sweep().await;
    let records = async || lake.objects.list(&lake.dataset.paths.flips(), None).await.unwrap().len();
    assert_eq!(records().await, 10);
    lake.advance(hours(24 * 30));
    lake.sweep().await;
    assert_eq!(records().await, 1);
    let live = lake.turn(1).await;
    assert!(lake.sweep().await.skipped.is_empty());
    assert!(lake.is_whole(&live).await);
}
