//! A reader polls the view for extractions while people opt out one after the other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use super::{
    USERS,
    optout::{OPTOUTS, start},
    users,
};

/// Returns how many refreshes to run: `REFRESHES`, or 60. A thousand take minutes.
fn refreshes() -> u64 {
    std::env::var("REFRESHES").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

#[tokio::test(flavor = "multi_thread")]
async fn opted_out_people_never_come_back_and_no_query_fails() {
    let people = refreshes();
    let retain = "retain = { drain = \"20s\" }\n";
    let chain = start(&format!("{USERS}{OPTOUTS}{retain}")).await;
    chain.put("source/users/users.csv", users(people + 50, 1)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    chain.next("users", None).await;
    chain.drop("0.csv", "0,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.until("the view", async || chain.table("users_protected").await).await;

    let (out, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let reader = async {
        let mut polls = 0_u64;
        while !done.load(Ordering::SeqCst) {
            // The answer must lack everybody who was out before the query started.
            let gone = out.load(Ordering::SeqCst);
            let sql = format!("SELECT count(*), count_if(id <= {gone}) FROM dmp.users_protected");
            let row = chain.query(&sql).await;
            let count = |at: usize| row[at].as_deref().unwrap_or_default().parse::<u64>().unwrap();
            assert_eq!(count(1), 0, "one of the first {gone} opted-out people has come back");
            assert!(count(0) >= 50 && count(0) <= people + 50 - gone, "{row:?} when {gone} were out");
            polls += 1;
        }
        polls
    };
    let writer = async {
        let mut swapped = 0_u64;
        for person in 1..=people {
            chain.drop(&format!("{person}.csv"), &format!("{person},opted_out,2026-01-01T00:00:00Z\n")).await;
            // This refresh runs beside the one that the drop's event starts. The later of the two finds the drop
            // merged.
            let answer = chain.ask("optout", &json!({ "dataset": "optouts" })).await;
            assert!(answer["outcome"] == "swapped" || answer["outcome"] == "already_live", "{answer}");
            swapped += u64::from(answer["outcome"] == "swapped");
            out.store(person, Ordering::SeqCst);
            if person % 50 == 0 {
                chain.ask("sweep", &json!({ "dataset": "optouts" })).await;
            }
        }
        done.store(true, Ordering::SeqCst);
        swapped
    };
    let (polls, swapped) = tokio::join!(reader, writer);
    println!("{people} drops one by one, {swapped} of them by hand, under {polls} queries");
    assert!(polls > people / 10, "{polls} queries during {people} refreshes are too few");
    assert_eq!(chain.number("SELECT count(*) FROM dmp.users_protected").await, 50);
}
