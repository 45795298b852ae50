//! A dataset's location changes: its next flip moves the table, and a request has sweep delete the old folder. Readers
//! always find a whole generation.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tests::{
    optouts::{Lake, many},
    query,
    rig::Rig,
    wire::wired,
};
use turntable::{
    error::Kind,
    layout::{Generation, TablePaths},
    publish::Outcome,
};

use crate::{
    group::lake::{self as group, Lake as GroupLake, MEMBERS, some},
    optout::{
        reader::left_out,
        views::{name, put_table},
    },
};

const FILE: &str = "s3://lake/datasets.toml";
const OLD: &str = "s3://lake/schemas";
const NEW: &str = "s3://lake/team";

fn edit(rig: &Rig, from: &str, to: &str) {
    let text = String::from_utf8(rig.objects.body(FILE).unwrap().to_vec()).unwrap();
    let (from, to) = (format!("location = \"{from}\""), format!("location = \"{to}\""));
    assert!(text.contains(&from), "{text}");
    rig.objects.put(FILE, text.replace(&from, &to));
}

fn users(location: &str) -> TablePaths {
    TablePaths::new(&location.parse().unwrap(), "users")
}

fn request(from: &str) -> Value {
    json!({ "dataset": "users", "action": "move", "from": from, "reason": "one folder for each team" })
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// Returns a rig with two published generations.
async fn published(more: &str) -> (Rig, [Generation; 2]) {
    let rig = Rig::with(more);
    let mut generations = Vec::new();
    for rows in [3, 4] {
        rig.source(rows);
        let generation = rig.export().await;
        rig.deliver(&generation).await.unwrap();
        generations.push(generation);
    }
    (rig, [generations[0], generations[1]])
}

/// Returns the data files and the manifests in a folder.
fn left(rig: &Rig, location: &str) -> Vec<String> {
    let mut keys = rig.objects.keys();
    let folder = users(location).location().to_string();
    keys.retain(|key| key.starts_with(&folder) && (key.contains(".parquet") || key.contains("/_manifests/")));
    keys
}

/// Exports to the location that is configured now, and delivers the manifest's event.
async fn publish(rig: &mut Rig, location: &str) -> Generation {
    rig.paths = users(location);
    let generation = rig.export().await;
    assert_eq!(rig.deliver(&generation).await.unwrap().outcome, Outcome::Committed);
    generation
}

async fn sweeps(rig: &Rig) {
    for _ in 0..3 {
        rig.sweep().await.unwrap();
        rig.advance(hours(2));
    }
}

#[tokio::test]
async fn table_moves_with_its_next_flip_and_the_old_folder_is_swept_after_the_drain() {
    for early in [true, false] {
        let (mut rig, [_, second]) = published("").await;
        edit(&rig, OLD, NEW);
        let told = rig.attention().await;
        let named = r#"{"dataset":"users","action":"move","from":"s3://lake/schemas/","reason":"…"}"#;
        assert!(told.len() == 1 && told[0].contains(named), "{told:?}");
        if early {
            let answer = rig.ask(request(OLD)).await.unwrap();
            assert_eq!(
                (answer.outcome, answer.live),
                (Outcome::Moved, Some(rig.paths.generation(&second).to_string()))
            );
            assert!(answer.reasons[0].contains("its next flip moves it"), "{:?}", answer.reasons);
            sweeps(&rig).await;
            assert!(!rig.files(&second).is_empty(), "the table reads them");
        }
        let third = publish(&mut rig, NEW).await;
        assert_eq!(rig.attention().await.len(), usize::from(!early), "the flip's record keeps the old folder in mind");
        rig.advance(hours(30));
        rig.sweep().await.unwrap();
        let fourth = publish(&mut rig, NEW).await;
        assert_eq!(rig.attention().await.len(), usize::from(!early));
        for _ in 0..2 {
            let answer = rig.ask(request("s3://lake/schemas/")).await.unwrap();
            assert_eq!((answer.outcome, answer.live), (Outcome::Moved, Some(fourth.to_string())));
        }
        assert_eq!(rig.attention().await, [""; 0]);
        sweeps(&rig).await;
        assert_eq!(left(&rig, OLD), [""; 0]);
        assert_eq!(rig.ask(request(OLD)).await.unwrap().outcome, Outcome::Moved);
        assert_eq!((rig.live(), rig.attention().await), (Some(fourth), Vec::new()));
        let back = rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap();
        assert_eq!(back.live, Some(third.to_string()));
    }
}

#[tokio::test]
async fn sweep_finds_the_old_folder_if_the_flip_died_before_it_recorded_it() {
    let (mut rig, _) = published("").await;
    edit(&rig, OLD, NEW);
    publish(&mut rig, NEW).await;
    rig.objects.delete(&rig.paths.table().to_string());
    assert_eq!(rig.attention().await, [""; 0]);
    rig.sweep().await.unwrap();
    assert_eq!(rig.attention().await.len(), 1);
}

#[tokio::test]
async fn table_that_moves_back_is_not_taken_for_drift() {
    for (policy, is_swept) in [("report", false), ("repair", false), ("repair", true)] {
        let (mut rig, [_, second]) = published(&format!("on_drift = \"{policy}\"\n")).await;
        edit(&rig, OLD, NEW);
        rig.source(5);
        let third = publish(&mut rig, NEW).await;
        rig.ask(request(OLD)).await.unwrap();
        if is_swept {
            sweeps(&rig).await;
        }
        edit(&rig, NEW, OLD);
        rig.paths = users(OLD);
        let there = users(NEW).generation(&third).to_string();
        for _ in 0..2 {
            rig.deliver_change().await.unwrap();
            rig.sweep().await.unwrap();
            let told = rig.attention().await;
            assert!(told.len() == 1 && told[0].contains("\"move\""), "{told:?}");
            let at = rig.catalog.get(&rig.table).unwrap().storage_descriptor.unwrap().location.unwrap();
            assert_eq!(at, there, "{policy}");
        }
        // A late event of a generation from before the first move.
        let late = rig.deliver(&second).await;
        assert!(late.is_err() || late.unwrap().outcome != Outcome::Committed);
        rig.source(6);
        let fourth = publish(&mut rig, OLD).await;
        rig.ask(request(NEW)).await.unwrap();
        sweeps(&rig).await;
        sweeps(&rig).await;
        assert_eq!((rig.live(), rig.attention().await), (Some(fourth), Vec::new()));
        assert_eq!((left(&rig, NEW), rig.files(&fourth).len()), (Vec::new(), 1));
        // From now on, such a location is drift again.
        rig.edit_table(|table| table.storage_descriptor.as_mut().unwrap().location = Some(there.clone()));
        assert!(rig.attention().await.iter().any(|told| told.contains("drift")));
    }
}

#[tokio::test]
async fn first_flip_in_the_new_folder_is_compared_with_the_rows_in_the_old_one() {
    let (mut rig, [_, second]) = published("checks = { max_shrink = 0.5 }\n").await;
    let old = rig.paths.generation(&second);
    edit(&rig, OLD, NEW);
    rig.paths = users(NEW);
    rig.source(1);
    let third = rig.export().await;
    let answer = rig.deliver(&third).await.unwrap();
    assert_eq!((answer.outcome, answer.live), (Outcome::Rejected, Some(old.to_string())));
    assert!(answer.reasons[0].contains("max_shrink"), "{:?}", answer.reasons);
    rig.source(3);
    publish(&mut rig, NEW).await;
}

#[tokio::test]
async fn hold_stays_with_the_table() {
    let (mut rig, [_, second]) = published("").await;
    rig.ask(json!({ "dataset": "users", "action": "hold", "reason": "prices" })).await.unwrap();
    edit(&rig, OLD, NEW);
    let answer = rig.ask(request(OLD)).await.unwrap();
    assert!(answer.reasons[0].ends_with("until the hold is released: prices"), "{:?}", answer.reasons);
    rig.paths = users(NEW);
    let third = rig.export().await;
    assert_eq!(rig.deliver(&third).await.unwrap().outcome, Outcome::Held);
    sweeps(&rig).await;
    assert_eq!(left(&rig, OLD).iter().filter(|key| key.contains(&second.to_string())).count(), 2);
    rig.ask(json!({ "dataset": "users", "action": "release" })).await.unwrap();
    assert_eq!(rig.flip(&third).await.unwrap().outcome, Outcome::Committed);
    sweeps(&rig).await;
    assert_eq!((left(&rig, OLD), rig.live()), (Vec::new(), Some(third)));
}

#[tokio::test]
async fn crash_at_any_call_of_a_move_is_made_good_by_the_same_request() {
    for (effect, early) in [(false, true), (true, true), (false, false), (true, false)] {
        for at in 1.. {
            let (mut rig, [_, second]) = published("").await;
            edit(&rig, OLD, NEW);
            if !early {
                publish(&mut rig, NEW).await;
            }
            let before = rig.catalog.get(&rig.table);
            let wire = tests::optouts::Wire { dies: Some((at, effect)), ..Default::default() };
            let died = flip::handle(wired(&rig.env(), std::sync::Arc::new(wire)), request(OLD)).await;
            assert_eq!(rig.catalog.get(&rig.table), before, "the request never moves the table");
            // A sweep in between makes no difference.
            let _ = rig.sweep().await;
            assert_eq!(rig.ask(request(OLD)).await.unwrap().outcome, Outcome::Moved);
            if early {
                assert!(!left(&rig, OLD).is_empty());
                assert!(left(&rig, OLD).iter().any(|key| key.contains(&second.to_string())));
                publish(&mut rig, NEW).await;
            }
            sweeps(&rig).await;
            assert_eq!((left(&rig, OLD), rig.attention().await), (Vec::new(), Vec::new()), "call {at}");
            if died.is_ok() {
                assert!(at > 5, "{at}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn old_folder_stays_while_a_canary_may_bring_the_table_back() {
    let (mut rig, [_, second]) = published("checks = { canary = \"SELECT count(*) > 0 FROM {table}\" }\n").await;
    edit(&rig, OLD, NEW);
    rig.athena.answers(|_| Err(turntable::error::Error::unavailable("no answer")));
    let third = publish(&mut rig, NEW).await;
    rig.ask(request(OLD)).await.unwrap();
    sweeps(&rig).await;
    assert!(!left(&rig, OLD).is_empty(), "the canary is still to be asked");
    rig.athena.answers(|_| Ok(query::one("false")));
    assert_eq!(rig.deliver(&third).await.unwrap().outcome, Outcome::Rejected);
    let at = rig.catalog.get(&rig.table).unwrap().storage_descriptor.unwrap().location.unwrap();
    assert_eq!(at, users(OLD).generation(&second).to_string());
    sweeps(&rig).await;
    assert!(left(&rig, OLD).iter().any(|key| key.contains(&second.to_string()) && key.contains(".parquet")));
}

#[tokio::test]
async fn move_is_refused_where_it_would_do_harm() {
    let (rig, _) = published("").await;
    let refused = async |from: &str| rig.ask(request(from)).await.unwrap_err();
    let error = refused(OLD).await;
    assert!(error.kind() == Kind::Config && error.message().contains("set the new location"), "{}", error.message());
    assert_eq!(refused("s3://lake/elsewhere").await.kind(), Kind::Input);
    for (to, why) in [("s3://lake2/schemas", "another bucket"), ("s3://lake/schemas/users", "contains the other")] {
        edit(&rig, OLD, to);
        let error = refused(OLD).await;
        assert!(error.kind() == Kind::Config && error.message().contains(why), "{}", error.message());
        edit(&rig, to, OLD);
    }
    // Another dataset publishes there now.
    edit(&rig, OLD, NEW);
    let text = String::from_utf8(rig.objects.body(FILE).unwrap().to_vec()).unwrap();
    let other = "[datasets.clients]\ndatabase = \"lake\"\ntable = \"users\"\nlocation = \"s3://lake/schemas\"\n\
                 source = { files = { location = \"s3://lake/in/\" } }\n";
    rig.objects.put(FILE, format!("{text}{other}"));
    let error = refused(OLD).await;
    assert!(error.kind() == Kind::Config && error.message().contains("datasets.clients"), "{}", error.message());
}

#[tokio::test]
async fn opt_outs_follow_a_moved_table_before_its_old_folder_is_swept() {
    let lake = Lake::default();
    put_table(&lake, "dmp", "users", &[("id", "bigint")]);
    let configure = |location: &str| {
        lake.objects.put(
            FILE,
            format!(
                "[datasets.optouts]\ndatabase = \"dmp\"\nlocation = \"{location}\"\n\
                 source = {{ inbox = {{ location = \"s3://lake/inbox/optouts\", key = [\"user_id\"], \
                 columns = {{ user_id = \"bigint\" }} }} }}\nprotects = {{ users = \"id\" }}\n\
                 [datasets.users]\ndatabase = \"dmp\"\nlocation = \"{OLD}\"\n\
                 source = {{ files = {{ location = \"s3://lake/in/\" }} }}\n"
            ),
        );
    };
    let out = || left_out(&lake, "users_protected").unwrap().len();
    let files = || {
        lake.objects.keys().iter().filter(|key| key.contains("/schemas/optouts/") && key.contains(".parquet")).count()
    };
    configure(OLD);
    lake.drop("a.csv", many(0..3));
    lake.schedule().await.unwrap();
    for _ in 0..2 {
        lake.advance(hours(2));
        let _ = lake.sweep_all().await;
        lake.drop("b.csv", many(3..4));
        lake.schedule().await.unwrap();
    }
    configure(NEW);
    let request = json!({ "dataset": "optouts", "action": "move", "from": OLD, "reason": "one folder for each team" });
    let answer = lake.operator(request.clone()).await.unwrap();
    assert!(answer.reasons[0].ends_with("invoke optout with {\"dataset\":\"optouts\"}"), "{:?}", answer.reasons);
    for _ in 0..2 {
        lake.advance(hours(2));
        let _ = lake.sweep_all().await;
        assert!(files() > 0 && out() == 4);
    }
    lake.schedule().await.unwrap();
    assert_eq!(lake.operator(request).await.unwrap().outcome, Outcome::Moved);
    for round in 0..4 {
        assert_eq!(out(), 4, "{round}");
        lake.advance(hours(2));
        let _ = lake.sweep_all().await;
    }
    assert_eq!((files(), out()), (0, 4));
    lake.drop("c.csv", many(4..6));
    lake.schedule().await.unwrap();
    assert_eq!(out(), 6);
    assert!(lake.catalog.get(&name("optouts")).is_some());
}

#[tokio::test]
async fn group_moves_as_a_whole() {
    let lake = GroupLake::new();
    let first = lake.flipped().await;
    lake.action("hold").await.unwrap();
    let text = String::from_utf8(lake.rig.objects.body(FILE).unwrap().to_vec()).unwrap();
    lake.rig.objects.put(FILE, text.replace(OLD, NEW));
    let request = json!({ "dataset": "b", "action": "move", "from": OLD, "reason": "one folder for each team" });
    let answer = lake.ask(request).await.unwrap();
    assert_eq!((answer.outcome, answer.reasons.len()), (Outcome::Moved, MEMBERS.len()));
    assert!(answer.reasons.iter().all(|told| told.ends_with("until the hold is released: the operator's word")));
    for _ in 0..3 {
        lake.sweep().await;
        lake.rig.advance(hours(2));
    }
    assert_eq!((lake.live(), lake.there(&first)), (some(&first), MEMBERS.len()), "nothing of what is live goes");
    for member in MEMBERS {
        let record = lake.rig.objects.body(&format!("s3://lake/_retired/schemas/{member}.json"));
        assert!(record.is_some(), "{member}");
        assert_eq!(group::paths(member).location().to_string(), format!("{OLD}/{member}/"));
    }
}
