//! Operators' requests go to an alias, so that IAM can tell them from events; and each decision is on record with the
//! invocation that made it, so that CloudTrail can tell who sent the request.

use serde_json::{Value, json};
use tests::{
    optouts::{Lake, many},
    rig::Rig,
};
use turntable::{
    environment::Environment,
    error::Kind,
    invocation::Invocation,
    publish::Outcome,
    record::{Hold, RevertIntent, from_json},
};

use crate::group::lake::{Lake as Group, event};

const FLIP: &str = "arn:aws:lambda:eu-west-1:123456789012:function:turntable-flip";
const OPERATOR: &str = "arn:aws:lambda:eu-west-1:123456789012:function:turntable-flip:operator";

/// Returns the environment for an invocation of this ARN with the request ID `id`.
fn invoked(env: Environment, arn: &str, id: &str) -> Environment {
    env.during(Invocation::new(id, arn, None))
}

#[tokio::test]
async fn function_itself_refuses_what_operators_decide() {
    let rig = Rig::default();
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let green = rig.export().await;
    let from = "s3://lake/elsewhere";
    for request in [
        json!({ "dataset": "users", "generation": green }),
        json!({ "dataset": "users", "action": "rollback" }),
        json!({ "dataset": "users", "action": "hold", "reason": "r" }),
        json!({ "dataset": "users", "action": "release" }),
        json!({ "dataset": "users", "action": "retire", "table": "drop", "reason": "r" }),
        json!({ "dataset": "users", "action": "rename", "table": "drop", "from": "dmp.people", "reason": "r" }),
        json!({ "dataset": "users", "action": "move", "from": from, "reason": "r" }),
    ] {
        let before = rig.objects.keys();
        let refused = flip::answer(invoked(rig.env(), FLIP, "1"), request.clone()).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Input, "{request}: {refused:?}");
        assert!(
            refused.report().contains("invoke turntable-flip:operator, as `turntable` does"),
            "{request}: {refused:?}"
        );
        assert_eq!((rig.objects.keys(), rig.live()), (before, Some(blue)), "{request}");
    }
    // Events and the status need no alias.
    for request in [json!({ "action": "status" }), json!({ "dataset": "users", "action": "status" })] {
        flip::answer(invoked(rig.env(), FLIP, "2"), request).await.unwrap();
    }
    let change: Value = serde_json::from_str(include_str!("../../../events/flip-glue.json")).unwrap();
    flip::handle(invoked(rig.env(), FLIP, "3"), change).await.unwrap();
    let flipped = flip::handle(invoked(rig.env(), FLIP, "4"), rig.event(&green)).await.unwrap();
    assert_eq!((flipped.outcome, rig.live()), (Outcome::Committed, Some(green)));
}

#[tokio::test]
async fn decisions_are_on_record_with_their_invocation() {
    let rig = Rig::default();
    let blue = rig.export().await;
    flip::handle(invoked(rig.env(), FLIP, "first"), rig.event(&blue)).await.unwrap();
    let green = rig.export().await;
    flip::handle(invoked(rig.env(), FLIP, "second"), rig.event(&green)).await.unwrap();
    let ask = async |id: &str, request: Value| flip::handle(invoked(rig.env(), OPERATOR, id), request).await.unwrap();
    ask("third", json!({ "dataset": "users", "action": "rollback", "reason": "r" })).await;
    let ids: Vec<_> = rig.flips().into_iter().map(|flip| flip.request_id.unwrap()).collect();
    assert_eq!(ids, ["first", "second", "third"]);
    let intent = rig.objects.keys().into_iter().find(|key| key.contains("/_returns/")).unwrap();
    let intent: RevertIntent = from_json(&intent.parse().unwrap(), &rig.objects.body(&intent).unwrap()).unwrap();
    assert_eq!(intent.request_id.as_deref(), Some("third"));

    let key = rig.paths.hold();
    let hold = || from_json::<Hold>(&key, &rig.objects.body(&key.to_string()).unwrap()).unwrap();
    ask("fourth", json!({ "dataset": "users", "action": "hold", "reason": "r" })).await;
    assert_eq!((hold().released, hold().request_id.as_deref()), (false, Some("fourth")));
    ask("fifth", json!({ "dataset": "users", "action": "release" })).await;
    assert_eq!((hold().released, hold().request_id.as_deref()), (true, Some("fifth")));

    let status = ask("sixth", json!({ "dataset": "users", "action": "status" })).await;
    let generations = serde_json::to_value(&status).unwrap()["generations"].clone();
    let told = |generation: String| {
        let one = generations.as_array().unwrap().iter().find(|one| one["generation"] == json!(generation));
        one.unwrap()["flipped"]["request_id"].clone()
    };
    assert_eq!((told(blue.to_string()), told(green.to_string())), (json!("third"), json!("second")));
}

#[tokio::test]
async fn flip_of_a_group_is_on_record_with_the_invocation_that_began_it() {
    let group = Group::new();
    let first = group.flipped().await;
    group.flipped().await;
    let request = json!({ "dataset": "b", "action": "rollback", "reason": "r" });
    flip::handle(invoked(group.rig.env(), OPERATOR, "7"), request).await.unwrap();
    assert_eq!(group.record().live.unwrap().request_id.as_deref(), Some("7"));
    // An event that comes later finds nothing to do.
    flip::handle(invoked(group.rig.env(), FLIP, "8"), event(&first, "a")).await.unwrap();
    let mut last = std::collections::BTreeMap::new();
    for flip in group.rig.flips() {
        last.insert(flip.dataset, flip.request_id);
    }
    assert_eq!(last.into_values().collect::<Vec<_>>(), vec![Some("7".to_owned()); 3]);
}

#[tokio::test]
async fn people_come_back_only_through_the_alias() {
    let lake = Lake::with("max_returning = 1");
    lake.drop("a.csv", many(0..3));
    lake.refresh().await.unwrap();
    let request = json!({ "dataset": "optouts", "max_returning": 3 });
    let ask = async |arn: &str| {
        let env = invoked(lake.env(lake.wire()), arn, "9");
        optout::handle(turntable::optout::Optout { env, secrets: None, iam: None, deadline: None }, request.clone())
            .await
    };
    let refused = ask(&FLIP.replace("flip", "optout")).await.unwrap_err();
    assert!(refused.report().contains("invoke turntable-optout:operator,"), "{refused:?}");
    ask(&OPERATOR.replace("flip", "optout")).await.unwrap();
}
