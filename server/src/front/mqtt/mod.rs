//! MQTT 3.1.1 and 5.0: from bytes to hub commands, from hub effects to packets.
//!
//! One `Mqtt` per shard owns its clients (`client`), which are connections with a session. The code is split by what
//! happens: `stream` (bytes come, packets are told apart), `connect` and `upgrade`, `asking` (the back end is asked), `auth` with `scram` and `certified`, `publish` and
//! `subscribe` (from the client), `effects` and `deliver` (from the hub), `access` (who may what) and `held` (what tokens say), `ruling` (of which channels the back end says it), `availability` (what is
//! switched off), `told` (why something is refused), `payload` (contents of other protocols), `replies` and `delayed` (topics with a meaning), `office` (what the
//! back office asks), `rate` and `flapping` (who sends or connects too much), `figures`, `ending`.
//!
//! It must not know sockets or how a packet is cut, and it decides nothing the hub decides: sessions, windows, numbers of
//! exchanges, wills, retained values and share groups are the hub's under other names. Every hub command goes through
//! [`Mqtt::apply`].

mod access;
mod asking;
mod auth;
mod availability;
mod certified;
mod client;
mod connect;
mod delayed;
mod deliver;
mod effects;
mod ending;
mod figures;
mod flapping;
mod held;
mod office;
mod payload;
mod publish;
mod rate;
mod replies;
mod ruling;
mod scram;
mod stream;
mod subscribe;
mod told;
mod upgrade;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use hub::{Command, SessionId, ShardId, Topology};
use slab::Slab;

use self::access::Access;
pub use self::access::OWN_NAMES;
use self::asking::Petitions;
use self::auth::Exchanges;
use self::client::Client;
use self::connect::Welcome;
pub use self::figures::{FAMILIES, Family, Figures};
use self::flapping::Flapping;
use self::held::Held;
pub use self::payload::attributes;
use self::publish::Asked;
use self::scram::Scram;
use super::apply::apply;
use crate::auth::Gate;
use crate::config::{AuthMode, Config};
use crate::shard::{Cx, Door, Owner};

/// No client.
const NONE: u32 = u32::MAX;

/// What waited for a session is handed over in pieces of so many: in between its connection may say that it is full.
const BUDGET: u32 = 64;

/// The clients of one shard.
#[derive(Debug)]
pub(super) struct Mqtt {
    config: Arc<Config>,
    topology: Topology,
    shard: ShardId,
    access: Access,
    scram: Option<Scram>,
    /// Of connections that are not let in yet.
    exchanges: Exchanges,
    /// `Owner` and the hub's `Tag` are the index.
    clients: Slab<Client>,
    /// Of clients about whom the back end is asked.
    petitions: Petitions,
    /// What their tokens say, of those that have one.
    held: HashMap<u32, Held>,
    /// Index: slot of a session id. Four bytes per session instead of a map.
    indexes: Vec<u32>,
    /// What the client being connected is told once the hub has answered.
    welcome: Option<Welcome>,
    /// The publish being offered to the hub, which usually answers at once.
    asked: Option<Asked>,
    /// Packets on their way to being staged; its memory is shared by what was staged.
    out: BytesMut,
    /// For packets that have to be framed first.
    scratch: Vec<u8>,
    drain: Option<ending::Drain>,
    /// Clients of whose sessions the back end was told.
    told: u64,
    figures: Figures,
    flapping: Flapping,
}

impl Mqtt {
    pub(super) fn new(config: Arc<Config>, shard: ShardId, topology: Topology, gate: Gate) -> Self {
        let is_scram = config.mqtt.enabled && config.mqtt.scram && !config.mqtt_users.is_empty();
        Self {
            access: Access::new(&config, topology, gate),
            scram: is_scram.then(|| Scram::new(&config.mqtt_users)),
            exchanges: Exchanges::default(),
            config,
            topology,
            shard,
            clients: Slab::new(),
            petitions: Petitions::default(),
            held: HashMap::new(),
            indexes: Vec::new(),
            welcome: None,
            asked: None,
            out: BytesMut::new(),
            scratch: Vec::new(),
            drain: None,
            told: 0,
            figures: Figures::default(),
            flapping: Flapping::default(),
        }
    }

    /// Whether nothing is kept of any client; of exchanges that were given up something may be.
    pub(super) fn is_idle(&self) -> bool {
        let is_asking = self.welcome.is_some()
            || self.asked.is_some()
            || !self.held.is_empty()
            || !self.petitions.is_empty();
        self.clients.is_empty() && self.indexes.is_empty() && self.figures.connections == [0; 3] && !is_asking
    }

    /// Applies a command and performs what follows. Called while effects are performed it only queues.
    pub(super) fn apply(&mut self, cx: &mut Cx<'_>, command: Command) {
        apply(self, cx, command);
    }

    /// Whether the back end is told of clients.
    fn tells(&self) -> bool {
        !self.config.webhooks.is_empty() || self.config.auth.mode == AuthMode::BackEnd
    }

    fn client(&self, index: u32) -> Option<&Client> {
        self.clients.get(index as usize)
    }

    fn client_mut(&mut self, index: u32) -> Option<&mut Client> {
        self.clients.get_mut(index as usize)
    }

    /// The client that is connected to a session.
    pub(super) fn index_of(&self, id: SessionId) -> Option<u32> {
        let index = *self.indexes.get(id.slot() as usize)?;
        self.client(index).filter(|client| client.id == id).map(|_| index)
    }

    fn note_index(&mut self, id: SessionId, index: u32) {
        let slot = id.slot() as usize;
        if self.indexes.len() <= slot {
            self.indexes.resize(slot + 1, NONE);
        }
        if let Some(place) = self.indexes.get_mut(slot) {
            *place = index;
        }
    }

    /// Takes a client away; its connection is somebody else's business.
    fn remove(&mut self, cx: &mut Cx<'_>, index: u32) -> Option<Client> {
        let client = self.clients.try_remove(index as usize)?;
        cx.io.disarm(owner(index));
        if client.kind.holds {
            self.held.remove(&index);
        }
        match client.is_petitioner() {
            true => self.forget_petition(&client, index),
            false => self.figures.disconnected(client.level()),
        }
        let place = self.indexes.get_mut(client.id.slot() as usize);
        if let Some(place) = place.filter(|place| **place == index) {
            *place = NONE;
        }
        if self.clients.is_empty() {
            self.clients = Slab::new();
            self.indexes = Vec::new();
        }
        Some(client)
    }
}

fn owner(index: u32) -> Owner {
    Owner::new(Door::Stream, index)
}
