//! What comes from the server, compared with what may come.
//!
//! Must not know who caused it. Start at [`World::hear`].

use wire::mqtt::{
    Ack, ConnAck, Property, Publish, Qos, ReasonCode, ServerPacket, SubAck, Value, Version, decode_server,
    frame,
};

use super::line::{Blame, Line, Phase, Question};
use super::memory::{Arrival, Met, Stage};
use super::world::World;

impl World {
    /// Reads what has come on a connection; whether that is anything.
    pub fn hear(&mut self, at: usize) -> bool {
        let Some(line) = self.line(at).filter(|line| !line.is_stalled && line.stream.is_some()) else {
            return false;
        };
        let has_come = line.read();
        if line.blame == Blame::Foreign {
            line.heard.clear();
        }
        while let Some(packet) = self.line(at).and_then(Line::next_packet) {
            self.heard(at, &packet);
        }
        if self.line(at).is_some_and(|line| line.stream.is_none()) {
            self.trace(|| format!("{at} < end"));
            self.check_end(at);
            self.lost(at);
        }
        has_come
    }

    fn heard(&mut self, at: usize, bytes: &[u8]) {
        let Some(line) = self.line(at) else { return };
        let found = frame(bytes, u32::MAX).unwrap().unwrap();
        let packet = decode_server(line.version, &found)
            .unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()));
        self.trace(|| format!("{at} < {packet:?}"));
        let Some(line) = self.line(at) else { return };
        assert!(line.told.is_none() && line.phase != Phase::Refused, "behind the last packet: {packet:?}");
        if let ServerPacket::ConnAck(connack) = &packet {
            return self.heard_connack(at, connack);
        }
        assert!(line.phase == Phase::In, "before CONNACK: {packet:?}, {line:?}");
        match packet {
            ServerPacket::Publish(publish) => self.heard_publish(at, &publish),
            ServerPacket::PubAck(ack) => self.heard_puback(at, &ack),
            ServerPacket::PubRec(ack) => self.heard_pubrec(at, &ack),
            ServerPacket::PubRel(ack) => self.heard_pubrel(at, &ack),
            ServerPacket::PubComp(ack) => self.heard_pubcomp(at, &ack),
            ServerPacket::SubAck(suback) => self.heard_answer(at, &suback, Question::Subscribe),
            ServerPacket::UnsubAck(unsuback) => self.heard_answer(at, &unsuback, Question::Unsubscribe),
            ServerPacket::PingResp => {
                assert!(line.owed.pings > 0, "PINGRESP for nothing");
                line.owed.pings -= 1;
            }
            ServerPacket::Disconnect(disconnect) => {
                line.told = Some(disconnect.reason);
                self.meet(told(disconnect.reason));
            }
            ServerPacket::ConnAck(_) | ServerPacket::Auth(_) => panic!("not asked for: {packet:?}"),
        }
    }

    fn heard_connack(&mut self, at: usize, connack: &ConnAck<'_>) {
        let Some(line) = self.line(at) else { return };
        let is_first =
            matches!(line.phase, Phase::Asked) || line.blame == Blame::Over && line.phase == Phase::Silent;
        assert!(is_first, "CONNACK for nothing: {line:?}");
        if connack.reason.is_failure() {
            let is_right = line.blame > Blame::Nobody || line.is_to_end;
            assert!(is_right, "refused for nothing: {connack:?}, {line:?}");
            line.phase = Phase::Refused;
            return self.meet("refused");
        }
        assert!(line.phase == Phase::Asked, "let in without CONNECT");
        line.phase = Phase::In;
        line.is_resumed = connack.session_present;
        let properties = &connack.properties;
        let find = |property| properties.find(property);
        if let Some(Value::U16(seconds)) = find(Property::ServerKeepAlive) {
            line.keep_alive_seconds = seconds;
        }
        if line.version == Version::V5 {
            line.open_max = usize::from(match find(Property::ReceiveMaximum) {
                Some(Value::U16(most)) => most,
                _ => u16::MAX,
            });
        }
        if !line.is_superseded {
            self.let_in(at, connack);
        }
    }

    /// The client knows whether its session goes on.
    fn let_in(&mut self, at: usize, connack: &ConnAck<'_>) {
        let present = connack.session_present;
        let Some(terms) = self.line(at).and_then(|line| line.terms.clone()) else { return };
        let keep_ms = match (terms.expiry, connack.properties.session_expiry_interval_seconds()) {
            (_, Some(seconds)) => self.keep_ms(seconds),
            (seconds, None) => self.keep_ms(seconds),
        };
        let Some(person) = self.lines[at].as_ref().and_then(|line| line.person) else { return };
        // Of one who reads late nobody knows when it was let in.
        let is_late = self.line(at).is_some_and(|line| line.was_stalled);
        let expected = self.has_session(&self.people[person]).filter(|_| !is_late);
        let expected = expected.map(|has_session| has_session && !terms.clean);
        assert!(!(present && terms.clean), "a session goes on that was to end");
        assert!(
            expected.is_none_or(|expected| expected == present),
            "session present {present}: {:?}, {:?}",
            self.people[person],
            self.lines[at],
        );
        let assigned = match connack.properties.find(Property::AssignedClientIdentifier) {
            Some(Value::Text(assigned)) => Some(assigned.to_owned()),
            _ => None,
        };
        let Some((line, person)) = self.both(at) else { return };
        if let Some(assigned) = assigned {
            assert!(person.name.is_empty() && !assigned.is_empty(), "another name than its own");
            person.name = assigned;
        }
        if !present {
            person.memory = super::memory::Memory::default();
        } else if person.is_lost || person.memory.is_void {
            person.forget();
        }
        person.memory.begin_again();
        person.memory.wants.append(&mut line.early);
        (person.is_unsure, person.is_lost, person.has_session) = (false, false, true);
        let keep_ms = line.early_keep_ms.take().unwrap_or(keep_ms);
        (person.keep_ms, person.until, person.line) = (keep_ms, None, Some(at));
        self.meet(if present { "resumed" } else { "new session" });
    }

    fn heard_publish(&mut self, at: usize, publish: &Publish<'_>) {
        let Some(line) = self.line(at) else { return };
        let topic = line.topic(publish);
        if publish.properties.topic_alias().is_some() {
            self.meet("alias");
        }
        let is_superseded = self.line(at).is_none_or(|line| line.is_superseded);
        let known = self.messages.recognize(publish.payload);
        let number = known.map(|(number, _)| number);
        if is_superseded {
            return;
        }
        if let Some((_, facts)) = known {
            assert!(publish.qos <= facts.qos, "QoS {:?} of {:?}", publish.qos, facts.qos);
        }
        let (times, is_retained) =
            known.map_or((u32::MAX, true), |(_, facts)| (facts.times, facts.is_retained));
        let is_new = match publish.packet_id {
            None => true,
            Some(id) => {
                let id = id.value();
                self.arrives(at, Arrival { id, qos: publish.qos, dup: publish.dup, number })
            }
        };
        let Some((_, person)) = self.both(at) else { return };
        let memory = &mut person.memory;
        let granted = memory.wants(&topic).map(|want| want.qos).max();
        assert!(
            granted.is_some_and(|granted| publish.qos <= granted),
            "{topic} at {:?}: {memory:?}",
            publish.qos
        );
        let labels: Vec<u32> = memory.wants(&topic).map(|want| want.label).collect();
        assert!(publish.properties.subscription_identifiers().all(|id| labels.contains(&id)), "{publish:?}");
        if let Some(number) = number.filter(|_| is_new && !is_retained) {
            let most = times.saturating_mul(1 + memory.groups());
            let count = memory.count(number);
            assert!(count <= most, "message {number} came {count} times: {publish:?}");
        }
        self.meet(match publish.qos {
            Qos::AtMostOnce => "QoS 0",
            Qos::AtLeastOnce => "QoS 1",
            Qos::ExactlyOnce => "QoS 2",
        });
    }

    /// A message with a number of its own; whether it was not known.
    fn arrives(&mut self, at: usize, arrival: Arrival) -> bool {
        let Some((line, person)) = self.both(at).filter(|(_, person)| !person.memory.is_void) else {
            return false;
        };
        let met = person.memory.arrives(arrival);
        match met {
            Met::New => line.is_past_again = true,
            Met::Again(order) => line.comes_again(order),
            Met::Lost => assert!(line.is_resumed && !line.is_past_again, "said to come again: {arrival:?}"),
        }
        let window = line.terms.as_ref().map_or(0, |terms| terms.window);
        let here = person.memory.here();
        assert!(here <= window, "{here} under way to a client that takes {window}");
        let is_full = here == window;
        self.meet(match met {
            Met::New => "new exchange",
            Met::Again(_) => "sent again",
            Met::Lost => "lost and sent again",
        });
        if is_full {
            self.meet("full window");
        }
        !matches!(met, Met::Again(_))
    }

    fn heard_puback(&mut self, at: usize, ack: &Ack<'_>) {
        let Some(line) = self.line(at) else { return };
        Line::in_turn(&mut line.owed.pubacks, ack.packet_id.value());
        self.is_done(at, ack, Qos::AtLeastOnce);
    }

    fn heard_pubrec(&mut self, at: usize, ack: &Ack<'_>) {
        let id = ack.packet_id.value();
        let Some(line) = self.line(at) else { return };
        Line::in_turn(&mut line.owed.pubrecs, id);
        if ack.reason.is_failure() {
            return self.is_done(at, ack, Qos::ExactlyOnce);
        }
        let Some((line, person)) = self.both(at).filter(|(line, _)| !line.is_superseded) else { return };
        match person.memory.outgoing(id, Qos::ExactlyOnce) {
            Some(known) if known.stage == Stage::Sent => known.stage = Stage::Received,
            Some(_) => {}
            None => assert!(line.blame > Blame::Nobody, "PUBREC for number {id}, which is not in use"),
        }
    }

    fn heard_pubcomp(&mut self, at: usize, ack: &Ack<'_>) {
        let Some(line) = self.line(at) else { return };
        Line::in_turn(&mut line.owed.pubcomps, ack.packet_id.value());
        self.is_done(at, ack, Qos::ExactlyOnce);
    }

    fn is_done(&mut self, at: usize, ack: &Ack<'_>, qos: Qos) {
        let Some((line, person)) = self.both(at).filter(|(line, _)| !line.is_superseded) else { return };
        let id = ack.packet_id.value();
        if person.memory.outgoing(id, qos).is_some_and(|known| !known.is_old && !known.is_queued) {
            line.open = line.open.saturating_sub(1);
        }
        person.memory.forgets(id, qos);
    }

    fn heard_pubrel(&mut self, at: usize, ack: &Ack<'_>) {
        let id = ack.packet_id.value();
        let Some((line, person)) = self.both(at) else { return };
        let answered = line.owed.pubrels.iter().position(|owed| *owed == id);
        if line.is_superseded || person.memory.is_void {
            line.owed.pubrels.retain(|owed| *owed != id);
            return;
        }
        match (answered, person.memory.may_release(id)) {
            (Some(answered), known) => {
                line.owed.pubrels.remove(answered);
                if known.is_none() {
                    line.strays.push(id);
                }
            }
            (None, Some(order)) => {
                line.comes_again(order);
                self.meet("released again");
            }
            // What ended the exchange was lost with an earlier connection.
            (None, None) => {
                assert!(
                    line.is_resumed && !line.is_past_again,
                    "PUBREL for number {id}, which is not in use"
                );
                line.strays.push(id);
            }
        }
    }

    fn heard_answer(&mut self, at: usize, suback: &SubAck<'_>, question: Question) {
        let id = suback.packet_id.value();
        let Some(line) = self.line(at) else { return };
        let is_it = |owed: &(u16, Question, usize)| (owed.0, owed.1) == (id, question);
        let found = line.owed.questions.iter().position(is_it);
        let (_, _, count) = line.owed.questions.remove(found.expect("an answer to something asked"));
        let has_codes = line.version == Version::V5 || question == Question::Subscribe;
        assert_eq!(suback.codes.iter().count(), if has_codes { count } else { 0 }, "a code for each filter");
    }
}

fn told(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::SessionTakenOver => "taken over",
        ReasonCode::KeepAliveTimeout => "silent",
        ReasonCode::MalformedPacket => "malformed",
        ReasonCode::ProtocolError => "protocol error",
        ReasonCode::ReceiveMaximumExceeded => "over the window",
        ReasonCode::AdministrativeAction => "sent away",
        ReasonCode::ServerShuttingDown => "shut down",
        _ => "cut off",
    }
}
