//! From messages to packets on connections: a message is encoded once per variant, and what is a receiver's own goes into a
//! head before the shared rest.
//!
//! Owns the only loop whose length is the number of recipients, and how packets are put on a connection. Must not know who is
//! subscribed. Start at [`Mqtt::deliver`].

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use hub::{Command, Grade, Message, Quality, Recipient, SessionId, SessionKey, Step, Topology};
use smallvec::SmallVec;
use wire::mqtt::{
    Delivery, Encoder, Forwarded, Outgoing, PacketId, PublishHead, PublishParts, TopicForm, Unsent, Version,
};
use wire::websocket::{Opcode, frame_header};

use super::payload::forwarded;
use super::{Mqtt, replies};
use crate::front::apply::stream_index;
use crate::front::content::payload;
use crate::shard::{ConnKey, Cx};

/// A shared rest of so many bytes is copied behind each head: one piece costs less to write than two.
const COPY_BYTES_MAX: usize = 512;

/// Packets are gathered in pieces of this size.
const CHUNK_BYTES: usize = 16 * 1024;

/// First byte of such a packet, flags left out.
const PUBLISH_QOS_0: u8 = 0x30;

/// RFC 6455, section 5.2, without a mask.
const FRAME_HEADER_BYTES_MAX: usize = 10;

/// A message for one client.
pub(super) struct Parcel<'a> {
    pub(super) index: u32,
    pub(super) grade: Grade,
    pub(super) labels: &'a [u32],
}

/// What makes two clients get the very same bytes of a message of QoS 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Variant {
    version: Version,
    websocket: bool,
    retained: bool,
}

impl Mqtt {
    /// Stages a message for every recipient.
    pub(super) fn deliver(&mut self, cx: &mut Cx<'_>, message: &Arc<Message>, to: &[Recipient]) {
        let mut encodings = Encodings::new(message, cx, &self.topology);
        let mut others = self.deliver_alike(cx, &mut encodings, to);
        while !others.is_empty() {
            others = self.deliver_alike(cx, &mut encodings, &others);
        }
    }

    /// Stages a message for the recipients whose variant is that of the first one, and gives the others: whoever is given
    /// the same bytes is staged one after the other, so that what is staged is shared. Nearly always there are none.
    fn deliver_alike(
        &mut self,
        cx: &mut Cx<'_>,
        encodings: &mut Encodings<'_>,
        to: &[Recipient],
    ) -> Vec<Recipient> {
        let (mut first, mut others): (Option<(Variant, Whole)>, _) = (None, Vec::new());
        let (mut count, mut too_large) = (0, 0);
        for recipient in to {
            let (index, grade) = (stream_index(recipient.tag), recipient.grade);
            let Some(client) = self.clients.get(index as usize) else { continue };
            let variant = Variant {
                version: client.version(),
                websocket: client.kind.websocket,
                retained: grade.retained,
            };
            let is_own = grade.quality != Quality::AtMostOnce || client.aliases_max > 0;
            if is_own || encodings.reader.is_some() || self.access.hides {
                self.deliver_own(cx, encodings, &Parcel { index, grade, labels: &[] });
                continue;
            }
            match &first {
                Some((known, _)) if *known != variant => others.push(*recipient),
                Some((_, whole)) if whole.packet_bytes > client.encoder.packet_bytes_max() as usize => {
                    too_large += 1;
                }
                Some((_, whole)) => {
                    cx.io.stage(client.conn, &whole.bytes);
                    count += 1;
                }
                None => {
                    let (conn, bytes_max) = (client.conn, client.encoder.packet_bytes_max() as usize);
                    let Some(whole) = encodings.whole(variant) else { continue };
                    let fits = whole.packet_bytes <= bytes_max;
                    if fits {
                        cx.io.stage(conn, &whole.bytes);
                    }
                    (count, too_large) = (u64::from(fits), u64::from(!fits));
                    first = Some((variant, whole));
                }
            }
        }
        if let Some((_, whole)) = first {
            self.figures.left(PUBLISH_QOS_0, whole.packet_bytes, count);
            self.figures.too_large += too_large;
        }
        others
    }

    pub(super) fn deliver_one(&mut self, cx: &mut Cx<'_>, message: &Arc<Message>, parcel: &Parcel<'_>) {
        let mut encodings = Encodings::new(message, cx, &self.topology);
        self.deliver_own(cx, &mut encodings, parcel);
    }

    /// Stages a message with a head of the client's own. What is larger than the client takes counts as sent
    /// [MQTT-3.1.2-25].
    fn deliver_own(&mut self, cx: &mut Cx<'_>, encodings: &mut Encodings<'_>, parcel: &Parcel<'_>) {
        let Parcel { index, grade, .. } = *parcel;
        let Some(client) = self.clients.get_mut(index as usize) else { return };
        let session = client.session;
        let channel = encodings.message.channel.as_str();
        let is_hidden = self.access.hides && self.access.is_hidden(client.asker(), channel);
        if is_hidden || encodings.reader.is_some_and(|reader| reader != client.id) {
            return self.withhold(cx, session, grade);
        }
        let topic = match (client.aliases_max, client.version()) {
            (0, _) | (_, Version::V3) => TopicForm::Name,
            (max, Version::V5) => client.rare().aliases_out.get_or_insert_default().form(max, channel),
        };
        if self.stage_own(cx, encodings, parcel, topic) {
            if let (TopicForm::NameAndAlias(_), Some(client)) = (topic, self.client_mut(index)) {
                client.rare().aliases_out.get_or_insert_default().told(channel);
            }
            return;
        }
        // To tell an alias may be what makes it too large.
        let is_telling = matches!(topic, TopicForm::NameAndAlias(_));
        if is_telling && self.stage_own(cx, encodings, parcel, TopicForm::Name) {
            return;
        }
        self.figures.too_large += 1;
        self.withhold(cx, session, grade);
    }

    /// A message that a client does not get counts as sent, and as settled.
    fn withhold(&mut self, cx: &mut Cx<'_>, session: SessionKey, grade: Grade) {
        let step = match grade.quality {
            Quality::AtMostOnce => return,
            Quality::AtLeastOnce => Step::Done,
            Quality::ExactlyOnce => Step::Declined,
        };
        self.apply(cx, Command::Settle { session, number: grade.number, step });
    }

    /// Stages a message with this form of its topic; whether the client takes so much.
    fn stage_own(
        &mut self,
        cx: &mut Cx<'_>,
        encodings: &mut Encodings<'_>,
        parcel: &Parcel<'_>,
        topic: TopicForm,
    ) -> bool {
        let Parcel { index, grade, labels } = *parcel;
        let Some(client) = self.client(index) else { return false };
        let (conn, encoder, websocket) = (client.conn, client.encoder, client.kind.websocket);
        let head = PublishHead {
            delivery: delivery(grade),
            dup: grade.again,
            retain: grade.retained,
            topic,
            subscription_ids: labels,
        };
        let Some(parts) = encodings.parts(encoder.version()) else { return false };
        let tail = parts.tail();
        let is_copied = tail.len() <= COPY_BYTES_MAX;
        let put = self.put_framed(cx, (conn, websocket), |out| {
            parts.put_head(&head, encoder.packet_bytes_max(), out)?;
            if is_copied {
                out.put_slice(tail);
            }
            Ok(if is_copied { 0 } else { tail.len() })
        });
        if put && !is_copied {
            cx.io.stage(conn, tail);
        }
        put
    }

    /// Puts a packet on a client's connection. One that the client does not take is left out.
    pub(super) fn put(
        &mut self,
        cx: &mut Cx<'_>,
        index: u32,
        encode: impl FnOnce(&Encoder, &mut Vec<u8>) -> Result<(), Unsent>,
    ) {
        let Some(client) = self.client(index) else { return };
        let (conn, websocket, encoder) = (client.conn, client.kind.websocket, client.encoder);
        self.put_on(cx, (conn, websocket), |out| encode(&encoder, out));
    }

    /// Puts a packet on a connection; whether it could be encoded.
    pub(super) fn put_on(
        &mut self,
        cx: &mut Cx<'_>,
        (conn, websocket): (ConnKey, bool),
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), Unsent>,
    ) -> bool {
        self.put_framed(cx, (conn, websocket), |out| encode(out).map(|()| 0))
    }

    /// `encode` gives the bytes of the packet that are staged behind what it appends.
    fn put_framed(
        &mut self,
        cx: &mut Cx<'_>,
        (conn, websocket): (ConnKey, bool),
        encode: impl FnOnce(&mut Vec<u8>) -> Result<usize, Unsent>,
    ) -> bool {
        self.scratch.clear();
        let Ok(behind_bytes) = encode(&mut self.scratch) else { return false };
        let first = self.scratch.first().copied().unwrap_or_default();
        self.figures.left(first, self.scratch.len() + behind_bytes, 1);
        let bytes_max = self.scratch.len() + FRAME_HEADER_BYTES_MAX;
        if self.out.capacity() < bytes_max {
            self.out.reserve(bytes_max.max(CHUNK_BYTES));
        }
        if websocket {
            let header = frame_header(Opcode::Binary, self.scratch.len() + behind_bytes);
            self.out.put_slice(header.as_ref());
        }
        self.out.put_slice(&self.scratch);
        let bytes = self.out.split().freeze();
        cx.io.stage(conn, &bytes);
        true
    }
}

fn delivery(grade: Grade) -> Delivery {
    match (grade.quality, PacketId::new(grade.number)) {
        (Quality::AtLeastOnce, Some(packet_id)) => Delivery::AtLeastOnce(packet_id),
        (Quality::ExactlyOnce, Some(packet_id)) => Delivery::ExactlyOnce(packet_id),
        _ => Delivery::AtMostOnce,
    }
}

/// Encodings of one message, made when they are needed.
struct Encodings<'a> {
    message: &'a Arc<Message>,
    /// The only session that may have it.
    reader: Option<SessionId>,
    /// Left of its life.
    expiry_seconds: Option<u32>,
    payload: Option<(Bytes, Forwarded)>,
    v3: Option<PublishParts>,
    v5: Option<PublishParts>,
    whole: SmallVec<[(Variant, Whole); 1]>,
}

/// A packet, in a frame where one is needed.
#[derive(Clone)]
struct Whole {
    bytes: Bytes,
    /// Of the packet alone.
    packet_bytes: usize,
}

impl<'a> Encodings<'a> {
    fn new(message: &'a Arc<Message>, cx: &Cx<'_>, topology: &Topology) -> Self {
        let now = cx.io.now().0;
        let left = message.traits.expires.map(|expires| expires.0.saturating_sub(now).div_ceil(1000));
        Self {
            message,
            reader: replies::reader(message.channel.as_str(), topology),
            expiry_seconds: left.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX)),
            payload: None,
            v3: None,
            v5: None,
            whole: SmallVec::new(),
        }
    }

    /// `None`: the protocol cannot count so many bytes.
    fn parts(&mut self, version: Version) -> Option<&PublishParts> {
        let message = self.message;
        let (payload, forwarded) =
            self.payload.get_or_insert_with(|| (payload(&message.body), forwarded(message)));
        let place = match version {
            Version::V3 => &mut self.v3,
            Version::V5 => &mut self.v5,
        };
        if place.is_none() {
            let outgoing = Outgoing {
                topic: message.channel.as_str(),
                payload,
                forwarded,
                expiry_seconds: self.expiry_seconds,
            };
            *place = PublishParts::new(version, &outgoing).ok();
        }
        place.as_ref()
    }

    /// The packet of QoS 0 without anything of a client's own, in a frame where one is needed.
    fn whole(&mut self, variant: Variant) -> Option<Whole> {
        if let Some((_, whole)) = self.whole.iter().find(|(known, _)| *known == variant) {
            return Some(whole.clone());
        }
        let head = PublishHead { retain: variant.retained, ..PublishHead::new(Delivery::AtMostOnce) };
        let packet = self.parts(variant.version)?.whole(&head).ok()?;
        let packet_bytes = packet.len();
        let bytes = if variant.websocket {
            let header = frame_header(Opcode::Binary, packet.len());
            [header.as_ref(), &packet].concat().into()
        } else {
            packet
        };
        let whole = Whole { bytes, packet_bytes };
        self.whole.push((variant, whole.clone()));
        Some(whole)
    }
}
