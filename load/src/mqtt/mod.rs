//! MQTT 3.1.1 and 5.0 from the client's side.
//!
//! Owns the client that everybody here shares, as bytes in, bytes out, and the [`Connection`] of a program that has one of them and
//! waits for it, such as `trunkline pub` and `sub`. Must not know scenarios or what is measured. Start at [`Client`].

mod address;
mod client;
mod connection;
mod exchanges;
mod framing;
mod login;
mod message;
mod stream;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use address::Address;
pub use client::Ending;
pub(crate) use client::{Client, Event, named};
pub use connection::{Connection, Retained, Start};
pub(crate) use framing::Framing;
pub use login::{Login, Session, Will};
pub use message::{Message, Properties, Received};
pub use stream::Trust;

/// How a client speaks, and how messages travel between it and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The protocol.
    pub version: Version,
    /// Of its subscription and of what it publishes.
    pub qos: Qos,
}

impl Default for Options {
    /// QoS 0 of 3.1.1, which every server knows.
    fn default() -> Self {
        Self { version: Version::V311, qos: Qos::AtMostOnce }
    }
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.0.
    V5,
}

/// Quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Qos {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
    /// QoS 2.
    ExactlyOnce,
}

impl Version {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        }
    }

    /// What CONNECT says of it.
    pub(crate) fn level(self) -> wire::mqtt::Level {
        match self {
            Self::V311 => wire::mqtt::Level::V311,
            Self::V5 => wire::mqtt::Level::V5,
        }
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "3.1.1" | "311" | "4" => Ok(Self::V311),
            "5" | "5.0" => Ok(Self::V5),
            _ => Err("known are 3.1.1 and 5".into()),
        }
    }
}

impl Qos {
    /// 0, 1 or 2.
    pub fn number(self) -> u8 {
        wire::mqtt::Qos::from(self).bits()
    }
}

impl FromStr for Qos {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "0" => Ok(Self::AtMostOnce),
            "1" => Ok(Self::AtLeastOnce),
            "2" => Ok(Self::ExactlyOnce),
            _ => Err("known are 0, 1 and 2".into()),
        }
    }
}

impl From<wire::mqtt::Qos> for Qos {
    fn from(qos: wire::mqtt::Qos) -> Self {
        match qos {
            wire::mqtt::Qos::AtMostOnce => Self::AtMostOnce,
            wire::mqtt::Qos::AtLeastOnce => Self::AtLeastOnce,
            wire::mqtt::Qos::ExactlyOnce => Self::ExactlyOnce,
        }
    }
}

impl From<Qos> for wire::mqtt::Qos {
    fn from(qos: Qos) -> Self {
        match qos {
            Qos::AtMostOnce => Self::AtMostOnce,
            Qos::AtLeastOnce => Self::AtLeastOnce,
            Qos::ExactlyOnce => Self::ExactlyOnce,
        }
    }
}
