//! Publishing as a back end does: `POST /v1/messages` over one kept connection, several requests on their way; or the bare data
//! to whatever address another server takes it at.
//!
//! Owns requests and answers. Must not know who receives. Start at [`Publisher::connect`].

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wire::http::{Request, write_request};

use crate::error::Error;
use crate::http::answer;
use crate::message::Batch;
use crate::target::Target;

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How long the page of metrics may take.
const METRICS_WITHIN: Duration = Duration::from_secs(2);

/// Where messages are published.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The private port; the path is `/v1/messages` if none is given.
    pub url: Target,
    /// The channel.
    pub channel: String,
    /// Sent as bearer token, if there is one.
    pub key: Option<String>,
    /// Whether the server is asked to count what it delivered before it answers.
    pub confirm: Confirm,
    /// What a request holds.
    pub body: PublishBody,
}

/// See [`Destination::body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishBody {
    /// An object with channel, event and data, as this product takes it.
    Json,
    /// The data and nothing else, to exactly the path and query of the URL, which then names the channel.
    Raw,
}

impl FromStr for PublishBody {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "raw" => Ok(Self::Raw),
            _ => Err("known are json and raw".into()),
        }
    }
}

/// See [`Destination::confirm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// `"wait": false`.
    No,
    /// The server's default.
    Yes,
}

impl Destination {
    /// Appends the request that publishes `data` to a channel; raw bodies go to the address alone.
    fn write(&self, channel: &str, data: &str, out: &mut Vec<u8>) {
        let (path, content_type, body) = match self.body {
            PublishBody::Json => ("/v1/messages", "application/json", self.json(channel, data)),
            PublishBody::Raw => ("/", "text/plain", data.to_owned()),
        };
        let bearer = self.key.as_ref().map(|key| format!("Bearer {key}"));
        let mut headers = vec![("content-type", content_type)];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        let target = if self.url.path.is_empty() { path } else { &self.url.path };
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

/// What the server answered so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    /// Why the first one was refused, or why no more will come.
    pub(crate) trouble: Option<String>,
}

/// One connection to the private port.
pub(crate) struct Publisher {
    stream: TcpStream,
    destination: Destination,
    answers: Arc<Mutex<Answers>>,
    reader: Option<JoinHandle<()>>,
    sent: u64,
}

impl Publisher {
    /// Connects.
    pub(crate) fn connect(destination: &Destination) -> Result<Self, Error> {
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

    /// Publishes the messages of a batch in one write, without waiting for answers.
    pub(crate) fn publish(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut out = Vec::new();
        self.sent += batch.numbers.len() as u64;
        batch.data().for_each(|data| self.destination.write(&self.destination.channel, &data, &mut out));
        self.send(&out)
    }

    /// Publishes one message to a channel that is not the destination's.
    pub(crate) fn publish_to(&mut self, channel: &str, data: &str) -> Result<(), Error> {
        let mut out = Vec::new();
        self.sent += 1;
        self.destination.write(channel, data, &mut out);
        self.send(&out)
    }

    fn send(&mut self, requests: &[u8]) -> Result<(), Error> {
        let written = self.stream.write_all(requests);
        written.map_err(|error| {
            let trouble = self.answers().trouble.unwrap_or_default();
            Error::io(format!("publishing to {} {trouble}", self.destination.url.host), &error)
        })
    }

    /// What came back.
    pub(crate) fn answers(&self) -> Answers {
        self.answers.lock().map(|answers| answers.clone()).unwrap_or_default()
    }

    /// Waits until every request is answered; an error if one was refused.
    pub(crate) fn wait_answered(&self) -> Result<(), Error> {
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

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// The sum of a counter in the server's `/metrics`; `None` if it has no such page or counter.
pub(crate) fn metric(url: &Target, name: &str) -> Option<u64> {
    let mut stream = TcpStream::connect_timeout(&url.address, METRICS_WITHIN).ok()?;
    stream.set_read_timeout(Some(METRICS_WITHIN)).ok()?;
    let mut out = Vec::new();
    let (method, target, host) = ("GET", "/metrics", url.host.as_str());
    write_request(&mut out, &Request { method, target, host, headers: &[], body: None });
    stream.write_all(&out).ok()?;
    let (mut held, mut buf) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        if let Some((_, 200, body)) = answer(&held).ok()? {
            return sum(&String::from_utf8_lossy(&body), name);
        }
        let read = stream.read(&mut buf).ok().filter(|read| *read > 0)?;
        held.extend_from_slice(buf.get(..read)?);
    }
}

/// Adds up the samples of a metric over its labels (Prometheus text format).
fn sum(page: &str, name: &str) -> Option<u64> {
    let samples = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest.strip_prefix(' ')? };
        value.trim().parse::<f64>().ok()
    });
    samples.map(|value| value as u64).reduce(|a, b| a + b)
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
    fn metrics_are_summed_over_their_labels() {
        let page = "# TYPE a counter\na{shard=\"0\"} 3\na{shard=\"1\"} 4\nab 100\nb 5\n";
        assert_eq!((sum(page, "a"), sum(page, "b"), sum(page, "c")), (Some(7), Some(5), None));
    }

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
