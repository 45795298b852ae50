//! Edits of datasets.toml: a dataset keeps its table, its generations and its hold under another name or location, and what
//! can't be carried over is refused or reported.

use jiff::SignedDuration;
use serde_json::json;
use tests::{catalog::moved, rig::Rig};
use turntable::{
    error::Kind,
    layout::{Generation, TableName},
    publish::Outcome,
};

const FILE: &str = "s3://lake/datasets.toml";

async fn live() -> (Rig, Generation) {
    let rig = Rig::with("");
    let generation = rig.export().await;
    rig.deliver(&generation).await.unwrap();
    (rig, generation)
}

fn edit(rig: &Rig, from: &str, to: &str) {
    let text = String::from_utf8(rig.objects.body(FILE).unwrap().to_vec()).unwrap();
    assert!(text.contains(from), "{text}");
    rig.objects.put(FILE, text.replace(from, to));
}

async fn export(rig: &Rig, name: &str) -> turntable::error::Result<Generation> {
    match rig.export_with(rig.env(), json!({ "dataset": name })).await? {
        export::Answer::Exported(exported) => Ok(exported.generation),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn dataset_with_another_name_keeps_its_generations() {
    let (rig, first) = live().await;
    edit(&rig, "[datasets.users]\n", "[datasets.people]\ntable = \"users\"\n");
    let second = export(&rig, "people").await.unwrap();
    let flipped = rig.ask(json!({ "dataset": "people", "generation": second })).await.unwrap();
    assert_eq!(flipped.outcome, Outcome::Committed);
    let back = rig.ask(json!({ "dataset": "people", "action": "rollback" })).await.unwrap();
    assert_eq!((back.outcome, rig.live()), (Outcome::Committed, Some(first)));
    assert_eq!(rig.attention().await, [""; 0]);

    // And back again.
    edit(&rig, "[datasets.people]\ntable = \"users\"\n", "[datasets.users]\n");
    assert_eq!(rig.sweep().await.unwrap().skipped.len(), 0);
    let third = rig.export().await;
    assert_eq!(rig.deliver(&third).await.unwrap().outcome, Outcome::Committed);
}

#[tokio::test]
async fn changed_database_is_refused_while_the_old_table_is_there_and_nothing_is_deleted() {
    let (rig, generation) = live().await;
    let second = rig.export().await;
    rig.deliver(&second).await.unwrap();
    edit(&rig, "database = \"dmp\"", "database = \"lake\"");
    rig.advance(SignedDuration::from_hours(24 * 365));
    for refused in [
        export(&rig, "users").await.map(drop).unwrap_err(),
        rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), Kind::Config);
        assert!(refused.message().contains("datasets.users publishes lake.users, but dmp.users is the table that was"));
    }
    // Sweep records its findings about the buckets in `_stacks/`.
    let keys = || rig.objects.keys().into_iter().filter(|key| !key.contains("/_stacks/")).collect::<Vec<_>>();
    let before = keys();
    assert_eq!(rig.sweep().await.unwrap_err().kind(), Kind::Config);
    assert_eq!(keys(), before, "{generation}");
    assert!(rig.attention().await[0].contains("is the table that was published in s3://lake/schemas/users/"));

    rig.catalog.port().delete(&rig.table).await.unwrap();
    let third = export(&rig, "users").await.unwrap();
    assert_eq!(rig.flip(&third).await.unwrap().outcome, Outcome::Committed);
    assert_eq!(rig.attention().await, [""; 0]);
}

#[tokio::test]
async fn hold_follows_a_table_whose_location_changes() {
    let (rig, _) = live().await;
    rig.ask(json!({ "dataset": "users", "action": "hold", "reason": "prices are wrong" })).await.unwrap();
    edit(&rig, "location = \"s3://lake/schemas\"", "location = \"s3://lake/tables\"");
    let next = export(&rig, "users").await.unwrap();
    let held = rig.flip(&next).await.unwrap();
    assert_eq!((held.outcome, held.reasons), (Outcome::Held, vec!["prices are wrong".to_owned()]));
    assert!(rig.attention().await.contains(&"users: held: prices are wrong".to_owned()));
    rig.ask(json!({ "dataset": "users", "action": "release" })).await.unwrap();
    assert_eq!(rig.flip(&next).await.unwrap().outcome, Outcome::Committed);
}

#[tokio::test]
async fn table_that_no_dataset_publishes_any_more_needs_attention() {
    let (rig, generation) = live().await;
    edit(&rig, "[datasets.users]\n", "[datasets.users]\ntable = \"customers\"\n");
    let next = export(&rig, "users").await.unwrap();
    rig.flip(&next).await.unwrap();
    let attention = rig.attention().await;
    assert_eq!(attention.len(), 1, "{attention:?}");
    assert!(
        attention[0].contains(&format!("dmp.users: the table reads {generation}, which Turntable published, but no"))
    );
    rig.catalog.port().delete(&rig.table).await.unwrap();
    assert_eq!(rig.attention().await, [""; 0]);
}

#[tokio::test]
async fn generation_that_another_table_reads_is_not_deleted() {
    let (rig, first) = live().await;
    let mut copy = moved(&rig.catalog.get(&rig.table).unwrap(), &rig.paths.generation(&first));
    copy.name = "users_of_march".into();
    rig.catalog.put("dmp", copy.clone());
    for _ in 0..4 {
        let next = rig.export().await;
        rig.deliver(&next).await.unwrap();
        rig.advance(SignedDuration::from_hours(24 * 30));
    }
    let swept = rig.sweep().await.unwrap();
    assert_eq!(rig.files(&first).len(), 1, "{swept:?}");
    assert!(
        swept
            .kept
            .iter()
            .any(|item| item.location.contains(&first.to_string()) && item.reason == "read by dmp.users_of_march")
    );
    assert_ne!(swept.deleted.len(), 0, "the others go");

    rig.catalog.port().delete(&TableName { database: "dmp".into(), table: copy.name }).await.unwrap();
    rig.sweep().await.unwrap();
    assert_eq!(rig.files(&first).len(), 0);
}
