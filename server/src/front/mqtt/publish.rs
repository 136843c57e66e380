//! Messages from a client, and the acknowledgements it gets for them.
//!
//! Owns topic aliases, the client's window and the order of acknowledgements: per kind that of the packets (MQTT 5.0, 4.6).
//! Must not know where a message goes. Start at [`Mqtt::publish`].

use bytes::Bytes;
use hub::{Body, ChannelName, Command, Millis, Offer, Outcome, Quality, SessionKey, Target, Traits};
use wire::mqtt::{self, Forwarded, PacketId, Properties, Qos, ReasonCode, Version};

use super::access::{Asker, Leave};
use super::client::Ack;
use super::subscribe::Request;
use super::told::Told;
use super::{Mqtt, availability, delayed};
use crate::front::{copies, message_id};
use crate::shard::Cx;

/// The publish that is being offered to the hub and not answered yet.
#[derive(Debug)]
pub(super) struct Asked {
    index: u32,
    request: Request,
}

/// How a message was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) qos: Qos,
    pub(super) packet_id: Option<PacketId>,
}

impl Sent {
    /// Whether it has come before, and was taken.
    fn is_known(self, cx: &mut Cx<'_>, session: SessionKey) -> bool {
        let exchange = self.packet_id.filter(|_| self.qos == Qos::ExactlyOnce);
        exchange.is_some_and(|packet_id| cx.hub.hub.has_taken(session, packet_id.value()))
    }
}

/// The two kinds of acknowledgements, each with an order of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    PubAck = 0,
    PubRec = 1,
}

impl Mqtt {
    pub(super) fn publish(&mut self, cx: &mut Cx<'_>, index: u32, publish: &mqtt::Publish<'_>) {
        if publish.qos != Qos::AtMostOnce && self.is_over_window(index) {
            return self.part_for(cx, index, ReasonCode::ReceiveMaximumExceeded);
        }
        if let Err(code) = availability::publish(&self.config.mqtt, publish) {
            return self.part_for(cx, index, code);
        }
        let resolved = self.resolve(index, publish);
        let topic = match &resolved {
            Ok(None) => publish.topic,
            Ok(Some(topic)) => topic,
            Err(error) => return self.cut_off(cx, index, *error),
        };
        let Some(session) = self.client(index).map(|client| client.session) else { return };
        let Some(asker) = self.asker(index) else { return };
        let sent = Sent { qos: publish.qos, packet_id: publish.packet_id };
        match self.message(cx, asker, publish, topic) {
            // What is known under its number is not asked about again.
            Ok((message, Leave::Asked)) if !sent.is_known(cx, session) => {
                self.ask_about_message(cx, index, message, sent);
            }
            Ok((message, Leave::Given | Leave::Asked)) => self.offer(cx, index, message, sent),
            Err(told) => self.turned_down(cx, index, sent, told),
        }
    }

    /// Publishes a message that its client may publish.
    pub(super) fn offer(&mut self, cx: &mut Cx<'_>, index: u32, message: hub::Publish, sent: Sent) {
        let Some(session) = self.client(index).map(|client| client.session) else { return };
        let (request, exchange) = match (sent.qos, sent.packet_id) {
            (Qos::AtLeastOnce, Some(packet_id)) => (Request::PubAck(packet_id), None),
            (Qos::ExactlyOnce, Some(packet_id)) => (Request::PubRec(packet_id), Some(packet_id.value())),
            _ => {
                let offer = Offer { session, exchange: None, publish: message, request: 0 };
                return self.apply(cx, Command::Offer(Box::new(offer)));
            }
        };
        self.asked = Some(Asked { index, request });
        let offer = Offer { session, exchange, publish: message, request: request.number() };
        self.apply(cx, Command::Offer(Box::new(offer)));
        self.wait_for_answer();
    }

    fn is_over_window(&mut self, index: u32) -> bool {
        let max = self.config.mqtt.receive_maximum;
        let Some(client) = self.client_mut(index) else { return false };
        client.inbound = client.inbound.saturating_add(1);
        // Version 3 cannot be told of a window, and the server's own clients have agreed on one with others.
        client.version() == Version::V5 && !client.kind.own && client.inbound > max
    }

    /// The topic behind an alias; `None` when the packet has it itself.
    fn resolve(&mut self, index: u32, publish: &mqtt::Publish<'_>) -> Result<Option<Box<str>>, mqtt::Error> {
        let max = self.config.mqtt.topic_alias_maximum;
        if publish.properties.topic_alias().is_none() {
            return Ok(None);
        }
        let Some(client) = self.client_mut(index) else { return Ok(None) };
        let aliases = client.rare().aliases_in.get_or_insert_default();
        aliases.resolve(max, publish).map(|topic| Some(topic.into()))
    }

    /// A packet as the hub's message, if the client may publish it.
    pub(super) fn message(
        &self,
        cx: &mut Cx<'_>,
        asker: Asker<'_>,
        publish: &mqtt::Publish<'_>,
        topic: &str,
    ) -> Result<(hub::Publish, Leave), Told> {
        let (delay_ms, topic) = self.delay(topic)?;
        let leave = self.access.publish(asker, topic)?;
        let bytes_max = self.config.limits.channel_name_bytes_max;
        let channel =
            ChannelName::parse(topic, bytes_max).map_err(|_| match topic.len() > bytes_max as usize {
                true => Told::new(ReasonCode::TopicNameInvalid, "the topic is longer than the server takes"),
                false => Told::new(ReasonCode::TopicNameInvalid, "not a valid topic"),
            })?;
        if publish.properties.is_payload_text() == Some(true) && !self.may_be_text(topic, publish.payload) {
            return Err(Told::new(
                ReasonCode::PayloadFormatInvalid,
                "the payload is no UTF-8, which its Payload Format Indicator says",
            ));
        }
        let forwarded = Forwarded::of(&publish.properties);
        // It begins to age when it is published.
        let born = cx.io.now().0 + delay_ms;
        let expires = lifetime_ms(&publish.properties).map(|ms| Millis(born.saturating_add(ms)));
        let message = hub::Publish {
            id: message_id(cx),
            target: Target::Channel(channel),
            event: forwarded.event().map(Box::from),
            body: Body::Raw(Bytes::copy_from_slice(publish.payload)),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: None,
            traits: Traits {
                quality: quality(publish.qos),
                retain: publish.retain,
                origin: None,
                user: None,
                attributes: forwarded.as_bytes().clone(),
                expires,
                delay_ms,
                told_anew: false,
                key: None,
                gives_way: false,
                way: copies::Way::Mqtt as u8,
            },
            receipt: None,
        };
        Ok((message, leave))
    }

    /// How long a message waits, and the topic it is for. While nothing may wait, such a topic is as it is, and nobody's.
    pub(super) fn delay<'t>(&self, topic: &'t str) -> Result<(u64, &'t str), Told> {
        if self.config.limits.delayed_max == 0 {
            return Ok((0, topic));
        }
        delayed::split(topic).ok_or(Told::new(
            ReasonCode::TopicNameInvalid,
            "what is put off has a topic of the form `$delayed/<seconds>/<topic>`, of at most 4294967 seconds",
        ))
    }

    /// Whether a payload is text, or nobody wants to know on this channel.
    fn may_be_text(&self, topic: &str, payload: &[u8]) -> bool {
        let rule = self.config.channels.iter().find(|rule| hub::filter_matches(&rule.filter.plain(), topic));
        !rule.is_some_and(|rule| rule.payload_format_check) || std::str::from_utf8(payload).is_ok()
    }

    /// A message that is not taken: version 3 has no word for that, so it is acknowledged and dropped.
    pub(super) fn turned_down(&mut self, cx: &mut Cx<'_>, index: u32, sent: Sent, told: impl Into<Told>) {
        match (sent.qos, sent.packet_id) {
            (Qos::AtLeastOnce, Some(packet_id)) => {
                self.ack(cx, index, (Kind::PubAck, packet_id), told.into())
            }
            (Qos::ExactlyOnce, Some(packet_id)) => {
                self.ack(cx, index, (Kind::PubRec, packet_id), told.into())
            }
            _ => {}
        }
    }

    /// A message that is taken, and comes to nobody.
    pub(super) fn swallowed(&mut self, cx: &mut Cx<'_>, index: u32, sent: Sent) {
        if sent.qos == Qos::ExactlyOnce
            && let Some(client) = self.client_mut(index)
        {
            // The hub does not know its number, so its release is none of what was counted.
            client.inbound = client.inbound.saturating_sub(1);
        }
        self.turned_down(cx, index, sent, ReasonCode::Success);
    }

    /// After the offer: unless the hub has answered, the acknowledgement waits for its turn.
    fn wait_for_answer(&mut self) {
        let Some(Asked { index, request }) = self.asked.take() else { return };
        let Some((kind, packet_id)) = request.ack() else { return };
        let Some(client) = self.client_mut(index) else { return };
        let [acks, recs] = &mut client.rare().acks;
        let queue = if kind == Kind::PubAck { acks } else { recs };
        queue.push_back(Ack { packet_id, told: None });
    }

    /// The hub's answer to an offer, told at once: what of the message goes to its publisher comes before or after it as the
    /// hub says.
    pub(super) fn offer_done(&mut self, cx: &mut Cx<'_>, index: u32, request: Request, outcome: Outcome) {
        self.asked.take_if(|asked| (asked.index, asked.request) == (index, request));
        if let Some(ack) = request.ack() {
            self.publish_done(cx, index, ack, outcome);
        }
    }

    fn publish_done(
        &mut self,
        cx: &mut Cx<'_>,
        index: u32,
        (kind, packet_id): (Kind, PacketId),
        outcome: Outcome,
    ) {
        let told = match outcome {
            Outcome::Published { matched: false, .. } if kind == Kind::PubAck => {
                ReasonCode::NoMatchingSubscribers.into()
            }
            Outcome::Repeated => {
                // It counts once, however often it is sent.
                if let Some(client) = self.client_mut(index) {
                    client.inbound = client.inbound.saturating_sub(1);
                }
                ReasonCode::Success.into()
            }
            Outcome::Refused(refusal) => Told::of_message(refusal),
            Outcome::Published { .. }
            | Outcome::Joined { .. }
            | Outcome::Left { .. }
            | Outcome::Forgotten => ReasonCode::Success.into(),
        };
        self.ack(cx, index, (kind, packet_id), told);
    }

    /// Sends an acknowledgement in its turn.
    fn ack(&mut self, cx: &mut Cx<'_>, index: u32, ack: (Kind, PacketId), told: Told) {
        let (kind, packet_id) = ack;
        let Some(client) = self.client_mut(index) else { return };
        // Nearly always nothing else waits.
        let Some(rare) = client.rare.as_mut() else { return self.send_ack(cx, index, ack, &told) };
        let [acks, recs] = &mut rare.acks;
        let queue = if kind == Kind::PubAck { acks } else { recs };
        let due = in_turn(queue, Ack { packet_id, told: Some(told) });
        client.tidy();
        for Ack { packet_id, told } in due {
            let told = told.unwrap_or(ReasonCode::Success.into());
            self.send_ack(cx, index, (kind, packet_id), &told);
        }
    }

    fn send_ack(&mut self, cx: &mut Cx<'_>, index: u32, (kind, packet_id): (Kind, PacketId), told: &Told) {
        let Some(client) = self.client_mut(index) else { return };
        if kind == Kind::PubAck || told.code.is_failure() {
            client.inbound = client.inbound.saturating_sub(1);
        }
        let reason = if client.version() == Version::V3 { ReasonCode::Success } else { told.code };
        let words = told.properties();
        let ack = mqtt::Ack { properties: words.as_properties(), ..mqtt::Ack::new(packet_id, reason) };
        self.put(cx, index, |encoder, out| match kind {
            Kind::PubAck => encoder.puback(&ack, out),
            Kind::PubRec => encoder.pubrec(&ack, out),
        });
    }

    /// PUBREL: always answered, also for a number that is not known (MQTT 5.0, 4.3.3).
    pub(super) fn released(&mut self, cx: &mut Cx<'_>, index: u32, packet_id: PacketId) {
        let Some(session) = self.client(index).map(|client| client.session) else { return };
        let request = Request::PubComp(packet_id).number();
        self.apply(cx, Command::Forget { session, exchange: packet_id.value(), request });
    }

    /// Only what was counted is counted off: a client does not widen its window by releasing what it never sent.
    pub(super) fn forgotten(&mut self, cx: &mut Cx<'_>, index: u32, packet_id: PacketId, outcome: Outcome) {
        if let (Outcome::Forgotten, Some(client)) = (outcome, self.client_mut(index)) {
            client.inbound = client.inbound.saturating_sub(1);
        }
        let ack = mqtt::Ack::new(packet_id, ReasonCode::Success);
        self.put(cx, index, |encoder, out| encoder.pubcomp(&ack, out));
    }
}

/// Notes an answer in the queue it belongs to; gives those whose turn has come.
fn in_turn(queue: &mut std::collections::VecDeque<Ack>, ack: Ack) -> Vec<Ack> {
    let waits = |known: &Ack| known.packet_id == ack.packet_id && known.told.is_none();
    match queue.iter().position(waits).and_then(|at| queue.get_mut(at)) {
        Some(known) => *known = ack,
        None => queue.push_back(ack),
    }
    let due = queue.iter().take_while(|ack| ack.told.is_some()).count();
    queue.drain(..due).collect()
}

pub(super) fn quality(qos: Qos) -> Quality {
    match qos {
        Qos::AtMostOnce => Quality::AtMostOnce,
        Qos::AtLeastOnce => Quality::AtLeastOnce,
        Qos::ExactlyOnce => Quality::ExactlyOnce,
    }
}

pub(super) fn lifetime_ms(properties: &Properties<'_>) -> Option<u64> {
    properties.message_expiry_interval_seconds().map(|seconds| u64::from(seconds) * 1000)
}
