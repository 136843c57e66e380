//! The door's own part: who is let in, what a client that has gone leaves, what a restart leaves.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use hub::queue::{Answer, QueueCommand, QueueName, QueueView};
use hub::{Command, Report};
use serde_json::{Value, json};

use crate::config::{Config, Machine, SourceFile, Sources};
use crate::embed::{Server, StartError};

const JSON: &str = "application/x-amz-json-1.0";

fn config(text: &str) -> Config {
    let presets = vec![
        ("auth.mode", "back_end".to_owned()),
        ("server.public_listen", "127.0.0.1:0".to_owned()),
        ("server.private_listen", "127.0.0.1:0".to_owned()),
        ("server.drain_window_ms", "0".to_owned()),
    ];
    let file = Some(SourceFile { name: "test".to_owned(), text: text.to_owned() });
    let machine = Machine { cores: 2, open_files_max: 10_000 };
    Config::load(&Sources { presets, file, ..Sources::default() }, machine).expect("valid").config
}

fn request(target: &str, fields: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Status, head and body of one request. It blocks; the server has threads of its own.
fn exchange(to: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(to).expect("connects");
    stream.write_all(request.as_bytes()).expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("reads");
    let (head, body) = answer.split_once("\r\n\r\n").expect("has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("has a status");
    (status, head.to_owned(), body.to_owned())
}

fn call(to: SocketAddr, action: &str, body: &Value) -> (u16, Value) {
    let fields =
        format!("content-type: {JSON}\r\nx-amz-target: AmazonSQS.{action}\r\nx-amzn-query-mode: true\r\n");
    let (status, _, body) = exchange(to, &request("/", &fields, &body.to_string()));
    (status, serde_json::from_str(&body).unwrap_or_default())
}

/// What succeeds.
fn done(to: SocketAddr, action: &str, body: &Value) -> Value {
    let (status, answer) = call(to, action, body);
    assert_eq!(status, 200, "{action}: {answer}");
    answer
}

/// A queue as its home sees it.
async fn view(server: &Server, name: &str) -> QueueView {
    let office = server.handle().office().clone();
    let queue = QueueName::new(&format!("000000000000/us-east-1/{name}"));
    let shard = queue.home(&office.topology());
    let describe = |token| Command::Queue(QueueCommand::Describe { queue, token });
    match office.ask(shard, describe).await.expect("is answered") {
        Report::Queue(answer) => match *answer {
            Answer::View(view) => *view,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Looks until it is so.
async fn until(server: &Server, name: &str, is_so: impl Fn(&QueueView) -> bool) {
    while !is_so(&view(server, name).await) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_gone_gets_nothing() {
    let server = Server::start(config("[[queue]]\nname = \"q\"")).await.expect("starts");
    let to = server.private_addr();
    let fields = format!("content-type: {JSON}\r\nx-amz-target: AmazonSQS.ReceiveMessage\r\n");
    let body = json!({ "QueueUrl": "q", "WaitTimeSeconds": 20 }).to_string();
    let mut waiting = TcpStream::connect(to).expect("connects");
    waiting.write_all(request("/", &fields, &body).as_bytes()).expect("writes");
    until(&server, "q", |view| view.waiting == 1).await;
    drop(waiting);
    until(&server, "q", |view| view.waiting == 0).await;
    done(to, "SendMessage", &json!({ "QueueUrl": "q", "MessageBody": "m" }));
    assert_eq!(view(&server, "q").await.counts.visible, 1);
    let wanted = json!({ "QueueUrl": "q", "MessageSystemAttributeNames": ["All"] });
    let got = done(to, "ReceiveMessage", &wanted);
    assert_eq!(got["Messages"][0]["Attributes"]["ApproximateReceiveCount"], "1");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receive_that_waits_is_answered_when_the_server_begins_to_end() {
    let server = Server::start(config("[[queue]]\nname = \"q\"")).await.expect("starts");
    let fields = format!("content-type: {JSON}\r\nx-amz-target: AmazonSQS.ReceiveMessage\r\n");
    let body = json!({ "QueueUrl": "q", "WaitTimeSeconds": 20 }).to_string();
    let mut waiting = TcpStream::connect(server.private_addr()).expect("connects");
    waiting.write_all(request("/", &fields, &body).as_bytes()).expect("writes");
    until(&server, "q", |view| view.waiting == 1).await;
    let began = std::time::Instant::now();
    server.drain().await;
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).expect("reads");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("{}"), "{answer}");
    assert!(began.elapsed().as_secs() < 15, "not when its time is over");
}

/// Why a configuration is not started with.
async fn refused(text: &str) -> StartError {
    match Server::start(config(text)).await {
        Ok(_) => panic!("it starts"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_does_not_have_is_refused_with_its_key() {
    let error = refused("[sqs]\nurl_template = \"ftp://{host}/{account}/{queue}\"").await;
    let text = "sqs.url_template: must begin with {scheme}://, http:// or https://, got \
                \"ftp://{host}/{account}/{queue}\"";
    assert!(matches!(&error, StartError::Config(got) if got == text), "{error}");
    let credential = "[[sqs.credential]]\nkey_id = \"A\"\nsecret = \"0123456789abcdef\"\n";
    let second =
        "[[sqs.credential]]\nkey_id = \"B\"\nsecret = \"0123456789abcdef\"\nactions = [\"SendMail\"]";
    let error = refused(&format!("{credential}{second}")).await;
    let text = "sqs.credential[1].actions: must be an action of SQS such as SendMessage, got \"SendMail\"";
    assert!(matches!(&error, StartError::Config(got) if got == text), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_cannot_be_declared_ends_the_start_in_order() {
    let folder = Folder(std::env::temp_dir().join(format!("trunkline-declare-{}", std::process::id())));
    let text = |target: &str| {
        format!(
            "[server]\nstate_file = {:?}\n[store]\ndir = {:?}\n[[queue]]\nname = \"q\"\n{target}",
            folder.0.join("state"),
            folder.0.join("store")
        )
    };
    std::fs::create_dir_all(&folder.0).expect("can be made");
    let error = refused(&text("dead_letter_queue = \"nowhere\"")).await;
    assert!(matches!(&error, StartError::Queue(text) if text.starts_with("queue \"q\": ")), "{error}");
    assert!(error.to_string().contains("nowhere"), "{error}");
    // Nothing holds the store any more, nor the place of the state file.
    let server = Server::start(config(&text(""))).await.expect("starts");
    done(server.private_addr(), "SendMessage", &json!({ "QueueUrl": "q", "MessageBody": "m" }));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_are_spoken_beside_rest() {
    let server = Server::start(config("[sqs]\nlisten = \"127.0.0.1:0\"")).await.expect("starts");
    let (private, own) = (server.private_addr(), server.sqs_addr().expect("is open"));
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let create = request("/", form, "Action=CreateQueue&QueueName=q");
    let (status, head, body) = exchange(private, &create);
    assert_eq!(status, 200, "{body}");
    assert!(head.contains("x-amzn-requestid: "), "{head}");
    assert!(body.contains("<QueueUrl>http://localhost/000000000000/q</QueueUrl>"), "{body}");
    let send = request("/000000000000/q", form, "Action=SendMessage&MessageBody=a+b");
    assert_eq!(exchange(own, &send).0, 200);
    let got = done(own, "ReceiveMessage", &json!({ "QueueUrl": "http://localhost/000000000000/q" }));
    assert_eq!(got["Messages"][0]["Body"], "a b");
    let (status, _, body) =
        exchange(own, &request("/v1/messages", "content-type: application/json\r\n", "{}"));
    assert_eq!((status, body.as_str()), (404, "<UnknownOperationException/>"));
    let rest = "GET /v1/server HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(exchange(private, rest).1.contains("application/"));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_no_way_around_keys() {
    let keys = "[private]\nkeys = [\"0123456789abcdef\"]\n";
    let server = Server::start(config(keys)).await.expect("starts");
    let (status, answer) = call(server.private_addr(), "ListQueues", &json!({}));
    assert_eq!(
        (status, &answer["__type"]),
        (403, &json!("com.amazon.coral.service#InvalidClientTokenId")),
        "{answer}"
    );
    server.drain().await;
    let credential = "[[sqs.credential]]\nkey_id = \"ORDERS\"\nsecret = \"0123456789abcdef\"\n";
    let server = Server::start(config(&format!("{keys}{credential}"))).await.expect("starts");
    let (status, answer) = call(server.private_addr(), "ListQueues", &json!({}));
    assert_eq!(status, 403);
    assert!(
        answer["__type"].as_str().is_some_and(|kind| kind.ends_with("#MissingAuthenticationToken")),
        "{answer}"
    );
    server.drain().await;
}

#[test]
fn a_port_that_others_reach_asks_for_a_credential() {
    let file =
        Some(SourceFile { name: "test".to_owned(), text: "[sqs]\nlisten = \"0.0.0.0:9324\"".to_owned() });
    let presets = vec![("auth.mode", "anonymous".to_owned())];
    let machine = Machine { cores: 2, open_files_max: 10_000 };
    let problems =
        Config::load(&Sources { presets, file, ..Sources::default() }, machine).expect_err("refused");
    assert!(problems.to_string().contains("sqs.credential"), "{problems}");
}

/// A folder that goes with everything in it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_outlive_a_restart_with_handles_and_deduplication() {
    let folder = Folder(std::env::temp_dir().join(format!("trunkline-sqs-{}", std::process::id())));
    let text = |visibility: u32| {
        format!(
            "[store]\ndir = {:?}\n[[queue]]\nname = \"q.fifo\"\nvisibility_timeout_seconds = {visibility}\n\
             dead_letter_queue = \"dead.fifo\"\n[[queue]]\nname = \"dead.fifo\"\n",
            folder.0
        )
    };
    let send = |body: &str| json!({ "QueueUrl": "q.fifo", "MessageBody": body, "MessageGroupId": "g", "MessageDeduplicationId": body });
    let server = Server::start(config(&text(30))).await.expect("starts");
    let to = server.private_addr();
    let first = done(to, "SendMessage", &send("one"));
    done(to, "SendMessage", &send("two"));
    let got = done(to, "ReceiveMessage", &json!({ "QueueUrl": "q.fifo" }));
    assert_eq!(got["Messages"][0]["Body"], "one");
    done(to, "TagQueue", &json!({ "QueueUrl": "q.fifo", "Tags": { "team": "tea" } }));
    server.drain().await;
    let server = Server::start(config(&text(31))).await.expect("starts again");
    let to = server.private_addr();
    assert_eq!(done(to, "SendMessage", &send("one"))["MessageId"], first["MessageId"]);
    let handle = &got["Messages"][0]["ReceiptHandle"];
    done(to, "DeleteMessage", &json!({ "QueueUrl": "q.fifo", "ReceiptHandle": handle }));
    let left = done(to, "ReceiveMessage", &json!({ "QueueUrl": "q.fifo", "MaxNumberOfMessages": 10 }));
    assert_eq!(left["Messages"].as_array().map(Vec::len), Some(1), "{left}");
    assert_eq!(left["Messages"][0]["Body"], "two");
    assert_eq!(done(to, "ListQueueTags", &json!({ "QueueUrl": "q.fifo" }))["Tags"]["team"], "tea");
    let attributes =
        done(to, "GetQueueAttributes", &json!({ "QueueUrl": "q.fifo", "AttributeNames": ["All"] }));
    assert_eq!(attributes["Attributes"]["VisibilityTimeout"], "31", "what is configured holds");
    assert!(
        attributes["Attributes"]["RedrivePolicy"].as_str().is_some_and(|policy| policy.contains("dead.fifo"))
    );
    server.drain().await;
}
