//! Packets of one server as packets to the other: bytes in, bytes out.
//!
//! A bridge is a client of both. It passes messages and every step of their exchanges on under the very packet ids that they
//! come with: what is an id of the server's on one side is an id of the client's on the other. So both servers see through it
//! to each other, an acknowledgement is never the bridge's own, and nothing has to be kept here: after a cut both send again
//! what the other has not acknowledged, at QoS 2 too. Only of messages that do not pass is the bridge the receiver. What of the
//! two sessions is not so alike that they can see each other is `release`'s and `passing`'s.
//!
//! Owns what becomes of each packet. Must not know sockets or when a connection is given up. Start at [`Relay::take`].

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use wire::mqtt::{
    Ack, Answer, Disconnect, Encoder, Error, Filters, Frame, PacketId, Properties, PropertyBuf, Publish, Qos,
    ReasonCode, RetainHandling, ServerPacket, SubAck, Subscribe, SubscribeOptions, Subscriptions, Unsent,
    Unsubscribe, Version, decode_server, frame,
};

use super::facing::trail;
use super::failure::{Failure, told};
use super::handshake::Welcome;
use super::memory::Memory;
use super::passing::Passing;
use super::release::Release;
use super::status::{Loss, Standing, Status};
use super::topics::{Side, filter, from, other_name};
use crate::config::{Bridge, BridgeRule, RetainedValues};

/// While more bytes wait for either side, nothing is read from any: what comes from one goes to the other, and is answered.
const OUT_BYTES_MAX: usize = 256 << 10;

/// Ids of questions: messages count up from 1, and meet these only where one of so many before is still under way.
const QUESTION_IDS: std::ops::RangeInclusive<u16> = 65_472..=65_535;

/// A connection to one of the servers.
#[derive(Debug)]
pub(super) struct Half {
    encoder: Encoder,
    /// The highest QoS that it takes.
    qos_max: Qos,
    /// Whether it takes retained messages.
    retains: bool,
    /// Largest packet that is taken from it.
    packet_bytes_max: u32,
    /// What came from it and is no whole packet yet.
    pub(super) inbox: Vec<u8>,
    /// What is to be sent to it.
    pub(super) outbox: Vec<u8>,
    /// Questions that it has not answered.
    asked: VecDeque<(PacketId, Vec<String>)>,
    /// Its messages of QoS 2 that went to the other side at QoS 1, which takes no higher one.
    lowered: BTreeSet<PacketId>,
    /// Numbers that it is to forget.
    release: Option<Release>,
    /// Values that its filters owe the other side.
    passing: Option<Passing>,
    /// How often it was asked for a sign of life, and gave one.
    pings: u64,
    answers: u64,
}

impl Half {
    /// A connection that its server has agreed to; `rest` is what came behind that.
    pub(super) fn new(welcome: &Welcome, packet_bytes_max: u32, rest: Vec<u8>) -> Self {
        Self {
            encoder: Encoder::new(welcome.version).with_packet_bytes_max(welcome.packet_bytes_max),
            qos_max: welcome.qos_max,
            retains: welcome.retains,
            packet_bytes_max,
            inbox: rest,
            outbox: Vec::new(),
            asked: VecDeque::new(),
            lowered: BTreeSet::new(),
            release: None,
            passing: None,
            pings: 0,
            answers: 0,
        }
    }
}

/// The two connections of a bridge.
#[derive(Debug)]
pub(super) struct Relay<'a> {
    config: Arc<Bridge>,
    status: Arc<Status>,
    pub(super) memory: &'a mut Memory,
    pub(super) local: Half,
    pub(super) remote: Half,
    next_question: u16,
    /// All that was asked for at the beginning is answered.
    is_agreed: bool,
}

impl<'a> Relay<'a> {
    pub(super) fn new(
        (config, status): (Arc<Bridge>, Arc<Status>),
        memory: &'a mut Memory,
        (local, remote): (Half, Half),
    ) -> Self {
        let next_question = *QUESTION_IDS.start();
        Self { config, status, memory, local, remote, next_question, is_agreed: false }
    }

    pub(super) fn half(&self, side: Side) -> &Half {
        match side {
            Side::Local => &self.local,
            Side::Remote => &self.remote,
        }
    }

    pub(super) fn half_mut(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Local => &mut self.local,
            Side::Remote => &mut self.remote,
        }
    }

    /// Whether there is room for what comes from a side: on the way to the other, and for the answers on the way back.
    pub(super) fn has_room(&self) -> bool {
        self.local.outbox.len() < OUT_BYTES_MAX && self.remote.outbox.len() < OUT_BYTES_MAX
    }

    /// Has both sides forget what they have to, and subscribes at both.
    ///
    /// # Errors
    /// [`Failure::TooLong`].
    pub(super) fn begin(&mut self, now: Instant) -> Result<(), Failure> {
        self.memory.facing.resume(now);
        for side in [Side::Local, Side::Remote] {
            self.release(side)?;
            let qos_max = self.half(side.other()).qos_max.min(self.half(side).qos_max);
            let rests = |place: usize| side == Side::Remote && self.memory.resting.get(place) == Some(&true);
            let mut wanted: Vec<(String, SubscribeOptions)> = from(&self.config.rules, side)
                .enumerate()
                .filter(|(place, _)| !rests(*place))
                .map(|(_, rule)| (filter(rule, side).to_owned(), self.options(rule, side, qos_max)))
                .collect();
            let is_owed = |(filter, _): &&(String, SubscribeOptions)| self.memory.pairing.owes(side, filter);
            let of_new = wanted.iter().filter(|_| self.config.retained_values == RetainedValues::New);
            let owed: Vec<String> = of_new.filter(is_owed).map(|(filter, _)| filter.clone()).collect();
            if side == Side::Remote && self.remote.encoder.version() == Version::V5 {
                let of_facing = self.memory.facing.filters();
                wanted.extend(of_facing.map(|filter| (filter, SubscribeOptions::default())));
            }
            let question = self.subscribe(side, wanted)?;
            self.half_mut(side).passing =
                question.filter(|_| !owed.is_empty()).map(|id| Passing::new(id, owed));
        }
        // That they were given up may not have arrived the last time.
        self.unsubscribe(&self.resting())?;
        self.agree();
        Ok(())
    }

    /// How a rule subscribes on a side.
    fn options(&self, rule: &BridgeRule, side: Side, qos_max: Qos) -> SubscribeOptions {
        let options = options(&self.config, rule, qos_max);
        let is_new = self.config.retained_values == RetainedValues::New;
        // The session may have the subscription without anybody's having had its values.
        match is_new && self.memory.pairing.owes(side, filter(rule, side)) {
            true => SubscribeOptions { retain_handling: RetainHandling::Send, ..options },
            false => options,
        }
    }

    /// A side that may remember numbers of a session that is gone has to forget them first.
    fn release(&mut self, side: Side) -> Result<(), Failure> {
        let half = self.half(side);
        // A broker that cannot say what it takes is not told steps that it may not know.
        let may_know = half.encoder.version() == Version::V5
            || from(&self.config.rules, side.other()).any(|rule| rule.qos == Qos::ExactlyOnce.bits());
        if !self.memory.pairing.is_stale(side) || half.qos_max < Qos::ExactlyOnce || !may_know {
            return Ok(());
        }
        tracing::info!(
            bridge = self.config.name.as_str(),
            "{} may remember packet ids of a session that is gone: it is told to forget them",
            side.name()
        );
        let half = self.half_mut(side);
        let release = Release::ask(&half.encoder, &mut half.outbox);
        half.release = Some(release.map_err(|_| Failure::TooLong("PUBREL"))?);
        Ok(())
    }

    /// Filters at the broker of rules that rest.
    fn resting(&self) -> Vec<String> {
        let rules = from(&self.config.rules, Side::Remote).zip(&self.memory.resting);
        rules.filter(|(_, rests)| **rests).map(|(rule, _)| filter(rule, Side::Remote).to_owned()).collect()
    }

    /// The bridge is connected once nothing is open that was asked for at the beginning.
    fn agree(&mut self) {
        let is_open = !self.local.asked.is_empty() || !self.remote.asked.is_empty();
        if !is_open && !self.is_agreed {
            self.is_agreed = true;
            self.status.stands(Standing::Connected);
            tracing::info!(bridge = self.config.name.as_str(), url = %self.config.url, "a bridge is connected");
        }
    }

    fn subscribe(
        &mut self,
        side: Side,
        wanted: Vec<(String, SubscribeOptions)>,
    ) -> Result<Option<PacketId>, Failure> {
        if wanted.is_empty() {
            return Ok(None);
        }
        let packet_id = self.question_id();
        let list: Vec<(&str, SubscribeOptions)> =
            wanted.iter().map(|(filter, options)| (filter.as_str(), *options)).collect();
        let subscriptions = Subscriptions::new(&list);
        let subscribe = Subscribe { packet_id, properties: Properties::NONE, subscriptions };
        let half = self.half_mut(side);
        half.encoder.subscribe(&subscribe, &mut half.outbox).map_err(|_| Failure::TooLong("SUBSCRIBE"))?;
        half.asked.push_back((packet_id, wanted.into_iter().map(|(filter, _)| filter).collect()));
        Ok(Some(packet_id))
    }

    fn question_id(&mut self) -> PacketId {
        let id = self.next_question;
        self.next_question = if id == *QUESTION_IDS.end() { *QUESTION_IDS.start() } else { id + 1 };
        PacketId::new(id).unwrap_or(PacketId::FIRST)
    }

    /// Deals with the whole packets that have come from a side.
    ///
    /// # Errors
    /// The connection is over, or is to be ended.
    pub(super) fn take(&mut self, from: Side, now: Instant) -> Result<(), Failure> {
        let bytes = std::mem::take(&mut self.half_mut(from).inbox);
        let packet_bytes_max = self.half(from).packet_bytes_max;
        let mut used = 0;
        while let Some(rest) = bytes.get(used..) {
            let found = frame(rest, packet_bytes_max).map_err(|error| Failure::Fault(from, error))?;
            let Some(found) = found else { break };
            used += found.packet_bytes;
            self.packet(from, &found, now)?;
        }
        let mut rest = bytes;
        rest.drain(..used);
        // Of a large message nothing stays.
        rest.shrink_to(rest.len().max(OUT_BYTES_MAX));
        self.half_mut(from).inbox = rest;
        Ok(())
    }

    fn packet(&mut self, from: Side, found: &Frame<'_>, now: Instant) -> Result<(), Failure> {
        let version = self.half(from).encoder.version();
        let packet = decode_server(version, found).map_err(|error| Failure::Fault(from, error))?;
        match packet {
            ServerPacket::Publish(publish) => self.publish(from, &publish, now),
            ServerPacket::PubAck(ack) => self.puback(from, &ack),
            ServerPacket::PubRec(ack) => {
                self.note_refusal(from, ack.reason);
                self.pass(from.other(), &ack, Encoder::pubrec)
            }
            ServerPacket::PubRel(ack) if self.half(from.other()).qos_max < Qos::ExactlyOnce => {
                // The other side has no such exchange: the message went at a lower QoS.
                self.pass(from, &Ack::new(ack.packet_id, ReasonCode::Success), Encoder::pubcomp)
            }
            ServerPacket::PubRel(ack) => self.pass(from.other(), &ack, Encoder::pubrel),
            ServerPacket::PubComp(ack) if self.was_released(from, ack.packet_id) => Ok(()),
            ServerPacket::PubComp(ack) => self.pass(from.other(), &ack, Encoder::pubcomp),
            ServerPacket::SubAck(ack) | ServerPacket::UnsubAck(ack) => {
                self.answered(from, &ack);
                Ok(())
            }
            ServerPacket::PingResp => {
                self.answered_ping(from);
                Ok(())
            }
            ServerPacket::Disconnect(Disconnect { reason, properties }) => {
                Err(Failure::Disconnected(from, reason, told(properties.reason_string())))
            }
            ServerPacket::ConnAck(_) => Err(Failure::Misplaced(from, "a second CONNACK")),
            ServerPacket::Auth(_) => Err(Failure::Misplaced(from, "AUTH that was not asked for")),
        }
    }

    /// Whether this PUBCOMP is about a number that the side was told to forget.
    fn was_released(&mut self, side: Side, packet_id: PacketId) -> bool {
        let Some(release) = &mut self.half_mut(side).release else { return false };
        let is_ours = release.takes(packet_id);
        if release.is_over() {
            self.half_mut(side).release = None;
            self.memory.pairing.is_released(side);
        }
        is_ours
    }

    fn answered_ping(&mut self, from: Side) {
        self.half_mut(from).answers += 1;
        let answers = self.half(from).answers;
        if self.half(from).passing.as_ref().is_some_and(|passing| passing.is_given(answers)) {
            let pings = self.ping(from.other());
            self.half_mut(from).passing.iter_mut().for_each(|passing| passing.given(pings));
        }
        let of_other = &mut self.half_mut(from.other()).passing;
        if let Some(passing) = of_other.take_if(|passing| passing.is_over(answers)) {
            self.memory.pairing.have_passed(from.other(), passing.into_filters());
        }
    }

    /// Whether values of a side are on their way.
    pub(super) fn is_coming(&self, side: Side) -> bool {
        self.half(side).passing.as_ref().is_some_and(Passing::is_coming)
    }

    /// The same, and whether none has come since the last look: all that is seen of a server that does not say more.
    pub(super) fn is_quiet(&mut self, side: Side) -> bool {
        self.half_mut(side).passing.as_mut().is_some_and(Passing::is_quiet)
    }

    /// A side has no more values to send.
    pub(super) fn has_said_all(&mut self, side: Side) {
        let pings = self.ping(side);
        self.half_mut(side).passing.iter_mut().for_each(|passing| passing.said(pings));
    }

    /// A step of an exchange, without the words beside it.
    fn pass(
        &mut self,
        to: Side,
        ack: &Ack<'_>,
        put: fn(&Encoder, &Ack<'_>, &mut Vec<u8>) -> Result<(), Unsent>,
    ) -> Result<(), Failure> {
        let half = self.half_mut(to);
        put(&half.encoder, &Ack::new(ack.packet_id, ack.reason), &mut half.outbox)
            .map_err(|_| Failure::TooLong("an acknowledgement"))
    }

    fn puback(&mut self, from: Side, ack: &Ack<'_>) -> Result<(), Failure> {
        self.note_refusal(from, ack.reason);
        // That nobody is subscribed is of interest to publishers only.
        let reason = if ack.reason.is_failure() { ack.reason } else { ReasonCode::Success };
        let ack = Ack::new(ack.packet_id, reason);
        let to = from.other();
        match self.half_mut(to).lowered.remove(&ack.packet_id) {
            true => self.pass(to, &ack, Encoder::pubrec),
            false => self.pass(to, &ack, Encoder::puback),
        }
    }

    fn note_refusal(&self, by: Side, reason: ReasonCode) {
        if reason.is_failure() {
            let (code, name) = (reason.byte(), reason.name());
            self.lose(Loss::Refused, &format!("{} refused one: {code:#04x} {name}", by.name()));
        }
    }

    /// Counts a message that is not on the other side; it is said at every doubling.
    fn lose(&self, loss: Loss, about: &str) {
        let count = self.status.lost(loss);
        // A message that has been there already is nobody's loss.
        if loss != Loss::Loop && count.is_power_of_two() {
            let bridge = self.config.name.as_str();
            tracing::warn!(bridge, count, "messages do not pass: {about}");
        }
    }

    fn publish(&mut self, from: Side, publish: &Publish<'_>, now: Instant) -> Result<(), Failure> {
        if publish.topic.is_empty() {
            return Err(Failure::Misplaced(from, "a topic alias, and none was allowed"));
        }
        if let Some(passing) = self.half_mut(from).passing.as_mut().filter(|_| publish.retain) {
            passing.came();
        }
        if from == Side::Remote && self.memory.facing.hear((publish.topic, publish.payload), now) {
            return self.settle(from, publish);
        }
        let topic = other_name(&self.config.rules, from, publish.topic);
        let passed = topic.ok_or(Loss::Unmatched).and_then(|topic| self.hand_over(from, &topic, publish));
        match passed {
            Ok(Passed::WithAck) => Ok(()),
            Ok(Passed::Alone) => self.settle(from, publish),
            Err(loss) => {
                let about = match loss {
                    Loss::Unmatched => "no rule is about them",
                    Loss::TooLarge => "they are too large for the other side",
                    Loss::Loop | Loss::Refused => "",
                };
                self.lose(loss, about);
                self.settle(from, publish)
            }
        }
    }

    /// The other side gets it, as far as it takes such messages.
    fn hand_over(&mut self, from: Side, topic: &str, publish: &Publish<'_>) -> Result<Passed, Loss> {
        let mut properties = PropertyBuf::new();
        properties.push_passed_on(&publish.properties);
        trail(&self.memory.facing, from, &publish.properties, &mut properties)?;
        let keeps = self.config.retain;
        let to = self.half_mut(from.other());
        let qos = publish.qos.min(to.qos_max);
        let passed = Publish {
            dup: publish.dup,
            qos,
            retain: publish.retain && keeps && to.retains,
            topic,
            packet_id: publish.packet_id.filter(|_| qos > Qos::AtMostOnce),
            properties: properties.as_properties(),
            payload: publish.payload,
        };
        to.encoder.publish(&passed, &mut to.outbox).map_err(|_| Loss::TooLarge)?;
        match from {
            Side::Local => self.status.sent_out(),
            Side::Remote => self.status.taken_in(),
        }
        match (publish.qos, qos) {
            (asked, Qos::AtMostOnce) if asked > qos => Ok(Passed::Alone),
            (Qos::ExactlyOnce, Qos::AtLeastOnce) => {
                self.half_mut(from).lowered.extend(publish.packet_id);
                Ok(Passed::WithAck)
            }
            _ => Ok(Passed::WithAck),
        }
    }

    /// Of a message that is not the other side's business the bridge is the receiver. What follows PUBREC is passed on all
    /// the same, as the other side answers for numbers that it does not know.
    fn settle(&mut self, from: Side, publish: &Publish<'_>) -> Result<(), Failure> {
        let Some(packet_id) = publish.packet_id else { return Ok(()) };
        let ack = Ack::new(packet_id, ReasonCode::Success);
        match publish.qos {
            Qos::AtMostOnce => Ok(()),
            Qos::AtLeastOnce => self.pass(from, &ack, Encoder::puback),
            Qos::ExactlyOnce => self.pass(from, &ack, Encoder::pubrec),
        }
    }

    /// What was asked for at the beginning has to be granted.
    fn answered(&mut self, from: Side, ack: &SubAck<'_>) {
        let half = self.half_mut(from);
        let Some(at) = half.asked.iter().position(|(packet_id, _)| *packet_id == ack.packet_id) else {
            return;
        };
        let Some((_, filters)) = half.asked.remove(at) else { return };
        let of_facing = self.memory.facing.filters();
        let refused = || filters.iter().zip(ack.codes.iter()).filter(|(_, code)| code.is_failure());
        let not_granted: Vec<&String> = refused().map(|(filter, _)| filter).collect();
        let passing = self.half_mut(from).passing.iter_mut();
        passing.for_each(|passing| passing.granted(ack.packet_id, &not_granted));
        for (filter, code) in refused() {
            let (bridge, by, reason) = (self.config.name.as_str(), from.name(), code.name());
            if from == Side::Remote && of_facing.contains(filter) {
                tracing::info!(bridge, filter, reason, "{by} does not say whether it has bridges");
                continue;
            }
            tracing::warn!(bridge, filter, reason, "{by} does not grant a filter of the bridge");
            self.status.refused(filter);
        }
        self.agree();
    }

    /// Lets rules rest while the other side sends what they take in, and has them work again when it does not.
    ///
    /// # Errors
    /// [`Failure::TooLong`].
    pub(super) fn adjust(&mut self, now: Instant) -> Result<(), Failure> {
        self.memory.facing.forget(now);
        let is_sent = |rule| self.memory.facing.is_sent(rule);
        let rests: Vec<bool> = from(&self.config.rules, Side::Remote).map(is_sent).collect();
        let changes = self.memory.resting.iter().zip(&rests).any(|(before, rests)| before != rests);
        if changes {
            self.change_resting(rests)?;
        }
        self.status.resting(self.resting());
        Ok(())
    }

    fn change_resting(&mut self, rests: Vec<bool>) -> Result<(), Failure> {
        let qos_max = self.local.qos_max.min(self.remote.qos_max);
        let (mut ends, mut begins) = (Vec::new(), Vec::new());
        let rules = from(&self.config.rules, Side::Remote);
        for ((rule, rests), before) in rules.zip(&rests).zip(&self.memory.resting) {
            let filter = filter(rule, Side::Remote).to_owned();
            match (before, rests) {
                (false, true) => ends.push(filter),
                (true, false) => {
                    let options = self.options(rule, Side::Remote, qos_max);
                    // Those that are not owed have come by the other's own bridge.
                    let retain_handling = match options.retain_handling {
                        RetainHandling::SendIfNew => RetainHandling::DoNotSend,
                        asked => asked,
                    };
                    begins.push((filter, SubscribeOptions { retain_handling, ..options }));
                }
                (true, true) | (false, false) => {}
            }
        }
        self.memory.resting = rests;
        let (bridge, resting) = (self.config.name.as_str(), self.resting());
        tracing::info!(
            bridge,
            ?resting,
            "filters that rest, since the broker sends such messages by a bridge of its own"
        );
        self.subscribe(Side::Remote, begins)?;
        self.unsubscribe(&ends)
    }

    fn unsubscribe(&mut self, filters: &[String]) -> Result<(), Failure> {
        if filters.is_empty() {
            return Ok(());
        }
        let packet_id = self.question_id();
        let list: Vec<&str> = filters.iter().map(String::as_str).collect();
        let unsubscribe =
            Unsubscribe { packet_id, properties: Properties::NONE, filters: Filters::new(&list) };
        let remote = &mut self.remote;
        let put = remote.encoder.unsubscribe(&unsubscribe, &mut remote.outbox);
        put.map_err(|_| Failure::TooLong("UNSUBSCRIBE"))?;
        remote.asked.push_back((packet_id, filters.to_vec()));
        Ok(())
    }

    /// Asks a side for a sign of life; how often it was asked by now.
    pub(super) fn ping(&mut self, side: Side) -> u64 {
        let half = self.half_mut(side);
        // Two bytes fit.
        let _ = half.encoder.pingreq(&mut half.outbox);
        half.pings += 1;
        half.pings
    }

    /// Says goodbye to a side, which keeps the session.
    pub(super) fn leave(&mut self, side: Side, reason: ReasonCode) {
        let half = self.half_mut(side);
        // A code alone fits.
        let _ = half.encoder.client_disconnect(&Disconnect::new(reason), &mut half.outbox);
    }
}

/// Who acknowledges a message that was passed on.
enum Passed {
    /// The other side.
    WithAck,
    /// Nobody: it takes no acknowledged ones.
    Alone,
}

/// How a rule subscribes.
pub(super) fn options(config: &Bridge, rule: &BridgeRule, qos_max: Qos) -> SubscribeOptions {
    SubscribeOptions {
        qos: Qos::from_bits(rule.qos).unwrap_or_default().min(qos_max),
        no_local: true,
        retain_as_published: true,
        retain_handling: match config.retained_values {
            RetainedValues::New => RetainHandling::SendIfNew,
            RetainedValues::Always => RetainHandling::Send,
            RetainedValues::Never => RetainHandling::DoNotSend,
        },
    }
}

/// The code with which a fault of a server is told to it.
pub(super) fn code_of(failure: &Failure) -> ReasonCode {
    match failure {
        Failure::Fault(_, Error { answer: Answer::Code(code), .. }) => *code,
        Failure::Fault(..) | Failure::Misplaced(..) => ReasonCode::ProtocolError,
        _ => ReasonCode::Success,
    }
}
