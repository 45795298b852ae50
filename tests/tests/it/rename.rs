//! A request renames the table of a dataset whose table or database has changed in datasets.toml: the new table starts
//! as a copy of the old one. Both read whole generations at all times.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tests::{
    optouts::{Lake, many},
    rig::Rig,
    wire::wired,
};
use turntable::{
    error::Kind,
    layout::{Generation, TableName, TablePaths},
    publish::Outcome,
};

use crate::optout::{
    reader::left_out,
    views::{name, put_table},
};

const FILE: &str = "s3://lake/datasets.toml";

fn edit(rig: &Rig, from: &str, to: &str) {
    let text = String::from_utf8(rig.objects.body(FILE).unwrap().to_vec()).unwrap();
    assert!(text.contains(from), "{text}");
    rig.objects.put(FILE, text.replace(from, to));
}

fn database(rig: &Rig) -> TableName {
    edit(rig, "database = \"dmp\"", "database = \"lake\"");
    TableName { database: "lake".into(), table: "users".into() }
}

fn table(rig: &Rig) -> TableName {
    edit(rig, "[datasets.users]\n", "[datasets.users]\ntable = \"customers\"\n");
    TableName { database: "dmp".into(), table: "customers".into() }
}

async fn live() -> (Rig, Generation) {
    let rig = Rig::with("");
    let generation = rig.export().await;
    rig.deliver(&generation).await.unwrap();
    rig.edit_table(|table| table.description = Some("all users".into()));
    (rig, generation)
}

fn request(old: &str) -> Value {
    json!({ "dataset": "users", "action": "rename", "from": "dmp.users", "table": old, "reason": "new names" })
}

/// Returns the location and the description of a table.
fn reads(rig: &Rig, table: &TableName) -> Option<(String, Option<String>)> {
    let table = rig.catalog.get(table)?;
    Some((table.storage_descriptor?.location?, table.description))
}

async fn export(rig: &Rig) -> Generation {
    match rig.export_with(rig.env(), json!({ "dataset": "users" })).await.unwrap() {
        export::Answer::Exported(exported) => exported.generation,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn new_table_reads_what_the_old_one_read_and_carries_on() {
    type Edit = fn(&Rig) -> TableName;
    for (rename, same_folder) in [(database as Edit, true), (table as Edit, false)] {
        for old in ["keep", "drop"] {
            let (rig, first) = live().await;
            let at = Some((rig.paths.generation(&first).to_string(), Some("all users".to_owned())));
            let new = rename(&rig);
            for _ in 0..2 {
                assert_eq!(rig.ask(request(old)).await.unwrap().outcome, Outcome::Renamed);
            }
            assert_eq!(reads(&rig, &new), at);
            assert_eq!(reads(&rig, &rig.table), if old == "keep" { at } else { None });
            assert_eq!(rig.attention().await, [""; 0], "{new} {old}");

            // The next export continues, and sweep deletes what nobody reads any more.
            rig.source(5);
            let second = export(&rig).await;
            assert_eq!(rig.flip(&second).await.unwrap().outcome, Outcome::Committed);
            if same_folder {
                assert_eq!(
                    rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap().live,
                    Some(first.to_string())
                );
                rig.flip(&second).await.unwrap();
            }
            for _ in 0..4 {
                rig.advance(SignedDuration::from_hours(24 * 40));
                rig.sweep().await.unwrap();
            }
            assert_eq!(rig.files(&first).len(), usize::from(old == "keep"), "{new} {old}");
            assert_eq!(rig.attention().await, [""; 0], "{new} {old}");
        }
    }
}

#[tokio::test]
async fn unfinished_rename_needs_attention_until_the_request_succeeds() {
    for (rename, is_configured) in [(table as fn(&Rig) -> TableName, true), (database, true), (database, false)] {
        let (rig, _) = live().await;
        let new = rename(&rig);
        if is_configured {
            let entry = "[datasets.other]\ntable = \"elsewhere\"\ndatabase = \"dmp\"\nsource = { files = { location = \"s3://lake/in/\" } }\n";
            let text = String::from_utf8(rig.objects.body(FILE).unwrap().to_vec()).unwrap();
            rig.objects.put(FILE, text + entry);
        }
        let about = async |rig: &Rig| {
            let mut told = rig.attention().await;
            told.retain(|line| !line.starts_with("other:"));
            told
        };
        // The request dies just after it has made the new table.
        for at in 1.. {
            let wire = tests::optouts::Wire { dies: Some((at, true)), ..Default::default() };
            drop(flip::handle(wired(&rig.env(), std::sync::Arc::new(wire)), request("drop")).await);
            if rig.catalog.get(&new).is_some() {
                break;
            }
        }
        assert!(rig.catalog.get(&rig.table).is_some());
        let told = about(&rig).await;
        let named = r#"{"dataset":"users","action":"rename","from":"dmp.users","table":"drop","reason":"…"}"#;
        assert!(told.len() == 1 && told[0].contains(named), "{new} {is_configured} {told:?}");
        rig.ask(request("drop")).await.unwrap();
        assert_eq!(about(&rig).await, [""; 0], "{new} {is_configured}");
        rig.advance(SignedDuration::from_hours(30));
        assert_eq!(about(&rig).await, [""; 0], "{new} {is_configured}");
    }
}

#[tokio::test]
async fn crash_at_any_call_of_a_rename_leaves_readers_of_both_names_with_whole_tables() {
    type Edit = fn(&Rig) -> TableName;
    for rename in [database as Edit, table as Edit] {
        for effect in [false, true] {
            for at in 1.. {
                let (rig, first) = live().await;
                let new = rename(&rig);
                let wire = tests::optouts::Wire { dies: Some((at, effect)), ..Default::default() };
                let died = flip::handle(wired(&rig.env(), std::sync::Arc::new(wire)), request("drop")).await;
                let location = rig.paths.generation(&first).to_string();
                let is_whole = |table: &TableName| reads(&rig, table).is_none_or(|(at, _)| at == location);
                assert!(is_whole(&new) && is_whole(&rig.table));
                assert!(reads(&rig, &new).is_some() || reads(&rig, &rig.table).is_some(), "call {at}");
                let _ = rig.sweep().await;
                assert_eq!(rig.ask(request("drop")).await.unwrap().outcome, Outcome::Renamed, "call {at}");
                assert!(reads(&rig, &new).is_some() && reads(&rig, &rig.table).is_none());
                assert_eq!(rig.files(&first).len(), 1);
                if died.is_ok() {
                    assert!(at > 10, "{at}");
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn name_of_an_older_table_is_taken_after_a_flip_to_the_newest_generation() {
    let (rig, _) = live().await;
    let (old, folder) = (rig.table.clone(), rig.paths.clone());
    // Both names change in one edit: a second table is published, and the first one stays.
    let new = database(&rig);
    edit(&rig, "s3://lake/schemas", "s3://lake/team");
    let rig = rig.named(new.clone(), TablePaths::new(&"s3://lake/team".parse().unwrap(), "users"));
    rig.source(5);
    let newest = rig.export().await;
    rig.deliver(&newest).await.unwrap();
    edit(&rig, "database = \"lake\"", "database = \"dmp\"");
    let rig = rig.named(old.clone(), rig.paths.clone());
    let refused = rig.flip(&newest).await.unwrap_err();
    assert!(refused.message().contains("\"action\":\"rename\""), "{}", refused.message());

    let mut request = request("drop");
    request["from"] = new.to_string().into();
    let refused = rig.ask(request.clone()).await.unwrap_err();
    assert!(
        refused.message().contains("invoke flip for \"users\" with the newest generation"),
        "{}",
        refused.message()
    );
    assert_eq!(rig.flip(&newest).await.unwrap().outcome, Outcome::Committed);
    let told = rig.attention().await;
    assert!(told.iter().any(|told| told.contains("unfinished")), "{told:?}");
    assert_eq!(rig.ask(request).await.unwrap().outcome, Outcome::Renamed);
    assert_eq!((rig.live(), rig.catalog.get(&new)), (Some(newest), None));
    let told = rig.attention().await;
    assert!(told.iter().all(|told| told.contains(&folder.location().to_string())), "{told:?}");
}

#[tokio::test]
async fn rename_is_refused_where_it_would_do_harm() {
    let (rig, _) = live().await;
    let refused = rig.ask(request("drop")).await.unwrap_err();
    assert!(refused.kind() == Kind::Config && refused.message().contains("set the new table or database"));
    let new = table(&rig);
    let mut other = request("drop");
    other["from"] = "dmp.people".into();
    assert_eq!(rig.ask(other).await.unwrap_err().kind(), Kind::Input);

    // A table that already has the new name and reads something else, which may be older.
    let mut foreign = turntable::aws::glue::unchanged(&rig.catalog.get(&rig.table).unwrap());
    foreign.name = new.table.clone();
    foreign.storage_descriptor.as_mut().unwrap().location = Some("s3://lake/elsewhere/".into());
    rig.catalog.put("dmp", foreign);
    let refused = rig.ask(request("drop")).await.unwrap_err();
    assert!(
        refused.kind() == Kind::Conflict && refused.message().contains("which may be newer"),
        "{}",
        refused.message()
    );
    assert!(rig.live().is_some(), "the old table stays");
}

fn inbox(lake: &Lake, keys: &str) {
    lake.objects.put(
        FILE,
        format!(
            "[datasets.optouts]\n{keys}location = \"s3://lake/schemas\"\n\
             source = {{ inbox = {{ location = \"s3://lake/inbox/optouts\", key = [\"user_id\"], \
             columns = {{ user_id = \"bigint\" }} }} }}\nprotects = {{ users = \"id\" }}\n\
             [datasets.users]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
             source = {{ files = {{ location = \"s3://lake/in/\" }} }}\n"
        ),
    );
}

#[tokio::test]
async fn opt_outs_follow_a_renamed_table_before_the_old_one_is_dropped() {
    for (keys, new, waits) in [
        ("database = \"lake\"\n", TableName { database: "lake".into(), table: "optouts".into() }, false),
        ("database = \"dmp\"\ntable = \"opt_outs\"\n", name("opt_outs"), true),
    ] {
        let lake = Lake::default();
        put_table(&lake, "dmp", "users", &[("id", "bigint")]);
        inbox(&lake, "database = \"dmp\"\n");
        lake.drop("a.csv", many(0..3));
        lake.schedule().await.unwrap();
        let out = || left_out(&lake, "users_protected").unwrap();
        assert_eq!(out().len(), 3);

        inbox(&lake, keys);
        let request = json!({ "dataset": "optouts", "action": "rename", "from": "dmp.optouts", "table": "drop", "reason": "names" });
        if waits {
            let error = lake.operator(request.clone()).await.unwrap_err();
            assert!(error.kind() == Kind::Conflict && error.message().contains("invoke optout for \"optouts\""));
            lake.schedule().await.unwrap();
        }
        for _ in 0..2 {
            let done = lake.operator(request.clone()).await;
            assert_eq!(done.unwrap().outcome, Outcome::Renamed, "{new}");
        }
        assert_eq!((lake.catalog.get(&name("optouts")), out().len()), (None, 3));
        assert!(lake.catalog.get(&new).is_some());
        lake.drop("b.csv", many(3..5));
        lake.schedule().await.unwrap();
        assert_eq!(out().len(), 5, "{new}");
    }
}
