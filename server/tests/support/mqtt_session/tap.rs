//! What clients write, read as a server would: so it is known what they are owed, and what they may be told, whatever bytes a
//! script made them write.
//!
//! Must not know why something is written. Start at [`World::say`].

use wire::mqtt::{
    Ack, ClientPacket, Connect, Disconnect, Property, Publish, Qos, ReasonCode, Subscribe, Value, Version,
    decode_client, frame, oversized_connect, parse_share,
};

use super::line::{Blame, Phase, Question, Terms};
use super::memory::{Fit, Stage, Want};
use super::message::{Retain, number};
use super::script::Part;
use super::world::World;

/// More turns than a server needs to take what it is sent.
const TURNS_MAX: u32 = 10_000;

impl World {
    /// Writes bytes behind those that wait.
    pub fn say(&mut self, at: usize, bytes: &[u8], part: Part) {
        let Some(line) = self.line(at) else { return };
        line.queue.extend_from_slice(bytes);
        let count = match part {
            Part::All => line.queue.len(),
            Part::Half => line.queue.len() / 2,
        };
        let now: Vec<u8> = line.queue.drain(..count).collect();
        line.said.extend_from_slice(&now);
        self.tap(at);
        self.write(at, &now);
    }

    fn write(&mut self, at: usize, mut bytes: &[u8]) {
        for _ in 0..TURNS_MAX {
            let Some(line) = self.line(at).filter(|_| !bytes.is_empty()) else { return };
            let written = line.write(bytes);
            bytes = bytes.get(written..).unwrap_or_default();
            if written == 0 {
                self.node.turn();
            }
        }
        panic!("the server does not read");
    }

    /// Looks at the packets that are whole by now.
    fn tap(&mut self, at: usize) {
        let packet_bytes_max = self.config.mqtt.packet_bytes_max;
        let connect_bytes_max = packet_bytes_max.min(self.config.mqtt.connect_bytes_max);
        loop {
            let Some(line) = self.line(at).filter(|line| line.blame < Blame::Over) else { return };
            let bytes_max = match line.phase {
                Phase::Silent => connect_bytes_max,
                _ => packet_bytes_max,
            };
            let packet_bytes = match frame(&line.said, bytes_max) {
                Ok(Some(frame)) => frame.packet_bytes,
                Ok(None) => return,
                Err(error) => {
                    let is_too_large = error.code() == Some(ReasonCode::PacketTooLarge);
                    if line.phase == Phase::Silent && is_too_large {
                        let Some(error) = oversized_connect(&line.said) else { return };
                        return line.is_refused(&error);
                    }
                    return line.blames(Blame::Over);
                }
            };
            let packet: Vec<u8> = line.said.drain(..packet_bytes).collect();
            self.tapped(at, &packet);
            let now = self.now();
            if let Some(line) = self.line(at) {
                line.spoke_at = now;
            }
        }
    }

    fn tapped(&mut self, at: usize, bytes: &[u8]) {
        let Some(line) = self.line(at) else { return };
        let Ok(Some(frame)) = frame(bytes, u32::MAX) else { return };
        let terms = line.terms.as_ref();
        let is_v31 = terms.is_some_and(|terms| terms.level == wire::mqtt::Level::V31);
        let version = terms.map(|terms| terms.level.version());
        let frame = if is_v31 { frame.with_flags_of_v311() } else { frame };
        let decoded = decode_client(version, &frame);
        self.trace(|| format!("{at} > {decoded:?}"));
        let Some(line) = self.line(at) else { return };
        match decoded {
            Ok(ClientPacket::Connect(connect)) => self.tapped_connect(at, &connect),
            Ok(ClientPacket::Publish(publish)) => self.tapped_publish(at, &publish),
            Ok(ClientPacket::PubAck(ack)) => {
                self.tapped_step(at, &ack, |known| known.qos == Qos::AtLeastOnce);
            }
            Ok(ClientPacket::PubComp(ack)) => {
                self.tapped_step(at, &ack, |known| {
                    known.qos == Qos::ExactlyOnce && known.stage != Stage::Sent
                });
            }
            Ok(ClientPacket::PubRec(ack)) if ack.reason.is_failure() => {
                self.tapped_step(at, &ack, |known| known.qos == Qos::ExactlyOnce);
            }
            Ok(ClientPacket::PubRec(ack)) => self.tapped_pubrec(at, &ack),
            Ok(ClientPacket::PubRel(ack)) => self.tapped_pubrel(at, &ack),
            Ok(ClientPacket::Subscribe(subscribe)) => self.tapped_subscribe(at, &subscribe),
            Ok(ClientPacket::Unsubscribe(unsubscribe)) => {
                let (id, count) = (unsubscribe.packet_id.value(), unsubscribe.filters.iter().count());
                line.owed.questions.push((id, Question::Unsubscribe, count));
            }
            Ok(ClientPacket::PingReq) => line.owed.pings += 1,
            Ok(ClientPacket::Disconnect(disconnect)) => self.tapped_disconnect(at, &disconnect),
            Ok(ClientPacket::Auth(_)) => line.blames(Blame::Rude),
            Err(error) => line.is_refused(&error),
        }
    }

    fn tapped_connect(&mut self, at: usize, connect: &Connect<'_>) {
        let person = self.person(connect.client_id);
        // Which of two that are both not answered comes first is not to be seen from here.
        let is_other = |other: &(usize, &Option<super::line::Line>)| {
            let asks = |line: &super::line::Line| line.person == Some(person) && line.phase == Phase::Asked;
            other.0 != at && other.1.as_ref().is_some_and(asks)
        };
        if self.people[person].is_loose || self.lines.iter().enumerate().any(|other| is_other(&other)) {
            self.rest();
        }
        let others = self.lines.iter_mut().enumerate().filter(|(other, _)| *other != at);
        let known = &mut self.people[person];
        for line in others.filter_map(|(_, line)| line.as_mut()).filter(|line| line.person == Some(person)) {
            known.is_lost |= line.phase == Phase::Asked;
            known.memory.wants.append(&mut line.early);
            line.is_superseded = true;
        }
        let terms = Terms::of(connect, self.config.mqtt.v3_receive_maximum);
        if let Some(will) = &connect.will {
            self.messages.sent(will.payload, will.qos, Retain::from(will.retain));
            self.keeps(will.topic, will.retain);
        }
        let Some(line) = self.line(at) else { return };
        line.version = terms.level.version();
        line.keep_alive_seconds = terms.keep_alive_seconds;
        line.terms = Some(terms);
        line.person = Some(person);
        line.phase = Phase::Asked;
    }

    fn tapped_publish(&mut self, at: usize, publish: &Publish<'_>) {
        let id = publish.packet_id.map_or(0, |id| id.value());
        let known = self.both(at).and_then(|(_, person)| person.memory.outgoing(id, publish.qos));
        let is_open = known.is_some_and(|known| {
            let is_same = number(&known.payload) == number(publish.payload);
            let was_sent = !std::mem::take(&mut known.is_queued);
            // A message is the same while its number is in use. After PUBREL it is another one, whatever it is.
            was_sent && known.qos == Qos::ExactlyOnce && known.stage != Stage::Released && is_same
        });
        if !is_open {
            self.messages.sent(publish.payload, publish.qos, Retain::from(publish.retain));
        }
        let Some(line) = self.line(at) else { return };
        let alias = publish.properties.topic_alias();
        let topic = match alias.filter(|_| publish.topic.is_empty()) {
            Some(alias) => line.aliases_out.get(&alias).cloned().unwrap_or_default(),
            None => publish.topic.to_owned(),
        };
        if let Some(alias) = alias {
            line.aliases_out.insert(alias, topic.clone());
        }
        match publish.qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => line.owed.pubacks.push_back(id),
            Qos::ExactlyOnce => line.owed.pubrecs.push_back(id),
        }
        self.keeps(&topic, publish.retain);
    }

    /// A value may be retained there from now on.
    fn keeps(&mut self, topic: &str, is_kept: bool) {
        let delayed = topic.strip_prefix("$delayed/").and_then(|rest| Some(rest.split_once('/')?.1));
        if is_kept {
            self.kept.insert(delayed.unwrap_or(topic).to_owned());
        }
    }

    fn tapped_step(&mut self, at: usize, ack: &Ack<'_>, fits: impl FnOnce(&super::memory::Incoming) -> bool) {
        let Some((line, person)) = self.both(at).filter(|(line, _)| !line.is_superseded) else { return };
        match person.memory.settles(ack.packet_id.value(), fits) {
            Fit::Misstep => line.blames(Blame::Rude),
            Fit::Unknown => person.memory.is_void |= line.blame > Blame::Nobody,
            Fit::Fits => {}
        }
    }

    fn tapped_pubrec(&mut self, at: usize, ack: &Ack<'_>) {
        let id = ack.packet_id.value();
        let Some((line, person)) = self.both(at).filter(|(line, _)| !line.is_superseded) else { return };
        let fit = person.memory.receives(id);
        person.memory.is_void |= fit == Fit::Unknown && line.blame > Blame::Nobody;
        match fit {
            Fit::Misstep => line.blames(Blame::Rude),
            Fit::Fits | Fit::Unknown => line.owed.pubrels.push_back(id),
        }
    }

    fn tapped_pubrel(&mut self, at: usize, ack: &Ack<'_>) {
        let id = ack.packet_id.value();
        let Some((line, person)) = self.both(at) else { return };
        line.owed.pubcomps.push_back(id);
        if let Some(known) = person.memory.outgoing(id, Qos::ExactlyOnce) {
            known.stage = Stage::Released;
        }
    }

    fn tapped_subscribe(&mut self, at: usize, subscribe: &Subscribe<'_>) {
        let label = match subscribe.properties.find(Property::SubscriptionIdentifier) {
            Some(Value::Varint(label)) => label,
            _ => 0,
        };
        let want = |filter: &str, qos| {
            let (group, filter) = parse_share(filter).unzip();
            (group.map(str::to_owned), filter.map(str::to_owned), qos)
        };
        let wants = subscribe.subscriptions.iter().map(|(whole, options)| {
            let (group, filter, qos) = want(whole, options.qos);
            Want { group, filter: filter.unwrap_or_else(|| whole.to_owned()), qos, label }
        });
        let wants: Vec<Want> = wants.collect();
        let Some((line, person)) = self.both(at) else { return };
        let question = (subscribe.packet_id.value(), Question::Subscribe, wants.len());
        line.owed.questions.push(question);
        match line.phase {
            Phase::In => person.memory.wants.extend(wants),
            _ => line.early.extend(wants),
        }
    }

    fn tapped_disconnect(&mut self, at: usize, disconnect: &Disconnect<'_>) {
        let expiry = disconnect.properties.session_expiry_interval_seconds();
        let keep_ms = expiry.map(|seconds| self.keep_ms(seconds));
        let Some((line, person)) = self.both(at) else { return };
        line.has_said_goodbye = true;
        // It may have been cut off before.
        person.is_unsure |= line.blame > Blame::Nobody && keep_ms.is_some();
        line.blames(Blame::Over);
        let own = line.terms.as_ref().map_or(0, |terms| terms.expiry);
        let is_right = !line.is_superseded && line.version == Version::V5;
        // A session that ends with its connection cannot be prolonged.
        let keep_ms = keep_ms.filter(|keep_ms| is_right && (own > 0 || *keep_ms == Some(0)));
        match (line.phase, keep_ms) {
            (Phase::In, Some(keep_ms)) => person.keep_ms = keep_ms,
            (_, keep_ms) => line.early_keep_ms = keep_ms,
        }
    }

    /// How long a session is kept; `None`: for ever.
    pub fn keep_ms(&self, seconds: u32) -> Option<u64> {
        let seconds = seconds.min(self.config.mqtt.session_expiry_seconds_max);
        (seconds < u32::MAX).then_some(u64::from(seconds) * 1000)
    }
}
