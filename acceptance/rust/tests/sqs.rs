//! The AWS SDK for Rust, which names errors as types and has one way to read each answer.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
    SendMessageBatchRequestEntry,
};
use aws_sdk_sqs::{Client, Config};

/// How long anything may take, the start of the server among it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until there is something.
fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        // Nothing tells when it is so.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `trunkline dev`, in memory. It ends with this value.
struct Server {
    child: Child,
    folder: PathBuf,
    url: String,
}

impl Server {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("trunkline-rust-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let ready = folder.join("ready.json");
        let binaries = std::env::var_os("TRUNKLINE_BIN_DIR").map(PathBuf::from);
        let binaries =
            binaries.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/debug"));
        let words = ["dev", "--public", "127.0.0.1:0", "--private", "127.0.0.1:0", "--ready-file"];
        let mut command = Command::new(binaries.join("trunkline"));
        command.args(words).arg(&ready).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("starts");
        let mut server = Self { child, folder, url: String::new() };
        let told: serde_json::Value = until("the server is ready", || {
            serde_json::from_str(&std::fs::read_to_string(&ready).ok()?).ok()
        });
        server.url = format!("http://{}", told["private"].as_str().expect("an address"));
        server
    }

    /// Until a receive of this queue waits. Blocks.
    fn wait_for_a_receive(&self, queue: &str) {
        let address = self.url.strip_prefix("http://").expect("its scheme");
        let name = format!("trunkline_queue_waiting_receives{{queue=\"{queue}\",");
        let is_one = |line: &str| line.starts_with(&name) && line.ends_with(" 1");
        until("a receive waits", || {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
            let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).expect("asked");
            let mut page = String::new();
            stream.read_to_string(&mut page).expect("an answer");
            page.lines().any(is_one).then_some(())
        });
    }

    /// A client with no special settings but the endpoint.
    fn client(&self) -> Client {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("x", "y", None, None, "test"))
            .endpoint_url(&self.url)
            .retry_config(RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        Client::from_conf(config.build())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn create(client: &Client, name: &str) -> String {
    let mut creating = client.create_queue().queue_name(name);
    if name.ends_with(".fifo") {
        creating = creating
            .attributes(QueueAttributeName::FifoQueue, "true")
            .attributes(QueueAttributeName::ContentBasedDeduplication, "true");
    }
    creating.send().await.expect("created").queue_url.expect("a URL")
}

fn attribute(data_type: &str) -> aws_sdk_sqs::types::builders::MessageAttributeValueBuilder {
    MessageAttributeValue::builder().data_type(data_type)
}

#[tokio::test]
async fn a_message_with_attributes_is_as_it_was_and_gone_once_it_is_deleted() {
    let server = Server::start("attributes");
    let client = server.client();
    let url = create(&client, "q").await;
    let body = "Grüße \u{1F44B}\r\n<&>";
    let text = attribute("String").string_value("grün").build().expect("an attribute");
    let bytes = attribute("Binary.raw").binary_value(Blob::new([0, 1, 255])).build().expect("an attribute");
    let sending = client.send_message().queue_url(&url).message_body(body);
    let sending = sending.message_attributes("text", text).message_attributes("bytes", bytes);
    let sent = sending.send().await.expect("sent");
    let receiving = client.receive_message().queue_url(&url).message_attribute_names("All");
    let receiving = receiving.message_system_attribute_names(MessageSystemAttributeName::All);
    let messages = receiving.send().await.expect("received").messages.expect("messages");
    let got = &messages[0];
    assert_eq!((got.body(), got.message_id()), (Some(body), sent.message_id()));
    assert_eq!(
        (got.md5_of_body(), got.md5_of_message_attributes()),
        (sent.md5_of_message_body(), sent.md5_of_message_attributes())
    );
    let attributes = got.message_attributes().expect("attributes");
    assert_eq!(attributes["text"].string_value(), Some("grün"));
    assert_eq!(attributes["bytes"].binary_value().map(AsRef::as_ref), Some(&[0_u8, 1, 255][..]));
    let system = got.attributes().expect("attributes of the system");
    assert_eq!(system[&MessageSystemAttributeName::ApproximateReceiveCount], "1");
    let handle = got.receipt_handle().expect("a handle");
    client.delete_message().queue_url(&url).receipt_handle(handle).send().await.expect("deleted");
    let asking = client.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::All);
    let attributes = asking.send().await.expect("told").attributes.expect("attributes");
    assert_eq!(attributes[&QueueAttributeName::ApproximateNumberOfMessagesNotVisible], "0");
    assert!(client.receive_message().queue_url(&url).send().await.expect("received").messages.is_none());
}

#[tokio::test]
async fn batches_say_what_failed() {
    let server = Server::start("batches");
    let client = server.client();
    let url = create(&client, "q").await;
    let entry =
        |n: usize| SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(format!("m{n}"));
    let entries = (0..10).map(|n| entry(n).build().expect("an entry")).collect();
    let sent =
        client.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await.expect("sent");
    assert_eq!((sent.successful().len(), sent.failed().len()), (10, 0));
    let receiving = client.receive_message().queue_url(&url).max_number_of_messages(10);
    let messages = receiving.send().await.expect("received").messages.expect("messages");
    let bodies: Vec<_> = messages.iter().filter_map(|message| message.body()).collect();
    assert_eq!(bodies, ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"]);
    let mut deleting = client.delete_message_batch().queue_url(&url);
    let handles = [messages[0].receipt_handle().expect("a handle"), "x"];
    for (n, handle) in handles.into_iter().enumerate() {
        let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string()).receipt_handle(handle);
        deleting = deleting.entries(entry.build().expect("an entry"));
    }
    let deleted = deleting.send().await.expect("deleted");
    assert_eq!(deleted.successful()[0].id(), "0");
    let failed = &deleted.failed()[0];
    assert_eq!((failed.id(), failed.code(), failed.sender_fault()), ("1", "ReceiptHandleIsInvalid", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_gets_what_comes_and_a_group_keeps_its_order() {
    let server = Server::start("order");
    let client = server.client();
    let url = create(&client, "q.fifo").await;
    let waiting = client.receive_message().queue_url(&url).wait_time_seconds(20);
    let waiting = waiting.message_system_attribute_names(MessageSystemAttributeName::All).send();
    let waiting = tokio::spawn(waiting);
    server.wait_for_a_receive("q.fifo");
    let send =
        |body: &str| client.send_message().queue_url(&url).message_group_id("g").message_body(body).send();
    let sent = send("one").await.expect("sent");
    let again = send("one").await.expect("sent again");
    assert_eq!((sent.message_id(), sent.sequence_number()), (again.message_id(), again.sequence_number()));
    send("two").await.expect("sent");
    let waiting = tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
    let first = waiting.expect("no panic").expect("received").messages.expect("messages").remove(0);
    assert_eq!(first.body(), Some("one"));
    let number = &first.attributes().expect("attributes")[&MessageSystemAttributeName::SequenceNumber];
    assert_eq!(Some(number.as_str()), sent.sequence_number());
    assert!(client.receive_message().queue_url(&url).send().await.expect("received").messages.is_none());
    let handle = first.receipt_handle().expect("a handle");
    client.delete_message().queue_url(&url).receipt_handle(handle).send().await.expect("deleted");
    let messages = client.receive_message().queue_url(&url).send().await.expect("received").messages;
    assert_eq!(messages.expect("messages")[0].body(), Some("two"));
}

#[tokio::test]
async fn errors_are_of_their_types() {
    let server = Server::start("errors");
    let client = server.client();
    let url = create(&client, "q").await;
    let refused = client.get_queue_url().queue_name("never-there").send().await.expect_err("refused");
    assert!(refused.into_service_error().is_queue_does_not_exist());
    let creating = client.create_queue().queue_name("q").attributes(QueueAttributeName::DelaySeconds, "7");
    assert!(creating.send().await.expect_err("refused").into_service_error().is_queue_name_exists());
    let deleting = client.delete_message().queue_url(&url).receipt_handle("garbage");
    assert!(deleting.send().await.expect_err("refused").into_service_error().is_receipt_handle_is_invalid());
    let entry =
        || SendMessageBatchRequestEntry::builder().id("1").message_body("m").build().expect("an entry");
    let sending = client.send_message_batch().queue_url(&url).entries(entry()).entries(entry());
    let refused = sending.send().await.expect_err("refused").into_service_error();
    assert!(refused.is_batch_entry_ids_not_distinct());
    let moving =
        client.start_message_move_task().source_arn("arn:aws:sqs:us-east-1:000000000000:never-there");
    assert!(moving.send().await.expect_err("refused").into_service_error().is_resource_not_found_exception());
    client.delete_queue().queue_url(&url).send().await.expect("deleted");
    let sending = client.send_message().queue_url(&url).message_body("m").send();
    assert!(sending.await.expect_err("refused").into_service_error().is_queue_does_not_exist());
}
