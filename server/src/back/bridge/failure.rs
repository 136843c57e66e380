//! Why a bridge has no connection, or has lost it.
//!
//! Must not know what is done about it. Start at [`Failure`].

use std::io;

use wire::mqtt::{Error, ReasonCode};

use super::topics::Side;
use crate::back::office::OfficeError;

/// The end of a connection, or of the way to one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The broker cannot be reached.
    #[error("cannot connect: {0}")]
    Dial(io::Error),
    /// Nobody is found under its name.
    #[error("the host has no address")]
    NoAddress,
    /// Its certificate, or ours of authorities.
    #[error("TLS: {0}")]
    Tls(String),
    /// The password cannot be read.
    #[error("password_file: {0}")]
    Password(io::Error),
    /// Nothing was heard for longer than it may take.
    #[error("{side} did not answer in time", side = .0.name())]
    Late(Side),
    /// The socket failed.
    #[error("the connection to {side} failed: {error}", side = .0.name(), error = .1)]
    Socket(Side, io::Error),
    /// It ended without a word.
    #[error("{side} closed the connection", side = .0.name())]
    Closed(Side),
    /// It ended before CONNACK.
    #[error("{side} closed the connection instead of answering CONNECT{hint}", side = .0.name(), hint = .1)]
    Unanswered(Side, &'static str),
    /// CONNACK said no.
    #[error(
        "{side} refused the connection: {code:#04x} {name}{text}",
        side = .0.name(), code = .1.byte(), name = .1.name(), text = .2
    )]
    Refused(Side, ReasonCode, String),
    /// The broker answered in version 3.1.1 that it knows no other.
    #[error("the broker does not speak MQTT 5: set version = \"3.1.1\"")]
    OldVersion,
    /// DISCONNECT.
    #[error(
        "{side} ended the connection: {code:#04x} {name}{text}",
        side = .0.name(), code = .1.byte(), name = .1.name(), text = .2
    )]
    Disconnected(Side, ReasonCode, String),
    /// It broke the protocol.
    #[error("{side} broke the protocol: {error}", side = .0.name(), error = .1)]
    Fault(Side, Error),
    /// It did what the protocol does not have there.
    #[error("{side} broke the protocol: {what}", side = .0.name(), what = .1)]
    Misplaced(Side, &'static str),
    /// What is to be said has no form.
    #[error("{0} is too long for MQTT")]
    TooLong(&'static str),
    /// The server takes no connection of its own any more.
    #[error("this server takes no connection: {0}")]
    NoHome(OfficeError),
    /// It does not say what a bridge has to know first, or does not keep it.
    #[error("this server, asked for {0}: {1}")]
    Unsaid(&'static str, OfficeError),
    /// The session that it has just let in is not there.
    #[error("this server has no session for the bridge")]
    NoSession,
}

/// A reason string, as it is put behind a code.
pub(super) fn told(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!(", {text}"))
}
