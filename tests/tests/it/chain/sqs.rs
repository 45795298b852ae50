//! A minimal SQS client.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::Chain;

/// Makes one call in SQS's JSON protocol. The signature isn't real: the emulator checks none.
pub async fn call(chain: &Chain, action: &str, request: Value) -> Value {
    let address = chain.aws.endpoint_url().expect("the emulator's").trim_start_matches("http://");
    let (body, account) = (request.to_string(), &chain.account);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-amz-json-1.0\r\nX-Amz-Target: AmazonSQS.{action}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={account}/20240101/us-east-1/sqs/aws4_request, \
         SignedHeaders=host, Signature=0\r\n\r\n",
        body.len()
    );
    let mut socket = TcpStream::connect(address).await.expect("the emulator");
    socket.write_all((head + &body).as_bytes()).await.expect("the emulator");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.expect("the emulator");
    let answer = String::from_utf8(answer).expect("UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    assert!(head.starts_with("HTTP/1.1 200"), "{action}: {answer}");
    if body.trim().is_empty() { json!({}) } else { serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}")) }
}

/// Returns how many messages in a queue are waiting, and how many are in flight.
pub async fn depth(chain: &Chain, url: &str) -> (u64, u64) {
    let answer = call(chain, "GetQueueAttributes", json!({ "QueueUrl": url, "AttributeNames": ["All"] })).await;
    let number = |name: &str| {
        let text = answer["Attributes"][name].as_str().unwrap_or_else(|| panic!("{answer}"));
        text.parse().expect("a number")
    };
    (number("ApproximateNumberOfMessages"), number("ApproximateNumberOfMessagesNotVisible"))
}
