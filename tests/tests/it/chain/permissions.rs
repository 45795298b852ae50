//! The emulator denies what a function's role doesn't allow, as AWS does.

use serde_json::{Value, json};

use super::{Chain, USERS, users};

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_a_role_lacks_is_denied_and_named() {
    let chain = Chain::start(USERS).await.enforced().await;
    chain.put("source/users/a.csv", users(100, 1)).await.unwrap();
    let export = json!({ "dataset": "users" });
    chain.ask("export", &export).await;
    let first = chain.next("users", None).await;

    chain.without("flip", "glue:UpdateTable").await;
    let second = chain.ask("export", &export).await;
    let failed = async || chain.lines("flip", "failed").await.pop();
    let failed = chain.until("a denied flip", failed).await;
    assert_eq!(failed["kind"], "Config", "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("is not authorized to perform: glue:UpdateTable"), "{failed}");
    let live = chain.paths("users").generation(&first);
    assert_eq!(chain.live("users").await, Some(live), "{second} must not be live");

    chain.without("export", "s3:PutObject").await;
    let denied = chain.answer("export", &export).await.unwrap_err();
    assert_eq!(denied.error_type, "Config", "{denied}");
    assert!(denied.error_message.contains("s3:PutObject"), "{denied}");
}

impl Chain {
    /// Removes an action from all policies of a function's role.
    async fn without(&self, function: &str, action: &str) {
        let role = self.role(function).await;
        let call = async |operation: &str, parameters: Value| {
            self.stack.account.call("iam", operation, parameters).await.unwrap_or_else(|error| panic!("{error:#}"))
        };
        let named = call("ListRolePolicies", json!({ "RoleName": role })).await;
        for name in named["PolicyNames"].as_array().expect("names") {
            let policy = call("GetRolePolicy", json!({ "RoleName": role, "PolicyName": name })).await;
            let document = policy["PolicyDocument"].to_string().replace(&format!("\"{action}\""), "\"none:Nothing\"");
            let request = json!({ "RoleName": role, "PolicyName": name, "PolicyDocument": document });
            call("PutRolePolicy", request).await;
        }
    }
}
