//! The program `turntable` and an account that answers as AWS does: messages, exact output and exit codes.

use std::{
    fs,
    process::{Command, Stdio},
};

use cli::workspace;
use serde_json::{Value, json};
use tests::http::{Reply, Request, Service};

use super::run;

/// What the account answers.
#[derive(Clone)]
struct Account {
    /// To `DescribeStacks`.
    outputs: (u16, String),
    /// To an invocation.
    answer: (u16, String),
}

/// The outputs of the current template, as far as the commands need them.
const OUTPUTS: [(&str, &str); 3] =
    [("FlipFunctionName", "lake-flip"), ("OptoutFunctionName", "lake-optout"), ("FlipOperatorArn", "arn:aws:lambda:…")];

fn outputs(outputs: &[(&str, &str)]) -> (u16, String) {
    let member = |(key, value): &(&str, &str)| {
        format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>")
    };
    let members: String = outputs.iter().map(member).collect();
    (
        200,
        format!(
            "<R><DescribeStacksResult><Stacks><member><Outputs>{members}</Outputs></member></Stacks></DescribeStacksResult></R>"
        ),
    )
}

fn error(code: &str, message: &str) -> (u16, String) {
    (400, format!("<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"))
}

const MISSING: &str =
    r#"{"Type":"User","Message":"Function not found: arn:aws:lambda:eu-west-1:1:function:lake-flip"}"#;

/// How a command ended, and the requests to functions that it sent, as `FUNCTION REQUEST`.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
    sent: Vec<String>,
}

impl Account {
    fn answering(answer: Value) -> Account {
        Account { outputs: outputs(&OUTPUTS), answer: (200, answer.to_string()) }
    }

    async fn service(self) -> Service {
        Service::new(move |_, request: &Request| {
            let arn = "<R><Arn>arn:aws:iam::1:user/me</Arn></R>".to_owned();
            let (status, text) = match request.line.as_str() {
                "POST /" if request.body.contains("GetCallerIdentity") => (200, arn),
                "POST /" => self.outputs.clone(),
                _ => self.answer.clone(),
            };
            Reply::Says(status, Vec::new(), text)
        })
        .await
    }

    /// Runs `turntable … --aws --stack lake`.
    async fn turntable(self, words: &[&str], more: &[(&str, &str)]) -> Ended {
        let service = self.service().await;
        let words = [words, &["--aws", "--stack", "lake"]].concat();
        let variables = [&variables(&service.endpoint)[..], more].concat();
        let (code, out, err) = tokio::task::block_in_place(|| run("turntable", &words, &variables));
        let invoked = |request: Request| {
            let function = request.line.strip_prefix("POST /2015-03-31/functions/")?.split('/').next()?.to_owned();
            Some(format!("{function} {}", request.body))
        };
        Ended { code, out, err, sent: service.seen().into_iter().filter_map(invoked).collect() }
    }
}

fn variables(endpoint: &str) -> [(&str, &str); 5] {
    [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_CONFIG_FILE", "/dev/null"),
    ]
}

async fn refused(account: Account, more: &[(&str, &str)], words: &[&str]) -> String {
    let Ended { code, out, err, .. } = account.turntable(words, more).await;
    assert_eq!((code, out.as_str(), err.lines().count()), (Some(3), "", 1), "{words:?}: {err}");
    err
}

#[tokio::test(flavor = "multi_thread")]
async fn each_trouble_is_one_line_that_says_what_to_do() {
    let status = ["status", "users"];
    let of = |outputs: (u16, String)| Account { outputs, ..Account::answering(json!({})) };
    let expired = of(error("ExpiredToken", "The security token included in the request is expired"));
    assert_eq!(
        refused(expired.clone(), &[], &status).await,
        "error: the AWS credentials have expired: run `aws sso login`, or renew them, and set them again\n"
    );
    assert_eq!(
        refused(expired, &[("AWS_PROFILE", "dev")], &status).await,
        "error: the AWS credentials have expired: run `aws sso login --profile dev`, or renew them, and set them again\n"
    );
    let unknown = of(error("InvalidClientTokenId", "The security token included in the request is invalid."));
    assert_eq!(
        refused(unknown, &[], &status).await,
        "error: AWS does not know these credentials: check --profile, AWS_PROFILE and AWS_ACCESS_KEY_ID\n"
    );
    let missing = of(error("ValidationError", "Stack with id lake does not exist"));
    assert_eq!(
        refused(missing, &[], &status).await,
        "error: no stack lake was found: check --stack, --profile and --region, or deploy it first\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_without_the_function_is_told_from_no_stack() {
    let missing = |outputs: (u16, String)| Account { outputs, answer: (404, MISSING.into()) };
    assert_eq!(
        refused(missing(outputs(&OUTPUTS)), &[], &["status", "users"]).await,
        "error: stack lake is there, but its function lake-flip or the alias operator is not: deploy the stack again\n"
    );
    assert_eq!(
        refused(missing(outputs(&OUTPUTS)), &[], &["optout", "optouts"]).await,
        "error: stack lake is there, but its function lake-optout is not: deploy the stack again\n"
    );
    // The template of an older stack has no such function.
    assert_eq!(
        refused(missing(outputs(&OUTPUTS[..1])), &[], &["optout", "optouts"]).await,
        "error: stack lake has no output OptoutFunctionName: it is not Turntable's, or its template is older than this \
         command. Deploy the current template\n"
    );
    let denied = error("AccessDenied", "User: me is not authorized to perform: cloudformation:DescribeStacks");
    assert_eq!(
        refused(missing((403, denied.1)), &[], &["status", "users"]).await,
        "error: no function lake-flip was found: check --stack, --profile and --region. If the functions have other names, \
         get permission for cloudformation:DescribeStacks, so that this command can find them\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_signs_in_with_sso_is_told_how() {
    let folder = workspace::target().unwrap().join("tmp/sso-profile");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("config");
    let text = "[profile dev]\nsso_session = corp\nsso_account_id = 111122223333\nsso_role_name = Operator\nregion = eu-west-1\n\
                [sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://example.com/start\n";
    fs::write(&file, text).unwrap();
    let variables = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", file.to_str().unwrap()),
    ];
    let (code, out, err) = run("turntable", &["status", "--aws", "--profile", "dev"], &variables);
    let expected = "error: this profile signs in with SSO, which turntable leaves to the AWS CLI: run `aws sso login \
                    --profile dev`, then `eval \"$(aws configure export-credentials --profile dev --format env)\"`\n";
    assert_eq!((code, out.as_str(), err.as_str()), (Some(3), "", expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_command_with_130() {
    let service = Account::answering(
        json!({ "outcome": "status", "at": "2026-11-23T02:00:00Z", "attention": [], "conditions": [], "datasets": [] }),
    );
    let service = service.service().await;
    let mut child = tokio::process::Command::new(workspace::target().unwrap().join("debug/turntable"))
        .args(["status", "--watch=60", "--aws", "--stack", "lake"])
        .env_clear()
        .envs(variables(&service.endpoint))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // The first result is printed, so the command waits for the next.
    let mut printed = [0];
    tokio::io::AsyncReadExt::read_exact(child.stdout.as_mut().unwrap(), &mut printed).await.unwrap();
    let killed = Command::new("kill").args(["-INT", &child.id().unwrap().to_string()]).status().unwrap();
    assert!(killed.success());
    let ended = child.wait_with_output().await.unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), err.as_str()), (Some(130), "\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_is_read_and_people_come_back_only_after_a_question() {
    let answer = |more: Value| {
        let mut answer = json!({
            "dataset": "optouts", "outcome": "swapped", "generation": "blue-1", "drops": 2, "applied": 3, "rejected": 0, "rows": 7,
        });
        answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Account::answering(answer)
    };
    let ended = answer(json!({})).turntable(&["optout", "optouts"], &[]).await;
    let expected = "optouts: blue-1 is live, with 7 rows\n  2 drops were read\n  3 people are new or have changed\n";
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), expected, ""));
    assert_eq!(ended.sent, [r#"lake-optout {"dataset":"optouts"}"#]);
    // Somebody has to look at what is rejected or held back.
    for more in [json!({ "rejected": 1 }), json!({ "held_back": 2 }), json!({ "outcome": "held" })] {
        let ended = answer(more.clone()).turntable(&["optout", "optouts", "--reconcile"], &[]).await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""), "{more}");
        assert_eq!(ended.sent, [r#"lake-optout {"action":"reconcile","dataset":"optouts"}"#]);
    }
    let words = ["optout", "optouts", "--max-returning", "12000"];
    let ended = answer(json!({})).turntable(&words, &[]).await;
    let asked = "\
who   arn:aws:iam::1:user/me, on stack lake in eu-west-1
what  refresh optouts, and bring people back
from  the people who are out now
to    up to 12,000 of them are back, and queries of the protected views return their rows
undo  only new opt-outs of the same people
";
    let nobody = "error: standard input is not a terminal, so you can't confirm this: pass --yes instead\n";
    assert_eq!((ended.code, ended.out.as_str(), ended.err), (Some(2), "", format!("{asked}{nobody}")));
    assert_eq!(ended.sent, [""; 0]);
    let ended = answer(json!({ "returning": 2 })).turntable(&[&words[..], &["--yes"]].concat(), &[]).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), asked));
    assert!(ended.out.ends_with("  2 people are back\n"), "{}", ended.out);
    assert_eq!(ended.sent, [r#"lake-optout {"dataset":"optouts","max_returning":12000}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_datasets_toml_no_longer_names_ends_only_after_a_question() {
    let answer = |outcome: &str| {
        Account::answering(json!({
            "dataset": "users", "outcome": outcome, "live": null, "previous": null, "reasons": ["a reason"],
        }))
    };
    let of_retire = "{\"action\":\"retire\",\"dataset\":\"users\",\"reason\":\"r\",\"table\":\"drop\"}";
    let of_rename =
        "{\"action\":\"rename\",\"dataset\":\"users\",\"from\":\"dmp.users\",\"reason\":\"r\",\"table\":\"keep\"}";
    let of_move = "{\"action\":\"move\",\"dataset\":\"users\",\"from\":\"s3://lake/a\",\"reason\":\"r\"}";
    let cases: [(&[&str], &str, &str); 3] = [
        (&["retire", "users", "--table", "drop"], "retired", of_retire),
        (&["rename", "users", "--from", "dmp.users", "--table", "keep"], "renamed", of_rename),
        (&["move", "users", "--from", "s3://lake/a"], "moved", of_move),
    ];
    for (words, outcome, request) in cases {
        let words = [words, &["--reason", "r"]].concat();
        let ended = answer(outcome).turntable(&words, &[]).await;
        let lines: Vec<&str> = ended.err.lines().collect();
        assert_eq!((ended.code, ended.out.as_str(), lines.len()), (Some(2), "", 6), "{}", ended.err);
        let words_of = |line: &str| line.split_once("  ").map(|(word, _)| word.trim().to_owned());
        let found: Vec<_> = lines[..5].iter().filter_map(|line| words_of(line)).collect();
        assert_eq!(found, ["who", "what", "from", "to", "undo"]);
        assert_eq!(ended.sent, [""; 0]);
        let words = [&words[..], &["-y"]].concat();
        let ended = answer(outcome).turntable(&words, &[]).await;
        assert_eq!((ended.code, ended.out), (Some(0), format!("users: {outcome}\n  a reason\n")), "{}", ended.err);
        assert_eq!(ended.sent, [format!("lake-flip {request}")]);
        let ended = answer("status").turntable(&words, &[]).await;
        assert_eq!(ended.code, Some(1), "{}", ended.err);
    }
}
