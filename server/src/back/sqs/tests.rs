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

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_private_port_opens_queues_there_and_nowhere_else() {
    let text = "[private]\nkeys = [\"0123456789abcdef\"]\n[sqs]\nlisten = \"127.0.0.1:0\"\n\
                [[sqs.credential]]\nkey_id = \"ORDERS\"\nsecret = \"0123456789abcdef\"\nqueues = [\"orders\"]\n";
    let server = Server::start(config(text)).await.expect("starts");
    let asked = |to: SocketAddr, key: &str| {
        let fields = format!(
            "content-type: {JSON}\r\nx-amz-target: AmazonSQS.CreateQueue\r\nauthorization: Bearer {key}\r\n"
        );
        exchange(to, &request("/", &fields, "{\"QueueName\":\"any\"}")).0
    };
    let (private, own) = (server.private_addr(), server.sqs_addr().expect("is open"));
    assert_eq!(asked(private, "0123456789abcdef"), 200);
    assert_eq!(asked(private, "0123456789abcdeF"), 400);
    assert_eq!(asked(own, "0123456789abcdef"), 400);
    server.drain().await;
}

/// Status and body of a GET on the private port.
fn read(server: &Server, target: &str) -> (u16, String) {
    let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let (status, _, body) = exchange(server.private_addr(), &request);
    (status, body)
}

fn read_json(server: &Server, target: &str) -> (u16, Value) {
    let (status, body) = read(server, target);
    (status, serde_json::from_str(&body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_can_be_looked_at_without_receiving_them() {
    let server = Server::start(config("[[queue]]\nname = \"q\"")).await.expect("starts");
    let to = server.private_addr();
    let bytes = json!({ "raw": { "DataType": "Binary", "BinaryValue": "AAH/" } });
    done(to, "SendMessage", &json!({ "QueueUrl": "q", "MessageBody": "a", "MessageAttributes": bytes }));
    done(to, "SendMessage", &json!({ "QueueUrl": "q", "MessageBody": "b", "MessageGroupId": "g" }));
    done(to, "SendMessage", &json!({ "QueueUrl": "q", "MessageBody": "c", "DelaySeconds": 900 }));
    let got = done(to, "ReceiveMessage", &json!({ "QueueUrl": "q" }));
    for _ in 0..2 {
        let (status, page) = read_json(&server, "/v1/queues/q/peek?limit=2");
        let (first, second) = (&page["items"][0], &page["items"][1]);
        assert_eq!((status, &first["id"]), (200, &got["Messages"][0]["MessageId"]), "{page}");
        assert_eq!((&first["stage"], &first["receives"]), (&json!("in-flight"), &json!(1)));
        assert_eq!(first["attributes"]["raw"], json!({ "type": "Binary", "value_base64": "AAH/" }));
        assert_eq!((&second["stage"], &second["receives"]), (&json!("visible"), &json!(0)));
        assert_eq!((&second["body"], &second["group"]), (&json!("b"), &json!("g")));
        let next = page["next"].as_str().expect("there is more");
        let (_, page) = read_json(&server, &format!("/v1/queues/q/peek?cursor={next}"));
        let rest = page["items"].as_array().expect("a list");
        assert_eq!((rest.len(), &rest[0]["body"], &rest[0]["stage"]), (1, &json!("c"), &json!("delayed")));
        assert!(page.get("next").is_none(), "{page}");
    }
    let wanted =
        json!({ "QueueUrl": "q", "MessageSystemAttributeNames": ["All"], "MaxNumberOfMessages": 10 });
    let got = done(to, "ReceiveMessage", &wanted);
    assert_eq!(got["Messages"][0]["Attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(got["Messages"].as_array().map(Vec::len), Some(1), "{got}");
    for (target, status) in [
        ("/v1/queues/none", 404),
        ("/v1/queues/q?account=1", 404),
        ("/v1/queues/none/peek", 404),
        ("/v1/queues/q/peek?limit=0", 400),
        ("/v1/queues/q/peek?cursor=x", 400),
        ("/v1/queues?limit=0", 400),
    ] {
        assert_eq!(read(&server, target).0, status, "{target}");
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_listed_and_those_within_the_limit_have_metrics() {
    let names = ["a", "b", "other"].map(|name| format!("[[queue]]\nname = \"{name}\"\n")).concat();
    let text = format!("[sqs]\nmetrics_queues_max = 2\n{names}");
    let server = Server::start(config(&text)).await.expect("starts");
    let to = server.private_addr();
    done(to, "SendMessage", &json!({ "QueueUrl": "b", "MessageBody": "m" }));
    done(to, "SendMessage", &json!({ "QueueUrl": "b", "MessageBody": "m" }));
    let got = done(to, "ReceiveMessage", &json!({ "QueueUrl": "b" }));
    let handle = &got["Messages"][0]["ReceiptHandle"];
    done(to, "DeleteMessage", &json!({ "QueueUrl": "b", "ReceiptHandle": handle }));
    let (_, page) = read_json(&server, "/v1/queues?limit=2");
    let named = |page: &Value| {
        let items = page["items"].as_array().expect("a list");
        items.iter().map(|item| item["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(named(&page), ["a", "b"]);
    assert_eq!((&page["items"][1]["visible"], &page["items"][1]["deleted"]), (&json!(1), &json!(1)));
    let (_, page) =
        read_json(&server, &format!("/v1/queues?cursor={}", page["next"].as_str().expect("more")));
    assert_eq!((named(&page), page.get("next")), (vec!["other".to_owned()], None));
    assert_eq!(named(&read_json(&server, "/v1/queues?prefix=o").1), ["other"]);
    assert_eq!(named(&read_json(&server, "/v1/queues?account=1").1), Vec::<String>::new());
    let (_, metrics) = read(&server, "/metrics");
    let place = "account=\"000000000000\",region=\"us-east-1\"";
    for line in [
        format!("trunkline_queue_visible_messages{{queue=\"b\",{place}}} 1"),
        format!("trunkline_queue_sent_total{{queue=\"b\",{place}}} 2"),
        format!("trunkline_queue_received_total{{queue=\"b\",{place}}} 1"),
        format!("trunkline_queue_deleted_total{{queue=\"b\",{place}}} 1"),
        "trunkline_queues 3".to_owned(),
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("queue=\"other\""), "beyond the limit");
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
