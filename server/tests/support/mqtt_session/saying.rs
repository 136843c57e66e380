//! What clients and the back end do: the steps of a script, in the form of packets and commands.
//!
//! A client keeps to the rules as far as it knows, unless it is rude. Must not know what follows: that is `tap`'s and
//! `hearing`'s. Start at [`World::step`].

use hub::{
    Body, ChannelName, Command, Members, MessageId, Publish as HubPublish, Quality, Reason, Target, Token,
    Traits,
};
use trunkline::mail::Mail;
use wire::mqtt::{
    Ack, Auth, ClientPacket, Connect, Disconnect, Encoder, Filters, Level, PacketId, Properties, Property,
    PropertyBuf, Publish, Qos, ReasonCode, RetainHandling, Subscribe, SubscribeOptions, Subscriptions,
    Unsubscribe, Value, Version, Will,
};

use super::Met;
use super::line::{Blame, Line, Phase};
use super::memory::{Outgoing, Stage};
use super::message::Retain;
use super::script::{LINES, Part, Step, What};
use super::world::World;

const NAMES: [&str; 3] = ["a", "b", "c2"];

const TOPICS: [&str; 8] = ["t", "t/a", "t/b", "u", "u/a/b", "/", "t//", "ü"];

const FILTERS: [&str; 16] = [
    "#",
    "t",
    "t/#",
    "t/+",
    "+",
    "u/#",
    "$share/g/t/#",
    "$share/g/#",
    "$share/h/t",
    "t/a",
    "+/a/#",
    "/",
    "ü",
    "$share/g/+",
    "u",
    "t/b",
];

/// Numbers that clients use for their messages: few, so that they are used again.
const IDS: u16 = 5;

/// How long a step of time is. Milliseconds.
const TIMES_MS: [u64; 8] = [1, 2, 100, 500, 999, 1_500, 3_001, 6_000];

/// Longer than most sessions are kept.
const LONG_MS: u64 = 3_700_000;

/// Bytes of payloads.
const LENGTHS: [usize; 8] = [1, 10, 60, 300, 700, 5_000, 1, 20_000];

/// Rounds of time at the end, more than anything takes.
const ROUNDS_MAX: usize = 10_000;

impl World {
    pub fn step(&mut self, step: Step<'_>) {
        let at = step.line;
        self.trace(|| format!("{at} {step:?}"));
        match step.what {
            What::Connect(b, c) => {
                self.open(at, step.shard);
                self.connect(step, (b, c));
            }
            What::Return(..) if self.useful(step).is_some() => {}
            What::Return(b, c) => {
                self.open(at, step.shard);
                self.connect(step, (b, c));
            }
            What::Subscribe(b, c) => self.subscribe(step, (b, c)),
            What::Unsubscribe(b) => self.unsubscribe(step, b),
            What::Publish(b, c) => self.publish(step, (b, c)),
            What::Answer(b) => self.answer(step, b),
            What::Resend => self.resend(step),
            What::Ping => self.tell(step, &ClientPacket::PingReq),
            What::Disconnect(b) => self.disconnect(step, b),
            What::Cut => self.cut(at),
            What::Pass(255) => self.pass(LONG_MS),
            What::Pass(b) => self.pass(TIMES_MS[usize::from(b) % TIMES_MS.len()]),
            What::Stall => self.stall(at),
            What::Raw(bytes) => self.raw(step, bytes),
            What::Rude(b) => self.rude(step, b),
            What::Office(b, c) => self.office((b, c)),
            What::Restart => self.restart(),
        }
        self.follow(step);
    }

    /// The line of a step, if its client would say something there.
    fn useful(&mut self, step: Step<'_>) -> Option<&mut Line> {
        self.line(step.line).filter(|line| line.is_of_use())
    }

    fn tell(&mut self, step: Step<'_>, packet: &ClientPacket<'_>) {
        let Some(line) = self.useful(step) else { return };
        let mut bytes = Vec::new();
        Encoder::new(line.version).client_packet(packet, &mut bytes).unwrap();
        self.say(step.line, &bytes, step.part);
    }

    fn connect(&mut self, step: Step<'_>, (b, c): (u8, u8)) {
        let name = NAMES.get(usize::from(b & 3)).copied().unwrap_or_default();
        let level = match b >> 2 & 3 {
            2 => Level::V311,
            3 if !name.is_empty() => Level::V31,
            3 => Level::V311,
            _ => Level::V5,
        };
        let mut properties = PropertyBuf::new();
        let mut put = |property, value| properties.push(property, value).unwrap();
        if level == Level::V5 {
            let expiry = [0, 5, 3600, u32::MAX][usize::from(c & 3)];
            let expiry = if name.is_empty() { 0 } else { expiry };
            put(Property::SessionExpiryInterval, Value::U32(expiry));
            if let Some(window) = [None, Some(1), Some(2), Some(5)][usize::from(c >> 2 & 3)] {
                put(Property::ReceiveMaximum, Value::U16(window));
            }
            if let Some(most) = [None, Some(40), Some(200), Some(1000)][usize::from(c >> 4 & 3)] {
                put(Property::MaximumPacketSize, Value::U32(most));
            }
            put(Property::TopicAliasMaximum, Value::U16(u16::from(c >> 6 & 1) * 2));
        }
        let payload = self.messages.compose(8);
        let mut of_will = PropertyBuf::new();
        of_will.push(Property::WillDelayInterval, Value::U32(u32::from(c >> 1 & 1) * 2)).unwrap();
        let will = Will {
            topic: TOPICS[usize::from(c & 7)],
            payload: &payload,
            qos: Qos::from_bits((b >> 6).min(2)).unwrap(),
            retain: c & 8 != 0,
            properties: if level == Level::V5 { of_will.as_properties() } else { Properties::NONE },
        };
        let connect = Connect {
            level,
            is_bridge: false,
            clean_start: b & 0x90 == 0x90 || name.is_empty(),
            keep_alive_seconds: if c >= 0xe0 { 2 } else { 0 },
            client_id: name,
            will: (b >> 5 & 1 == 1).then_some(will),
            user_name: None,
            password: None,
            properties: properties.as_properties(),
        };
        let mut bytes = Vec::new();
        Encoder::new(level.version()).connect(&connect, &mut bytes).unwrap();
        self.say(step.line, &bytes, step.part);
    }

    fn subscribe(&mut self, step: Step<'_>, (b, c): (u8, u8)) {
        let Some(version) = self.useful(step).map(|line| line.version) else { return };
        let options = |filter: &str| SubscribeOptions {
            qos: Qos::from_bits((b >> 4 & 3).min(2)).unwrap(),
            no_local: c & 1 == 1 && !filter.starts_with("$share"),
            retain_as_published: c & 2 != 0,
            retain_handling: [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend]
                [usize::from(c >> 2 & 3).min(2)],
        };
        let filters = [FILTERS[usize::from(b & 15)], FILTERS[usize::from(b.wrapping_add(5) & 15)]];
        let filters = filters.get(..1 + usize::from(c >> 6 & 1)).unwrap_or_default();
        let list: Vec<_> = filters.iter().map(|filter| (*filter, options(filter))).collect();
        let mut properties = PropertyBuf::new();
        let label = [0, 0, 7, 300][usize::from(c >> 4 & 3)];
        if label > 0 && version == Version::V5 {
            properties.push(Property::SubscriptionIdentifier, Value::Varint(label)).unwrap();
        }
        let subscribe = Subscribe {
            packet_id: question_id(b),
            properties: properties.as_properties(),
            subscriptions: Subscriptions::new(&list),
        };
        self.tell(step, &ClientPacket::Subscribe(subscribe));
    }

    fn unsubscribe(&mut self, step: Step<'_>, b: u8) {
        let filters = [FILTERS[usize::from(b & 15)], FILTERS[usize::from(b >> 4)]];
        let unsubscribe = Unsubscribe {
            packet_id: question_id(b),
            properties: Properties::NONE,
            filters: Filters::new(&filters),
        };
        self.tell(step, &ClientPacket::Unsubscribe(unsubscribe));
    }

    fn publish(&mut self, step: Step<'_>, (b, c): (u8, u8)) {
        let most = self.config.mqtt.packet_bytes_max as usize / 2;
        let payload = self.messages.compose(LENGTHS[usize::from(c & 7)].min(most));
        let aliases = self.config.mqtt.topic_alias_maximum > 0;
        let Some(line) = self.useful(step) else { return };
        let (version, phase) = (line.version, line.phase);
        let name = TOPICS[usize::from(b & 7)];
        let topic = if c >> 3 & 7 == 1 { format!("$delayed/1/{name}") } else { name.to_owned() };
        let mut properties = PropertyBuf::new();
        let mut put = |property, value| properties.push(property, value).unwrap();
        // A name is told with its alias, or by it if that is not about to be changed by what waits.
        let by_alias = line.aliases_out.get(&1).is_some_and(|known| *known == topic) && line.queue.is_empty();
        let with_alias = version == Version::V5 && aliases && phase == Phase::In && b >> 6 & 1 == 1;
        if with_alias {
            put(Property::TopicAlias, Value::U16(1));
        }
        if c >> 3 & 7 == 2 && version == Version::V5 {
            put(Property::MessageExpiryInterval, Value::U32(1));
        }
        let qos =
            [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::ExactlyOnce][usize::from(b >> 3 & 3)];
        let retain = b >> 5 & 1 == 1;
        let mut publish = Publish {
            dup: false,
            qos,
            retain,
            topic: if with_alias && by_alias { "" } else { &topic },
            packet_id: None,
            properties: properties.as_properties(),
            payload: &payload,
        };
        if qos != Qos::AtMostOnce {
            let Some(id) = self.take_id(step, (qos, retain), (&topic, &payload)) else { return };
            publish.packet_id = PacketId::new(id);
        }
        self.tell(step, &ClientPacket::Publish(publish));
    }

    /// A number for a message, as long as the client may send one.
    fn take_id(
        &mut self,
        step: Step<'_>,
        (qos, retain): (Qos, bool),
        (topic, payload): (&str, &[u8]),
    ) -> Option<u16> {
        let (line, person) = self.both(step.line).filter(|(line, _)| line.phase == Phase::In)?;
        let id = person.memory.free_id(IDS).filter(|_| line.open < line.open_max)?;
        line.open += 1;
        person.memory.outgoing.push(Outgoing {
            id,
            qos,
            topic: topic.to_owned(),
            payload: payload.to_owned(),
            retain,
            stage: Stage::Sent,
            is_queued: true,
            is_old: false,
        });
        Some(id)
    }

    /// What the client owes is answered: the first of it or all, or an exchange is declined.
    fn answer(&mut self, step: Step<'_>, b: u8) {
        if self.useful(step).is_none_or(|line| line.phase != Phase::In) {
            return;
        }
        let most = if b & 1 == 1 { usize::MAX } else { 1 };
        for (kind, id) in self.owed(step.line).into_iter().take(most) {
            let Some(packet_id) = PacketId::new(id) else { continue };
            let is_v5 = self.useful(step).is_some_and(|line| line.version == Version::V5);
            let ack = Ack::new(packet_id, ReasonCode::Success);
            let packet = match kind {
                4 => ClientPacket::PubAck(ack),
                5 if is_v5 && b >> 1 & 3 == 3 => {
                    self.meet("declined");
                    ClientPacket::PubRec(Ack::new(packet_id, ReasonCode::QuotaExceeded))
                }
                5 => ClientPacket::PubRec(ack),
                6 => ClientPacket::PubRel(ack),
                _ => ClientPacket::PubComp(ack),
            };
            self.tell(step, &packet);
        }
    }

    /// Types of packets and numbers. Each is owed no more after this.
    fn owed(&mut self, at: usize) -> Vec<(u8, u16)> {
        let Some((line, person)) = self.both(at) else { return Vec::new() };
        let mut owed: Vec<(u8, u16)> = line.strays.drain(..).map(|id| (7, id)).collect();
        for known in person.memory.incoming.iter_mut().filter(|known| !known.is_answered) {
            let kind = match (known.stage, known.qos) {
                (Stage::Sent, Qos::ExactlyOnce) if known.is_here() => 5,
                (Stage::Sent, _) if known.is_here() => 4,
                (Stage::Released, _) => 7,
                (Stage::Sent | Stage::Received, _) => continue,
            };
            known.is_answered = true;
            owed.push((kind, known.id));
        }
        let received =
            |known: &&mut Outgoing| known.stage == Stage::Received && known.qos == Qos::ExactlyOnce;
        for known in person.memory.outgoing.iter_mut().filter(received) {
            known.stage = Stage::Released;
            owed.push((6, known.id));
        }
        owed
    }

    fn resend(&mut self, step: Step<'_>) {
        let is_in =
            |(line, _): &(&mut Line, &mut super::world::Person)| line.phase == Phase::In && line.is_resumed;
        let Some((line, person)) = self.both(step.line).filter(is_in) else { return };
        if !line.is_of_use() || std::mem::replace(&mut line.has_sent_again, true) {
            return;
        }
        let mut again = Vec::new();
        for known in person.memory.outgoing.iter_mut().filter(|known| known.is_old) {
            if known.stage == Stage::Sent && line.open >= line.open_max {
                continue;
            }
            if known.stage == Stage::Sent {
                known.is_old = false;
                line.open += 1;
            }
            again.push(known.clone());
        }
        for known in &again {
            let Some(packet_id) = PacketId::new(known.id) else { continue };
            let packet = match known.stage {
                Stage::Sent => ClientPacket::Publish(Publish {
                    dup: true,
                    qos: known.qos,
                    retain: known.retain,
                    topic: &known.topic,
                    packet_id: Some(packet_id),
                    properties: Properties::NONE,
                    payload: &known.payload,
                }),
                Stage::Received | Stage::Released => {
                    ClientPacket::PubRel(Ack::new(packet_id, ReasonCode::Success))
                }
            };
            self.tell(step, &packet);
            self.meet("client sends again");
        }
    }

    fn disconnect(&mut self, step: Step<'_>, b: u8) {
        let Some(line) = self.useful(step) else { return };
        let may_change = line.terms.as_ref().is_some_and(|terms| terms.expiry > 0);
        let mut properties = PropertyBuf::new();
        if b & 2 != 0 && may_change && line.version == Version::V5 {
            let expiry = [0, 2, u32::MAX][usize::from(b >> 2) % 3];
            properties.push(Property::SessionExpiryInterval, Value::U32(expiry)).unwrap();
        }
        let reason = if b & 1 == 1 { ReasonCode::DisconnectWithWill } else { ReasonCode::Success };
        let properties = properties.as_properties();
        self.tell(step, &ClientPacket::Disconnect(Disconnect { reason, properties }));
    }

    fn stall(&mut self, at: usize) {
        if let Some(line) = self.line(at) {
            line.is_stalled = !line.is_stalled;
            line.was_stalled = true;
        }
    }

    fn raw(&mut self, step: Step<'_>, bytes: &[u8]) {
        let Some(first) = bytes.first() else { return };
        if self.line(step.line).is_none_or(|line| line.phase == Phase::Ended) {
            self.open(step.line, step.shard);
        }
        let Some(line) = self.line(step.line).filter(|line| !line.is_superseded && line.blame < Blame::Over)
        else {
            return;
        };
        let is_first = line.phase == Phase::Silent && line.said.is_empty() && line.queue.is_empty();
        line.blames(if is_first && *first != 0x10 { Blame::Foreign } else { Blame::Rude });
        self.say(step.line, bytes, step.part);
        self.meet("raw");
    }

    /// A CONNECT that nobody takes.
    fn ask_wrongly(&mut self, step: Step<'_>, b: u8) {
        const WRONG: [&[u8]; 4] = [
            // Level 6; MQIsdp 4; no name and not clean; a will of QoS 3.
            b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x00\x00\x00\x00",
            b"\x10\x0e\x00\x06MQIsdp\x04\x02\x00\x00\x00\x00",
            b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00",
            b"\x10\x0c\x00\x04MQTT\x04\x1e\x00\x00\x00\x00",
        ];
        self.open(step.line, step.shard);
        if let Some(line) = self.line(step.line) {
            line.blames(Blame::Rude);
        }
        self.say(step.line, WRONG[usize::from(b) % WRONG.len()], step.part);
    }

    fn rude(&mut self, step: Step<'_>, b: u8) {
        match self.line(step.line).map(|line| line.phase) {
            Some(Phase::In) if self.useful(step).is_some() => {}
            Some(Phase::Ended) | None => return self.ask_wrongly(step, b),
            Some(_) => return,
        }
        self.meet("rude");
        let id = PacketId::new(1 + u16::from(b >> 4)).unwrap();
        let ack = Ack::new(id, ReasonCode::Success);
        let payload = self.messages.compose(3);
        let message = Publish {
            dup: false,
            qos: Qos::ExactlyOnce,
            retain: false,
            topic: "t",
            packet_id: Some(id),
            properties: Properties::NONE,
            payload: &payload,
        };
        let mut alias = PropertyBuf::new();
        alias.push(Property::TopicAlias, Value::U16(99)).unwrap();
        let mut method = PropertyBuf::new();
        method.push(Property::AuthenticationMethod, Value::Text("SCRAM-SHA-256")).unwrap();
        let Some(line) = self.useful(step) else { return };
        let version = line.version;
        if b % 12 < 10 {
            line.blames(Blame::Rude);
        }
        let packet = match b % 12 {
            0 => ClientPacket::PubAck(ack),
            1 => ClientPacket::PubRec(ack),
            2 => ClientPacket::PubComp(ack),
            3 => ClientPacket::PubRel(ack),
            4 if version == Version::V5 => {
                ClientPacket::Publish(Publish { properties: alias.as_properties(), ..message })
            }
            5 => ClientPacket::Publish(Publish { topic: "t/+", ..message }),
            6 if version == Version::V5 => {
                let reason = ReasonCode::Reauthenticate;
                ClientPacket::Auth(Auth { reason, properties: method.as_properties() })
            }
            7 => return self.flood(step, message),
            8 => return self.say(step.line, &[0x20, 2, 0, 0], Part::All),
            // Another message under a number that may be in use: the server keeps the first.
            9 => ClientPacket::Publish(message),
            // Nobody may: that is acknowledged all the same.
            _ => {
                let qos = Qos::AtMostOnce;
                ClientPacket::Publish(Publish { topic: "$SYS/x", qos, packet_id: None, ..message })
            }
        };
        self.tell(step, &packet);
    }

    /// More at once than the server takes.
    fn flood(&mut self, step: Step<'_>, message: Publish<'_>) {
        for id in 1000..1030 {
            let packet_id = PacketId::new(id);
            self.tell(step, &ClientPacket::Publish(Publish { packet_id, ..message }));
        }
    }

    fn office(&mut self, (b, c): (u8, u8)) {
        let name = NAMES[usize::from(b >> 4) % NAMES.len()];
        match b % 4 {
            0 => self.end_session(name, if c & 1 == 1 { Reason::Kicked } else { Reason::Disconnected }),
            1 => {
                let channel = ChannelName::parse(TOPICS[usize::from(c & 7)], 100).unwrap();
                let home = channel.home(&self.node.topology());
                let command = Command::DropRetained { channel, token: Token(1) };
                self.send(home, Mail::Hub(command));
            }
            _ => self.publish_as_back_end(c),
        }
    }

    fn end_session(&mut self, name: &str, reason: Reason) {
        self.catch_up();
        let person = self.person(name);
        let line = self.people[person].line;
        if let Some(line) = line.and_then(|at| self.line(at)) {
            line.is_to_end = true;
        }
        let of = Members::Name(name.into());
        self.command_of(name, Command::EndMembers { of, reason, token: Token(2) });
        self.rest();
        let person = &mut self.people[person];
        assert!(person.line.is_none(), "the back end's word is not heeded");
        if reason == Reason::Kicked {
            person.has_session = false;
        }
    }

    fn publish_as_back_end(&mut self, c: u8) {
        let payload = self.messages.compose(5);
        let quality =
            [Quality::AtMostOnce, Quality::AtLeastOnce, Quality::ExactlyOnce][usize::from(c >> 3) % 3];
        let qos = Qos::from_bits(quality as u8).unwrap();
        let retain = c >> 6 & 1 == 1;
        self.messages.sent(&payload, qos, Retain::from(retain));
        let topic = TOPICS[usize::from(c & 7)];
        if retain {
            self.kept.insert(topic.to_owned());
        }
        let channel = ChannelName::parse(topic, 100).unwrap();
        let home = channel.home(&self.node.topology());
        let publish = HubPublish {
            id: MessageId(u128::from(self.now()) << 80 | u128::from(c)),
            target: Target::Channel(channel),
            event: None,
            body: Body::Raw(payload.into()),
            volatile: c >> 7 == 1,
            except: None,
            reply_within_ms: None,
            token: Some(Token(3)),
            traits: Traits { quality, retain, ..Traits::default() },
            receipt: None,
        };
        self.send(home, Mail::Hub(Command::Publish(Box::new(publish))));
    }

    /// Everybody leaves for good; what time brings is waited for, and what is retained taken away. Then nothing is left.
    pub fn leave(mut self) -> Met {
        (0..LINES).for_each(|at| self.cut(at));
        self.rest();
        let names: Vec<String> = self.people.iter().map(|person| person.name.clone()).collect();
        for name in names.iter().filter(|name| !name.is_empty()) {
            let reason = Reason::Kicked;
            let of = Members::Name(name.as_str().into());
            self.command_of(name, Command::EndMembers { of, reason, token: Token(4) });
        }
        self.rest();
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "there is always something to come");
            let Some(next) = self.node.next_deadline() else { break };
            self.node.advance(next.0.saturating_sub(self.node.now().0).max(1));
            self.rest();
        }
        for topic in std::mem::take(&mut self.kept) {
            let Ok(channel) = ChannelName::parse(&topic, u32::MAX) else { continue };
            let home = channel.home(&self.node.topology());
            self.send(home, Mail::Hub(Command::DropRetained { channel, token: Token(5) }));
            self.rest();
        }
        drop(self.node.reports());
        assert!(self.node.is_idle(), "something is left: {:?}", self.node.stats());
        assert_eq!(self.node.stats().connections, 0);
        assert_eq!(self.node.hubs().map(hub::Hub::len).sum::<usize>(), 0);
        self.met
    }
}

/// Questions have numbers of their own, so that a message under way is not in their way.
fn question_id(b: u8) -> PacketId {
    PacketId::new(100 + u16::from(b)).unwrap()
}
