//! An HTTP response as the handler describes it.

use bytes::Bytes;
use smallvec::SmallVec;
use std::borrow::Cow;
use wire::http::{BodyForm, Reply};

/// What to answer to a request. Framing, `connection` and `content-length` are added when it is written.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// Status code, 200 to 599.
    pub status: u16,
    /// Further fields. One with a control character in its value is left out.
    pub headers: SmallVec<[(&'static str, Cow<'static, str>); 4]>,
    /// The content, in pieces that are sent one after the other.
    pub body: SmallVec<[Bytes; 1]>,
    /// Close the connection afterwards, whatever the client wished.
    pub close: bool,
}

impl Response {
    /// An empty response.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Adds a field; `name` in lower case.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sets the content.
    #[must_use]
    pub fn body(mut self, content: impl Into<Bytes>) -> Self {
        self.body = SmallVec::from_buf([content.into()]);
        self
    }

    /// Ends the connection after this response.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// A refusal with one line of text.
    pub(crate) fn refusal(status: u16, text: &'static str) -> Self {
        Self::new(status).header("content-type", "text/plain").body(text).closing()
    }

    /// That of a request which does not become a WebSocket.
    pub(crate) fn no_websocket(error: wire::websocket::HandshakeError) -> Self {
        let refusal = Self::refusal(error.status(), error.text());
        error.fields().iter().fold(refusal, |refusal, (name, value)| refusal.header(name, *value))
    }

    /// The head of an answer whose content follows in pieces, and how those are framed.
    pub(super) fn begin(&self, reply: Reply) -> (Bytes, BodyForm) {
        let mut out = Vec::with_capacity(256);
        let mut head = reply.start(&mut out, self.status);
        for (name, value) in &self.headers {
            head = head.header(name, value);
        }
        let form = head.chunked();
        (out.into(), form)
    }

    /// The bytes of the answer. The content is copied behind the head: an answer is for one client, and one piece
    /// costs less to write than two.
    pub(super) fn encode(&self, reply: Reply) -> Bytes {
        let content_bytes: usize = self.body.iter().map(Bytes::len).sum();
        let mut out = Vec::with_capacity(256 + content_bytes);
        let reply = if self.close { reply.close() } else { reply };
        let mut head = reply.start(&mut out, self.status);
        for (name, value) in &self.headers {
            head = head.header(name, value);
        }
        match self.body.as_slice() {
            [] => head.empty(),
            [whole] => head.body(whole),
            pieces => head.body(&pieces.concat()),
        }
        out.into()
    }
}
