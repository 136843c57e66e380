//! Publishing as a back end does, over HTTP; or, at servers whose publishers are clients like all others, as a client of MQTT.
//!
//! Owns where messages go. Must not know who receives. Start at [`Publisher::connect`].

mod http;
mod mqtt;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use wire::http::{Request, write_request};

use crate::comeback::{Comeback, CutPlan};
use crate::error::Error;
use crate::http::answer;
use crate::message::Batch;
use crate::mqtt::Options;
use crate::pool::{Channel, Counts, Publish};
use crate::schedule::Schedule;
use crate::target::Target;
use http::Http;
use mqtt::Mqtt;

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How long the page of metrics may take.
const METRICS_WITHIN: Duration = Duration::from_secs(2);

/// Where messages are published.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The private port; the path is `/v1/messages` if none is given. Of MQTT the port of clients.
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
    /// No HTTP: the data is the payload of a PUBLISH, said by a client.
    Mqtt(Options),
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

/// Connections to where messages are published.
pub(crate) struct Publisher {
    channel: String,
    doors: Doors,
}

enum Doors {
    Http(Vec<Http>),
    Mqtt(Mqtt),
}

impl Publisher {
    /// Connects once.
    pub(crate) fn connect(destination: &Destination) -> Result<Self, Error> {
        Self::connect_several(destination, 1)
    }

    /// Connects so many times; which connection a message takes follows from its channel.
    pub(crate) fn connect_several(destination: &Destination, connections: u32) -> Result<Self, Error> {
        let doors = match destination.body {
            PublishBody::Json | PublishBody::Raw => {
                let each = (0..connections).map(|_| Http::connect(destination));
                Doors::Http(each.collect::<Result<_, _>>()?)
            }
            PublishBody::Mqtt(options) => {
                Doors::Mqtt(Mqtt::connect(&destination.url, options, (connections, None))?)
            }
        };
        Ok(Self { channel: destination.channel.clone(), doors })
    }

    /// Connects once, for a run in which connections are cut. A client of MQTT then keeps what is not acknowledged, comes
    /// back and sends it again; at QoS 0 and over HTTP there is nothing like that.
    pub(crate) fn connect_to_last(destination: &Destination, comeback: Comeback) -> Result<Self, Error> {
        match destination.body {
            PublishBody::Mqtt(options) if options.qos > crate::mqtt::Qos::AtMostOnce => {
                let client = Mqtt::connect(&destination.url, options, (1, Some(comeback)))?;
                Ok(Self { channel: destination.channel.clone(), doors: Doors::Mqtt(client) })
            }
            _ => Self::connect(destination),
        }
    }

    /// Cuts the connection now and then, or no longer, if it was made to last.
    pub(crate) fn cut(&self, cuts: Option<CutPlan>) {
        if let Doors::Mqtt(client) = &self.doors {
            client.cut(cuts);
        }
    }

    /// What happened to connections that were made to last.
    pub(crate) fn counts(&self) -> Option<Counts> {
        match &self.doors {
            Doors::Http(_) => None,
            Doors::Mqtt(client) => client.lasting_counts(),
        }
    }

    /// Publishes the messages of a batch in one write, without waiting for answers.
    pub(crate) fn publish(&mut self, batch: &Batch) -> Result<(), Error> {
        let numbers = batch.numbers.clone();
        let schedule = Schedule { first: numbers.start, start_ns: batch.due_ns, interval_ns: 0.0 };
        let channel = Channel::One(self.channel.clone());
        self.send(numbers, schedule, (batch.payload_bytes, channel))
    }

    /// Publishes messages to channels that are picked at random: the destination's, filled in.
    pub(crate) fn publish_picked(
        &mut self,
        numbers: Range<u32>,
        schedule: Schedule,
        payload_bytes: usize,
        (seed, among): (u64, u32),
    ) -> Result<(), Error> {
        let channel = Channel::Picked { template: self.channel.clone(), seed, among };
        self.send(numbers, schedule, (payload_bytes, channel))
    }

    fn send(
        &mut self,
        numbers: Range<u32>,
        schedule: Schedule,
        (payload_bytes, channel): (usize, Channel),
    ) -> Result<(), Error> {
        match &mut self.doors {
            Doors::Http(doors) => {
                let clients = 0..doors.len() as u32;
                let publish = Publish { clients, numbers, schedule, payload_bytes, channel };
                let mut each = doors.iter_mut().enumerate();
                each.try_for_each(|(place, door)| door.publish(place as u32, &publish))
            }
            Doors::Mqtt(client) => {
                let clients = 0..client.publishers();
                client.publish(Publish { clients, numbers, schedule, payload_bytes, channel })
            }
        }
    }

    /// Waits until everything is answered; an error if something was refused. At QoS 0 of MQTT, where nothing is, until the
    /// server has read it.
    pub(crate) fn wait_answered(&self) -> Result<(), Error> {
        match &self.doors {
            Doors::Http(doors) => doors.iter().try_for_each(Http::wait_answered),
            Doors::Mqtt(client) => client.wait_answered(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_over_their_labels() {
        let page = "# TYPE a counter\na{shard=\"0\"} 3\na{shard=\"1\"} 4\nab 100\nb 5\n";
        assert_eq!((sum(page, "a"), sum(page, "b"), sum(page, "c")), (Some(7), Some(5), None));
    }
}
