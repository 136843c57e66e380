//! The API of Amazon SQS from the client's side, in AWS JSON 1.0.
//!
//! Owns how requests are written and answers are read, and the [`Connection`] of a program that has one of them and waits for
//! it, such as `trunkline queue`. Must not know scenarios or what is measured. Start at [`Endpoint`].

mod connection;

use std::borrow::Cow;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};
use wire::http::{Request, write_request};
use wire::sqs::{CONTENT_TYPE_JSON, SignedRequest, Signer};

use crate::target::Target;
pub use connection::Connection;

/// Where the API is, and what lets a client in.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The server; a path is that of every request.
    pub target: Target,
    /// What lets a client in.
    pub access: Access,
}

/// What lets a client in.
#[derive(Clone, PartialEq, Eq)]
pub enum Access {
    /// Nothing is asked for.
    Open,
    /// One of `private.keys`, as bearer token.
    Key(String),
    /// An access key, by which every request is signed.
    Signed {
        /// Its id.
        id: String,
        /// Its secret.
        secret: String,
        /// The region that is signed for.
        region: String,
    },
}

impl fmt::Debug for Access {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("Open"),
            Self::Key(_) => f.write_str("Key"),
            Self::Signed { id, region, .. } => write!(f, "Signed {id} {region}"),
        }
    }
}

impl Endpoint {
    /// Appends the request of an action.
    pub(crate) fn write(&self, action: &str, body: &[u8], out: &mut Vec<u8>) {
        let action = format!("AmazonSQS.{action}");
        let path = if self.target.path.is_empty() { "/" } else { self.target.path.as_str() };
        let plain = [("content-type", CONTENT_TYPE_JSON), ("x-amz-target", action.as_str())];
        let (method, host) = ("POST", self.target.host.as_str());
        let mut send = |headers: &[(&str, &str)]| {
            write_request(out, &Request { method, target: path, host, headers, body: Some(body) });
        };
        match &self.access {
            Access::Open => send(&plain),
            Access::Key(key) => {
                let [media, target] = plain;
                send(&[media, target, ("authorization", &format!("Bearer {key}"))]);
            }
            Access::Signed { id, secret, region } => {
                let signer =
                    Signer { access_key_id: id.clone(), secret: secret.clone(), region: region.clone() };
                let [media, target] = plain;
                let fields = [("host", host), media, target].map(|(name, value)| (name, value.as_bytes()));
                let (path, query) = path.split_once('?').unwrap_or((path, ""));
                let request = SignedRequest { method, path, query, fields: &fields, body };
                let signed = signer.sign(&request, now_s());
                let [time, authorization] = [&signed.time, &signed.authorization].map(String::as_str);
                send(&[media, target, ("x-amz-date", time), ("authorization", authorization)]);
            }
        }
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What a queue counts as stored, in its attributes.
const STORED: [&str; 3] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
];

/// The input of a GetQueueAttributes that asks how many messages a queue has.
#[must_use]
pub fn stored_query(queue_url: &str) -> Value {
    json!({ "QueueUrl": queue_url, "AttributeNames": STORED })
}

/// What the answer to [`stored_query`] says, whatever the messages are at.
#[must_use]
pub fn stored_in(answer: &Value) -> u64 {
    let count = |name: &&str| answer.get("Attributes")?.get(*name)?.as_str()?.parse::<u64>().ok();
    STORED.iter().filter_map(count).sum()
}

/// Appends a text as JSON.
pub(crate) fn push_text(text: &str, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

/// What a receive gave.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Received<'a> {
    #[serde(borrow, default, rename = "Messages")]
    pub(crate) messages: Vec<ReceivedMessage<'a>>,
}

/// A message that was received.
#[derive(Debug, Deserialize)]
pub(crate) struct ReceivedMessage<'a> {
    #[serde(borrow, rename = "Body")]
    pub(crate) body: Cow<'a, str>,
    #[serde(borrow, rename = "ReceiptHandle")]
    pub(crate) receipt: Cow<'a, str>,
}

/// What became of the entries of a batch.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct BatchAnswer<'a> {
    #[serde(borrow, default, rename = "Failed")]
    pub(crate) failed: Vec<BatchFailure<'a>>,
}

/// An entry that was refused.
#[derive(Debug, Deserialize)]
pub(crate) struct BatchFailure<'a> {
    #[serde(borrow, rename = "Code")]
    code: Cow<'a, str>,
    #[serde(borrow, default, rename = "Message")]
    message: Cow<'a, str>,
}

impl fmt::Display for BatchFailure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// What an error says, `QueueDoesNotExist: The specified queue does not exist.`
pub(crate) fn refusal(status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Said {
        #[serde(rename = "__type")]
        kind: String,
        #[serde(default, alias = "Message")]
        message: String,
    }
    match serde_json::from_slice::<Said>(body) {
        Ok(Said { kind, message }) => {
            let name = kind.rsplit('#').next().unwrap_or_default();
            format!("{name}: {message}")
        }
        Err(_) => format!("{status} {:.300}", String::from_utf8_lossy(body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(access: Access) -> String {
        let target = "http://127.0.0.1:9000".parse().unwrap();
        let mut out = Vec::new();
        Endpoint { target, access }.write("ListQueues", b"{}", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_request_names_its_action_and_who_asks() {
        let open = written(Access::Open);
        assert!(open.starts_with("POST / HTTP/1.1\r\nhost: 127.0.0.1:9000\r\n"), "{open}");
        assert!(open.contains("x-amz-target: AmazonSQS.ListQueues\r\n") && open.ends_with("\r\n\r\n{}"));
        assert!(!open.contains("authorization"), "{open}");
        assert!(written(Access::Key("k".into())).contains("authorization: Bearer k\r\n"));
        let [id, secret, region] = ["ID", "not-told", "local-1"].map(str::to_owned);
        let signed =
            written(Access::Signed { id: id.clone(), secret: secret.clone(), region: region.clone() });
        let scope = "authorization: AWS4-HMAC-SHA256 Credential=ID/";
        assert!(signed.contains(scope) && signed.contains("/local-1/sqs/aws4_request"), "{signed}");
        assert!(signed.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-target,"), "{signed}");
        assert!(!signed.contains("not-told"), "{signed}");
        assert!(!format!("{:?}", Access::Signed { id, secret, region }).contains("not-told"));
    }

    #[test]
    fn errors_are_told_by_name() {
        let body = br#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"It is not there."}"#;
        assert_eq!(refusal(400, body), "QueueDoesNotExist: It is not there.");
        assert_eq!(refusal(503, b"<html>"), "503 <html>");
    }

    #[test]
    fn members_that_are_left_out_are_none() {
        assert!(serde_json::from_str::<Received<'_>>("{}").unwrap().messages.is_empty());
        let answer = r#"{"Successful":[{"Id":"0"}],"Failed":[{"Id":"1","Code":"C","Message":"a \"b\"","SenderFault":true}]}"#;
        let answer: BatchAnswer<'_> = serde_json::from_str(answer).unwrap();
        assert_eq!(answer.failed[0].to_string(), "C: a \"b\"");
    }
}
