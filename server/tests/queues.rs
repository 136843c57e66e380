//! Queues as the program around the server uses them, and that they are the same queues as those of SQS.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

#[path = "support/whole/mod.rs"]
mod whole;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use trunkline::{Config, Queue, QueueAttribute, QueueMessage, QueueValue, Server};
use whole::rest::ask_text;
use whole::until::until_so;

/// Longer than any of this takes.
const WAIT: Duration = Duration::from_secs(20);

/// What an SDK would ask. It blocks; the server has threads of its own.
fn sdk(server: &Server, action: &str, body: &Value) -> Value {
    let url = server.sqs_url().unwrap();
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let body = body.to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-amz-json-1.0\r\n\
         x-amz-target: AmazonSQS.{action}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head} {body}");
    serde_json::from_str(body).unwrap()
}

async fn start() -> (Server, Queue) {
    let server = Server::ephemeral().await.unwrap();
    let queue = server.handle().queue("orders").unwrap();
    queue.create().await.unwrap();
    (server, queue)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_and_an_sdk_share_a_queue() {
    let (server, queue) = start().await;
    let message = QueueMessage::new("tea").attribute("tenant", "7").with(QueueAttribute {
        name: "zip".to_owned(),
        data_type: "Binary.gzip".to_owned(),
        value: QueueValue::Binary(vec![0, 1, 255].into()),
    });
    let sent = queue.send(message).await.unwrap();
    let wanted = json!({ "QueueUrl": "orders", "MessageAttributeNames": ["All"] });
    let got = sdk(&server, "ReceiveMessage", &wanted);
    let got = &got["Messages"][0];
    assert_eq!((&got["Body"], &got["MessageId"]), (&json!("tea"), &json!(sent.id)));
    assert_eq!(got["MessageAttributes"]["zip"], json!({ "DataType": "Binary.gzip", "BinaryValue": "AAH/" }));
    let handle = &got["ReceiptHandle"];
    sdk(&server, "DeleteMessage", &json!({ "QueueUrl": "orders", "ReceiptHandle": handle }));
    let attributes = json!({ "tenant": { "DataType": "String", "StringValue": "8" } });
    let back = json!({ "QueueUrl": "orders", "MessageBody": "coffee", "MessageAttributes": attributes });
    sdk(&server, "SendMessage", &back);
    let got = queue.receive(10, WAIT).await.unwrap();
    assert_eq!(got.len(), 1, "{got:?}");
    assert_eq!((got[0].body.as_str(), got[0].receives), ("coffee", 1));
    assert_eq!(got[0].attributes[0].value, QueueValue::Text("8".to_owned()));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_comes_again_until_it_is_deleted() {
    let (server, queue) = start().await;
    queue.send("tea").await.unwrap();
    let first = queue.receive(1, WAIT).await.unwrap().remove(0);
    assert!(queue.receive(1, Duration::ZERO).await.unwrap().is_empty(), "it is invisible");
    queue.change_visibility(first.receipt, Duration::ZERO).await.unwrap();
    let again = queue.receive_for(1, WAIT, Duration::from_secs(600)).await.unwrap().remove(0);
    assert_eq!((again.id, again.receives), (first.id, 2));
    queue.delete(again.receipt).await.unwrap();
    queue.delete(again.receipt).await.expect("is deleted already");
    let gone = queue.change_visibility(again.receipt, WAIT).await.unwrap_err();
    assert_eq!(gone.code(), "InvalidParameterValueException");
    assert_eq!(queue.attributes().await.unwrap()["ApproximateNumberOfMessagesNotVisible"], "0");
    queue.send("water").await.unwrap();
    queue.purge().await.unwrap();
    assert!(queue.receive(1, Duration::ZERO).await.unwrap().is_empty());
    server.drain().await;
}

/// Otherwise nobody may wait yet when something happens.
fn until_waiting(server: &Server) {
    let name = "trunkline_queue_waiting_receives{queue=\"orders\",";
    let is_one = |line: &str| line.starts_with(name) && line.ends_with(" 1");
    until_so("a receive waits", || ask_text(server, "GET", "/metrics", None).2.lines().any(is_one));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receive_that_waits_is_woken_by_a_send() {
    let (server, queue) = start().await;
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.receive(1, WAIT).await }
    });
    until_waiting(&server);
    queue.send("tea").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap()[0].body, "tea");
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.receive(1, WAIT).await }
    });
    until_waiting(&server);
    queue.delete_queue().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), "QueueDoesNotExist");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queue_keeps_order_and_takes_each_id_once() {
    let server = Server::ephemeral().await.unwrap();
    let queue = server.handle().queue("steps.fifo").unwrap();
    queue.create_with(&[("VisibilityTimeout", "60")]).await.unwrap();
    queue.create_with(&[("VisibilityTimeout", "60")]).await.expect("is there already");
    let other = queue.create_with(&[("VisibilityTimeout", "61")]).await.unwrap_err();
    assert_eq!(other.code(), "QueueNameExists");
    let step =
        |number: u32| QueueMessage::new(number.to_string()).group("g").deduplication(number.to_string());
    let sent = queue.send_batch((0..256).map(step)).await.unwrap();
    let first = sent[7].clone().unwrap();
    assert!(sent.iter().all(|sent| sent.as_ref().is_ok_and(|sent| !sent.is_duplicate)));
    let again = queue.send(step(7)).await.unwrap();
    assert_eq!((again.id, again.is_duplicate), (first.id, true));
    let got = queue.receive(1000, WAIT).await.unwrap();
    let bodies: Vec<u32> = got.iter().map(|message| message.body.parse().unwrap()).collect();
    assert_eq!(bodies, (0..256).collect::<Vec<_>>());
    assert_eq!(got[0].group.as_deref(), Some("g"));
    let deleted = queue.delete_batch(got.iter().map(|message| message.receipt)).await.unwrap();
    assert!(deleted.iter().all(Result::is_ok));
    queue.set_attributes(&[("VisibilityTimeout", "61")]).await.unwrap();
    assert_eq!(queue.attributes().await.unwrap()["VisibilityTimeout"], "61");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_in_the_words_of_sqs() {
    let (server, queue) = start().await;
    let handle = server.handle();
    let missing = handle.queue("missing").unwrap().send("tea").await.unwrap_err();
    assert_eq!(missing.to_string(), "QueueDoesNotExist: The specified queue does not exist.");
    assert!(!missing.is_temporary());
    assert_eq!(handle.queue("no/name").unwrap_err().code(), "InvalidParameterValueException");
    let wrong = [
        (QueueMessage::new(""), "MissingRequiredParameterException"),
        (QueueMessage::new("\u{0}"), "InvalidMessageContents"),
        (QueueMessage::new("m").delay(Duration::from_secs(901)), "InvalidParameterValueException"),
        (QueueMessage::new("m").deduplication("d"), "InvalidParameterValueException"),
        (QueueMessage::new("m").attribute("AWS.x", "v"), "InvalidParameterValueException"),
        (QueueMessage::new("m".repeat(1_048_577)), "InvalidParameterValueException"),
    ];
    let sent = queue.send_batch(wrong.iter().map(|(message, _)| message.clone()).chain(["good".into()]));
    let sent = sent.await.unwrap();
    for ((message, code), sent) in wrong.iter().zip(&sent) {
        assert_eq!(sent.as_ref().unwrap_err().code(), *code, "{message:?}");
    }
    assert!(sent[wrong.len()].is_ok(), "what is right is sent");
    let many = (0..1001).map(|_| QueueMessage::new("m"));
    assert_eq!(queue.send_batch(many).await.unwrap_err().code(), "TooManyEntriesInBatchRequest");
    let other = handle.queue("other").unwrap();
    other.create().await.unwrap();
    let receipt = queue.receive(1, WAIT).await.unwrap()[0].receipt;
    assert_eq!(other.delete(receipt).await.unwrap_err().code(), "ReceiptHandleIsInvalid");
    server.drain().await;
    let gone = queue.send("late").await.unwrap_err();
    assert_eq!((gone.code(), gone.is_temporary()), ("ServiceUnavailable", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_queues_says_so() {
    let config = Config::embedded_with(&["sqs.enabled=false"]).unwrap();
    let server = Server::start(config).await.unwrap();
    assert_eq!(server.handle().queue("orders").unwrap_err().code(), "UnsupportedOperation");
    assert_eq!(server.sqs_url(), None);
    server.drain().await;
}
