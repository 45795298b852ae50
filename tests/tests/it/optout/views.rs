//! The views that leave people out: they are what they should be after every refresh and every flip.

use std::collections::BTreeSet;

use aws_sdk_glue::types::{Column, StorageDescriptor, Table, TableInput};
use tests::optouts::{Lake, many};
use turntable::optout::view::View;
use turntable::{layout::TableName, publish::Outcome};

use super::reader;

pub fn name(table: &str) -> TableName {
    TableName { database: "dmp".into(), table: table.into() }
}

/// Returns a view that Turntable has stored, or `None` if the view is missing or somebody else stored it.
fn stored(lake: &Lake, view: &str) -> Option<View> {
    turntable::aws::glue::version_of("dmp", lake.catalog.get(&name(view))?).view
}

/// Puts a plain table with these columns into the catalog.
pub fn put_table(lake: &Lake, database: &str, table: &str, columns: &[(&str, &str)]) {
    let columns = columns.iter().map(|(name, kind)| Column::builder().name(*name).r#type(*kind).build().unwrap());
    let storage = StorageDescriptor::builder()
        .set_columns(Some(columns.collect()))
        .location(format!("s3://lake/by-hand/{table}/"))
        .build();
    let input = TableInput::builder().name(table).table_type("EXTERNAL_TABLE").storage_descriptor(storage);
    lake.catalog.put(database, input.build().unwrap());
}

/// A lake whose inbox protects `users`.
pub fn protecting() -> Lake {
    let lake = Lake::default();
    lake.configure_dataset(
        "protects = { users = \"id\" }\n\
         [datasets.users]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
         source = { files = { location = \"s3://lake/in/\" } }\n",
    );
    put_table(&lake, "dmp", "users", &[("id", "bigint"), ("name", "string")]);
    lake
}

#[tokio::test]
async fn views_exist_before_the_first_drop_and_need_no_athena() {
    let lake = protecting();
    let answer = &lake.schedule().await.unwrap()[0];
    assert_eq!((answer.outcome, answer.rows), (Outcome::Committed, 0));
    assert_eq!(stored(&lake, "users_protected").unwrap().leaves_out.len(), 1);
    assert!(stored(&lake, "optouts_active").is_some());
    assert!(lake.athena.asked().is_empty());
    assert_eq!(reader::left_out(&lake, "users_protected"), Ok(BTreeSet::new()));

    lake.drop("a.csv", many(0..3));
    lake.nudge(lake.wire()).await;
    assert_eq!(reader::left_out(&lake, "users_protected"), Ok(BTreeSet::from([0, 1, 2])));
    let query = stored(&lake, "users_protected").unwrap().query;
    assert!(query.contains(">= 1 THEN true"), "the view expects the file: {query}");
}

/// Each view costs a scheduled refresh two calls, for itself and for its table. The opt-out table is read once for all.
#[tokio::test]
async fn views_that_are_right_cost_two_calls_each() {
    let calls = async |tables: usize| {
        let lake = Lake::default();
        let names: Vec<String> = (0..tables).map(|at| format!("users{at}")).collect();
        let protects = names.iter().map(|name| format!("{name} = \"id\"")).collect::<Vec<_>>().join(", ");
        let datasets = names.iter().map(|name| {
            format!(
                "[datasets.{name}]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\nsource = {{ files = {{ location = \
                 \"s3://lake/in/\" }} }}\n"
            )
        });
        lake.configure_dataset(&format!("protects = {{ {protects} }}\n{}", datasets.collect::<String>()));
        names.iter().for_each(|name| put_table(&lake, "dmp", name, &[("id", "bigint")]));
        lake.drop("a.csv", many(0..3));
        lake.schedule().await.unwrap();
        let (before, writes) = (lake.calls(), lake.catalog.writes().len());
        lake.schedule().await.unwrap();
        assert_eq!(lake.catalog.writes().len(), writes);
        lake.calls() - before
    };
    let (one, five) = (calls(1).await, calls(5).await);
    assert_eq!((five - one) / 4, 2, "{one} and {five}");
}

#[tokio::test]
async fn view_that_was_replaced_or_dropped_by_hand_is_restored() {
    let lake = protecting();
    lake.drop("a.csv", many(0..3));
    lake.nudge(lake.wire()).await;
    let right = stored(&lake, "users_protected").unwrap();
    let mut by_hand = lake.catalog.get(&name("users_protected")).unwrap();
    by_hand.view_original_text = Some("/* Presto View: e30= */".into());
    lake.catalog.put("dmp", turntable::aws::glue::unchanged(&by_hand));
    assert_eq!(stored(&lake, "users_protected"), None);
    lake.schedule().await.unwrap();
    assert_eq!(stored(&lake, "users_protected").as_ref(), Some(&right));

    lake.catalog.port().delete(&name("users_protected")).await.unwrap();
    lake.catalog.port().delete(&name("optouts_active")).await.unwrap();
    lake.schedule().await.unwrap();
    assert_eq!(stored(&lake, "users_protected").as_ref(), Some(&right));
    assert!(stored(&lake, "optouts_active").is_some());
    let writes = lake.catalog.writes().len();
    lake.schedule().await.unwrap();
    assert_eq!(lake.catalog.writes().len(), writes, "a view that is right is not written again");
}

#[tokio::test]
async fn views_follow_wider_types_and_new_columns() {
    let lake = protecting();
    lake.schedule().await.unwrap();
    put_table(&lake, "dmp", "users", &[("id", "decimal(20,0)"), ("name", "string"), ("mail", "string")]);
    lake.schedule().await.unwrap();
    let view = stored(&lake, "users_protected").unwrap();
    let types: Vec<&str> = view.columns.iter().map(|column| column.glue_type.as_str()).collect();
    assert_eq!(types, ["decimal(20,0)", "string", "string"]);
    assert!(view.query.contains("TRY_CAST(t.\"id\" AS decimal(38,6))"), "{}", view.query);
}

#[tokio::test]
async fn one_faulty_view_stops_no_other_and_is_named() {
    let lake = protecting();
    lake.configure_dataset(
        "[datasets.orders]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
         source = { files = { location = \"s3://lake/in2/\" } }\n",
    );
    let text = String::from_utf8(lake.get("s3://lake/datasets.toml").unwrap().to_vec()).unwrap();
    lake.objects.put(
        "s3://lake/datasets.toml",
        text.replace("protects = { users = \"id\" }", "protects = { users = \"id\", orders = \"user_id\" }"),
    );
    put_table(&lake, "dmp", "orders", &[("id", "bigint"), ("user_id", "timestamp")]);
    let answer = lake.schedule().await.unwrap().remove(0);
    assert_eq!(
        answer.reasons,
        ["views: the view dmp.orders_protected can't be made: dmp.orders has column \"user_id\" of type timestamp, \
          which can't match the key \"user_id\" (bigint) of dmp.optouts"]
    );
    assert!(stored(&lake, "users_protected").is_some());
    put_table(&lake, "dmp", "orders_protected", &[("id", "bigint")]);
    put_table(&lake, "dmp", "orders", &[("id", "bigint"), ("user_id", "string")]);
    let answer = lake.schedule().await.unwrap().remove(0);
    assert_eq!(
        answer.reasons,
        ["views: dmp.orders_protected is a table, but Turntable keeps a view with this name: rename or drop the table"]
    );
}

#[tokio::test]
async fn foreign_columns_on_the_opt_out_table_do_not_stop_opt_outs() {
    let lake = protecting();
    lake.drop("a.csv", many(0..3));
    lake.nudge(lake.wire()).await;
    let mut table: Table = lake.catalog.get(&lake.table_name()).unwrap();
    let columns = &mut table.storage_descriptor.as_mut().unwrap().columns.as_mut().unwrap();
    columns.push(Column::builder().name("by_a_crawler").r#type("string").build().unwrap());
    lake.catalog.put("dmp", turntable::aws::glue::unchanged(&table));
    lake.drop("b.csv", many(3..5));
    lake.nudge(lake.wire()).await;
    assert_eq!(reader::left_out(&lake, "users_protected"), Ok((0..5).collect()));
    let columns = turntable::aws::glue::version_of("dmp", lake.catalog.get(&lake.table_name()).unwrap()).columns;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["user_id", "state", "occurred_at"]);
}

#[tokio::test]
async fn view_fails_while_files_of_the_opt_out_table_are_lost() {
    let lake = protecting();
    lake.drop("a.csv", many(0..3));
    lake.nudge(lake.wire()).await;
    let prefix = lake.paths().generation(&lake.live().unwrap()).to_string();
    for key in lake.objects.keys().into_iter().filter(|key| key.starts_with(&prefix)) {
        lake.objects.delete(&key);
    }
    let failed = reader::left_out(&lake, "users_protected").unwrap_err();
    assert_eq!(failed, "dmp.optouts has lost opt-outs: it has 0 of 1 files");
}

#[tokio::test]
async fn fewer_buckets_never_make_a_view_fail() {
    let lake = Lake::with("buckets = 8");
    lake.configure_dataset(
        "protects = { users = \"id\" }\n\
         [datasets.users]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
         source = { files = { location = \"s3://lake/in/\" } }\n",
    );
    put_table(&lake, "dmp", "users", &[("id", "bigint")]);
    lake.drop("a.csv", many(0..50));
    lake.nudge(lake.wire()).await;
    assert!(stored(&lake, "users_protected").unwrap().query.contains(">= 8 THEN true"));
    let before = lake.catalog.writes().len();
    let text = String::from_utf8(lake.get("s3://lake/datasets.toml").unwrap().to_vec()).unwrap();
    lake.objects.put("s3://lake/datasets.toml", text.replace("buckets = 8", "buckets = 2"));
    lake.drop("b.csv", many(50..60));
    lake.nudge(lake.wire()).await;
    let expected = |table: &Table| {
        let view = turntable::aws::glue::version_of("dmp", table.clone()).view?;
        view.query.split_once(">= ")?.1.split_once(' ')?.0.parse::<u64>().ok()
    };
    let writes = lake.catalog.writes();
    let order: Vec<(&str, Option<u64>)> =
        writes[before..].iter().map(|(name, table)| (name.table.as_str(), expected(table))).collect();
    assert_eq!(
        order,
        [("optouts_active", Some(2)), ("users_protected", Some(2)), ("optouts", None)],
        "the views expect fewer files before the flip"
    );
}

#[tokio::test]
async fn status_has_a_section_for_the_inbox_and_its_views() {
    let lake = protecting();
    lake.drop("a.csv", format!("{}x,opted_out,2026-01-01T00:00:00Z\n", many(0..3)));
    lake.nudge(lake.wire()).await;
    lake.drop("b.csv", many(3..5));
    let mut by_hand = lake.catalog.get(&name("users_protected")).unwrap();
    by_hand.view_original_text = Some("/* Presto View: e30= */".into());
    lake.catalog.put("dmp", turntable::aws::glue::unchanged(&by_hand));
    let answer = lake.operator(serde_json::json!({ "dataset": "optouts", "action": "status" })).await.unwrap();
    let inbox = &serde_json::to_value(answer).unwrap()["inbox"];
    assert_eq!((&inbox["keys"], &inbox["unread"], &inbox["rejected"]), (&3.into(), &1.into(), &1.into()), "{inbox}");
    assert_eq!(
        inbox["views"],
        serde_json::json!([
            { "view": "dmp.optouts_active", "state": "kept" },
            { "view": "dmp.users_protected", "state": "different" },
        ])
    );
}

#[tokio::test]
async fn event_about_a_changed_view_restores_it_at_once() {
    let lake = protecting();
    lake.drop("a.csv", many(0..3));
    lake.nudge(lake.wire()).await;
    let right = stored(&lake, "users_protected");
    let mut by_hand = lake.catalog.get(&name("users_protected")).unwrap();
    by_hand.view_original_text = Some("/* Presto View: e30= */".into());
    lake.catalog.put("dmp", turntable::aws::glue::unchanged(&by_hand));
    let mut event: serde_json::Value = serde_json::from_str(include_str!("../../../../events/flip-glue.json")).unwrap();
    event["detail"]["tableName"] = "users_protected".into();
    let answer = lake.operator(event.clone()).await.unwrap();
    assert!(answer.reasons[0].contains("and it was restored"), "{answer:?}");
    assert_eq!(stored(&lake, "users_protected"), right);
    let answer = lake.operator(event).await.unwrap();
    assert_eq!(answer.reasons, ["the view is what it should be"]);
}
