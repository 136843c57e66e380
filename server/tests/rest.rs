//! The private port over HTTP, where a mistake would be answered by something else than this server's own words.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use trunkline::{Config, OfficeError, Refusal, Server};

const NOBODY: &str = "AAAAAAAAAAAAAAAAAAAA";

/// Status, head and JSON body of one request. It blocks; the server has threads of its own.
fn ask(server: &Server, method: &str, target: &str, body: Option<Value>) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(server.private_addr()).unwrap();
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or_default())
}

async fn start() -> Server {
    Server::start(Config::loopback()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_not_utf_8_gets_a_problem_document() {
    let server = start().await;
    let (status, head, body) = ask(&server, "GET", "/v1/sessions/%ff", None);
    assert_eq!((status, &body["code"]), (400, &json!("malformed")));
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_that_is_off_says_so() {
    let server = start().await;
    let (status, _, body) = ask(&server, "GET", "/v1/presence?channel=tea", None);
    assert_eq!(status, 404);
    assert!(body["detail"].as_str().unwrap().contains("presence = true"), "{body}");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_subscribe_a_session_that_is_not_there_fails() {
    let server = start().await;
    let request = json!({ "session": NOBODY, "channel": "tea" });
    let (status, _, body) = ask(&server, "PUT", "/v1/subscriptions", Some(request));
    assert_eq!((status, &body["code"]), (404, &json!("not-found")));
    let joined = server.handle().session(NOBODY.parse().unwrap(), "/").join("tea").await;
    assert_eq!(joined, Err(OfficeError::Refused(Refusal::NotFound)));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_there_is_nothing_to_reload() {
    let server = start().await;
    assert!(!server.reload_tls().await.unwrap());
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_have_names_of_their_own_and_say_whether_they_need_a_key() {
    let server = start().await;
    let (_, _, document) = ask(&server, "GET", "/v1/openapi.json", None);
    let mut ids = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            let open = operation.get("security").is_some();
            assert_eq!(operation["responses"].get("401").is_some(), !open, "{operation}");
            let described = |response: &Value| response["description"].is_string();
            assert!(operation["responses"].as_object().unwrap().values().all(described), "{operation}");
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");
    assert_eq!(document["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    server.drain().await;
}
