//! Protected views on the whole chain: nobody who opted out comes back through a second inbox, another type, changed
//! columns, a view that was replaced by hand, a renamed dataset or lost files.

use serde_json::json;

use super::{
    Chain,
    optout::{OPTOUTS, start},
    users,
};

const USERS: &str = r#"
[datasets.users]
schema = "any"
source = { files = { location = "s3://${BUCKET}/source/users/", columns = { id = "bigint", name = "string", points = "int", joined = "date" } } }
"#;

const VISIBLE: &str = "SELECT count(*) FROM dmp.users_protected";

/// Deploys a stack with users 1 to 100, of whom 7 and 8 have opted out.
async fn two_are_out(users_entry: &str, optouts: &str) -> Chain {
    let chain = start(&format!("{users_entry}{optouts}")).await;
    chain.put("source/users/users.csv", users(100, 1)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    chain.next("users", None).await;
    chain.ask("optout", &json!({})).await;
    assert_eq!(chain.number(VISIBLE).await, 100, "the view exists before the first drop");
    chain.drop("first.csv", "7,opted_out,2026-01-01T00:00:00Z\n8,withdrawn,2026-01-01T00:00:00Z\n").await;
    chain.until_number(VISIBLE, 98).await;
    chain
}

#[tokio::test(flavor = "multi_thread")]
async fn view_covers_every_inbox_and_is_restored_after_a_change_by_hand() {
    let chain = two_are_out(USERS, OPTOUTS).await;
    chain
        .datasets(&format!(
            "{USERS}{OPTOUTS}\n[datasets.withdrawn]\nsource = {{ inbox = {{ location = \"s3://${{BUCKET}}/inbox/withdrawn\", \
             key = \"user_id\", columns = {{ user_id = \"bigint\" }} }} }}\nprotects = {{ users = \"id\" }}\n"
        ))
        .await;
    chain.ask("optout", &json!({})).await;
    chain.put("inbox/withdrawn/w.csv", "user_id,state,occurred_at\n9,withdrawn,2026-01-01T00:00:00Z\n").await.unwrap();
    chain.until_number(VISIBLE, 97).await;
    assert_eq!(chain.number(&format!("{VISIBLE} WHERE id IN (7, 8, 9)")).await, 0);

    // The statement returns no row, which `try_query` reports as an error.
    let _ = chain.try_query("CREATE OR REPLACE VIEW dmp.users_protected AS SELECT * FROM dmp.users").await;
    assert_eq!(chain.number(VISIBLE).await, 100);
    chain.ask("optout", &json!({})).await;
    assert_eq!(chain.number(VISIBLE).await, 97);
    chain
        .until("the metric behind the alarm", async || {
            chain.logs("optout", 0).await.unwrap().iter().any(|line| line["ViewDrift"].is_number()).then_some(())
        })
        .await;

    // The second inbox is not removed in silence.
    chain.datasets(&format!("{USERS}{OPTOUTS}")).await;
    let answer = chain.ask("optout", &json!({ "dataset": "optouts" })).await;
    assert!(answer["reasons"][0].as_str().is_some_and(|reason| reason.contains("would bring back people")), "{answer}");
    assert_eq!(chain.number(VISIBLE).await, 97);
}

#[tokio::test(flavor = "multi_thread")]
async fn view_follows_the_columns_of_every_flip_and_a_flip_never_breaks_it() {
    let chain = two_are_out(USERS, OPTOUTS).await;
    let mut last = chain.live("users").await;
    // A wider type, a type of another kind with a decimal part, and text: each is visible at once, without a refresh.
    for (id, columns) in [
        ("decimal(20,0)", "id = \"decimal(20,0)\", name = \"string\", points = \"int\", joined = \"date\""),
        ("double", "id = \"double\", name = \"string\", points = \"int\", joined = \"date\""),
        ("string", "id = \"string\", name = \"string\", points = \"bigint\", joined = \"string\""),
    ] {
        let entry = USERS.replace("id = \"bigint\", name = \"string\", points = \"int\", joined = \"date\"", columns);
        chain.datasets(&format!("{entry}{OPTOUTS}")).await;
        chain.ask("export", &json!({ "dataset": "users" })).await;
        chain.next("users", last.as_ref()).await;
        last = chain.live("users").await;
        chain.until_number(VISIBLE, 98).await;
        assert_eq!(
            chain.number(&format!("{VISIBLE} WHERE CAST(id AS varchar) IN ('7', '7.0', '8', '8.0')")).await,
            0,
            "{id}"
        );
    }
    chain.ask("flip", &json!({ "dataset": "users", "action": "rollback" })).await;
    assert_eq!(chain.number(VISIBLE).await, 98, "a rollback restores the view's columns too");

    // A flip that loses the key column is rejected, and names the view.
    let renamed = USERS.replace("id = \"bigint\", name", "uid = \"bigint\", name");
    chain.put("source/users/users.csv", users(100, 2).replacen("id,", "uid,", 1)).await.unwrap();
    chain.datasets(&format!("{renamed}{OPTOUTS}")).await;
    let built = chain.ask("export", &json!({ "dataset": "users" })).await;
    let flip = json!({ "dataset": "users", "generation": built["generation"] });
    let refused = chain.answer("flip", &flip).await.unwrap_err();
    assert_eq!(refused.error_type, "Rejected", "{refused}");
    assert!(refused.to_string().contains("the view dmp.users_protected can't be made"), "{refused}");
    assert_eq!(chain.number(VISIBLE).await, 98);
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_opt_outs_survive_a_rename_and_queries_fail_while_files_are_lost() {
    let optouts = format!("{OPTOUTS}retain = {{ drain = \"1s\" }}\n");
    let chain = two_are_out(USERS, &optouts).await;
    chain
        .until("the archive", async || {
            chain.ask("sweep", &json!({ "dataset": "optouts" })).await;
            (!chain.keys("_archive/inbox/optouts/").await.is_empty()).then_some(())
        })
        .await;
    chain.datasets(&format!("{USERS}{}", optouts.replace("datasets.optouts", "datasets.opt_outs"))).await;
    let answer = chain.ask("optout", &json!({ "dataset": "opt_outs" })).await;
    assert_eq!(answer["rows"], 2, "{answer}");
    assert_eq!(chain.number(VISIBLE).await, 98);
    chain.drop("next.csv", "9,opted_out,2026-01-02T00:00:00Z\n").await;
    chain.until_number(VISIBLE, 97).await;

    // Undoing the rename keeps what the other table has published.
    chain.datasets(&format!("{USERS}{optouts}")).await;
    chain.ask("optout", &json!({ "dataset": "optouts" })).await;
    assert_eq!(chain.number(VISIBLE).await, 97);

    // A lifecycle rule deletes the files: a query fails, and the refresh rebuilds the table or says that it can't.
    let live = chain.live("optouts").await.unwrap();
    for key in chain.keys(&live.prefix).await {
        chain.s3.delete_object().bucket(&chain.bucket).key(key).send().await.unwrap();
    }
    let failed = chain.try_query(VISIBLE).await.unwrap_err().to_string();
    assert!(failed.contains("has lost opt-outs: it has 0 of"), "{failed}");
    if chain.answer("optout", &json!({ "dataset": "optouts" })).await.is_ok() {
        assert_eq!(chain.number(VISIBLE).await, 97);
    } else {
        assert!(chain.try_query(VISIBLE).await.is_err());
    }
}
