//! What a request for a stream asks for.
//!
//! Owns the names of the parameters and their forms. Must not know which channels there are, who may read them, or which
//! limits hold. Start at [`Params::read`].

use std::fmt;

use super::position::Token;
use crate::http::pairs;

/// The parameters of one request. Names that mean nothing here are left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// Channels and filters in their order, each once.
    pub channels: Vec<String>,
    /// Where to go on.
    pub resume: Resume,
    /// The last so many messages come first.
    pub history: Option<u32>,
    /// The value that each channel retains comes first.
    pub retained: Wanted,
    /// The stream ends after so many messages; a poll has at most so many.
    pub limit: Option<u32>,
    /// Data of server-sent events.
    pub mode: Mode,
    /// How long a poll waits. Seconds.
    pub wait_seconds: Option<u32>,
}

/// Where a client says it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// It says nothing: only new messages.
    #[default]
    Nowhere,
    /// There.
    After(Token),
    /// It was reading, but what it gives back was not written here. A header comes from a program, not from a person who could
    /// mend it, so that is a position that is lost.
    Lost,
}

/// What the data of a server-sent event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The content of the message.
    #[default]
    Bare,
    /// An object that names channel, event and position, too.
    Envelope,
}

/// Whether something that is left out otherwise is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// It is not.
    #[default]
    No,
    /// It is.
    Yes,
}

/// A parameter has a form that it may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamError {
    /// Which.
    pub name: &'static str,
    /// What it must be.
    pub wanted: &'static str,
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}", self.name, self.wanted)
    }
}

impl std::error::Error for ParamError {}

const NUMBER: &str = "a number from 0 to 4294967295";

impl Params {
    /// Reads a query, and the value of the header `last-event-id`. The header wins over `last_event_id`, which wins over `after`:
    /// a client that comes back asks by the same URL as the first time.
    ///
    /// # Errors
    /// The first parameter that has no valid form.
    pub fn read(query: &str, last_event_id: Option<&str>) -> Result<Self, ParamError> {
        let mut params = Self::default();
        let (mut after, mut last) = (None, None);
        for (name, value) in pairs(query) {
            match name.as_ref() {
                "channel" => params.want(&value),
                "after" => {
                    let wanted = "a position that this server gave out";
                    after = Some(Token::parse(&value).ok_or(ParamError { name: "after", wanted })?);
                }
                "last_event_id" => last = Some(value.into_owned()),
                "history" => params.history = Some(number("history", &value)?),
                "limit" => {
                    params.limit = Some(number("limit", &value)?).filter(|limit| *limit > 0);
                    if params.limit.is_none() {
                        return Err(ParamError { name: "limit", wanted: "at least 1" });
                    }
                }
                "wait" => params.wait_seconds = Some(number("wait", &value)?),
                "envelope" => {
                    params.mode = if truth("envelope", &value)? { Mode::Envelope } else { Mode::Bare };
                }
                "retained" => {
                    params.retained = if truth("retained", &value)? { Wanted::Yes } else { Wanted::No };
                }
                _ => {}
            }
        }
        let last =
            last_event_id.filter(|text| !text.is_empty()).or(last.as_deref().filter(|text| !text.is_empty()));
        params.resume = match (last, after) {
            (Some(text), _) => Token::parse(text).map_or(Resume::Lost, Resume::After),
            (None, Some(token)) => Resume::After(token),
            (None, None) => Resume::Nowhere,
        };
        Ok(params)
    }
}

impl Params {
    /// One channel more, unless it is there.
    fn want(&mut self, channel: &str) {
        if !self.channels.iter().any(|known| known == channel) {
            self.channels.push(channel.to_owned());
        }
    }
}

fn number(name: &'static str, text: &str) -> Result<u32, ParamError> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = Some(text).filter(|_| is_plain).and_then(|text| text.parse().ok());
    number.ok_or(ParamError { name, wanted: NUMBER })
}

fn truth(name: &'static str, text: &str) -> Result<bool, ParamError> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(ParamError { name, wanted: "1, 0, true or false" }),
    }
}
