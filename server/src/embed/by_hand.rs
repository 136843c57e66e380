//! A node without threads, sockets to listen on and a clock: for simulations, which run faster than the day and the same
//! every time.
//!
//! Owns the order in which shards are turned. Everything inside a shard is the product's. Start at [`ByHand::start`].

use super::node::{NodeSetup, by_hand};
use super::server::topology_of;
use crate::auth::Shared;
use crate::config::Config;
use crate::front::{Figures, Front, PidKey};
use crate::mail::{Mail, Upcall, Upcalls};
use crate::shard::{Sender, Shard, Stats, Time};
use crate::state::{End, NodeState, ShardState};
use hub::{Hub, Millis, Report, ShardId, Token, Topology};
use std::io;
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Batches of client events that may wait for the caller.
const EVENT_BATCHES_MAX: usize = 1024;

/// Shards of one node, turned one after the other by the caller.
pub struct ByHand {
    shards: Vec<(Sender, Shard<Front>)>,
    topology: Topology,
    ms: Arc<AtomicU64>,
    upcalls: mpsc::Receiver<Upcalls>,
    reports: mpsc::UnboundedReceiver<Vec<(Token, Report)>>,
    heirs: std::sync::mpsc::Receiver<(ShardState, End)>,
}

impl ByHand {
    /// A node of `config.server.shards` shards at time 0, going on from what an earlier one left.
    ///
    /// # Errors
    /// Those of the operating system: polls.
    pub fn start(config: Config, state: Option<NodeState>) -> io::Result<Self> {
        let topology = topology_of(&config);
        let (uplink, upcalls) = mpsc::channel(EVENT_BATCHES_MAX);
        let (report, reports) = mpsc::unbounded_channel();
        let (heir, heirs) = std::sync::mpsc::channel();
        // As the product does: before anything that the sessions of an earlier process know of.
        let ms = Arc::new(AtomicU64::new(state.as_ref().map_or(0, NodeState::age_ms_max)));
        let gate = Shared::new(&config).map_err(io::Error::other)?;
        let node = NodeSetup {
            bound: Arc::default(),
            config: Arc::new(config),
            topology,
            time: Time::Told(Arc::clone(&ms)),
            uplink,
            journal: None,
            queues: hub::queue::QueueConfig::default(),
            reports: report,
            tls: None,
            key: PidKey::generate(),
            gate,
            heir: Some(heir),
        };
        let shards = by_hand(&node, node.places(state, None)?)?;
        Ok(Self { shards, topology, ms, upcalls, reports, heirs })
    }

    /// How homes are spread.
    pub fn topology(&self) -> Topology {
        self.topology
    }

    /// The time that is told.
    pub fn now(&self) -> Millis {
        Millis(self.ms.load(Ordering::Relaxed))
    }

    /// Moves the time; nothing happens until the next turn.
    pub fn advance(&mut self, ms: u64) {
        self.ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Gives a connection to a shard, as if its listener had accepted it.
    pub fn take(&mut self, shard: ShardId, stream: TcpStream) {
        if let Some((_, shard)) = self.shards.get_mut(usize::from(shard.0)) {
            shard.take(stream);
        }
    }

    /// Says something to a shard as the back office; `false` when its mailbox is full.
    pub fn send(&mut self, shard: ShardId, mail: Mail) -> bool {
        self.shards.get(usize::from(shard.0)).is_some_and(|(sender, _)| sender.try_send(mail).is_ok())
    }

    /// Turns each shard that runs once; whether anything moved.
    pub fn turn(&mut self) -> bool {
        let mut has_moved = false;
        self.shards.retain_mut(|(_, shard)| match shard.turn_now() {
            ControlFlow::Continue(moved) => {
                has_moved |= moved;
                true
            }
            ControlFlow::Break(_) => {
                has_moved = true;
                false
            }
        });
        has_moved
    }

    /// When something is due by itself.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.shards.iter().filter_map(|(_, shard)| shard.next_deadline()).min()
    }

    /// The hubs of the shards that run.
    pub fn hubs(&self) -> impl Iterator<Item = &Hub> {
        self.shards.iter().map(|(_, shard)| shard.hub())
    }

    /// The figures of the shards that run, added up.
    pub fn stats(&self) -> Stats {
        let mut all = Stats::default();
        self.shards.iter().for_each(|(_, shard)| all.add(&shard.stats()));
        all
    }

    /// What the clients of MQTT send and get, on the shards that run, added up.
    pub fn figures(&self) -> Figures {
        let mut all = Figures::default();
        self.shards.iter().for_each(|(_, shard)| all.add(&shard.handler().figures()));
        all
    }

    /// Whether nobody has left anything behind: no connection, no session, nothing that waits and no memory for it.
    pub fn is_idle(&self) -> bool {
        let is_at_rest = |stats: &Stats| {
            let open = stats.connections + stats.streams + stats.websockets + stats.held + stats.half_open;
            open + stats.blocked + stats.write_buffer_bytes + stats.posts_waiting == 0
        };
        let is_idle = |shard: &Shard<Front>| {
            is_at_rest(&shard.stats())
                && shard.handler().is_idle()
                && shard.hub().is_idle()
                && shard.hub().capacity() == 0
        };
        self.shards.iter().all(|(_, shard)| is_idle(shard))
    }

    /// What clients did since the last call.
    pub fn upcalls(&mut self) -> Vec<Upcall> {
        std::iter::from_fn(|| self.upcalls.try_recv().ok()).flatten().collect()
    }

    /// What shards answered since the last call.
    pub fn reports(&mut self) -> Vec<(Token, Report)> {
        std::iter::from_fn(|| self.reports.try_recv().ok()).flatten().collect()
    }

    /// Has the shards end in order, closing connections over a while; the shards still have to be turned.
    pub fn drain(&mut self, window_ms: u64) {
        let at = Instant::now() + Duration::from_millis(window_ms);
        self.shards.iter().for_each(|(sender, _)| sender.end_at(at));
    }

    /// What the shards left that have ended, when all have.
    pub fn state(&mut self) -> Option<NodeState> {
        if !self.shards.is_empty() {
            return None;
        }
        let shards = self.heirs.try_iter().map(|(state, _)| state).collect();
        Some(NodeState { saved_at_ms: crate::state::unix_ms(), topology: self.topology, shards })
    }
}

impl std::fmt::Debug for ByHand {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ByHand").field("topology", &self.topology).field("now", &self.now()).finish()
    }
}
