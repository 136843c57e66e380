//! Engine.IO and Socket.IO: from requests and frames to hub commands, from hub effects to frames and poll answers.
//!
//! One `SocketIo` per shard owns the engine sessions (`engine`) and the sockets in them (`socket`). The code is
//! split by what happens: `request` and `handshake` (a request comes), `polling`, `upgrade` and `heartbeat` (Engine.IO),
//! `packets` and `connect` (Socket.IO from the client), `effects` and `deliver` (from the hub), `ending` (everything
//! that ends a session), `recovery` and `migrate`, `office` (from the back office), `held` (what
//! tokens say), `ruling` (what the back end says of single events).
//!
//! It must not know sockets, buffers or HTTP framing, and it decides nothing the hub decides: who gets what, what
//! waits, what may be recovered. Every hub command goes through `SocketIo::apply`, whose effects are performed
//! before the next command.

mod connect;
mod deliver;
mod effects;
mod ending;
mod engine;
mod handshake;
mod heartbeat;
mod held;
mod http;
mod migrate;
mod namespaces;
mod office;
mod packets;
mod polling;
mod query;
mod rate;
mod reasons;
mod recovery;
mod request;
pub mod rooms;
mod ruling;
mod sid;
mod socket;
mod upgrade;

use std::collections::HashMap;
use std::sync::Arc;

use hub::{SessionId, SessionKey, ShardId, Topology};
use slab::Slab;
use wire::socketio::Limits;
use wire::values::Bounds;

use self::engine::{Engine, Times};
use self::held::{Held, Shown};
use self::http::Site;
use self::namespaces::{NamespaceKey, Namespaces};
use self::ruling::Asked;
use self::socket::Socket;
use crate::auth::Gate;
use crate::config::{Config, HttpPath};
use crate::front::tail::Tails;
use crate::shard::{Cx, Door, Owner};

pub use migrate::Migration;
pub use recovery::{Fit, Returning};
pub use sid::{PidKey, PidProof};

/// The engine sessions and sockets of one shard.
#[derive(Debug)]
pub(super) struct SocketIo {
    config: Arc<Config>,
    topology: Topology,
    shard: ShardId,
    key: PidKey,
    site: Site,
    times: Times,
    limits: Limits,
    /// Engine sessions; [`owner`] says how the shard knows them.
    engines: Slab<Engine>,
    /// How many of them are [`Engine::is_unjoined`].
    unjoined: usize,
    /// Sockets; the hub's `Tag` is the index.
    sockets: Slab<Socket>,
    namespaces: Namespaces,
    /// Credentials of sockets that wait for the hub.
    connecting: HashMap<u32, Shown>,
    gate: Gate,
    /// Sockets whose events wait for the back end's word.
    asked: HashMap<u32, Asked>,
    /// What their tokens say, of those sockets that have one.
    held: HashMap<u32, Held>,
    /// Index: slot of a session id. Four bytes per session instead of a map.
    tags: Vec<u32>,
    /// Sessions that wait to be resumed.
    detached: HashMap<SessionKey, (SessionId, NamespaceKey)>,
    /// What the back end said that some of them may do.
    bound: HashMap<SessionKey, Held>,
    /// Pids of sessions that came from an earlier process, until each of those ends.
    old_pids: HashMap<SessionKey, sid::OldPid>,
    /// Sids of sessions that were made on another shard, by that shard and its slot.
    adopted: HashMap<(u8, u32), u32>,
    /// Engine sessions whose waiting GET is answered at the end of the turn.
    answers: Vec<u32>,
    tails: Tails,
    drain: Option<ending::Drain>,
}

impl SocketIo {
    pub(super) fn new(
        config: Arc<Config>,
        (shard, topology): (ShardId, Topology),
        key: PidKey,
        gate: Gate,
    ) -> Self {
        let limits = limits(&config);
        let times = Times {
            interval_ms: config.socketio.ping_interval_ms,
            timeout_ms: config.socketio.ping_timeout_ms,
        };
        Self {
            site: Site::new(Arc::clone(&config)),
            config,
            topology,
            shard,
            key,
            times,
            limits,
            engines: Slab::new(),
            unjoined: 0,
            sockets: Slab::new(),
            namespaces: Namespaces::default(),
            connecting: HashMap::new(),
            gate,
            asked: HashMap::new(),
            held: HashMap::new(),
            tags: Vec::new(),
            detached: HashMap::new(),
            bound: HashMap::new(),
            old_pids: HashMap::new(),
            adopted: HashMap::new(),
            answers: Vec::new(),
            tails: Tails::default(),
            drain: None,
        }
    }

    /// Whether nothing is kept of any client.
    pub(super) fn is_idle(&self) -> bool {
        let waits = self.detached.len()
            + self.bound.len()
            + self.old_pids.len()
            + self.adopted.len()
            + self.connecting.len();
        let waits = waits + self.held.len() + self.asked.len();
        self.engines.is_empty() && self.sockets.is_empty() && waits == 0
    }

    /// Whether requests to this path are Engine.IO's.
    pub(super) fn serves(&self, path: &str) -> bool {
        self.config.socketio.paths.iter().any(|one| one.matches(path)) || self.echoes(path)
    }

    /// Whether this path has the echo of the conformance suites behind it instead of Socket.IO.
    fn echoes(&self, path: &str) -> bool {
        self.config.engine_echo_path.as_ref().is_some_and(|one: &HttpPath| one.matches(path))
    }

    fn engine(&self, slot: u32) -> Option<&Engine> {
        self.engines.get(slot as usize)
    }

    fn engine_mut(&mut self, slot: u32) -> Option<&mut Engine> {
        self.engines.get_mut(slot as usize)
    }

    fn socket(&self, tag: u32) -> Option<&Socket> {
        self.sockets.get(tag as usize)
    }

    fn socket_mut(&mut self, tag: u32) -> Option<&mut Socket> {
        self.sockets.get_mut(tag as usize)
    }

    /// The socket of a session that is connected here.
    fn tag_of(&self, id: SessionId) -> Option<u32> {
        let tag = *self.tags.get(id.slot() as usize)?;
        self.socket(tag).filter(|socket| socket.id == id).map(|_| tag)
    }

    /// The sockets of an engine session.
    fn tags_of_engine(&self, slot: u32) -> Tags {
        let mut tags = Tags::new();
        let mut next = self.engine(slot).map_or(engine::NONE, |engine| engine.first_socket);
        while let Some(socket) = self.socket(next) {
            tags.push(next);
            next = socket.next;
        }
        tags
    }

    /// Sets the engine session's timer to its earliest deadline.
    fn arm(&self, cx: &mut Cx<'_>, slot: u32) {
        if let Some(engine) = self.engine(slot) {
            let drained_at = self.drain.as_ref().map(|drain| drain.at(engine));
            let asked_until = self.asked_until(slot);
            let others = drained_at.into_iter().chain(self.rights_due(slot)).chain(asked_until).min();
            cx.io.arm(owner(slot), others.map_or(engine.deadline(), |at| at.min(engine.deadline())));
        }
    }
}

/// What the shard knows an engine session by.
const fn owner(slot: u32) -> Owner {
    Owner::new(Door::Http, slot)
}

/// Sockets of one engine session; nearly always one.
type Tags = smallvec::SmallVec<[u32; 4]>;

/// The limits of packets from clients.
fn limits(config: &Config) -> Limits {
    let values = Bounds {
        bytes_max: config.limits.message_bytes_max,
        attachments_max: config.limits.attachments_max,
        depth_max: config.limits.json_depth_max,
    };
    Limits { values, ..Limits::default() }
}
