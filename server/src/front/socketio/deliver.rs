//! From messages to bytes on connections: encode once per variant, then stage the same bytes for everybody.
//!
//! Owns the only loop whose length is the number of recipients. It does nothing but look up the socket, compare its
//! variant with the first one's and stage shared bytes. Must not know who is subscribed. Start at [`SocketIo::deliver`].

use std::sync::Arc;

use bytes::Bytes;
use hub::{AskId, Body, Message, Offset, Outgoing, Recipient};
use smallvec::SmallVec;
use wire::engineio::Version;
use wire::socketio::{AckId, Encoded, Revision, Suffix, is_reserved_event};
use wire::values::{JsonText, Values};

use super::SocketIo;
use super::connect::Entry;
use super::engine::Queued;
use super::namespaces::Namespaces;
use super::socket::{Offsets, Variant};
use super::upgrade::frames;
use crate::shard::Cx;

/// The event of a message that was published without one, or with one that clients of other protocols may name but those
/// of this one close their connection at.
const EVENT_DEFAULT: &str = "message";

/// A message on its way to any number of sockets.
pub(super) struct Delivery<'a> {
    pub(super) message: &'a Arc<Message>,
    pub(super) ask: Option<AskId>,
    pub(super) offset: Option<Offset>,
}

impl SocketIo {
    /// Stages a message for every recipient.
    pub(super) fn deliver(&mut self, cx: &mut Cx<'_>, delivery: &Delivery<'_>, to: &[Recipient]) {
        let mut encoder = Encoder::new(delivery);
        let mut others = self.deliver_alike(cx, &mut encoder, to);
        while !others.is_empty() {
            others = self.deliver_alike(cx, &mut encoder, &others);
        }
    }

    /// Stages a message for the recipients whose variant is that of the first one, and gives the others: whoever is given
    /// the same bytes is staged one after the other, so that what is staged is shared. Nearly always there are none.
    fn deliver_alike(
        &mut self,
        cx: &mut Cx<'_>,
        encoder: &mut Encoder<'_>,
        to: &[Recipient],
    ) -> Vec<Recipient> {
        let (mut first, mut others): (Option<(Variant, Bytes)>, _) = (None, Vec::new());
        for recipient in to {
            let Some(socket) = self.sockets.get(recipient.tag.0 as usize) else {
                self.tails.offer(recipient.tag, encoder.delivery.message, &mut cx.hub.commands);
                continue;
            };
            let Some(conn) = socket.conn else {
                self.deliver_to_poll(cx, recipient.tag.0, encoder);
                continue;
            };
            match &first {
                Some((variant, bytes)) if *variant == socket.variant => cx.io.stage(conn, bytes),
                Some(_) => others.push(*recipient),
                None => {
                    let bytes = encoder.frames(socket.variant, &self.namespaces);
                    cx.io.stage(conn, &bytes);
                    first = Some((socket.variant, bytes));
                }
            }
        }
        others
    }

    fn deliver_to_poll(&mut self, cx: &mut Cx<'_>, tag: u32, encoder: &mut Encoder<'_>) {
        let Some(socket) = self.sockets.get(tag as usize) else { return };
        let slot = socket.engine;
        let encoded = encoder.packet(socket.variant, &self.namespaces);
        self.send_own(cx, slot, Queued::Message(encoded));
    }

    /// Performs one thing for one session.
    pub(super) fn send(&mut self, cx: &mut Cx<'_>, to: Recipient, item: Outgoing) {
        match item {
            Outgoing::Admitted { recovered: true } => self.admitted(cx, to.tag.0, Entry::Recovered),
            Outgoing::Admitted { recovered: false } => self.admitted(cx, to.tag.0, Entry::New),
            Outgoing::Message { message, ask, offset, .. } => {
                self.deliver(cx, &Delivery { message: &message, ask, offset }, &[to]);
            }
            Outgoing::Answer { request, body } => self.send_answer(cx, to.tag.0, request, &body),
        }
    }

    /// At most one answer per request, and none for a request of an earlier connection.
    fn send_answer(&mut self, cx: &mut Cx<'_>, tag: u32, request: u64, body: &Body) {
        let Some(socket) = self.socket_mut(tag) else { return };
        if !socket.close_request(request) {
            return;
        }
        let (conn, slot, variant) = (socket.conn, socket.engine, socket.variant);
        let namespace = &self.namespaces.known(variant.namespace).name;
        let encoded = variant.codec.ack(namespace, AckId(request), &arguments(body));
        match conn {
            Some(conn) => cx.io.stage(conn, &frames(&encoded, version(variant))),
            None => self.send_own(cx, slot, Queued::Message(encoded)),
        }
    }
}

/// Encodings of one delivery by variant. A handful at most, so a list is searched.
struct Encoder<'a> {
    delivery: &'a Delivery<'a>,
    /// Name and arguments, made at the first use.
    values: Option<Values>,
    packets: SmallVec<[(Variant, Encoded); 2]>,
}

impl<'a> Encoder<'a> {
    fn new(delivery: &'a Delivery<'a>) -> Self {
        Self { delivery, values: None, packets: SmallVec::new() }
    }

    /// The packet as WebSocket frames; asked for once per variant.
    fn frames(&mut self, variant: Variant, namespaces: &Namespaces) -> Bytes {
        frames(&self.packet(variant, namespaces), version(variant))
    }

    /// The packet; cloning it copies no bytes.
    fn packet(&mut self, variant: Variant, namespaces: &Namespaces) -> Encoded {
        if let Some((_, encoded)) = self.packets.iter().find(|(one, _)| *one == variant) {
            return encoded.clone();
        }
        let Delivery { message, ask, offset } = self.delivery;
        let values = self.values.get_or_insert_with(|| {
            let named = message.event.as_deref().filter(|event| !is_reserved_event(event));
            Values::event(named.unwrap_or(EVENT_DEFAULT), &arguments(&message.body))
        });
        // The last argument of an event that asks for an answer is the callback: it has no place for an offset.
        let offset = match (variant.offsets, ask, offset) {
            (Offsets::Appended, None, Some(offset)) => Some(offset.to_string()),
            _ => None,
        };
        let suffix = Suffix { id: ask.map(|ask| AckId(ask.0)), offset: offset.as_deref() };
        let namespace = &namespaces.known(variant.namespace).name;
        let encoded = variant.codec.event(namespace, values, suffix);
        self.packets.push((variant, encoded.clone()));
        encoded
    }
}

fn version(variant: Variant) -> Version {
    match variant.codec.revision {
        Revision::V4 => Version::V3,
        Revision::V5 => Version::V4,
    }
}

/// A body as a list of values. Raw bytes become one argument: JSON if they parse, else a string if they are UTF-8,
/// else a binary value.
fn arguments(body: &Body) -> Values {
    match body {
        Body::Values { json, attachments } => Values::from_parts(json.clone(), attachments.clone()),
        Body::Raw(bytes) => raw_argument(bytes),
    }
}

fn raw_argument(bytes: &Bytes) -> Values {
    let bounds = wire::values::Bounds { bytes_max: usize::MAX, ..wire::values::Bounds::default() };
    let builder = Values::builder();
    let builder = match std::str::from_utf8(bytes) {
        Ok(text) => match JsonText::parse(text, &bounds) {
            Ok(json) => builder.json(&json),
            Err(_) => builder.string(text),
        },
        Err(_) => builder.binary(bytes.clone()),
    };
    builder.build().expect("one value and its own placeholder match")
}
