//! How the AWS SDK retries when an answer is lost, late or a throttling error, and what the ports return then. The
//! in-memory tests imitate this with [`tests::wire::Fate`]: an error comes after the SDK's last attempt, and `Twice` is
//! the answer to the attempt after the one that took effect.

use aws_sdk_glue::types::TableInput;
use bytes::Bytes;
use cli::{aws::SdkConfig, laptop};
use tests::http::{Reply, Request, Service};
use turntable::{
    aws::{
        athena::Athena,
        glue::{Glue, GlueApi},
        s3::{BucketOwners, S3},
        sqs::Sqs,
    },
    error::Kind,
    lambda,
    layout::Key,
    port::{Objects, Put, Query, Queue, Update},
};

/// How many attempts the SDK makes for one call: `lambda::retries` sets this for the clients of all services.
const ATTEMPTS: usize = 5;

async fn service(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> (Service, SdkConfig) {
    let service = Service::new(answer).await;
    let config = laptop::config("test", &service.endpoint).into_builder().retry_config(lambda::retries()).build();
    (service, config)
}

fn json(status: u16, body: &str) -> Reply {
    Reply::Says(status, vec![("content-type", "application/x-amz-json-1.1".into())], body.into())
}

fn refused(code: &str) -> Reply {
    json(400, &format!("{{\"__type\":\"{code}\",\"message\":\"no\"}}"))
}

fn xml(status: u16, code: &str) -> Reply {
    Reply::Says(status, Vec::new(), format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
}

fn found(mark: &str) -> Reply {
    let headers = [("etag", "\"e\"".into()), ("last-modified", "Thu, 21 Nov 2024 02:00:41 GMT".into())];
    let mark = (!mark.is_empty()).then(|| ("x-amz-meta-turntable-write", mark.to_owned()));
    Reply::Says(200, headers.into_iter().chain(mark).collect(), String::new())
}

fn table() -> TableInput {
    TableInput::builder().name("users").build().unwrap()
}

fn key(name: &str) -> Key {
    Key { bucket: "lake".into(), key: name.into() }
}

fn mark(request: &Request) -> String {
    request.header("x-amz-meta-turntable-write").to_owned()
}

#[tokio::test]
async fn an_update_whose_answer_is_lost_is_retried_and_conflicts_with_itself() {
    let (glue, config) = service(|number, _| match number {
        1 => Reply::HangsUp,
        _ => refused("ConcurrentModificationException"),
    })
    .await;
    let update = Glue::new(&config).update("dmp", table(), "7").await;
    assert_eq!((update.unwrap(), glue.seen().len()), (Update::Conflict, 2));
    for request in glue.seen() {
        assert!(request.body.contains("\"VersionId\":\"7\""), "{}", request.body);
        // Glue keeps at most 100,000 versions of a table.
        assert!(request.body.contains("\"SkipArchive\":true"), "{}", request.body);
    }

    let (glue, config) = service(|number, _| match number {
        1 => json(500, "{\"__type\":\"InternalServiceException\"}"),
        _ => refused("AlreadyExistsException"),
    })
    .await;
    let created = Glue::new(&config).create("dmp", table()).await;
    assert_eq!((created.unwrap(), glue.seen().len()), (Update::Conflict, 2));
}

#[tokio::test]
async fn a_throttled_call_is_retried_until_it_is_accepted() {
    let (glue, config) =
        service(|number, _| if number < 4 { refused("ThrottlingException") } else { json(200, "{}") }).await;
    let update = Glue::new(&config).update("dmp", table(), "7").await;
    assert_eq!((update.unwrap(), glue.seen().len()), (Update::Done, 4));

    let (s3, config) = service(|number, _| if number < ATTEMPTS { xml(503, "SlowDown") } else { found("") }).await;
    let put = S3::new(&config).put_new(&key("a"), Bytes::from_static(b"x")).await;
    assert_eq!((put.unwrap(), s3.seen().len()), (Put::Created, ATTEMPTS));
}

#[tokio::test]
async fn the_error_after_the_last_attempt_does_not_say_whether_the_call_took_effect() {
    let (glue, config) = service(|_, _| json(500, "{}")).await;
    let error = Glue::new(&config).update("dmp", table(), "7").await.unwrap_err();
    assert_eq!((error.kind(), glue.seen().len()), (Kind::Unavailable, ATTEMPTS));

    let (s3, config) = service(|_, _| xml(503, "SlowDown")).await;
    let error = S3::new(&config).delete(&[key("a"), key("b")]).await.unwrap_err();
    assert_eq!((error.kind(), s3.seen().len()), (Kind::Unavailable, ATTEMPTS));

    // The port then looks for its mark once, to find out whether the call took effect.
    let (s3, config) = service(|_, request| match request.line.as_str() {
        line if line.starts_with("HEAD") => xml(404, "NotFound"),
        _ => xml(503, "SlowDown"),
    })
    .await;
    let error = S3::new(&config).put_new(&key("a"), Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!((error.kind(), s3.seen().len()), (Kind::Unavailable, ATTEMPTS + 1));
}

/// Starts a fake S3 that carries out each first attempt but loses its answer.
async fn forgetful() -> (Service, SdkConfig) {
    let marks = std::sync::Mutex::new(Vec::new());
    service(move |_, request| {
        let mut marks = marks.lock().unwrap();
        if request.line.starts_with("HEAD") {
            return found(marks.last().map_or("", String::as_str));
        }
        let mark = mark(request);
        if marks.contains(&mark) {
            return xml(412, "PreconditionFailed");
        }
        marks.push(mark);
        Reply::HangsUp
    })
    .await
}

#[tokio::test]
async fn a_new_object_recognises_its_own_echo() {
    let (s3, config) = forgetful().await;
    let put = S3::new(&config).put_new(&key("a"), Bytes::from_static(b"x")).await.unwrap();
    let lines: Vec<String> = s3.seen().iter().map(|request| request.line.split(' ').next().unwrap().into()).collect();
    assert_eq!((put, lines), (Put::Created, vec!["PUT".to_owned(), "PUT".into(), "HEAD".into()]));
    assert!(s3.seen()[..2].iter().all(|request| request.header("if-none-match") == "*"));

    let (_, config) = forgetful().await;
    let mut upload = S3::new(&config).upload(&key("b")).await.unwrap();
    upload.write(Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(upload.finish().await.unwrap(), "e");

    let (s3, config) = forgetful().await;
    assert_eq!(S3::new(&config).copy(&key("a"), "e", &key("c")).await.unwrap(), "e");
    assert_eq!(s3.seen()[0].header("x-amz-copy-source-if-match"), "\"e\"");
}

#[tokio::test]
async fn every_request_names_the_account_that_owns_the_bucket() {
    let (s3, config) = service(|_, _| found("e")).await;
    let owners = BucketOwners::parse(Some("111122223333"), Some("theirs=444455556666")).unwrap();
    let objects = S3::with_owners(&config, owners);
    let theirs: Key = "s3://theirs/a".parse().unwrap();
    drop(objects.get(&key("a")).await);
    drop(objects.head(&theirs).await);
    drop(objects.put(&key("a"), Bytes::from_static(b"x")).await);
    drop(objects.put_new(&key("a"), Bytes::from_static(b"x")).await);
    drop(objects.list(&"s3://theirs/x/".parse().unwrap(), None).await);
    drop(objects.delete(&[key("a")]).await);
    drop(objects.copy(&theirs, "e", &key("a")).await);
    assert!(s3.seen().len() >= 7);
    for request in s3.seen() {
        let expected = if request.line.contains("/theirs") { "444455556666" } else { "111122223333" };
        assert_eq!(request.header("x-amz-expected-bucket-owner"), expected, "{}", request.line);
        let is_copy = !request.header("x-amz-copy-source").is_empty();
        let source = if is_copy { "444455556666" } else { "" };
        assert_eq!(request.header("x-amz-source-expected-bucket-owner"), source, "{}", request.line);
    }
}

#[tokio::test]
async fn a_conditional_deletion_does_not_recognise_its_echo() {
    let (s3, config) = service(|number, _| match number {
        1 => Reply::HangsUp,
        _ => xml(404, "NoSuchKey"),
    })
    .await;
    assert_eq!((S3::new(&config).delete_if(&key("a"), "e").await.unwrap(), s3.seen().len()), (false, 2));
}

#[tokio::test]
async fn some_of_a_batch_may_be_deleted() {
    let left = "<DeleteResult><Error><Key>b</Key><Code>InternalError</Code></Error></DeleteResult>";
    let (s3, config) = service(move |_, _| Reply::Says(200, Vec::new(), left.into())).await;
    let error = S3::new(&config).delete(&[key("a"), key("b")]).await.unwrap_err();
    assert_eq!((error.kind(), s3.seen().len()), (Kind::Unavailable, 1));
}

#[tokio::test]
async fn messages_whose_answer_is_lost_are_sent_twice() {
    let sent = "{\"Successful\":[{\"Id\":\"0\",\"MessageId\":\"m\",\"MD5OfMessageBody\":\"6f8db599de986fab7a21625b7916589c\"}],\"Failed\":[]}";
    let (sqs, config) = service(move |number, _| if number == 1 { Reply::HangsUp } else { json(200, sent) }).await;
    let queue = Sqs::new(&config, format!("{}/1/q", sqs.endpoint), format!("{}/1/d", sqs.endpoint));
    queue.send(vec!["text".into()]).await.unwrap();
    let seen = sqs.seen();
    assert_eq!((seen.len(), &seen[0].body), (2, &seen[1].body));
}

#[tokio::test]
async fn a_query_whose_answer_is_lost_runs_once() {
    let (athena, config) = service(|number, request| match request.header("x-amz-target") {
        _ if number == 1 => Reply::HangsUp,
        "AmazonAthena.StartQueryExecution" => json(200, "{\"QueryExecutionId\":\"q\"}"),
        "AmazonAthena.GetQueryExecution" => json(
            200,
            "{\"QueryExecution\":{\"QueryExecutionId\":\"q\",\"Status\":{\"State\":\"SUCCEEDED\"},\"Statistics\":{\"DataScannedInBytes\":1}}}",
        ),
        _ => json(200, "{\"ResultSet\":{\"Rows\":[],\"ResultSetMetadata\":{\"ColumnInfo\":[]}}}"),
    })
    .await;
    Athena::new(&config, "primary".into(), None).run("dmp", "SELECT 1").await.unwrap();
    let seen = athena.seen();
    let token = |request: &Request| {
        let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        body["ClientRequestToken"].as_str().unwrap().to_owned()
    };
    assert_eq!(token(&seen[0]), token(&seen[1]));
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_cancelled() {
    let (athena, config) = service(|_, request| match request.header("x-amz-target") {
        "AmazonAthena.StartQueryExecution" => json(200, "{\"QueryExecutionId\":\"q\"}"),
        "AmazonAthena.GetQueryExecution" => {
            json(200, "{\"QueryExecution\":{\"QueryExecutionId\":\"q\",\"Status\":{\"State\":\"RUNNING\"}}}")
        }
        _ => json(200, "{}"),
    })
    .await;
    let time = std::time::Duration::from_millis(100);
    let error = Athena::new(&config, "primary".into(), None).run_within("dmp", "SELECT 1", time).await.unwrap_err();
    assert!(
        error.kind() == Kind::Unavailable && error.message().contains("for more than 100ms"),
        "{}",
        error.message()
    );
    let last = athena.seen().pop().unwrap();
    assert_eq!(last.header("x-amz-target"), "AmazonAthena.StopQueryExecution");
    assert!(last.body.contains("\"q\""), "{}", last.body);
}

const MANAGED: &str = "{\"__type\":\"InvalidRequestException\",\"AthenaErrorCode\":\"INVALID_INPUT\",\"Message\":\
                       \"ManagedQueryResultsConfiguration and ResultConfiguration cannot be set together.\"}";
const MISMATCH: &str = "{\"__type\":\"InvalidRequestException\",\"Message\":\"Idempotent parameters do not match\"}";

/// A workgroup with managed query results refuses a location, and doesn't support result reuse.
#[tokio::test]
async fn a_query_that_is_refused_for_its_location_is_sent_without_one() {
    for refusal in [MANAGED, MISMATCH] {
        let (athena, config) = service(move |number, request| match request.header("x-amz-target") {
            "AmazonAthena.StartQueryExecution" if number == 1 => json(400, refusal),
            "AmazonAthena.StartQueryExecution" => json(200, "{\"QueryExecutionId\":\"q\"}"),
            "AmazonAthena.GetQueryExecution" => {
                json(200, "{\"QueryExecution\":{\"QueryExecutionId\":\"q\",\"Status\":{\"State\":\"SUCCEEDED\"}}}")
            }
            _ => json(200, "{\"ResultSet\":{\"Rows\":[],\"ResultSetMetadata\":{\"ColumnInfo\":[]}}}"),
        })
        .await;
        Athena::new(&config, "primary".into(), Some("s3://lake/_athena/".into())).run("dmp", "SELECT 1").await.unwrap();
        let sent: Vec<serde_json::Value> =
            athena.seen()[..2].iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect();
        assert_eq!(sent[0]["ResultConfiguration"]["OutputLocation"], "s3://lake/_athena/");
        assert_eq!(sent[0]["ResultReuseConfiguration"]["ResultReuseByAgeConfiguration"]["Enabled"], false);
        assert!(sent[1].get("ResultConfiguration").is_none() && sent[1].get("ResultReuseConfiguration").is_none());
        assert_eq!((&sent[1]["QueryString"], &sent[1]["WorkGroup"]), (&sent[0]["QueryString"], &sent[0]["WorkGroup"]));
    }
    // Without a location, there is nothing to leave out.
    let (athena, config) = service(|_, _| json(400, MANAGED)).await;
    let error = Athena::new(&config, "primary".into(), None).run("dmp", "SELECT 1").await.unwrap_err();
    assert_eq!((error.kind(), athena.seen().len()), (Kind::Config, 1));
}

/// If a query that Athena says nothing about counted as over, sweep would delete the files that the query is reading.
#[tokio::test]
async fn a_query_that_athena_says_nothing_about_counts_as_unknown() {
    let (_, config) = service(|_, request| match request.header("x-amz-target") {
        "AmazonAthena.ListQueryExecutions" => json(200, "{\"QueryExecutionIds\":[\"a\",\"b\"]}"),
        _ => json(
            200,
            "{\"QueryExecutions\":[{\"QueryExecutionId\":\"a\",\"Status\":{\"State\":\"SUCCEEDED\",\"SubmissionDateTime\":1}}],\
             \"UnprocessedQueryExecutionIds\":[{\"QueryExecutionId\":\"b\",\"ErrorCode\":\"INTERNAL\"}]}",
        ),
    })
    .await;
    let error = Athena::new(&config, "primary".into(), None).oldest_running(&["etl".into()]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(
        error.message(),
        "athena:BatchGetQueryExecution in workgroup \"etl\" left out 1 of its queries, for example b with INTERNAL: nothing is \
         known about them, so invoke the function again"
    );
}

#[tokio::test]
async fn athenas_header_row_is_no_row_of_the_answer() {
    let rows = async |rows: &'static str| {
        let (_, config) = service(move |_, request| match request.header("x-amz-target") {
            "AmazonAthena.StartQueryExecution" => json(200, "{\"QueryExecutionId\":\"q\"}"),
            "AmazonAthena.GetQueryExecution" => {
                json(200, "{\"QueryExecution\":{\"QueryExecutionId\":\"q\",\"Status\":{\"State\":\"SUCCEEDED\"}}}")
            }
            _ => json(200, &format!(
                "{{\"ResultSet\":{{\"Rows\":[{rows}],\"ResultSetMetadata\":{{\"ColumnInfo\":\
                 [{{\"Name\":\"n\",\"Type\":\"bigint\"}},{{\"Name\":\"_col1\",\"Label\":\"m\",\"Type\":\"varchar\"}}]}}}}}}"
            )),
        })
        .await;
        Athena::new(&config, "primary".into(), None).run("dmp", "SELECT n, m").await.unwrap().rows
    };
    const HEADER: &str = "{\"Data\":[{\"VarCharValue\":\"n\"},{\"VarCharValue\":\"m\"}]}";
    let row = || vec![vec![Some("7".to_owned()), None]];
    assert_eq!(rows(concat_row(HEADER)).await, row());
    // The results of DDL and SHOW have no header.
    assert_eq!(rows(ROW).await, row());
    assert_eq!(rows(HEADER).await, Vec::<Vec<Option<String>>>::new());
}

const ROW: &str = "{\"Data\":[{\"VarCharValue\":\"7\"},{}]}";

fn concat_row(header: &str) -> &'static str {
    format!("{header},{ROW}").leak()
}

#[tokio::test]
async fn messages_that_sqs_refuses_fail_the_call() {
    let some = "{\"Successful\":[{\"Id\":\"0\",\"MessageId\":\"m\",\"MD5OfMessageBody\":\"6f8db599de986fab7a21625b7916589c\"}],\
                \"Failed\":[{\"Id\":\"1\",\"SenderFault\":false,\"Code\":\"InternalError\"}]}";
    let (sqs, config) = service(move |_, _| json(200, some)).await;
    let queue = Sqs::new(&config, format!("{}/1/q", sqs.endpoint), format!("{}/1/d", sqs.endpoint));
    let error = queue.send(vec!["text".into(), "more".into()]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "so that the schedule runs again");
    let text = "SQS refused 1 of 2 messages, for example with InternalError: invoke the function again";
    assert!(error.message().ends_with(text), "{}", error.message());
}

/// The service answers the requests of a two-part upload by their method.
#[tokio::test]
async fn an_upload_in_parts_that_is_not_completed_is_aborted() {
    for completion in [xml(400, "InvalidPart"), xml(412, "PreconditionFailed")] {
        let refused = completion.clone();
        let (s3, config) = service(move |_, request| match request.line.split(['?', ' ']).next() {
            Some("POST") if request.line.contains("uploadId") => refused.clone(),
            Some("POST") => Reply::Says(
                200,
                Vec::new(),
                "<X><UploadId>u</UploadId></X>".replace('X', "InitiateMultipartUploadResult"),
            ),
            Some("DELETE") => Reply::Says(204, Vec::new(), String::new()),
            _ => found(""),
        })
        .await;
        let mut upload = S3::new(&config).upload(&key("a")).await.unwrap();
        upload.write(Bytes::from(vec![7; 9 << 20])).await.unwrap();
        let error = upload.finish().await.unwrap_err();
        let seen = s3.seen();
        let aborted = seen.iter().filter(|request| request.line.starts_with("DELETE")).collect::<Vec<_>>();
        assert_eq!(aborted.len(), 1, "{completion:?}: {}; {:?}", error.message(), seen.last().map(|last| &last.line));
        assert!(aborted[0].line.contains("uploadId=u"), "{}", aborted[0].line);
        assert_eq!(seen.iter().filter(|request| request.line.contains("partNumber=")).count(), 2);
    }
}
