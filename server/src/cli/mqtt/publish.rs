//! `trunkline pub --topic`. Start at [`MqttPublish`].

use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use load::mqtt::{Connection, Message, Properties, Version};

use super::{ANSWER_WITHIN, ClientArgs};
use crate::cli::{Failure, print};

/// Messages that may be without acknowledgement while more are read.
const ON_THEIR_WAY_MAX: usize = 1000;

/// What is published by MQTT
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of MQTT, with --topic")]
pub(in crate::cli) struct MqttPublish {
    /// Publish as a client of MQTT, to this topic
    #[arg(long, short, value_name = "TOPIC")]
    topic: Option<String>,
    /// What to send
    #[arg(long, short, value_name = "TEXT", group = "payload", conflicts_with = "place")]
    message: Option<String>,
    /// Send what is in this file; - is standard input
    #[arg(long, short, value_name = "FILE", group = "payload", conflicts_with = "place")]
    file: Option<PathBuf>,
    /// Send each line of standard input as a message of its own
    #[arg(long, short, group = "payload", conflicts_with = "place")]
    lines: bool,
    /// Let the server keep it for those who subscribe later; an empty one removes what is kept
    #[arg(long, short, conflicts_with = "place")]
    retain: bool,
    #[command(flatten)]
    properties: PropertyArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// What goes with a message in version 5
#[derive(Debug, Args)]
struct PropertyArgs {
    /// Goes with the message; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, conflicts_with = "place")]
    user_property: Vec<(String, String)>,
    /// What the payload is, application/json for example
    #[arg(long, value_name = "TYPE", conflicts_with = "place")]
    content_type: Option<String>,
    /// Topic where an answer is expected
    #[arg(long, value_name = "TOPIC", conflicts_with = "place")]
    response_topic: Option<String>,
    /// Comes back with the answer
    #[arg(long, value_name = "TEXT", conflicts_with = "place")]
    correlation_data: Option<String>,
    /// Seconds until nobody wants it any more
    #[arg(long, value_name = "SECONDS", conflicts_with = "place")]
    expiry: Option<u32>,
    /// Say that the payload is text
    #[arg(long, conflicts_with = "place")]
    text: bool,
}

impl MqttPublish {
    /// Publishes, waits until the server has it, and tells how much that was.
    pub(in crate::cli) fn run(&self, url: Option<&str>) -> Result<(), Failure> {
        let topic = self.topic.as_deref().ok_or("--topic is missing")?;
        // A mistake is told before there is a connection.
        let whole = self.whole()?;
        let properties = self.properties.properties(self.client.mqtt_version)?;
        let message = |payload| Message {
            topic: topic.to_owned(),
            payload,
            qos: self.client.qos,
            retain: self.retain,
            properties: properties.clone(),
        };
        let mut connection = self.client.open(url)?;
        let mut sent = Sent::default();
        match whole {
            Some(payload) => sent.one(&mut connection, &message(payload))?,
            None => {
                for line in std::io::stdin().lock().split(b'\n') {
                    sent.one(&mut connection, &message(line?))?;
                }
            }
        }
        sent.nobody += connection.wait_published(0, ANSWER_WITHIN)?;
        connection.settle(ANSWER_WITHIN)?;
        connection.close()?;
        print(&sent.report(topic))
    }

    /// The payload of the one message there is; none if lines are messages.
    fn whole(&self) -> Result<Option<Vec<u8>>, Failure> {
        match (&self.message, &self.file) {
            (Some(text), _) => Ok(Some(text.clone().into_bytes())),
            (None, Some(path)) => Ok(Some(content(path)?)),
            (None, None) if self.lines => Ok(None),
            (None, None) => Err("what is to be published? --message, --file or --lines".into()),
        }
    }
}

/// How much was published.
#[derive(Debug, Default)]
struct Sent {
    messages: u64,
    /// Where the server said that nobody is subscribed.
    nobody: u64,
}

impl Sent {
    fn one(&mut self, connection: &mut Connection, message: &Message) -> Result<(), Failure> {
        connection.publish(message)?;
        self.messages += 1;
        if connection.on_their_way() > ON_THEIR_WAY_MAX {
            self.nobody += connection.wait_published(ON_THEIR_WAY_MAX / 2, ANSWER_WITHIN)?;
        }
        Ok(())
    }

    fn report(&self, topic: &str) -> String {
        let Self { messages, nobody } = self;
        match nobody {
            0 => format!("{topic}: published {messages}\n"),
            _ => format!("{topic}: published {messages}, to nobody {nobody}\n"),
        }
    }
}

impl PropertyArgs {
    fn properties(&self, version: Version) -> Result<Properties, Failure> {
        let properties = Properties {
            is_text: self.text,
            expiry_seconds: self.expiry,
            content_type: self.content_type.clone(),
            response_topic: self.response_topic.clone(),
            correlation_data: self.correlation_data.clone().map(String::into_bytes),
            user: self.user_property.clone(),
        };
        match version {
            Version::V311 if !properties.is_empty() => {
                Err("what goes with a message besides its payload needs --mqtt-version 5".into())
            }
            _ => Ok(properties),
        }
    }
}

fn content(path: &Path) -> Result<Vec<u8>, Failure> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(path).map_err(|error| Failure(format!("{}: {error}", path.display())))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
