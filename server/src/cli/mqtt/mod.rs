//! The client's side of `pub` and `sub`: MQTT, of this server or any other.
//!
//! Owns the arguments that both have. The client itself is the crate `load`'s, the same that `bench` uses. Start at
//! [`ClientArgs`].

mod publish;
mod subscribe;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use load::mqtt::{Address, Connection, Login, Message, Properties, Qos, Session, Trust, Version, Will};

use super::Failure;
pub(super) use publish::MqttPublish;
pub(super) use subscribe::{Format, MqttSubscribe};

/// The public port of `trunkline dev`.
const URL: &str = "mqtt://127.0.0.1:8000";

/// How long the server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Who the client is
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of MQTT, with --topic")]
pub(super) struct ClientArgs {
    /// Quality of service: 0, 1 or 2
    #[arg(long, value_name = "N", default_value = "0", conflicts_with = "place")]
    qos: Qos,
    /// Version of the protocol: 5 or 3.1.1
    #[arg(long, value_name = "VERSION", default_value = "5", conflicts_with = "place")]
    mqtt_version: Version,
    /// Name of the client [default: the server chooses one]
    #[arg(long, value_name = "ID", conflicts_with = "place")]
    id: Option<String>,
    /// User name
    #[arg(long, value_name = "NAME", conflicts_with = "place")]
    user: Option<String>,
    /// Password; better given by the variable, since arguments can be seen
    #[arg(long, value_name = "TEXT", env = "TRUNKLINE_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Take up the session that the client had, and let the server keep it for so many seconds; needs --id
    #[arg(long, value_name = "SECONDS", requires = "id")]
    session: Option<u32>,
    /// Seconds without a sign of life after which the server takes the client for dead; 0 = never
    #[arg(long, value_name = "SECONDS", default_value_t = 60, conflicts_with = "place")]
    keep_alive: u16,
    /// Certificates of the authorities that are believed, as PEM [default: those of the system]
    #[arg(long, value_name = "FILE", conflicts_with = "place")]
    ca_file: Option<PathBuf>,
    #[command(flatten)]
    will: WillArgs,
}

/// What the server publishes when the client is gone without goodbye
#[derive(Debug, Args)]
struct WillArgs {
    /// Topic to which the server publishes when the client is gone without goodbye
    #[arg(long, value_name = "TOPIC", conflicts_with = "place")]
    will_topic: Option<String>,
    /// What it publishes there
    #[arg(long, value_name = "TEXT", default_value = "", requires = "will_topic")]
    will_message: String,
    /// Its quality of service
    #[arg(long, value_name = "N", default_value = "0", requires = "will_topic")]
    will_qos: Qos,
    /// Let the server keep it for those who subscribe later
    #[arg(long, requires = "will_topic")]
    will_retain: bool,
    /// How long the server waits with it; version 5 only
    #[arg(long, value_name = "SECONDS", default_value_t = 0, requires = "will_topic")]
    will_delay: u32,
}

impl ClientArgs {
    /// Connects; `url` is where to, if that was said.
    fn open(&self, url: Option<&str>) -> Result<Connection, Failure> {
        let address = address(url)?;
        let trust = Trust { authorities: self.ca_file.clone() };
        Ok(Connection::open(&address, &trust, &self.login()?, ANSWER_WITHIN)?)
    }

    fn login(&self) -> Result<Login, Failure> {
        if self.mqtt_version == Version::V311 && self.password.is_some() && self.user.is_none() {
            return Err("a password needs --user in version 3.1.1".into());
        }
        if self.mqtt_version == Version::V311 && self.will.will_delay > 0 {
            return Err("--will-delay needs --mqtt-version 5".into());
        }
        Ok(Login {
            version: self.mqtt_version,
            client_id: self.id.clone().unwrap_or_default(),
            user: self.user.clone(),
            password: self.password.clone(),
            session: self.session.map_or(Session::New, Session::Lasting),
            keep_alive_seconds: self.keep_alive,
            will: self.will.will(),
            user_properties: Vec::new(),
        })
    }
}

impl WillArgs {
    fn will(&self) -> Option<Will> {
        let message = Message {
            topic: self.will_topic.clone()?,
            payload: self.will_message.clone().into_bytes(),
            qos: self.will_qos,
            retain: self.will_retain,
            properties: Properties::default(),
        };
        Some(Will { message, delay_seconds: self.will_delay })
    }
}

/// `TRUNKLINE_URL` may say where the private port is, which is not what is meant here.
fn address(url: Option<&str>) -> Result<Address, Failure> {
    let url = url.unwrap_or(URL);
    if !Address::is_meant_by(url) {
        return Err(Failure(format!(
            "{url}: --topic is for MQTT, which needs --url mqtt://HOST:PORT, mqtts://, ws:// or wss://"
        )));
    }
    url.parse().map_err(|error| Failure(format!("{url}: {error}")))
}
