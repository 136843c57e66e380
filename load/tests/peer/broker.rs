//! A server of MQTT of the size of a test: thread per connection, sessions that last, one filter for each, without wildcards.
//! It can be told to get it wrong.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use wire::mqtt::{
    Ack, ClientPacket, ConnAck, Connect, Encoder, PacketId, Properties, Publish, Qos, ReasonCode,
    ReasonCodes, SubAck, Version, decode_client, frame,
};

use super::listen;

/// What the server does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broker {
    /// Everything right.
    Good,
    /// Nobody comes back to a session.
    Forgets,
    /// What is sent again lacks its first message.
    LosesOne,
    /// Who comes back hears the message it heard last once more, as a new one.
    RepeatsOne,
    /// What is sent again comes backwards.
    Reverses,
    /// Nobody may subscribe.
    RefusesFilters,
    /// Subscriptions are granted at QoS 0.
    GrantsLess,
    /// Messages are refused.
    RefusesMessages,
}

/// A running server.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    office: Arc<Office>,
}

struct Office {
    manner: Broker,
    sessions: Mutex<HashMap<String, Session>>,
}

struct Session {
    version: Version,
    stream: Option<TcpStream>,
    filter: Option<(String, Qos)>,
    /// Messages on their way to the client: packet id, topic, payload, whether PUBREC has come.
    in_flight: Vec<(PacketId, String, Vec<u8>, bool)>,
    last_id: PacketId,
    /// What was acknowledged last.
    last: Option<(String, Vec<u8>)>,
    /// QoS 2 messages of the client that were not released.
    held: BTreeSet<PacketId>,
}

impl Running {
    pub(crate) fn start(manner: Broker) -> Self {
        let listener = listen();
        let address = listener.local_addr().unwrap();
        let office = Arc::new(Office { manner, sessions: Mutex::default() });
        let shared = Arc::clone(&office);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let office = Arc::clone(&shared);
                thread::spawn(move || office.client(stream.unwrap()));
            }
        });
        Self { address, office }
    }

    /// Ends every connection, as a restart does.
    pub(crate) fn drop_all(&self) {
        for stream in self.office.sessions().values().filter_map(|session| session.stream.as_ref()) {
            // Some are gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Subscribers of each filter.
    pub(crate) fn filters(&self) -> Vec<(String, u32)> {
        let mut counts = std::collections::BTreeMap::new();
        for (filter, _) in self.office.sessions().values().filter_map(|session| session.filter.as_ref()) {
            *counts.entry(filter.clone()).or_default() += 1;
        }
        counts.into_iter().collect()
    }
}

impl Office {
    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap()
    }

    fn client(&self, mut stream: TcpStream) -> Option<()> {
        let (mut held, mut buf) = (Vec::new(), [0; 4096]);
        let mut who: Option<(String, Version, bool)> = None;
        loop {
            let read = stream.read(&mut buf).ok().filter(|read| *read > 0);
            let Some(read) = read else {
                let (name, _, is_clean) = who?;
                return self.gone(&name, &stream, is_clean);
            };
            held.extend_from_slice(&buf[..read]);
            let mut start = 0;
            while let Some(frame) = frame(&held[start..], u32::MAX).unwrap() {
                start += frame.packet_bytes;
                match (decode_client(who.as_ref().map(|who| who.1), &frame).unwrap(), &who) {
                    (ClientPacket::Connect(connect), None) => {
                        who = Some((
                            connect.client_id.to_owned(),
                            connect.level.version(),
                            connect.clean_start,
                        ));
                        self.connect(&connect, &mut stream)?;
                    }
                    (ClientPacket::Disconnect(bye), Some((name, ..))) => {
                        let ends = bye.properties.session_expiry_interval_seconds() == Some(0);
                        stream.shutdown(Shutdown::Both).ok();
                        if ends {
                            self.sessions().remove(name);
                        }
                    }
                    (packet, Some((name, version, _))) => {
                        self.packet(name, &packet, (&Encoder::new(*version), &mut stream))?;
                    }
                    (_, None) => unreachable!("the first packet is CONNECT"),
                }
            }
            held.drain(..start);
        }
    }

    fn connect(&self, connect: &Connect<'_>, stream: &mut TcpStream) -> Option<()> {
        assert!(connect.keep_alive_seconds > 0);
        let encoder = Encoder::new(connect.level.version());
        let mut sessions = self.sessions();
        let old = sessions
            .remove(connect.client_id)
            .filter(|_| !connect.clean_start && self.manner != Broker::Forgets);
        let session_present = old.is_some();
        let mut session = old.unwrap_or_else(|| Session {
            version: connect.level.version(),
            stream: None,
            filter: None,
            in_flight: Vec::new(),
            last_id: PacketId::FIRST,
            last: None,
            held: BTreeSet::new(),
        });
        if let Some(stream) = session.stream.replace(stream.try_clone().unwrap()) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let mut out = Vec::new();
        let ack = ConnAck { session_present, reason: ReasonCode::Success, properties: Properties::NONE };
        encoder.connack(&ack, &mut out).unwrap();
        session.resume(self.manner, session_present, &mut out);
        sessions.insert(connect.client_id.to_owned(), session);
        stream.write_all(&out).ok()
    }

    /// A connection ended that may have been taken over.
    fn gone(&self, name: &str, stream: &TcpStream, is_clean: bool) -> Option<()> {
        let mut sessions = self.sessions();
        let session = sessions.get_mut(name)?;
        if session.stream.as_ref()?.peer_addr().ok() == stream.peer_addr().ok() {
            session.stream = None;
            if is_clean {
                sessions.remove(name);
            }
        }
        Some(())
    }

    fn packet(
        &self,
        name: &str,
        packet: &ClientPacket<'_>,
        (encoder, stream): (&Encoder, &mut TcpStream),
    ) -> Option<()> {
        let mut sessions = self.sessions();
        // Whoever was taken over says nothing more.
        let session = sessions.get_mut(name)?;
        let mut out = Vec::new();
        match packet {
            ClientPacket::Subscribe(subscribe) => {
                let (filter, options) = subscribe.subscriptions.iter().next().unwrap();
                let qos = if self.manner == Broker::GrantsLess { Qos::AtMostOnce } else { options.qos };
                session.filter = Some((filter.to_owned(), qos));
                let codes = match self.manner {
                    Broker::RefusesFilters => [ReasonCode::UnspecifiedError],
                    _ => [qos.granted()],
                };
                let (packet_id, properties) = (subscribe.packet_id, Properties::NONE);
                let ack = SubAck { packet_id, properties, codes: ReasonCodes::new(&codes) };
                encoder.suback(&ack, &mut out).unwrap();
            }
            ClientPacket::Publish(publish) => {
                let refused = self.manner == Broker::RefusesMessages;
                let reason = if refused { ReasonCode::QuotaExceeded } else { ReasonCode::Success };
                let is_new = match (publish.qos, publish.packet_id) {
                    (Qos::ExactlyOnce, Some(packet_id)) => session.held.insert(packet_id),
                    _ => true,
                };
                let ack = publish.packet_id.map(|packet_id| Ack::new(packet_id, reason));
                match publish.qos {
                    Qos::AtMostOnce => {}
                    Qos::AtLeastOnce => encoder.puback(&ack.unwrap(), &mut out).unwrap(),
                    Qos::ExactlyOnce => encoder.pubrec(&ack.unwrap(), &mut out).unwrap(),
                }
                if is_new && !refused {
                    sessions.values_mut().for_each(|session| session.deliver(publish.topic, publish.payload));
                }
            }
            ClientPacket::PubAck(ack) => session.done(ack.packet_id),
            ClientPacket::PubRec(ack) => {
                let sent = session.in_flight.iter_mut().find(|(packet_id, ..)| *packet_id == ack.packet_id);
                sent.into_iter().for_each(|sent| sent.3 = true);
                encoder.pubrel(&Ack::new(ack.packet_id, ReasonCode::Success), &mut out).unwrap();
            }
            ClientPacket::PubComp(ack) => session.done(ack.packet_id),
            ClientPacket::PubRel(ack) => {
                session.held.remove(&ack.packet_id);
                encoder.pubcomp(&Ack::new(ack.packet_id, ReasonCode::Success), &mut out).unwrap();
            }
            ClientPacket::PingReq => encoder.pingresp(&mut out).unwrap(),
            other => unreachable!("{other:?}"),
        }
        stream.write_all(&out).ok()
    }
}

impl Session {
    fn qos(&self) -> Qos {
        self.filter.as_ref().map_or(Qos::AtMostOnce, |(_, qos)| *qos)
    }

    fn deliver(&mut self, topic: &str, payload: &[u8]) {
        if self.filter.as_ref().is_none_or(|(filter, _)| filter != topic) {
            return;
        }
        let mut out = Vec::new();
        self.send((topic, payload), &mut out);
        if let Some(stream) = &mut self.stream {
            // Some are away.
            let _ = stream.write_all(&out);
        }
    }

    fn send(&mut self, (topic, payload): (&str, &[u8]), out: &mut Vec<u8>) {
        if self.qos() > Qos::AtMostOnce {
            self.last_id = self.last_id.next();
            self.in_flight.push((self.last_id, topic.to_owned(), payload.to_owned(), false));
        }
        self.put((Some(self.last_id), false), (topic, payload), out);
    }

    fn put(
        &self,
        (packet_id, dup): (Option<PacketId>, bool),
        (topic, payload): (&str, &[u8]),
        out: &mut Vec<u8>,
    ) {
        let (qos, retain, properties) = (self.qos(), false, Properties::NONE);
        let publish = Publish { dup, qos, retain, topic, packet_id, properties, payload };
        Encoder::new(self.version).publish(&publish, out).unwrap();
    }

    fn done(&mut self, packet_id: PacketId) {
        if let Some(at) = self.in_flight.iter().position(|(id, ..)| *id == packet_id) {
            let (_, topic, payload, _) = self.in_flight.remove(at);
            self.last = Some((topic, payload));
        }
    }

    /// Says again what is not acknowledged.
    fn resume(&mut self, manner: Broker, session_present: bool, out: &mut Vec<u8>) {
        match manner {
            Broker::LosesOne if !self.in_flight.is_empty() => drop(self.in_flight.remove(0)),
            Broker::Reverses => self.in_flight.reverse(),
            _ => {}
        }
        for (packet_id, topic, payload, is_released) in &self.in_flight {
            if *is_released {
                let ack = Ack::new(*packet_id, ReasonCode::Success);
                Encoder::new(self.version).pubrel(&ack, out).unwrap();
            } else {
                self.put((Some(*packet_id), true), (topic, payload), out);
            }
        }
        if let (Broker::RepeatsOne, true, Some((topic, payload))) =
            (manner, session_present, self.last.clone())
        {
            self.send((&topic, &payload), out);
        }
    }
}
