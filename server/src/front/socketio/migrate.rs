//! Engine sessions that move to another shard.
//!
//! A client that comes back names a session by its pid, and that session lives on the shard its id says. So the
//! engine session moves there with its WebSocket, be that its transport or only a probe, before it has any socket; the
//! shard that made the sid keeps a forwarding entry until the session ends. Owns both sides. Start at
//! [`SocketIo::migrate`].

use std::sync::Arc;

use hub::{Command, Millis, ShardId};
use smallvec::SmallVec;
use wire::engineio::{BinaryAs, Packet, Packets, Version};
use wire::values::JsonText;

use super::engine::{Beat, Carrier, Consumer, Engine, Polling, Probe, ProbeState, Queued};
use super::sid::Secret;
use super::{SocketIo, owner};
use crate::mail::{Handshake, PeerMail};
use crate::shard::{ConnKey, Cx, Handover};

/// What shards tell each other about engine sessions.
#[derive(Debug)]
pub enum Migration {
    /// A session moves to the receiver, and asks there for the namespace that made it move.
    Arrives(Box<Arrival>),
    /// Further packets of the POST that made a session move.
    Packets {
        /// Its slot on the sender.
        slot: u32,
        /// Each in text form.
        packets: Vec<Box<[u8]>>,
    },
    /// A session that the receiver made and forwards has ended.
    Ended {
        /// Its slot on the receiver.
        slot: u32,
        /// So that a slot that was taken again is left alone.
        #[doc(hidden)]
        secret: Secret,
    },
}

/// A session on its way.
#[derive(Debug)]
pub struct Arrival {
    slot: u32,
    secret: Secret,
    version: Version,
    decoder: wire::socketio::Decoder,
    handshake: Option<Arc<Handshake>>,
    beat: Beat,
    join_by: Option<Millis>,
    joined: bool,
    /// Present while the client polls.
    polling: Option<Polled>,
    ask: Ask,
}

/// What of a polling session moves.
#[derive(Debug)]
struct Polled {
    binary: BinaryAs,
    queue: SmallVec<[Queued; 2]>,
    /// Of the probe whose connection comes along, and when it is given up.
    probe: Option<(ProbeState, Millis)>,
}

/// The CONNECT that makes a session move.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) namespace: Box<str>,
    pub(super) auth: Option<JsonText>,
}

impl SocketIo {
    /// Whether a session can move: nothing ties it to this shard.
    pub(super) fn may_migrate(&self, slot: u32) -> bool {
        let Some(engine) = self.engine(slot) else { return false };
        engine.is_here()
            && engine.socket_count == 0
            && engine.origin.is_none()
            && engine.consumer == Consumer::SocketIo
    }

    /// Sends a session to another shard, which then carries on with the CONNECT that made it move.
    pub(super) fn migrate(&mut self, cx: &mut Cx<'_>, slot: u32, to: ShardId, ask: Ask) {
        let Some(engine) = self.engines.get_mut(slot as usize) else { return };
        let stub = Engine::new(engine.secret, Carrier::Moved(to), engine.version, engine.beat);
        let engine = std::mem::replace(engine, stub);
        self.unjoined -= usize::from(engine.is_unjoined());
        cx.io.disarm(owner(slot));
        let mut arrival = Arrival {
            slot,
            secret: engine.secret,
            version: engine.version,
            decoder: engine.decoder,
            handshake: engine.handshake,
            beat: engine.beat,
            join_by: engine.join_by,
            joined: engine.joined,
            polling: None,
            ask,
        };
        match engine.carrier {
            Carrier::WebSocket(conn) => {
                cx.io.migrate(conn, to, Box::new(Migration::Arrives(Box::new(arrival))));
            }
            Carrier::Polling(mut polling) => {
                if let Some(get) = polling.get.take() {
                    // The client asks again at once, and is led to the new place.
                    self.answer_with(cx, get, &Packet::Noop);
                }
                let probe = polling.probe.map(|probe| (probe.state, probe.by));
                arrival.polling = Some(Polled { binary: polling.binary, queue: polling.queue, probe });
                let migration = Box::new(Migration::Arrives(Box::new(arrival)));
                match polling.probe {
                    Some(probe) => cx.io.migrate(probe.conn, to, migration),
                    None => cx.io.post(to, PeerMail::Engine { migration, connection: None }),
                }
            }
            Carrier::Moved(_) | Carrier::Over(_) => {}
        }
    }

    /// Sends what follows in the same POST after the session.
    pub(super) fn forward_rest(&self, cx: &mut Cx<'_>, slot: u32, to: ShardId, rest: Packets<'_>) {
        let Some(version) = self.engine(slot).map(|engine| engine.version) else { return };
        let text = |packet: Packet<'_>| {
            let mut text = Vec::new();
            packet.write_text(version, &mut text);
            text.into_boxed_slice()
        };
        let packets: Vec<_> = rest.map_while(Result::ok).map(text).collect();
        if !packets.is_empty() {
            let migration = Box::new(Migration::Packets { slot, packets });
            cx.io.post(to, PeerMail::Engine { migration, connection: None });
        }
    }

    /// Something from another shard.
    pub(in crate::front) fn peer(&mut self, cx: &mut Cx<'_>, from: ShardId, mail: PeerMail) {
        match mail {
            PeerMail::Hub(mail) => self.apply(cx, Command::Mail { from, mail }),
            PeerMail::Publish(publish) => self.apply(cx, Command::Publish(publish)),
            PeerMail::Engine { migration, connection } => self.migrated(cx, from, *migration, connection),
            // The shard's own.
            PeerMail::Connection(_) | PeerMail::Quiet => {}
        }
    }

    fn migrated(
        &mut self,
        cx: &mut Cx<'_>,
        from: ShardId,
        migration: Migration,
        connection: Option<Handover>,
    ) {
        match migration {
            Migration::Arrives(arrival) => self.arrive(cx, from, *arrival, connection),
            Migration::Packets { slot, packets } => self.arrived_packets(cx, from, slot, &packets),
            Migration::Ended { slot, secret } => {
                let moved = |engine: &&Engine| {
                    engine.secret.matches(&secret) && matches!(engine.carrier, Carrier::Moved(_))
                };
                if self.engine(slot).filter(moved).is_some() {
                    self.engines.remove(slot as usize);
                }
            }
        }
    }

    fn arrive(&mut self, cx: &mut Cx<'_>, from: ShardId, arrival: Arrival, connection: Option<Handover>) {
        let entry = self.engines.vacant_entry();
        let slot = u32::try_from(entry.key()).expect("fewer sessions than 32 bits count");
        let conn = connection.and_then(|handover| cx.io.adopt(handover, owner(slot)));
        let carrier = match arrival.polling {
            Some(polled) => Some(Carrier::Polling(Box::new(polled.arrived(conn)))),
            None => conn.map(Carrier::WebSocket),
        };
        let Some(carrier) = carrier else {
            // The connection died on the way, and nothing but it held the session.
            let migration = Box::new(Migration::Ended { slot: arrival.slot, secret: arrival.secret });
            return cx.io.post(from, PeerMail::Engine { migration, connection: None });
        };
        let engine = entry.insert(Engine {
            decoder: arrival.decoder,
            handshake: arrival.handshake,
            join_by: arrival.join_by,
            joined: arrival.joined,
            origin: Some((from, arrival.slot)),
            ..Engine::new(arrival.secret, carrier, arrival.version, arrival.beat)
        });
        self.unjoined += usize::from(engine.is_unjoined());
        self.adopted.insert((from.0, arrival.slot), slot);
        self.arm(cx, slot);
        self.connect(cx, slot, &arrival.ask.namespace, arrival.ask.auth);
    }

    fn arrived_packets(&mut self, cx: &mut Cx<'_>, from: ShardId, slot: u32, packets: &[Box<[u8]>]) {
        let Some(&slot) = self.adopted.get(&(from.0, slot)) else { return };
        for bytes in packets {
            let Some(version) = self.engine(slot).map(|engine| engine.version) else { return };
            let text = std::str::from_utf8(bytes).expect("packets in text form are UTF-8");
            if let Ok(packet) = Packet::from_text(version, text) {
                self.engine_packet(cx, slot, &packet);
            }
        }
    }
}

impl Polled {
    /// The session at its new place. A probe whose connection died on the way has failed: polling goes on.
    fn arrived(self, conn: Option<ConnKey>) -> Polling {
        let Self { binary, queue, probe } = self;
        let probe = conn.zip(probe).map(|(conn, (state, by))| Probe { conn, state, by });
        Polling { queue, probe, ..Polling::new(binary) }
    }
}
