//! Messages to packets, for one connection.
//!
//! Owns the state between a header and its attachments, and the choice of parser. Must not know namespaces beyond
//! their names, acknowledgements or time. Start at [`Decoder`].

use bytes::Bytes;

use super::packet::is_reserved_event;
use super::{AckId, Codec, Kind, Limits, Namespace, Packet, Parser, Revision, Role, Violation, msgpack};
use crate::values::{EventName, JsonText, Values};

/// Decodes what one connection receives.
///
/// ```text
///              text, no attachments -> packet            binary, more to come
///                  +--------+                              +--------+
///                  v        |                              v        |
/// first text -> [ idle ] ---+--- text with attachments -> [ pending ]
///                  ^                                        |
///                  +------ last binary -> packet -----------+
///
/// first binary that begins with a fixmap -> [ msgpack ] -> each binary is a packet
/// ```
/// All else is a [`Violation`]. An idle connection pays 16 bytes; the pending state is boxed.
#[derive(Debug)]
pub struct Decoder {
    pending: Option<Box<Pending>>,
    role: Role,
    revision: Revision,
    parser: Option<Parser>,
}

/// A header whose attachments are not complete.
#[derive(Debug)]
struct Pending {
    packet: Packet,
    expected: usize,
    attachments: Vec<Bytes>,
    bytes: usize,
}

impl Decoder {
    /// For a new connection. A server learns the parser from the client's first message. On revision 4 the server
    /// speaks first, so there it is always the default one.
    pub const fn new(role: Role, revision: Revision) -> Self {
        let parser = match revision {
            Revision::V4 => Some(Parser::Default),
            Revision::V5 => None,
        };
        Self { pending: None, role, revision, parser }
    }

    /// For a connection whose parser is known, as a client's is.
    pub const fn with_codec(role: Role, codec: Codec) -> Self {
        Self { pending: None, role, revision: codec.revision, parser: Some(codec.parser) }
    }

    /// The codec to answer in; the default parser until the first message shows otherwise.
    pub fn codec(&self) -> Codec {
        Codec { revision: self.revision, parser: self.parser.unwrap_or(Parser::Default) }
    }

    /// Bytes held for a packet whose attachments are missing; 0 when idle.
    pub fn pending_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.bytes)
    }

    /// Takes the text of an Engine.IO message, without the `4`. `None` = attachments follow.
    ///
    /// # Errors
    /// Every [`Violation`] ends the connection.
    pub fn text(&mut self, text: &str, limits: &Limits) -> Result<Option<Packet>, Violation> {
        if self.pending.is_some() {
            return Err(Violation::AttachmentsMissing);
        }
        if self.parser == Some(Parser::MsgPack) {
            return Err(Violation::TextAfterMsgPack);
        }
        self.parser = Some(Parser::Default);
        if text.len() > limits.values.bytes_max {
            return Err(Violation::TooLarge);
        }
        let header = Header::parse(text)?;
        if header.attachments > limits.values.attachments_max {
            return Err(Violation::TooManyAttachments);
        }
        let (expected, bytes) = (header.attachments, text.len());
        let packet = self.packet(header, limits)?;
        if expected == 0 {
            return Ok(Some(packet));
        }
        self.pending = Some(Box::new(Pending { packet, expected, attachments: Vec::new(), bytes }));
        Ok(None)
    }

    /// Takes the bytes of a binary Engine.IO message: an attachment, or a packet in msgpack.
    ///
    /// # Errors
    /// Every [`Violation`] ends the connection.
    pub fn binary(&mut self, data: &[u8], limits: &Limits) -> Result<Option<Packet>, Violation> {
        if self.parser.is_none() && msgpack::is_first_message(data) {
            self.parser = Some(Parser::MsgPack);
        }
        if self.parser == Some(Parser::MsgPack) {
            return self.msgpack(data, limits).map(Some);
        }
        let mut pending = self.pending.take().ok_or(Violation::UnexpectedBinary)?;
        pending.bytes = pending.bytes.saturating_add(data.len());
        if pending.bytes > limits.values.bytes_max {
            return Err(Violation::TooLarge);
        }
        pending.attachments.push(Bytes::copy_from_slice(data));
        if pending.attachments.len() < pending.expected {
            self.pending = Some(pending);
            return Ok(None);
        }
        let Pending { packet, attachments, .. } = *pending;
        attach(packet, attachments, limits).map(Some)
    }

    fn msgpack(&self, data: &[u8], limits: &Limits) -> Result<Packet, Violation> {
        if data.len() > limits.values.bytes_max {
            return Err(Violation::TooLarge);
        }
        let message = msgpack::decode(data, limits)?;
        let header = Header {
            kind: message.kind,
            attachments: 0,
            namespace: &message.namespace,
            id: message.id,
            payload: message.json.as_deref().unwrap_or_default(),
        };
        let packet = self.packet(header, limits)?;
        attach(packet, message.attachments, limits)
    }

    /// Checks everything that does not need the attachments.
    fn packet(&self, header: Header<'_>, limits: &Limits) -> Result<Packet, Violation> {
        let (name, query) = match self.revision {
            Revision::V4 => header.namespace.split_once('?').unwrap_or((header.namespace, "")),
            Revision::V5 => (header.namespace, ""),
        };
        let namespace = namespace(name, limits)?;
        let kind = match header.kind {
            Type::Connect => Kind::Connect(self.connect_payload(query, header.payload, limits)?),
            Type::Disconnect if header.payload.is_empty() => Kind::Disconnect,
            Type::Disconnect => return Err(Violation::BadPayload),
            Type::Event => Kind::Event { id: header.id, values: event(header.payload, limits)? },
            Type::Ack => Kind::Ack {
                id: header.id.ok_or(Violation::BadAckId)?,
                values: Values::parse_header(header.payload, &limits.values)?,
            },
            Type::ConnectError => Kind::ConnectError(self.refusal(header.payload, limits)?),
        };
        Ok(Packet { namespace, kind })
    }

    /// Revision 4 has the credentials in the namespace's query; a payload there is ignored, as in the reference.
    fn connect_payload(
        &self,
        query: &str,
        payload: &str,
        limits: &Limits,
    ) -> Result<Option<JsonText>, Violation> {
        let object = match payload {
            "" => None,
            payload => Some(JsonText::parse_object(payload, &limits.values)?),
        };
        match self.revision {
            Revision::V5 => Ok(object),
            Revision::V4 if query.is_empty() => Ok(None),
            Revision::V4 => Ok(Some(JsonText::string_object(form_urlencoded::parse(query.as_bytes())))),
        }
    }

    fn refusal(&self, payload: &str, limits: &Limits) -> Result<JsonText, Violation> {
        if self.role == Role::Server {
            return Err(Violation::ConnectErrorFromClient);
        }
        let json = JsonText::parse(payload, &limits.values)?;
        // Revision 4 passes on whatever the middleware of the application gave as data.
        let is_valid = match self.revision {
            Revision::V4 => !json.is_like_ack_id(),
            Revision::V5 => json.is_object() || json.is_string(),
        };
        if is_valid { Ok(json) } else { Err(Violation::BadPayload) }
    }
}

fn event(payload: &str, limits: &Limits) -> Result<Values, Violation> {
    let values = Values::parse_header(payload, &limits.values)?;
    match values.as_event().ok_or(Violation::BadPayload)?.name {
        EventName::Text(name) if is_reserved_event(&name) => Err(Violation::ReservedEvent),
        _ => Ok(values),
    }
}

/// Control characters are refused because they would cut a poll payload (`1e`) or a log line, and commas, which only
/// msgpack can carry, because the default parser could not name the namespace. No client sends either.
fn namespace(name: &str, limits: &Limits) -> Result<Namespace, Violation> {
    if name.len() > limits.namespace_bytes_max {
        return Err(Violation::NamespaceTooLong);
    }
    if !name.starts_with('/') || name.bytes().any(|b| b == b',' || b.is_ascii_control()) {
        return Err(Violation::BadNamespace);
    }
    Ok(Namespace::new(name))
}

/// Completes a packet. Types other than event and acknowledgement have no place for binary values.
fn attach(mut packet: Packet, attachments: Vec<Bytes>, limits: &Limits) -> Result<Packet, Violation> {
    match &mut packet.kind {
        Kind::Event { values, .. } | Kind::Ack { values, .. } => {
            *values = std::mem::replace(values, Values::empty()).attach(attachments, &limits.values)?;
        }
        _ if attachments.is_empty() => {}
        _ => return Err(Violation::BadPayload),
    }
    Ok(packet)
}

/// The packet types, binary ones folded into their text kin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
}

/// The fields of a packet, unchecked: `<type>[<attachments>-][<namespace>,][<ack id>][JSON]`.
struct Header<'a> {
    kind: Type,
    attachments: usize,
    namespace: &'a str,
    id: Option<AckId>,
    payload: &'a str,
}

impl<'a> Header<'a> {
    fn parse(text: &'a str) -> Result<Self, Violation> {
        let (digit, rest) = text.split_at_checked(1).ok_or(Violation::UnknownType)?;
        let (kind, binary) = match digit {
            "0" => (Type::Connect, None),
            "1" => (Type::Disconnect, None),
            "2" => (Type::Event, None),
            "3" => (Type::Ack, None),
            "4" => (Type::ConnectError, None),
            "5" => (Type::Event, Some(rest)),
            "6" => (Type::Ack, Some(rest)),
            _ => return Err(Violation::UnknownType),
        };
        let (attachments, rest) = match binary {
            Some(rest) => split_count(rest)?,
            None => (0, rest),
        };
        let (namespace, rest) = split_namespace(rest);
        let (id, payload) = split_id(rest)?;
        Ok(Self { kind, attachments, namespace, id, payload })
    }
}

/// `<digits>-`.
fn split_count(text: &str) -> Result<(usize, &str), Violation> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-').ok_or(Violation::BadAttachmentCount)?;
    match digits.parse() {
        Ok(count) => Ok((count, rest)),
        Err(_) if digits.is_empty() => Err(Violation::BadAttachmentCount),
        Err(_) => Err(Violation::TooManyAttachments),
    }
}

/// From a `/` to the first `,` or the end; without a `/`, the main namespace.
fn split_namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return ("/", text);
    }
    text.split_once(',').unwrap_or((text, ""))
}

fn split_id(text: &str) -> Result<(Option<AckId>, &str), Violation> {
    match split_digits(text) {
        ("", rest) => Ok((None, rest)),
        (digits, rest) => Ok((Some(AckId(digits.parse().map_err(|_| Violation::BadAckId)?)), rest)),
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(digits).unwrap_or((text, ""))
}
