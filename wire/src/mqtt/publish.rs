//! One message for many receivers: encoded once, with a head per receiver.
//!
//! Owns the split of a PUBLISH into what receivers share and what is theirs. Must not know who they are, or which
//! packet id, alias or QoS a receiver gets. Start at [`PublishParts`].
//!
//! ```text
//! fixed header | topic | packet id | length, alias, subscription ids | expiry, forwarded properties, payload
//! <------------------------- head, per receiver --------------------> <---------- tail, shared ------------>
//! ```

use std::num::NonZeroU16;

use bytes::{BufMut, Bytes, BytesMut};

use super::encode::{field_bytes, fits, put_field, put_varint};
use super::frame::{VARINT_MAX, varint_bytes};
use super::{Forwarded, PacketId, Property, Qos, Unsent, Version};

/// A message on its way to subscribers.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// A topic name.
    pub topic: &'a str,
    /// The message itself.
    pub payload: &'a Bytes,
    /// What goes with it, in version 5.
    pub forwarded: &'a Forwarded,
    /// What is left of its expiry, in version 5.
    pub expiry_seconds: Option<u32>,
}

/// A message encoded for all receivers of one version, within the second its expiry is good for. QoS and RETAIN are
/// the heads'.
#[derive(Clone, Debug)]
pub struct PublishParts {
    version: Version,
    topic: Bytes,
    /// Shared properties, then the payload.
    tail: Bytes,
    /// Bytes of the tail that are properties.
    properties_bytes: usize,
}

/// What one receiver, or all that need nothing of their own, gets before the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishHead<'a> {
    /// QoS and packet id.
    pub delivery: Delivery,
    /// Sent before; means nothing at QoS 0.
    pub dup: bool,
    /// RETAIN.
    pub retain: bool,
    /// How the topic is told; in version 3 always by name.
    pub topic: TopicForm,
    /// The identifiers of the receiver's matching subscriptions, each 1 to 268,435,455; not in version 3.
    pub subscription_ids: &'a [u32],
}

/// The QoS of this hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce(PacketId),
    /// QoS 2.
    ExactlyOnce(PacketId),
}

/// How a receiver is told the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicForm {
    /// By its name.
    Name,
    /// By its name, and that this alias means it from now on.
    NameAndAlias(NonZeroU16),
    /// By an alias told before on the same connection.
    Alias(NonZeroU16),
}

impl Delivery {
    const fn parts(self) -> (Qos, Option<PacketId>) {
        match self {
            Self::AtMostOnce => (Qos::AtMostOnce, None),
            Self::AtLeastOnce(packet_id) => (Qos::AtLeastOnce, Some(packet_id)),
            Self::ExactlyOnce(packet_id) => (Qos::ExactlyOnce, Some(packet_id)),
        }
    }
}

impl PublishHead<'static> {
    /// The topic by name and nothing else: the same for every receiver if the delivery is at QoS 0.
    pub const fn new(delivery: Delivery) -> Self {
        Self { delivery, dup: false, retain: false, topic: TopicForm::Name, subscription_ids: &[] }
    }
}

impl PublishParts {
    /// Encodes what receivers share. Without shared properties the payload is not copied.
    ///
    /// # Errors
    /// The topic is over 65,535 bytes or the whole over the largest packet of the protocol.
    pub fn new(version: Version, message: &Outgoing<'_>) -> Result<Self, Unsent> {
        field_bytes(message.topic.as_bytes())?;
        let (forwarded, expiry_seconds) = match version {
            Version::V3 => (&[][..], None),
            Version::V5 => (&message.forwarded.as_bytes()[..], message.expiry_seconds),
        };
        let properties_bytes = forwarded.len() + expiry_seconds.map_or(0, |_| 5);
        let tail = if properties_bytes == 0 {
            message.payload.clone()
        } else {
            let mut tail = BytesMut::with_capacity(properties_bytes + message.payload.len());
            if let Some(seconds) = expiry_seconds {
                tail.put_u8(Property::MessageExpiryInterval as u8);
                tail.put_u32(seconds);
            }
            tail.put_slice(forwarded);
            tail.put_slice(message.payload);
            tail.freeze()
        };
        let topic = Bytes::copy_from_slice(message.topic.as_bytes());
        let parts = Self { version, topic, tail, properties_bytes };
        if parts.packet_bytes(&PublishHead::new(Delivery::AtMostOnce)) > VARINT_MAX as usize {
            return Err(Unsent::TooLarge);
        }
        Ok(parts)
    }

    /// What follows every head.
    pub const fn tail(&self) -> &Bytes {
        &self.tail
    }

    /// The encoding.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Bytes of the whole packet with this head, to be compared with what the receiver takes before a packet id is
    /// spent.
    pub fn packet_bytes(&self, head: &PublishHead<'_>) -> usize {
        let body_bytes = self.body_bytes(head);
        1 + varint_bytes(body_bytes) + body_bytes
    }

    /// Appends the head; [`PublishParts::tail`] must follow. Gives the bytes of the whole packet.
    ///
    /// # Errors
    /// Nothing is appended: the packet has more than `packet_bytes_max` bytes.
    pub fn put_head(
        &self,
        head: &PublishHead<'_>,
        packet_bytes_max: u32,
        out: &mut impl BufMut,
    ) -> Result<usize, Unsent> {
        let body_bytes = self.body_bytes(head);
        if !fits(body_bytes, packet_bytes_max) {
            return Err(Unsent::TooLarge);
        }
        let (qos, packet_id) = head.delivery.parts();
        let dup = head.dup && packet_id.is_some();
        out.put_u8(0x30 | u8::from(dup) << 3 | qos.bits() << 1 | u8::from(head.retain));
        put_varint(body_bytes, out);
        put_field(self.topic(head), out);
        if let Some(packet_id) = packet_id {
            out.put_u16(packet_id.value());
        }
        if self.version == Version::V5 {
            put_varint(own_properties_bytes(head) + self.properties_bytes, out);
            if let Some(alias) = alias(head) {
                out.put_u8(Property::TopicAlias as u8);
                out.put_u16(alias.get());
            }
            for id in subscription_ids(head) {
                out.put_u8(Property::SubscriptionIdentifier as u8);
                put_varint(id as usize, out);
            }
        }
        Ok(1 + varint_bytes(body_bytes) + body_bytes)
    }

    /// Head and tail as one packet, for all receivers that need nothing of their own.
    ///
    /// # Errors
    /// The packet has more bytes than the protocol can count.
    pub fn whole(&self, head: &PublishHead<'_>) -> Result<Bytes, Unsent> {
        let mut out = BytesMut::with_capacity(self.packet_bytes(head));
        self.put_head(head, u32::MAX, &mut out)?;
        out.put_slice(&self.tail);
        Ok(out.freeze())
    }

    fn topic(&self, head: &PublishHead<'_>) -> &[u8] {
        match (self.version, head.topic) {
            (Version::V5, TopicForm::Alias(_)) => &[],
            (Version::V3 | Version::V5, _) => &self.topic,
        }
    }

    fn body_bytes(&self, head: &PublishHead<'_>) -> usize {
        let (_, packet_id) = head.delivery.parts();
        let properties_bytes = match self.version {
            Version::V3 => 0,
            Version::V5 => {
                let own_bytes = own_properties_bytes(head);
                varint_bytes(own_bytes + self.properties_bytes) + own_bytes
            }
        };
        2 + self.topic(head).len() + packet_id.map_or(0, |_| 2) + properties_bytes + self.tail.len()
    }
}

const fn alias(head: &PublishHead<'_>) -> Option<NonZeroU16> {
    match head.topic {
        TopicForm::Name => None,
        TopicForm::NameAndAlias(alias) | TopicForm::Alias(alias) => Some(alias),
    }
}

/// Values without a form are nobody's identifier and left out.
fn subscription_ids(head: &PublishHead<'_>) -> impl Iterator<Item = u32> {
    head.subscription_ids.iter().copied().filter(|id| (1..=VARINT_MAX).contains(id))
}

fn own_properties_bytes(head: &PublishHead<'_>) -> usize {
    let ids_bytes: usize = subscription_ids(head).map(|id| 1 + varint_bytes(id as usize)).sum();
    alias(head).map_or(0, |_| 3) + ids_bytes
}
