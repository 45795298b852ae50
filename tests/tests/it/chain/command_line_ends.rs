//! The program `turntable` on a deployed stack: keys that came and went, opt-outs, and what datasets.toml no longer names.

use serde_json::{Value, json};

use super::{
    Chain, USERS,
    optout::{OPTOUTS, unprotected},
    users,
};

#[tokio::test(flavor = "multi_thread")]
async fn datasets_change_and_end_from_the_command_line() {
    let optouts = unprotected(OPTOUTS).replace("key = ", "max_returning = 1, key = ");
    let both = format!("{USERS}{optouts}");
    let chain = Chain::start(&both).await;
    let mut generations = Vec::new();
    let mut before = None;
    for rows in [100, 110] {
        chain.put("source/users/a.csv", users(rows, 1)).await.unwrap();
        chain.turntable(&["export", "users"]).await;
        generations.push(chain.next("users", before.as_ref()).await.to_string());
        before = chain.live("users").await;
    }
    keys(&chain, &generations).await;
    opt_outs(&chain).await;
    ends(&chain, &optouts).await;
}

/// Keys are counted. They are shown only with `--show-keys`.
async fn keys(chain: &Chain, generations: &[String]) {
    let results = chain.results();
    let [first, second] = generations else { panic!("{generations:?}") };
    let ended = chain.turntable(&["diff", "users", second, first, "--keys", "ID", "--results", &results]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.ends_with("\n\nkeys (id): 10 went, 0 came\n"), "{}", ended.out);
    let words = [
        "diff",
        "users",
        first.as_str(),
        second.as_str(),
        "--keys",
        "id,points",
        "--results",
        &results,
        "--show-keys",
        "2",
    ];
    let ended = chain.turntable(&words).await;
    let shown = "\n\nkeys (id, points): 0 went, 10 came\n      id   points\ncame  101  303\ncame  102  306\n";
    assert!(ended.out.ends_with(shown), "{}{}", ended.out, ended.err);
    let ended = chain.turntable(&[&words[..8], &["-o", "json"]].concat()).await;
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(answer["keys"], json!({ "columns": ["id", "points"], "went": 0, "came": 10 }));
    let ended = chain.turntable(&["diff", "users", first, second, "--keys", "email", "--results", &results]).await;
    let expected =
        format!("error: {first} has no column \"email\": expected some of id, name, points, joined after --keys\n");
    assert_eq!((ended.code, ended.err), (Some(1), expected));
    let tables = chain.stack.account.call("glue", "GetTables", json!({ "DatabaseName": "dmp" })).await.unwrap();
    assert!(!tables.to_string().contains("turntable_audit_"), "{tables}");
}

/// If more people than max_returning would come back, an operator must request it.
async fn opt_outs(chain: &Chain) {
    chain.drop("a.csv", "7,opted_out,2026-01-01T00:00:00Z\n8,opted_out,2026-01-01T00:00:00Z\n").await;
    let live = chain.next("optouts", None).await;
    chain.exactly(&["optout", "optouts"], 0, &format!("optouts: {live} stays live, with 2 rows\n")).await;
    chain.drop("b.csv", "7,opted_in,2026-02-01T00:00:00Z\n8,opted_in,2026-02-01T00:00:00Z\n").await;
    let held = async || {
        let ended = chain.turntable(&["optout", "optouts"]).await;
        let is_held = ended.out.contains("  2 people would be back, and are held out: see max_returning\n");
        (is_held && ended.code == Some(1)).then_some(())
    };
    chain.until("the drop that is held back", held).await;
    let ended = chain.turntable(&["optout", "optouts", "--max-returning", "2"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{}", ended.err);
    let ended = chain.turntable(&["optout", "optouts", "--max-returning", "2", "--yes"]).await;
    let before = Some(chain.paths("optouts").generation(&live));
    let live = chain.next("optouts", before.as_ref()).await;
    let expected = format!(
        "optouts: {live} is live, with 2 rows\n  1 drops were read\n  2 people are new or have changed\n  2 people are \
         back\n"
    );
    assert_eq!((ended.code, ended.out), (Some(0), expected), "{}", ended.err);
}

/// The table gets another name, another location, and is dropped.
async fn ends(chain: &Chain, optouts: &str) {
    let both = format!("{USERS}{optouts}");
    let renamed = both.replace("[datasets.users]\n", "[datasets.users]\ntable = \"customers\"\n");
    chain.datasets(&renamed).await;
    let words = ["rename", "users", "--from", "dmp.users", "--table", "drop", "--reason", "a better name", "--yes"];
    let expected = "users: renamed\n  dmp.customers is published instead of dmp.users, which is dropped\n";
    chain.exactly(&words, 0, expected).await;
    assert!(chain.table("users").await.is_none());

    let head = "[datasets.users]\n";
    chain.datasets(&renamed.replace(head, &format!("{head}location = \"s3://${{BUCKET}}/team\"\n"))).await;
    let from = chain.named("s3://${BUCKET}/schemas");
    let words = ["move", "users", "--from", from.as_str(), "--reason", "one folder for each team", "--yes"];
    let ended = chain.turntable(&words).await;
    // The renamed table still reads the folder of its old name, so nothing was published in the folder that it leaves.
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    assert!(ended.err.contains("has never been published in"), "{}", ended.err);
    chain.datasets(&renamed).await;
    chain.put("source/users/a.csv", users(120, 1)).await.unwrap();
    chain.turntable(&["export", "users"]).await;
    let live = chain.next("customers", chain.live("customers").await.as_ref()).await;
    chain.datasets(&renamed.replace(head, &format!("{head}location = \"s3://${{BUCKET}}/team\"\n"))).await;
    let folder = format!("{from}/customers/");
    let expected = format!(
        "users: moved\n  dmp.customers still reads from {folder}, and its next flip moves it to the new location. To move \
         it now, invoke export with {{\"dataset\":\"users\"}}\n"
    );
    chain.exactly(&words, 0, &expected).await;

    // Back, and out.
    chain.datasets(&renamed).await;
    let ended = chain.turntable(&["retire", "users", "--table", "drop", "--reason", "sold", "--yes"]).await;
    assert_eq!(ended.code, Some(1), "it is still configured: {}", ended.out);
    chain.datasets(optouts).await;
    let expected = format!(
        "users: retired\n  dmp.customers stays as it is with the files that it reads, and status doesn't list it any more\n\
         stays in the bucket:\n  {folder}{live}/  the files that the table reads\n  {folder}_manifests/{live}.json  their \
         manifest\n  {folder}_flips/  the records of the flips, without rows\n  {folder}_table.json  the table's name, \
         without rows\n  {record}  this decision\n",
        record = chain.named("s3://${BUCKET}/_retired/schemas/customers.json"),
    );
    chain.exactly(&["retire", "users", "--table", "keep", "--reason", "for the auditors", "--yes"], 0, &expected).await;
    let expected = format!(
        "users: retired\n  dmp.customers is dropped, and sweep deletes its files when no query can read them any more\n\
         stays in the bucket:\n  {folder}_table.json  the table's name, without rows\n  {record}  this decision\n",
        record = chain.named("s3://${BUCKET}/_retired/schemas/customers.json"),
    );
    let words = ["retire", "dmp.customers", "--table", "drop", "--reason", "sold", "--yes"];
    chain.exactly(&words, 0, &expected).await;
    assert!(chain.table("customers").await.is_none());
}
