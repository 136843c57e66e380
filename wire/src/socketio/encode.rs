//! Packets to messages: one encoding per codec, shared by all sessions that use it.
//!
//! Owns the order of the fields on the wire. Must not know receivers. Start at the methods of [`Codec`].

use bytes::Bytes;

use super::{AckId, Codec, Kind, Packet, Parser, Revision, msgpack};
use crate::engineio::PayloadWriter;
use crate::values::{JsonText, Values, quote};

/// An encoded packet: a text message and the binary messages that must follow it at once.
///
/// With the msgpack parser there is only one binary message. Cloning copies no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The Engine.IO packet in text form, `4` included: the body of a WebSocket text frame, or a packet of a poll
    /// payload. Empty with msgpack.
    pub text: Bytes,
    /// Raw data of the binary messages. In a WebSocket frame each stands behind
    /// [`crate::engineio::Version::websocket_binary_prefix`]; in a payload it is written as the revision wants.
    pub attachments: Vec<Bytes>,
}

/// One Engine.IO message of an [`Encoded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Body of a text frame, `4` included.
    Text(&'a Bytes),
    /// Data of a binary message.
    Binary(&'a Bytes),
}

impl Encoded {
    /// The messages in order. Nothing may be written between them.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        let text = (!self.text.is_empty()).then_some(Frame::Text(&self.text));
        text.into_iter().chain(self.attachments.iter().map(Frame::Binary))
    }

    /// Appends the messages to a poll body.
    pub fn write_payload(&self, payload: &mut PayloadWriter) {
        for frame in self.frames() {
            match frame {
                Frame::Text(text) => payload.push_text(text),
                Frame::Binary(data) => payload.push_binary(data),
            }
        }
    }

    /// Bytes of all messages without framing, for the accounts of an outbox.
    pub fn len_bytes(&self) -> usize {
        self.text.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// What an event may carry besides its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suffix<'a> {
    /// Asks the client for an acknowledgement.
    pub id: Option<AckId>,
    /// Appended as last argument: the place from which a client with connection state recovery asks for more. Not
    /// together with an id, there the last argument is the callback.
    pub offset: Option<&'a str>,
}

/// Why a namespace is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// There is no such namespace. An object in revision 4 too, where all else is a string.
    InvalidNamespace,
    /// The application says no.
    Denied {
        /// The `message` of the error the client sees.
        message: &'a str,
        /// Its `data`. Revision 4 sends it instead of the message, but for a number, which would be read as an id.
        data: Option<&'a JsonText>,
    },
}

/// The fields of a packet to write, in the order of the default parser.
pub(super) struct Fields<'a> {
    pub(super) digit: u8,
    pub(super) namespace: &'a str,
    pub(super) id: Option<AckId>,
    /// JSON text.
    pub(super) payload: Option<&'a str>,
    pub(super) attachments: &'a [Bytes],
}

impl Codec {
    /// Server: grants a namespace. `pid` only with connection state recovery; revision 4 sends neither id.
    pub fn connected(self, namespace: &str, sid: &str, pid: Option<&str>) -> Encoded {
        let pid = pid.map(|pid| format!(",\"pid\":{}", quote(pid))).unwrap_or_default();
        let payload = format!("{{\"sid\":{}{pid}}}", quote(sid));
        let payload = (self.revision == Revision::V5).then_some(&*payload);
        self.write(&fields(b'0', namespace, payload))
    }

    /// Server: refuses a namespace, whose name is echoed as the client sent it.
    pub fn refused(self, namespace: &str, refusal: &Refusal<'_>) -> Encoded {
        let payload = match (refusal, self.revision) {
            (Refusal::InvalidNamespace, _) => "{\"message\":\"Invalid namespace\"}".to_owned(),
            (Refusal::Denied { data: Some(data), .. }, Revision::V4) if !data.is_like_ack_id() => {
                data.as_str().to_owned()
            }
            (Refusal::Denied { message, .. }, Revision::V4) => quote(message),
            (Refusal::Denied { message, data }, Revision::V5) => {
                let data = data.map(|data| format!(",\"data\":{}", data.as_str())).unwrap_or_default();
                format!("{{\"message\":{}{data}}}", quote(message))
            }
        };
        self.write(&fields(b'4', namespace, Some(&payload)))
    }

    /// Either side: leaves a namespace.
    pub fn disconnected(self, namespace: &str) -> Encoded {
        self.write(&fields(b'1', namespace, None))
    }

    /// Either side: an event; `values` has its name in front.
    pub fn event(self, namespace: &str, values: &Values, suffix: Suffix<'_>) -> Encoded {
        let with_offset = suffix.offset.map(|offset| append(values.json(), offset));
        let payload = with_offset.as_deref().unwrap_or_else(|| values.json());
        let head = fields(b'2', namespace, Some(payload));
        self.write(&Fields { id: suffix.id, attachments: values.attachments(), ..head })
    }

    /// Either side: the answer to an event.
    pub fn ack(self, namespace: &str, id: AckId, values: &Values) -> Encoded {
        let head = fields(b'3', namespace, Some(values.json()));
        self.write(&Fields { id: Some(id), attachments: values.attachments(), ..head })
    }

    /// Client: asks for a namespace. In revision 4 credentials go into the name: `/adm?token=1`.
    pub fn connect(self, namespace: &str, auth: Option<&JsonText>) -> Encoded {
        self.write(&fields(b'0', namespace, auth.map(JsonText::as_str)))
    }

    /// Any packet, as it is.
    pub fn packet(self, packet: &Packet) -> Encoded {
        let namespace = packet.namespace.as_str();
        match &packet.kind {
            Kind::Connect(payload) => self.connect(namespace, payload.as_ref()),
            Kind::Disconnect => self.disconnected(namespace),
            Kind::Event { id, values } => self.event(namespace, values, Suffix { id: *id, offset: None }),
            Kind::Ack { id, values } => self.ack(namespace, *id, values),
            Kind::ConnectError(json) => self.write(&fields(b'4', namespace, Some(json.as_str()))),
        }
    }

    fn write(self, fields: &Fields<'_>) -> Encoded {
        match self.parser {
            Parser::Default => Encoded { text: text(fields), attachments: fields.attachments.to_vec() },
            Parser::MsgPack => Encoded { text: Bytes::new(), attachments: vec![msgpack::encode(fields)] },
        }
    }
}

/// A packet without id and attachments.
const fn fields<'a>(digit: u8, namespace: &'a str, payload: Option<&'a str>) -> Fields<'a> {
    Fields { digit, namespace, id: None, payload, attachments: &[] }
}

/// The default parser's text, behind the `4` of Engine.IO.
fn text(fields: &Fields<'_>) -> Bytes {
    let payload = fields.payload.unwrap_or_default();
    // Exact for a plain event or answer: text that fills its memory is shared without another allocation.
    let is_plain = fields.namespace == "/" && fields.attachments.is_empty() && fields.id.is_none();
    let before = if is_plain { 2 } else { fields.namespace.len() + 30 };
    let mut out = String::with_capacity(before + payload.len());
    out.push('4');
    if fields.attachments.is_empty() {
        out.push(char::from(fields.digit));
    } else {
        // BINARY_EVENT and BINARY_ACK are three above EVENT and ACK.
        out.push(char::from(fields.digit + 3));
        out.push_str(&format!("{}-", fields.attachments.len()));
    }
    if fields.namespace != "/" {
        out.push_str(fields.namespace);
        out.push(',');
    }
    if let Some(id) = fields.id {
        out.push_str(&id.to_string());
    }
    out.push_str(payload);
    Bytes::from(out)
}

/// Adds a string as last element of an array.
fn append(array: &str, last: &str) -> String {
    let inner = array.strip_suffix(']').unwrap_or(array);
    let comma = if inner == "[" { "" } else { "," };
    format!("{inner}{comma}{}]", quote(last))
}
