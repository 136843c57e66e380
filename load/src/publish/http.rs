//! Publishing over HTTP: `POST /v1/messages` over one kept connection, several requests on their way; or the bare data to
//! whatever address another server takes it at.
//!
//! Owns requests and answers. Must not know who receives. Start at [`Http::connect`].

use std::borrow::Cow;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wire::http::{Request, percent_encode, write_request};

use super::{ANSWER_WITHIN, Confirm, Destination, PublishBody};
use crate::error::Error;
use crate::http::answer;
use crate::pool::Publish;

/// What the server answered so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answers {
    accepted: u64,
    refused: u64,
    /// Why the first one was refused, or why no more will come.
    trouble: Option<String>,
}

/// One connection to the private port.
pub(super) struct Http {
    stream: TcpStream,
    destination: Destination,
    answers: Arc<Mutex<Answers>>,
    reader: Option<JoinHandle<()>>,
    sent: u64,
}

impl Http {
    /// Connects.
    pub(super) fn connect(destination: &Destination) -> Result<Self, Error> {
        let tried = |error| Error::io(format!("publishing to {}", destination.url.host), &error);
        let stream = TcpStream::connect(destination.url.address).map_err(tried)?;
        stream.set_nodelay(true).map_err(tried)?;
        let reading = stream.try_clone().map_err(tried)?;
        let answers = Arc::new(Mutex::new(Answers::default()));
        let shared = Arc::clone(&answers);
        let builder = std::thread::Builder::new().name("publish-answers".into());
        let reader = Some(builder.spawn(move || read_answers(reading, &shared)).map_err(tried)?);
        Ok(Self { stream, destination: destination.clone(), answers, reader, sent: 0 })
    }

    /// Publishes those of the messages that connection `place` takes, in one write and without waiting for answers.
    pub(super) fn publish(&mut self, place: u32, publish: &Publish) -> Result<(), Error> {
        let mut out = Vec::new();
        for number in publish.numbers.clone() {
            let (client, channel) = publish.client(number);
            if client == place {
                let data = publish.marker(number).data(publish.payload_bytes);
                self.sent += 1;
                self.destination.write(&channel, &data, &mut out);
            }
        }
        if out.is_empty() { Ok(()) } else { self.send(&out) }
    }

    fn send(&mut self, requests: &[u8]) -> Result<(), Error> {
        let written = self.stream.write_all(requests);
        written.map_err(|error| {
            let trouble = self.answers().trouble.unwrap_or_default();
            Error::io(format!("publishing to {} {trouble}", self.destination.url.host), &error)
        })
    }

    /// What came back.
    fn answers(&self) -> Answers {
        self.answers.lock().map(|answers| answers.clone()).unwrap_or_default()
    }

    /// Waits until every request is answered; an error if one was refused.
    pub(super) fn wait_answered(&self) -> Result<(), Error> {
        let until = Instant::now() + ANSWER_WITHIN;
        loop {
            let answers = self.answers();
            if let Some(trouble) = answers.trouble {
                return Err(Error::new(format!("publishing to {}: {trouble}", self.destination.url.host)));
            }
            if answers.accepted >= self.sent {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(Error::new(format!("{} of {} publishes answered", answers.accepted, self.sent)));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Destination {
    /// Appends the request that publishes `data` to a channel; raw bodies go to the address alone, in which `{channel}` is that.
    fn write(&self, channel: &str, data: &str, out: &mut Vec<u8>) {
        let (path, content_type, body) = match self.body {
            PublishBody::Json => ("/v1/messages", "application/json", self.json(channel, data)),
            PublishBody::Raw | PublishBody::Mqtt(_) => ("/", "text/plain", data.to_owned()),
        };
        let bearer = self.key.as_ref().map(|key| format!("Bearer {key}"));
        let mut headers = vec![("content-type", content_type)];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        let target = if self.url.path.is_empty() { path } else { &self.url.path };
        let target = &addressed(target, channel);
        let (host, body) = (self.url.host.as_str(), Some(body.as_bytes()));
        write_request(out, &Request { method: "POST", target, host, headers: &headers, body });
    }

    fn json(&self, channel: &str, data: &str) -> String {
        let mut body = serde_json::json!({ "channel": channel, "event": "message", "data": data });
        if let (Confirm::No, Some(members)) = (self.confirm, body.as_object_mut()) {
            members.insert("wait".into(), false.into());
        }
        body.to_string()
    }
}

/// A path with the channel in it.
fn addressed<'t>(target: &'t str, channel: &str) -> Cow<'t, str> {
    if !target.contains("{channel}") {
        return Cow::Borrowed(target);
    }
    let mut encoded = String::new();
    percent_encode(channel, &mut encoded);
    Cow::Owned(target.replace("{channel}", &encoded))
}

fn read_answers(mut stream: TcpStream, answers: &Mutex<Answers>) {
    let (mut held, mut buf) = (Vec::new(), vec![0; 64 << 10]);
    let trouble = loop {
        let read = match stream.read(&mut buf) {
            Ok(0) => break "connection closed".into(),
            Ok(read) => read,
            Err(error) => break error.to_string(),
        };
        held.extend_from_slice(buf.get(..read).unwrap_or_default());
        if let Err(trouble) = take_answers(&mut held, answers) {
            break trouble;
        }
    };
    if let Ok(mut answers) = answers.lock() {
        answers.trouble.get_or_insert(trouble);
    }
}

/// Counts the complete answers in `held` and removes them.
fn take_answers(held: &mut Vec<u8>, answers: &Mutex<Answers>) -> Result<(), String> {
    let mut start = 0;
    while let Some((bytes, status, body)) = answer(held.get(start..).unwrap_or_default())? {
        start += bytes;
        let Ok(mut answers) = answers.lock() else { break };
        if (200..300).contains(&status) {
            answers.accepted += 1;
        } else {
            answers.refused += 1;
            let body = String::from_utf8_lossy(&body).into_owned();
            answers.trouble.get_or_insert(format!("{status} {body:.300}"));
        }
    }
    held.drain(..start);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_an_object_or_the_bare_data() {
        let written = |url: &str, body| {
            let (url, channel) = (url.parse().unwrap(), "main".into());
            let mut out = Vec::new();
            Destination { url, channel, key: None, confirm: Confirm::No, body }.write("c", "#1", &mut out);
            String::from_utf8(out).unwrap()
        };
        let json = written("http://127.0.0.1:9", PublishBody::Json);
        assert!(json.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{json}");
        assert!(json.ends_with(r##"{"channel":"c","data":"#1","event":"message","wait":false}"##), "{json}");
        let raw = written("http://127.0.0.1:9/pub/main?a=b", PublishBody::Raw);
        assert!(raw.starts_with("POST /pub/main?a=b HTTP/1.1\r\n") && raw.ends_with("\r\n\r\n#1"), "{raw}");
        assert_eq!(addressed("/pub/{channel}", "comet/7"), "/pub/comet%2F7");
    }

    #[test]
    fn answers_are_counted_across_reads() {
        let answers = Mutex::new(Answers::default());
        let mut held = b"HTTP/1.1 202 A\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 O\r\ncontent-le".to_vec();
        take_answers(&mut held, &answers).unwrap();
        assert_eq!((answers.lock().unwrap().accepted, held.len()), (1, 26));
        held.extend_from_slice(b"ngth: 0\r\n\r\nHTTP/1.1 422 U\r\ncontent-length: 3\r\n\r\nbad");
        take_answers(&mut held, &answers).unwrap();
        let answers = answers.into_inner().unwrap();
        assert_eq!((answers.accepted, answers.refused), (2, 1));
        assert_eq!(answers.trouble.as_deref(), Some("422 bad"));
    }
}
