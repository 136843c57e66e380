//! What a stream says, in each of its forms.
//!
//! Must not know who reads it. Start at [`Form`].

use super::content;
use super::position::Position;
use super::sse;

/// How a stream looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Server-sent events: `id:`, `event:` and `data:` lines.
    Sse,
    /// The same, with the object of [`Form::Ndjson`] as data.
    SseEnvelope,
    /// An object per line: `{"position":..,"channel":..,"event":..,"data":..}`, or `"data_base64"` for what is no UTF-8.
    Ndjson,
    /// The same objects, without line ends: for [`poll_answer`].
    Object,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where it was published.
    pub channel: &'a str,
    /// Its name, where the publisher gave one.
    pub event: Option<&'a str>,
    /// Its content.
    pub payload: &'a [u8],
}

/// What the server says of the stream itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notice<'a> {
    /// Whether everything since the position that the client named was there; nothing for a client that named none.
    pub recovered: Option<bool>,
    /// The channel or filter it is about, unless it is about all.
    pub channel: Option<&'a str>,
    /// Where the stream stands now.
    pub position: Option<&'a str>,
}

impl Form {
    /// The media type of the response.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Sse | Self::SseEnvelope => "text/event-stream",
            Self::Ndjson => "application/x-ndjson",
            Self::Object => "application/json",
        }
    }

    /// What is said when there is nothing to say: clients and proxies see that the connection is alive.
    pub fn heartbeat(self) -> &'static [u8] {
        match self {
            Self::Sse | Self::SseEnvelope => b":\n\n",
            Self::Ndjson => b"{}\n",
            Self::Object => b"",
        }
    }

    /// Appends a message, up to where the part begins that does not depend on its reader. `token` is where the reader stands
    /// behind it.
    pub fn head(self, entry: &Entry<'_>, token: Option<&str>, out: &mut Vec<u8>) {
        if let (Self::Sse | Self::SseEnvelope, Some(token)) = (self, token) {
            sse::field("id", token, out);
        }
        match self {
            Self::Sse => {}
            Self::SseEnvelope => {
                sse::event(entry.event, out);
                out.extend_from_slice(b"data: ");
                opening(token, out);
            }
            Self::Ndjson | Self::Object => opening(token, out),
        }
    }

    /// Appends that part.
    pub fn tail(self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Sse => {
                sse::event(entry.event, out);
                match std::str::from_utf8(entry.payload) {
                    Ok(text) => sse::data(text, out),
                    Err(_) => {
                        out.extend_from_slice(b"data: ");
                        content::base64(entry.payload, out);
                        out.push(b'\n');
                    }
                }
                out.push(b'\n');
            }
            Self::SseEnvelope => {
                members(entry, out);
                out.extend_from_slice(b"\n\n");
            }
            Self::Ndjson => {
                members(entry, out);
                out.push(b'\n');
            }
            Self::Object => members(entry, out),
        }
    }

    /// Appends a whole message; `position` is its own place in its channel.
    pub fn message(self, entry: &Entry<'_>, position: Option<Position>, out: &mut Vec<u8>) {
        let token = position.map(|position| position.to_string());
        self.head(entry, token.as_deref(), out);
        self.tail(entry, out);
    }

    /// Appends what the server says of the stream.
    pub fn notice(self, notice: &Notice<'_>, out: &mut Vec<u8>) {
        if let Self::Sse | Self::SseEnvelope = self {
            notice.position.into_iter().for_each(|token| sse::field("id", token, out));
            sse::field("event", sse::NOTICE, out);
            out.extend_from_slice(b"data: ");
        }
        notice.write(out);
        match self {
            Self::Sse | Self::SseEnvelope => out.extend_from_slice(b"\n\n"),
            Self::Ndjson => out.push(b'\n'),
            Self::Object => {}
        }
    }
}

impl Notice<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut separator = b'{';
        let mut name = |name: &str, out: &mut Vec<u8>| {
            out.push(std::mem::replace(&mut separator, b','));
            content::string(name, out);
            out.push(b':');
        };
        if let Some(recovered) = self.recovered {
            name("recovered", out);
            out.extend_from_slice(if recovered { b"true" } else { b"false" });
        }
        for (key, value) in [("channel", self.channel), ("position", self.position)] {
            if let Some(value) = value {
                name(key, out);
                content::string(value, out);
            }
        }
        if separator == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
    }
}

fn opening(token: Option<&str>, out: &mut Vec<u8>) {
    out.push(b'{');
    if let Some(token) = token {
        out.extend_from_slice(b"\"position\":");
        content::string(token, out);
        out.push(b',');
    }
}

fn members(entry: &Entry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"channel\":");
    content::string(entry.channel, out);
    if let Some(event) = entry.event {
        out.extend_from_slice(b",\"event\":");
        content::string(event, out);
    }
    out.push(b',');
    content::member(entry.payload, out);
    out.push(b'}');
}

/// Appends the answer to a long poll: messages as [`Form::Object`], and where the client stands behind them.
pub fn poll_answer<'a>(
    messages: impl IntoIterator<Item = &'a [u8]>,
    position: Option<&str>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"messages\":[");
    for (place, message) in messages.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(message);
    }
    out.extend_from_slice(b"],\"position\":");
    match position {
        Some(token) => content::string(token, out),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}
