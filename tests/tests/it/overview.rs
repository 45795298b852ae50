//! `status` for all datasets: one answer, a few requests per dataset, and no failure hides another dataset.

use serde_json::{Value, json};
use tests::{catalog::Op, rig::Rig};
use turntable::{layout::Generation, status::Overview};

const FILE: &str = "s3://lake/datasets.toml";

/// Creates a rig with these datasets, each read from one CSV file.
fn rig(names: &[String]) -> Rig {
    let rig = Rig::default();
    let entry = |name: &String| {
        rig.objects.put(&format!("s3://lake/in/{name}/1.csv"), "id,name\n1,a\n2,b\n");
        let columns = "columns = { id = \"bigint\", name = \"string\" }";
        format!(
            "[datasets.{name}]\nsource.files = {{ location = \"s3://lake/in/{name}/\", {columns} }}\nchecks.max_shrink = 0.5\n"
        )
    };
    let entries: String = names.iter().map(entry).collect();
    let defaults = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n";
    rig.objects.put(FILE, format!("{defaults}{entries}"));
    rig
}

async fn export(rig: &Rig, name: &str) -> Generation {
    match rig.export_with(rig.env(), json!({ "dataset": name })).await.expect("an export") {
        export::Answer::Exported(exported) => exported.generation,
        other => panic!("{other:?}"),
    }
}

async fn publish(rig: &Rig, name: &str) -> Generation {
    let generation = export(rig, name).await;
    rig.ask(json!({ "dataset": name, "generation": generation })).await.expect("a flip");
    generation
}

/// Requests the status of all datasets, and returns the answer as JSON, as a console shows it.
async fn ask(rig: &Rig) -> Value {
    let told = flip::answer(rig.env(), json!({ "action": "status" })).await.expect("an answer");
    serde_json::to_value(told).unwrap()
}

async fn overview(rig: &Rig) -> Overview {
    serde_json::from_value(ask(rig).await).unwrap()
}

#[tokio::test]
async fn every_dataset_is_listed_and_problems_come_first() {
    let names = ["broken", "good", "held", "moved", "never", "rejected"].map(str::to_owned);
    let rig = rig(&names);
    let (good, held) = (publish(&rig, "good").await, publish(&rig, "held").await);
    let hold = json!({ "dataset": "held", "action": "hold", "reason": "the source is being restored" });
    rig.ask(hold).await.unwrap();
    let (older, newer) = (publish(&rig, "moved").await, publish(&rig, "moved").await);
    let table = rig.catalog.names().into_iter().find(|name| name.table == "moved").unwrap();
    let place = format!("s3://lake/schemas/moved/{older}/");
    let moved = tests::catalog::moved(&rig.catalog.get(&table).unwrap(), &place.parse().unwrap());
    rig.catalog.put("dmp", moved);
    let live = publish(&rig, "rejected").await;
    rig.objects.put("s3://lake/in/rejected/1.csv", "id,name\n");
    let rejected = export(&rig, "rejected").await;
    rig.ask(json!({ "dataset": "rejected", "generation": rejected })).await.unwrap_err();
    publish(&rig, "broken").await;
    rig.objects.put("s3://lake/schemas/broken/_hold.json", "no JSON");

    let told = overview(&rig).await;
    let found: Vec<(&str, Option<String>)> =
        told.datasets.iter().map(|one| (one.dataset.as_str(), one.live.clone())).collect();
    let expected = [
        ("broken", None),
        ("good", Some(good)),
        ("held", Some(held)),
        ("moved", Some(older)),
        ("never", None),
        ("rejected", Some(live)),
    ];
    assert_eq!(found, expected.map(|(name, live)| (name, live.map(|live| live.to_string()))));
    assert_eq!(
        (told.datasets[1].rows, told.datasets[1].waits, told.datasets[5].waits),
        (Some(2), None, Some(rejected))
    );
    assert!(
        told.attention[0].starts_with("broken: Corrupt: s3://lake/schemas/broken/_hold.json"),
        "{}",
        told.attention[0]
    );
    let rejection = told.datasets[5].rejected.as_ref().unwrap();
    let rest = [
        "held: held: the source is being restored".to_owned(),
        format!(
            "dmp.moved: drift: the table is at {place}, but its last recorded flip went to {newer}: something outside \
             Turntable changed it"
        ),
        "never: no table, and nothing has been exported yet".to_owned(),
        format!(
            "rejected: {rejected} was rejected, and the live table stays as it is: {}. Correct the source and export \
             again, or change the check and invoke flip with {{\"dataset\":\"rejected\",\"generation\":\"{rejected}\"}}",
            rejection.reasons.join("; ")
        ),
    ];
    assert_eq!(told.attention[1..], rest);
    let ids: Vec<&str> = told.conditions.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["unreadable:broken", "held:held", "drift:moved", "no-table:never", "rejected:rejected"]);
    let since: Vec<bool> = told.conditions.iter().map(|one| one.since.is_some()).collect();
    assert_eq!(since, [false, true, false, false, true]);
    assert_eq!(told.conditions[4].since, Some(rejection.at));
    let answer = ask(&rig).await;
    assert_eq!(answer.as_object().unwrap().keys().filter(|key| *key != "at").count(), 4, "{answer}");
    assert_eq!(
        answer["datasets"][4],
        json!({ "dataset": "never", "live": null }),
        "nothing is reported about missing objects"
    );
}

#[tokio::test]
async fn a_rolled_back_generation_needs_no_attention() {
    let names = ["users".to_owned()];
    let rig = rig(&names);
    let (before, after) = (publish(&rig, "users").await, publish(&rig, "users").await);
    rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap();
    let told = overview(&rig).await;
    assert_eq!((told.datasets[0].live.clone(), told.datasets[0].waits), (Some(before.to_string()), None), "{after}");
    assert_eq!(told.attention, [""; 0]);
}

#[tokio::test]
async fn five_hundred_datasets_cost_one_look_at_each_table() {
    let names: Vec<String> = (0..500).map(|number| format!("t{number:03}")).collect();
    let rig = rig(&names);
    publish(&rig, "t000").await;
    let before = rig.catalog.calls(Op::Table);
    let told = overview(&rig).await;
    assert_eq!((told.datasets.len(), rig.catalog.calls(Op::Table) - before), (500, 500));
    assert!(told.datasets.is_sorted_by_key(|one| one.dataset.clone()));
    assert!(serde_json::to_vec(&told).unwrap().len() < 200_000, "it is read in a console");
}
