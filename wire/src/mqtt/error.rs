//! Why bytes are refused, and how the peer is to learn of it.
//!
//! Owns the form of an error. Must not know the table of codes (see `reason`) nor what a connection has sent so far.
//! Start at [`Error`].

use std::fmt;

use super::{ReasonCode, Version};

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// How to answer before closing.
    pub answer: Answer,
    /// What is wrong, for the Reason String and for the author of the peer. Never built from what came.
    pub text: &'static str,
}

/// The last packet a peer gets before the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// None.
    Silence,
    /// This code: in CONNACK as long as that has not been sent, in DISCONNECT later. To a client of version 3, none.
    Code(ReasonCode),
    /// CONNACK in the form of this version, because CONNECT itself is wrong and so the caller knows no version. For
    /// version 3 the code always has a return code.
    ConnAck(Version, ReasonCode),
}

impl Error {
    /// The same fault found in a CONNECT of this version.
    pub(super) fn in_connect(self, version: Version) -> Self {
        let answer = match (self.answer, version) {
            (Answer::Code(code), Version::V3) if code.v3_return_code().is_none() => Answer::Silence,
            (Answer::Code(code), version) => Answer::ConnAck(version, code),
            (answer, _) => answer,
        };
        Self { answer, ..self }
    }

    /// The code of the answer, if there is one.
    pub const fn code(&self) -> Option<ReasonCode> {
        match self.answer {
            Answer::Silence => None,
            Answer::Code(code) | Answer::ConnAck(_, code) => Some(code),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code() {
            Some(code) => write!(f, "{} ({:#04x})", self.text, code.byte()),
            None => f.write_str(self.text),
        }
    }
}

impl std::error::Error for Error {}

/// What the parts of a decoder find: one of the constants [`fault`] makes. A reference, so that the result of reading a
/// field fits registers; an [`Error`] is made of it once, where decoding ends.
#[derive(Debug)]
pub(super) struct Fault {
    code: Option<ReasonCode>,
    text: &'static str,
}

impl Fault {
    /// The bytes cannot be parsed (MQTT 5.0, 4.13).
    pub(super) const fn malformed(text: &'static str) -> Self {
        Self::with(ReasonCode::MalformedPacket, text)
    }

    /// They can, but not here, not now or not with these values (MQTT 5.0, 4.13).
    pub(super) const fn protocol(text: &'static str) -> Self {
        Self::with(ReasonCode::ProtocolError, text)
    }

    /// A fault with a code of its own.
    pub(super) const fn with(code: ReasonCode, text: &'static str) -> Self {
        Self { code: Some(code), text }
    }

    /// A fault that is not worth a packet.
    pub(super) const fn silent(text: &'static str) -> Self {
        Self { code: None, text }
    }
}

impl From<&'static Fault> for Error {
    #[cold]
    fn from(fault: &'static Fault) -> Self {
        Self { answer: fault.code.map_or(Answer::Silence, Answer::Code), text: fault.text }
    }
}

/// A reference to a constant [`Fault`], by the name of its constructor.
macro_rules! fault {
    ($kind:ident($($argument:expr),+)) => {
        const { &$crate::mqtt::error::Fault::$kind($($argument),+) }
    };
}
pub(super) use fault;
