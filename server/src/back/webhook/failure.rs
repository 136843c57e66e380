//! Why there is no answer to a request.
//!
//! Must not know what is done about it. Start at [`Failure`].

use crate::back::dial::DialError;

/// The end of a request without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody is reached there.
    #[error("cannot connect: {0}")]
    Dial(String),
    /// The name has no address, or none to which requests may go without TLS.
    #[error("the host has no address that may be used; without TLS that is loopback and private ones")]
    NoAddress,
    /// Its certificate, or ours of authorities.
    #[error("TLS: {0}")]
    Tls(String),
    /// The connection ended before the answer did.
    #[error("the connection ended without an answer: {0}")]
    Cut(String),
    /// The time is over.
    #[error("no answer in time")]
    Late,
    /// The answer is too large.
    #[error("the answer is larger than answer_bytes_max")]
    LargeAnswer,
    /// The event is too large.
    #[error("the event is larger than event_bytes_max")]
    LargeEvent,
    /// The answer says nothing that can be understood.
    #[error("the answer is not of the form that is asked for: {0}")]
    Garbage(String),
    /// The answer has a status that is neither yes nor no.
    #[error("the answer has status {0}")]
    Status(u16),
    /// The server ends.
    #[error("the server is shutting down")]
    Stopped,
}

impl Failure {
    /// Whether the next answer to the same request may well be another.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Dial(_) | Self::Cut(_) | Self::Garbage(_) | Self::LargeAnswer => true,
            Self::Status(status) => *status >= 500 || *status == 429,
            Self::NoAddress | Self::Tls(_) | Self::Late | Self::LargeEvent | Self::Stopped => false,
        }
    }

    /// Whether the same request may be tried again at once: nobody is known to have read it.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(self, Self::Dial(_) | Self::Cut(_))
    }
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        match error {
            DialError::NoAddress => Self::NoAddress,
            DialError::Io(error) => Self::Dial(error.to_string()),
            DialError::Late => Self::Dial("no answer".to_owned()),
            DialError::Tls(text) => Self::Tls(text),
        }
    }
}
